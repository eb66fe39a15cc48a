//! The last prompts of each backend, as `Policy::LongWaits` goes by them.

use std::collections::{BTreeMap, VecDeque};

use crate::BackendId;
use crate::chain::Chain;

/// Prompts from so many tokens on wait for a backend that knows them.
pub const LONG_TOKENS: u32 = 15_000;
/// Prompts that are remembered of a backend.
const PROMPTS_MAX: usize = 5;
/// A backend knows a prompt that begins with so many tokens of one of them.
const KNOWN_TOKENS: u32 = 50;
/// A prompt that is that much of another takes its place, in percent.
const SAME_PERCENT: u64 = 99;

/// The prompts of all backends, the latest first.
#[derive(Debug, Default)]
pub(crate) struct Recent(BTreeMap<BackendId, VecDeque<Chain>>);

impl Recent {
    pub(crate) fn knows(&self, backend: BackendId, prompt: &Chain) -> bool {
        self.best(backend, prompt).is_some()
    }

    /// A prompt that may go there was looked at: what it goes on from counts as used.
    pub(crate) fn touch(&mut self, backend: BackendId, prompt: &Chain) {
        if let Some(best) = self.best(backend, prompt)
            && let Some(prompts) = self.0.get_mut(&backend)
            && let Some(known) = prompts.remove(best)
        {
            prompts.push_front(known);
        }
    }

    pub(crate) fn finish(&mut self, backend: BackendId, prompt: &Chain) {
        let prompts = self.0.entry(backend).or_default();
        let same = |known: &Chain| {
            u64::from(common(known, prompt)) * 100 >= u64::from(known.tokens()) * SAME_PERCENT
        };
        if let Some(before) = prompts.iter().position(same) {
            prompts.remove(before);
        }
        prompts.push_front(prompt.clone());
        prompts.truncate(PROMPTS_MAX);
    }

    pub(crate) fn forget(&mut self, backend: BackendId) {
        self.0.remove(&backend);
    }

    fn best(&self, backend: BackendId, prompt: &Chain) -> Option<usize> {
        let known = self.0.get(&backend)?.iter().enumerate();
        let known = known.map(|(index, known)| (common(known, prompt), index));
        let known = known.filter(|(common, _)| *common >= KNOWN_TOKENS);
        // of equals the latest
        known.rev().max_by_key(|(common, _)| *common).map(|(_, index)| index)
    }
}

/// Tokens that two prompts begin with alike.
fn common(known: &Chain, prompt: &Chain) -> u32 {
    prompt.tokens_of(prompt.common(known))
}
