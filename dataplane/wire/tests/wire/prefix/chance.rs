//! Conversations and hands by chance.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::talk::{Hand, Talk, Tool, Turn};

/// Texts, empty and long ones among them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => ".{0,40}",
        1 => Just(String::new()),
        2 => "[a-z/é🦙\\n\"]{0,9}".prop_map(|part| part.repeat(700)),
        1 => Just("\\u0041 \\\\ \u{0} \u{7f} \u{fffd} 🦙".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(1.5e-7)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-zé\" ]{1,5}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-z_]{1,8}", value(), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn tool() -> impl Strategy<Value = Tool> {
    ("[a-z_]{1,12}", text(), "[a-z]{1,6}").prop_map(|(name, description, member)| Tool {
        name,
        description,
        schema: json!({ "type": "object", "properties": { member: { "type": "string" } } }),
    })
}

/// A question, an answer with its calls, their results, and so on; it ends where the assistant is asked.
pub fn talk() -> impl Strategy<Value = Talk> {
    let picture = "[A-Za-z0-9+/]{8,40}".prop_map(|data| format!("iVBORw0KGgo{data}"));
    let user = (".{1,20}", text(), prop::collection::vec(picture, 0..3))
        .prop_map(|(start, text, pictures)| Turn::User { text: start + &text, pictures });
    let call = ("[a-z_]{1,8}", object());
    let step = (text(), ".{1,20}", text(), prop::collection::vec((call, text()), 0..4));
    let round = (user, prop::collection::vec(step, 1..3));
    let rounds = prop::collection::vec(round, 1..4);
    (prop::option::of(".{1,30}"), prop::collection::vec(tool(), 0..3), rounds).prop_map(
        |(system, tools, rounds)| {
            let mut turns = Vec::new();
            for (user, steps) in rounds {
                turns.push(user);
                for (thought, start, text, calls) in steps {
                    let last = calls.is_empty();
                    let (calls, results): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
                    turns.push(Turn::Assistant { thought, text: start + &text, calls });
                    if last {
                        break;
                    }
                    turns.push(Turn::Results(results));
                }
            }
            Talk { system: system.into_iter().collect(), tools, turns }
        },
    )
}

pub fn hand() -> impl Strategy<Value = Hand> {
    (any::<[bool; 4]>(), 0..1000_u64).prop_map(|([reversed, escaped, spaced, listed], marks)| Hand {
        reversed,
        escaped,
        spaced,
        listed,
        marks,
    })
}
