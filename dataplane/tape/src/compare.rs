//! What another rule would have come to: the same arrivals, each of which holds its slot for as long as it did.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use sched::{Arrival, BackendId, Decision, Event, Moment, Outcome, Scheduler, Span, TicketId, Usage};

use crate::read::{Reader, TapeError};
use crate::rule::Rule;

/// Who never ran is taken to hold a slot for so long where nobody did.
const HELD_GUESS: Span = Span::from_secs(1);

/// What became of requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Requests that were started.
    pub started: u64,
    /// Requests that were refused, also after a try.
    pub refused: u64,
    /// How often each backend was started on, by its name, or by its number where it has none.
    pub backends: BTreeMap<String, u64>,
    /// Seconds from arrival to the first start, of all that were started.
    pub waited: f64,
    /// Seconds from that start to the first token as the core expected them, of all.
    pub expected: f64,
    /// Tokens of their prompts that it thought to be cached.
    pub cached: u64,
    /// Tokens of their prompts.
    pub tokens: u64,
}

/// Two rules on the same arrivals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// Requests that arrived.
    pub requests: u64,
    /// What the tape says.
    pub recorded: Account,
    /// What the other rule comes to.
    pub other: Account,
    /// Requests that both start, on different backends at first.
    pub elsewhere: u64,
}

/// A request as it was recorded.
struct Asked {
    at: Moment,
    arrival: Arrival,
    /// Its latest start.
    started: Option<Moment>,
    /// From there to its first token.
    first: Option<Span>,
    /// From there to its end.
    held: Option<(Span, Outcome, Usage)>,
}

/// What happens in the other world.
enum Due {
    Arrive(TicketId),
    Tell(Event),
    Leave(TicketId),
}

/// One core, and what it came to.
struct Side {
    core: Scheduler,
    account: Account,
    /// The backend of each request's first start.
    firsts: BTreeMap<TicketId, BackendId>,
    said: Vec<Decision>,
}

/// Replays the arrivals of a tape by `rule`. Fleets change and clients leave when they did; failures are left out, and
/// what an answer said of its cache counts wherever it is given.
///
/// # Errors
/// [`TapeError`] when it cannot be read to its end.
pub fn compare<R: BufRead>(tape: &mut Reader<R>, rule: &Rule) -> Result<Compared, TapeError> {
    let fleet = tape.head.fleet.0.clone();
    let mut recorded = Side::new(tape.head.seed, fleet.clone());
    let mut asked = BTreeMap::new();
    let mut coming = BTreeMap::new();
    let mut names = BTreeMap::new();
    let mut number = 0u64;
    while let Some(step) = tape.step(|id, name| drop(names.insert(BackendId(id), name)))? {
        let (at, event) = (Moment(step.at), step.event.0);
        number += 1;
        if let Some(due) = note(&mut asked, at, &event, rule) {
            coming.insert((at, number), due);
        }
        recorded.tell(at, event, &asked);
        for decision in &recorded.said {
            if let Decision::Start { ticket, .. } = decision
                && let Some(asked) = asked.get_mut(ticket)
            {
                (asked.started, asked.first, asked.held) = (Some(at), None, None);
            }
        }
    }
    let mut other = Side::new(tape.head.seed, rule.fleet(&fleet));
    other.run(coming, &asked);
    let same = |(ticket, backend): &(&TicketId, &BackendId)| {
        other.firsts.get(ticket).is_some_and(|other| other != *backend)
    };
    let elsewhere = recorded.firsts.iter().filter(same).count() as u64;
    Ok(Compared {
        requests: asked.len() as u64,
        elsewhere,
        recorded: recorded.account(&names),
        other: other.account(&names),
    })
}

/// Notes what an event says of a request; the answer is what of it happens in the other world too.
fn note(asked: &mut BTreeMap<TicketId, Asked>, at: Moment, event: &Event, rule: &Rule) -> Option<Due> {
    let mut ended = |ticket: &TicketId, outcome, usage| {
        let asked = asked.get_mut(ticket)?;
        let since = asked.started?;
        asked.held = Some((at.since(since), outcome, usage));
        Some(())
    };
    match event {
        Event::Arrive(arrival) => return came(asked, at, arrival, None, rule),
        Event::Waited { arrival, .. } => return came(asked, at, arrival, None, rule),
        // one that began unasked would have been placed by the rule
        Event::Began { arrival: Some(arrival), .. } => return came(asked, at, arrival, Some(at), rule),
        Event::Began { ticket, arrival: None, .. } => {
            if let Some(asked) = asked.get_mut(ticket) {
                asked.started = Some(at);
            }
        }
        Event::Back { ticket } => {
            if let Some(asked) = asked.get_mut(ticket) {
                asked.started = None;
            }
        }
        Event::FirstToken { ticket } => {
            if let Some(asked) = asked.get_mut(ticket) {
                asked.first = asked.started.map(|since| at.since(since));
            }
        }
        Event::Finish { ticket, outcome, usage } => {
            ended(ticket, *outcome, *usage);
        }
        Event::Fail { ticket, .. } => {
            ended(ticket, Outcome::Failed, Usage::default());
        }
        Event::Cancel { ticket } => {
            if ended(ticket, Outcome::Unsent, Usage::default()).is_none() {
                return Some(Due::Leave(*ticket));
            }
        }
        Event::Adopt(fleet) => return Some(Due::Tell(Event::Adopt(Arc::new(rule.fleet(fleet))))),
        Event::Reroute { fleet, offers } => {
            let (fleet, offers) = (Arc::new(rule.fleet(fleet)), offers.clone());
            return Some(Due::Tell(Event::Reroute { fleet, offers }));
        }
        Event::Observe { .. }
        | Event::Told { .. }
        | Event::Slots { .. }
        | Event::Learn(_)
        | Event::Share(_)
        | Event::Close => {
            return Some(Due::Tell(event.clone()));
        }
        // who is told of anew goes on in the other world
        Event::Recall | Event::Wake => {}
    }
    None
}

