//! What a data plane does with the permits that it holds.

use std::sync::Arc;

use sched::owner::{Act, Event, Owner};
use sched::permit::{Down, Incarnation, Permit, PlaneId, Term, Then, Up, Wants};
use sched::{
    Asked, BackendId, Candidate, Chain, Class, Fault, Key, ModelId, Moment, Outcome, Policy, SlotId, Span,
    TicketId, Usage,
};

const LEAD: PlaneId = PlaneId(1);

/// A data plane and what it said last, in short words.
struct Desk {
    owner: Owner,
    now: u64,
}

impl Desk {
    fn new() -> Self {
        Desk { owner: Owner::new(PlaneId(2), Incarnation(1)), now: 0 }
    }

    /// One that has a lead of this term, by its first stream.
    fn led(term: u64) -> Self {
        let mut desk = Desk::new();
        assert_eq!(desk.picture(LEAD, term), "connect 1 as 1");
        assert_eq!(desk.tell(Event::Up { attempt: 1 }), format!("hello heard {term}"));
        assert_eq!(desk.hear(Down::Welcome { term: Term(term) }), "report");
        desk
    }

    fn tell(&mut self, event: Event) -> String {
        self.now += 1;
        let mut acts = Vec::new();
        self.owner.handle(Moment(self.now), event, &mut acts);
        acts.iter().map(told).collect::<Vec<_>>().join(", ")
    }

    fn picture(&mut self, lead: PlaneId, term: u64) -> String {
        self.tell(Event::Picture { lead: Some((lead, Term(term))) })
    }

    fn hear(&mut self, message: Down) -> String {
        let attempt = self.owner.stream().expect("there is a stream");
        self.tell(Event::Heard { attempt, message })
    }

    /// A request for backend 0, where it may start unasked.
    fn arrive(&mut self, ticket: u64) -> String {
        self.tell(Event::Arrive {
            ticket: TicketId(ticket),
            wants: wants(),
            since: Moment(self.now + 1),
            deadline: Moment(1_000_000),
            unasked: vec![BackendId(0)],
        })
    }

    fn done(&mut self, ticket: u64) -> String {
        let (outcome, usage) = (Outcome::Done, Usage::default());
        self.tell(Event::Closed { ticket: TicketId(ticket), outcome, usage })
    }

    fn grant(&mut self, term: u64, slot: u32, ticket: u64) -> String {
        self.hear(Down::Grant { term: Term(term), permit: permit(slot), ticket: TicketId(ticket) })
    }

    fn park(&mut self, term: u64, slot: u32) -> String {
        self.hear(Down::Park { term: Term(term), permit: permit(slot) })
    }

    fn line(&mut self, next: &[Option<u64>]) -> String {
        let next: Vec<_> = next.iter().map(|ticket| ticket.map(TicketId)).collect();
        let contended = !next.is_empty();
        self.hear(Down::Line { backend: BackendId(0), next, contended })
    }
}

fn wants() -> Arc<Wants> {
    let candidate = Candidate { backend: BackendId(0), model: ModelId(0), reserve: 0 };
    Arc::new(Wants {
        key: Key(0),
        asked: Asked(0),
        weight: 1,
        class: Class::Normal,
        prompt_tokens: 1,
        prompt: Chain::default(),
        policy: Policy::Priority,
        candidates: Box::new([candidate]),
    })
}

fn permit(slot: u32) -> Permit {
    Permit { backend: BackendId(0), slot: SlotId(slot) }
}

fn told(act: &Act) -> String {
    match act {
        Act::Connect { lead, attempt } => format!("connect {} as {attempt}", lead.0),
        Act::Disconnect => "disconnect".to_owned(),
        Act::Start { ticket, permit } => format!("start {} on {}", ticket.0, permit.slot.0),
        Act::Refuse { ticket, .. } => format!("refuse {}", ticket.0),
        Act::Learn(_) => "learn".to_owned(),
        Act::Abort { ticket } => format!("abort {}", ticket.0),
        Act::Send(up) => match up {
            Up::Hello { heard, .. } => format!("hello heard {}", heard.0),
            Up::Report { held } => {
                let held = held.iter().map(|holding| {
                    let busy = holding.running.as_ref().map(|(ticket, _)| format!(" runs {}", ticket.0));
                    format!(" {}{}", holding.permit.slot.0, busy.unwrap_or_default())
                });
                format!("report{}", held.collect::<String>())
            }
            Up::Ticket(ticket) => format!("ticket {} of age {}", ticket.id.0, ticket.age.0),
            Up::Started { ticket, permit, wants } => {
                let unasked = if wants.is_some() { " unasked" } else { "" };
                format!("started {} on {}{unasked}", ticket.0, permit.slot.0)
            }
            Up::FirstToken { ticket } => format!("first {}", ticket.0),
            Up::Done { ticket, then, .. } => format!("done {} then {}", ticket.0, after(*then)),
            Up::Failed { ticket, then, .. } => format!("failed {} then {}", ticket.0, after(*then)),
            Up::Release { permit } => format!("release {}", permit.slot.0),
            Up::Cancel { ticket } => format!("cancel {}", ticket.0),
        },
    }
}

