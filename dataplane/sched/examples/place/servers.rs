//! Servers of a known speed around the core, in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use sched::{
    Arrival, Asked, Backend, BackendId, Cache, Candidate, Chain, Class, Decision, End, Event, Fleet, Health,
    Key, ModelId, Moment, Outcome, Policy, Scheduler, Span, TicketId, Tuning, Usage,
};

use crate::talk::{ANSWER_TOKENS, Prompt, prompt, tokens};

/// Prompts that a server remembers.
const HELD_MAX: usize = 8;

/// Tokens a second.
#[derive(Clone, Copy)]
pub struct Speed {
    pub prefill: f64,
    pub decode: f64,
}

/// What happens next to a request that runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    First,
    Done,
}

/// A core and its servers. Times in microseconds.
pub struct Servers {
    pub core: Scheduler,
    pub now: u64,
    /// Starts of the last event.
    pub started: usize,
    speeds: Vec<Speed>,
    prompts: BTreeMap<u64, Prompt>,
    /// What each server read last, the newest at the end.
    held: Vec<VecDeque<Prompt>>,
    coming: BinaryHeap<Reverse<(u64, u64, Next, usize)>>,
    tickets: u64,
    out: Vec<Decision>,
}

impl Servers {
    pub fn new(speeds: impl IntoIterator<Item = Speed>, shape: impl Fn(u32) -> (u32, Cache)) -> Servers {
        let speeds: Vec<Speed> = speeds.into_iter().collect();
        let backend = |id: u32| {
            let (slots, cache) = shape(id);
            Backend {
                slots,
                priority: 0,
                max_input_tokens: Some(131_072),
                health: Health::Healthy,
                draining: false,
                release_grace: Span::ZERO,
                cache,
                models_max: None,
                resident: Arc::default(),
                lot: id,
            }
        };
        let backends = (0..speeds.len() as u32).map(|id| (BackendId(id), backend(id))).collect();
        let fleet = Fleet { owner: true, queue_max: 100_000, tuning: Tuning::default(), backends };
        Servers {
            core: Scheduler::new(1, Arc::new(fleet)),
            now: 0,
            started: 0,
            held: vec![VecDeque::new(); speeds.len()],
            speeds,
            prompts: BTreeMap::new(),
            coming: BinaryHeap::new(),
            tickets: 0,
            out: Vec::new(),
        }
    }

    /// A request that may go anywhere comes in.
    pub fn arrive(&mut self, key: u64, prompt: Prompt) {
        let all = 0..self.speeds.len() as u32;
        self.arrive_at(key, prompt, all);
    }

    /// The next first token or end happens; false when nothing runs.
    pub fn step(&mut self) -> bool {
        let Some(Reverse((at, number, next, server))) = self.coming.pop() else { return false };
        self.now = self.now.max(at);
        let ticket = TicketId(number);
        let event = match next {
            Next::First => Event::FirstToken { ticket },
            Next::Done => self.end(number, server),
        };
        self.tell(event);
        true
    }

    /// A request comes to idle servers and is answered; the answer is how much of its prompt was warm.
    pub fn serve(&mut self, key: u64, prompt: Prompt, candidates: Range<u32>) -> u32 {
        self.now += 5_000_000;
        let arrival = self.arrival(key, prompt.clone(), candidates);
        ask(&mut self.core, self.now, arrival, &mut self.out);
        let Some(Decision::Start { backend, .. }) = self.out.last() else {
            panic!("a free slot is not taken")
        };
        let warm = self.warm(backend.0 as usize, &prompt);
        self.carry_out();
        while self.step() {}
        warm
    }

    /// A request without blocks from its arrival to its end.
    pub fn whole_life(&mut self) {
        self.now += 1_000;
        let arrival = self.arrival(1, Prompt::default(), 0..1);
        let ticket = arrival.ticket;
        live(&mut self.core, self.now, arrival, &mut self.out);
        assert!(matches!(self.out[..], [Decision::Start { ticket: started, .. }] if started == ticket));
        self.out.clear();
    }

