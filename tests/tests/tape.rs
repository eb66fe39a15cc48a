//! Tapes: what was recorded replays to identical decisions, and what was altered is found.

use std::{
    fs::{self, File},
    io::{BufReader, Cursor},
    path::Path,
    sync::Arc,
};

use llmsim::{Fault, Kind, Settings, Sim};
use proto::v1::{self, Dialect};
use sched::{Decision, Event, Fleet, Moment, Scheduler, View};
use serde_json::{Value, json};
use tape::{BYTES_MAX, Compared, End, Reader, Recorder, Replayed, Rule};
use tests::{
    laws::LAWS,
    rig::{self, Plane},
    world::{Core, Story, World},
};

/// A core whose events are recorded.
struct Taped {
    core: Scheduler,
    tape: Recorder,
}

impl Core for Taped {
    fn handle(&mut self, now: Moment, event: Event, out: &mut Vec<Decision>) {
        let from = out.len();
        self.core.handle(now, event.clone(), out);
        self.tape.step(now, event, &out[from..]);
    }

    fn next_wake(&self) -> Option<Moment> {
        self.core.next_wake()
    }

    fn view(&self) -> View {
        self.core.view()
    }
}

/// Records the story of a seed.
fn record(seed: u64, path: &Path, bytes_max: u64) {
    let mut story = Story::new(seed);
    let fleet: Arc<Fleet> = story.fleet();
    let tape = Recorder::create(path, seed, Fleet::clone(&fleet), bytes_max).expect("a tape");
    let core = Scheduler::new(seed, fleet.clone());
    let mut world = World::new(Taped { core, tape }, fleet, LAWS);
    story.plan(&mut world, 100);
    assert_eq!(world.run(), Ok(()), "seed {seed}");
    world.into_core().tape.close().expect("it is written");
}

fn replay(bytes: Vec<u8>) -> Result<Replayed, String> {
    let mut reader = Reader::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    tape::replay(&mut reader).map_err(|error| error.to_string())
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).expect("a tape is text").lines().map(str::to_owned).collect()
}

fn bytes(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

#[cfg(unix)]
#[test]
fn a_tape_is_private_also_where_a_file_was_before() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("old.tape");
    fs::write(&path, "something").expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its mode");
    record(1, &path, BYTES_MAX);
    assert_eq!(fs::metadata(&path).expect("a tape").permissions().mode() & 0o777, 0o600);
}

#[test]
fn stories_replay_to_identical_decisions() {
    let folder = tempfile::tempdir().expect("a folder");
    for seed in 0..24 {
        let path = folder.path().join(format!("{seed}.tape"));
        record(seed, &path, BYTES_MAX);
        let replayed = replay(fs::read(&path).expect("a tape")).expect("a whole tape");
        assert_eq!((replayed.differs.clone(), replayed.end), (None, Some(End::Stopped)), "seed {seed}");
        assert!(replayed.events > 100 && replayed.decisions > 50, "seed {seed}: {replayed:?}");
    }
}

#[test]
fn one_altered_event_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tape");
    record(4, &path, BYTES_MAX);
    let lines = lines(&path);
    let at = |what: &str| lines.iter().position(|line| line.contains(what)).expect("there is one");
    let alter = |line: usize, change: &dyn Fn(&mut Value)| {
        let mut altered = lines.clone();
        let mut value: Value = serde_json::from_str(&altered[line]).expect("JSON");
        change(&mut value);
        altered[line] = value.to_string();
        replay(bytes(&altered)).expect("it reads").differs
    };
    let decided = at("\"start\"");
    // another slot was told; another number arrived; the arrival is gone
    let slot = alter(decided, &|value| value["step"]["said"][0]["start"]["slot"] = json!(7)).expect("found");
    assert_eq!(slot.line, decided as u64 + 1);
    assert_ne!(slot.recorded, slot.replayed);
    let ticket = |value: &mut Value| value["step"]["event"]["arrive"]["ticket"] = json!(4_000_000);
    assert!(alter(at("\"arrive\""), &ticket).is_some());
    assert!(alter(decided, &|value| value["step"]["event"] = json!("wake")).is_some());
    assert_eq!(alter(decided, &|_| {}), None, "unaltered it is as it was");
}

