//! A prompt as the core sees it: chained blocks, so that an equal hash means an equal prompt up to there.

use std::sync::Arc;

/// The most blocks of a prompt that are looked at; what lies behind them counts as never cached.
pub const BLOCKS_MAX: usize = 1024;

/// A piece of a prompt, chained to all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Of this piece and of all before it.
    pub hash: u64,
    /// Its estimated length in tokens.
    pub tokens: u32,
    /// Whether it is the assistant's, so that it may be of an answer that was given before.
    pub own: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    hash: u64,
    /// Tokens up to its end.
    end: u32,
    own: bool,
}

/// The blocks of a prompt with their sums. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain(Arc<[Link]>);

impl Chain {
    /// A chain of at most `BLOCKS_MAX` blocks.
    pub fn new(blocks: impl IntoIterator<Item = Block>) -> Self {
        let mut end = 0u32;
        let links = blocks.into_iter().take(BLOCKS_MAX).map(|block| {
            end = end.saturating_add(block.tokens);
            Link { hash: block.hash, end, own: block.own }
        });
        Chain(links.collect())
    }

    /// Tokens of all blocks.
    pub fn tokens(&self) -> u32 {
        self.0.last().map_or(0, |link| link.end)
    }

    /// The hash of what comes before the first answer, which all turns of a conversation begin with; `None` for nothing.
    pub fn opening(&self) -> Option<u64> {
        let before = self.0.iter().take_while(|link| !link.own).last();
        before.or(self.0.first()).map(|link| link.hash)
    }

    /// The blocks that it was made of.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let block =
            |(at, link): (usize, &Link)| Block { hash: link.hash, tokens: self.tokens_at(at), own: link.own };
        self.0.iter().enumerate().map(block)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The hash of the whole.
    pub(crate) fn hash(&self) -> Option<u64> {
        self.0.last().map(|link| link.hash)
    }

    /// The hash up to the end of a block.
    pub(crate) fn hash_at(&self, block: usize) -> u64 {
        self.0[block].hash
    }

    /// Tokens of the first blocks.
    pub(crate) fn tokens_of(&self, blocks: usize) -> u32 {
        blocks.checked_sub(1).map_or(0, |last| self.0[last].end)
    }

    /// Tokens of one block.
    pub(crate) fn tokens_at(&self, block: usize) -> u32 {
        self.0[block].end - self.tokens_of(block)
    }

    /// Whether a block is there and has this hash.
    fn has(&self, block: usize, hash: u64) -> bool {
        self.0.get(block).is_some_and(|link| link.hash == hash)
    }

    /// Whether a block is the assistant's.
    pub(crate) fn own(&self, block: usize) -> bool {
        self.0.get(block).is_some_and(|link| link.own)
    }

    /// Tokens of the assistant's message that begins behind so many blocks; zero where none does.
    pub(crate) fn answer_behind(&self, blocks: usize) -> u32 {
        let own = self.0.iter().skip(blocks).take_while(|link| link.own).last();
        own.map_or(0, |link| link.end - self.tokens_of(blocks))
    }

    /// How many of its first blocks `has` accepts, which accepts none behind one that it does not.
    pub(crate) fn first(&self, has: impl Fn(usize, u64) -> bool) -> usize {
        let (mut low, mut high) = (0, self.0.len());
        // most sequences have nothing in common, or all but the last turn
        if high > 0 && !has(0, self.0[0].hash) {
            return 0;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match has(middle - 1, self.0[middle - 1].hash) {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        low
    }

    /// How many blocks two prompts begin with alike.
    pub(crate) fn common(&self, other: &Chain) -> usize {
        self.first(|block, hash| other.has(block, hash))
    }
}

/// What a server was last seen to hold in one place: a prompt and the answer to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) prompt: Chain,
    /// Length of the answer in tokens; its text is not known here.
    pub(crate) answer: u32,
}

impl Sequence {
    pub(crate) fn tokens(&self) -> u32 {
        self.prompt.tokens().saturating_add(self.answer)
    }

    /// How many tokens of `prompt` it begins with. An assistant's message right behind the whole prompt is taken
    /// for the answer to it.
    pub(crate) fn common(&self, prompt: &Chain) -> u32 {
        self.overlap(prompt).tokens
    }

