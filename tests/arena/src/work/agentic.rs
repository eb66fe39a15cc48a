//! Agents in a closed loop: each thinks, asks, and goes on when it has its answer.

use std::sync::Arc;

use super::{Request, Source};
use crate::cache::{Segment, tokens};
use crate::rng::{Rng, mix};

/// What an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A large system prompt, many turns, short tool calls.
    Coding,
    /// Fewer turns, larger results of tools.
    Research,
    /// Someone who reads and types.
    Chat,
    /// Single requests without a past.
    Oneshot,
    /// Someone who asks about a long document.
    Reader,
    /// Few turns of work for another agent.
    Errand,
}

/// Medians and deviations of a role, in tokens and seconds.
struct Habits {
    system: Segment,
    turns_mean: f64,
    opening: (f64, f64),
    opening_max: u32,
    turn: (f64, f64),
    answer: (f64, f64),
}

impl Role {
    fn habits(self) -> Habits {
        let habits = |id, tokens, turns_mean, opening, turn, answer| Habits {
            system: Segment { id, tokens },
            turns_mean,
            opening,
            opening_max: if self == Role::Reader { 90_000 } else { 40_000 },
            turn,
            answer,
        };
        match self {
            Role::Coding => habits(1, 11_000, 20.0, (3000.0, 0.9), (700.0, 1.2), (170.0, 0.9)),
            Role::Research => habits(2, 6_000, 9.0, (1500.0, 0.9), (1800.0, 1.1), (260.0, 0.9)),
            Role::Chat => habits(3, 700, 5.0, (150.0, 1.0), (60.0, 1.0), (330.0, 0.7)),
            Role::Oneshot => habits(4, 150, 1.0, (1800.0, 1.0), (5.0, 0.0), (200.0, 0.8)),
            Role::Reader => habits(5, 400, 5.0, (40_000.0, 0.5), (60.0, 1.0), (300.0, 0.7)),
            Role::Errand => habits(6, 5_000, 5.0, (900.0, 0.7), (1500.0, 1.1), (180.0, 0.8)),
        }
    }

    fn think(self, rng: &mut Rng) -> f64 {
        match self {
            Role::Coding => rng.lognormal(3.0, 1.0),
            Role::Research => rng.lognormal(4.0, 1.0),
            Role::Chat | Role::Reader => rng.lognormal(25.0, 0.8),
            Role::Errand => rng.lognormal(2.0, 1.0),
            Role::Oneshot => rng.exponential(20.0),
        }
    }

    fn calls_tools(self) -> bool {
        matches!(self, Role::Coding | Role::Research | Role::Errand)
    }
}

/// A context longer than this is compacted before it is sent, in tokens.
const CONTEXT_MAX: u64 = 100_000;
/// What stands for the past after a compaction, in tokens.
const SUMMARY: u32 = 5_000;
/// How often a client sends an answer back in other words, as without its reasoning.
const REWRITTEN: f64 = 0.1;
/// First requests come within so many seconds.
const RAMP_S: f64 = 30.0;

struct Agent {
    id: usize,
    key: usize,
    role: Role,
    rng: Rng,
    session: u64,
    opening: u64,
    model: u8,
    turn: u32,
    turns: u32,
    context: Vec<Segment>,
    answers: Vec<usize>,
}

/// A crowd of agents.
pub struct Agentic {
    agents: Vec<Agent>,
    keys: usize,
    second_model: f64,
}

impl Agentic {
    /// Agents as key, role and number; `second_model` is the share of sessions that use another model.
    #[must_use]
    pub fn new(seed: u64, crowd: &[(usize, Role, usize)], second_model: f64) -> Self {
        let each = crowd.iter().flat_map(|(key, role, count)| std::iter::repeat_n((*key, *role), *count));
        let agent = |(id, (key, role)): (usize, (usize, Role))| Agent {
            id,
            key,
            role,
            rng: Rng::new(mix(seed * 1000 + id as u64 + 17)),
            session: 0,
            opening: 0,
            model: 0,
            turn: 0,
            turns: 0,
            context: Vec::new(),
            answers: Vec::new(),
        };
        let keys = crowd.iter().map(|(key, ..)| key + 1).max().unwrap_or(0);
        Agentic { agents: each.enumerate().map(agent).collect(), keys, second_model }
    }

    /// The crowd of the reference: 19 agents of eight keys at load 1.
    #[must_use]
    pub fn mixed(seed: u64, load: f64, second_model: f64) -> Self {
        let count = |of: f64| ((of * load).round() as usize).max(1);
        let crowd = [
            (0, Role::Coding, count(4.0)),
            (1, Role::Coding, count(2.0)),
            (2, Role::Coding, count(1.0)),
            (3, Role::Research, count(3.0)),
            (4, Role::Research, count(1.0)),
            (5, Role::Chat, count(4.0)),
            (6, Role::Chat, count(2.0)),
            (7, Role::Oneshot, count(2.0)),
        ];
        Agentic::new(seed, &crowd, second_model)
    }

