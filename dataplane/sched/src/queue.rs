//! Who waits: one line for each set of backends that may serve, and for each backend which line is oldest.
//!
//! Tickets of a line are equal before every backend, so only heads compete. A backend keeps a lower bound of
//! each line's head and corrects it when it looks: taking a ticket touches one line, not all its backends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::retry::Tried;
use crate::{Arrival, BackendId, Candidate, Moment, Refusal, TicketId};

/// Empty lines that are kept for the next ticket of the same kind; at one more, all of them go.
const EMPTY_LINES_MAX: usize = 64;

/// The place in the order of arrival, over all lines; never given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(u64);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LineId(u64);

/// A request from its arrival to its end, waiting or running.
pub(crate) struct Ticket {
    pub(crate) arrival: Arrival,
    pub(crate) since: Moment,
    pub(crate) number: Number,
    pub(crate) tried: Tried,
    /// Since when it found backends where nobody listened.
    pub(crate) unreached: Option<Moment>,
}

struct Waiting {
    ticket: Box<Ticket>,
    line: LineId,
}

struct Line {
    eligible: Arc<[BackendId]>,
    numbers: BTreeSet<Number>,
}

/// The queue. Tickets are bounded by the fleet's `queue_max` and those that come back from a slot, lines by
/// tickets and `EMPTY_LINES_MAX`.
#[derive(Default)]
pub(crate) struct Queue {
    next: Number,
    /// Above the number of all who ever waited, at most `next`.
    fresh: Number,
    next_line: u64,
    waiting: BTreeMap<Number, Waiting>,
    tickets: BTreeMap<TicketId, Number>,
    deadlines: BTreeSet<(Moment, Number)>,
    lines: BTreeMap<LineId, Line>,
    sets: BTreeMap<Arc<[BackendId]>, LineId>,
    empty: usize,
    bounds: BTreeMap<BackendId, BTreeSet<(Number, LineId)>>,
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

    /// Gives a waiting ticket other candidates; `regroup` must follow. The answer is whether it waits.
    pub(crate) fn offer(&mut self, number: Number, candidates: Box<[Candidate]>) -> bool {
        let waiting = self.waiting.get_mut(&number);
        waiting.map(|waiting| waiting.ticket.arrival.candidates = candidates).is_some()
    }

    /// All who wait, oldest first.
    pub(crate) fn numbers(&self) -> Vec<Number> {
        self.waiting.keys().copied().collect()
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

    /// A ticket for an arrival, behind all others.
    pub(crate) fn draw(&mut self, arrival: Arrival, since: Moment) -> Box<Ticket> {
        let number = self.next;
        self.next = Number(number.0 + 1);
        Box::new(Ticket { arrival, since, number, tried: Tried::default(), unreached: None })
    }

    /// Adds a ticket that does not wait, at the place of its number; `eligible` is sorted.
    pub(crate) fn push(&mut self, ticket: Box<Ticket>, eligible: &[BackendId]) {
        let number = ticket.number;
        let line = self.join(number, eligible);
        if number < self.fresh {
            self.lower(number, line, eligible);
        }
        self.fresh = self.fresh.max(Number(number.0 + 1));
        self.tickets.insert(ticket.arrival.ticket, number);
        self.deadlines.insert((ticket.arrival.deadline, number));
        self.waiting.insert(number, Waiting { ticket, line });
    }

    pub(crate) fn take(&mut self, number: Number) -> Option<Box<Ticket>> {
        let Waiting { ticket, line } = self.waiting.remove(&number)?;
        self.tickets.remove(&ticket.arrival.ticket);
        self.deadlines.remove(&(ticket.arrival.deadline, number));
        if let Some(line) = self.lines.get_mut(&line) {
            line.numbers.remove(&number);
            self.empty += usize::from(line.numbers.is_empty());
        }
        if self.empty > EMPTY_LINES_MAX {
            self.sweep();
        }
        Some(ticket)
    }

    /// The oldest ticket that the backend may serve.
    pub(crate) fn oldest(&mut self, backend: BackendId) -> Option<Number> {
        let bounds = self.bounds.get_mut(&backend)?;
        loop {
            let (bound, id) = *bounds.first()?;
            if bound >= self.fresh {
                return None;
            }
            let line = self.lines.get(&id).expect("a line is in the books of its backends while it exists");
            // who joins an empty line later has a later number, or lowers the bound
            let head = line.numbers.first().copied().unwrap_or(self.fresh);
            if head == bound {
                return Some(head);
            }
            bounds.remove(&(bound, id));
            bounds.insert((head, id));
        }
    }

    /// Puts everyone in the line that `eligible` says now. Who gets none is named, oldest first, to be taken out.
    pub(crate) fn regroup(
        &mut self,
        eligible: impl Fn(&Ticket) -> Result<Vec<BackendId>, Refusal>,
    ) -> Vec<(Number, Refusal)> {
        self.lines.clear();
        self.sets.clear();
        self.bounds.clear();
        self.empty = 0;
        let mut stranded = Vec::new();
        for number in self.numbers() {
            match self.ticket(number).map(&eligible) {
                Some(Ok(eligible)) => {
                    let line = self.join(number, &eligible);
                    if let Some(waiting) = self.waiting.get_mut(&number) {
                        waiting.line = line;
                    }
                }
                Some(Err(why)) => stranded.push((number, why)),
                None => {}
            }
        }
        stranded
    }

    /// The sets of backends that somebody waits for, each with how many do.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[BackendId], usize)> {
        self.lines.values().map(|line| (&*line.eligible, line.numbers.len()))
    }

