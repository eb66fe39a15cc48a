//! Two cores of three data planes: one leads, and at some time the other does, which knew what it was told.

use std::collections::{BTreeMap, BTreeSet};

use sched::{Arrival, BackendId, Decision, Event, Moment, Outcome, Scheduler, TicketId};

use super::{Options, fleet, moment, seconds, usage};
use crate::fleet::Machine;
use crate::placer::{Place, Placer, Report, Seen};

/// Every third request comes to the data plane of the second core, which is told of the others by digests.
pub struct Heir {
    lead: Scheduler,
    follower: Scheduler,
    /// When it takes over, in seconds.
    over: f64,
    digests: bool,
    options: Options,
    waiting: BTreeMap<u64, (Moment, Arrival)>,
    running: BTreeMap<u64, (usize, u32, Arrival)>,
    taken: BTreeSet<(usize, u32)>,
    decisions: Vec<Decision>,
}

impl Heir {
    /// The second core takes over at `over`; without `digests` it knows of its own requests alone.
    #[must_use]
    pub fn new(machines: &[Machine], seed: u64, over: f64, digests: bool) -> Self {
        let options = Options::default();
        let core = || {
            let mut core = Scheduler::new(seed, std::sync::Arc::new(fleet(machines, options)));
            core.share(Moment::default(), true);
            core
        };
        Heir {
            lead: core(),
            follower: core(),
            over,
            digests,
            options,
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            taken: BTreeSet::new(),
            decisions: Vec::new(),
        }
    }

    fn follows(&self, ticket: u64) -> bool {
        self.over.is_finite() && ticket % 3 == 1
    }

    /// Tells the one that follows.
    fn tell(&mut self, now: f64, event: Event) {
        let mut decided = Vec::new();
        self.follower.handle(moment(now), event, &mut decided);
        assert_eq!(decided, [], "one that follows decides nothing");
    }

    fn handle(&mut self, now: f64, event: Event, out: &mut Vec<Place>) {
        self.lead.handle(moment(now), event, &mut self.decisions);
        self.decided(now, out);
    }

    fn decided(&mut self, now: f64, out: &mut Vec<Place>) {
        for decision in std::mem::take(&mut self.decisions) {
            match decision {
                Decision::Start { ticket, backend, .. } => {
                    let host = backend.0 as usize;
                    let slot = (0..).find(|slot| !self.taken.contains(&(host, *slot)));
                    let slot = slot.expect("there are fewer requests than numbers");
                    self.taken.insert((host, slot));
                    let (_, arrival) = self.waiting.remove(&ticket.0).expect("what starts has waited");
                    if self.follows(ticket.0) {
                        self.tell(
                            now,
                            Event::Began { ticket, backend, arrival: Some(Box::new(arrival.clone())) },
                        );
                    }
                    self.running.insert(ticket.0, (host, slot, arrival));
                    out.push(Place::Start { ticket: ticket.0, backend: host, slot });
                }
                Decision::Refuse { ticket, .. } => {
                    self.waiting.remove(&ticket.0);
                    out.push(Place::Refuse { ticket: ticket.0 });
                }
            }
        }
    }

    /// The one that led is gone, and the other is told what runs and who waits.
    fn pass_on(&mut self, now: f64, out: &mut Vec<Place>) {
        if now < self.over {
            return;
        }
        self.over = f64::INFINITY;
        self.follower.recall(moment(now));
        std::mem::swap(&mut self.lead, &mut self.follower);
        for (ticket, (host, _, arrival)) in &self.running {
            let (ticket, backend) = (TicketId(*ticket), BackendId(*host as u32));
            let event = Event::Began { ticket, backend, arrival: Some(Box::new(arrival.clone())) };
            self.lead.handle(moment(now), event, &mut self.decisions);
        }
        for (since, arrival) in self.waiting.values() {
            let event =
                Event::Waited { arrival: Box::new(arrival.clone()), since: *since, tried: Vec::new() };
            self.lead.handle(moment(now), event, &mut self.decisions);
        }
        self.decided(now, out);
    }
}

impl Placer for Heir {
    fn arrive(&mut self, now: f64, seen: &Seen<'_>, out: &mut Vec<Place>) {
        self.pass_on(now, out);
        let arrival = super::arrival(seen, self.options);
        self.waiting.insert(seen.ticket, (moment(now), arrival.clone()));
        self.handle(now, Event::Arrive(arrival), out);
    }

    fn first_token(&mut self, now: f64, ticket: u64, out: &mut Vec<Place>) {
        self.pass_on(now, out);
        if self.follows(ticket) {
            self.tell(now, Event::FirstToken { ticket: TicketId(ticket) });
        }
        self.handle(now, Event::FirstToken { ticket: TicketId(ticket) }, out);
    }

    fn finish(&mut self, now: f64, ticket: u64, report: &Report, out: &mut Vec<Place>) {
        self.pass_on(now, out);
        if let Some((host, slot, _)) = self.running.remove(&ticket) {
            self.taken.remove(&(host, slot));
        }
        let event = Event::Finish { ticket: TicketId(ticket), outcome: Outcome::Done, usage: usage(report) };
        if self.follows(ticket) {
            self.tell(now, event.clone());
        } else if self.over.is_finite() && self.digests {
            let digest = self.lead.digest(moment(now), TicketId(ticket), usage(report));
            self.follower.learn(moment(now), digest.expect("what ends was running"));
        }
        self.handle(now, event, out);
    }

    fn wake(&mut self, now: f64, out: &mut Vec<Place>) {
        self.pass_on(now, out);
        self.handle(now, Event::Wake, out);
    }

    fn next_wake(&self) -> Option<f64> {
        self.lead.next_wake().map(seconds)
    }
}
