//! Who waits: one line for each set of backends that may serve, and for each backend which line is oldest.
//!
//! Tickets of a line are equal before every backend, and those of one class and key among them are served in order of
//! arrival, so only heads compete.

mod kind;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use kind::Kind;

use crate::explain::Story;
use crate::lengths::Like;
use crate::retry::Tried;
use crate::{Arrival, BackendId, Candidate, Class, Key, Moment, Refusal, TicketId};

/// Empty lines that are kept for the next ticket of the same kind; at one more, all of them go.
const EMPTY_LINES_MAX: usize = 64;

/// The place in the order of arrival, over all lines; never given twice. Who is told of late stands where it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number {
    since: Moment,
    drawn: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LineId(u64);

/// Since when a request waits for a busy slot though it could start, and how many seconds that is to save.
pub(crate) type Declined = Option<(Moment, f64)>;

/// A request from its arrival to its end, waiting or running.
pub(crate) struct Ticket {
    pub(crate) arrival: Arrival,
    /// The estimated length of its prompt in tokens.
    tokens: u32,
    pub(crate) since: Moment,
    pub(crate) number: Number,
    pub(crate) tried: Tried,
    /// Since when it found backends where nobody listened.
    pub(crate) unreached: Option<Moment>,
    pub(crate) declined: Declined,
    /// How it was placed so far, where anybody wants to know.
    pub(crate) story: Option<Box<Story>>,
}

impl Ticket {
    pub(crate) fn new(arrival: Arrival, since: Moment, number: Number) -> Self {
        Ticket {
            tokens: arrival.prompt_tokens.max(arrival.prompt.tokens()),
            arrival,
            since,
            number,
            tried: Tried::default(),
            unreached: None,
            declined: None,
            story: None,
        }
    }

    /// What its answer is as long as.
    pub(crate) fn like(&self) -> Like {
        (self.arrival.key, self.arrival.asked)
    }

    /// The estimated length of its prompt in tokens.
    pub(crate) fn tokens(&self) -> u32 {
        self.tokens
    }
}

struct Waiting {
    ticket: Box<Ticket>,
    line: LineId,
}

struct Line {
    kind: Kind,
    numbers: BTreeSet<Number>,
    /// The same numbers, those of each class and key apart.
    groups: BTreeMap<Group, BTreeSet<Number>>,
}

impl Line {
    fn insert(&mut self, number: Number, group: Group) {
        self.numbers.insert(number);
        self.groups.entry(group).or_default().insert(number);
    }

    fn remove(&mut self, number: Number, group: Group) {
        self.numbers.remove(&number);
        if let Some(numbers) = self.groups.get_mut(&group) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    fn touches(&self, open: &BTreeSet<BackendId>) -> bool {
        self.kind.eligible.iter().any(|backend| open.contains(backend))
    }
}

/// Those who are served in order of arrival.
type Group = (Class, Key);

/// The queue. Tickets are bounded by the fleet's `queue_max` and those that come back from a slot, lines by
/// tickets and `EMPTY_LINES_MAX`.
#[derive(Default)]
pub(crate) struct Queue {
    drawn: u64,
    next_line: u64,
    waiting: BTreeMap<Number, Waiting>,
    tickets: BTreeMap<TicketId, Number>,
    deadlines: BTreeSet<(Moment, Number)>,
    lines: BTreeMap<LineId, Line>,
    kinds: BTreeMap<Kind, LineId>,
    empty: usize,
    /// Who waits, of each key.
    keys: BTreeMap<Key, usize>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn number(&self, ticket: TicketId) -> Option<Number> {
        self.tickets.get(&ticket).copied()
    }

    pub(crate) fn ticket(&self, number: Number) -> Option<&Ticket> {
        self.waiting.get(&number).map(|waiting| &*waiting.ticket)
    }

    /// One that waits, to note what came of a look at it.
    pub(crate) fn ticket_mut(&mut self, number: Number) -> Option<&mut Ticket> {
        self.waiting.get_mut(&number).map(|waiting| &mut *waiting.ticket)
    }

    /// Gives a waiting ticket other candidates; `regroup` must follow. The answer is whether it waits.
    pub(crate) fn offer(&mut self, number: Number, candidates: Box<[Candidate]>) -> bool {
        let waiting = self.waiting.get_mut(&number);
        waiting.map(|waiting| waiting.ticket.arrival.candidates = candidates).is_some()
    }

