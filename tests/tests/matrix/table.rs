//! The table, read from the Markdown that stands beside it.

/// One row: what a fault of a server comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub fault: String,
    pub stream: bool,
    /// With another backend that could serve it.
    pub another: String,
    /// With no other backend, by family.
    pub alone: [String; 4],
    /// With no other backend.
    pub headers: String,
    /// What counts against the backend.
    pub breaker: String,
}

impl Row {
    /// As a line of the table.
    pub fn line(&self) -> String {
        let answer = if self.stream { "stream" } else { "whole" };
        let Row { fault, another, alone, headers, breaker, .. } = self;
        let headers = if headers.is_empty() { "-" } else { headers };
        format!("| {fault} | {answer} | {another} | {} | {headers} | {breaker} |", alone.join(" | "))
    }
}

/// The rows of all tables in `text`.
///
/// # Panics
/// When a row has not nine cells.
pub fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault"));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let [fault, answer, another, openai, anthropic, gemini, ollama, headers, breaker] =
        <[String; 9]>::try_from(cells).unwrap_or_else(|cells| panic!("nine cells in a row, not {cells:?}"));
    let stream = match answer.as_str() {
        "stream" => true,
        "whole" => false,
        other => panic!("an answer is a stream or whole, not {other:?}"),
    };
    let headers = if headers == "-" { String::new() } else { headers };
    Row { fault, stream, another, alone: [openai, anthropic, gemini, ollama], headers, breaker }
}
