//! The pass lane: what a client sends arrives, and what a server answers comes back, byte for byte save the listed edits.

use bytes::Bytes;
use proto::v1;
use tests::{
    rig::{self, Plane},
    script::{Reply, Script},
};

/// A recorded exchange.
struct Exchange {
    name: &'static str,
    path: &'static str,
    /// The path that the server must see.
    at_server: &'static str,
    request: &'static [u8],
    content_type: &'static str,
    answer: &'static [u8],
    /// What the client gets, where that is not the answer itself.
    relayed: Option<&'static [u8]>,
    /// Replacements that make of the request what the server must see, each once.
    edits: &'static [(&'static str, &'static str)],
}

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../data/pass/", $name))
    };
}

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";
const MODEL: &[(&str, &str)] = &[("\"model\":\"alias\"", "\"model\":\"real\"")];
const SPACED: &[(&str, &str)] = &[("\"model\":\"alias\" ,", "\"model\":\"real\" ,")];
const MODEL_AND_USAGE: &[(&str, &str)] = &[
    ("\"model\":\"alias\"", "\"model\":\"real\""),
    ("{\"messages\"", "{\"stream_options\":{\"include_usage\":true},\"messages\""),
];

const fn exchange(
    name: &'static str,
    path: &'static str,
    request: &'static [u8],
    content_type: &'static str,
    answer: &'static [u8],
) -> Exchange {
    Exchange { name, path, at_server: path, request, content_type, answer, relayed: None, edits: MODEL }
}

const GEMINI: &str = "/v1beta/models/alias:generateContent?key=secret";
const GEMINI_SSE: &str = "/v1/models/alias:streamGenerateContent?alt=sse";
const GEMINI_ARRAY: &str = "/v1beta/models/alias:streamGenerateContent";

const EXCHANGES: [Exchange; 15] = [
    Exchange {
        edits: SPACED,
        ..exchange("chat", "/v1/chat/completions", data!("chat.request"), JSON, data!("chat.answer"))
    },
    Exchange {
        relayed: Some(data!("chat_stream.relayed")),
        edits: MODEL_AND_USAGE,
        ..exchange(
            "chat_stream",
            "/v1/chat/completions",
            data!("chat_stream.request"),
            SSE,
            data!("chat_stream.answer"),
        )
    },
    exchange(
        "chat_usage",
        "/v1/chat/completions",
        data!("chat_usage.request"),
        SSE,
        data!("chat_usage.answer"),
    ),
    exchange(
        "completions_stream",
        "/v1/completions",
        data!("completions_stream.request"),
        SSE,
        data!("completions_stream.answer"),
    ),
    exchange("embeddings", "/v1/embeddings", data!("embeddings.request"), JSON, data!("embeddings.answer")),
    exchange(
        "responses_stream",
        "/v1/responses",
        data!("responses_stream.request"),
        SSE,
        data!("responses_stream.answer"),
    ),
    exchange("messages", "/v1/messages?beta=true", data!("messages.request"), JSON, data!("messages.answer")),
    exchange(
        "messages_stream",
        "/v1/messages",
        data!("messages_stream.request"),
        SSE,
        data!("messages_stream.answer"),
    ),
    Exchange {
        at_server: "/v1beta/models/real:generateContent",
        edits: &[],
        ..exchange("gemini", GEMINI, data!("gemini.request"), JSON, data!("gemini.answer"))
    },
    Exchange {
        at_server: "/v1beta/models/real:streamGenerateContent?alt=sse",
        edits: &[],
        ..exchange("gemini_sse", GEMINI_SSE, data!("gemini.request"), SSE, data!("gemini_sse.answer"))
    },
    Exchange {
        at_server: "/v1beta/models/real:streamGenerateContent",
        edits: &[],
        ..exchange("gemini_array", GEMINI_ARRAY, data!("gemini.request"), JSON, data!("gemini_array.answer"))
    },
    exchange("ollama_chat", "/api/chat", data!("ollama_chat.request"), LINES, data!("ollama_chat.answer")),
    exchange(
        "ollama_generate",
        "/api/generate",
        data!("ollama_generate.request"),
        JSON,
        data!("ollama_generate.answer"),
    ),
    exchange("ollama_embed", "/api/embed", data!("ollama_embed.request"), JSON, data!("ollama_embed.answer")),
    exchange(
        "azure",
        "/openai/v1/chat/completions",
        data!("chat_usage.request"),
        SSE,
        data!("chat_usage.answer"),
    ),
];

async fn plane(script: &Script) -> Plane {
    let all: Vec<v1::Dialect> = (1..=7).filter_map(|number| v1::Dialect::try_from(number).ok()).collect();
    let mut snapshot =
        rig::snapshot(vec![rig::backend("one", &script.url(), v1::Kind::Openai, 8, &["real"], &all)]);
    snapshot.routes.push(v1::Route {
        name: "alias".to_owned(),
        r#match: Some(v1::route::Match::Exact("alias".to_owned())),
        targets: vec![v1::Target { model: "real".to_owned(), backend: String::new(), weight: None }],
        ..v1::Route::default()
    });
    Plane::start(&snapshot, |_| {}).await
}

fn expected_at_server(exchange: &Exchange) -> String {
    let mut body = String::from_utf8(exchange.request.to_vec()).expect("requests are UTF-8");
    for (from, to) in exchange.edits {
        assert!(body.contains(from), "{}: {from} is not in the request", exchange.name);
        body = body.replacen(from, to, 1);
    }
    body
}