    /// All who wait, oldest first.
    pub(crate) fn numbers(&self) -> Vec<Number> {
        self.waiting.keys().copied().collect()
    }

    /// Those who wait, oldest first.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = &Ticket> {
        self.waiting.values().map(|waiting| &*waiting.ticket)
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out the next ticket whose deadline has come, and tells what it waited for.
    pub(crate) fn expire(&mut self, now: Moment) -> Option<(Box<Ticket>, Arc<[BackendId]>)> {
        let (_, number) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        let eligible = self.eligible(number)?;
        self.take(number).map(|ticket| (ticket, eligible))
    }

    /// A ticket for an arrival, behind all that came until `since`.
    pub(crate) fn draw(&mut self, arrival: Arrival, since: Moment) -> Box<Ticket> {
        let number = Number { since, drawn: self.drawn };
        self.drawn += 1;
        Box::new(Ticket::new(arrival, since, number))
    }

    /// Adds a ticket that does not wait, at the place of its number; `eligible` is sorted.
    pub(crate) fn push(&mut self, ticket: Box<Ticket>, eligible: &[BackendId]) {
        let number = ticket.number;
        let line = self.join(number, group(&ticket), Kind::of_ticket(&ticket, eligible));
        self.tickets.insert(ticket.arrival.ticket, number);
        self.deadlines.insert((ticket.arrival.deadline, number));
        *self.keys.entry(ticket.arrival.key).or_default() += 1;
        self.waiting.insert(number, Waiting { ticket, line });
    }

    pub(crate) fn take(&mut self, number: Number) -> Option<Box<Ticket>> {
        let Waiting { ticket, line } = self.waiting.remove(&number)?;
        self.tickets.remove(&ticket.arrival.ticket);
        self.deadlines.remove(&(ticket.arrival.deadline, number));
        let left = self.keys.get_mut(&ticket.arrival.key).map_or(0, |waiting| {
            *waiting -= 1;
            *waiting
        });
        if left == 0 {
            self.keys.remove(&ticket.arrival.key);
        }
        if let Some(line) = self.lines.get_mut(&line) {
            line.remove(number, group(&ticket));
            self.empty += usize::from(line.numbers.is_empty());
        }
        if self.empty > EMPTY_LINES_MAX {
            self.sweep();
        }
        Some(ticket)
    }

    /// How many wait for each backend in lines that touch none of the open ones; who has a choice counts in parts.
    pub(crate) fn backlog(&self, open: &BTreeSet<BackendId>) -> BTreeMap<BackendId, f64> {
        let mut backlog = BTreeMap::new();
        for line in self.lines.values().filter(|line| !line.numbers.is_empty() && !line.touches(open)) {
            for backend in line.kind.eligible.iter() {
                *backlog.entry(*backend).or_default() +=
                    line.numbers.len() as f64 / line.kind.eligible.len() as f64;
            }
        }
        backlog
    }

    /// Whether somebody waits who came later.
    pub(crate) fn overtaken(&self, number: Number) -> bool {
        self.waiting.last_key_value().is_some_and(|(last, _)| *last > number)
    }

    /// Forgets all who wait.
    pub(crate) fn clear(&mut self) {
        *self = Queue { drawn: self.drawn, ..Queue::default() };
    }

    /// Whether a key has somebody waiting.
    pub(crate) fn waits(&self, key: Key) -> bool {
        self.keys.contains_key(&key)
    }

    /// Who waits, of each key.
    pub(crate) fn keys(&self) -> &BTreeMap<Key, usize> {
        &self.keys
    }

    /// Puts everyone in the line that `eligible` says now. Who gets none is named, oldest first, to be taken out.
    pub(crate) fn regroup(
        &mut self,
        eligible: impl Fn(&Ticket) -> Result<Vec<BackendId>, Refusal>,
    ) -> Vec<(Number, Refusal)> {
        self.lines.clear();
        self.kinds.clear();
        self.empty = 0;
        let mut stranded = Vec::new();
        for number in self.numbers() {
            let sorted = self.ticket(number).map(|ticket| {
                let kind = eligible(ticket).map(|eligible| Kind::of_ticket(ticket, &eligible));
                (group(ticket), kind)
            });
            match sorted {
                Some((group, Ok(kind))) => {
                    let line = self.join(number, group, kind);
                    if let Some(waiting) = self.waiting.get_mut(&number) {
                        waiting.line = line;
                    }
                }
                Some((_, Err(why))) => stranded.push((number, why)),
                None => {}
            }
        }
        stranded
    }

