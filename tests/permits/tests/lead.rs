//! To whom the lead gives which permit, and what it waits for.

use std::sync::Arc;

use permits::fifo::Fifo;
use sched::lead::{Act, Event, Lead, StreamId};
use sched::permit::{
    Down, Holding, Incarnation, Member, PARK_AFTER, Permit, PlaneId, Roll, Term, Then, Ticket, Up, Wants,
};
use sched::{
    Asked, BackendId, Candidate, Chain, Class, Key, ModelId, Moment, Outcome, Policy, SlotId, Span, TicketId,
    Usage,
};

/// A lead of term 5 over data planes 1, 2 and 3, of which it is none, and what it said last in short words.
struct Desk {
    lead: Lead<Fifo>,
    now: u64,
    attempts: u64,
}

impl Desk {
    /// A backend with so many slots, of which nobody has reported anything.
    fn new(slots: u32) -> Self {
        let lead = Lead::new(Term(5), PlaneId(0), roll(&[(1, 1), (2, 1), (3, 1)]), Fifo::default());
        let mut desk = Desk { lead, now: 1_000_000, attempts: 0 };
        desk.tell(Event::Limit { backend: BackendId(0), slots });
        desk
    }

    /// All have reported that they hold nothing; data plane N by stream N.
    fn whole(slots: u32) -> Self {
        let mut desk = Desk::new(slots);
        for plane in [1, 2, 3] {
            assert_eq!(desk.hello(plane, 1, 5), format!("{plane}: welcome 5"));
            desk.report(plane, &[]);
        }
        desk
    }

    fn tell(&mut self, event: Event) -> String {
        let mut acts = Vec::new();
        self.lead.handle(Moment(self.now), event, &mut acts);
        acts.iter().map(told).collect::<Vec<_>>().join(", ")
    }

    fn say(&mut self, plane: u64, message: Up) -> String {
        self.tell(Event::Heard { stream: StreamId(plane), message })
    }

    fn hello(&mut self, plane: u64, incarnation: u64, heard: u64) -> String {
        self.attempts += 1;
        let member = Member { plane: PlaneId(plane as u32), incarnation: Incarnation(incarnation) };
        self.say(plane, Up::Hello { member, heard: Term(heard), attempt: self.attempts })
    }

    fn report(&mut self, plane: u64, held: &[(u32, Option<u64>)]) -> String {
        let holding = |(slot, running): &(u32, Option<u64>)| Holding {
            permit: permit(*slot),
            running: running.map(|ticket| (TicketId(ticket), wants())),
        };
        self.say(plane, Up::Report { held: held.iter().map(holding).collect() })
    }

    fn ticket(&mut self, plane: u64, ticket: u64, age: u64) -> String {
        let (age, patience) = (Span(age), Span::from_secs(60));
        let ticket = Ticket { id: TicketId(ticket), age, patience, wants: wants(), tried: Vec::new() };
        self.say(plane, Up::Ticket(ticket))
    }

    fn started(&mut self, plane: u64, slot: u32, ticket: u64, unasked: bool) -> String {
        let wants = unasked.then(wants);
        self.say(plane, Up::Started { permit: permit(slot), ticket: TicketId(ticket), wants })
    }

    fn done(&mut self, plane: u64, slot: u32, ticket: u64, then: Then) -> String {
        let (outcome, usage) = (Outcome::Done, Usage::default());
        self.say(plane, Up::Done { permit: permit(slot), ticket: TicketId(ticket), outcome, usage, then })
    }
}

fn roll(members: &[(u32, u64)]) -> Roll {
    members.iter().map(|(plane, incarnation)| (PlaneId(*plane), Incarnation(*incarnation))).collect()
}

fn permit(slot: u32) -> Permit {
    Permit { backend: BackendId(0), slot: SlotId(slot) }
}

fn wants() -> Arc<Wants> {
    Arc::new(Wants {
        key: Key(0),
        asked: Asked(0),
        weight: 1,
        class: Class::Normal,
        prompt_tokens: 1,
        prompt: Chain::default(),
        policy: Policy::Priority,
        candidates: Box::new([Candidate { backend: BackendId(0), model: ModelId(0), reserve: 0 }]),
    })
}

fn told(act: &Act) -> String {
    let said = match act {
        Act::Close { stream } => return format!("{}: close", stream.0),
        Act::StepDown => return "step down".to_owned(),
        Act::Send { message, .. } => match message {
            Down::Welcome { term } => format!("welcome {}", term.0),
            Down::Grant { permit, ticket, .. } => format!("grant {} for {}", permit.slot.0, ticket.0),
            Down::Park { permit, .. } => format!("park {}", permit.slot.0),
            Down::Next { permit, ticket } => format!("next on {} is {}", permit.slot.0, ticket.0),
            Down::Line { next, contended, .. } => {
                let next =
                    next.iter().map(|next| next.map_or(" other".to_owned(), |own| format!(" {}", own.0)));
                format!("line{}{}", next.collect::<String>(), if *contended { "" } else { " open" })
            }
            Down::Revoke { permit } => format!("revoke {}", permit.slot.0),
            Down::Digest(_) => "digest".to_owned(),
            Down::Refuse { ticket, .. } => format!("refuse {}", ticket.0),
        },
    };
    let Act::Send { stream, .. } = act else { return said };
    format!("{}: {said}", stream.0)
}

#[test]
fn a_free_permit_goes_to_the_one_that_waited_longest() {
    let mut desk = Desk::whole(1);
    assert_eq!(desk.ticket(1, 7, 0), "1: grant 0 for 7");
    assert_eq!(desk.ticket(2, 8, 0), "1: line other");
    desk.now += 10;
    // it came before the one above, and took longer to say so
    assert_eq!(desk.ticket(3, 9, 20), "");
    assert_eq!(desk.done(1, 0, 7, Then::Release), "3: grant 0 for 9, 3: line other");
    assert_eq!(desk.done(3, 0, 9, Then::Release), "2: grant 0 for 8");
}

