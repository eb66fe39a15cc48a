//! Every fault, as a client sees it and as the books have it.

#[cfg(test)]
mod rig;

use std::{
    io::ErrorKind,
    net::TcpStream,
    time::{Duration, Instant},
};

use llmsim::{Fault, Kind, Scope};
use rig::{Call, DEADLINE, Ended, call, chat, get, post, raw, sim, with};
use serde_json::{Value, json};

const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(50);

fn last_event(kind: Kind) -> &'static str {
    match kind {
        Kind::Ollama => "\"done\":true",
        Kind::Anthropic => "message_stop",
        Kind::Gemini => "finishReason",
        _ => "[DONE]",
    }
}

#[test]
fn refusing_closes_the_listener_and_every_connection() {
    let sim = sim(Kind::Openai);
    let mut kept = Call::connect(&sim);
    kept.send("GET", "/v1/models", &[], &Value::Null);
    assert_eq!(kept.reply().unwrap().status, 200);
    sim.set_fault(Fault::Refuse, None);
    assert!(TcpStream::connect(sim.addr()).is_err());
    assert!(kept.reply().is_none());
    sim.clear_fault();
    assert_eq!(get(&sim, "/v1/models").status, 200);
}

#[test]
fn a_server_may_refuse_from_the_start() {
    let sim = with(Kind::Openai, |s| s.first_fault = Some(Fault::Refuse));
    assert!(TcpStream::connect(sim.addr()).is_err());
    sim.set_fault(Fault::Html, None);
    assert_eq!(get(&sim, "/v1/models").header("content-type"), "text/html; charset=utf-8");
}

#[test]
fn a_reset_is_counted_per_connection() {
    let sim = sim(Kind::Openai);
    sim.set_fault(Fault::ResetAtAccept, Some(2));
    for _ in 0..2 {
        let mut gone = Call::connect(&sim);
        assert!(gone.reply().is_none());
    }
    assert_eq!(get(&sim, "/v1/models").status, 200);
    assert_eq!(sim.stats().connected, 1);
}

#[test]
fn stalls_hold_the_slot_until_the_client_leaves() {
    for (fault, head) in
        [(Fault::Stall, false), (Fault::StallAfterHeaders, true), (Fault::StallMidStream { after: 2 }, true)]
    {
        for kind in Kind::ALL {
            let sim = sim(kind);
            sim.set_fault(fault.clone(), Some(1));
            let (path, body) = chat(kind, true);
            let mut stuck = call(&sim, "POST", &path, &[VERSION], &body);
            stuck.patience(SILENCE);
            let reply = stuck.reply();
            assert_eq!(reply.is_some(), head, "{kind} {fault:?}");
            if let Some(reply) = reply {
                assert_eq!((reply.status, reply.ended), (200, Ended::Silent), "{kind} {fault:?}");
                assert_eq!(reply.body.is_empty(), fault == Fault::StallAfterHeaders, "{kind} {fault:?}");
            }
            assert_eq!(sim.stats().busy, 1, "{kind} {fault:?}");
            stuck.leave();
            assert!(sim.wait_blocking(|s| s.aborted == 1 && s.running == 0, DEADLINE), "{kind} {fault:?}");
            assert!(post(&sim, &path, &body).text().contains(last_event(kind)), "{kind} {fault:?}");
        }
    }
}

#[test]
fn dying_and_truncating_cut_the_stream_after_so_many_tokens() {
    for (fault, ended) in
        [(Fault::DieMidStream { after: 2 }, Ended::Cut), (Fault::Truncate { after: 2 }, Ended::Whole)]
    {
        for kind in Kind::ALL {
            let sim = sim(kind);
            let (path, body) = chat(kind, true);
            let whole = post(&sim, &path, &body).text();
            sim.set_fault(fault.clone(), Some(1));
            let reply = post(&sim, &path, &body);
            assert_eq!((reply.status, reply.ended), (200, ended), "{kind} {fault:?}");
            let text = reply.text();
            assert!(!text.is_empty() && !text.contains(last_event(kind)), "{kind} {fault:?}: {text}");
            let tokens = |text: &str| {
                text.matches("hello").count() + text.matches("\n\n").count() + text.matches('\n').count()
            };
            assert!(tokens(&text) < tokens(&whole), "{kind} {fault:?}");
            let stats = sim.stats();
            assert_eq!(
                (stats.failed, stats.aborted, stats.running, stats.busy),
                (1, 0, 0, 0),
                "{kind} {fault:?}"
            );
        }
    }
}

