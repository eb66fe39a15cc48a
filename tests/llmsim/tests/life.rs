//! Starting, waiting and stopping: in a runtime, without one, and as a program.

#[cfg(test)]
mod rig;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use llmsim::{Fault, Kind, Settings};
use rig::{DEADLINE, call, chat, post, sim, with};

#[tokio::test]
async fn it_can_be_started_awaited_and_stopped_inside_a_runtime() {
    let sim = sim(Kind::Openai);
    assert!(!sim.wait(|stats| stats.accepted > 0, Duration::ZERO).await);
    let (path, body) = chat(Kind::Openai, true);
    let mut one = call(&sim, "POST", &path, &[], &body);
    assert!(sim.wait(|stats| stats.finished == 1, DEADLINE).await);
    assert_eq!(one.reply().unwrap().status, 200);
    let taken = Settings { listen: sim.addr(), ..Settings::default() };
    assert!(llmsim::start(taken).is_err(), "the address is in use");
    sim.stop();
    assert!(one.reply().is_none());
}

#[test]
fn dropping_it_stops_it() {
    let sim = sim(Kind::Gemini);
    let mut kept = rig::Call::connect(&sim);
    assert!(sim.wait_blocking(|stats| stats.connections == 1, DEADLINE));
    drop(sim);
    assert!(kept.reply().is_none());
}

#[test]
fn a_blocking_wait_ends_at_its_deadline() {
    let sim = sim(Kind::Openai);
    assert!(!sim.wait_blocking(|stats| stats.accepted > 0, Duration::from_millis(5)));
}

#[test]
fn the_queue_inside_ollama_is_bounded() {
    let sim = with(Kind::Ollama, |s| s.first_fault = Some(Fault::Stall));
    let (path, body) = chat(Kind::Ollama, false);
    let _open: Vec<_> = (0..513).map(|_| call(&sim, "POST", &path, &[], &body)).collect();
    assert!(sim.wait_blocking(|stats| stats.running == 513, DEADLINE));
    let reply = post(&sim, &path, &body);
    assert!(reply.status == 503 && reply.text().contains("maximum pending requests exceeded"));
}

#[test]
fn the_program_says_where_it_listens_and_does_what_it_is_told() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_llmsim"))
        .args(["--kind", "ollama", "--model", "a", "--model", "b", "--slots", "2", "--decode-tps", "0"])
        .args(["--name", "left", "--fault", r#"{"status":{"code":418}}"#])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim_end().strip_prefix("listening on http://").unwrap().parse().unwrap();
    let (path, body) = chat(Kind::Ollama, true);
    let mut one = rig::Call::to(address);
    one.send("POST", &path, &[], &body);
    let refused = one.reply().unwrap();
    assert_eq!((refused.status, refused.header("x-sim-name")), (418, "left"));
    one.send("GET", "/api/tags", &[], &serde_json::Value::Null);
    assert_eq!(one.reply().unwrap().json()["models"][1]["name"], "b");
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(one.reply().is_none());
}
