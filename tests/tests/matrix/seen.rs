//! What a client saw, in the words of the table.

use futures_util::StreamExt as _;
use serde_json::Value;

use super::ways::{Family, Way};

/// An answer as it came.
#[derive(Debug)]
pub struct Seen {
    /// The words of the table.
    pub word: String,
    /// The headers that tell an SDK when to come back.
    pub headers: String,
    pub backend: String,
}

/// Reads an answer to its end.
pub async fn read(way: &Way, answer: reqwest::Result<reqwest::Response>) -> Seen {
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            let word = format!("no answer: {error}");
            return Seen { word, headers: String::new(), backend: String::new() };
        }
    };
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let told = ["retry-after", "x-should-retry"];
    let headers = told.iter().filter_map(|name| {
        // Where we could not ask the server, it follows the breaker's rest, which chance lengthens.
        let ours = *name == "retry-after" && matches!(status, 500 | 502);
        Some(format!("{name}: {}", if ours { header(name).map(|_| "soon")? } else { header(name)? }))
    });
    let headers = headers.collect::<Vec<_>>().join(", ");
    let backend = header("x-llmb-backend").unwrap_or_default().to_owned();
    let (mut bytes, mut cut) = (Vec::new(), None);
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => cut = Some(error),
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let word = match cut {
        Some(error) if error.is_timeout() => "no end".to_owned(),
        Some(_) => "cut".to_owned(),
        None => word(way, status, &text),
    };
    Seen { word, headers, backend }
}

fn word(way: &Way, status: u16, text: &str) -> String {
    if status != 200 {
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        return match code(way.family, error_of(&body)) {
            Some(code) => format!("{status} {code}").trim_end().to_owned(),
            None => format!("{status} in no shape of the dialect"),
        };
    }
    if way.name == "array" && serde_json::from_str::<Value>(text).is_err() {
        return "torn".to_owned();
    }
    let Some((elements, torn)) = elements(way, text) else { return "an answer that is not JSON".to_owned() };
    let failed = elements.last().and_then(|last| match last["type"].as_str() {
        Some("response.failed") => code(way.family, &last["response"]["error"]),
        Some("error") if way.name == "responses" => {
            Some(last["code"].as_str().unwrap_or_default().to_owned())
        }
        _ => code(way.family, error_of(last)),
    });
    match (failed, text.contains(way.last)) {
        (Some(code), false) if torn => format!("torn, frame {code}").trim_end().to_owned(),
        (Some(code), false) => format!("frame {code}").trim_end().to_owned(),
        _ if torn => "torn without an error".to_owned(),
        (None, true) => "whole".to_owned(),
        (Some(_), true) => "an error behind a whole answer".to_owned(),
        (None, false) => "a truncated answer that looks whole".to_owned(),
    }
}

/// The error object of an answer; Gemini's streams without events have it in an array.
fn error_of(body: &Value) -> &Value {
    let inner = body.as_array().and_then(|elements| elements.last()).unwrap_or(body);
    &inner["error"]
}

/// What a client decides by; none when the error has not the dialect's shape.
fn code(family: Family, error: &Value) -> Option<String> {
    let text = |name: &str| error[name].as_str().map(str::to_owned);
    let message = if family == Family::Ollama { error.as_str() } else { error["message"].as_str() };
    message.filter(|message| !message.is_empty())?;
    match family {
        Family::Openai => text("code").or(text("type")),
        Family::Anthropic => text("type"),
        Family::Gemini => text("status"),
        Family::Ollama => Some(String::new()),
    }
}

/// The elements of an answer, and whether the one before the last is torn; none where another is not JSON.
fn elements(way: &Way, text: &str) -> Option<(Vec<Value>, bool)> {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    if !way.stream {
        return Some((vec![json(text)?], false));
    }
    if way.name == "array" {
        return Some((json(text)?.as_array()?.clone(), false));
    }
    let texts: Vec<&str> = match way.family {
        Family::Ollama => text.lines().collect(),
        _ => {
            let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
            data.filter(|data| *data != "[DONE]").collect()
        }
    };
    let torn = texts.len().checked_sub(2).is_some_and(|place| json(texts[place]).is_none());
    let all = texts.iter().enumerate().filter(|(place, _)| !torn || *place != texts.len() - 2);
    Some((all.map(|(_, text)| json(text)).collect::<Option<_>>()?, torn))
}
