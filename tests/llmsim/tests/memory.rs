//! What servers keep of prompts, and which models they have in memory.

#[cfg(test)]
mod rig;

use std::time::Duration;

use llmsim::{Fault, Kind};
use rig::{DEADLINE, Ended, call, chat, get, post, with};
use serde_json::{Value, json};

/// 400 tokens.
fn long() -> String {
    "abcdefghijklmnop".repeat(100)
}

fn messages(model: &str) -> Value {
    json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": long()}]})
}

/// Kind, path, body, where it is told, and what a cold and a warm server tell.
type Case = (Kind, &'static str, Value, &'static str, Value, Value);

const CHAT: &str = "/v1/chat/completions";

fn cases() -> Vec<Case> {
    let input = || json!({"model": "m", "input": long()});
    let native = json!({"model": "m", "stream": false, "messages": messages("m")["messages"]});
    let contents = json!({"contents": [{"parts": [{"text": long()}]}]});
    let (chat, responses, anthropic) = (CHAT, "/v1/responses", "/v1/messages");
    let details = "/usage/prompt_tokens_details/cached_tokens";
    let inputs = "/usage/input_tokens_details/cached_tokens";
    let (read, fresh) = ("/usage/cache_read_input_tokens", "/usage/input_tokens");
    let metadata = "/usageMetadata/cachedContentTokenCount";
    let gemini = "/v1beta/models/m:generateContent";
    let (none, zero) = (|| Value::Null, || json!(0));
    vec![
        (Kind::Openai, chat, messages("m"), details, zero(), json!(384)),
        (Kind::Openai, responses, input(), inputs, zero(), json!(384)),
        (Kind::Llamacpp, chat, messages("m"), details, zero(), json!(399)),
        (Kind::Llamacpp, chat, messages("m"), "/timings/cache_n", zero(), json!(399)),
        (Kind::Llamacpp, chat, messages("m"), "/timings/prompt_n", json!(400), json!(1)),
        (Kind::Llamacpp, anthropic, messages("m"), read, zero(), json!(399)),
        (Kind::Llamacpp, anthropic, messages("m"), fresh, json!(400), json!(1)),
        (Kind::Llamacpp, responses, input(), inputs, zero(), json!(399)),
        (Kind::Vllm, chat, messages("m"), details, zero(), json!(384)),
        (Kind::Anthropic, anthropic, messages("m"), read, zero(), json!(384)),
        (Kind::Anthropic, anthropic, messages("m"), fresh, json!(400), json!(16)),
        (Kind::Gemini, gemini, contents, metadata, none(), json!(384)),
        // Never told, or a zero whatever was.
        (Kind::Ollama, responses, input(), inputs, zero(), zero()),
        (Kind::Ollama, "/api/chat", native, "/prompt_eval_count", json!(400), json!(400)),
        (Kind::LmStudio, chat, messages("m"), "/usage/prompt_tokens_details", none(), none()),
    ]
}

#[test]
fn what_was_cached_is_told_in_the_words_of_each() {
    for (kind, path, body, at, cold, warm) in cases() {
        let sim = with(kind, |s| (s.cache, s.prompt_details) = (true, true));
        let ask = || post(&sim, path, &body).json().pointer(at).cloned().unwrap_or_default();
        assert_eq!([ask(), ask()], [cold, warm], "{kind} {path} {at}");
        let seen = &sim.stats().requests;
        assert_eq!(seen[1].prompt_tokens + seen[1].cached_tokens, 400, "{kind} {path}");
    }
    let shy = with(Kind::Vllm, |s| s.cache = true);
    let told = || post(&shy, CHAT, &messages("m")).json()["usage"]["prompt_tokens_details"].take();
    assert_eq!(([told(), told()], shy.stats().cached_tokens), ([Value::Null, Value::Null], 384));
}

#[test]
fn a_stream_of_anthropic_says_at_its_beginning_what_was_cached() {
    let sim = with(Kind::Anthropic, |s| s.cache = true);
    let mut body = messages("m");
    body["stream"] = json!(true);
    post(&sim, "/v1/messages", &body);
    let first = post(&sim, "/v1/messages", &body).events().remove(0).1;
    assert_eq!(first["message"]["usage"]["cache_read_input_tokens"], 384, "{first}");
}

#[test]
fn what_is_cached_takes_no_time_to_read() {
    let sim = with(Kind::Ollama, |s| (s.cache, s.prefill_tps) = (true, 2000.0));
    let body = json!({"model": "m", "stream": false, "messages": messages("m")["messages"]});
    let took =
        [(); 2].map(|()| post(&sim, "/api/chat", &body).json()["prompt_eval_duration"].as_u64().unwrap());
    assert!(took[0] >= 200_000_000 && took[1] < took[0] / 2, "{took:?}");
}