    /// Who waits for backends that are all among those that `gone` accepts, oldest first.
    pub(crate) fn stranded(&self, gone: impl Fn(&[BackendId]) -> bool) -> Vec<Number> {
        let lines = self.lines.values().filter(|line| gone(&line.eligible));
        let mut numbers: Vec<Number> = lines.flat_map(|line| line.numbers.iter().copied()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// How many of those who wait compete for one of these backends, of all or of those before a number. Looks
    /// at all lines: not for every request.
    pub(crate) fn rivals(&self, eligible: &[BackendId], before: Option<Number>) -> usize {
        let rival = |line: &&Line| line.eligible.iter().any(|id| eligible.binary_search(id).is_ok());
        let count = |line: &Line| match before {
            Some(number) => line.numbers.range(..number).count(),
            None => line.numbers.len(),
        };
        self.lines.values().filter(rival).map(count).sum()
    }

    /// What a waiting ticket waits for.
    pub(crate) fn eligible(&self, number: Number) -> Option<Arc<[BackendId]>> {
        let line = self.waiting.get(&number)?.line;
        self.lines.get(&line).map(|line| line.eligible.clone())
    }

    /// Puts a number into its line. The bounds of a line that exists still hold when the number is the latest.
    fn join(&mut self, number: Number, eligible: &[BackendId]) -> LineId {
        if let Some(id) = self.sets.get(eligible)
            && let Some(line) = self.lines.get_mut(id)
        {
            self.empty -= usize::from(line.numbers.is_empty());
            line.numbers.insert(number);
            return *id;
        }
        let id = LineId(self.next_line);
        self.next_line += 1;
        let eligible: Arc<[BackendId]> = eligible.into();
        for backend in eligible.iter() {
            self.bounds.entry(*backend).or_default().insert((number, id));
        }
        self.sets.insert(eligible.clone(), id);
        self.lines.insert(id, Line { eligible, numbers: BTreeSet::from([number]) });
        id
    }

    /// Makes the bounds of a line hold for an older number. Looks at all lines: for those who come back only.
    fn lower(&mut self, number: Number, line: LineId, eligible: &[BackendId]) {
        for backend in eligible {
            let bounds = self.bounds.entry(*backend).or_default();
            let bound = bounds.iter().find(|(_, id)| *id == line).copied();
            if let Some((bound, _)) = bound
                && number < bound
            {
                bounds.remove(&(bound, line));
                bounds.insert((number, line));
            }
        }
    }

    fn sweep(&mut self) {
        self.lines.retain(|_, line| !line.numbers.is_empty());
        let lines = &self.lines;
        self.sets.retain(|_, id| lines.contains_key(id));
        self.bounds.retain(|_, bounds| {
            bounds.retain(|(_, id)| lines.contains_key(id));
            !bounds.is_empty()
        });
        self.empty = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Key};

    #[test]
    fn ever_new_sets_of_backends_leave_nothing_behind() {
        let mut queue = Queue::default();
        for turn in 0..1000 {
            let arrival = Arrival {
                ticket: TicketId(turn.into()),
                key: Key(0),
                class: Class::Normal,
                prompt_tokens: 0,
                candidates: Box::default(),
                deadline: Moment::NEVER,
            };
            let ticket = queue.draw(arrival, Moment::default());
            queue.push(ticket, &[BackendId(turn), BackendId(turn + 1)]);
            let number = queue.number(TicketId(turn.into())).unwrap();
            assert_eq!(queue.oldest(BackendId(turn)), Some(number));
            assert!(queue.take(number).is_some());
            assert_eq!(queue.oldest(BackendId(turn)), None);
            let bounds: usize = queue.bounds.values().map(BTreeSet::len).sum();
            assert!(queue.lines.len() <= EMPTY_LINES_MAX && queue.sets.len() == queue.lines.len());
            assert_eq!(bounds, 2 * queue.lines.len());
        }
        assert!(queue.deadlines.is_empty() && queue.tickets.is_empty());
    }
}