    pub(crate) fn overlap(&self, prompt: &Chain) -> Overlap {
        let blocks = prompt.common(&self.prompt);
        // a hash that two blocks of unlike length share would be an accident; it must not break anything
        let tokens = prompt.tokens_of(blocks).min(self.prompt.tokens());
        let answer = match blocks > 0 && blocks == self.prompt.len() {
            true => self.answer.min(prompt.answer_behind(blocks)),
            false => 0,
        };
        Overlap { blocks, tokens: tokens + answer }
    }

    /// As `overlap`, where it is more than another that the prompt has. Most sequences are told to have less by a look at
    /// one block.
    pub(crate) fn overlap_above(&self, prompt: &Chain, most: Overlap) -> Option<Overlap> {
        let (blocks, held) = (most.blocks, self.prompt.len());
        let further = blocks < prompt.len() && self.prompt.has(blocks, prompt.hash_at(blocks));
        let answered = self.answer > 0
            && (1..=blocks).contains(&held)
            && self.prompt.has(held - 1, prompt.hash_at(held - 1));
        if !further && !answered {
            return None;
        }
        Some(self.overlap(prompt)).filter(|overlap| overlap.tokens > most.tokens)
    }
}

/// What a prompt and a sequence begin with alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// Blocks of the prompt.
    blocks: usize,
    /// Tokens, those of the answer included.
    pub(crate) tokens: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(text: &str) -> Chain {
        let mut hash = 7u64;
        Chain::new(text.bytes().map(|byte| {
            hash = hash.wrapping_mul(31).wrapping_add(byte.into());
            Block { hash, tokens: 10, own: byte.is_ascii_uppercase() }
        }))
    }

    #[test]
    fn prompts_have_in_common_what_they_begin_with() {
        for (one, other, tokens) in [
            ("abcd", "abcd", 40),
            ("abcd", "abxd", 20),
            ("abcd", "", 0),
            ("ab", "abcdefgh", 20),
            ("xb", "ab", 0),
        ] {
            assert_eq!(chain(one).tokens_of(chain(one).common(&chain(other))), tokens, "{one} {other}");
            assert_eq!(chain(other).tokens_of(chain(other).common(&chain(one))), tokens, "{other} {one}");
        }
    }

    #[test]
    fn the_answer_counts_where_the_prompt_goes_on_with_it() {
        let held = Sequence { prompt: chain("abc"), answer: 7 };
        for (prompt, tokens) in
            [("abcDe", 37), ("abcDEe", 37), ("abcd", 30), ("abc", 30), ("abD", 20), ("", 0)]
        {
            assert_eq!(held.common(&chain(prompt)), tokens, "{prompt}");
        }
        let texts = ["abc", "abcDe", "abcDEe", "ab", "a", "xbc", "abcD", ""];
        for (one, other) in texts.iter().flat_map(|one| texts.map(|other| (*one, other))) {
            let prompt = chain("abcDef");
            let (one, other) =
                (Sequence { prompt: chain(one), answer: 7 }, Sequence { prompt: chain(other), answer: 9 });
            let most = one.overlap(&prompt);
            let more = Some(other.overlap(&prompt)).filter(|more| more.tokens > most.tokens);
            assert_eq!(other.overlap_above(&prompt, most), more, "{one:?} {other:?}");
        }
        let long = Sequence { prompt: chain("abc"), answer: 70 };
        assert_eq!((long.common(&chain("abcDe")), long.common(&chain("abcDEe"))), (40, 50));
    }

    #[test]
    fn all_turns_of_a_conversation_have_one_opening() {
        let opening = chain("sab").opening();
        assert!(opening.is_some());
        for (text, same) in
            [("sabA", true), ("sabAcDe", true), ("sabc", false), ("sa", false), ("xab", false)]
        {
            assert_eq!(chain(text).opening() == opening, same, "{text}");
        }
        assert_eq!((chain("").opening(), chain("A").opening()), (None, Some(chain("A").hash_at(0))));
    }

    #[test]
    fn blocks_are_bounded() {
        let block = Block { hash: 1, tokens: u32::MAX, own: false };
        let chain = Chain::new(std::iter::repeat_n(block, BLOCKS_MAX + 1));
        assert_eq!((chain.len(), chain.tokens()), (BLOCKS_MAX, u32::MAX));
    }
}