    /// The oldest of each kind.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (Number, &Kind)> {
        self.lines.values().filter_map(|line| Some((*line.numbers.first()?, &line.kind)))
    }

    /// The sets of backends that somebody waits for, each with how many do.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[BackendId], usize)> {
        self.lines.values().map(|line| (&*line.kind.eligible, line.numbers.len()))
    }

    /// Who waits for backends that are all among those that `gone` accepts, oldest first.
    pub(crate) fn stranded(&self, gone: impl Fn(&[BackendId]) -> bool) -> Vec<Number> {
        let lines = self.lines.values().filter(|line| gone(&line.kind.eligible));
        let mut numbers: Vec<Number> = lines.flat_map(|line| line.numbers.iter().copied()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// How many of those who wait compete for one of these backends, of all or of those before a number. Looks
    /// at all lines: not for every request.
    pub(crate) fn rivals(&self, eligible: &[BackendId], before: Option<Number>) -> usize {
        let rival = |line: &&Line| line.kind.eligible.iter().any(|id| eligible.binary_search(id).is_ok());
        let count = |line: &Line| match before {
            Some(number) => line.numbers.range(..number).count(),
            None => line.numbers.len(),
        };
        self.lines.values().filter(rival).map(count).sum()
    }

    /// What a waiting ticket waits for.
    pub(crate) fn eligible(&self, number: Number) -> Option<Arc<[BackendId]>> {
        let line = self.waiting.get(&number)?.line;
        self.lines.get(&line).map(|line| line.kind.eligible.clone())
    }

    /// Puts a number into its line.
    fn join(&mut self, number: Number, group: Group, kind: Kind) -> LineId {
        if let Some(id) = self.kinds.get(&kind)
            && let Some(line) = self.lines.get_mut(id)
        {
            self.empty -= usize::from(line.numbers.is_empty());
            line.insert(number, group);
            return *id;
        }
        let id = LineId(self.next_line);
        self.next_line += 1;
        let mut line = Line { kind: kind.clone(), numbers: BTreeSet::new(), groups: BTreeMap::new() };
        line.insert(number, group);
        self.kinds.insert(kind, id);
        self.lines.insert(id, line);
        id
    }

    fn sweep(&mut self) {
        self.lines.retain(|_, line| !line.numbers.is_empty());
        let lines = &self.lines;
        self.kinds.retain(|_, id| lines.contains_key(id));
        self.empty = 0;
    }
}

fn group(ticket: &Ticket) -> Group {
    (ticket.arrival.class, ticket.arrival.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, Chain, Class, Key, ModelId, Policy, Span};

    #[test]
    fn ever_new_sets_of_backends_leave_nothing_behind() {
        let mut queue = Queue::default();
        for turn in 0..1000 {
            let arrival = Arrival {
                ticket: TicketId(turn.into()),
                key: Key(0),
                asked: Asked(0),
                weight: 1,
                class: Class::Normal,
                prompt_tokens: 0,
                prompt: Chain::default(),
                policy: Policy::Priority,
                candidates: Box::new([turn, turn + 1].map(|id| Candidate {
                    backend: BackendId(id),
                    model: ModelId(0),
                    reserve: 0,
                })),
                deadline: Moment::NEVER,
            };
            let ticket = queue.draw(arrival, Moment::default());
            queue.push(ticket, &[BackendId(turn), BackendId(turn + 1)]);
            let number = queue.number(TicketId(turn.into())).unwrap();
            let mut window = Vec::new();
            let may = |kind: &Kind| kind.eligible.contains(&BackendId(turn));
            let times = (Moment::default(), Span::from_secs(1));
            queue.window(may, 16, times, |_, _, _| (0, 0), &mut window);
            assert_eq!(window, [number]);
            assert!(queue.take(number).is_some());
            queue.window(may, 16, times, |_, _, _| (0, 0), &mut window);
            assert_eq!(window, []);
            assert!(queue.lines.len() <= EMPTY_LINES_MAX && queue.kinds.len() == queue.lines.len());
        }
        assert!(queue.deadlines.is_empty() && queue.tickets.is_empty() && queue.keys.is_empty());
    }
}