#[test]
fn an_answer_that_is_not_streamed_dies_unseen_or_is_half() {
    for kind in Kind::ALL {
        let sim = sim(kind);
        let (path, body) = chat(kind, false);
        sim.set_fault(Fault::DieMidStream { after: 1 }, Some(1));
        assert!(call(&sim, "POST", &path, &[VERSION], &body).reply().is_none(), "{kind}");
        sim.set_fault(Fault::Truncate { after: 1 }, Some(1));
        let half = post(&sim, &path, &body);
        assert_eq!((half.status, half.ended), (200, Ended::Whole), "{kind}");
        assert!(serde_json::from_slice::<Value>(&half.body).is_err(), "{kind}");
        assert!(post(&sim, &path, &body).json().is_object(), "{kind}");
    }
}

#[test]
fn a_status_has_the_error_of_its_kind() {
    for (kind, pointer) in [
        (Kind::Ollama, "/error"),
        (Kind::LmStudio, "/error/message"),
        (Kind::Llamacpp, "/error/message"),
        (Kind::Vllm, "/error/message"),
        (Kind::Openai, "/error/message"),
        (Kind::Anthropic, "/error/message"),
        (Kind::Gemini, "/error/message"),
    ] {
        let sim = sim(kind);
        let (path, body) = chat(kind, true);
        sim.set_fault(Fault::Status { code: 429, retry_after: Some(7) }, Some(1));
        let reply = post(&sim, &path, &body);
        assert_eq!((reply.status, reply.header("retry-after")), (429, "7"), "{kind}");
        assert_eq!(reply.json().pointer(pointer).unwrap(), "simulated status 429", "{kind}");
        assert_eq!(post(&sim, &path, &body).status, 200, "{kind}");
        assert_eq!(sim.stats().refused, 1);
    }
}

#[test]
fn the_first_element_may_be_an_error_or_no_json() {
    for kind in Kind::ALL {
        for stream in [true, false] {
            let sim = sim(kind);
            let (path, body) = chat(kind, stream);
            sim.set_fault(Fault::ErrorFirst, Some(1));
            let reply = post(&sim, &path, &body);
            assert_eq!(reply.status, 200);
            let text = reply.text();
            let value = if stream && kind != Kind::Ollama {
                let (event, value) = reply.events().remove(0);
                assert_eq!(event, if kind == Kind::Anthropic { "error" } else { "" });
                value
            } else {
                serde_json::from_str(text.trim_end()).unwrap()
            };
            assert!(!value["error"].is_null(), "{kind} {stream}: {text}");
            sim.set_fault(Fault::BadJson, Some(1));
            let bad = post(&sim, &path, &body);
            let text = bad.text();
            let data = text.strip_prefix("data: ").unwrap_or(&text);
            assert!(bad.status == 200 && serde_json::from_str::<Value>(data).is_err(), "{kind} {stream}");
            assert_eq!(sim.stats().accepted, 0);
        }
    }
}

#[test]
fn a_slow_start_comes_before_the_headers() {
    let sim = sim(Kind::Vllm);
    let (path, body) = chat(Kind::Vllm, true);
    sim.set_fault(Fault::SlowStart(Duration::from_millis(60)), Some(1));
    let sent = Instant::now();
    let mut slow = call(&sim, "POST", &path, &[], &body);
    slow.until("HTTP/1.1 200");
    assert!(sent.elapsed() >= Duration::from_millis(60));
}

