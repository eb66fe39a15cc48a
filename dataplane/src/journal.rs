//! What became of recent requests and how they were placed: kept in a ring for those who ask, told to those who listen.
//!
//! No text of a prompt, an answer or a credential is in it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sched::{Story, TicketId};
use tokio::sync::broadcast;

use crate::serve::RequestId;

pub mod tell;

/// So many requests can be asked for, the latest ones.
pub const RECENT_MAX: usize = 1024;
/// So many may listen at a time.
pub const TAILS_MAX: usize = 16;
/// So many lines wait for one who listens; older ones are lost to him.
pub const TAIL_LINES_MAX: usize = 1024;
/// Starts that are kept of one request, with what led to them: the first and the latest ones.
const STARTS_MAX: usize = 4;
/// Bytes that are kept of the name of a model.
const NAME_BYTES_MAX: usize = 96;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer went to the client as the server gave it.
    Answered,
    /// It was refused before a server took it.
    Refused,
    /// No server that was tried could answer it, or the one said that it failed.
    Failed,
    /// The answer broke off.
    Cut,
    /// The client left.
    Left,
}

/// A slot that a request had.
#[derive(Clone, Debug)]
struct Start {
    backend: Arc<str>,
    model: Arc<str>,
    /// Since its arrival.
    after: Duration,
    story: Option<Box<Story>>,
}

/// Tokens as the server told them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokens {
    /// Of the prompt.
    pub prompt: Option<u64>,
    /// Of those, from its cache.
    pub cached: Option<u64>,
    /// Of the answer.
    pub output: Option<u64>,
}

#[derive(Debug, Default)]
struct Facts {
    ticket: Option<TicketId>,
    starts: Vec<Start>,
    /// How it waited in vain.
    refused: Option<Box<Story>>,
    first: Option<Duration>,
    tokens: Tokens,
    /// With the status, and when.
    ending: Option<(Ending, u16, Instant)>,
}

/// One request, noted as it goes.
pub struct Note {
    number: u64,
    arrival: Instant,
    operation: &'static str,
    asked: Name,
    /// Estimated.
    prompt_tokens: u32,
    facts: Mutex<Facts>,
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The beginning of a name.
struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    length: u8,
}

impl Name {
    const EMPTY: Self = Self { bytes: [0; NAME_BYTES_MAX], length: 0 };