fn after(then: Then) -> String {
    match then {
        Then::Park => "park".to_owned(),
        Then::Release => "release".to_owned(),
        Then::Next(ticket) => format!("next {}", ticket.0),
    }
}

#[test]
fn it_starts_unasked_on_what_is_parked_while_nobody_waits() {
    let mut desk = Desk::led(1);
    assert_eq!(desk.arrive(1), "ticket 1 of age 0");
    assert_eq!(desk.grant(1, 0, 1), "started 1 on 0, start 1 on 0");
    assert_eq!(desk.done(1), "done 1 then park");
    assert_eq!(desk.arrive(2), "started 2 on 0 unasked, start 2 on 0");
    assert_eq!(desk.done(2), "done 2 then park");
    desk.line(&[None]);
    assert_eq!(desk.arrive(3), "ticket 3 of age 0", "somebody waits there");
    let next = Down::Next { permit: permit(0), ticket: TicketId(3) };
    assert_eq!(desk.hear(next), "started 3 on 0, start 3 on 0");
}

#[test]
fn the_line_says_who_is_next_when_a_request_ends() {
    let mut desk = Desk::led(1);
    for slot in 0..3 {
        desk.park(1, slot);
        desk.arrive(u64::from(slot));
    }
    for ticket in [3, 4] {
        assert_eq!(desk.arrive(ticket), format!("ticket {ticket} of age 0"));
    }
    desk.line(&[Some(3), None, Some(4)]);
    assert_eq!(desk.done(0), "done 0 then next 3, start 3 on 0");
    assert_eq!(desk.done(1), "done 1 then release");
    assert_eq!(desk.done(2), "done 2 then next 4, start 4 on 2");
    assert_eq!(desk.done(3), "done 3 then release", "more wait than the line says");
}

#[test]
fn a_grant_whose_ticket_is_gone_serves_the_next_or_goes_back() {
    let mut desk = Desk::led(1);
    desk.arrive(1);
    assert_eq!(desk.tell(Event::Cancel { ticket: TicketId(1) }), "cancel 1");
    assert_eq!(desk.grant(1, 0, 1), "release 0");
    desk.arrive(2);
    desk.line(&[Some(2)]);
    assert_eq!(desk.grant(1, 0, 1), "started 2 on 0, start 2 on 0");
    assert_eq!(desk.owner.held().count(), 1);
}

#[test]
fn what_is_asked_back_goes_when_it_is_idle() {
    let mut desk = Desk::led(1);
    desk.park(1, 0);
    desk.park(1, 1);
    desk.arrive(1);
    assert_eq!(desk.hear(Down::Revoke { permit: permit(1) }), "release 1");
    assert_eq!(desk.hear(Down::Revoke { permit: permit(0) }), "", "its request runs");
    assert_eq!(desk.done(1), "done 1 then release");
    assert_eq!(desk.hear(Down::Revoke { permit: permit(0) }), "", "it is gone already");
}

#[test]
fn slots_that_are_no_more_go_back_and_cut_nothing() {
    let mut desk = Desk::led(1);
    for slot in 0..3 {
        desk.park(1, slot);
    }
    desk.arrive(1);
    assert_eq!(desk.tell(Event::Limit { backend: BackendId(0), slots: 0 }), "release 1, release 2");
    assert_eq!(desk.done(1), "done 1 then release");
}

#[test]
fn without_a_lead_it_works_on_with_what_it_holds() {
    let mut desk = Desk::led(1);
    desk.park(1, 0);
    desk.arrive(1);
    desk.line(&[None]);
    desk.arrive(2);
    assert_eq!(desk.tell(Event::Lost { attempt: 1 }), "connect 1 as 2");
    assert_eq!(desk.done(1), "start 2 on 0");
    assert_eq!(desk.arrive(3), "");
    assert_eq!(desk.tell(Event::Up { attempt: 2 }), "hello heard 1");
    let told = desk.hear(Down::Welcome { term: Term(1) });
    assert_eq!(told, "report 0 runs 2, ticket 3 of age 2");
}

#[test]
fn the_report_comes_behind_the_welcome_and_earlier_terms_are_not_heard() {
    let mut desk = Desk::led(3);
    desk.park(3, 0);
    assert_eq!(desk.picture(LEAD, 2), "", "an older picture");
    assert_eq!(desk.picture(PlaneId(5), 4), "disconnect, connect 5 as 2");
    assert_eq!(desk.tell(Event::Up { attempt: 2 }), "hello heard 4");
    assert_eq!(desk.park(4, 1), "", "it has not been welcomed");
    assert_eq!(desk.hear(Down::Welcome { term: Term(3) }), "disconnect", "a lead of before");
    assert_eq!(desk.picture(PlaneId(5), 4), "connect 5 as 3");
    assert_eq!(desk.tell(Event::Up { attempt: 3 }), "hello heard 4");
    assert_eq!(desk.hear(Down::Welcome { term: Term(4) }), "report 0");
    assert_eq!(desk.park(3, 2), "", "a permit of a term that is over");
    let late = Down::Park { term: Term(4), permit: permit(3) };
    assert_eq!(desk.tell(Event::Heard { attempt: 2, message: late }), "", "a stream that is over");
    assert_eq!(desk.owner.held().map(|(permit, _)| permit.slot.0).collect::<Vec<_>>(), [0]);
}

