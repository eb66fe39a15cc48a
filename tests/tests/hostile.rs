//! Clients that break the protocol, the bounds or the clock: each is told or cut off, starts nothing, and harms no other.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use proto::v1::{self, Dialect};
use tests::{
    rig::{self, DEADLINE, Plane},
    script::{Reply, Script},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const CHAT: &str = "/v1/chat/completions";
const ASK: &str = r#"{"model":"m","messages":[]}"#;
const ANSWER: &str = r#"{"id":"c","object":"chat.completion","choices":[]}"#;
/// Of a request body in these tests.
const BODY_BYTES_MAX: usize = 200_000;

async fn start(change: impl FnOnce(&mut dataplane::app::Settings)) -> (Script, Plane) {
    let reply = Reply::ok("application/json", vec![ANSWER.into()]);
    let script = Script::start(reply).await.expect("the backend starts");
    let dialects =
        [Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::GeminiContent, Dialect::OllamaNative];
    let row = rig::backend("one", &script.url(), v1::Kind::Openai, 4, &["m"], &dialects);
    let plane = Plane::start(&rig::snapshot(vec![row]), |settings| {
        settings.body_bytes_max = BODY_BYTES_MAX;
        change(settings);
    })
    .await;
    (script, plane)
}

async fn connect(plane: &Plane) -> TcpStream {
    TcpStream::connect(plane.url.trim_start_matches("http://")).await.expect("a connection")
}

/// Sends bytes, and reads until the connection is closed.
async fn talk(plane: &Plane, bytes: &[u8]) -> String {
    let mut stream = connect(plane).await;
    // One that is refused early is not read to its end.
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it is closed in time");
    // What came before a reset is there all the same.
    let _ = read;
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(head: &str, body: &str) -> Vec<u8> {
    format!("POST {CHAT} HTTP/1.1\r\nconnection: close\r\n{head}\r\n{body}").into_bytes()
}

/// Another client is served as if nothing had happened, and the backend has seen no one else.
async fn others_are_served(what: &str, script: &Script, plane: &Plane) {
    assert!(script.taken().is_empty(), "{what}: it reached the backend");
    let response = rig::client().post(format!("{}{CHAT}", plane.url)).body(ASK).send().await;
    let response = response.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(response.status(), 200, "{what}");
    assert_eq!(script.taken().len(), 1, "{what}");
}

/// Heads that are refused before anything is started: what, the bytes, the status, words of the answer.
fn heads() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let length = ASK.len();
    let sized = |more: &str| request(&format!("host: x\r\ncontent-length: {length}\r\n{more}"), ASK);
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let huge = format!("x-huge: {}\r\n", "a".repeat(300_000));
    let long = format!("POST /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000)).into_bytes();
    let plain = |line: &str| format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes();
    vec![
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400, ""),
        ("no HTTP", b"hello\r\n\r\n".to_vec(), 400, ""),
        ("a version that is none", plain("POST / HTTP/9.9"), 400, ""),
        ("a bad method", plain("PO(ST / HTTP/1.1"), 400, ""),
        ("NUL in a header", sized("x: a\0b\r\n"), 400, ""),
        ("a folded header", sized("x: a\r\n b: c\r\n"), 400, ""),
        ("a blank before the colon", sized("x : a\r\n"), 400, ""),
        ("too many headers", sized(&many), 431, ""),
        ("too large a header", sized(&huge), 431, ""),
        ("too long a path", long, 414, ""),
        ("no host", request(&format!("content-length: {length}\r\n"), ASK), 400, "host header is missing"),
        ("two hosts", sized("host: y\r\n"), 400, "host header is there twice"),
        ("lengths that differ", sized("content-length: 5\r\n"), 400, ""),
        ("a length with a sign", request("host: x\r\ncontent-length: +27\r\n", ASK), 400, ""),
        ("a negative length", request("host: x\r\ncontent-length: -1\r\n", ASK), 400, ""),
        ("a list of lengths", request("host: x\r\ncontent-length: 27, 28\r\n", ASK), 400, ""),
        (
            "a length beyond counting",
            request("host: x\r\ncontent-length: 99999999999999999999\r\n", ASK),
            400,
            "",
        ),
        (
            "chunks that are not last",
            request("host: x\r\ntransfer-encoding: chunked, gzip\r\n", "0\r\n\r\n"),
            400,
            "",
        ),
        (
            "an unknown transfer coding",
            request("host: x\r\ntransfer-encoding: identity\r\n", "0\r\n\r\n"),
            400,
            "",
        ),
        (
            "chunks in HTTP/1.0",
            format!("POST {CHAT} HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").into_bytes(),
            400,
            "",
        ),
        ("CONNECT", plain("CONNECT other.invalid:443 HTTP/1.1"), 400, "not a proxy"),
        ("TRACE", plain(&format!("TRACE {CHAT} HTTP/1.1")), 405, "POST"),
        ("OPTIONS", plain(&format!("OPTIONS {CHAT} HTTP/1.1")), 405, "POST"),
        ("OPTIONS for all", plain("OPTIONS * HTTP/1.1"), 404, "unknown path"),
        (
            "a name with a path in it",
            plain("POST /v1beta/models/..%2f..%2fadmin:generateContent HTTP/1.1"),
            400,
            "empty",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_no_request_are_refused() {
    let (script, plane) = start(|_| {}).await;
    for (what, bytes, status, says) in heads() {
        let answer = talk(&plane, &bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}");
        assert!(answer.contains(says), "{what}: {says} is not in {answer}");
        assert!(script.taken().is_empty(), "{what}: it reached the backend");
    }
    // Its preface says that no answer in HTTP/1 can be read: the connection is closed.
    let preface = talk(&plane, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(preface.is_empty() || preface.starts_with("HTTP/1.1 400 "), "{preface:?}");
    others_are_served("all of them", &script, &plane).await;
    plane.stop().await;
}

/// A body in chunks that lie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_lie_are_refused() {
    let (script, plane) = start(|_| {}).await;
    let large = format!("{:x}\r\n{}\r\n", BODY_BYTES_MAX, " ".repeat(BODY_BYTES_MAX)).repeat(2);
    for (what, body, status) in [
        ("a size beyond counting", "fffffffffffffffff\r\nx\r\n".to_owned(), 400),
        ("a size that is none", "xyz\r\nx\r\n".to_owned(), 400),
        ("no end of a chunk", format!("{:x}\r\n{ASK}xx0\r\n\r\n", ASK.len()), 400),
        ("an endless extension", format!("1;{}\r\n{{\r\n", "a".repeat(100_000)), 400),
        ("chunks without end", large, 413),
        ("one chunk beyond the bound", format!("{:x}\r\n{}", 1 << 30, " ".repeat(2 * BODY_BYTES_MAX)), 413),
    ] {
        let bytes = request("host: x\r\ntransfer-encoding: chunked\r\n", &body);
        let mut stream = connect(&plane).await;
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}");
        assert!(answer.contains("\"error\""), "{what}: {answer:?}");
        others_are_served(what, &script, &plane).await;
    }
    plane.stop().await;
}

/// What follows a request with two lengths is never a second request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_smuggled_behind_two_lengths() {
    let (script, plane) = start(|_| {}).await;
    let hidden = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-hidden: 1\r\ncontent-length: 0\r\n\r\n");
    let size = format!("{:x}", ASK.len());
    for lengths in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\ncontent-length: 9\r\n",
    ] {
        let bytes =
            format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{lengths}\r\n{size}\r\n{ASK}\r\n0\r\n\r\n{hidden}");
        let answer = talk(&plane, bytes.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{lengths}: {answer}");
        let sent = script.taken();
        assert_eq!(sent.len(), 1, "{lengths}");
        assert_eq!(sent[0].body, ASK);
        assert!(!sent[0].head.to_lowercase().contains("transfer-encoding"), "{}", sent[0].head);
        assert!(sent[0].head.contains(&format!("content-length: {}", ASK.len())), "{}", sent[0].head);
    }
    // One length said twice is one length.
    let twice = format!("host: x\r\ncontent-length: {0}\r\ncontent-length: {0}\r\n", ASK.len());
    assert!(talk(&plane, &request(&twice, ASK)).await.starts_with("HTTP/1.1 200 "));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_hasty_clients_are_served() {
    let (script, plane) = start(|_| {}).await;
    let length = ASK.len();
    let old = format!("POST {CHAT} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{ASK}");
    let answer = talk(&plane, old.as_bytes()).await;
    assert!(answer.contains(" 200 ") && answer.contains(ANSWER), "{answer}");
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
    // Three at once on one connection are answered in turn.
    let one = |close: &str| {
        format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{close}content-length: {length}\r\n\r\n{ASK}")
    };
    let three =
        [one(""), "GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), one("connection: close\r\n")];
    let answer = talk(&plane, three.concat().as_bytes()).await;
    let (chat, list) = (answer.find(ANSWER), answer.find("\"object\":\"list\""));
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 3, "{answer}");
    assert!(chat < list && list.is_some(), "{answer}");
    assert_eq!(script.taken().len(), 3);
    // One that asks first is told to go on, and one whose body would be refused is told that instead.
    let mut stream = connect(&plane).await;
    let asks = |length: usize| {
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    stream.write_all(asks(length).as_bytes()).await.expect("sent");
    let mut go = [0; 25];
    timeout(DEADLINE, stream.read_exact(&mut go)).await.expect("in time").expect("an answer");
    assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(ASK.as_bytes()).await.expect("sent");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
    let answer = talk(&plane, asks(BODY_BYTES_MAX + 1).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    plane.stop().await;
}

/// Writes a byte whenever nothing came for a while; returns what came at last.
async fn drip(stream: &mut TcpStream, every: Duration) -> String {
    let mut answer = Vec::new();
    let dripped = async {
        loop {
            match timeout(every, stream.read_buf(&mut answer)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
                Err(_) if stream.write_all(b" ").await.is_err() => return,
                Err(_) => {}
            }
        }
    };
    timeout(DEADLINE, dripped).await.expect("it is cut off in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_cut_off() {
    let (script, plane) = start(|settings| {
        settings.head_wait = Duration::from_millis(400);
        settings.piece_wait = Duration::from_millis(400);
    })
    .await;
    // A head that never ends, silent or byte by byte.
    for every in [DEADLINE, Duration::from_millis(50)] {
        let mut stream = connect(&plane).await;
        stream
            .write_all(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-slow: ").as_bytes())
            .await
            .expect("sent");
        assert_eq!(drip(&mut stream, every).await, "");
    }
    // A body that stops, and one that comes in time byte by byte but would take hours.
    for every in [DEADLINE, Duration::from_millis(50)] {
        let mut stream = connect(&plane).await;
        let head = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let answer = drip(&mut stream, every).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("comes too slowly") && answer.contains(" of 100000 bytes"), "{answer}");
    }
    others_are_served("slow ones", &script, &plane).await;
    plane.stop().await;
}

/// Bodies that stall take no more memory than is set aside, and small requests do not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_bodies_do_not_keep_others_out() {
    let (script, plane) = start(|settings| settings.bodies_bytes_max = 2 * BODY_BYTES_MAX).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY_BYTES_MAX}\r\n\r\n");
    let mut stalled = Vec::new();
    for _ in 0..12 {
        let mut stream = connect(&plane).await;
        stream.write_all(head.as_bytes()).await.expect("sent");
        // No more than the buffers of a connection take when it is not read.
        let _ = timeout(Duration::from_millis(100), stream.write_all(&vec![b' '; 100_000])).await;
        stalled.push(stream);
    }
    let began = Instant::now();
    others_are_served("stalled bodies", &script, &plane).await;
    assert!(began.elapsed() < Duration::from_secs(8), "it waited for them: {:?}", began.elapsed());
    // Those that wait for memory would only be refused after 10 s.
    drop((stalled, plane));
}

/// A few kilobytes that unpack to hundreds of megabytes, many at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_are_refused() {
    let (script, plane) = start(|_| {}).await;
    let zeros = vec![b' '; 64 << 20];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&zeros).expect("memory takes all");
    let gzip = encoder.finish().expect("memory takes all");
    let fastest = ruzstd::encoding::CompressionLevel::Fastest;
    let zstd = ruzstd::encoding::compress_to_vec(&zeros[..8 << 20], fastest);
    assert!(gzip.len() < BODY_BYTES_MAX && zstd.len() < BODY_BYTES_MAX);
    let client = rig::client();
    let mut asked = Vec::new();
    for round in 0..20 {
        let (coding, body) = if round % 2 == 0 { ("gzip", gzip.clone()) } else { ("zstd", zstd.clone()) };
        let request =
            client.post(format!("{}{CHAT}", plane.url)).header("content-encoding", coding).body(body);
        asked.push(tokio::spawn(request.send()));
    }
    for sent in asked {
        let response = sent.await.expect("it ran").expect("an answer");
        assert_eq!(response.status(), 413);
        assert!(response.text().await.expect("a body").contains("200000 bytes"));
    }
    others_are_served("bombs", &script, &plane).await;
    plane.stop().await;
}

/// Names and bodies that mean to reach somewhere else than the reader of the name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_and_bodies_are_refused_and_told_nowhere() {
    let (script, plane) = start(|_| {}).await;
    let chat = |name: &str| format!(r#"{{"model":{name},"messages":[]}}"#).into_bytes();
    let long = format!("\"{}\"", "n".repeat(150_000));
    let deep = format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    for (what, path, body, status, says) in [
        ("a header in a name", CHAT, chat(r#""m\r\nx-evil: 1""#), 400, "control character"),
        ("an escape sequence", CHAT, chat(r#""m\u001b[31m""#), 400, "control character"),
        ("a long name", CHAT, chat(&long), 400, "150000 bytes"),
        ("a path", CHAT, chat(r#""../../evil""#), 404, "not found"),
        ("a label", CHAT, chat(r#""evil\"} 1\\""#), 404, "not found"),
        ("half a character", CHAT, chat(r#""evil\ud800""#), 400, "surrogate"),
        (
            "two names",
            "/v1/messages",
            br#"{"model":"m","model":"evil","messages":[]}"#.to_vec(),
            400,
            "twice",
        ),
        (
            "two cases",
            "/api/chat",
            br#"{"model":"m","MODEL":"evil","messages":[]}"#.to_vec(),
            400,
            "lower case",
        ),
        (
            "two names, one escaped",
            CHAT,
            br#"{"model":"m","\u006dodel":"evil","messages":[]}"#.to_vec(),
            400,
            "twice",
        ),
        ("no UTF-8", CHAT, b"{\"model\":\"m\xff\",\"messages\":[]}".to_vec(), 400, "not UTF-8"),
        ("NUL", CHAT, b"{\"model\":\"m\",\"messages\":[]}\0".to_vec(), 400, "not JSON"),
        ("deep", "/v1/messages", deep.into_bytes(), 400, "nested deeper than 128"),
        ("text behind", "/api/chat", [ASK.as_bytes(), ASK.as_bytes()].concat(), 400, "behind the value"),
    ] {
        let sent = rig::client().post(format!("{}{path}", plane.url)).body(body).send().await;
        let response = sent.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(response.status().as_u16(), status, "{what}");
        assert!(!response.headers().contains_key("x-evil"), "{what}");
        let text = response.text().await.expect("a body");
        assert!(text.len() < 1000 && text.contains(says), "{what}: {says} is not in {text}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{what}: {text}");
    }
    let metrics = rig::client().get(format!("{}/metrics", plane.admin)).send().await.expect("metrics");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("llmb_requests") && !metrics.contains("evil"), "{metrics}");
    others_are_served("names", &script, &plane).await;
    plane.stop().await;
}
