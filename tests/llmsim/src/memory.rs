//! What a server has in memory: models, and what each of them keeps of the prompts that it has read.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use arena::cache::{Cache, Segment, Sequence, Shape};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    settings::{Kind, Settings},
    text::{TOKEN_BYTES, hash, tokens},
};

/// Tokens of a block of a pool; what is cached of a prompt are whole blocks.
pub(crate) const BLOCK_TOKENS: usize = 16;

/// The memory of one server.
#[derive(Debug)]
pub(crate) struct Memory {
    /// None where prompts are not kept.
    shape: Option<Shape>,
    seats: usize,
    /// Models at a time.
    most: usize,
    /// Models that are there when the server starts.
    first: Vec<String>,
    began: Instant,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    models: BTreeMap<String, Model>,
    /// Counts uses, so that each is younger than the one before.
    clock: u64,
}

#[derive(Debug)]
struct Model {
    cache: Option<Cache>,
    /// When it was loaded and last used, by the clock.
    loaded: u64,
    used: u64,
    /// What runs; dropped, it ends.
    runs: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place of one request in the memory of its model.
#[derive(Debug)]
pub(crate) struct Place {
    /// Tokens of its prompt that need not be read again.
    pub cached: u32,
    seat: Option<usize>,
    loaded: u64,
    run: u64,
    /// Its model is taken away.
    pub ended: Ended,
}

/// The end of what runs on a model that is taken away.
#[derive(Debug, Default)]
pub(crate) struct Ended(Option<oneshot::Receiver<()>>);

impl Ended {
    /// Waits for it; for ever, if need be.
    pub async fn wait(self) {
        match self.0 {
            Some(ended) => drop(ended.await),
            None => std::future::pending().await,
        }
    }
}

impl Memory {
    pub fn new(settings: &Settings) -> Self {
        let shape = settings.cache.then_some(match settings.kind {
            Kind::Llamacpp => Shape::Slots { ram: settings.cache_ram.into() },
            Kind::Ollama | Kind::LmStudio => Shape::Slots { ram: 0 },
            Kind::Vllm | Kind::Openai | Kind::Anthropic | Kind::Gemini => {
                Shape::Pool { capacity: settings.kv_tokens.into() }
            }
        });
        let first = if settings.loads() { Vec::new() } else { settings.models.clone() };
        let most = if settings.models_max == 0 { usize::MAX } else { settings.models_max as usize };
        let memory = Memory {
            shape,
            seats: settings.slots.max(1) as usize,
            most,
            first,
            began: Instant::now(),
            inside: Mutex::default(),
        };
        memory.restart();
        memory
    }

    /// Whether a model is in it.
    pub fn holds(&self, model: &str) -> bool {
        self.lock().models.contains_key(model)
    }

    /// Whether a model is in it or fits beside those that are.
    pub fn fits(&self, model: &str) -> bool {
        let inside = self.lock();
        inside.models.contains_key(model) || inside.models.len() < self.most
    }

    /// Takes out the models that were not used for longest until there is room for another; how many those are, and how
    /// many generations ended with them.
    pub fn evict(&self) -> (u64, u64) {
        let (mut evicted, mut killed) = (0, 0);
        let mut inside = self.lock();
        while inside.models.len() >= self.most
            && let Some(oldest) = inside.models.iter().min_by_key(|(_, model)| model.used)
        {
            let oldest = oldest.0.clone();
            let gone = inside.models.remove(&oldest);
            evicted += 1;
            killed += gone.map_or(0, |gone| gone.runs.len() as u64);
        }
        (evicted, killed)
    }

    /// A model has been loaded.
    pub fn insert(&self, model: &str) {
        let cache = self.shape.map(|shape| Cache::new(shape, self.seats));
        let mut inside = self.lock();
        inside.clock += 1;
        let clock = inside.clock;
        let new = Model { cache, loaded: clock, used: clock, runs: BTreeMap::new() };
        inside.models.insert(model.to_owned(), new);
    }

    /// Takes a model out.
    pub fn remove(&self, model: &str) {
        self.lock().models.remove(model);
    }

    /// Ends all that runs, and holds what it did when the server was started.
    pub fn restart(&self) {
        self.lock().models.clear();
        for model in &self.first {
            self.insert(model);
        }
    }

    /// A request with this prompt begins.
    pub fn sit(&self, model: &str, prompt: &str) -> Place {
        let now = self.began.elapsed().as_secs_f64();
        let mut inside = self.lock();
        inside.clock += 1;
        let run = inside.clock;
        let mut place = Place { cached: 0, seat: None, loaded: 0, run, ended: Ended::default() };
        let Some(model) = inside.models.get_mut(model) else { return place };
        let (end, ended) = oneshot::channel();
        model.runs.insert(run, end);
        model.used = run;
        (place.loaded, place.ended) = (model.loaded, Ended(Some(ended)));
        if let Some(cache) = model.cache.as_mut().filter(|_| !prompt.is_empty()) {
            let hit = cache.start(&self.sequence(prompt), now);
            place.seat = hit.map(|hit| hit.seat);
            // The last token is read in any case: the first of the answer comes out of it.
            let most = tokens(prompt.len()).saturating_sub(1);
            let cached = hit.map_or(0, |hit| u32::try_from(hit.cached).unwrap_or(u32::MAX)).min(most);
            place.cached = cached / self.unit() as u32 * self.unit() as u32;
        }
        place
    }

