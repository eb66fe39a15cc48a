//! The product's own core as a placer.

mod heir;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use heir::Heir;
use sched::{
    Arrival, Asked, Backend, BackendId, Block, Cache, Candidate, Chain, Class, Decision, End, Event, Fleet,
    Health, INPUT_MARGIN_PERCENT, Key, ModelId, Moment, Outcome, Policy, Scheduler, SlotId, Span, TicketId,
    Tuning, Usage,
};

use crate::cache::Shape;

use crate::fleet::Machine;
use crate::placer::{Finish, Place, Placer, Report, Seen};

/// Nobody is turned away because many wait.
const QUEUE_MAX: usize = 100_000;

/// How the core is set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether the priorities of the servers count.
    pub ranked: bool,
    /// By which rule it places.
    pub policy: Policy,
    /// The figures of the rule.
    pub tuning: Tuning,
    /// Whether prompts are compared at all.
    pub affinity: bool,
    /// What the servers' caches are said to hold, relative to what they do.
    pub capacity: f64,
}

impl Default for Options {
    fn default() -> Self {
        let (policy, tuning) = (Policy::default(), Tuning::default());
        Options { ranked: false, policy, tuning, affinity: true, capacity: 1.0 }
    }
}

/// The core, in virtual time.
pub struct Product {
    core: Scheduler,
    decisions: Vec<Decision>,
    options: Options,
}

impl Product {
    /// A core that knows of the servers what their configuration and their probes tell; `seed` breaks its ties.
    #[must_use]
    pub fn new(machines: &[Machine], seed: u64, options: Options) -> Self {
        let fleet = Arc::new(fleet(machines, options));
        Product { core: Scheduler::new(seed, fleet), decisions: Vec::new(), options }
    }

    fn handle(&mut self, now: f64, event: Event, out: &mut Vec<Place>) {
        self.core.handle(moment(now), event, &mut self.decisions);
        out.extend(self.decisions.drain(..).map(|decision| match decision {
            Decision::Start { ticket, backend, slot: SlotId(slot), .. } => {
                Place::Start { ticket: ticket.0, backend: backend.0 as usize, slot }
            }
            Decision::Refuse { ticket, .. } => Place::Refuse { ticket: ticket.0 },
        }));
    }
}

impl Placer for Product {
    fn arrive(&mut self, now: f64, seen: &Seen<'_>, out: &mut Vec<Place>) {
        let arrival = arrival(seen, self.options);
        self.handle(now, Event::Arrive(arrival), out);
    }

    fn first_token(&mut self, now: f64, ticket: u64, out: &mut Vec<Place>) {
        self.handle(now, Event::FirstToken { ticket: TicketId(ticket) }, out);
    }

    fn finish(&mut self, now: f64, ticket: u64, report: &Report, out: &mut Vec<Place>) {
        let usage = usage(report);
        self.handle(now, Event::Finish { ticket: TicketId(ticket), outcome: Outcome::Done, usage }, out);
    }

    fn wake(&mut self, now: f64, out: &mut Vec<Place>) {
        self.handle(now, Event::Wake, out);
    }

    fn next_wake(&self) -> Option<f64> {
        self.core.next_wake().map(seconds)
    }
}

fn arrival(seen: &Seen<'_>, options: Options) -> Arrival {
    let model = ModelId(u32::from(seen.model));
    let candidate = |backend: &usize| Candidate { backend: BackendId(*backend as u32), model, reserve: 0 };
    let compared = if options.affinity { seen.blocks } else { &[] };
    Arrival {
        ticket: TicketId(seen.ticket),
        key: Key(seen.key as u64),
        asked: Asked(0),
        weight: 1,
        class: Class::Normal,
        prompt_tokens: seen.prompt_tokens,
        prompt: Chain::new(compared.iter().map(|block| Block {
            hash: block.hash,
            tokens: block.tokens,
            own: block.own,
        })),
        policy: options.policy,
        candidates: seen.backends.iter().map(candidate).collect(),
        deadline: Moment::NEVER,
    }
}

fn usage(report: &Report) -> Usage {
    Usage {
        cached: report.cached,
        prompt: report.prompt,
        output: report.output,
        prefill: report.prefill_s.map(|secs| Span((secs * 1e6) as u64)),
        end: match report.finish {
            Some(Finish::Tool) => End::Tool,
            Some(Finish::Stop) => End::Turn,
            None => End::Unknown,
        },
    }
}

fn fleet(machines: &[Machine], options: Options) -> Fleet {
    let said = |tokens: u64| (tokens as f64 * options.capacity) as u32;
    let backend = |machine: &Machine| Backend {
        slots: machine.slots as u32,
        priority: if options.ranked { machine.priority } else { 0 },
        max_input_tokens: Some(limit(machine.input_max)),
        health: Health::Healthy,
        draining: false,
        release_grace: Span::ZERO,
        cache: match machine.cache {
            Shape::Slots { ram } => Cache::Slots { ram: said(ram) },
            Shape::Pool { capacity } => Cache::Pool { tokens: said(capacity) },
        },
        models_max: machine.load_s.map(|_| 1),
        resident: Default::default(),
        lot: 0,
    };
    let backends: BTreeMap<BackendId, Backend> =
        (0..).map(BackendId).zip(machines.iter().map(backend)).collect();
    Fleet { owner: true, queue_max: QUEUE_MAX, tuning: options.tuning, backends }
}

/// Lengths are exact here, so what the core adds for estimates that fall short would make servers smaller than
/// they are.
fn limit(input_max: u32) -> u32 {
    (u64::from(input_max) * (100 + INPUT_MARGIN_PERCENT)).div_ceil(100) as u32
}

fn moment(seconds: f64) -> Moment {
    Moment((seconds * 1e6).round() as u64)
}

fn seconds(moment: Moment) -> f64 {
    moment.0 as f64 / 1e6
}