    fn set(&mut self, text: &str) {
        let length = text.floor_char_boundary(NAME_BYTES_MAX);
        self.bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.length = u8::try_from(length).expect("NAME_BYTES_MAX fits into 8 bits");
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Facts {
    fn clear(&mut self) {
        let Self { ticket, starts, refused, first, tokens, ending } = self;
        starts.clear();
        (*ticket, *refused, *first, *ending) = (None, None, None, None);
        *tokens = Tokens::default();
    }
}

impl Note {
    /// Of no request.
    fn blank() -> Self {
        Self {
            number: 0,
            arrival: Instant::now(),
            operation: "",
            asked: Name::EMPTY,
            prompt_tokens: 0,
            facts: Mutex::new(Facts { starts: Vec::with_capacity(1), ..Facts::default() }),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It waits in the queue under this number.
    pub fn waits(&self, ticket: TicketId) {
        self.facts().ticket = Some(ticket);
    }

    /// It got a slot; the answer is how long after its arrival, where it is the first.
    pub fn started(
        &self,
        backend: &Arc<str>,
        model: &Arc<str>,
        story: Option<Box<Story>>,
    ) -> Option<Duration> {
        let after = self.arrival.elapsed();
        let start = Start { backend: backend.clone(), model: model.clone(), after, story };
        let mut facts = self.facts();
        if facts.starts.len() >= STARTS_MAX {
            facts.starts.remove(1);
        }
        facts.starts.push(start);
        (facts.starts.len() == 1).then_some(after)
    }

    /// The core refused it, after this.
    pub fn refused(&self, story: Option<Box<Story>>) {
        self.facts().refused = story;
    }

    /// The first content passed; the answer is how long after its arrival.
    pub fn first_token(&self) -> Duration {
        let after = self.arrival.elapsed();
        self.facts().first = Some(after);
        after
    }

    /// When it came.
    #[must_use]
    pub fn arrival(&self) -> Instant {
        self.arrival
    }

    /// Its number in the core, once it has waited for a slot.
    #[must_use]
    pub fn ticket(&self) -> Option<TicketId> {
        let facts = self.facts();
        facts.ticket.filter(|_| facts.ending.is_none())
    }
}

/// The notes of this data plane.
#[derive(Debug)]
pub struct Journal {
    /// A note that nobody else has is written anew in its place: no memory comes and goes.
    recent: Box<[Mutex<Arc<Note>>]>,
    lines: broadcast::Sender<Arc<str>>,
    tails: Arc<AtomicUsize>,
    /// Of the ids of requests.
    prefix: String,
}

impl Journal {
    /// A journal of requests that are numbered behind `prefix`.
    #[must_use]
    pub fn new(prefix: String) -> Self {
        let recent = (0..RECENT_MAX).map(|_| Mutex::new(Arc::new(Note::blank()))).collect();
        let (lines, _) = broadcast::channel(TAIL_LINES_MAX);
        Self { recent, lines, tails: Arc::default(), prefix }
    }

    /// Begins the note of request `number`; that of an old one makes room.
    #[must_use]
    pub fn open(
        &self,
        number: u64,
        arrival: Instant,
        operation: &'static str,
        asked: &str,
        prompt_tokens: u32,
    ) -> Arc<Note> {
        let mut place = self.place(number);
        if Arc::get_mut(&mut place).is_none() {
            // It still runs, and nobody can ask for it any more.
            place.facts().starts.iter_mut().for_each(|start| start.story = None);
            *place = Arc::new(Note::blank());
        }
        let note = Arc::get_mut(&mut place).expect("nobody else has it");
        (note.number, note.arrival, note.operation) = (number, arrival, operation);
        note.asked.set(asked);
        note.prompt_tokens = prompt_tokens;
        note.facts.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        place.clone()
    }

    /// A request ended; what is said of its end first counts.
    pub fn close(&self, note: &Note, ending: Ending, status: u16, tokens: Tokens) {
        let mut facts = note.facts();
        if facts.ending.is_some() {
            return;
        }
        facts.ending = Some((ending, status, Instant::now()));
        facts.tokens = tokens;
        drop(facts);
        if self.tails.load(Ordering::Relaxed) > 0 {
            // Those who listened may be gone.
            let _ = self.lines.send(tell::line(note, &self.id(note)).into());
        }
    }

    /// The note of the request with this id, if it is of this data plane and among the latest.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Note>> {
        let number = RequestId::number_of(id)?;
        let note = self.place(number.into()).clone();
        let known = !note.operation.is_empty() && *RequestId::new(&self.prefix, note.number) == *id;
        known.then_some(note)
    }

    /// By which a request is known.
    #[must_use]
    pub fn id(&self, note: &Note) -> RequestId {
        RequestId::new(&self.prefix, note.number)
    }

    /// What every request that ends from now on is told by; none when as many listen as may.
    #[must_use]
    pub fn tail(&self) -> Option<Tail> {
        let more = |tails: usize| (tails < TAILS_MAX).then_some(tails + 1);
        self.tails.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Tail { lines: self.lines.subscribe(), tails: self.tails.clone() })
    }

    fn place(&self, number: u64) -> MutexGuard<'_, Arc<Note>> {
        let place = &self.recent[number as usize % RECENT_MAX];
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who listens.
#[derive(Debug)]
pub struct Tail {
    lines: broadcast::Receiver<Arc<str>>,
    tails: Arc<AtomicUsize>,
}

impl Tail {
    /// The next line, with its end; one who was too slow is told how many were lost.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        match self.lines.recv().await {
            Ok(line) => Some(line),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(format!("{{\"lost\":{lost}}}\n").into()),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.tails.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Milliseconds from the Unix epoch to `moment`.
fn epoch_ms(moment: Instant) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(moment.elapsed()).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(journal: &Journal, number: u64, asked: &str) -> Arc<Note> {
        journal.open(number, Instant::now(), "chat", asked, 7)
    }

    #[test]
    fn the_latest_are_found_and_no_others() {
        let journal = Journal::new("ab".to_owned());
        assert!(journal.find("req_ab00000000").is_none());
        let first = open(&journal, 0, "m");
        assert_eq!(journal.find("req_ab00000000").map(|note| note.number), Some(0));
        for other in ["req_ab00000001", "req_cd00000000", "00000000", "req_ab0", ""] {
            assert!(journal.find(other).is_none(), "{other}");
        }
        first.started(&"b".into(), &"m".into(), Some(Box::new(story())));
        for number in 1..=RECENT_MAX as u64 {
            drop(open(&journal, number, "m"));
        }
        assert!(journal.find("req_ab00000000").is_none());
        assert!(journal.find("req_ab00000001").is_some());
        assert!(first.facts().starts[0].story.is_none(), "nobody can ask for it any more");
        let again = open(&journal, RECENT_MAX as u64 + 1, "other");
        assert!(again.facts().starts.is_empty() && again.asked.text() == "other");
        assert!(journal.find("req_ab00000001").is_none(), "its note was written anew");
    }

    #[test]
    fn what_is_kept_of_one_is_bounded() {
        let journal = Journal::new("ab".to_owned());
        let note = open(&journal, 0, &"\u{e9}".repeat(100));
        assert_eq!(note.asked.text(), "\u{e9}".repeat(NAME_BYTES_MAX / 2));
        for start in 0..10 {
            let name: Arc<str> = start.to_string().into();
            assert_eq!(note.started(&name, &name, None).is_some(), start == 0);
        }
        let kept: Vec<String> = note.facts().starts.iter().map(|start| start.backend.to_string()).collect();
        assert_eq!(kept, ["0", "7", "8", "9"]);
    }

    #[tokio::test]
    async fn one_who_listens_too_slowly_is_told_what_is_lost() {
        let journal = Journal::new("ab".to_owned());
        let mut tail = journal.tail().expect("nobody listens yet");
        let others: Vec<Tail> = std::iter::from_fn(|| journal.tail()).collect();
        assert_eq!(others.len(), TAILS_MAX - 1);
        drop(others);
        for number in 0..TAIL_LINES_MAX as u64 + 10 {
            let note = open(&journal, number, "m");
            journal.close(&note, Ending::Answered, 200, Tokens::default());
            journal.close(&note, Ending::Left, 0, Tokens::default());
        }
        assert_eq!(tail.next().await.as_deref(), Some("{\"lost\":10}\n"));
        let line = tail.next().await.expect("a line");
        assert!(line.contains("\"id\":\"req_ab0000000a\"") && line.contains("\"answered\""), "{line}");
        drop(tail);
        assert_eq!(journal.tails.load(Ordering::Relaxed), 0);
    }

    fn story() -> Story {
        Story {
            policy: sched::Policy::CacheAffine,
            arrived: sched::Moment(0),
            tokens: 7,
            looks: Vec::new(),
            more: 0,
        }
    }
}
