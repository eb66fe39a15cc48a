//! Notes as JSON: a line for one who listens, all that is known for one who asks.

use std::time::Duration;

use sched::{BackendId, Bar, Look, Moment, Policy, Reason, Row, Seat, Span, Story, Terms, Verdict};
use serde_json::{Value, json};

use super::{Ending, Facts, Note, Start, epoch_ms};
use crate::config::Snapshot;

/// A request that ended, as a line with its end.
#[must_use]
pub fn line(note: &Note, id: &str) -> String {
    let facts = note.facts();
    let mut line = brief(note, &facts, id);
    if let Some(start) = facts.starts.last() {
        line["backend"] = json!(&*start.backend);
        line["model"] = json!(&*start.model);
        line["queued_ms"] = millis(facts.starts[0].after);
        line["tries"] = json!(facts.starts.len());
    }
    format!("{line}\n")
}

/// All that is known of a request. `waiting` is how it stands in the queue, where it does.
#[must_use]
pub fn whole(note: &Note, id: &str, waiting: Option<Story>, snapshot: &Snapshot) -> Value {
    let facts = note.facts();
    let mut whole = brief(note, &facts, id);
    let started = |start: &Start| {
        json!({
            "backend": &*start.backend,
            "model": &*start.model,
            "after_ms": millis(start.after),
            "story": start.story.as_deref().map(|told| story(told, snapshot)),
        })
    };
    whole["prompt_tokens_estimated"] = json!(note.prompt_tokens);
    whole["starts"] = facts.starts.iter().map(started).collect();
    if let Some(told) = waiting.as_ref().or(facts.refused.as_deref()) {
        whole["waited"] = story(told, snapshot);
    }
    whole
}

fn brief(note: &Note, facts: &Facts, id: &str) -> Value {
    let state = match facts.ending {
        Some((Ending::Answered, ..)) => "answered",
        Some((Ending::Refused, ..)) => "refused",
        Some((Ending::Failed, ..)) => "failed",
        Some((Ending::Cut, ..)) => "cut off",
        Some((Ending::Left, ..)) => "client left",
        None if facts.starts.is_empty() => "waiting",
        None => "running",
    };
    json!({
        "id": id,
        "at_ms": epoch_ms(note.arrival),
        "operation": note.operation,
        "asked": note.asked.text(),
        "state": state,
        "status": facts.ending.map(|(_, status, _)| status).filter(|status| *status > 0),
        "first_token_ms": facts.first.map(millis),
        "total_ms": facts.ending.map(|(_, _, end)| millis(end - note.arrival)),
        "prompt_tokens": facts.tokens.prompt,
        "cached_tokens": facts.tokens.cached,
        "output_tokens": facts.tokens.output,
    })
}

fn story(story: &Story, snapshot: &Snapshot) -> Value {
    let told = |look: &Look| look_at(look, story.arrived, snapshot);
    json!({
        "policy": policy(story.policy),
        "tokens": story.tokens,
        "looks": story.looks.iter().map(told).collect::<Vec<_>>(),
        "looks_left_out": story.more,
    })
}

fn look_at(look: &Look, arrived: Moment, snapshot: &Snapshot) -> Value {
    let name = |id: BackendId| backend(id, snapshot);
    let (came, backend, why) = match look.verdict {
        Verdict::Start { backend, reason, .. } => ("start", Some(name(backend)), reason_of(reason)),
        Verdict::Await { backend, .. } => ("wait", Some(name(backend)), "its busy slot is worth waiting for"),
        Verdict::Kept => ("wait", None, "the free slots are kept for conversations that will be back"),
        Verdict::Full => ("wait", None, "no slot is free for it"),
    };
    let mut told = json!({
        "after_ms": micros(look.since - arrived),
        "until_ms": micros(look.at - arrived),
        "looks": look.looks,
        "came_to": came,
        "backend": backend,
        "why": why,
        "candidates": look.rows.iter().map(|row| candidate(row, snapshot)).collect::<Vec<_>>(),
        "candidates_left_out": look.more,
    });
    if let Verdict::Await { saves, at_most, .. } = look.verdict {
        told["saves_s"] = json!(saves);
        told["at_most_s"] = json!(at_most.secs());
    }
    told
}

fn candidate(row: &Row, snapshot: &Snapshot) -> Value {
    let mut told = json!({ "backend": backend(row.backend, snapshot), "model": model(row, snapshot) });
    match row.seat {
        Seat::Free(terms) => {
            told["slot"] = json!("free");
            told["terms"] = terms_of(&terms);
        }
        Seat::Busy(terms) => {
            told["slot"] = json!("busy");
            told["terms"] = terms_of(&terms);
        }
        Seat::Open { vacant, slots, priority } => {
            told["slot"] = json!("free");
            told["order"] = json!({ "vacant": vacant, "slots": slots, "priority": priority });
        }
        Seat::None(why) => {
            told["slot"] = json!("none");
            told["why"] = json!(bar(why));
        }
    }
    told
}

/// In seconds, tokens, and tokens a second.
fn terms_of(terms: &Terms) -> Value {
    json!({
        "cost": terms.cost(),
        "wait": terms.wait,
        "load": terms.load,
        "prefill": terms.prefill,
        "share": terms.share,
        "eviction": terms.eviction,
        "interference": terms.interference,
        "balance": terms.balance,
        "favour": terms.favour,
        "cached_tokens": terms.cached,
        "uncached_tokens": terms.uncached,
        "tokens_per_s": terms.rate,
    })
}

fn backend(id: BackendId, snapshot: &Snapshot) -> String {
    snapshot.backend(id).map_or_else(|| format!("#{}, which is gone", id.0), |found| found.name.to_string())
}

/// The model's name there, which the core knows as a number.
fn model(row: &Row, snapshot: &Snapshot) -> Option<String> {
    let numbered = |name: &str| crate::route::number(name) == row.model;
    let models = &snapshot.backend(row.backend)?.models;
    models.iter().find(|model| numbered(&model.name)).map(|model| model.name.to_string())
}

const fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::CacheAffine => "cache-affine",
        Policy::Priority => "priority",
        Policy::RoundRobin => "round-robin",
        Policy::Weighted => "weighted",
        Policy::LeastBusy => "least-busy",
        Policy::LowestLatency => "lowest-latency",
        Policy::TokenAware => "token-aware",
        Policy::LongWaits => "long-waits",
    }
}

const fn reason_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Cheapest => "it costs least, and no busy slot is worth waiting for",
        Reason::Waited => "it waited for a better one as long as that was worth",
        Reason::Old => "it has waited so long that it takes the first that is free",
        Reason::Pressed => "its deadline is near, or nobody else may wait",
        Reason::Order => "it is the first in the order of the policy",
    }
}

const fn bar(bar: Bar) -> &'static str {
    match bar {
        Bar::Gone => "gone",
        Bar::Tried => "failed on this request",
        Bar::TooLong => "the prompt is too long for it",
        Bar::Draining => "draining",
        Bar::Down => "down",
        Bar::Resting => "rests after failures",
        Bar::OnTrial => "on trial with another request",
        Bar::InReserve => "in reserve while others can take it",
        Bar::Full => "no free slot",
        Bar::OtherModel => "its memory is for other models now",
        Bar::LoadsElsewhere => "the model is being loaded elsewhere",
        Bar::Kept => "kept for a conversation that will be back",
        Bar::NeverSeen => "has not seen this prompt",
    }
}

fn millis(span: Duration) -> Value {
    json!(span.as_micros() as f64 / 1e3)
}

fn micros(span: Span) -> f64 {
    span.0 as f64 / 1e3
}
