//! What the core tells of how it placed requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use sched::{
    Arrival, Asked, Backend, BackendId, Bar, Block, Cache, Candidate, Chain, Class, Decision, Event, Fault,
    Fleet, Health, Key, LOOKS_MAX, ModelId, Moment, Outcome, Policy, ROWS_MAX, Reason, Row, Scheduler, Seat,
    Span, TicketId, Tuning, Usage, Verdict,
};

const A: BackendId = BackendId(0);
const B: BackendId = BackendId(1);
const C: BackendId = BackendId(2);
const D: BackendId = BackendId(3);

fn backend(slots: u32) -> Backend {
    Backend {
        slots,
        priority: 0,
        max_input_tokens: None,
        health: Health::Healthy,
        draining: false,
        release_grace: Span::ZERO,
        cache: Cache::Slots { ram: 0 },
        models_max: None,
        resident: Arc::default(),
        lot: 0,
    }
}

fn fleet(backends: &[(BackendId, Backend)]) -> Arc<Fleet> {
    let backends: BTreeMap<_, _> = backends.iter().cloned().collect();
    Arc::new(Fleet { owner: true, queue_max: 100, tuning: Tuning::default(), backends })
}

fn core(fleet: Arc<Fleet>) -> Scheduler {
    let mut core = Scheduler::new(1, fleet);
    core.explain(true);
    core
}

/// A prompt of so many blocks of 500 tokens that begins with `text`.
fn chain(text: u64, blocks: u64) -> Chain {
    Chain::new((0..blocks).map(|block| Block { hash: text << 32 | block, tokens: 500, own: false }))
}

fn arrival(ticket: u64, on: &[BackendId], prompt: Chain) -> Arrival {
    Arrival {
        ticket: TicketId(ticket),
        key: Key(0),
        asked: Asked(0),
        weight: 1,
        class: Class::Normal,
        prompt_tokens: 10,
        prompt,
        policy: Policy::CacheAffine,
        candidates: on.iter().map(|id| Candidate { backend: *id, model: ModelId(0), reserve: 0 }).collect(),
        deadline: Moment(600_000_000),
    }
}

fn tell(core: &mut Scheduler, millis: u64, event: Event) -> Vec<Decision> {
    let mut out = Vec::new();
    core.handle(Moment(millis * 1000), event, &mut out);
    out
}

fn done(ticket: u64) -> Event {
    Event::Finish { ticket: TicketId(ticket), outcome: Outcome::Done, usage: Usage::default() }
}

fn started(out: &[Decision]) -> Vec<(u64, BackendId)> {
    let start = |decision: &Decision| match decision {
        Decision::Start { ticket, backend, .. } => Some((ticket.0, *backend)),
        Decision::Refuse { .. } => None,
    };
    out.iter().filter_map(start).collect()
}

fn barred(rows: &[Row]) -> Vec<(BackendId, Bar)> {
    let bar = |row: &Row| match row.seat {
        Seat::None(bar) => Some((row.backend, bar)),
        _ => None,
    };
    rows.iter().filter_map(bar).collect()
}