    /// Each server answers some requests alone, so that its speed is known.
    pub fn teach(&mut self) {
        for server in 0..self.speeds.len() as u32 {
            for turn in 0..24 {
                let talk = 1_000_000 + u64::from(server);
                self.arrive_at(turn % 50, prompt(talk, 8 + turn, 0), server..server + 1);
                while self.step() {}
            }
        }
    }

    fn arrive_at(&mut self, key: u64, prompt: Prompt, candidates: Range<u32>) {
        let arrival = self.arrival(key, prompt, candidates);
        self.tell(Event::Arrive(arrival));
    }

    fn arrival(&mut self, key: u64, prompt: Prompt, candidates: Range<u32>) -> Arrival {
        self.tickets += 1;
        self.prompts.insert(self.tickets, prompt.clone());
        let candidate = |id| Candidate { backend: BackendId(id), model: ModelId(0), reserve: 0 };
        Arrival {
            ticket: TicketId(self.tickets),
            key: Key(key),
            asked: Asked(0),
            weight: 1,
            class: Class::Normal,
            prompt_tokens: tokens(&prompt).max(100),
            prompt: Chain::new(prompt.iter().copied()),
            policy: Policy::CacheAffine,
            candidates: candidates.map(candidate).collect(),
            deadline: Moment::NEVER,
        }
    }

    fn tell(&mut self, event: Event) {
        self.core.handle(Moment(self.now), event, &mut self.out);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        self.started = self.out.len();
        for decision in std::mem::take(&mut self.out) {
            let Decision::Start { ticket, backend, .. } = decision else { panic!("{decision:?}") };
            let server = backend.0 as usize;
            let prompt = &self.prompts[&ticket.0];
            let uncached = tokens(prompt) - self.warm(server, prompt);
            let prefill = f64::from(uncached) / self.speeds[server].prefill;
            let decode = f64::from(ANSWER_TOKENS) / self.speeds[server].decode;
            let at = |secs: f64| self.now + (secs * 1e6) as u64;
            self.coming.push(Reverse((at(prefill), ticket.0, Next::First, server)));
            self.coming.push(Reverse((at(prefill + decode), ticket.0, Next::Done, server)));
        }
    }

    /// Tokens of a prompt that a server has.
    fn warm(&self, server: usize, prompt: &Prompt) -> u32 {
        let common = |held: &Prompt| {
            let same = held.iter().zip(prompt.iter()).take_while(|(one, other)| one.hash == other.hash);
            same.map(|(_, block)| block.tokens).sum()
        };
        self.held[server].iter().map(common).max().unwrap_or_default()
    }

    fn end(&mut self, number: u64, server: usize) -> Event {
        let prompt = self.prompts.remove(&number).expect("a request ends once");
        let cached = self.warm(server, &prompt);
        let usage = Usage {
            cached: Some(cached),
            prompt: Some(tokens(&prompt)),
            output: Some(ANSWER_TOKENS),
            prefill: None,
            end: End::Tool,
        };
        let held = &mut self.held[server];
        held.push_back(prompt);
        if held.len() > HELD_MAX {
            held.pop_front();
        }
        Event::Finish { ticket: TicketId(number), outcome: Outcome::Done, usage }
    }
}

/// What is counted: a request comes in and is answered with a start.
#[inline(never)]
fn ask(core: &mut Scheduler, now: u64, arrival: Arrival, out: &mut Vec<Decision>) {
    core.handle(Moment(now), Event::Arrive(arrival), out);
}

/// What is counted: all that the core is told of a request.
#[inline(never)]
fn live(core: &mut Scheduler, now: u64, arrival: Arrival, out: &mut Vec<Decision>) {
    let ticket = arrival.ticket;
    core.handle(Moment(now), Event::Arrive(arrival), out);
    core.handle(Moment(now + 300), Event::FirstToken { ticket }, out);
    let usage = Usage { prompt: Some(9), output: Some(20), ..Usage::default() };
    core.handle(Moment(now + 600), Event::Finish { ticket, outcome: Outcome::Done, usage }, out);
}
