//! A client that shows the very bytes and how the connection ended.
#![allow(dead_code, missing_docs)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use llmsim::{Kind, Settings, Sim};
use serde_json::{Value, json};

pub const DEADLINE: Duration = Duration::from_secs(10);

/// A server without pauses.
pub fn sim(kind: Kind) -> Sim {
    with(kind, |_| {})
}

pub fn with(kind: Kind, edit: impl FnOnce(&mut Settings)) -> Sim {
    let models = vec!["m".to_owned(), "n".to_owned()];
    let mut settings =
        Settings { kind, models, prefill_tps: 0.0, decode_tps: 0.0, output_tokens: 3, ..Settings::default() };
    edit(&mut settings);
    llmsim::start(settings).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// By its length or its last chunk.
    Whole,
    /// The connection closed before.
    Cut,
    /// The server said nothing more until the read timed out.
    Silent,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub ended: Ended,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Event names and values of server-sent events; `[DONE]` is a string.
    pub fn events(&self) -> Vec<(String, Value)> {
        let text = self.text();
        let frames = text.split("\n\n").filter(|frame| !frame.is_empty());
        frames
            .map(|frame| {
                let (event, data) = match frame.strip_prefix("event: ") {
                    Some(rest) => rest.split_once('\n').unwrap(),
                    None => ("", frame),
                };
                let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("no data in {frame:?}"));
                (event.to_owned(), serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
            })
            .collect()
    }

    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A connection on which a request has been sent.
pub struct Call {
    stream: TcpStream,
    got: Vec<u8>,
    ended: Ended,
}

pub fn call(sim: &Sim, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Call {
    let mut call = Call::connect(sim);
    call.send(method, path, headers, body);
    call
}

impl Call {
    pub fn connect(sim: &Sim) -> Call {
        Call::to(sim.addr())
    }

    pub fn to(address: SocketAddr) -> Call {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Call { stream, got: Vec::new(), ended: Ended::Silent }
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.stream.write_all((head + "\r\n" + &body).as_bytes()).unwrap();
    }

    pub fn patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    /// Reads until the bytes so far hold `what`.
    pub fn until(&mut self, what: &str) -> &mut Self {
        while !String::from_utf8_lossy(&self.got).contains(what) {
            assert!(self.more(), "{what:?} is not in {:?}", String::from_utf8_lossy(&self.got));
        }
        self
    }

    pub fn leave(self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
    }

    /// Reads the answer; `None` when the connection ended before its head was whole.
    pub fn reply(&mut self) -> Option<Reply> {
        let head_end = loop {
            match find(&self.got, b"\r\n\r\n") {
                Some(at) => break at,
                None if self.more() => {}
                None => return None,
            }
        };
        let head = String::from_utf8(self.got[..head_end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        self.got.drain(..head_end + 4);
        let mut reply = Reply { status, headers, body: Vec::new(), ended: Ended::Whole };
        if reply.header("transfer-encoding") == "chunked" {
            self.chunks(&mut reply);
        } else {
            let length: usize = reply.header("content-length").parse().unwrap_or(0);
            while self.got.len() < length && self.more() {}
            reply.ended = if self.got.len() < length { self.ended } else { Ended::Whole };
            reply.body = self.got.drain(..length.min(self.got.len())).collect();
        }
        Some(reply)
    }

    fn chunks(&mut self, reply: &mut Reply) {
        loop {
            let Some(line) = find(&self.got, b"\r\n") else {
                if self.more() {
                    continue;
                }
                reply.ended = self.ended;
                return;
            };
            let length = usize::from_str_radix(std::str::from_utf8(&self.got[..line]).unwrap(), 16).unwrap();
            while self.got.len() < line + 4 + length && self.more() {}
            assert!(self.got.len() >= line + 4 + length, "a chunk was cut");
            reply.body.extend_from_slice(&self.got[line + 2..line + 2 + length]);
            self.got.drain(..line + 4 + length);
            if length == 0 {
                return;
            }
        }
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = Ended::Cut,
            Ok(count) => {
                self.got.extend_from_slice(&buffer[..count]);
                return true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.ended = Ended::Silent;
            }
            Err(_) => self.ended = Ended::Cut,
        }
        false
    }
}

pub fn get(sim: &Sim, path: &str) -> Reply {
    call(sim, "GET", path, &[("anthropic-version", "2023-06-01")], &Value::Null).reply().unwrap()
}

pub fn post(sim: &Sim, path: &str, body: &Value) -> Reply {
    call(sim, "POST", path, &[("anthropic-version", "2023-06-01")], body).reply().unwrap()
}

/// The path and the body of a chat in a kind's first dialect.
pub fn chat(kind: Kind, stream: bool) -> (String, Value) {
    let messages = json!([{"role": "user", "content": "hello"}]);
    match kind {
        Kind::Ollama => {
            ("/api/chat".to_owned(), json!({"model": "m", "messages": messages, "stream": stream}))
        }
        Kind::Anthropic => {
            let body = json!({"model": "m", "messages": messages, "stream": stream, "max_tokens": 100});
            ("/v1/messages".to_owned(), body)
        }
        Kind::Gemini => {
            let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let body = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
            (format!("/v1beta/models/m:{method}"), body)
        }
        _ => {
            ("/v1/chat/completions".to_owned(), json!({"model": "m", "messages": messages, "stream": stream}))
        }
    }
}

/// Puts `*` for what differs from run to run.
pub fn masked(mut value: Value) -> Value {
    const CHANGING: [&str; 9] = [
        "id",
        "item_id",
        "call_id",
        "created",
        "created_at",
        "completed_at",
        "responseId",
        "system_fingerprint",
        "total_duration",
    ];
    match &mut value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                *member = match CHANGING.contains(&name.as_str()) && !member.is_null() {
                    true => json!("*"),
                    false => masked(member.take()),
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = masked(item.take())),
        _ => {}
    }
    value
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The bytes of an answer, read off a connection until nothing comes for so long, and how it ended.
pub fn raw(silence: Duration, sim: &Sim, path: &str, body: &Value) -> (String, Option<ErrorKind>) {
    let (mut stream, body) = (TcpStream::connect(sim.addr()).unwrap(), body.to_string());
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    stream.set_read_timeout(Some(silence)).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (String::from_utf8(bytes).unwrap(), None),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) => return (String::from_utf8(bytes).unwrap(), Some(error.kind())),
        }
    }
}
