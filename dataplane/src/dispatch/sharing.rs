//! Slots shared with other data planes: the two ends of the permit protocol, and what goes in and out of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use sched::{
    BackendId, Candidate, Event, Fleet, Moment, Outcome, Scheduler, Span, TicketId, Usage,
    lead::{self, Lead, StreamId},
    owner::{self, Owner},
    permit::{Down, Member, Permit, Term, Up, Wants},
};

use super::Said;
use crate::peer::{Links, Outbox};

mod join;
mod requests;
mod streams;

/// Tickets whose numbers this draws itself, for a second arrival of the same request, or a slot that cools, have them from
/// here on; those of requests are below, those that a lead draws above.
const DRAWN_FROM: u64 = 1 << 62;

/// Without a lead, and without a permit of its own that it could run on, a request waits for so long for a lead to come.
const LEADERLESS_WAIT: Span = Span::from_secs(5);

/// A request that waits or runs here.
#[derive(Debug)]
pub(super) struct Request {
    /// Its number outside.
    pub(super) ticket: TicketId,
    pub(super) wants: Arc<Wants>,
    since: Moment,
    deadline: Moment,
    /// Where it runs; none: it waits.
    pub(super) permit: Option<Permit>,
    /// Backends that failed it, and the one that it runs on; at most `TRIES_MAX`.
    tried: Vec<BackendId>,
    /// What it leads to by now, where that changed since it was started.
    offer: Option<Box<[Candidate]>>,
    /// All that it leads to, where it wants fewer.
    all: Option<Box<[Candidate]>>,
}

/// A slot whose request was cut off: the engine works on for a moment.
#[derive(Debug)]
pub(super) struct Cooling {
    until: Moment,
    pub(super) backend: BackendId,
    outcome: Outcome,
    usage: Usage,
}

/// What one of the two ends is to be told.
#[derive(Debug)]
pub(super) enum Input {
    Owner(owner::Event),
    Lead(lead::Event),
}

/// What is known of servers and prompts, and who uses it.
pub(super) enum Part {
    /// Another data plane decides.
    Follows(Box<Scheduler>),
    /// This one decides for all.
    Leads(Box<Lead<Scheduler>>),
}

impl Part {
    pub(super) fn scheduler(&self) -> &Scheduler {
        match self {
            Self::Follows(scheduler) => scheduler,
            Self::Leads(lead) => lead.order(),
        }
    }

    /// Something that is not of the protocol. One that leads has to ask afterwards what follows from it.
    fn tell(&mut self, now: Moment, event: Event) {
        match self {
            // Nobody waits or runs by its books.
            Self::Follows(scheduler) => scheduler.handle(now, event, &mut Vec::new()),
            Self::Leads(lead) => lead.order_mut().tell(now, event),
        }
    }

    pub(super) fn lead(&mut self) -> Option<&mut Lead<Scheduler>> {
        match self {
            Self::Follows(_) => None,
            Self::Leads(lead) => Some(lead),
        }
    }
}

/// A data plane among others.
pub(super) struct Sharing {
    /// Of what happened last.
    now: Moment,
    pub(super) me: Member,
    pub(super) owner: Owner,
    /// Taken out only while it changes.
    pub(super) part: Option<Part>,
    pub(super) links: Arc<dyn Links>,
    /// The stream to a lead elsewhere.
    pub(super) out: Option<(u64, Outbox<Up>)>,
    /// The stream to the lead in this process: its number there and here.
    pub(super) home: Option<(StreamId, u64)>,
    /// Streams of those that follow, at most `STREAMS_MAX`.
    pub(super) streams: BTreeMap<StreamId, Outbox<Down>>,
    pub(super) opened: u64,
    pub(super) todo: VecDeque<Input>,
    /// By number in the protocol.
    pub(super) requests: BTreeMap<TicketId, Request>,
    /// Of requests that came a second time.
    numbers: BTreeMap<TicketId, TicketId>,
    /// When those who wait give up.
    due: BTreeSet<(Moment, TicketId)>,
    /// When those who waited without a lead give up if there is none.
    leaderless: BTreeSet<(Moment, TicketId)>,
    /// Whether there was a lead when that was looked at last.
    was_led: bool,
    pub(super) cooling: BTreeMap<TicketId, Cooling>,
    drawn: u64,
    /// The latest term that this one led, or leads.
    led: Term,
    /// Slots of the backends in force.
    pub(super) limits: BTreeMap<BackendId, u32>,
    /// What runs is to end at once.
    pub(super) aborts: bool,
    pub(super) closing: bool,
}

