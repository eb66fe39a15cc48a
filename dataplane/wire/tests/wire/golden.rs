//! Answers and what must be read from them. Those named `llama-…` are as llama-server b11434 sent them, the others
//! follow the official SDKs, the vendors' specifications and the sources of the servers.

use serde::Deserialize;
use wire::{Framing, Operation, Report, Tap, Timing, Usage};

/// One recorded answer: `data/answers/NAME.txt` and its line in `data/answers.json`.
pub struct Golden {
    pub name: String,
    pub operation: Operation,
    pub framing: Framing,
    /// What must have come before the answer may count as complete.
    pub last: Option<String>,
    pub choices: u32,
    pub expected: Report,
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    operation: String,
    framing: String,
    last: Option<String>,
    choices: u32,
    content: bool,
    complete: bool,
    #[serde(default)]
    id: Option<String>,
    error: Option<String>,
    finish: Option<String>,
    #[serde(default)]
    calls: bool,
    usage: UsageLine,
    timing: TimingLine,
}

#[derive(Deserialize)]
struct UsageLine {
    prompt: Option<u64>,
    cached: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
}

#[derive(Deserialize)]
struct TimingLine {
    prefill_us: Option<u64>,
    prefill_tokens: Option<u64>,
    decode_us: Option<u64>,
    load_us: Option<u64>,
}

impl Golden {
    pub fn tap(&self) -> Tap {
        let mut tap = Tap::new(self.operation, self.framing);
        tap.expect_choices(self.choices);
        tap
    }
}

pub fn data(path: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn answers() -> Vec<Golden> {
    let lines: Vec<Line> = serde_json::from_slice(&data("answers.json")).unwrap();
    lines.into_iter().map(golden).collect()
}

pub fn answer(name: &str) -> Golden {
    answers().into_iter().find(|golden| golden.name == name).unwrap_or_else(|| panic!("no answer {name}"))
}

fn golden(line: Line) -> Golden {
    let operation = Operation::ALL.into_iter().find(|one| one.name() == line.operation).unwrap();
    let framing = match line.framing.as_str() {
        "whole" => Framing::Whole,
        "sse" => Framing::Sse,
        "lines" => Framing::Lines,
        "array" => Framing::Array,
        other => panic!("framing {other}"),
    };
    let (usage, timing) = (line.usage, line.timing);
    let expected = Report {
        content: line.content,
        complete: line.complete,
        id: line.id,
        error: line.error,
        finish: line.finish,
        calls: line.calls,
        usage: Usage {
            prompt: usage.prompt,
            cached: usage.cached,
            output: usage.output,
            reasoning: usage.reasoning,
        },
        timing: Timing {
            prefill_us: timing.prefill_us,
            prefill_tokens: timing.prefill_tokens,
            decode_us: timing.decode_us,
            load_us: timing.load_us,
        },
    };
    let bytes = data(&format!("answers/{}.txt", line.name));
    Golden { name: line.name, operation, framing, last: line.last, choices: line.choices, expected, bytes }
}