async fn ask(
    plane: &Plane,
    client: &reqwest::Client,
    exchange: &Exchange,
) -> (reqwest::header::HeaderMap, Bytes) {
    let response = client
        .post(format!("{}{}", plane.url, exchange.path))
        .header("content-type", "application/json")
        .header("authorization", "Bearer client-secret")
        .header("x-unknown-header", "kept \u{e9}")
        .header("anthropic-beta", "a,b")
        .body(exchange.request)
        .send()
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", exchange.name));
    assert_eq!(response.status(), 200, "{}", exchange.name);
    let headers = response.headers().clone();
    let body = response.bytes().await.unwrap_or_else(|error| panic!("{}: {error}", exchange.name));
    (headers, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_answers_of_each_dialect() {
    let script = Script::start(Reply::ok(JSON, Vec::new())).await.expect("the backend starts");
    let plane = plane(&script).await;
    let client = rig::client();
    for exchange in &EXCHANGES {
        let mut reply = Reply::ok(exchange.content_type, vec![Bytes::from_static(exchange.answer)]);
        reply
            .head
            .push_str("x-upstream: a\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-request-id: theirs\r\n");
        script.say(reply);
        let (headers, body) = ask(&plane, &client, exchange).await;
        assert_eq!(body, exchange.relayed.unwrap_or(exchange.answer), "{}", exchange.name);
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(headers["x-upstream"], "a");
        assert_eq!(headers["x-request-id"], "theirs");
        assert_eq!(headers["content-type"], exchange.content_type);
        assert_eq!(
            (&headers["x-llmb-backend"], &headers["x-llmb-model"]),
            (&"one".parse().unwrap(), &"real".parse().unwrap())
        );
        let sent = script.taken();
        assert_eq!(sent.len(), 1, "{}", exchange.name);
        assert_eq!(sent[0].body, expected_at_server(exchange), "{}", exchange.name);
        let target = exchange.at_server.replace("/openai/v1", "/v1");
        let head = &sent[0].head;
        assert!(head.starts_with(&format!("POST {target} HTTP/1.1\r\n")), "{}: {head}", exchange.name);
        assert!(head.contains("x-unknown-header: kept"), "{head}");
        assert!(head.contains("anthropic-beta: a,b"), "{head}");
        assert!(head.contains(&format!("host: {}", script.addr)), "{head}");
        assert!(!head.contains("secret"), "a client's credential travelled on: {head}");
    }
    plane.stop().await;
}

/// Some clients compress; the server gets the plain body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_request_is_read() {
    let exchange = &EXCHANGES[0];
    let script =
        Script::start(Reply::ok(JSON, vec![Bytes::from_static(exchange.answer)])).await.expect("starts");
    let plane = plane(&script).await;
    // "stored" deflate blocks: a gzip body without a compressor.
    let response = rig::client()
        .post(format!("{}{}", plane.url, exchange.path))
        .header("content-encoding", "gzip")
        .body(stored_gzip(exchange.request))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.expect("a body"), exchange.answer);
    let sent = script.taken();
    assert_eq!(sent[0].body, expected_at_server(exchange));
    assert!(!sent[0].head.contains("content-encoding"));
    plane.stop().await;
}

fn stored_gzip(plain: &[u8]) -> Vec<u8> {
    let length = u16::try_from(plain.len()).expect("short");
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(plain);
    out.extend(crc32(plain).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_cut_at_every_byte() {
    let script = Script::start(Reply::ok(JSON, Vec::new())).await.expect("the backend starts");
    let plane = plane(&script).await;
    let client = rig::client();
    for exchange in
        EXCHANGES.iter().filter(|exchange| exchange.content_type != JSON || exchange.name == "gemini_array")
    {
        let answer = Bytes::from_static(exchange.answer);
        for at in 1..answer.len() {
            script.say(Reply::ok(exchange.content_type, vec![answer.slice(..at), answer.slice(at..)]));
            let (_, body) = ask(&plane, &client, exchange).await;
            assert_eq!(body, exchange.relayed.unwrap_or(exchange.answer), "{} cut at {at}", exchange.name);
        }
        let pieces = answer.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
        script.say(Reply::ok(exchange.content_type, pieces));
        let (_, body) = ask(&plane, &client, exchange).await;
        assert_eq!(body, exchange.relayed.unwrap_or(exchange.answer), "{} byte by byte", exchange.name);
    }
    plane.stop().await;
}

/// A stream without its last event, or one whose connection dies, never looks complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_stream_is_told() {
    let script = Script::start(Reply::ok(JSON, Vec::new())).await.expect("the backend starts");
    let plane = plane(&script).await;
    let client = rig::client();
    for exchange in EXCHANGES.iter().filter(|exchange| exchange.content_type != JSON) {
        let most = Bytes::from_static(exchange.answer).slice(..exchange.answer.len() * 2 / 3);
        for cut in [false, true] {
            script.say(Reply { cut, ..Reply::ok(exchange.content_type, vec![most.clone()]) });
            let (_, body) = ask(&plane, &client, exchange).await;
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains("\"error\""), "{} cut {cut}: {text}", exchange.name);
            assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "{}: {text}", exchange.name);
        }
    }
    plane.stop().await;
}
