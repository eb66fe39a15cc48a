//! Slots, order, peaks, pace, and clients that leave.

#[cfg(test)]
mod rig;

use std::time::{Duration, Instant};

use llmsim::{Fault, Kind};
use rig::{DEADLINE, call, chat, post, sim, with};

#[test]
fn work_beyond_the_slots_waits_inside_in_order() {
    let sim = with(Kind::Openai, |s| s.first_fault = Some(Fault::StallMidStream { after: 1 }));
    let (path, body) = chat(Kind::Openai, true);
    let mut first = call(&sim, "POST", &path, &[], &body);
    first.until("\"content\":\"");
    sim.clear_fault();
    let mut others: Vec<_> = (1..=3)
        .map(|number| {
            let other = call(&sim, "POST", &path, &[("x-number", &number.to_string())], &body);
            assert!(sim.wait_blocking(|s| s.accepted == 1 + number, DEADLINE));
            other
        })
        .collect();
    let stats = sim.stats();
    assert_eq!((stats.running, stats.busy, stats.peak, stats.finished), (4, 1, 4, 0));
    first.leave();
    for other in &mut others {
        other.until("[DONE]");
    }
    let stats = sim.stats();
    assert_eq!((stats.running, stats.busy, stats.peak, stats.finished, stats.aborted), (0, 0, 4, 3, 1));
    let ends: Vec<u64> = stats.requests.iter().map(|seen| seen.end_us.unwrap()).collect();
    assert!(ends.is_sorted(), "{ends:?}");
    assert_eq!(stats.requests[2].header("x-number"), Some("2"));
    assert!(stats.requests[0].aborted && !stats.requests[1].aborted);
}

#[test]
fn the_slot_is_free_when_the_last_event_arrives() {
    for kind in Kind::ALL {
        let sim = sim(kind);
        for stream in [true, false, true, false] {
            let (path, body) = chat(kind, stream);
            let reply = post(&sim, &path, &body);
            assert_eq!((reply.status, sim.stats().running), (200, 0), "{kind}");
        }
        let stats = sim.stats();
        assert_eq!((stats.peak, stats.accepted, stats.finished, stats.busy), (1, 4, 4, 0), "{kind}");
    }
}

#[test]
fn the_engine_works_on_after_a_client_left() {
    let lag = Duration::from_millis(60);
    for stream in [true, false] {
        let sim = with(Kind::Llamacpp, |s| {
            s.abort_lag = lag;
            s.first_fault = Some(Fault::StallMidStream { after: 0 });
        });
        let (path, body) = chat(Kind::Llamacpp, stream);
        let gone = call(&sim, "POST", &path, &[], &body);
        assert!(sim.wait_blocking(|s| s.busy == 1, DEADLINE));
        gone.leave();
        assert!(sim.wait_blocking(|s| s.aborted == 1, DEADLINE));
        let left = Instant::now();
        let stats = sim.stats();
        assert_eq!((stats.running, stats.busy, stats.requests[0].end_us), (1, 1, None), "stream {stream}");
        sim.clear_fault();
        assert_eq!(post(&sim, &path, &body).status, 200);
        assert!(left.elapsed() >= lag - Duration::from_millis(5), "{:?}", left.elapsed());
        assert_eq!(sim.stats().peak, 2, "the work of the gone client counts until the engine stops");
    }
}

#[test]
fn a_client_that_leaves_while_waiting_leaves_at_once() {
    let sim = with(Kind::Vllm, |s| {
        s.abort_lag = Duration::from_secs(3600);
        s.first_fault = Some(Fault::Stall);
    });
    let (path, body) = chat(Kind::Vllm, true);
    let _holds = call(&sim, "POST", &path, &[], &body);
    assert!(sim.wait_blocking(|s| s.busy == 1, DEADLINE));
    let waits = call(&sim, "POST", &path, &[], &body);
    assert!(sim.wait_blocking(|s| s.running == 2, DEADLINE));
    waits.leave();
    assert!(sim.wait_blocking(|s| s.aborted == 1 && s.running == 1, DEADLINE));
}

