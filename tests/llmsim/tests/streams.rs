//! The exact sequence of every dialect, streamed and not.

#[cfg(test)]
mod rig;

use llmsim::{Kind, Settings};
use rig::{Reply, chat, masked, post, sim, with};
use serde_json::{Value, json};

/// What the simulated model says to "hello".
const WORDS: [&str; 3] = ["a", " ends", " 漢字"];

fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!([{"type": "function", "function": {"name": "f", "parameters": schema}}])
}

fn say(text: &str, extra: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    for (name, value) in extra.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

fn data(reply: &Reply) -> Vec<Value> {
    reply.events().into_iter().map(|(_, value)| masked(value)).collect()
}

#[test]
fn chat_has_role_words_finish_usage_done() {
    let sim = sim(Kind::Openai);
    let reply = post(&sim, "/v1/chat/completions", &say("hello", json!({"stream": true})));
    assert_eq!(reply.header("content-type"), "text/event-stream");
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": "*", "object": "chat.completion.chunk", "created": "*", "model": "m", "system_fingerprint": "*",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        })
    };
    let mut expect = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    expect.extend(WORDS.map(|word| chunk(json!({"content": word}), Value::Null)));
    expect.push(chunk(json!({}), json!("stop")));
    expect.push(json!("[DONE]"));
    assert_eq!(data(&reply), expect);

    let with_usage = json!({"stream": true, "stream_options": {"include_usage": true}});
    let reply = data(&post(&sim, "/v1/chat/completions", &say("hello", with_usage)));
    assert_eq!(reply.len(), expect.len() + 1);
    assert!(reply[..5].iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    assert_eq!(reply[5]["choices"], json!([]));
    let usage = &reply[5]["usage"];
    assert_eq!(
        [&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]],
        [&json!(2), &json!(3), &json!(5)]
    );
}

#[test]
fn a_chat_tool_call_names_itself_once() {
    for kind in [Kind::Openai, Kind::Vllm, Kind::Llamacpp, Kind::LmStudio, Kind::Ollama] {
        let sim = sim(kind);
        let body = say("use a tool", json!({"stream": true, "tools": tools()}));
        let chunks = data(&post(&sim, "/v1/chat/completions", &body));
        let calls: Vec<&Value> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
            .filter(|c| !c.is_null())
            .collect();
        let function = json!({"name": "f", "arguments": ""});
        assert_eq!(
            calls[0],
            &json!({"index": 0, "id": "*", "type": "function", "function": function}),
            "{kind}"
        );
        let arguments: String = calls.iter().map(|c| c["function"]["arguments"].as_str().unwrap()).collect();
        assert_eq!(arguments, r#"{"city":"x"}"#, "{kind}");
        assert!(
            calls[1..].iter().all(|call| call.get("id").is_none() && call["function"].get("name").is_none())
        );
        assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "tool_calls", "{kind}");
    }
}

#[test]
fn a_tool_result_is_answered_with_text() {
    let sim = sim(Kind::Openai);
    let mut body = say("use a tool", json!({"tools": tools()}));
    let asked = post(&sim, "/v1/chat/completions", &body).json()["choices"][0]["message"].clone();
    assert_eq!(asked["tool_calls"][0]["function"]["arguments"], r#"{"city":"x"}"#);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(asked);
    messages.push(json!({"role": "tool", "tool_call_id": "x", "content": "the tool says sunny"}));
    let answer = post(&sim, "/v1/chat/completions", &body).json();
    assert!(answer["choices"][0]["message"]["content"].is_string());
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[test]
fn llamacpp_reports_as_the_real_one_does() {
    let sim = sim(Kind::Llamacpp);
    let mut chunks = data(&post(&sim, "/v1/chat/completions", &say("hello", json!({"stream": true}))));
    assert_eq!(chunks.pop(), Some(json!("[DONE]")));
    let last = chunks.pop().unwrap();
    assert_eq!(last["choices"], json!([{"finish_reason": "stop", "index": 0, "delta": {}}]));
    assert_eq!((last.get("usage"), &last["timings"]["predicted_n"]), (None, &json!(3)));
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": null}));
    assert!(chunks.iter().all(|chunk| chunk.get("timings").is_none()));

    let reply = post(&sim, "/v1/completions", &json!({"prompt": "hello", "stream": true, "max_tokens": 2}));
    let chunks = data(&reply);
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "length");
    assert_eq!(chunks[2]["usage"]["completion_tokens"], 2);
    assert_eq!((&chunks[2]["timings"]["prompt_n"], chunks.len()), (&json!(2), 4));

    let events = post(&sim, "/v1/responses", &json!({"input": "hello", "stream": true})).events();
    let created = masked(events[0].1.clone());
    assert_eq!(
        created,
        json!({"type": "response.created", "response": {"id": "*", "object": "response", "status": "in_progress"}})
    );
    assert!(events.iter().all(|(_, value)| value.get("output_index").is_none()));
    let (name, last) = events.last().unwrap();
    assert_eq!(name, "response.completed");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], WORDS.concat());
    assert_eq!(last["timings"]["predicted_n"], 3);
}