#[test]
fn an_idle_permit_is_asked_back_and_goes_on() {
    let mut desk = Desk::whole(1);
    desk.ticket(1, 7, 0);
    desk.started(1, 0, 7, false);
    assert_eq!(desk.done(1, 0, 7, Then::Park), "");
    assert_eq!(desk.ticket(2, 8, 0), "1: revoke 0");
    assert_eq!(desk.say(1, Up::Release { permit: permit(0) }), "2: grant 0 for 8");
}

#[test]
fn its_own_data_plane_needs_no_permit_of_another() {
    let mut desk = Desk::whole(1);
    desk.ticket(1, 7, 0);
    desk.done(1, 0, 7, Then::Park);
    assert_eq!(desk.ticket(1, 8, 0), "1: next on 0 is 8");
    // meanwhile another of it started there unasked
    assert_eq!(desk.started(1, 0, 9, true), "1: line 8");
    assert_eq!(desk.done(1, 0, 9, Then::Next(TicketId(8))), "1: line open");
    assert_eq!(desk.done(1, 0, 8, Then::Park), "");
}

#[test]
fn what_nobody_wants_is_parked_where_it_was_used() {
    let mut desk = Desk::whole(1);
    desk.ticket(1, 7, 0);
    assert_eq!(desk.done(1, 0, 7, Then::Release), "");
    assert_eq!(desk.lead.next_wake(), Some(Moment(desk.now) + PARK_AFTER));
    desk.now += PARK_AFTER.0;
    assert_eq!(desk.tell(Event::Wake), "1: park 0");
    assert_eq!(desk.ticket(2, 8, 0), "1: revoke 0");
}

#[test]
fn nothing_moves_that_somebody_may_have_who_has_not_reported() {
    let mut desk = Desk::new(2);
    desk.hello(1, 1, 5);
    desk.report(1, &[(0, Some(4))]);
    desk.hello(2, 1, 5);
    desk.report(2, &[]);
    assert_eq!(desk.ticket(2, 8, 0), "1: line other");
    // what was reported moves at once
    assert_eq!(desk.done(1, 0, 4, Then::Release), "2: grant 0 for 8");
    assert_eq!(desk.ticket(2, 9, 0), "2: line 9");
    desk.hello(3, 1, 5);
    assert_eq!(desk.report(3, &[]), "2: grant 1 for 9, 2: line open");
}

#[test]
fn a_broken_stream_frees_nothing_and_a_report_what_it_lacks() {
    let mut desk = Desk::whole(1);
    desk.ticket(1, 7, 0);
    assert_eq!(desk.tell(Event::Closed { stream: StreamId(1) }), "");
    assert_eq!(desk.ticket(2, 8, 0), "");
    desk.hello(1, 1, 5);
    assert_eq!(desk.report(1, &[]), "2: grant 0 for 8");
}

#[test]
fn a_picture_that_lacks_it_is_proof_of_death() {
    let mut desk = Desk::whole(1);
    desk.ticket(1, 7, 0);
    desk.ticket(2, 8, 0);
    desk.tell(Event::Closed { stream: StreamId(1) });
    let pictured = |members| Event::Picture { term: Term(5), roll: roll(members) };
    assert_eq!(desk.tell(pictured(&[(1, 1), (2, 1), (3, 1)])), "");
    assert_eq!(desk.tell(pictured(&[(1, 2), (2, 1), (3, 1)])), "2: grant 0 for 8");
    assert_eq!(desk.hello(1, 1, 5), "1: close", "it is dead");
    assert_eq!(desk.hello(1, 2, 5), "1: welcome 5");
    assert_eq!(desk.hello(4, 1, 5), "4: close", "no picture names it yet");
}

#[test]
fn it_ends_when_there_is_a_later_term() {
    assert_eq!(Desk::whole(1).hello(1, 1, 6), "step down");
    let mut desk = Desk::whole(1);
    let later = Event::Picture { term: Term(6), roll: roll(&[(1, 1)]) };
    assert_eq!(desk.tell(later), "step down");
    assert!(desk.lead.over());
    assert_eq!(desk.ticket(1, 7, 0), "");
}

#[test]
fn an_earlier_stream_is_not_heard_and_repeats_are_closed() {
    let mut desk = Desk::whole(1);
    let member = Member { plane: PlaneId(1), incarnation: Incarnation(1) };
    let again = Up::Hello { member, heard: Term(5), attempt: 1 };
    assert_eq!(desk.say(9, again), "9: close");
    let later = Up::Hello { member, heard: Term(5), attempt: 50 };
    assert_eq!(desk.say(10, later), "1: close, 10: welcome 5");
    assert_eq!(desk.ticket(1, 7, 0), "", "its stream is over");
}

#[test]
fn fewer_slots_are_taken_back_when_they_are_idle() {
    let mut desk = Desk::whole(2);
    desk.ticket(1, 7, 0);
    desk.ticket(1, 8, 0);
    desk.done(1, 0, 7, Then::Park);
    assert_eq!(desk.tell(Event::Limit { backend: BackendId(0), slots: 0 }), "1: revoke 0, 1: revoke 1");
    desk.say(1, Up::Release { permit: permit(0) });
    assert_eq!(desk.ticket(2, 9, 0), "1: line other");
    desk.done(1, 1, 8, Then::Release);
    assert_eq!(desk.lead.permits().count(), 0);
}