#[test]
fn the_terms_add_up_to_what_decides() {
    let mut core = core(fleet(&[(A, backend(1)), (B, backend(1))]));
    assert_eq!(started(&tell(&mut core, 0, Event::Arrive(arrival(1, &[A], chain(1, 8))))), [(1, A)]);
    tell(&mut core, 10, done(1));
    // two blocks more than what A holds
    let out = tell(&mut core, 20, Event::Arrive(arrival(2, &[A, B], chain(1, 10))));
    assert_eq!(started(&out), [(2, A)]);
    let story = core.story(TicketId(2)).expect("it was weighed").clone();
    assert_eq!(story.winner(), Some((0, A)));
    assert_eq!((story.tokens, story.policy, story.arrived), (5000, Policy::CacheAffine, Moment(20_000)));
    let [look] = &*story.looks else { panic!("one look: {story:?}") };
    assert_eq!(look.verdict, Verdict::Start { candidate: 0, backend: A, reason: Reason::Cheapest });
    let [Row { backend: A, seat: Seat::Free(warm), .. }, Row { backend: B, seat: Seat::Free(cold), .. }] =
        &*look.rows
    else {
        panic!("the winner first: {look:?}")
    };
    assert_eq!((warm.cached, warm.uncached, cold.cached, cold.uncached), (4000, 1000, 0, 5000));
    assert_eq!((warm.rate, warm.prefill, warm.wait, warm.load), (1000.0, 1.0, 0.0, 0.0));
    assert_eq!((cold.prefill, cold.cost()), (5.0, 5.0));
    assert!(warm.cost() < cold.cost());
    let expected = core.expected(TicketId(2)).expect("it runs");
    assert_eq!((expected.cached, expected.first_token), (4000, 1.0));
    assert_eq!(core.take_story(TicketId(2)).as_deref(), Some(&story));
    assert_eq!(core.take_story(TicketId(2)), None);
}

#[test]
fn a_wait_is_told_with_what_it_saves_and_its_bound() {
    let mut core = core(fleet(&[(A, backend(1)), (B, backend(1))]));
    tell(&mut core, 0, Event::Arrive(arrival(1, &[A], chain(1, 20))));
    tell(&mut core, 10, Event::FirstToken { ticket: TicketId(1) });
    // its conversation is in A's only slot, which is busy; B would read 11,000 tokens
    assert_eq!(tell(&mut core, 20, Event::Arrive(arrival(2, &[A, B], chain(1, 22)))), []);
    let story = core.story(TicketId(2)).expect("it waits").clone();
    assert_eq!(story.winner(), None);
    let Verdict::Await { backend: A, saves, at_most } = story.looks[0].verdict else {
        panic!("it waits for A: {story:?}")
    };
    assert!((9.0..11.0).contains(&saves), "{saves}");
    assert_eq!(at_most, Span((saves * 0.5 * 1e6).ceil() as u64), "half of what it saves");
    let Row { backend: A, seat: Seat::Busy(busy), .. } = story.looks[0].rows[0] else { panic!("{story:?}") };
    assert!(busy.wait > 0.0 && busy.cached >= 10_000, "{busy:?}");
    // the wait is over: it takes what is free
    let wake = core.next_wake().expect("it is looked at again").0 / 1000 + 1;
    let mut now = wake;
    while core.next_wake().is_some() && core.story(TicketId(2)).is_some_and(|story| story.winner().is_none())
    {
        tell(&mut core, now, Event::Wake);
        now = core.next_wake().map_or(now, |wake| wake.0 / 1000 + 1);
    }
    let story = core.story(TicketId(2)).expect("it runs");
    let last = story.looks.last().expect("a look");
    assert_eq!(last.verdict, Verdict::Start { candidate: 1, backend: B, reason: Reason::Waited });
    assert_eq!(story.looks.len(), 2);
    assert_eq!(barred(&last.rows), []);
}

#[test]
fn who_could_not_is_told_with_the_reason() {
    let rows = [
        (A, Backend { draining: true, ..backend(1) }),
        (B, Backend { health: Health::Unhealthy, ..backend(1) }),
        (C, Backend { max_input_tokens: Some(100), ..backend(1) }),
        (D, backend(1)),
    ];
    let mut core = core(fleet(&rows));
    let all = [A, B, C, D, BackendId(9)];
    let bars = [(A, Bar::Draining), (B, Bar::Down), (C, Bar::TooLong), (BackendId(9), Bar::Gone)];
    assert_eq!(started(&tell(&mut core, 0, Event::Arrive(arrival(1, &all, chain(1, 4))))), [(1, D)]);
    let story = core.story(TicketId(1)).expect("it runs");
    assert_eq!(barred(&story.looks[0].rows), bars);
    tell(&mut core, 5, Event::Arrive(arrival(2, &all, chain(2, 4))));
    let story = core.story(TicketId(2)).expect("it waits");
    assert_eq!(story.looks[0].verdict, Verdict::Full);
    assert!(matches!(story.looks[0].rows[0], Row { backend: D, seat: Seat::Busy(_), .. }), "{story:?}");
    let fail = Event::Fail { ticket: TicketId(1), fault: Fault::Reset, sent: true };
    let out = tell(&mut core, 10, fail);
    assert!(matches!(out[0], Decision::Refuse { ticket: TicketId(1), .. }), "{out:?}");
    let story = core.story(TicketId(1)).expect("it was refused by this event");
    let last = story.looks.last().expect("a look");
    assert_eq!(last.verdict, Verdict::Full);
    let tried = [(A, Bar::Draining), (B, Bar::Down), (C, Bar::TooLong), (D, Bar::Tried)];
    assert_eq!(barred(&last.rows)[..4], tried);
    tell(&mut core, 11, Event::Wake);
    assert_eq!(core.story(TicketId(1)), None, "told once");
}