    /// As many keys as agents: 64 at load 1.
    #[must_use]
    pub fn keys(seed: u64, load: f64) -> Self {
        const ROLES: [Role; 8] = [
            Role::Coding,
            Role::Research,
            Role::Chat,
            Role::Chat,
            Role::Chat,
            Role::Chat,
            Role::Oneshot,
            Role::Oneshot,
        ];
        let keys = ((64.0 * load).round() as usize).max(1);
        let crowd: Vec<_> = (0..keys).map(|key| (key, ROLES[key % ROLES.len()], 1)).collect();
        Agentic::new(seed, &crowd, 0.0)
    }

    /// People with a document each, of four keys: 12 at load 1.
    #[must_use]
    pub fn readers(seed: u64, load: f64) -> Self {
        let count = ((3.0 * load).round() as usize).max(1);
        Agentic::new(seed, &[0, 1, 2, 3].map(|key| (key, Role::Reader, count)), 0.0)
    }

    /// The first request of an agent.
    pub(super) fn first(&mut self, agent: usize) -> Option<Request> {
        Some(self.agents.get_mut(agent)?.ask(self.second_model, None))
    }

    /// Whether an agent's next request begins another session.
    pub(super) fn ended(&self, agent: usize) -> bool {
        self.agents.get(agent).is_some_and(|agent| agent.turn >= agent.turns)
    }

    /// How many agents there are.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.agents.len()
    }
}

impl Source for Agentic {
    fn initial(&mut self) -> Vec<Request> {
        (0..self.agents.len()).filter_map(|agent| self.first(agent)).collect()
    }

    fn next(&mut self, agent: usize, now: f64) -> Vec<Request> {
        let agent = self.agents.get_mut(agent);
        agent.map(|agent| agent.ask(self.second_model, Some(now))).into_iter().collect()
    }

    fn keys(&self) -> usize {
        self.keys
    }
}

/// A length in tokens.
fn length(rng: &mut Rng, (median, sigma): (f64, f64), min: u32, max: u32) -> u32 {
    (rng.lognormal(median, sigma) as u32).clamp(min, max)
}

impl Agent {
    /// The next request, some time after `now`; without one it is the first. The order of the draws is the
    /// generator's identity: with it the same seed gives the same requests everywhere.
    fn ask(&mut self, second_model: f64, now: Option<f64>) -> Request {
        let habits = self.role.habits();
        let think = self.role.think(&mut self.rng);
        if self.turn >= self.turns {
            self.begin(second_model, &habits);
        } else {
            let tokens = length(&mut self.rng, habits.turn, 5, 16_000);
            self.context.push(Segment { id: self.rng.bits(), tokens });
        }
        self.compact();
        let output = length(&mut self.rng, habits.answer, 3, 4000);
        let prompt = self.context.clone();
        let answers = self.answers.clone();
        let answer = Segment { id: self.rng.bits(), tokens: output };
        let whole = prompt.iter().copied().chain([answer]).collect();
        let carried = match self.rng.chance(REWRITTEN) {
            true => Segment { id: self.rng.bits(), tokens: (output * 6 / 10).max(1) },
            false => answer,
        };
        self.answers.push(self.context.len());
        self.context.push(carried);
        self.turn += 1;
        let at = now.map_or_else(|| self.rng.unit() * RAMP_S, |now| now + think);
        Request {
            key: self.key,
            agent: self.id,
            model: self.model,
            prompt: prompt.into(),
            answers: Arc::from(answers),
            whole,
            session: self.session,
            opening: self.opening,
            at,
            tool: self.role.calls_tools() && self.turn < self.turns,
        }
    }

    fn begin(&mut self, second_model: f64, habits: &Habits) {
        self.session = self.rng.bits();
        self.model = u8::from(self.rng.chance(second_model));
        self.opening = self.rng.bits();
        self.turn = 0;
        self.turns = match self.role {
            Role::Oneshot => 1,
            _ => 1 + self.rng.exponential(habits.turns_mean - 1.0) as u32,
        };
        let system = Segment { id: habits.system.id + 10 * u64::from(self.model), ..habits.system };
        let tokens = length(&mut self.rng, habits.opening, 10, habits.opening_max);
        self.context = vec![system, Segment { id: self.rng.bits(), tokens }];
        self.answers.clear();
    }

    fn compact(&mut self) {
        if tokens(&self.context) > CONTEXT_MAX {
            self.context.truncate(1);
            self.context.push(Segment { id: self.rng.bits(), tokens: SUMMARY });
            self.answers.clear();
        }
    }
}
