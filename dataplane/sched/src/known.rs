//! What the core has learned, and what it expects of a request that runs.

use crate::affinity::{Affinity, Before, Cache, Reach, Warm};
use crate::digest::{Digest, Digests, HEARD};
use crate::estimate::Estimate;
use crate::lengths::Answers;
use crate::queue::Ticket;
use crate::recent::Recent;
use crate::returns::Returns;
use crate::{BackendId, ModelId, Moment, Outcome, Policy, Span, Usage};

/// What was expected of a request when it started.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) place: (BackendId, ModelId),
    /// Tokens of its prompt that were thought to be cached.
    pub(crate) thought: u32,
    /// How far back they lie.
    reach: Reach,
    before: Before,
    /// Seconds until its first token, the load of the model included.
    pub(crate) prefill: f64,
    /// Seconds of that for the load of the model.
    pub(crate) load: f64,
    /// Tokens of its answer.
    pub(crate) answer: f64,
    /// Seconds that it was expected to hold the slot.
    pub(crate) charge: f64,
    /// Another prompt was read at the same time.
    pub(crate) shared: bool,
}

/// All that is learned.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) speeds: Estimate,
    pub(crate) caches: Affinity,
    pub(crate) returns: Returns,
    pub(crate) answers: Answers,
    pub(crate) recent: Recent,
    pub(crate) digests: Digests,
}

impl Known {
    /// A request starts there, where the model must be loaded when `loads`; `warm` is what it was thought to find there when
    /// it was weighed.
    pub(crate) fn start(
        &mut self,
        ticket: &Ticket,
        place: (BackendId, ModelId),
        (cache, slots): (Cache, u32),
        (loads, warm): (bool, Option<Warm>),
        now: Moment,
    ) -> Course {
        let arrival = &ticket.arrival;
        let what = (arrival.ticket, &arrival.prompt, ticket.tokens());
        let (cached, reach, before) = self.caches.start(place, (cache, slots), what, warm, now);
        let thought = cached.min(ticket.tokens().saturating_sub(1));
        let load = if loads { self.speeds.load(place) } else { 0.0 };
        let prefill = load + f64::from(ticket.tokens() - thought) / self.speeds.prefill(place);
        let answer = self.answers.expected(ticket.like());
        let charge = prefill + answer / self.speeds.decode(place);
        Course { place, thought, reach, before, prefill, load, answer, charge, shared: false }
    }

    /// It ended without reaching the server.
    pub(crate) fn undo(&mut self, ticket: &Ticket, course: &mut Course, now: Moment) {
        self.caches.undo(course.place, ticket.arrival.ticket, course.before.take(), now);
    }

    /// It ended: first content came at `first`, `since` is when it started.
    pub(crate) fn finish(
        &mut self,
        ticket: &Ticket,
        course: &Course,
        (since, first): (Moment, Option<Moment>),
        (outcome, usage): (Outcome, Usage),
        now: Moment,
    ) {
        let arrival = &ticket.arrival;
        let usage = credible(usage, ticket.tokens(), now.since(since));
        let end = usage.end;
        let answered = first.map_or(Span::ZERO, |first| now.since(first));
        let guess = (answered.secs() * self.speeds.decode(course.place)) as u32;
        let answer = usage.output.unwrap_or(guess);
        self.caches.finish(course.place, arrival.ticket, answer, end, now);
        if arrival.policy == Policy::LongWaits {
            self.recent.finish(course.place.0, &arrival.prompt);
        }
        if outcome != Outcome::Done {
            return;
        }
        self.returns.ended(&arrival.prompt, end, now);
        if let Some(output) = usage.output {
            self.answers.add(ticket.like(), output);
            self.speeds.decoded(course.place, output, answered);
        }
        // what the server tells is in its tokens, what is thought in ours
        let total = usage.prompt.unwrap_or(ticket.tokens());
        if let Some(prompt) = usage.prompt {
            self.speeds.counted(course.place, ticket.tokens(), prompt);
        }
        let thought = course.thought.min(total);
        let noticed = |took| self.speeds.noticed(course.place, (total, thought), took);
        let told = match usage.cached {
            Some(cached) => Some(cached.min(total)),
            None => usage.prefill.filter(|_| !course.shared).and_then(noticed),
        };
        // how far back it lay is known where it was started
        if let Some(cached) = told.filter(|_| arrival.ticket != HEARD) {
            let ours = u64::from(cached) * u64::from(ticket.tokens()) / u64::from(total.max(1));
            let told = (ours as u32, course.thought);
            self.caches.learn(course.place, ticket.tokens(), told, course.reach, since);
        }
        let uncached = total - told.unwrap_or(thought);
        let waited = first.map(|first| first.since(since));
        if course.load > 0.0 {
            // of an answer in one piece nobody knows when it began
            let Some(waited) = waited else { return };
            let read = f64::from(uncached) / self.speeds.prefill(course.place);
            self.speeds.loaded(course.place, (waited.secs() - read).max(0.0));
        } else if let Some(took) = usage.prefill.or(waited)
            && !course.shared
        {
            let certain = told.is_some() || arrival.prompt.tokens() > 0;
            // more of it was cached than is known, as after a restart of this process
            if told.is_none() && f64::from(uncached) > took.secs() * READS_UNTOLD_TPS_MAX {
                return;
            }
            self.speeds.prefilled(course.place, uncached, certain, took);
        }
    }

