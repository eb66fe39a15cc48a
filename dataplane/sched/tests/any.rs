//! Any row of events, sensible or not: no panic, no slot too many, no answer too many.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::{
    Arrival, Asked, Backend, BackendId, Cache, Candidate, Chain, Class, Decision, Event, Fault, Fleet,
    Health, Key, ModelId, Moment, Outcome, Policy, Scheduler, Span, TicketId, Tuning, Usage,
};

const STEPS: u64 = 60_000;
const TICKETS: u64 = 30;
const BACKENDS: u64 = 9;
const POLICIES: [Policy; 8] = [
    Policy::CacheAffine,
    Policy::Priority,
    Policy::RoundRobin,
    Policy::Weighted,
    Policy::LeastBusy,
    Policy::LowestLatency,
    Policy::TokenAware,
    Policy::LongWaits,
];

struct Chance(u64);

impl Chance {
    /// One of `0..bound`, by the steps of a linear congruence (Knuth's MMIX).
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn odd(&mut self) -> u64 {
        let extreme = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63];
        match self.below(20) {
            0 => extreme[self.below(5) as usize],
            _ => self.below(5_000),
        }
    }

    fn backend(&mut self) -> BackendId {
        BackendId(self.below(BACKENDS) as u32)
    }

    fn candidate(&mut self) -> Candidate {
        let reserve = self.below(6).saturating_sub(3) as u8;
        Candidate { backend: self.backend(), model: ModelId(0), reserve }
    }

    fn fleet(&mut self) -> Fleet {
        let backend = |chance: &mut Chance| Backend {
            slots: chance.below(4) as u32,
            priority: chance.odd() as i32,
            max_input_tokens: (chance.below(3) == 0).then(|| chance.odd() as u32),
            health: match chance.below(10) {
                0 => Health::Unhealthy,
                1 => Health::Unknown,
                _ => Health::Healthy,
            },
            draining: chance.below(8) == 0,
            release_grace: Span(chance.odd()),
            cache: Cache::default(),
            models_max: None,
            resident: Default::default(),
            lot: 0,
        };
        let backends = (0..self.below(BACKENDS)).map(|_| (self.backend(), backend(self))).collect();
        Fleet {
            owner: self.below(20) > 0,
            queue_max: self.below(60) as usize,
            tuning: Tuning::default(),
            backends,
        }
    }

    fn event(&mut self) -> Event {
        let ticket = TicketId(self.below(TICKETS));
        match self.below(24) {
            0..9 => Event::Arrive(Arrival {
                ticket,
                key: Key(self.below(4)),
                class: [Class::Interactive, Class::Normal, Class::Batch][self.below(3) as usize],
                asked: Asked(0),
                weight: 1,
                prompt: Chain::default(),
                policy: POLICIES[self.below(8) as usize],
                prompt_tokens: self.odd() as u32,
                candidates: (0..self.below(5)).map(|_| self.candidate()).collect(),
                deadline: Moment(self.odd()),
            }),
            9 => Event::FirstToken { ticket },
            10..14 => {
                let outcomes = [Outcome::Done, Outcome::Failed, Outcome::Aborted, Outcome::Unsent];
                let outcome = outcomes[self.below(4) as usize];
                Event::Finish { ticket, outcome, usage: Usage::default() }
            }
            14 | 15 => Event::Cancel { ticket },
            16 => Event::Observe { backend: self.backend(), idle: self.below(2) == 0 },
            17 => Event::Adopt(Arc::new(self.fleet())),
            18..22 => {
                let limited = Fault::Limited { retry_after: (self.below(2) > 0).then(|| Span(self.odd())) };
                let faults = [
                    Fault::Connect,
                    Fault::Refused,
                    Fault::Reset,
                    Fault::Timeout,
                    Fault::Slow,
                    Fault::Status,
                    limited,
                ];
                Event::Fail { ticket, fault: faults[self.below(7) as usize], sent: self.below(2) > 0 }
            }
            22 if self.below(2_000) == 0 => Event::Close,
            _ => Event::Wake,
        }
    }
}

#[test]
fn nothing_that_is_said_breaks_it() {
    for seed in 0..8 {
        let mut chance = Chance(seed);
        let fleet = Arc::new(chance.fleet());
        let mut slots = slots_of(&fleet);
        let mut core = Scheduler::new(seed, fleet);
        let (mut open, mut holders) = (BTreeMap::new(), BTreeMap::new());
        for step in 0..STEPS {
            let event = chance.event();
            note(&event, &mut open, &mut holders, &mut slots);
            let mut out = Vec::new();
            core.handle(Moment(step.saturating_sub(chance.below(50))), event, &mut out);
            for decision in out {
                let (Decision::Start { ticket, .. } | Decision::Refuse { ticket, .. }) = decision;
                let asked = open.get_mut(&ticket).filter(|asked| **asked > 0);
                *asked.unwrap_or_else(|| panic!("seed {seed}, step {step}: {decision:?}, not asked for")) -=
                    1;
                if let Decision::Start { backend, slot, .. } = decision {
                    assert!(slot.0 < slots[&backend], "seed {seed}, step {step}: {decision:?}");
                    let other = holders.values().any(|held| *held == (backend, slot));
                    assert!(!other, "seed {seed}, step {step}: {decision:?} has a slot of another");
                    holders.insert(ticket, (backend, slot));
                }
            }
            let view = core.view();
            assert_eq!(view.running, holders.len(), "seed {seed}, step {step}");
            assert!(view.waiting as u64 <= TICKETS, "seed {seed}, step {step}");
        }
    }
}

fn note<Slot>(
    event: &Event,
    open: &mut BTreeMap<TicketId, u32>,
    holders: &mut BTreeMap<TicketId, Slot>,
    slots: &mut BTreeMap<BackendId, u32>,
) {
    match event {
        Event::Arrive(arrival) if !holders.contains_key(&arrival.ticket) => {
            *open.entry(arrival.ticket).or_default() += 1;
        }
        Event::Fail { ticket, .. } if holders.remove(ticket).is_some() => {
            *open.entry(*ticket).or_default() += 1;
        }
        // one that waits may be refused first, when its deadline has come
        Event::Finish { ticket, .. } | Event::Cancel { ticket } => drop(holders.remove(ticket)),
        Event::Adopt(fleet) | Event::Reroute { fleet, .. } => *slots = slots_of(fleet),
        _ => {}
    }
}

fn slots_of(fleet: &Fleet) -> BTreeMap<BackendId, u32> {
    fleet.backends.iter().map(|(id, backend)| (*id, backend.slots)).collect()
}