/// A request came, and perhaps it runs.
fn came(
    asked: &mut BTreeMap<TicketId, Asked>,
    at: Moment,
    arrival: &Arrival,
    started: Option<Moment>,
    rule: &Rule,
) -> Option<Due> {
    let arrival = Arrival { policy: rule.policy(arrival.policy), ..arrival.clone() };
    let id = arrival.ticket;
    let new = Asked { at, arrival, started, first: None, held: None };
    asked.insert(id, new).is_none().then_some(Due::Arrive(id))
}

impl Side {
    fn new(seed: u64, fleet: sched::Fleet) -> Side {
        let core = Scheduler::new(seed, Arc::new(fleet));
        Side { core, account: Account::default(), firsts: BTreeMap::new(), said: Vec::new() }
    }

    fn tell(&mut self, at: Moment, event: Event, asked: &BTreeMap<TicketId, Asked>) {
        self.said.clear();
        self.core.handle(at, event, &mut self.said);
        for decision in &self.said {
            let (ticket, backend) = match decision {
                Decision::Start { ticket, backend, .. } => (*ticket, *backend),
                Decision::Refuse { .. } => {
                    self.account.refused += 1;
                    continue;
                }
            };
            *self.account.backends.entry(backend.0.to_string()).or_default() += 1;
            if self.firsts.contains_key(&ticket) {
                continue;
            }
            self.firsts.insert(ticket, backend);
            let (Some(asked), Some(expected)) = (asked.get(&ticket), self.core.expected(ticket)) else {
                continue;
            };
            let tokens = asked.arrival.prompt_tokens.max(asked.arrival.prompt.tokens());
            self.account.started += 1;
            self.account.waited += at.since(asked.at).secs();
            self.account.expected += expected.first_token;
            self.account.cached += u64::from(expected.cached);
            self.account.tokens += u64::from(tokens);
        }
    }

    /// Lets everything happen, and what follows from it.
    fn run(&mut self, mut coming: BTreeMap<(Moment, u64), Due>, asked: &BTreeMap<TicketId, Asked>) {
        let held: Vec<Span> = asked.values().filter_map(|asked| Some(asked.held?.0)).collect();
        let sum: u64 = held.iter().map(|span| span.0).sum();
        let mean = sum.checked_div(held.len() as u64).map_or(HELD_GUESS, Span);
        let mut number = coming.last_key_value().map_or(0, |((_, number), _)| *number);
        loop {
            let due = coming.first_key_value().map(|((at, _), _)| *at);
            let wake = self.core.next_wake();
            let (at, event) = match (due, wake) {
                (None, None) => return,
                (due, Some(wake)) if due.is_none_or(|due| wake < due) => (wake, Event::Wake),
                _ => match coming.pop_first() {
                    None => return,
                    Some(((at, _), Due::Tell(event))) => (at, event),
                    Some(((at, _), Due::Leave(ticket))) => (at, self.leave(ticket)),
                    Some(((at, _), Due::Arrive(ticket))) => match asked.get(&ticket) {
                        Some(asked) => (at, Event::Arrive(asked.arrival.clone())),
                        None => continue,
                    },
                },
            };
            self.tell(at, event, asked);
            for decision in &self.said {
                let Decision::Start { ticket, .. } = decision else { continue };
                let Some(asked) = asked.get(ticket) else { continue };
                let usage = Usage::default();
                let (held, outcome, usage) = asked.held.unwrap_or((mean, Outcome::Done, usage));
                let first = asked.first.filter(|first| *first <= held);
                let ticket = *ticket;
                let ends = [
                    first.map(|first| (first, Event::FirstToken { ticket })),
                    Some((held, Event::Finish { ticket, outcome, usage })),
                ];
                for (after, event) in ends.into_iter().flatten() {
                    number += 1;
                    coming.insert((at + after, number), Due::Tell(event));
                }
            }
        }
    }

    /// A client leaves that waited when it did: here it may run.
    fn leave(&self, ticket: TicketId) -> Event {
        match self.core.expected(ticket) {
            Some(_) => Event::Finish { ticket, outcome: Outcome::Aborted, usage: Usage::default() },
            None => Event::Cancel { ticket },
        }
    }

    fn account(&self, names: &BTreeMap<BackendId, String>) -> Account {
        let named = |(number, count): (&String, &u64)| {
            let name = number.parse().ok().and_then(|number| names.get(&BackendId(number)));
            (name.cloned().unwrap_or_else(|| format!("#{number}")), *count)
        };
        Account { backends: self.account.backends.iter().map(named).collect(), ..self.account.clone() }
    }
}
