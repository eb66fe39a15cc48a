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
pub struct Chain {
    links: Arc<[Link]>,
    /// How many of them lie before the last message of the assistant: the turn before ended there.
    turn: usize,
}

impl Chain {
    /// A chain of at most `BLOCKS_MAX` blocks.
    pub fn new(blocks: impl IntoIterator<Item = Block>) -> Self {
        let mut end = 0u32;
        let links = blocks.into_iter().take(BLOCKS_MAX).map(|block| {
            end = end.saturating_add(block.tokens);
            Link { hash: block.hash, end, own: block.own }
        });
        let links: Arc<[Link]> = links.collect();
        let behind = links.iter().rev().skip_while(|link| !link.own).skip_while(|link| link.own);
        let turn = behind.count();
        Chain { links, turn }
    }

    /// Tokens of all blocks.
    pub fn tokens(&self) -> u32 {
        self.links.last().map_or(0, |link| link.end)
    }

    /// The hash of what comes before the first answer, which all turns of a conversation begin with; `None` for nothing.
    pub fn opening(&self) -> Option<u64> {
        let before = self.links.iter().take_while(|link| !link.own).last();
        before.or(self.links.first()).map(|link| link.hash)
    }

    /// The blocks that it was made of.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let block =
            |(at, link): (usize, &Link)| Block { hash: link.hash, tokens: self.tokens_at(at), own: link.own };
        self.links.iter().enumerate().map(block)
    }

    /// How many blocks lie before the last answer: the prompt of the turn before.
    pub(crate) fn turn(&self) -> usize {
        self.turn
    }

    /// The first blocks.
    pub(crate) fn beginning(&self, blocks: usize) -> Chain {
        match blocks == self.len() {
            true => self.clone(),
            false => Chain::new(self.blocks().take(blocks)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// The hash of the whole.
    pub(crate) fn hash(&self) -> Option<u64> {
        self.links.last().map(|link| link.hash)
    }

    /// The hash up to the end of a block.
    pub(crate) fn hash_at(&self, block: usize) -> u64 {
        self.links[block].hash
    }

    /// The hashes of the first blocks.
    pub(crate) fn hashes(&self, blocks: usize) -> impl DoubleEndedIterator<Item = u64> {
        self.links[..blocks].iter().map(|link| link.hash)
    }

    /// Tokens of the first blocks.
    pub(crate) fn tokens_of(&self, blocks: usize) -> u32 {
        blocks.checked_sub(1).map_or(0, |last| self.links[last].end)
    }

    /// Tokens of one block.
    pub(crate) fn tokens_at(&self, block: usize) -> u32 {
        self.links[block].end - self.tokens_of(block)
    }

    /// Whether a block is there and has this hash.
    fn has(&self, block: usize, hash: u64) -> bool {
        self.links.get(block).is_some_and(|link| link.hash == hash)
    }

    /// Whether a block is the assistant's.
    pub(crate) fn own(&self, block: usize) -> bool {
        self.links.get(block).is_some_and(|link| link.own)
    }

    /// Tokens of the assistant's message that begins behind so many blocks; zero where none does.
    pub(crate) fn answer_behind(&self, blocks: usize) -> u32 {
        let own = self.links.iter().skip(blocks).take_while(|link| link.own).last();
        own.map_or(0, |link| link.end - self.tokens_of(blocks))
    }

    /// How many of its first blocks `has` accepts, which accepts none behind one that it does not.
    pub(crate) fn first(&self, has: impl Fn(u64) -> bool) -> usize {
        let (links, turn) = (&self.links[..], self.turn);
        // most caches have nothing of a prompt, or all but the last turn
        match links.first() {
            Some(first) if has(first.hash) => {}
            _ => return 0,
        }
        let (Some(before), Some(behind)) = (links.get(turn.wrapping_sub(1)), links.get(turn)) else {
            return halve(1, links.len(), |block| has(links[block].hash));
        };
        match has(before.hash) {
            true if !has(behind.hash) => turn,
            true => halve(turn + 1, links.len(), |block| has(links[block].hash)),
            false => halve(1, turn - 1, |block| has(links[block].hash)),
        }
    }

    /// How many blocks two prompts begin with alike.
    pub(crate) fn common(&self, other: &Chain) -> usize {
        let most = self.len().min(other.len());
        let (ours, theirs) = (&self.links[..most], &other.links[..most]);
        let same = |block: usize| ours[block].hash == theirs[block].hash;
        // most have nothing in common, or one goes on where the other ends
        match most {
            0 => 0,
            _ if same(most - 1) => most,
            _ if !same(0) => 0,
            _ => halve(1, most - 1, same),
        }
    }
}

/// How many blocks there are, of at least `low` and at most `high`, where `has` knows those that are.
fn halve(mut low: usize, mut high: usize, has: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match has(middle - 1) {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    low
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
    pub(crate) blocks: usize,
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
    fn what_is_there_of_a_prompt_is_found_wherever_it_ends() {
        for text in ["", "a", "A", "ab", "aB", "Ab", "abC", "abCd", "abCDe", "abCdEf", "aBcdefgh", "ABCDe"] {
            let prompt = chain(text);
            for there in 0..=prompt.len() {
                let found = prompt.first(|hash| prompt.hashes(there).any(|known| known == hash));
                assert_eq!(found, there, "{text}");
                let held = Chain::new(prompt.blocks().take(there));
                assert_eq!((prompt.common(&held), held.common(&prompt)), (there, there), "{text}");
            }
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