impl Sharing {
    pub(super) fn new(me: Member, scheduler: Box<Scheduler>, links: Arc<dyn Links>) -> Self {
        Self {
            now: Moment::default(),
            me,
            owner: Owner::new(me.plane, me.incarnation),
            part: Some(Part::Follows(scheduler)),
            links,
            out: None,
            home: None,
            streams: BTreeMap::new(),
            opened: 0,
            todo: VecDeque::new(),
            requests: BTreeMap::new(),
            numbers: BTreeMap::new(),
            due: BTreeSet::new(),
            leaderless: BTreeSet::new(),
            was_led: false,
            cooling: BTreeMap::new(),
            drawn: DRAWN_FROM,
            led: Term::default(),
            limits: BTreeMap::new(),
            aborts: false,
            closing: false,
        }
    }

    pub(super) fn part(&self) -> &Part {
        self.part.as_ref().expect("it is taken out only while it changes")
    }

    pub(super) fn part_mut(&mut self) -> &mut Part {
        self.part.as_mut().expect("it is taken out only while it changes")
    }

    /// Takes in what one core would; what is said to tickets is appended.
    pub(super) fn handle(&mut self, now: Moment, event: Event, said: &mut Vec<Said>) {
        self.now = now;
        match event {
            Event::Arrive(arrival) => self.arrive(now, arrival, said),
            Event::FirstToken { ticket } => {
                let ticket = self.number(ticket);
                self.learn(now, Event::FirstToken { ticket });
                self.tell(owner::Event::FirstToken { ticket });
            }
            Event::Finish { ticket, outcome, usage } => self.finish(now, ticket, outcome, usage),
            Event::Fail { ticket, fault, sent } => self.fail(now, ticket, (fault, sent), said),
            Event::Cancel { ticket } => self.cancel(ticket),
            Event::Close => {
                self.closing = true;
                self.tell(owner::Event::Leave);
            }
            Event::Wake => {}
            Event::Reroute { fleet, offers } => {
                self.adopt(now, fleet);
                for (ticket, candidates) in offers {
                    self.offer(now, ticket, candidates, said);
                }
            }
            Event::Adopt(fleet) => self.adopt(now, fleet),
            event => {
                self.part_mut().tell(now, event);
                self.todo.push_back(Input::Lead(lead::Event::Wake));
            }
        }
        self.run(now, said);
    }

    /// Does what is to be done by now.
    pub(super) fn run(&mut self, now: Moment, said: &mut Vec<Said>) {
        self.now = now;
        self.work(now, said);
        if self.part().scheduler().next_wake().is_some_and(|wake| wake <= now) || self.lead_wakes(now) {
            match self.part_mut() {
                Part::Leads(_) => self.todo.push_back(Input::Lead(lead::Event::Wake)),
                follows @ Part::Follows(_) => follows.tell(now, Event::Wake),
            }
        }
        if self.owner.next_wake().is_some_and(|wake| wake <= now) {
            self.tell(owner::Event::Wake);
        }
        let over = self.cooling.iter().filter(|(_, cooling)| cooling.until <= now);
        for ticket in over.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
            if let Some(Cooling { outcome, usage, .. }) = self.cooling.remove(&ticket) {
                self.tell(owner::Event::Closed { ticket, outcome, usage });
            }
        }
        self.work(now, said);
        while let Some(&(_, ticket)) = self.due.first().filter(|(deadline, _)| *deadline <= now) {
            self.expire(now, ticket, said);
            self.work(now, said);
        }
        self.give_up(now, said);
    }

    fn lead_wakes(&mut self, now: Moment) -> bool {
        self.part_mut().lead().is_some_and(|lead| lead.next_wake().is_some_and(|wake| wake <= now))
    }

    /// When `run` wants to be called if nothing else happens before.
    pub(super) fn next_wake(&self) -> Option<Moment> {
        let core = match self.part() {
            Part::Follows(scheduler) => scheduler.next_wake(),
            Part::Leads(lead) => lead.next_wake(),
        };
        let due = self.due.first().map(|(deadline, _)| *deadline);
        let cooled = self.cooling.values().map(|cooling| cooling.until).min();
        let lost = self.leaderless.first().map(|(until, _)| *until);
        [core, self.owner.next_wake(), due, cooled, lost].into_iter().flatten().min()
    }

    pub(super) fn tell(&mut self, event: owner::Event) {
        self.todo.push_back(Input::Owner(event));
    }

    /// Another picture of the servers.
    fn adopt(&mut self, now: Moment, fleet: Arc<Fleet>) {
        let limits: BTreeMap<BackendId, u32> =
            fleet.backends.iter().map(|(id, backend)| (*id, backend.slots)).collect();
        self.part_mut().tell(now, Event::Adopt(fleet));
        let before = std::mem::replace(&mut self.limits, limits);
        let gone = before.keys().filter(|id| !self.limits.contains_key(id)).map(|id| (*id, 0));
        let there = self.limits.iter().map(|(id, slots)| (*id, *slots));
        let changed: Vec<(BackendId, u32)> =
            there.filter(|(id, slots)| before.get(id) != Some(slots)).chain(gone).collect();
        for (backend, slots) in changed {
            self.tell(owner::Event::Limit { backend, slots });
            self.todo.push_back(Input::Lead(lead::Event::Limit { backend, slots }));
        }
        self.todo.push_back(Input::Lead(lead::Event::Wake));
    }
}