#[test]
fn hostile_tapes_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tape");
    record(2, &path, BYTES_MAX);
    let lines = lines(&path);
    let whole = bytes(&lines);
    let with = |line: usize, text: &str| {
        let mut altered = lines.clone();
        altered[line] = text.to_owned();
        bytes(&altered)
    };
    let behind = [lines.clone(), vec![lines[1].clone()]].concat();
    let twice = [lines[..2].to_vec(), lines[..1].to_vec()].concat();
    let other = lines[0].replace("\"format\":1", "\"format\":2");
    let unknown = lines[1].replacen("\"at\"", "\"when\"", 1);
    for (tape, said) in [
        (Vec::new(), "no tape: its first line is not the head of one (it is empty)"),
        (b"\n".to_vec(), "no tape"),
        (b"{\"backends\":[]}\n".to_vec(), "it tells no format"),
        (b"GIF89a\x00\xff\xfe\n".to_vec(), "no tape"),
        (whole[..whole.len() / 2].to_vec(), "cut off in the middle of a record"),
        (whole[..30].to_vec(), "line 1: cut off"),
        (with(0, &other), "format 2, and this program reads format 1"),
        (with(3, "{\"step\":"), "line 4: no record of a tape"),
        (with(3, "{}"), "line 4: no record of a tape"),
        (with(3, &"[".repeat(100_000)), "line 4: no record of a tape"),
        (with(1, &unknown), "unknown field `when`"),
        (bytes(&behind), "a record behind the end is out of place"),
        (bytes(&twice), "line 3: a second head is out of place"),
        (vec![b'x'; tape::RECORD_BYTES_MAX + 2], "line 1: more than"),
    ] {
        let refused = replay(tape).expect_err(said);
        assert!(refused.contains(said), "{refused:?} is not {said:?}");
    }
}

#[test]
fn a_tape_is_bounded_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tape");
    record(2, &path, 40_000);
    assert!(fs::metadata(&path).expect("a tape").len() < 41_000);
    let replayed = replay(fs::read(&path).expect("a tape")).expect("a whole tape");
    assert_eq!((replayed.differs, replayed.end), (None, Some(End::Full)));
    assert!(replayed.events > 10);
}

fn compare(path: &Path, rule: Value) -> Compared {
    let mut tape = Reader::new(BufReader::new(File::open(path).expect("a tape"))).expect("a tape");
    tape::compare(&mut tape, &Rule::parse(rule).expect("a rule")).expect("a whole tape")
}

fn sim(change: impl FnOnce(&mut Settings)) -> Sim {
    let mut settings = Settings {
        kind: Kind::Vllm,
        models: vec!["m".to_owned()],
        prefill_tps: 0.0,
        decode_tps: 2000.0,
        output_tokens: 8,
        ..Settings::default()
    };
    change(&mut settings);
    llmsim::start(settings).expect("a simulated server starts")
}

fn row(name: &str, sim: &Sim, slots: u32) -> v1::SnapshotBackend {
    rig::backend(name, &sim.url(), v1::Kind::Vllm, slots, &["m"], &[Dialect::OpenaiChat])
}

async fn ask(url: String, conversation: usize, turn: usize) -> u16 {
    let text = |turn: usize| format!("say {conversation} {turn}: {}", "word ".repeat(400));
    let messages: Vec<Value> =
        (0..=turn).map(|turn| json!({"role": "user", "content": text(turn)})).collect();
    let body = json!({"model": "m", "messages": messages, "stream": turn.is_multiple_of(2), "max_tokens": 8});
    let sent = rig::client().post(format!("{url}/v1/chat/completions")).json(&body).send().await;
    let answer = sent.expect("an answer");
    let status = answer.status().as_u16();
    assert!(answer.text().await.is_ok() || status == 200);
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tape_of_a_real_run_replays_to_identical_decisions() {
    let (one, two) = (sim(|_| {}), sim(|_| {}));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tape");
    let snapshot = rig::snapshot(vec![row("one", &one, 2), row("two", &two, 1)]);
    let taped = path.clone();
    let plane = Plane::start(&snapshot, |settings| settings.tape = Some(taped)).await;
    // twelve conversations on three slots, while one server fails for a moment
    one.set_fault(Fault::Status { code: 500, retry_after: None }, Some(3));
    let talks = (0..12).map(|conversation| {
        let url = plane.url.clone();
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            for turn in 0..5 {
                statuses.push(ask(url.clone(), conversation, turn).await);
            }
            statuses
        })
    });
    let mut answered = 0;
    for talk in talks.collect::<Vec<_>>() {
        answered += talk.await.expect("it ends").iter().filter(|status| **status == 200).count();
    }
    assert!(answered >= 50, "{answered}");
    plane.stop().await;
    let replayed = replay(fs::read(&path).expect("a tape")).expect("a whole tape");
    assert_eq!((replayed.differs, replayed.end), (None, Some(End::Stopped)));
    assert!(replayed.decisions >= 60, "{} decisions", replayed.decisions);
    let text = fs::read_to_string(&path).expect("text");
    assert!(!text.contains("word") && !text.contains("say "), "no text of a prompt is on it");
    assert!(text.contains("\"one\"") && text.contains("\"two\""), "names of backends are");

    let same = compare(&path, json!({}));
    assert_eq!(same.recorded.started, 60);
    let other = compare(&path, json!({"policy": "round-robin"}));
    assert_eq!((other.requests, other.recorded.clone()), (60, same.recorded.clone()));
    assert_eq!(other.other.backends.values().sum::<u64>(), 60, "{other:?}");
    assert!(other.other.cached < same.recorded.cached, "no heed of caches, fewer hits: {other:?}");
}
