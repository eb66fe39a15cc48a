//! Probing: what a server is, what it serves, whether it is well.

pub mod answer;
mod anthropic;
pub mod ask;
mod gemini;
mod llamacpp;
mod lmstudio;
mod ollama;
mod openai;
pub mod secret;
mod sglang;
pub mod steady;
pub mod verdict;
mod vllm;
pub mod watch;

use answer::{Answers, Question};
use wire::Dialect;

use crate::model::{Kind, Model};

/// How one kind is recognised and read. All functions are pure.
pub struct Sort {
    kind: Kind,
    /// What is asked at each interval: the models, and which are resident.
    cheap: &'static [Question],
    /// The answer that gives it away, and a note on it.
    recognise: fn(&Answers) -> Option<(Question, String)>,
    /// Its models, or why there are none to be read.
    models: fn(&Answers) -> Result<Vec<Model>, String>,
    /// Slots as it tells; 0: it does not.
    slots: fn(&Answers) -> u32,
    /// Tokens that its prompt cache holds, as it tells; 0: it does not.
    cache_tokens: fn(&Answers) -> u32,
    /// Requests that it has at work or waiting, of whomever; `None`: it does not tell.
    requests: fn(&Answers) -> Option<u32>,
    /// Its version; may be empty.
    version: fn(&Answers) -> String,
    /// Whether an answer to an empty request shows that the dialect exists there.
    speaks: fn(Dialect, &answer::Answer) -> bool,
    /// The dialect of its own, which no empty request is needed for.
    own: Option<Dialect>,
}

/// In the order in which they are tried: the more particular first.
static SORTS: [&Sort; 8] = [
    &llamacpp::SORT,
    &sglang::SORT,
    &lmstudio::SORT,
    &ollama::SORT,
    &vllm::SORT,
    &openai::SORT,
    &anthropic::SORT,
    &gemini::SORT,
];

fn sort(kind: Kind) -> &'static Sort {
    SORTS.into_iter().find(|sort| sort.kind == kind).expect("every kind has a sort")
}
