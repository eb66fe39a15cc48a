//! From alone to one among others, and what the control plane's pictures say of the others.

use std::{collections::BTreeMap, sync::Arc};

use sched::{
    Fleet, Moment, Scheduler, SlotId, TicketId,
    lead::{self, Lead},
    owner,
    permit::{Member, Permit, Roll, Term},
};

use super::{Input, Part, Said, Sharing, requests::wants};
use crate::{config::Planes, peer::Links};

impl Sharing {
    /// What a data plane that was alone has, by the fleet that it was alone with: all slots of it were its own if it was
    /// the owner. Who waits and runs goes on.
    pub(in crate::dispatch) fn from_alone(
        now: Moment,
        me: Member,
        scheduler: &mut Scheduler,
        links: Arc<dyn Links>,
    ) -> Self {
        let fleet = scheduler.fleet().clone();
        let arrivals = scheduler.arrivals();
        let held = scheduler.recall(now);
        let blank = Scheduler::new(0, Arc::new(Fleet::default()));
        let mut scheduler = Box::new(std::mem::replace(scheduler, blank));
        scheduler.share(now, true);
        let mut sharing = Self { now, ..Self::new(me, scheduler, links) };
        sharing.limits = fleet.backends.iter().map(|(id, backend)| (*id, backend.slots)).collect();
        for (until, backend, slot) in held.cooling {
            sharing.cools(Permit { backend, slot }, until);
        }
        let mut runs: BTreeMap<TicketId, Permit> =
            held.runs.into_iter().map(|(ticket, backend, slot)| (ticket, Permit { backend, slot })).collect();
        let mut waiting = Vec::new();
        for (arrival, since) in arrivals {
            let (ticket, times) = (arrival.ticket, (since, arrival.deadline));
            match runs.remove(&ticket) {
                Some(permit) => sharing.runs(ticket, permit, times, Arc::new(wants(arrival))),
                None => waiting.push((ticket, times, Arc::new(wants(arrival)))),
            }
        }
        if fleet.owner {
            sharing.own(&fleet);
        }
        for (ticket, times, wants) in waiting {
            sharing.enter(ticket, ticket, times, wants, Vec::new());
        }
        sharing
    }

    fn own(&mut self, fleet: &Fleet) {
        for (id, backend) in &fleet.backends {
            for slot in 0..backend.slots {
                self.tell(owner::Event::Owns { permit: Permit { backend: *id, slot: SlotId(slot) } });
            }
        }
    }

    /// The control plane's picture of the data planes.
    pub(in crate::dispatch) fn picture(&mut self, now: Moment, planes: &Planes, said: &mut Vec<Said>) {
        self.work(now, said);
        self.tell(owner::Event::Silence(planes.silence));
        let Some(lead) = &planes.lead else { return };
        let (plane, term, roll) = (lead.number, Term(lead.term), planes.roll());
        self.todo.push_back(Input::Lead(lead::Event::Picture { term, roll: roll.clone() }));
        self.work(now, said);
        if planes.leads() && roll.get(&plane) == Some(&self.me.incarnation) {
            self.reign(term, roll);
        }
        // An earlier process of this data plane leads nobody.
        if planes.leads() || plane != self.me.plane {
            self.tell(owner::Event::Picture { lead: Some((plane, term)) });
        }
    }

    /// Leads from now on, if it does not yet.
    fn reign(&mut self, term: Term, roll: Roll) {
        let part = self.part.take().expect("it is taken out only while it changes");
        self.part = Some(match part {
            Part::Follows(mut scheduler) if term >= self.owner.heard() && term > self.led => {
                // All that runs is reported.
                scheduler.recall(self.now);
                tracing::info!(term = term.0, planes = roll.len(), "leads");
                for (backend, slots) in &self.limits {
                    let (backend, slots) = (*backend, *slots);
                    self.todo.push_back(Input::Lead(lead::Event::Limit { backend, slots }));
                }
                self.led = term;
                Part::Leads(Box::new(Lead::new(term, self.me.plane, roll, *scheduler)))
            }
            same => same,
        });
    }
}
