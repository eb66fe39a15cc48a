//! What a request left behind, in a few words: for data planes that do not lead and may have to.

use std::collections::{BTreeMap, BTreeSet};

use crate::affinity::Cache;
use crate::chain::Chain;
use crate::queue::{Number, Ticket};
use crate::scheduler::Scheduler;
use crate::{
    Arrival, Asked, BackendId, Block, Candidate, Class, End, Key, ModelId, Moment, Policy, Span, TicketId,
    Usage,
};

/// Checkpoints of a digest at most.
pub const MARKS_MAX: usize = 6;
/// Digests of which the prompts were not seen yet; at one more, the oldest goes.
pub const TOLD_MAX: usize = 16_384;
/// Older ones say nothing any more: few conversations are gone for longer.
pub const TOLD_KEPT: Span = Span::from_secs(1800);

/// A request of another data plane, as far as what is learned goes.
pub(crate) const HEARD: TicketId = TicketId(u64::MAX);

/// A point of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of all up to there, as of a `Block`.
    pub hash: u64,
    /// Tokens up to there.
    pub tokens: u32,
}

/// What an answered request left at its server, and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Where.
    pub backend: BackendId,
    /// What.
    pub model: ModelId,
    /// Whose it was.
    pub key: Key,
    /// What for.
    pub asked: Asked,
    /// Points of the prompt from its beginning to its end, at most `MARKS_MAX`; none where it was not compared.
    pub marks: Vec<Mark>,
    /// The estimated length of the prompt in tokens.
    pub tokens: u32,
    /// Tokens of it that were thought to be cached.
    pub thought: u32,
    /// Another prompt was read at the same time, or the model was loaded for it: how long it took says little.
    pub disturbed: bool,
    /// From its start to its first content.
    pub first: Option<Span>,
    /// From its start to its end.
    pub took: Span,
    /// What the server said.
    pub usage: Usage,
}

/// The points of a prompt by which it is known again: its end, where the turn before ended, its beginning, and some between.
pub(crate) fn marks(prompt: &Chain) -> Vec<Mark> {
    let blocks = prompt.len();
    let points = [1, blocks / 4, blocks / 2, blocks * 3 / 4, prompt.turn(), blocks];
    let points: BTreeSet<usize> = points.into_iter().filter(|point| (1..=blocks).contains(point)).collect();
    points.into_iter().map(|at| Mark { hash: prompt.hash_at(at - 1), tokens: prompt.tokens_of(at) }).collect()
}

type Place = (BackendId, ModelId);

const FIRST: Place = (BackendId(0), ModelId(0));
const LAST: Place = (BackendId(u32::MAX), ModelId(u32::MAX));

#[derive(Debug)]
struct Told {
    place: Place,
    marks: Vec<Mark>,
    answer: u32,
    end: End,
    at: Moment,
    /// Tokens that no other of the place has.
    own: u64,
}

/// What a place was told to have.
#[derive(Debug, Default)]
struct There {
    ids: BTreeSet<u64>,
    /// Their own tokens together.
    tokens: u64,
}

/// Digests whose prompts were not seen yet, by the order in which they came. At most `TOLD_MAX`.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    told: BTreeMap<u64, Told>,
    /// How many have that point at that place: thousands may begin alike, and are not looked at one by one.
    marks: BTreeMap<(u64, Place), u32>,
    /// Which one ends there; of two, the later goes on from the earlier.
    ends: BTreeMap<(u64, Place), u64>,
    places: BTreeMap<Place, There>,
    drawn: u64,
}

/// What is at a place of a prompt that came now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) place: Place,
    /// The first blocks of the prompt.
    pub(crate) blocks: usize,
    /// The answer behind them, how it ended and when, where they are all that the server was sent.
    pub(crate) answer: Option<(u32, End, Moment)>,
}

impl Digests {
    /// A server has this, and room for so much.
    pub(crate) fn add(&mut self, digest: &Digest, answer: u32, (cache, lanes): (Cache, u32), now: Moment) {
        let Some(last) = digest.marks.last().copied() else { return };
        let place = (digest.backend, digest.model);
        for mark in &digest.marks {
            // it goes on where another ended
            if let Some(id) = self.ends.get(&(mark.hash, place)).copied() {
                self.remove(id);
            }
        }
        let there = |mark: &&Mark| self.marks.contains_key(&(mark.hash, place));
        let shared = digest.marks.iter().rev().find(there).map_or(0, |mark| mark.tokens);
        let own = u64::from(last.tokens.saturating_sub(shared)) + u64::from(answer);
        self.drawn += 1;
        let id = self.drawn;
        for mark in &digest.marks {
            *self.marks.entry((mark.hash, place)).or_default() += 1;
        }
        self.ends.insert((last.hash, place), id);
        let held = self.places.entry(place).or_default();
        held.ids.insert(id);
        held.tokens += own;
        let (marks, end) = (digest.marks.clone(), digest.usage.end);
        self.told.insert(id, Told { place, marks, answer, end, at: now, own });
        self.trim(place, (cache, lanes), now);
    }