#[test]
fn messages_have_one_block_and_a_last_event() {
    let sim = sim(Kind::Anthropic);
    let reply = post(&sim, "/v1/messages", &say("hello", json!({"stream": true, "max_tokens": 2})));
    let usage = json!({
        "input_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    });
    let delta = |text| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let expect = [
        json!({"type": "message_start", "message": {
            "id": "*", "type": "message", "role": "assistant", "model": "m", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage,
        }}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        delta(WORDS[0]),
        delta(WORDS[1]),
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta", "delta": {"stop_reason": "max_tokens", "stop_sequence": null},
            "usage": {"output_tokens": 2},
        }),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(data(&reply), expect);
    assert!(reply.events().iter().all(|(name, value)| value["type"] == *name));
}

#[test]
fn a_message_tool_call_is_a_block() {
    for kind in [Kind::Anthropic, Kind::Llamacpp, Kind::Vllm, Kind::Ollama, Kind::LmStudio] {
        let sim = sim(kind);
        let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
        let body = say("tool", json!({"max_tokens": 9, "tools": tools}));
        let whole = post(&sim, "/v1/messages", &body).json();
        assert_eq!(
            masked(whole["content"].clone()),
            json!([{"type": "tool_use", "id": "*", "name": "f", "input": {}}])
        );
        assert_eq!(whole["stop_reason"], "tool_use", "{kind}");
        let streamed = data(&post(
            &sim,
            "/v1/messages",
            &say("tool", json!({"max_tokens": 9, "tools": tools, "stream": true})),
        ));
        let part = json!({"type": "input_json_delta", "partial_json": "{}"});
        assert!(streamed.iter().any(|event| event["delta"] == part), "{kind}");
    }
}

#[test]
fn responses_number_their_events() {
    let sim = sim(Kind::Openai);
    let events =
        post(&sim, "/v1/responses", &json!({"model": "m", "input": "hello", "stream": true})).events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (number, (name, value)) in events.iter().enumerate() {
        assert_eq!((&value["type"], &value["sequence_number"]), (&json!(name), &json!(number)));
    }
    let last = &events.last().unwrap().1["response"];
    assert_eq!(last["output"][0], events[9].1["item"]);
    assert_eq!(last["output"][0]["content"][0]["text"], WORDS.concat());
    assert_eq!(last["usage"]["total_tokens"], 5);

    let body = json!({"model": "m", "input": "hello", "stream": true, "max_output_tokens": 1});
    let (name, last) = post(&sim, "/v1/responses", &body).events().pop().unwrap();
    assert_eq!((name.as_str(), &last["response"]["status"]), ("response.incomplete", &json!("incomplete")));
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));

    let body = json!({"model": "m", "input": "a tool", "stream": true, "tools": [{"type": "function", "name": "f"}]});
    let events = post(&sim, "/v1/responses", &body).events();
    assert_eq!(events[2].1["item"]["type"], "function_call");
    assert_eq!(events[3].1["delta"], "{}");
    assert_eq!(events.last().unwrap().1["response"]["output"][0]["arguments"], "{}");
}