#[test]
fn a_wrong_length_ends_as_a_cut() {
    for stream in [true, false] {
        let sim = sim(Kind::Openai);
        let (path, body) = chat(Kind::Openai, stream);
        sim.set_fault(Fault::WrongLength, Some(1));
        let reply = post(&sim, &path, &body);
        assert_eq!((reply.status, reply.ended), (200, Ended::Cut), "stream {stream}");
        assert!(!reply.body.is_empty());
    }
}

#[test]
fn pages_and_redirects_meet_everything_but_the_others_only_work() {
    let sim = sim(Kind::Ollama);
    sim.set_fault(Fault::Html, None);
    assert_eq!(get(&sim, "/api/version").header("content-type"), "text/html; charset=utf-8");
    sim.set_fault(Fault::Redirect, Some(1));
    assert_eq!(get(&sim, "/").header("location"), "http://elsewhere.invalid/");
    sim.set_fault(Fault::Status { code: 500, retry_after: None }, Some(1));
    assert_eq!(get(&sim, "/api/version").status, 200);
    sim.set_fault_on(Fault::Status { code: 500, retry_after: None }, Some(1), Scope::All);
    assert_eq!(get(&sim, "/api/version").status, 500);
    assert_eq!(get(&sim, "/api/version").status, 200);
}

#[test]
fn pages_can_be_spoiled_in_every_way() {
    let sim = sim(Kind::Vllm);
    let page = |fault: Fault| {
        sim.set_fault_on(fault, Some(1), Scope::All);
        let mut call = call(&sim, "GET", "/v1/models", &[], &Value::Null);
        call.patience(SILENCE);
        call.reply().map(|reply| (reply.ended, serde_json::from_slice::<Value>(&reply.body).is_ok()))
    };
    assert_eq!(page(Fault::Stall), None);
    assert_eq!(page(Fault::DieMidStream { after: 0 }), None);
    assert_eq!(page(Fault::StallAfterHeaders), Some((Ended::Silent, false)));
    assert_eq!(page(Fault::Truncate { after: 0 }), Some((Ended::Whole, false)));
    assert_eq!(page(Fault::BadJson), Some((Ended::Whole, false)));
    assert_eq!(page(Fault::WrongLength), Some((Ended::Cut, true)));
    assert_eq!(page(Fault::ErrorFirst), Some((Ended::Whole, true)));
    assert_eq!(page(Fault::SlowStart(Duration::from_millis(1))), Some((Ended::Whole, true)));
}

#[test]
fn other_languages_drive_it_over_http() {
    let sim = sim(Kind::Openai);
    let (path, body) = chat(Kind::Openai, false);
    let fault = json!({"fault": {"status": {"code": 503, "retry_after": 1}}, "times": 1});
    assert_eq!(post(&sim, "/_sim/fault", &fault).status, 200);
    assert_eq!(get(&sim, "/_sim/fault").json()["fault"], fault["fault"]);
    assert_eq!(post(&sim, &path, &body).status, 503);
    assert_eq!(post(&sim, &path, &body).status, 200);
    assert_eq!(post(&sim, "/_sim/fault", &json!({"fault": "html"})).status, 200);
    assert_eq!(get(&sim, "/v1/models").header("content-type"), "text/html; charset=utf-8");
    assert_eq!(call(&sim, "DELETE", "/_sim/fault", &[], &Value::Null).reply().unwrap().status, 200);
    let stats = get(&sim, "/_sim/stats").json();
    assert_eq!(stats["refused"], 1);
    assert_eq!(stats["requests"][1]["path"], path);
    assert_eq!(stats["requests"].as_array().unwrap().len(), 2);
    assert_eq!(post(&sim, "/_sim/fault", &json!({"fault": "nonsense"})).status, 400);
    assert_eq!(get(&sim, "/_sim/other").status, 404);
}