    /// Takes out what is known of a prompt: of each place the longest beginning of it that is there.
    pub(crate) fn take(&mut self, prompt: &Chain, now: Moment) -> Vec<Found> {
        self.forget_old(now);
        let mut found: BTreeMap<Place, Found> = BTreeMap::new();
        for blocks in (1..=prompt.len()).rev() {
            let hash = prompt.hash_at(blocks - 1);
            for (key, _) in self.marks.range((hash, FIRST)..=(hash, LAST)) {
                let (_, place) = *key;
                found.entry(place).or_insert_with(|| {
                    let ended = self.ends.get(key).map(|id| &self.told[id]);
                    Found { place, blocks, answer: ended.map(|told| (told.answer, told.end, told.at)) }
                });
            }
        }
        for found in found.values().filter(|found| found.answer.is_some()) {
            let ended = self.ends.get(&(prompt.hash_at(found.blocks - 1), found.place));
            ended.copied().into_iter().for_each(|id| self.remove(id));
        }
        found.into_values().collect()
    }

    /// The server has nothing of before, or is gone.
    pub(crate) fn forget(&mut self, gone: impl Fn(Place) -> bool) {
        let ids = self.places.iter().filter(|(place, _)| gone(**place)).flat_map(|(_, held)| &held.ids);
        ids.copied().collect::<Vec<_>>().into_iter().for_each(|id| self.remove(id));
    }

    /// A place forgets what it has no room for, the oldest first; what was last sent is in its slots.
    fn trim(&mut self, place: Place, (cache, lanes): (Cache, u32), now: Moment) {
        let (room, lanes) = match cache {
            Cache::Pool { tokens } => (u64::from(tokens), 0),
            Cache::Slots { ram } => (u64::from(ram), lanes as usize),
        };
        while let Some(held) = self.places.get(&place)
            && held.ids.len() > lanes
        {
            let spared: u64 = held.ids.iter().rev().take(lanes).map(|id| self.told[id].own).sum();
            let oldest = held.ids.first().copied().filter(|_| held.tokens - spared > room);
            let Some(oldest) = oldest else { break };
            self.remove(oldest);
        }
        self.forget_old(now);
        while self.told.len() > TOLD_MAX {
            let oldest = self.told.first_key_value().map(|(id, _)| *id);
            oldest.into_iter().for_each(|id| self.remove(id));
        }
    }

    fn forget_old(&mut self, now: Moment) {
        while let Some((id, told)) = self.told.first_key_value()
            && now.since(told.at) > TOLD_KEPT
        {
            self.remove(*id);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(told) = self.told.remove(&id) else { return };
        for mark in &told.marks {
            let key = (mark.hash, told.place);
            if let Some(count) = self.marks.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.marks.remove(&key);
                }
            }
            if self.ends.get(&key) == Some(&id) {
                self.ends.remove(&key);
            }
        }
        if let Some(held) = self.places.get_mut(&told.place) {
            held.ids.remove(&id);
            held.tokens -= told.own;
            if held.ids.is_empty() {
                self.places.remove(&told.place);
            }
        }
    }
}

impl Scheduler {
    /// What a running request leaves behind that ends now with this said of it.
    pub fn digest(&self, now: Moment, ticket: TicketId, usage: Usage) -> Option<Digest> {
        let run = self.slots.run(ticket)?;
        let arrival = &run.ticket.arrival;
        let (backend, model) = run.course.place;
        Some(Digest {
            backend,
            model,
            key: arrival.key,
            asked: arrival.asked,
            marks: marks(&arrival.prompt),
            tokens: run.ticket.tokens(),
            thought: run.course.thought,
            disturbed: run.course.shared || run.course.load > 0.0,
            first: run.first.map(|first| first.since(run.since)),
            took: now.since(run.since),
            usage,
        })
    }

    /// Another data plane had a request: what its server has now, and how fast it was, is known here as if it had been told of
    /// here. As `Event::Learn`.
    pub fn learn(&mut self, now: Moment, digest: Digest) {
        self.tell(now, crate::Event::Learn(Box::new(digest)));
    }