#[test]
fn one_that_leaves_hands_all_back() {
    let mut desk = Desk::led(1);
    desk.park(1, 0);
    desk.park(1, 1);
    desk.arrive(1);
    desk.line(&[None]);
    desk.arrive(2);
    assert_eq!(desk.tell(Event::Leave), "release 1");
    assert_eq!(desk.park(1, 2), "release 2");
    assert_eq!(desk.grant(1, 3, 2), "started 2 on 3, start 2 on 3", "who waits is served");
    assert_eq!(desk.done(2), "done 2 then release");
    assert_eq!(desk.done(1), "done 1 then release");
    assert_eq!(desk.owner.held().count(), 0);
}

#[test]
fn one_that_leaves_without_a_lead_serves_who_waits_first() {
    let mut desk = Desk::led(1);
    desk.park(1, 0);
    desk.arrive(1);
    desk.line(&[None]);
    desk.arrive(2);
    desk.tell(Event::Lost { attempt: 1 });
    assert_eq!(desk.tell(Event::Leave), "");
    assert_eq!(desk.done(1), "start 2 on 0");
    assert_eq!(desk.done(2), "");
    assert_eq!(desk.owner.held().count(), 0);
}

#[test]
fn where_silence_is_death_it_ends_before_that() {
    let mut desk = Desk::led(1);
    desk.tell(Event::Contact { sent: Moment(1_000) });
    desk.tell(Event::Silence(Some(Span::from_secs(10))));
    desk.park(1, 0);
    desk.park(1, 1);
    desk.arrive(1);
    let due = Moment(8_001_000);
    assert_eq!(desk.owner.next_wake(), Some(due));
    desk.now = due.0;
    assert_eq!(desk.tell(Event::Wake), "abort 1, release 1");
    assert_eq!(desk.arrive(2), "ticket 2 of age 0");
    assert_eq!(desk.grant(1, 2, 2), "release 2");
    assert_eq!(desk.done(1), "done 1 then release");
    desk.tell(Event::Contact { sent: due });
    assert_eq!(desk.grant(1, 2, 2), "started 2 on 2, start 2 on 2");
}

#[test]
fn one_that_is_held_for_dead_ends_all() {
    let mut desk = Desk::led(1);
    desk.park(1, 0);
    desk.park(1, 1);
    desk.arrive(1);
    assert_eq!(desk.tell(Event::Fenced), "abort 1, release 1, disconnect");
    assert_eq!(desk.done(1), "");
    assert_eq!(desk.owner.held().count(), 0);
    assert_eq!(desk.picture(LEAD, 2), "", "it looks for no lead any more");
    desk.tell(Event::Contact { sent: Moment(desk.now) });
    assert_eq!(desk.arrive(2), "");
}

#[test]
fn what_one_alone_runs_is_in_its_first_report() {
    let mut desk = Desk::new();
    let deadline = Moment(9);
    desk.tell(Event::Runs { ticket: TicketId(4), permit: permit(1), wants: wants(), deadline });
    assert_eq!(desk.picture(PlaneId(2), 1), "connect 2 as 1", "it leads itself");
    desk.tell(Event::Up { attempt: 1 });
    assert_eq!(desk.hear(Down::Welcome { term: Term(1) }), "report 1 runs 4");
    assert_eq!(desk.done(4), "done 4 then release", "its lead has what is idle");
}

#[test]
fn what_one_alone_had_is_in_its_first_report() {
    let mut desk = Desk::new();
    desk.tell(Event::Owns { permit: permit(0) });
    desk.picture(LEAD, 1);
    desk.tell(Event::Up { attempt: 1 });
    assert_eq!(desk.hear(Down::Welcome { term: Term(1) }), "report 0");
    desk.tell(Event::Owns { permit: permit(1) });
    assert_eq!(desk.owner.held().count(), 1, "a lead gives permits from now on");
}

#[test]
fn a_slot_whose_engine_is_at_work_stays_busy_though_its_request_goes_on() {
    let mut desk = Desk::led(1);
    desk.arrive(1);
    desk.grant(1, 0, 1);
    desk.arrive(2);
    desk.line(&[Some(2), None]);
    let cools = Some(TicketId(9));
    let failed = Event::Failed { ticket: TicketId(1), fault: Fault::Reset, sent: true, cools };
    assert_eq!(desk.tell(failed), "failed 1 then park, started 9 on 0 unasked, cancel 1, refuse 1");
    assert_eq!(desk.owner.waiting(), 1);
    assert_eq!(desk.done(9), "done 9 then next 2, start 2 on 0");
}
