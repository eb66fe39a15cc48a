//! How fast backends are, learned from what became of requests.

use crate::affinity::surprise;
use crate::sorted::Sorted;
use crate::{BackendId, ModelId, Span};

/// Pairs of backend and model of which something is known; further ones are not learned of.
pub const ESTIMATES_MAX: usize = 4096;
/// Prompts with fewer uncached tokens say more about the way than about the engine.
pub const PREFILL_TOKENS_MIN: u32 = 256;
/// Shorter answers say more about the way than about the engine.
pub const DECODE_TOKENS_MIN: u32 = 16;
/// How long a model is thought to load where none was seen to.
pub const LOAD_GUESS: Span = Span::from_secs(10);

/// What is thought of a backend before anything was measured, as tokens in seconds.
const PREFILL_GUESS: Rate = Rate { tokens: 2000.0, secs: 2.0 };
const DECODE_GUESS: Rate = Rate { tokens: 100.0, secs: 100.0 / 30.0 };
/// What an older measurement weighs beside a newer one.
const KEPT: f64 = 0.95;
/// A new load time weighs so much.
const LOAD_WEIGHT: f64 = 0.3;
/// A new relation of tokens counted to tokens estimated weighs so much, within bounds.
const RATIO_WEIGHT: f64 = 0.1;
const RATIO_MIN: f64 = 0.1;
const RATIO_MAX: f64 = 10.0;
/// So often in a row a prompt that takes longer or shorter than it should is laid to its cache, then to the speed.
const DOUBTS_MAX: u32 = 8;

/// Tokens and the time they took, the newest weighing most.
#[derive(Clone, Copy, Debug)]
struct Rate {
    tokens: f64,
    secs: f64,
}

impl Rate {
    fn add(&mut self, tokens: f64, secs: f64) {
        self.tokens = self.tokens * KEPT + tokens;
        self.secs = self.secs * KEPT + secs;
    }

    fn per_second(&self) -> f64 {
        self.tokens / self.secs.max(1e-6)
    }
}

#[derive(Clone, Copy, Debug)]
struct Speeds {
    /// Measured, and what is left of the guess.
    prefill: Rate,
    prefill_guess: Rate,
    decode: Rate,
    load: Option<f64>,
    /// Tokens of prompts as the server counts them, for each that was estimated.
    ratio: f64,
    /// How many prompts in a row took much longer or shorter than they should.
    doubts: u32,
}

impl Speeds {
    /// What is thought before anything was measured.
    const GUESS: Speeds = Speeds {
        prefill: Rate { tokens: 0.0, secs: 0.0 },
        prefill_guess: PREFILL_GUESS,
        decode: DECODE_GUESS,
        load: None,
        ratio: 1.0,
        doubts: 0,
    };
}

/// Measured speeds of backends.
#[derive(Debug, Default)]
pub(crate) struct Estimate {
    speeds: Sorted<(BackendId, ModelId), Speeds>,
}

impl Estimate {
    /// So many tokens of a prompt were read in that time; `told` when the server said how many came out of its cache, so
    /// that they are certain. Otherwise more may have: that only says that it reads no faster than this.
    pub(crate) fn prefilled(&mut self, place: (BackendId, ModelId), uncached: u32, told: bool, took: Span) {
        if uncached < PREFILL_TOKENS_MIN {
            return;
        }
        let (tokens, secs) = (f64::from(uncached), took.secs());
        let Some(speeds) = self.entry(place) else { return };
        if told || speeds.prefill.tokens == 0.0 || tokens / secs.max(1e-6) < speeds.prefill.per_second() {
            speeds.prefill.add(tokens, secs);
            speeds.prefill_guess.add(0.0, 0.0);
        }
    }

    /// A server that does not tell how much of a prompt of `total` tokens was cached says that it read the rest in that time.
    /// The answer is how much was, where that is far from what was `thought`: a server that lost its cache is not slow.
    pub(crate) fn noticed(
        &mut self,
        place: (BackendId, ModelId),
        (total, thought): (u32, u32),
        took: Span,
    ) -> Option<u32> {
        let speeds = self.speeds.get_mut(place).filter(|speeds| speeds.prefill.tokens > 0.0)?;
        let read = took.secs() * speeds.prefill.per_second();
        let cached = total.saturating_sub(read.round() as u32);
        let far = cached.abs_diff(thought) > surprise(total);
        speeds.doubts = if far { speeds.doubts.saturating_add(1) } else { 0 };
        (1..=DOUBTS_MAX).contains(&speeds.doubts).then_some(cached)
    }

    /// So many tokens were answered in that time.
    pub(crate) fn decoded(&mut self, place: (BackendId, ModelId), tokens: u32, took: Span) {
        if tokens < DECODE_TOKENS_MIN || took == Span::ZERO {
            return;
        }
        if let Some(speeds) = self.entry(place) {
            speeds.decode.add(f64::from(tokens), took.secs());
        }
    }

    /// A prompt that was estimated at so many tokens had so many for the server.
    pub(crate) fn counted(&mut self, place: (BackendId, ModelId), estimated: u32, counted: u32) {
        if estimated < PREFILL_TOKENS_MIN || counted == 0 {
            return;
        }
        if let Some(speeds) = self.entry(place) {
            let ratio = (f64::from(counted) / f64::from(estimated)).clamp(RATIO_MIN, RATIO_MAX);
            speeds.ratio += (ratio - speeds.ratio) * RATIO_WEIGHT;
        }
    }

    /// The model took so long to load.
    pub(crate) fn loaded(&mut self, place: (BackendId, ModelId), secs: f64) {
        if let Some(speeds) = self.entry(place) {
            let before = speeds.load.unwrap_or(secs);
            speeds.load = Some(before + (secs - before) * LOAD_WEIGHT);
        }
    }

    /// Uncached tokens of prompts that are read in a second; `None` where nothing is measured.
    pub(crate) fn prefill_tps(&self, place: (BackendId, ModelId)) -> Option<u32> {
        let speeds = self.speeds.get(place).filter(|speeds| speeds.prefill.tokens > 0.0)?;
        Some((speeds.prefill.per_second() as u32).max(1))
    }

    /// Uncached tokens of prompts, as estimated, that are read in a second, measured or guessed.
    pub(crate) fn prefill(&self, place: (BackendId, ModelId)) -> f64 {
        let speeds = self.get(place);
        let (measured, guess) = (speeds.prefill, speeds.prefill_guess);
        Rate { tokens: measured.tokens + guess.tokens, secs: measured.secs + guess.secs }
            .per_second()
            .max(1.0)
            / speeds.ratio
    }

    /// Tokens of one answer in a second, measured or guessed.
    pub(crate) fn decode(&self, place: (BackendId, ModelId)) -> f64 {
        self.get(place).decode.per_second().max(0.1)
    }

    /// Seconds that the model takes to load, measured or guessed.
    pub(crate) fn load(&self, place: (BackendId, ModelId)) -> f64 {
        self.get(place).load.unwrap_or(LOAD_GUESS.secs())
    }

    /// The backend is gone.
    pub(crate) fn forget(&mut self, backend: BackendId) {
        self.speeds.retain(|(known, _)| known != backend);
    }

    fn get(&self, place: (BackendId, ModelId)) -> &Speeds {
        self.speeds.get(place).unwrap_or(&Speeds::GUESS)
    }

    fn entry(&mut self, place: (BackendId, ModelId)) -> Option<&mut Speeds> {
        let full = self.speeds.len() >= ESTIMATES_MAX && self.speeds.get(place).is_none();
        (!full).then(|| self.speeds.get_or_insert_with(place, || Speeds::GUESS))
    }
}