#[test]
fn gemini_streams_frames_or_an_array() {
    let sim = sim(Kind::Gemini);
    let body = json!({"contents": [{"parts": [{"text": "hello"}]}]});
    let sse = post(&sim, "/v1beta/models/m:streamGenerateContent?alt=sse", &body);
    assert_eq!(sse.header("content-type"), "text/event-stream");
    let text = sse.text();
    assert!(text.ends_with("\r\n\r\n") && !text.replace("\r\n", "").contains('\n'));
    let frames: Vec<Value> = text
        .split_terminator("\r\n\r\n")
        .map(|frame| masked(serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()))
        .collect();
    let array = post(&sim, "/v1/models/m:streamGenerateContent", &body);
    assert_eq!(array.header("content-type"), "application/json; charset=UTF-8");
    assert_eq!(masked(array.json()), Value::Array(frames.clone()));
    assert_eq!(frames.len(), 4);
    assert_eq!(
        frames[0],
        json!({
            "candidates": [{"content": {"parts": [{"text": WORDS[0]}], "role": "model"}, "index": 0}],
            "usageMetadata": {
                "promptTokenCount": 2, "candidatesTokenCount": 1, "totalTokenCount": 3,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 2}],
            },
            "modelVersion": "m", "responseId": "*",
        })
    );
    assert_eq!(frames[3]["candidates"][0]["finishReason"], "STOP");
    assert_eq!(frames[3]["usageMetadata"]["candidatesTokenCount"], 3);

    let declared =
        json!([{"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]}]);
    let body = json!({"contents": [{"parts": [{"text": "tool"}]}], "tools": declared});
    let parts =
        post(&sim, "/v1beta/models/m:generateContent", &body).json()["candidates"][0]["content"]["parts"]
            .clone();
    assert_eq!(masked(parts[0]["functionCall"].clone()), json!({"id": "*", "name": "f", "args": {}}));
    let body = json!({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 1}});
    let cut = post(&sim, "/v1beta/models/m:generateContent", &body).json();
    assert_eq!(cut["candidates"][0]["finishReason"], "MAX_TOKENS");
}

#[test]
fn ollama_sends_lines_and_counts_in_nanoseconds() {
    let sim = sim(Kind::Ollama);
    let reply = post(&sim, "/api/chat", &say("hello", json!({})));
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = reply.lines().into_iter().map(masked).collect();
    let word = |word: &str| json!({"model": "m", "created_at": "*", "message": {"role": "assistant", "content": word}, "done": false});
    assert_eq!(lines[..3], WORDS.map(word));
    let last = &lines[3];
    assert_eq!(
        (&last["done"], &last["done_reason"], &last["eval_count"]),
        (&json!(true), &json!("stop"), &json!(3))
    );
    assert!(!reply.text().contains("\n\n"));

    let call = post(&sim, "/api/chat", &say("tool", json!({"tools": tools()}))).lines();
    let function = json!([{"id": "*", "function": {"index": 0, "name": "f", "arguments": {"city": "x"}}}]);
    assert_eq!(masked(call[0]["message"]["tool_calls"].clone()), function);
    assert_eq!((&call[1]["done_reason"], call.len()), (&json!("stop"), 2));

    let body = json!({"model": "m", "prompt": "hello", "options": {"num_predict": 2}, "stream": false});
    let whole = post(&sim, "/api/generate", &body).json();
    assert_eq!((&whole["response"], &whole["done_reason"]), (&json!("a ends"), &json!("length")));
}

#[test]
fn ollama_loads_and_unloads() {
    let sim = sim(Kind::Ollama);
    let resident = || rig::get(&sim, "/api/ps").json()["models"].as_array().unwrap().len();
    assert_eq!(resident(), 0);
    let load = post(&sim, "/api/chat", &json!({"model": "m", "messages": [], "stream": false})).json();
    assert_eq!((&load["done_reason"], resident()), (&json!("load"), 1));
    let unload = json!({"model": "m", "keep_alive": 0, "stream": false});
    assert_eq!(post(&sim, "/api/generate", &unload).json()["done_reason"], "unload");
    assert_eq!(resident(), 0);
}

#[test]
fn streamed_and_whole_answers_say_the_same() {
    for kind in Kind::ALL {
        let sim = with(kind, |s: &mut Settings| s.output_tokens = 40);
        let (path, body) = chat(kind, true);
        let streamed = post(&sim, &path, &body).text();
        let (path, body) = chat(kind, false);
        let whole = post(&sim, &path, &body).json();
        let text = [
            "/choices/0/message/content",
            "/content/0/text",
            "/candidates/0/content/parts/0/text",
            "/message/content",
        ]
        .iter()
        .find_map(|pointer| whole.pointer(pointer)?.as_str())
        .unwrap();
        assert_eq!(text.split(' ').count(), 40, "{kind}");
        let mut rest = streamed.as_str();
        for word in text.split(' ') {
            let at = rest.find(word).unwrap_or_else(|| panic!("{kind}: {word:?} is missing"));
            rest = &rest[at + word.len()..];
        }
    }
}
