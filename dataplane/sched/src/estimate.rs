//! What requests are expected to cost, learned from what became of others.

use std::collections::BTreeMap;

use crate::{BackendId, ModelId, Span};

/// Pairs of backend and model of which something is known; further ones are not learned of.
pub const ESTIMATES_MAX: usize = 4096;
/// Prompts with fewer uncached tokens say more about the way than about the engine.
pub const PREFILL_TOKENS_MIN: u32 = 256;

/// What an older prefill weighs beside a newer one, in percent.
const KEPT_PERCENT: u64 = 95;
/// Tokens are counted in thousandths, so that old ones fade evenly.
const MILLI: u64 = 1000;

/// Tokens read and the time that took, the newest weighing most.
#[derive(Clone, Copy, Debug, Default)]
struct Prefill {
    milli_tokens: u64,
    micros: u64,
}

impl Prefill {
    fn add(&mut self, tokens: u32, took: Span) {
        let keep = |old: u64| (u128::from(old) * u128::from(KEPT_PERCENT) / 100) as u64;
        self.milli_tokens = keep(self.milli_tokens).saturating_add(u64::from(tokens) * MILLI);
        self.micros = keep(self.micros).saturating_add(took.0);
    }

    fn tps(&self) -> u32 {
        let per_second = u128::from(self.milli_tokens) * 1_000 / u128::from(self.micros.max(1));
        u32::try_from(per_second).unwrap_or(u32::MAX).max(1)
    }
}

/// Measured speeds of backends.
#[derive(Debug, Default)]
pub(crate) struct Estimate {
    prefill: BTreeMap<(BackendId, ModelId), Prefill>,
}

impl Estimate {
    /// A prompt of so many tokens was read in that time; `cached` of them out of a cache, where the server said so.
    pub(crate) fn prefilled(
        &mut self,
        place: (BackendId, ModelId),
        tokens: u32,
        cached: Option<u32>,
        took: Span,
    ) {
        let uncached = tokens.saturating_sub(cached.unwrap_or_default());
        if uncached < PREFILL_TOKENS_MIN {
            return;
        }
        let known = self.prefill.get(&place);
        let full = self.prefill.len() >= ESTIMATES_MAX;
        let mut one = Prefill::default();
        one.add(uncached, took);
        // Some of it may have been cached: that only says that it reads no faster than this.
        let tells = cached.is_some() || known.is_none_or(|known| one.tps() < known.tps());
        if tells && (known.is_some() || !full) {
            self.prefill.entry(place).or_default().add(uncached, took);
        }
    }

    /// Uncached tokens of prompts that are read in a second; `None` where nothing is measured.
    pub(crate) fn prefill_tps(&self, place: (BackendId, ModelId)) -> Option<u32> {
        self.prefill.get(&place).map(Prefill::tps)
    }

    /// The backend is gone.
    pub(crate) fn forget(&mut self, backend: BackendId) {
        self.prefill.retain(|(known, _), _| *known != backend);
    }
}