#[test]
fn answers_slow_each_other_down_where_that_is_asked_for() {
    let sim = with(Kind::Openai, |s| {
        (s.slots, s.decode_tps, s.decode_drag, s.output_tokens) = (2, 100.0, 1.0, 10);
        s.first_fault = Some(Fault::StallMidStream { after: 0 });
    });
    let (path, body) = chat(Kind::Openai, true);
    let _other = call(&sim, "POST", &path, &[], &body);
    assert!(sim.wait_blocking(|stats| stats.busy == 1, DEADLINE));
    sim.clear_fault();
    post(&sim, &path, &body);
    let seen = &sim.stats().requests[1];
    assert!(seen.end_us.unwrap() - seen.start_us >= 190_000, "{seen:?}");
}

#[test]
fn a_restart_loses_what_was_kept_and_a_pace_can_change() {
    let sim = with(Kind::Llamacpp, |s| (s.cache, s.prefill_tps) = (true, 2000.0));
    let path = "/v1/chat/completions";
    let timings = || post(&sim, path, &messages("m")).json()["timings"].take();
    assert_eq!([timings()["cache_n"].take(), timings()["cache_n"].take()], [json!(0), json!(399)]);
    sim.restart();
    assert_eq!(timings()["cache_n"], 0);
    assert_eq!(post(&sim, "/_sim/speed", &json!({"factor": 0.5})).status, 200);
    assert_eq!(post(&sim, "/_sim/restart", &Value::Null).status, 200);
    let slow = timings();
    assert!(slow["cache_n"] == 0 && slow["prompt_ms"].as_f64() >= Some(400.0), "{slow}");
}

fn stream(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": true})
}

#[test]
fn a_model_waits_until_all_is_quiet_before_it_takes_the_place_of_another() {
    let sim = with(Kind::Ollama, |s| {
        (s.models_max, s.slots, s.load_time) = (1, 2, Duration::from_millis(5));
        s.first_fault = Some(Fault::StallMidStream { after: 1 });
    });
    let mut runs = call(&sim, "POST", "/api/chat", &[], &stream("m"));
    runs.until("\"content\"");
    sim.clear_fault();
    let mut next = call(&sim, "POST", "/api/chat", &[], &stream("n"));
    assert!(sim.wait_blocking(|stats| stats.running == 2, DEADLINE));
    let mut last = call(&sim, "POST", "/api/chat", &[], &stream("m"));
    assert!(sim.wait_blocking(|stats| stats.running == 3, DEADLINE));
    let stats = sim.stats();
    assert_eq!(
        (stats.busy, stats.loads, stats.evictions),
        (1, 1, 0),
        "one slot is free, and nobody may have it"
    );
    runs.leave();
    for (call, loads) in [(&mut next, 2), (&mut last, 3)] {
        call.until("\"done\":true");
        assert!(sim.stats().loads >= loads);
    }
    let stats = sim.stats();
    assert_eq!((stats.loads, stats.evictions, stats.killed, stats.finished), (3, 2, 0, 2));
    let there = get(&sim, "/api/ps").json();
    assert_eq!((there["models"].as_array().unwrap().len(), &there["models"][0]["name"]), (1, &json!("m")));
}

#[test]
fn a_model_that_waits_for_nobody_kills_what_runs() {
    let sim = with(Kind::LmStudio, |s| {
        (s.models_max, s.slots, s.evict_kills) = (1, 2, true);
        s.first_fault = Some(Fault::StallMidStream { after: 1 });
    });
    let mut runs = call(&sim, "POST", "/v1/chat/completions", &[], &stream("m"));
    runs.until("\"content\":\"");
    sim.clear_fault();
    assert_eq!(post(&sim, "/v1/chat/completions", &stream("n")).status, 200);
    assert_eq!(runs.reply().unwrap().ended, Ended::Cut);
    let stats = sim.stats();
    assert_eq!((stats.loads, stats.evictions, stats.killed, stats.failed, stats.busy), (2, 1, 1, 1, 0));
    let list = get(&sim, "/api/v0/models").json();
    let states = [0, 1].map(|index| list["data"][index]["state"].clone());
    assert_eq!(states, ["not-loaded", "loaded"]);
}

#[test]
fn llamacpp_with_several_models_is_a_router() {
    let sim = with(Kind::Llamacpp, |s| s.models_max = 1);
    let states = || {
        let list = get(&sim, "/models").json();
        [0, 1].map(|index| list["data"][index]["status"]["value"].clone())
    };
    assert_eq!(states(), ["unloaded", "unloaded"]);
    for (model, after) in [("n", ["unloaded", "loaded"]), ("m", ["loaded", "unloaded"])] {
        assert_eq!(post(&sim, "/v1/chat/completions", &messages(model)).json()["model"], model);
        assert_eq!(states(), after);
    }
    assert!(post(&sim, "/v1/chat/completions", &messages("other")).status >= 400);
    assert_eq!(get(&sim, "/props").json()["role"], "router");
}