    pub(crate) fn take_in(&mut self, digest: &Digest) {
        let Some(room) = self.slots.room(digest.backend) else { return };
        let cache = (room.backend.cache, room.lanes());
        let now = self.now;
        let mut end = 0;
        let piece = |mark: &Mark| {
            let tokens = mark.tokens.saturating_sub(end);
            end = end.max(mark.tokens);
            Block { hash: mark.hash, tokens, own: false }
        };
        let prompt = Chain::new(digest.marks.iter().take(MARKS_MAX).map(piece));
        let candidate = Candidate { backend: digest.backend, model: digest.model, reserve: 0 };
        let arrival = Arrival {
            ticket: HEARD,
            key: digest.key,
            asked: digest.asked,
            weight: 1,
            class: Class::default(),
            prompt_tokens: digest.tokens,
            prompt,
            policy: Policy::default(),
            candidates: Box::new([candidate]),
            deadline: Moment::NEVER,
        };
        let since = Moment(now.0.saturating_sub(digest.took.0));
        // the turn before ended at one of its points
        self.slots.known.returns.arrived(&arrival.prompt, since);
        let ticket = Ticket::new(arrival, since, Number::default());
        let answer = self.slots.known.hear(&ticket, digest, since, now);
        self.slots.known.digests.add(digest, answer, cache, now);
    }

    /// A prompt came: what digests said of it is brought into the index.
    pub(crate) fn recollect(&mut self, prompt: &Chain) {
        if self.slots.known.digests.told.is_empty() {
            return;
        }
        for found in self.slots.known.digests.take(prompt, self.now) {
            let Some(room) = self.slots.room(found.place.0) else { continue };
            let cache = (room.backend.cache, room.lanes());
            self.slots.known.caches.recollect(prompt, &found, cache, self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: (Cache, u32) = (Cache::Pool { tokens: 1_000_000 }, 0);

    fn chain(hashes: &[u64]) -> Chain {
        Chain::new(hashes.iter().map(|hash| Block { hash: *hash, tokens: 100, own: false }))
    }

    fn digest(backend: u32, hashes: &[u64]) -> Digest {
        Digest {
            backend: BackendId(backend),
            model: ModelId(0),
            key: Key(0),
            asked: Asked(0),
            marks: marks(&chain(hashes)),
            tokens: 100 * hashes.len() as u32,
            thought: 0,
            disturbed: false,
            first: None,
            took: Span::ZERO,
            usage: Usage::default(),
        }
    }

    fn found(backend: u32, blocks: usize, answer: Option<u32>) -> Found {
        let answer = answer.map(|answer| (answer, End::Unknown, Moment::default()));
        Found { place: (BackendId(backend), ModelId(0)), blocks, answer }
    }

    #[test]
    fn of_many_that_begin_alike_the_one_that_ends_there_is_found_at_each_place() {
        let (mut digests, now) = (Digests::default(), Moment::default());
        for talk in 0..1000 {
            digests.add(&digest(talk as u32 % 2, &[1, 1000 + talk]), 7, ROOMY, now);
        }
        assert_eq!(digests.marks.len(), 1002, "what all begin with is one entry at each place");
        let next = chain(&[1, 1005, 5000]);
        assert_eq!(digests.take(&next, now), [found(0, 1, None), found(1, 2, Some(7))]);
        assert_eq!(digests.take(&next, now), [found(0, 1, None), found(1, 1, None)], "it is taken out once");
    }

    #[test]
    fn the_next_turn_takes_the_place_of_the_one_before() {
        let (mut digests, now) = (Digests::default(), Moment::default());
        for backend in [0, 1] {
            digests.add(&digest(backend, &[1, 2]), 7, ROOMY, now);
        }
        digests.add(&digest(1, &[1, 2, 3, 4]), 9, ROOMY, now);
        assert_eq!(digests.told.len(), 2);
        let next = chain(&[1, 2, 3, 4, 5]);
        assert_eq!(digests.take(&next, now), [found(0, 2, Some(7)), found(1, 4, Some(9))]);
    }

    #[test]
    fn no_place_remembers_more_than_it_has_room_for() {
        let (mut digests, now) = (Digests::default(), Moment::default());
        let rooms = [(Cache::Pool { tokens: 450 }, 0), (Cache::Slots { ram: 250 }, 2)];
        for (backend, room) in (0..).zip(rooms) {
            (10..20).for_each(|talk| digests.add(&digest(backend, &[talk, talk + 100]), 0, room, now));
            let ends = digests.ends.keys().filter(|(_, place)| place.0 == BackendId(backend));
            let left: Vec<u64> = ends.map(|(hash, _)| *hash).collect();
            assert_eq!(left, [[118, 119].as_slice(), &[117, 118, 119]][backend as usize]);
        }
        assert_eq!(digests.told.len(), 5);
    }
}
