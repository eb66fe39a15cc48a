//! What a replay came to, as text for people.

use serde_json::{Value, json};
use tape::{Account, Compared, Difference, End, Replayed};

use super::table;

/// All was decided as before.
pub fn identical(replayed: &Replayed) -> String {
    let Replayed { events, decisions, end, .. } = replayed;
    let end = match end {
        Some(End::Stopped) => "",
        Some(End::Full) => "\nThe tape ends there because it was full.",
        Some(End::Behind) => {
            "\nThe tape ends there because it could not be written as fast as things happened."
        }
        Some(End::TooLong) => "\nThe tape ends there because a record was too long.",
        None => "\nThe tape has no end: its data plane still runs, or was killed.",
    };
    format!("{events} events, {decisions} decisions: identical{end}\n")
}

/// Where it was decided otherwise.
pub fn difference(difference: &Difference, software: &str) -> String {
    let Difference { line, at, recorded, replayed } = difference;
    let said = |decisions: &[_]| match decisions {
        [] => "nothing".to_owned(),
        decisions => format!("{decisions:?}"),
    };
    format!(
        "line {line}, {:.6} s after the start: the core decides otherwise than it did (recorded by version {software})\n  \
         recorded: {}\n  replayed: {}",
        at.0 as f64 / 1e6,
        said(recorded),
        said(replayed)
    )
}

/// How another rule fares.
pub fn compared(compared: &Compared, file: &str) -> String {
    let Compared { requests, recorded, other, elsewhere } = compared;
    let row = |what: &str, of: &dyn Fn(&Account) -> String| vec![what.to_owned(), of(recorded), of(other)];
    let mut rows = vec![
        row("started", &|account| account.started.to_string()),
        row("refused", &|account| account.refused.to_string()),
        row("mean wait for a slot", &|account| seconds(account.waited, account.started)),
        row("first token from there, as expected", &|account| seconds(account.expected, account.started)),
        row("both", &|account| seconds(account.waited + account.expected, account.started)),
        row("of the prompts expected to be cached", &|account| share(account.cached, account.tokens)),
    ];
    let backends: std::collections::BTreeSet<&String> =
        recorded.backends.keys().chain(other.backends.keys()).collect();
    for backend in backends {
        let starts = |account: &Account| account.backends.get(backend).copied().unwrap_or_default();
        rows.push(row(&format!("starts on {backend}"), &|account| starts(account).to_string()));
    }
    format!(
        "{requests} requests, {elsewhere} of them first start on another backend.\n\
         Arrivals, changes of the fleet and clients that left are as recorded, and each request holds its slot for as\n\
         long as it did: what a warmer or colder cache changes about that is in the expected first token alone.\n\n{}",
        table(&["", "RECORDED", &format!("BY {file}")], rows)
    )
}

/// The same for programs: seconds and tokens are sums.
pub fn as_json(compared: &Compared) -> Value {
    let account = |account: &Account| {
        json!({
            "started": account.started,
            "refused": account.refused,
            "waited_s": account.waited,
            "expected_first_token_s": account.expected,
            "cached_tokens": account.cached,
            "prompt_tokens": account.tokens,
            "starts": account.backends,
        })
    };
    json!({
        "requests": compared.requests,
        "elsewhere": compared.elsewhere,
        "recorded": account(&compared.recorded),
        "other": account(&compared.other),
    })
}

fn seconds(sum: f64, count: u64) -> String {
    if count == 0 { "-".to_owned() } else { format!("{:.3} s", sum / count as f64) }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}