    /// A request ends; `text` is its prompt with as much of the answer as was written.
    pub fn rise(&self, model: &str, place: &Place, text: &str) {
        let now = self.began.elapsed().as_secs_f64();
        let mut inside = self.lock();
        let Some(model) = inside.models.get_mut(model).filter(|model| model.loaded == place.loaded) else {
            return;
        };
        model.runs.remove(&place.run);
        if let (Some(cache), Some(seat)) = (&mut model.cache, place.seat) {
            cache.finish(seat, &self.sequence(text), now);
        }
    }

    /// Tokens of a piece that is cached whole or not at all.
    fn unit(&self) -> usize {
        if matches!(self.shape, Some(Shape::Pool { .. })) { BLOCK_TOKENS } else { 1 }
    }

    /// A text as caches see it. A pool knows whole blocks alone.
    fn sequence(&self, text: &str) -> Sequence {
        let unit = self.unit();
        let pieces = text.as_bytes().chunks(unit * TOKEN_BYTES);
        let whole = pieces.filter(|piece| unit == 1 || piece.len() == unit * TOKEN_BYTES);
        whole.map(|piece| Segment { id: hash(piece), tokens: tokens(piece.len()) }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(kind: Kind, edit: impl FnOnce(&mut Settings)) -> Memory {
        let mut settings = Settings { kind, cache: true, ..Settings::default() };
        edit(&mut settings);
        let memory = Memory::new(&settings);
        memory.insert("m");
        memory
    }

    /// Runs a prompt of a model to its end; the tokens that were there.
    fn serve(memory: &Memory, prompt: &str, answer: &str) -> u32 {
        let place = memory.sit("m", prompt);
        memory.rise("m", &place, &format!("{prompt}{answer}"));
        place.cached
    }

    fn text(seed: char, tokens: usize) -> String {
        format!("{seed}abc").repeat(tokens)
    }

    #[test]
    fn a_slot_keeps_the_answer_too_and_nothing_of_a_turn_before_another() {
        let memory = memory(Kind::Ollama, |_| {});
        let (first, answer) = (text('a', 100), text('b', 20));
        assert_eq!(serve(&memory, &first, &answer), 0);
        let second = format!("{first}{answer}{}", text('c', 10));
        assert_eq!(serve(&memory, &second, ""), 120);
        assert_eq!(serve(&memory, &second, ""), 129, "the last token is read in any case");
        assert_eq!(serve(&memory, &text('d', 50), ""), 0);
        assert_eq!(serve(&memory, &second, ""), 0);
    }

    #[test]
    fn host_memory_keeps_what_a_slot_gives_up() {
        let memory = memory(Kind::Llamacpp, |settings| settings.cache_ram = 1000);
        let (a, b) = (text('a', 400), text('b', 400));
        assert_eq!([&a, &b, &a, &b].map(|prompt| serve(&memory, prompt, "")), [0, 0, 399, 399]);
        assert_eq!(serve(&memory, &text('c', 900), ""), 0);
        assert_eq!(serve(&memory, &text('d', 900), ""), 0);
        assert_eq!(serve(&memory, &a, ""), 0, "the oldest went first");
    }

    #[test]
    fn a_pool_shares_whole_blocks_and_drops_the_oldest() {
        let memory = memory(Kind::Vllm, |settings| (settings.slots, settings.kv_tokens) = (2, 2000));
        let shared = text('s', 100);
        let ask = |seed| serve(&memory, &format!("{shared}{}", text(seed, 100)), "");
        assert_eq!([ask('a'), ask('b'), ask('a')], [0, 96, 192]);
        assert_eq!(serve(&memory, &text('x', 2000), ""), 0);
        assert_eq!(ask('a'), 0);
    }

    #[test]
    fn a_model_that_goes_takes_its_prompts_and_what_runs_with_it() {
        let memory = memory(Kind::Ollama, |settings| settings.models_max = 1);
        let prompt = text('a', 100);
        serve(&memory, &prompt, "");
        let mut running = memory.sit("m", &prompt);
        assert!(!memory.fits("n") && memory.fits("m"));
        assert_eq!(memory.evict(), (1, 1));
        let ended = running.ended.0.as_mut().expect("its model was there");
        assert!(matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        memory.insert("n");
        assert_eq!(memory.evict(), (1, 0));
        memory.insert("m");
        memory.rise("m", &running, &prompt);
        assert_eq!(serve(&memory, &prompt, ""), 0, "what ran before the model went leaves nothing");
        memory.restart();
        assert!(!memory.holds("m"));
    }
}