#[test]
fn strict_slots_refuse_in_the_shape_of_the_kind() {
    for (kind, status) in [
        (Kind::Ollama, 503),
        (Kind::Openai, 429),
        (Kind::Anthropic, 529),
        (Kind::Gemini, 429),
        (Kind::Vllm, 503),
    ] {
        let sim = with(kind, |s| {
            s.strict_slots = true;
            s.first_fault = Some(Fault::Stall);
        });
        let (path, body) = chat(kind, true);
        let _holds = call(&sim, "POST", &path, &[("anthropic-version", "2023-06-01")], &body);
        assert!(sim.wait_blocking(|s| s.busy == 1, DEADLINE));
        assert_eq!(post(&sim, &path, &body).status, status, "{kind}");
        let stats = sim.stats();
        assert_eq!((stats.peak, stats.accepted, stats.refused, stats.requests.len()), (1, 1, 1, 2));
    }
}

#[test]
fn the_pace_is_the_one_asked_for() {
    let sim = with(Kind::Ollama, |s| {
        (s.prefill_tps, s.decode_tps, s.output_tokens) = (100.0, 200.0, 10);
        s.load_time = Duration::from_millis(30);
    });
    // "hello" is two tokens: 20 ms; ten tokens: 50 ms.
    let (path, body) = chat(Kind::Ollama, true);
    let reply = post(&sim, &path, &body);
    let last = reply.lines().pop().unwrap();
    let ms = |name: &str| last[name].as_u64().unwrap() / 1_000_000;
    assert_eq!((last["prompt_eval_count"].as_u64(), last["eval_count"].as_u64()), (Some(2), Some(10)));
    assert!((30..200).contains(&ms("load_duration")), "{last}");
    assert!((20..200).contains(&ms("prompt_eval_duration")), "{last}");
    assert!((45..300).contains(&ms("eval_duration")), "{last}");
    let seen = &sim.stats().requests[0];
    assert!(seen.end_us.unwrap() - seen.start_us >= 100_000);
    let again = post(&sim, &path, &body).lines().pop().unwrap();
    assert_eq!(again["load_duration"].as_u64(), None, "the model is loaded already: {again}");
}

#[test]
fn slots_work_side_by_side() {
    let sim = with(Kind::Openai, |s| (s.slots, s.decode_tps, s.output_tokens) = (3, 50.0, 5));
    let (path, body) = chat(Kind::Openai, true);
    let mut calls: Vec<_> = (0..3).map(|_| call(&sim, "POST", &path, &[], &body)).collect();
    for call in &mut calls {
        call.until("[DONE]");
    }
    let stats = sim.stats();
    assert_eq!((stats.peak, stats.finished), (3, 3));
    let first_end = stats.requests.iter().filter_map(|seen| seen.end_us).min().unwrap();
    assert!(stats.requests.iter().all(|seen| seen.start_us < first_end));
}

#[test]
fn stopping_ends_everything_like_a_kill() {
    let sim = with(Kind::Anthropic, |s| s.first_fault = Some(Fault::StallMidStream { after: 1 }));
    let (path, body) = chat(Kind::Anthropic, true);
    let mut open = call(&sim, "POST", &path, &[("anthropic-version", "2023-06-01")], &body);
    open.until("text_delta");
    sim.stop();
    assert_eq!(open.reply().unwrap().ended, rig::Ended::Cut);
}

#[test]
fn the_record_is_bounded() {
    let sim = with(Kind::Openai, |s| s.requests_kept = 2);
    let (path, body) = chat(Kind::Openai, false);
    for number in 0..5 {
        call(&sim, "POST", &path, &[("x-number", &number.to_string())], &body).reply().unwrap();
    }
    let stats = sim.stats();
    assert_eq!((stats.requests.len(), stats.dropped, stats.finished), (2, 3, 5));
    assert_eq!(stats.requests[1].header("x-number"), Some("4"));
    assert!(stats.requests.iter().all(|seen| seen.end_us.is_some()));
}
