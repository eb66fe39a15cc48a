//! Blocks of prompts: one conversation has the same in all dialects, and another has others.

mod chance;
mod edge;
mod talk;
mod vectors;

use proptest::prelude::*;
use serde_json::json;
use wire::estimate::MEDIA_TOKENS;
use wire::{Block, Operation, blocks, read};

use crate::hostile::config;
use chance::{hand, talk};
use talk::{DIALECTS, Hand, Talk, Tool, Turn};

const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAA";

pub(crate) fn of(operation: Operation, body: &[u8], salt: u64) -> Vec<Block> {
    let mut out = Vec::new();
    blocks(operation, body, salt, &mut out);
    if let Ok(ask) = read(operation, Some("m"), body) {
        let mut again = Vec::new();
        ask.blocks(operation, wire::text(body).unwrap(), salt, &mut again);
        assert_eq!(out, again, "two ways, two answers");
    }
    out
}

fn chat(body: &str) -> Vec<Block> {
    of(Operation::Chat, body.as_bytes(), 0)
}

/// The blocks of the messages given as JSON.
fn messages(messages: &str) -> Vec<Block> {
    chat(&format!(r#"{{"model":"m","messages":[{messages}]}}"#))
}

fn common(one: &[Block], other: &[Block]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one.hash == other.hash).count()
}

fn user(text: &str) -> Turn {
    Turn::User { text: text.to_owned(), pictures: Vec::new() }
}

fn assistant(text: &str, calls: &[(&str, serde_json::Value)]) -> Turn {
    let calls = calls.iter().map(|(name, arguments)| ((*name).to_owned(), arguments.clone())).collect();
    Turn::Assistant { thought: "hm".to_owned(), text: text.to_owned(), calls }
}

fn talks() -> Vec<(&'static str, Talk, Vec<bool>)> {
    let schema =
        json!({ "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"] });
    let tool =
        |name: &str| Tool { name: name.to_owned(), description: "Reads.".to_owned(), schema: schema.clone() };
    let system = vec!["Be brief.".to_owned()];
    let call = ("read", json!({ "path": "src/größe.rs", "n": [1, -2.5e3, null, true], "o": {} }));
    let results = Turn::Results(vec!["fn main() {}\n".to_owned(), String::new()]);
    let seen = Turn::User {
        text: "And this?".to_owned(),
        pictures: vec![PICTURE.to_owned(), "/9j/4AAQ+/+/".to_owned()],
    };
    let plain =
        Talk { turns: vec![user("Grüße 🦙"), assistant("Hi.", &[]), user("And?")], ..Talk::default() };
    let one = Talk { system: system.clone(), turns: vec![user("Hello")], ..Talk::default() };
    let turns = vec![
        user("Look."),
        assistant("So.", &[call.clone(), call]),
        results,
        seen,
        assistant("Done.", &[]),
        user("Thanks"),
    ];
    let long = Talk { system, tools: vec![tool("read"), tool("list")], turns };
    vec![
        ("plain", plain, vec![false, true, false]),
        ("system", one, vec![false, false]),
        // System, tools, user, assistant with calls, two results, text and two pictures, assistant, user.
        ("tools", long, [&[false; 3][..], &[true], &[false; 5], &[true], &[false]].concat()),
    ]
}