#[test]
fn a_policy_by_order_tells_what_it_saw() {
    let preferred = Backend { priority: 3, ..backend(2) };
    let mut core = core(fleet(&[(A, backend(1)), (B, preferred)]));
    let by_priority = Arrival { policy: Policy::Priority, ..arrival(1, &[A, B], Chain::default()) };
    assert_eq!(started(&tell(&mut core, 0, Event::Arrive(by_priority))), [(1, B)]);
    let story = core.story(TicketId(1)).expect("two were there");
    assert_eq!(story.looks[0].verdict, Verdict::Start { candidate: 1, backend: B, reason: Reason::Order });
    let seats: Vec<Seat> = story.looks[0].rows.iter().map(|row| row.seat).collect();
    let open = |vacant, slots, priority| Seat::Open { vacant, slots, priority };
    assert_eq!(seats, [open(2, 2, 3), open(1, 1, 0)]);
}

#[test]
fn what_is_kept_is_bounded() {
    let many: Vec<BackendId> = (0..64).map(BackendId).collect();
    let rows: Vec<_> = many.iter().map(|id| (*id, backend(1))).collect();
    let mut core = core(fleet(&rows));
    for ticket in 0..64 {
        let out = tell(&mut core, 0, Event::Arrive(arrival(ticket, &many, chain(ticket, 2))));
        let story = core.story(TicketId(ticket)).expect("it runs");
        let (_, backend) = story.winner().expect("it runs");
        assert_eq!(started(&out), [(ticket, backend)]);
        let look = &story.looks[0];
        assert_eq!((look.rows.len(), look.rows[0].backend), (ROWS_MAX, backend));
        assert!(look.more as usize + ROWS_MAX >= 64);
    }
    // one that waits is looked at each time that a slot comes free, which an older one takes
    for ticket in 100..200 {
        tell(&mut core, 1, Event::Arrive(arrival(ticket, &many, chain(ticket, 2))));
    }
    for ticket in 0..64 {
        tell(&mut core, 2 + ticket, done(ticket));
    }
    for ticket in 100..200 {
        let story = core.story(TicketId(ticket)).expect("it waits or runs");
        assert!(story.looks.len() <= LOOKS_MAX, "{story:?}");
    }
}

#[test]
fn nothing_is_told_of_what_was_not_weighed_or_not_asked_for() {
    let mut told = core(fleet(&[(A, Backend { cache: Cache::Pool { tokens: 1000 }, ..backend(1) })]));
    assert_eq!(started(&tell(&mut told, 0, Event::Arrive(arrival(1, &[A], Chain::default())))), [(1, A)]);
    assert_eq!(told.story(TicketId(1)), None);
    let mut silent = Scheduler::new(1, fleet(&[(A, backend(1)), (B, backend(1))]));
    assert_eq!(started(&tell(&mut silent, 0, Event::Arrive(arrival(1, &[A, B], chain(1, 9))))).len(), 1);
    assert_eq!(silent.story(TicketId(1)), None);
}
