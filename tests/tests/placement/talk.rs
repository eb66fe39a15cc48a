//! Conversations with one system prompt, and how much of them a server could have had.

use llmsim::TOKEN_BYTES;
use serde_json::{Value, json};

use super::{Asked, words};

/// Words of the system prompt, and of each turn of a user.
const SYSTEM_WORDS: usize = 1200;
const TURN_WORDS: usize = 500;

pub fn system() -> String {
    words(0, SYSTEM_WORDS)
}

/// One conversation.
pub struct Talk {
    model: String,
    messages: Vec<Value>,
    number: u64,
    turns: u64,
    /// Of all texts so far.
    bytes: usize,
    /// Whose turns were served where.
    pub served: Vec<String>,
}

impl Talk {
    pub fn new(number: u64, model: &str) -> Self {
        let system = system();
        let bytes = system.len();
        let messages = vec![json!({"role": "system", "content": system})];
        Talk { model: model.to_owned(), messages, number, turns: 0, bytes, served: Vec::new() }
    }

    /// The next turn and its answer; what a server could have had of its prompt, in tokens: of a first turn, the system
    /// prompt where slots share it.
    pub async fn turn(&mut self, fleet: &impl Asked) -> u64 {
        let first = self.turns == 0 && !fleet.pooled();
        let could = if first { 0 } else { self.bytes / TOKEN_BYTES };
        self.turns += 1;
        // Conversations differ from their first byte on: a server whose caches have a token more in common with one by
        // accident would take it for that one.
        let first = char::from(b'a' + (self.number % 26) as u8);
        let said = format!("{first} {}", words(self.number * 1000 + self.turns, TURN_WORDS));
        self.messages.push(json!({"role": "user", "content": said}));
        let told = fleet.chat(&self.model, &self.messages).await;
        self.bytes += said.len() + told.text.len();
        self.messages.push(json!({"role": "assistant", "content": told.text}));
        self.served.push(told.backend);
        could as u64
    }
}
