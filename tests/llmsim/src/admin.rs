//! `/_sim/`: the books, the faults and the pace, for tests in any language.

use http::{Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    fault::{Armed, Fault, Scope},
    flow::{Answer, full},
    server::Server,
    stats::{Seen, Stats},
};

/// The body of `POST /_sim/fault`, for instance `{"fault": {"status": {"code": 429}}, "times": 2}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    fault: Fault,
    #[serde(default)]
    times: Option<u32>,
    #[serde(default)]
    scope: Option<Scope>,
}

/// The body of `POST /_sim/speed`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pace {
    factor: f64,
}

/// Answers a request for `/_sim/` and `path`.
pub(crate) fn answer(server: &Server, method: &Method, path: &str, body: &[u8]) -> Response<Answer> {
    match (method.as_str(), path) {
        ("GET", "stats") => reply(200, &stats(server)),
        ("GET", "fault") => {
            let armed = server.armed();
            reply(
                200,
                &json!({"fault": armed.as_ref().map(|a| &a.fault), "times": armed.as_ref().map(|a| a.times)}),
            )
        }
        ("POST", "fault") => match serde_json::from_slice::<Arm>(body) {
            Ok(Arm { fault, times, scope }) => {
                let scope = scope.unwrap_or(fault.scope());
                server.arm(Some(Armed { fault, scope, times }));
                reply(200, &json!({}))
            }
            Err(error) => reply(400, &json!({"error": error.to_string()})),
        },
        ("DELETE", "fault") => {
            server.arm(None);
            reply(200, &json!({}))
        }
        ("POST", "speed") => match serde_json::from_slice::<Pace>(body) {
            Ok(Pace { factor }) => {
                server.engine.set_speed(factor);
                reply(200, &json!({}))
            }
            Err(error) => reply(400, &json!({"error": error.to_string()})),
        },
        ("POST", "restart") => {
            server.engine.memory.restart();
            reply(200, &json!({}))
        }
        _ => {
            let there = "there are GET stats, GET, POST and DELETE fault, POST speed and POST restart";
            reply(404, &json!({"error": there}))
        }
    }
}

fn stats(server: &Server) -> Value {
    let stats: Stats = server.record.stats();
    json!({
        "name": server.settings.name, "kind": server.settings.kind.name(), "slots": server.settings.slots,
        "running": stats.running, "peak": stats.peak, "busy": stats.busy, "accepted": stats.accepted,
        "finished": stats.finished, "aborted": stats.aborted, "failed": stats.failed,
        "refused": stats.refused, "prompt_tokens": stats.prompt_tokens, "output_tokens": stats.output_tokens,
        "cached_tokens": stats.cached_tokens, "loads": stats.loads, "evictions": stats.evictions,
        "killed": stats.killed,
        "listening": stats.listening, "dropped": stats.dropped, "connections": stats.connections,
        "connected": stats.connected,
        "requests": stats.requests.iter().map(seen).collect::<Vec<_>>(),
        "others": stats.others.iter().map(seen).collect::<Vec<_>>(),
    })
}

fn seen(seen: &Seen) -> Value {
    json!({
        "path": seen.path, "model": seen.model, "headers": seen.headers,
        "body": String::from_utf8_lossy(&seen.body), "start_us": seen.start_us, "end_us": seen.end_us,
        "aborted": seen.aborted, "prompt_tokens": seen.prompt_tokens, "cached_tokens": seen.cached_tokens,
    })
}

fn reply(status: u16, value: &Value) -> Response<Answer> {
    full(status, "application/json", value.to_string())
}