#[test]
fn a_request_is_read_and_its_connection_reset() {
    let (chat, streamed) = chat(Kind::Openai, true);
    for (path, body) in [(chat.as_str(), streamed), ("/v1/embeddings", json!({"model": "m", "input": "hi"}))]
    {
        let sim = sim(Kind::Openai);
        sim.set_fault(Fault::Reset, Some(1));
        assert_eq!(raw(SILENCE, &sim, path, &body), (String::new(), Some(ErrorKind::ConnectionReset)));
        assert_eq!(sim.stats().requests.len(), 1);
    }
}

#[test]
fn a_deaf_or_half_open_server_says_nothing_and_comes_back() {
    let sim = sim(Kind::Openai);
    sim.set_fault(Fault::Deaf, None);
    let error = TcpStream::connect_timeout(&sim.addr(), SILENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    sim.set_fault(Fault::HalfOpen, Some(1));
    let mut stuck = Call::connect(&sim);
    stuck.send("GET", "/v1/models", &[], &Value::Null);
    stuck.patience(SILENCE);
    assert!(stuck.reply().is_none());
    assert_eq!(get(&sim, "/v1/models").status, 200);
    assert_eq!(sim.stats().others.len(), 1);
}

#[test]
fn garbage_and_errors_come_behind_content() {
    for kind in Kind::ALL {
        let sim = sim(kind);
        let (path, body) = chat(kind, true);
        sim.set_fault(Fault::Garbage { after: 2 }, Some(1));
        let text = post(&sim, &path, &body).text();
        let garbage = text.find("[{,}").unwrap_or_else(|| panic!("{kind}: {text}"));
        assert!(text.rfind(last_event(kind)).is_some_and(|last| last > garbage), "{kind}: it goes on");
        sim.set_fault(Fault::ErrorMidStream { after: 2 }, Some(1));
        let text = post(&sim, &path, &body).text();
        assert!(text.contains("simulated status 500") && !text.contains(last_event(kind)), "{kind}: {text}");
        let (path, body) = chat(kind, false);
        for (fault, is_json) in
            [(Fault::Garbage { after: 2 }, false), (Fault::ErrorMidStream { after: 2 }, true)]
        {
            sim.set_fault(fault, Some(1));
            let body = post(&sim, &path, &body).body;
            assert_eq!(serde_json::from_slice::<Value>(&body).is_ok(), is_json, "{kind}");
        }
    }
}

#[test]
fn a_length_that_is_too_short_leaves_bytes_behind_the_answer() {
    let sim = sim(Kind::Openai);
    let (path, body) = chat(Kind::Openai, false);
    for (fault, behind) in [(Fault::ShortLength, "}"), (Fault::Trailing, "}]}\n")] {
        sim.set_fault(fault.clone(), Some(1));
        let (text, _) = raw(SILENCE, &sim, &path, &body);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let told = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let (_, tail) = body.split_at(told.parse().unwrap());
        assert!(!tail.is_empty() && tail.ends_with(behind), "{fault:?}: {tail}");
    }
    let (path, body) = chat(Kind::Openai, true);
    sim.set_fault(Fault::ShortLength, Some(1));
    let text = post(&sim, &path, &body).text();
    assert!(!text.ends_with("\n\n"), "it ends in the middle of an event: {text}");
}

#[test]
fn a_whole_answer_may_stall_in_the_middle() {
    for kind in Kind::ALL {
        let sim = sim(kind);
        sim.set_fault(Fault::StallMidStream { after: 2 }, Some(1));
        let (path, body) = chat(kind, false);
        let mut stuck = call(&sim, "POST", &path, &[VERSION], &body);
        stuck.patience(SILENCE);
        let reply = stuck.reply().unwrap();
        assert_eq!((reply.status, reply.ended, reply.body.is_empty()), (200, Ended::Silent, false), "{kind}");
        assert_eq!(sim.stats().busy, 1, "{kind}");
        stuck.leave();
        assert!(sim.wait_blocking(|s| s.aborted == 1 && s.running == 0, DEADLINE), "{kind}");
    }
}