    /// One ended elsewhere that began at `since`; the answer is how long what it was told was, in tokens.
    pub(crate) fn hear(&mut self, ticket: &Ticket, digest: &Digest, since: Moment, now: Moment) -> u32 {
        let place = (digest.backend, digest.model);
        let first = digest.first.map(|first| since + first);
        let answered = first.map_or(Span::ZERO, |first| now.since(first));
        let guess = (answered.secs() * self.speeds.decode(place)) as u32;
        let usage = credible(digest.usage, ticket.tokens(), now.since(since));
        let course = Course {
            place,
            thought: digest.thought.min(ticket.tokens()),
            reach: Reach::default(),
            before: None,
            prefill: 0.0,
            load: 0.0,
            answer: 0.0,
            charge: 0.0,
            shared: digest.disturbed,
        };
        self.finish(ticket, &course, (since, first), (Outcome::Done, digest.usage), now);
        usage.output.unwrap_or(guess)
    }

    /// Seconds until a request is expected to end that runs since `since`.
    pub(crate) fn rest(
        &self,
        ticket: &Ticket,
        course: &Course,
        times: (Moment, Option<Moment>),
        now: Moment,
    ) -> f64 {
        let (since, first) = times;
        let rate = self.speeds.decode(course.place);
        match first {
            None => (course.prefill - now.since(since).secs()).max(0.2) + course.answer / rate,
            Some(first) => {
                let so_far = now.since(first).secs() * rate;
                self.answers.rest(ticket.like(), so_far) / rate
            }
        }
    }

    /// The backend is gone.
    pub(crate) fn forget(&mut self, backend: BackendId) {
        self.speeds.forget(backend);
        self.caches.forget(backend);
        self.recent.forget(backend);
        self.digests.forget(|(place, _)| place == backend);
    }
}

/// No server writes or reads faster, in tokens a second, nor counts a prompt as so many times what was estimated.
const WRITES_TPS_MAX: f64 = 20_000.0;
const READS_TPS_MAX: f64 = 500_000.0;
/// And none that does not tell what was cached: those are single machines.
const READS_UNTOLD_TPS_MAX: f64 = 20_000.0;
const COUNTS_MAX: u32 = 16;
/// Beyond that, whatever the length: an estimate may miss an image, and answers come in pieces.
const TOKENS_SPARED: u32 = 65_536;

/// What a server tells, without what cannot be: one absurd figure would be believed by all that is learned.
fn credible(told: Usage, estimated: u32, held: Span) -> Usage {
    let mut usage = told;
    let written = held.secs() * WRITES_TPS_MAX + 1024.0;
    usage.output = told.output.filter(|output| f64::from(*output) <= written);
    let counted = estimated.saturating_mul(COUNTS_MAX).saturating_add(TOKENS_SPARED);
    usage.prompt = told.prompt.filter(|prompt| *prompt <= counted);
    let total = usage.prompt.unwrap_or(estimated);
    usage.cached = told.cached.filter(|cached| *cached <= counted);
    let read = f64::from(total - usage.cached.unwrap_or(0).min(total));
    // where it does not say how much was cached, that may be why it was fast
    let slow = |took: &Span| usage.cached.is_none() || read <= took.secs() * READS_TPS_MAX;
    usage.prefill = told.prefill.filter(|took| *took <= held && slow(took));
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_cannot_be_are_not_believed() {
        let held = Span::from_secs(2);
        let told = Usage {
            cached: Some(900),
            prompt: Some(1000),
            output: Some(50),
            prefill: Some(Span::from_millis(10)),
            ..Usage::default()
        };
        assert_eq!(credible(told, 1000, held), told);
        let absurd = [
            Usage { output: Some(u32::MAX), ..told },
            Usage { prefill: Some(Span(u64::MAX)), ..told },
            Usage { prefill: Some(Span::ZERO), ..told },
        ];
        for (at, absurd) in absurd.into_iter().enumerate() {
            let seen = credible(absurd, 1000, held);
            assert_ne!(seen, absurd, "{at}");
            assert_eq!((seen.prompt, seen.cached), (told.prompt, told.cached), "{at}");
        }
        let seen = credible(Usage { prompt: Some(u32::MAX), cached: Some(u32::MAX), ..told }, 1000, held);
        assert_eq!((seen.prompt, seen.cached, seen.output), (None, None, told.output));
    }
}
