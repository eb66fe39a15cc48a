//! What a data plane tells of requests, as text for people.

use serde_json::Value;

use super::{plain, table};

/// The width of a column of `tail`, and its heading.
const COLUMNS: [(&str, usize); 9] = [
    ("TIME (UTC)", 12),
    ("REQUEST", 20),
    ("ASKED", 20),
    ("BACKEND", 14),
    ("ENDED", 15),
    ("QUEUED", 8),
    ("FIRST", 8),
    ("TOTAL", 8),
    ("TOKENS IN (CACHED) OUT", 0),
];

/// The headings of `line`.
pub fn heading() -> String {
    columns(COLUMNS.map(|(heading, _)| heading.to_owned()))
}

/// One request that ended, or how many were missed.
pub fn line(told: &Value) -> String {
    if let Some(lost) = told["lost"].as_u64() {
        return format!("({lost} requests were told faster than they could be shown)\n");
    }
    let tokens =
        match (count(told, "prompt_tokens"), count(told, "cached_tokens"), count(told, "output_tokens")) {
            (None, None, None) => String::new(),
            (prompt, None, output) => format!("{} {}", or_dash(prompt), or_dash(output)),
            (prompt, cached, output) => {
                format!("{} ({}) {}", or_dash(prompt), or_dash(cached), or_dash(output))
            }
        };
    let ended = match told["status"].as_u64() {
        Some(status) => format!("{} {status}", text(told, "state")),
        None => text(told, "state"),
    };
    columns([
        clock(told["at_ms"].as_u64().unwrap_or_default()),
        text(told, "id"),
        text(told, "asked"),
        text(told, "backend"),
        ended,
        time(told, "queued_ms"),
        time(told, "first_token_ms"),
        time(told, "total_ms"),
        tokens,
    ])
}

fn columns(cells: [String; COLUMNS.len()]) -> String {
    let padded = cells.iter().zip(COLUMNS).map(|(cell, (_, width))| format!("{:width$}", plain(cell)));
    format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
}

/// All that is known of one request.
pub fn explain(told: &Value) -> String {
    let status = told["status"].as_u64().map_or(String::new(), |status| format!(", status {status}"));
    let mut said = format!("request {}: {}{status}\n", text(told, "id"), text(told, "state"));
    let estimated = told["prompt_tokens_estimated"].as_u64().unwrap_or_default();
    said += &format!(
        "{} for {}, a prompt of about {estimated} tokens, at {} UTC\n",
        text(told, "operation"),
        text(told, "asked"),
        clock(told["at_ms"].as_u64().unwrap_or_default())
    );
    let first = told["first_token_ms"].as_f64();
    let times = [
        first.map(|_| format!("first token after {}", time(told, "first_token_ms"))),
        told["total_ms"].as_f64().map(|_| format!("ended after {}", time(told, "total_ms"))),
        count(told, "prompt_tokens").map(|tokens| match count(told, "cached_tokens") {
            Some(cached) => format!("{tokens} tokens in, {cached} of them cached"),
            None => format!("{tokens} tokens in"),
        }),
        count(told, "output_tokens").map(|tokens| format!("{tokens} out")),
    ];
    let times: Vec<String> = times.into_iter().flatten().collect();
    if !times.is_empty() {
        said += &format!("{}\n", times.join(", "));
    }
    for start in list(told, "starts") {
        said += &story(&start["story"]);
        said += &format!(
            "\nafter {} it had a slot of {} as {}\n",
            time(start, "after_ms"),
            text(start, "backend"),
            text(start, "model")
        );
        if start["story"].is_null() {
            said += "(nothing to weigh: one candidate, and nothing of its prompt to be found there)\n";
        }
    }
    said + &story(&told["waited"])
}