#[cfg(test)]
mod tests {
    //! What no other data plane can bring about in order.

    use sched::{
        Backend, Cache, Health, ModelId, Refusal, SlotId,
        permit::{Incarnation, PlaneId},
    };

    use super::*;
    use crate::dispatch::Verdict;

    const BACKEND: BackendId = BackendId(1);
    const TIMES: (Moment, Moment) = (Moment(0), Moment::NEVER);

    struct Nowhere;

    impl Links for Nowhere {
        fn connect(&self, _: PlaneId, _: u64) {}

        fn disconnect(&self) {}
    }

    fn sharing(fleet: Fleet) -> Sharing {
        let me = Member { plane: PlaneId(1), incarnation: Incarnation(1) };
        let mut scheduler = Box::new(Scheduler::new(0, Arc::new(fleet)));
        scheduler.share(Moment(0), true);
        Sharing::new(me, scheduler, Arc::new(Nowhere))
    }

    fn wants() -> Arc<Wants> {
        let candidates = Box::new([Candidate { backend: BACKEND, model: ModelId(0), reserve: 0 }]);
        Arc::new(Wants { candidates, ..Wants::nothing() })
    }

    /// What the core says to what it hears beside the protocol reaches those who wait.
    #[test]
    fn who_waits_at_the_lead_hears_what_another_fleet_means_for_him() {
        let backend = Backend {
            slots: 1,
            priority: 0,
            max_input_tokens: None,
            health: Health::Healthy,
            draining: false,
            release_grace: Span::ZERO,
            cache: Cache::Pool { tokens: 100_000 },
            models_max: None,
            resident: Arc::from([]),
            lot: 0,
        };
        let alone = Fleet { owner: true, queue_max: 8, ..Fleet::default() };
        let fleet = Fleet { backends: BTreeMap::from([(BACKEND, backend)]), ..alone.clone() };
        let mut sharing = sharing(fleet.clone());
        let (me, term) = (sharing.me, Term(1));
        let Some(Part::Follows(scheduler)) = sharing.part.take() else { panic!("nobody leads yet") };
        let roll = BTreeMap::from([(me.plane, me.incarnation)]);
        sharing.part = Some(Part::Leads(Box::new(Lead::new(term, me.plane, roll, *scheduler))));
        sharing.tell(owner::Event::Picture { lead: Some((me.plane, term)) });
        let mut said = Vec::new();
        sharing.handle(Moment(1), Event::Adopt(Arc::new(fleet)), &mut said);
        for ticket in [TicketId(1), TicketId(2)] {
            sharing.enter(ticket, ticket, TIMES, wants(), Vec::new());
            sharing.run(Moment(2), &mut said);
        }
        assert!(matches!(said.as_slice(), [(TicketId(1), verdict)] if verdict.said.is_ok()));
        said.clear();
        sharing.handle(Moment(3), Event::Adopt(Arc::new(alone)), &mut said);
        assert!(matches!(said.as_slice(), [(TicketId(2), Verdict { said: Err(Refusal::NoCandidate), .. })]));
    }

    #[test]
    fn a_slot_given_to_one_that_is_gone_is_free_again() {
        let mut sharing = sharing(Fleet::default());
        let (backend, slot) = (BACKEND, SlotId(0));
        sharing.tell(owner::Event::Owns { permit: Permit { backend, slot } });
        let (times, wants) = (TIMES, wants());
        sharing.enter(TicketId(1), TicketId(1), times, wants.clone(), Vec::new());
        let _ = sharing.remove(TicketId(1));
        let mut said = Vec::new();
        sharing.work(Moment::default(), &mut said);
        assert!(said.is_empty(), "nobody is there to be told");
        assert_eq!(sharing.standing().permits.get(&backend), Some(&(1, 1)));
        sharing.enter(TicketId(2), TicketId(2), times, wants, Vec::new());
        sharing.work(Moment::default(), &mut said);
        assert!(matches!(said.as_slice(), [(TicketId(2), verdict)] if verdict.said.is_ok()));
    }
}
