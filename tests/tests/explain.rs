//! What the core tells of its decisions is what it decides, and telling it changes nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use sched::{
    Candidate, Decision, Event, Look, Moment, ROWS_MAX, Reason, Row, Scheduler, Seat, Story as Told,
    TicketId, Verdict, View,
};
use tests::laws::LAWS;
use tests::world::{Core, Story, World};

const REQUESTS: u64 = 10_000;

#[derive(Default)]
struct Seen {
    /// Started, with something to weigh.
    weighed: u64,
    /// Started where there was nothing to weigh.
    plain: u64,
    waited: u64,
    refused: u64,
    candidates: BTreeMap<TicketId, Vec<Candidate>>,
}

/// A core that explains itself beside one that does not.
struct Pair {
    told: Scheduler,
    silent: Scheduler,
    seen: Rc<RefCell<Seen>>,
    /// The latest moment: the core takes no other for now.
    at: Moment,
}

impl Pair {
    fn new(seed: u64, story: &Story, seen: Rc<RefCell<Seen>>) -> Self {
        let mut told = Scheduler::new(seed, story.fleet());
        told.explain(true);
        Pair { told, silent: Scheduler::new(seed, story.fleet()), seen, at: Moment::default() }
    }

    fn check(&mut self, now: Moment, decision: &Decision) {
        let mut seen = self.seen.borrow_mut();
        match decision {
            Decision::Start { ticket, candidate, backend, .. } => {
                let candidates = &seen.candidates[ticket];
                let Some(told) = self.told.take_story(*ticket) else {
                    assert_eq!(candidates.len(), 1, "only where there is one is nothing weighed");
                    seen.plain += 1;
                    return;
                };
                assert_eq!(told.winner(), Some((*candidate, *backend)), "{told:?}");
                let look = told.looks.last().expect("a story has a look");
                assert_eq!(look.at, now);
                for row in &look.rows {
                    let candidate = candidates[usize::from(row.candidate)];
                    assert_eq!((row.backend, row.model), (candidate.backend, candidate.model), "{row:?}");
                }
                cheapest(look, &told);
                seen.waited += u64::from(told.looks.len() > 1);
                seen.weighed += 1;
            }
            Decision::Refuse { ticket, .. } => {
                let story = self.told.take_story(*ticket);
                assert!(story.is_none_or(|story| story.winner().is_none()));
                seen.refused += 1;
            }
        }
    }
}

/// A second opinion: by the figures alone the winner is the cheapest free slot, within what counts as equal.
fn cheapest(look: &Look, told: &Told) {
    let cost = |row: &Row| match row.seat {
        Seat::Free(terms) => Some(terms.cost() - terms.favour),
        _ => None,
    };
    let Verdict::Start { reason, .. } = look.verdict else { panic!("it starts: {look:?}") };
    if reason == Reason::Order {
        assert!(matches!(look.rows[0].seat, Seat::Open { .. }), "{look:?}");
        return;
    }
    let won = cost(&look.rows[0]).expect("the first row is a free slot");
    assert_eq!(look.rows.len() == ROWS_MAX, look.rows.len() + look.more as usize >= ROWS_MAX);
    for row in &look.rows[1..] {
        if let Some(other) = cost(row) {
            assert!(won <= other + 0.001 + 0.011 * won.abs().max(other.abs()), "{told:?}");
        }
    }
}

impl Core for Pair {
    fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>) {
        if let Event::Arrive(arrival) = &event {
            let mut seen = self.seen.borrow_mut();
            seen.candidates.entry(arrival.ticket).or_insert_with(|| arrival.candidates.to_vec());
        }
        if let Event::Reroute { offers, .. } = &event {
            for (ticket, candidates) in offers {
                let mut seen = self.seen.borrow_mut();
                seen.candidates.entry(*ticket).and_modify(|known| *known = candidates.to_vec());
            }
        }
        let mut silent = Vec::new();
        self.silent.handle(now, event.clone(), &mut silent);
        let from = out.len();
        self.told.handle(now, event, out);
        assert_eq!(out[from..], silent, "to be explained changes nothing");
        assert_eq!(self.told.next_wake(), self.silent.next_wake());
        self.at = self.at.max(now);
        let at = self.at;
        for decision in &out[from..] {
            self.check(at, decision);
        }
    }

    fn next_wake(&self) -> Option<Moment> {
        self.told.next_wake()
    }

    fn view(&self) -> View {
        self.told.view()
    }
}

#[test]
fn the_winner_that_is_told_is_the_one_that_is_used() {
    let seen = Rc::new(RefCell::new(Seen::default()));
    for seed in 0.. {
        let mut story = Story::new(seed);
        let pair = Pair::new(seed, &story, seen.clone());
        let mut world = World::new(pair, story.fleet(), LAWS);
        story.plan(&mut world, 500);
        assert_eq!(world.run(), Ok(()), "seed {seed}");
        seen.borrow_mut().candidates.clear();
        if seen.borrow().weighed >= REQUESTS {
            break;
        }
    }
    let seen = seen.borrow();
    println!(
        "{} weighed, {} of them waited, {} plain, {} refused",
        seen.weighed, seen.waited, seen.plain, seen.refused
    );
    assert!(seen.waited > 1_000 && seen.plain > 0 && seen.refused > 1_000);
}