fn story(told: &Value) -> String {
    let mut said = String::new();
    if !told.is_null() {
        said += &format!("\nby policy {}:\n", text(told, "policy"));
    }
    for look in list(told, "looks") {
        let spans = |key: &str| look[key].as_f64().unwrap_or_default();
        let times = match look["looks"].as_u64() {
            Some(looks) if spans("until_ms") - spans("after_ms") >= 1.0 => {
                format!(" to {} ({looks} looks)", time(look, "until_ms"))
            }
            _ => String::new(),
        };
        let came = match (look["came_to"].as_str(), look["backend"].as_str()) {
            (Some("start"), Some(backend)) => format!("starts on {}", plain(backend)),
            (_, Some(backend)) => format!("waits for {}", plain(backend)),
            _ => "waits".to_owned(),
        };
        said += &format!("\nat {}{times} it {came}: {}\n", time(look, "after_ms"), text(look, "why"));
        if let (Some(saves), Some(most)) = (look["saves_s"].as_f64(), look["at_most_s"].as_f64()) {
            said += &format!("that saves {saves:.2} s; it waits for {most:.2} s at most\n");
        }
        said += &candidates(list(look, "candidates"));
        if let Some(more) = look["candidates_left_out"].as_u64().filter(|more| *more > 0) {
            said += &format!("  and {more} more\n");
        }
    }
    if let Some(more) = told["looks_left_out"].as_u64().filter(|more| *more > 0) {
        said += &format!("{more} looks in between are left out\n");
    }
    said
}

/// The terms in seconds. A column that has nothing but zeros is left out.
fn candidates(rows: &[Value]) -> String {
    let terms = [
        ("COST", "cost"),
        ("WAIT", "wait"),
        ("LOAD", "load"),
        ("READ", "prefill"),
        ("SHARE", "share"),
        ("EVICTS", "eviction"),
        ("SLOWS", "interference"),
        ("BALANCE", "balance"),
        ("PRIORITY", "favour"),
    ];
    let weighed = rows.iter().any(|row| row["terms"].is_object());
    let used = |key: &str| rows.iter().any(|row| row["terms"][key].as_f64().is_some_and(|term| term != 0.0));
    let terms: Vec<_> = terms.into_iter().filter(|(_, key)| used(key) || weighed && *key == "cost").collect();
    let mut headings = vec!["  BACKEND", "SLOT"];
    headings.extend(terms.iter().map(|(heading, _)| heading));
    if weighed {
        headings.extend(["CACHED", "TO READ", "TOKENS/S"]);
    }
    let row = |row: &Value| {
        let slot = match row["slot"].as_str() {
            Some("none") => text(row, "why"),
            Some(slot) if row["order"].is_object() => {
                let order = &row["order"];
                let priority = order["priority"].as_i64().unwrap_or_default();
                format!("{slot}, {} of {}, priority {priority}", order["vacant"], order["slots"])
            }
            slot => slot.unwrap_or_default().to_owned(),
        };
        let own = &row["terms"];
        let seconds =
            |(_, key): &(&str, &str)| own[key].as_f64().map_or(String::new(), |s| format!("{s:.3}"));
        let mut cells = vec![format!("  {}", text(row, "backend")), slot];
        cells.extend(terms.iter().map(seconds));
        if weighed {
            let tokens = ["cached_tokens", "uncached_tokens", "tokens_per_s"];
            cells.extend(tokens.map(|key| own[key].as_f64().map_or(String::new(), |n| format!("{n:.0}"))));
        }
        cells
    };
    table(&headings, rows.iter().map(row).collect())
}

fn list<'a>(told: &'a Value, key: &str) -> &'a [Value] {
    told[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(told: &Value, key: &str) -> String {
    plain(told[key].as_str().filter(|text| !text.is_empty()).unwrap_or("-"))
}

fn count(told: &Value, key: &str) -> Option<u64> {
    told[key].as_u64()
}

fn or_dash(count: Option<u64>) -> String {
    count.map_or("-".to_owned(), |count| count.to_string())
}

/// Milliseconds, as few digits as say enough.
fn time(told: &Value, key: &str) -> String {
    match told[key].as_f64() {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 1_000.0 => format!("{ms:.0} ms"),
        Some(ms) if ms < 100_000.0 => format!("{:.2} s", ms / 1e3),
        Some(ms) => format!("{:.0} s", ms / 1e3),
    }
}

/// The time of day in UTC.
fn clock(epoch_ms: u64) -> String {
    let (seconds, ms) = (epoch_ms / 1_000 % 86_400, epoch_ms % 1_000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