#[test]
fn one_conversation_has_the_same_blocks_in_all_dialects() {
    for (name, talk, own) in talks() {
        let expected = of(Operation::Chat, &talk.body(Operation::Chat, Hand::default()), 7);
        assert_eq!(expected.iter().map(|block| block.own).collect::<Vec<_>>(), own, "{name}");
        for operation in DIALECTS {
            let body = talk.body(operation, Hand { marks: 5, ..Hand::default() });
            assert_eq!(
                of(operation, &body, 7),
                expected,
                "{name} {operation:?} {}",
                String::from_utf8_lossy(&body)
            );
        }
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn no_hand_and_no_dialect_changes_a_block(talk in talk(), one in hand(), other in hand(), salt: u64) {
        let expected = of(Operation::Chat, &talk.body(Operation::Chat, one), salt);
        prop_assert!(!expected.is_empty());
        for operation in DIALECTS {
            let body = talk.body(operation, other);
            prop_assert_eq!(&of(operation, &body, salt), &expected, "{:?} {}", operation, String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn a_turn_begins_with_the_turns_before(talk in talk(), hands in prop::collection::vec(hand(), 16), dialects in prop::collection::vec(0..DIALECTS.len(), 16)) {
        let mut before: Vec<Block> = Vec::new();
        let ends = (1..=talk.turns.len()).filter(|&end| !matches!(talk.turns[end - 1], Turn::Assistant { .. }));
        for (round, end) in ends.enumerate() {
            let now = Talk { turns: talk.turns[..end].to_vec(), ..talk.clone() };
            let operation = DIALECTS[dialects[round % 16]];
            let now = of(operation, &now.body(operation, hands[round % 16]), 1);
            prop_assert!(now.len() > before.len() && now.starts_with(&before), "{} {:?}", round, operation);
            before = now;
        }
    }

    #[test]
    fn a_changed_byte_changes_what_follows_and_nothing_before(talk in talk(), at in any::<prop::sample::Index>(), by in any::<prop::sample::Index>()) {
        let mut changed = talk.clone();
        let index = at.index(changed.turns.len());
        let turn = &mut changed.turns[index];
        let text = match turn {
            Turn::User { text, .. } | Turn::Assistant { text, .. } => text,
            Turn::Results(results) => &mut results[0],
        };
        let cut = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect::<Vec<_>>();
        text.insert(cut[by.index(cut.len())], 'x');
        for operation in DIALECTS {
            let [one, other] = [&talk, &changed].map(|talk| of(operation, &talk.body(operation, Hand::default()), 1));
            let same = common(&one, &other);
            let untouched = Talk { turns: talk.turns[..index].to_vec(), ..talk.clone() };
            let untouched = of(operation, &untouched.body(operation, Hand::default()), 1).len();
            prop_assert!(same >= untouched && same < one.len().max(other.len()), "{} of {}, {} before", same, one.len(), untouched);
            prop_assert!(one[same..].iter().all(|block| other.iter().all(|other| other.hash != block.hash)));
        }
    }

    #[test]
    fn salts_have_nothing_in_common(talk in talk(), one: u64, other: u64) {
        prop_assume!(one != other);
        let body = talk.body(Operation::Chat, Hand::default());
        let [one, other] = [one, other].map(|salt| of(Operation::Chat, &body, salt));
        prop_assert_eq!(one.len(), other.len());
        prop_assert!(one.iter().all(|block| other.iter().all(|other| other.hash != block.hash)));
    }

    #[test]
    fn a_torn_body_never_panics_and_gives_the_start(talk in talk(), hand in hand(), at in any::<prop::sample::Index>()) {
        let talk = Talk { system: Vec::new(), tools: Vec::new(), ..talk };
        for operation in DIALECTS {
            let body = talk.body(operation, hand);
            let whole = of(operation, &body, 1);
            let torn = of(operation, &body[..at.index(body.len())], 1);
            prop_assert!(torn.len() <= whole.len() && common(&torn, &whole) == torn.len());
        }
    }

    #[test]
    fn tokens_are_those_of_the_reader(talk in talk()) {
        // The reader weighs reasoning too, and arguments with the escapes in them.
        let mut talk = talk;
        for turn in &mut talk.turns {
            if let Turn::Assistant { thought, calls, .. } = turn {
                thought.clear();
                calls.iter_mut().for_each(|(_, arguments)| *arguments = json!({ "path": "src" }));
            }
        }
        talk.tools.iter_mut().for_each(|tool| tool.description = "Does.".repeat(tool.description.len() / 5));
        for operation in DIALECTS {
            let body = talk.body(operation, Hand::default());
            let ask = read(operation, Some("m"), &body).unwrap();
            let sum: u32 = of(operation, &body, 1).iter().map(|block| block.tokens).sum();
            let off = sum.abs_diff(ask.prompt_tokens);
            // Names of members of definitions are counted by the reader alone.
            let slack = 20 * (1 + talk.tools.len() + talk.turns.len());
            prop_assert!(off as usize <= slack, "{:?}: {} of {}", operation, sum, ask.prompt_tokens);
        }
    }
}

#[test]
fn what_is_no_content_changes_nothing() {
    let expected = messages(r#"{"role":"user","content":"hi"}"#);
    assert_eq!(expected.len(), 1);
    let same = [
        r#"{"content":"hi","role":"user"}"#,
        r#"{"role":"user","content":[{"type":"text","text":"hi"}]}"#,
        r#"{"role":"user","content":["hi"]}"#,
        r#"{"role":"user","name":"Ada","id":"msg_1","content":[{"text":"h\u0069","type":"text","cache_control":{"type":"ephemeral"}}]}"#,
        r#"{"role":"assistant","content":null},{"role":"user","content":"hi"}"#,
        r#"{"role":"system","content":""},{"role":"user","content":"hi"},{"role":"assistant","content":"","reasoning_content":"hm"}"#,
        r#"{"role":"user","content":[]},{"content":[{"type":"text","text":""},{"type":"text","text":"hi"}]}"#,
        r#"{"role":"user","content":"no","content":"hi"}"#,
    ];
    for other in same {
        assert_eq!(messages(other), expected, "{other}");
    }
    let options = [
        r#"{"model":"a","temperature":1,"stream":true,"stream_options":{"include_usage":true},"user":"u","messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"messages":[{"role":"user","content":"hi"}],"tools":[],"functions":null,"tool_choice":"auto","model":"b"}"#,
        r#"{"model":"m","instructions":null,"input":"hi"}"#,
    ];
    for body in options {
        assert_eq!(chat(body), expected, "{body}");
    }
}

#[test]
fn neighbours_of_one_role_are_one_message_or_two() {
    let two = |one: &str, other: &str| messages(&format!("{one},{other}"));
    let parts = r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#;
    for role in ["user", "assistant"] {
        let text = |text: &str| format!(r#"{{"role":"{role}","content":"{text}"}}"#);
        let apart = two(&text("a"), &text("b"));
        assert_eq!(apart, messages(&format!(r#"{{"role":"{role}","content":{parts}}}"#)));
        assert_eq!(apart.len(), if role == "user" { 2 } else { 1 });
        assert_ne!(apart, messages(&text("ab")));
    }
    let tool = |text: &str| format!(r#"{{"role":"tool","content":"{text}"}}"#);
    assert_ne!(two(&tool("a"), &tool("b")), messages(&format!(r#"{{"role":"tool","content":{parts}}}"#)));
}

#[test]
fn different_splits_never_collide() {
    let different = [
        r#"{"role":"user","content":"ab"}"#,
        r#"{"role":"user","content":["a","b"]}"#,
        r#"{"role":"user","content":"a"},{"role":"assistant","content":"b"}"#,
        r#"{"role":"assistant","content":"ab"}"#,
        r#"{"role":"system","content":"ab"}"#,
        r#"{"role":"tool","content":"ab"}"#,
        r#"{"role":"tool","content":["a","b"]}"#,
        r#"{"role":"tool","content":"a"},{"role":"tool","content":"b"}"#,
        r#"{"role":"critic","content":"ab"}"#,
        r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"ab"}}]}"#,
        r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,ab"}}]}"#,
        r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,ab"}}]}"#,
        r#"{"role":"user","content":[{"type":"new","ab":1}]}"#,
        r#"{"role":"user","content":"ÿab"}"#,
        r#"{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":"b"}}]}"#,
        r#"{"role":"assistant","tool_calls":[{"function":{"name":"ab"}}]}"#,
        r#"{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":"{\"b\":1}"}}]}"#,
        r#"{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":"{\"b\":\"1\"}"}}]}"#,
        r#"{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":"[\"b\",1]"}}]}"#,
        r#"{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":"[\"b\",[1]]"}}]}"#,
    ];
    let all: Vec<_> = different.iter().map(|one| messages(one).last().map(|block| block.hash)).collect();
    for (at, hash) in all.iter().enumerate() {
        assert!(hash.is_some(), "{}", different[at]);
        assert_eq!(all.iter().position(|other| other == hash), Some(at), "{}", different[at]);
    }
}

#[test]
fn arguments_are_read_whatever_holds_them() {
    let call = |arguments: &str| {
        messages(&format!(
            r#"{{"role":"assistant","tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]}}"#
        ))
    };
    let expected = call(r#"{"a":"ü\n\"","b":[1,{}]}"#);
    for same in
        [r#""{\"a\":\"ü\\n\\\"\",\"b\":[1,{}]}""#, r#""{ \"a\" : \"\\u00fc\\n\\u0022\" ,\n\"b\":[1,{ }]}""#]
    {
        assert_eq!(call(same), expected, "{same}");
    }
    let none = call("{}");
    for same in ["null", "\"\"", "\" \"", "\"{}\"", "\"\\n{ }\""] {
        assert_eq!(call(same), none, "{same}");
    }
    // What is no JSON stands for itself.
    for odd in [r#""{\"a\":""#, r#""{} {}""#, r#""a""#, r#"["a"]"#] {
        assert!(call(odd) != none && call(odd) == call(odd) && call(odd).len() == 1, "{odd}");
    }
    // The older form, and a call as an item.
    let older =
        messages(r#"{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}}"#);
    let item = of(
        Operation::Responses,
        br#"{"model":"m","input":[{"type":"function_call","name":"f","arguments":"{}"}]}"#,
        0,
    );
    assert_eq!((older, item), (none.clone(), none));
    let custom = of(
        Operation::Responses,
        br#"{"model":"m","input":[{"type":"custom_tool_call","name":"f","input":"x"}]}"#,
        0,
    );
    assert_eq!(custom, call(r#"{"input":"x"}"#));
}

#[test]
fn results_of_tools() {
    let text = messages(r#"{"role":"tool","tool_call_id":"c","content":"{\"t\":20}"}"#);
    let gemini = |response: &str| {
        let body = format!(
            r#"{{"contents":[{{"role":"user","parts":[{{"functionResponse":{{"name":"f","response":{response}}}}}]}}]}}"#
        );
        of(Operation::GenerateContent, body.as_bytes(), 0)
    };
    for same in
        [r#"{"t": 20}"#, r#"{"output":"{\"t\":20}"}"#, r#"{"result":{"t":20}}"#, r#"{"error":"{\"t\":20}"}"#]
    {
        assert_eq!(gemini(same), text, "{same}");
    }
    assert_ne!(gemini(r#"{"output":{"t":20},"more":1}"#), text);
    let picture = messages(&format!(
        r#"{{"role":"tool","content":[{{"type":"text","text":"a"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{PICTURE}"}}}}]}}"#
    ));
    let anthropic = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"tool_result","content":[{{"type":"text","text":"a"}},{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{PICTURE}"}}}}]}}]}}]}}"#
    );
    assert_eq!(of(Operation::Messages, anthropic.as_bytes(), 0), picture);
    assert_eq!(picture.len(), 1);
    assert_eq!(u64::from(picture[0].tokens), MEDIA_TOKENS + 1);
}
