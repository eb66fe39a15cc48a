//! What a data plane refuses: at once, in the client's dialect, with the field, the value and what is allowed.

use std::time::Instant;

use proto::v1::{self, Dialect};
use reqwest::Method;
use serde_json::Value;
use tests::{
    rig::{self, Plane},
    script::{Reply, Script},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A request that never reaches a backend, and how it must be answered.
struct Case {
    what: &'static str,
    path: &'static str,
    content_type: &'static str,
    body: String,
    status: u16,
    /// All of these are in the answer's body.
    says: &'static [&'static str],
}

fn case(
    what: &'static str,
    path: &'static str,
    body: impl Into<String>,
    status: u16,
    says: &'static [&'static str],
) -> Case {
    Case { what, path, content_type: "application/json", body: body.into(), status, says }
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/nope:generateContent";

fn cases() -> Vec<Case> {
    vec![
        case("not JSON", CHAT, "{\"model\":", 400, &["\"error\"", "not JSON"]),
        case("not an object", CHAT, "[1]", 400, &["\"error\""]),
        case("no body", CHAT, "", 400, &["\"error\""]),
        case("no model", CHAT, r#"{"messages":[]}"#, 400, &["model"]),
        case("a model that is a number", CHAT, r#"{"model":7}"#, 400, &["model", "7"]),
        case("two models", CHAT, r#"{"model":"m","model":"n","messages":[]}"#, 400, &["model"]),
        case(
            "stream that is a word",
            CHAT,
            r#"{"model":"m","stream":"yes","messages":[]}"#,
            400,
            &["stream"],
        ),
        case(
            "deep",
            CHAT,
            format!("{{\"model\":\"m\",\"x\":{}1{}}}", "[".repeat(5000), "]".repeat(5000)),
            400,
            &["deep"],
        ),
        case("NUL in the model", CHAT, r#"{"model":"a\u0000b","messages":[]}"#, 400, &["model"]),
        case(
            "unknown model, chat",
            CHAT,
            r#"{"model":"nope","messages":[]}"#,
            404,
            &["model_not_found", "nope", "param"],
        ),
        case(
            "unknown model, responses",
            "/v1/responses",
            r#"{"model":"nope","input":"x"}"#,
            404,
            &["model_not_found"],
        ),
        case(
            "unknown model, messages",
            MESSAGES,
            r#"{"model":"nope","max_tokens":1,"messages":[]}"#,
            404,
            &["not_found_error", "\"type\":\"error\"", "request_id"],
        ),
        case("unknown model, gemini", GEMINI, r#"{"contents":[]}"#, 404, &["NOT_FOUND", "\"code\":404"]),
        case(
            "unknown model, ollama",
            "/api/chat",
            r#"{"model":"nope","messages":[]}"#,
            404,
            &[r#"{"error":"model \"nope\" not found, try pulling it first"}"#],
        ),
    ]
}

fn more_cases() -> Vec<Case> {
    let long = "word ".repeat(3000);
    vec![
        case(
            "other dialect",
            "/api/chat",
            r#"{"model":"m","messages":[]}"#,
            400,
            &["openai-chat", "translation"],
        ),
        case(
            "too long, chat",
            CHAT,
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{long}"}}]}}"#),
            400,
            &["context_length_exceeded", "100"],
        ),
        case(
            "too long, messages",
            MESSAGES,
            format!(r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":"{long}"}}]}}"#),
            400,
            &["prompt is too long: ", " > 100 maximum"],
        ),
        case("too large", CHAT, " ".repeat(200_000), 413, &["100000"]),
        case(
            "no embeddings",
            "/v1/embeddings",
            r#"{"model":"m","input":"x"}"#,
            400,
            &["\"m\\\" makes no embeddings"],
        ),
        case("unknown path", "/v1/nothing", "{}", 404, &["/v1/nothing"]),
        case("unknown path, ollama", "/api/nothing", "{}", 404, &["error"]),
        Case { content_type: "text/xml", ..case("XML", CHAT, "<a/>", 415, &["text/xml"]) },
        Case {
            content_type: "multipart/form-data; boundary=x",
            ..case("a form", CHAT, "--x", 415, &["multipart"])
        },
    ]
}

async fn plane(script: &Script) -> Plane {
    let dialects = [Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::AnthropicMessages];
    let mut row = rig::backend("one", &script.url(), v1::Kind::Openai, 1, &["m"], &dialects);
    row.max_input_tokens = 100;
    Plane::start(&rig::snapshot(vec![row]), |settings| settings.body_bytes_max = 100_000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_named_and_starts_nothing() {
    let script = Script::start(Reply::ok("application/json", Vec::new())).await.expect("the backend starts");
    let plane = plane(&script).await;
    let client = rig::client();
    for case in cases().into_iter().chain(more_cases()) {
        let response = client
            .post(format!("{}{}", plane.url, case.path))
            .header("content-type", case.content_type)
            .body(case.body)
            .send()
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", case.what));
        assert_eq!(response.status().as_u16(), case.status, "{}", case.what);
        assert_eq!(response.headers()["content-type"], "application/json", "{}", case.what);
        assert!(response.headers().contains_key("x-request-id"), "{}", case.what);
        let body = response.text().await.expect("a body");
        let value: Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{}: {error}", case.what));
        assert!(value.get("error").is_some(), "{}: {body}", case.what);
        for word in case.says {
            assert!(body.contains(word), "{}: {word} is not in {body}", case.what);
        }
    }
    assert!(script.taken().is_empty(), "a refused request reached the backend");
    let view = plane.view().await;
    assert_eq!((&view["waiting"], &view["backends"][0]["busy"]), (&0.into(), &0.into()));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_method_is_told_the_right_one() {
    let script = Script::start(Reply::ok("application/json", Vec::new())).await.expect("the backend starts");
    let plane = plane(&script).await;
    let client = rig::client();
    for (method, path, allow) in [
        (Method::GET, CHAT, "POST"),
        (Method::DELETE, "/v1/models", "GET"),
        (Method::PUT, "/api/chat", "POST"),
    ] {
        let response =
            client.request(method, format!("{}{path}", plane.url)).send().await.expect("an answer");
        assert_eq!(response.status(), 405, "{path}");
        assert!(response.headers()["allow"].to_str().expect("text").contains(allow), "{path}");
    }
    // Codex first tries a WebSocket and falls back at this status alone.
    let response = client.get(format!("{}/v1/responses", plane.url)).send().await.expect("an answer");
    assert_eq!(response.status(), 426);
    plane.stop().await;
}

async fn raw(plane: &Plane, bytes: &str) -> String {
    let mut stream = TcpStream::connect(plane.url.trim_start_matches("http://")).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(rig::DEADLINE, stream.read(&mut answer)).await;
    String::from_utf8_lossy(&answer[..read.expect("in time").expect("an answer")]).into_owned()
}

/// What a client library would never send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_shapes_that_two_hops_may_read_differently() {
    let script = Script::start(Reply::ok("application/json", Vec::new())).await.expect("the backend starts");
    let plane = plane(&script).await;
    let body = r#"{"model":"m","messages":[]}"#;
    let length = body.len();
    for (what, bytes) in [
        (
            "absolute form",
            format!(
                "POST http://other.invalid{CHAT} HTTP/1.1\r\nhost: other.invalid\r\ncontent-length: {length}\r\n\r\n{body}"
            ),
        ),
        (
            "two lengths",
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\ncontent-length: 1\r\n\r\n{body}"
            ),
        ),
        ("bad header", format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nbad header: 1\r\n\r\n")),
    ] {
        let answer = raw(&plane, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
    }
    assert!(script.taken().is_empty(), "a refused request reached the backend");
    // Both lengths: read by the chunks alone, sent on with a length of our own, and closed after (RFC 9112 §6.3).
    let both = "content-length: 5\r\ntransfer-encoding: chunked";
    let answer =
        raw(&plane, &format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{both}\r\n\r\n1b\r\n{body}\r\n0\r\n\r\n"))
            .await;
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(script.taken()[0].body, body);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_and_a_late_turn_say_when_to_come_back() {
    let (held, hold) = (
        r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#,
        llmsim::Settings {
            kind: llmsim::Kind::Openai,
            models: vec!["m".to_owned()],
            output_tokens: 5000,
            ..llmsim::Settings::default()
        },
    );
    let sim = llmsim::start(hold).expect("a simulated server starts");
    let row = rig::backend("one", &sim.url(), v1::Kind::Openai, 1, &["m"], &[Dialect::OpenaiChat]);
    let plane = Plane::start(&rig::snapshot(vec![row]), |settings| {
        settings.queue_max = 1;
        settings.queue_wait = std::time::Duration::from_millis(1500);
    })
    .await;
    let client = rig::client();
    let send = || client.post(format!("{}{CHAT}", plane.url)).body(held).send();
    let running = tokio::spawn(send());
    assert!(sim.wait(|stats| stats.accepted == 1, rig::DEADLINE).await);
    let waiting = send();
    let full = async {
        let began = Instant::now();
        while plane.view().await["waiting"] != 1 {
            assert!(began.elapsed() < rig::DEADLINE, "nothing waits");
        }
        send().await
    };
    let (late, full) = tokio::join!(waiting, full);
    for (what, response, status) in [("late", late, 503), ("full", full, 429)] {
        let response = response.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{what}");
        let seconds: u64 =
            response.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{what}");
    }
    assert_eq!(sim.stats().accepted, 1);
    running.abort();
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_a_server_keep_their_status() {
    let script = Script::start(Reply::ok("application/json", Vec::new())).await.expect("the backend starts");
    // A plane for each: a server that fails rests, and would not be asked again at once.
    let ask = async |stream: bool| {
        let plane = plane(&script).await;
        let body = format!(r#"{{"model":"m","stream":{stream},"messages":[]}}"#);
        let sent = rig::client().post(format!("{}{CHAT}", plane.url)).body(body).send().await;
        let response = sent.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        plane.stop().await;
        (status, headers, text)
    };
    let error = r#"{"error":{"message":"slow down","type":"requests","param":null,"code":null},"x":1}"#;
    for status in [400, 404, 422, 429, 500, 503, 529] {
        script.say(Reply {
            head: format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nretry-after: 7\r\n"),
            pieces: vec![error.into()],
            cut: false,
        });
        for stream in [false, true] {
            let (seen, headers, text) = ask(stream).await;
            assert_eq!((seen, text.as_str()), (status, error));
            assert_eq!(headers["retry-after"], "7");
        }
    }
    // A server that refuses our credential must not look as if it refused the client's.
    script.say(Reply { head: "HTTP/1.1 401 no\r\n".to_owned(), pieces: Vec::new(), cut: false });
    assert_eq!(ask(false).await.0, 502);
    // A redirect is never followed.
    script.say(Reply {
        head: "HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:1/\r\n".to_owned(),
        pieces: Vec::new(),
        cut: false,
    });
    assert_eq!(ask(false).await.0, 502);
    // An error as first element of a stream that began with 200.
    script.say(Reply::ok(
        "text/event-stream",
        vec![r#"data: {"error":{"message":"no memory","code":500}}"#.into(), "\n\n".into()],
    ));
    let (status, _, text) = ask(true).await;
    assert!(status >= 500 && text.contains("no memory"), "{status} {text}");
}

/// Where a server cannot count tokens, a marked estimate is better than its 404.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_estimated_where_a_server_cannot_count() {
    let head = "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\n".to_owned();
    let reply = Reply { head, pieces: vec!["404 page not found".into()], cut: false };
    let script = Script::start(reply).await.expect("the backend starts");
    let plane = plane(&script).await;
    let body =
        r#"{"model":"m","messages":[{"role":"user","content":"forty letters are about ten tokens, or so"}]}"#;
    let url = format!("{}/v1/messages/count_tokens", plane.url);
    let response = rig::client().post(url).body(body).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-llmb-estimated"], "true");
    let counted: Value = response.json().await.expect("JSON");
    assert!((8..=20).contains(&counted["input_tokens"].as_u64().expect("a number")), "{counted}");
    plane.stop().await;
}
