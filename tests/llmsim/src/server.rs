//! What all requests of one server share.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::Notify;

use crate::{
    engine::Engine,
    fault::{Armed, Fault, strike},
    settings::{Kind, Settings},
    stats::Record,
    trouble::Trouble,
};

#[derive(Debug)]
pub(crate) struct Server {
    pub settings: Settings,
    pub record: Arc<Record>,
    pub engine: Arc<Engine>,
    /// The armed fault has changed: the listener may have to close or open.
    pub rearmed: Notify,
    armed: Mutex<Option<Armed>>,
    started: Instant,
    number: AtomicU64,
}

impl Server {
    pub fn new(settings: Settings) -> Self {
        let record = Arc::new(Record::new(settings.requests_kept));
        let engine = Arc::new(Engine::new(settings.clone(), record.clone()));
        let armed =
            settings.first_fault.clone().map(|fault| Armed { scope: fault.scope(), fault, times: None });
        Server {
            settings,
            record,
            engine,
            rearmed: Notify::new(),
            armed: Mutex::new(armed),
            started: Instant::now(),
            number: AtomicU64::new(0),
        }
    }

    /// Puts a fault in force, or clears it.
    pub fn arm(&self, armed: Option<Armed>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) =
            armed.filter(|armed| armed.times != Some(0));
        self.rearmed.notify_one();
    }

    /// The fault in force.
    pub fn armed(&self) -> Option<Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes one strike; see [`strike`].
    pub fn strike(&self, work: bool, accept: bool) -> Option<Fault> {
        strike(&mut self.armed.lock().unwrap_or_else(PoisonError::into_inner), work, accept)
    }

    /// Whether the listener must be closed.
    pub fn refuses(&self) -> bool {
        self.armed().is_some_and(|armed| armed.fault.shuts())
    }

    /// Whether it must not even refuse.
    pub fn deaf(&self) -> bool {
        self.armed().is_some_and(|armed| armed.fault == Fault::Deaf)
    }

    /// llama.cpp still loads its model.
    pub fn loading(&self) -> bool {
        let one = self.settings.kind == Kind::Llamacpp && !self.settings.routes();
        one && self.started.elapsed() < self.settings.load_time
    }

    /// A number for one answer.
    pub fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// The name under which a model answers.
    pub fn model(&self, asked: &str) -> Result<String, Trouble> {
        let models = &self.settings.models;
        let found = match self.settings.kind {
            Kind::Llamacpp if !self.settings.routes() => models.first().cloned(),
            Kind::Ollama => {
                let plain = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
                models.iter().find(|name| plain(name) == plain(asked)).cloned()
            }
            Kind::Gemini => {
                let asked = asked.strip_prefix("models/").unwrap_or(asked);
                models.iter().find(|name| *name == asked).cloned()
            }
            _ => models.iter().find(|name| *name == asked).cloned(),
        };
        found.ok_or_else(|| Trouble::NoModel(asked.to_owned()))
    }

    /// Ollama cuts a prompt that is too long; the others say so.
    pub fn fit(&self, prompt_tokens: u32) -> Result<u32, Trouble> {
        let limit = self.settings.context_length;
        match self.settings.kind {
            Kind::Ollama => Ok(prompt_tokens.min(limit)),
            _ if prompt_tokens > limit => Err(Trouble::Overflow(prompt_tokens, limit)),
            _ => Ok(prompt_tokens),
        }
    }
}
