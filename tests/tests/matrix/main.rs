//! The fault matrix: what each way to fail comes to, for the client and for the backend's breaker, in each dialect.
//!
//! `table.md` is both what is promised and what is checked.

mod faults;
mod seen;
mod table;
mod ways;

use std::{collections::BTreeSet, sync::Arc};

use faults::Named;
use futures_util::future::join_all;
use llmsim::{Settings, Sim};
use proto::v1;
use seen::Seen;
use serde_json::Value;
use table::Row;
use tests::rig::{self, Plane};
use tokio::sync::Semaphore;
use ways::{Family, WAYS};

const TABLE: &str = include_str!("table.md");
/// Requests that fail in a row until a breaker opens.
const IN_A_ROW: usize = sched::BREAKER_FAILURES as usize;
/// Faults that are tried at the same time.
const AT_ONCE: usize = 4;
/// More than all requests of a plane.
const SLOTS: u32 = 1024;

/// A data plane in front of servers that all fail in one way, and of others that do not.
struct Field {
    plane: Plane,
    client: reqwest::Client,
    good: Vec<Sim>,
    bad: Vec<Sim>,
}

/// The model of a way; with another backend, or without.
fn model(place: usize, another: bool) -> String {
    format!("{}-{place}", if another { "both" } else { "alone" })
}

fn sims(named: &Named) -> (Vec<Sim>, Vec<Sim>) {
    let models: Vec<String> =
        (0..WAYS.len()).flat_map(|place| [model(place, true), model(place, false)]).collect();
    let start = |family: Family, settings: Settings| {
        let settings = Settings { kind: family.kind(), models: models.clone(), ..settings };
        llmsim::start(settings).expect("a simulated server starts")
    };
    let good = Family::ALL.map(|family| start(family, named.settings()));
    let bad = Family::ALL.map(|family| {
        let sim = start(family, named.settings());
        sim.set_fault(named.fault.clone(), None);
        sim
    });
    (good.into(), bad.into())
}

impl Field {
    async fn start(named: &Named) -> Self {
        let (good, bad) = sims(named);
        let mut rows = Vec::new();
        for (place, way) in WAYS.iter().enumerate() {
            let family = way.family as usize;
            for (name, sim, another, priority) in [
                ("bad", &bad[family], true, 10),
                ("good", &good[family], true, 0),
                ("only", &bad[family], false, 0),
            ] {
                let (name, model) = (format!("{name}-{place:02}"), model(place, another));
                let row = rig::backend(&name, &sim.url(), v1::Kind::Openai, SLOTS, &[&model], &[way.dialect]);
                rows.push(v1::SnapshotBackend { priority, ..row });
            }
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        let plane = Plane::start(&rig::snapshot(rows), |_| {}).await;
        Self { plane, client: rig::client(), good, bad }
    }

    async fn ask(&self, place: usize, another: bool) -> Seen {
        let (way, model) = (&WAYS[place], model(place, another));
        let request = self.client.post(format!("{}{}", self.plane.url, way.path(&model)));
        seen::read(way, request.json(&way.body(&model)).send().await).await
    }

    /// How often a server of the way was asked for a model.
    fn asked(&self, sims: &[Sim], place: usize, another: bool) -> usize {
        let model = model(place, another);
        let stats = sims[WAYS[place].family as usize].stats();
        stats.requests.iter().filter(|seen| seen.model == model).count()
    }

    /// What the breaker of a backend does, in words.
    async fn breaker(&self, backend: &str) -> Value {
        let view = self.client.get(format!("{}/view", self.plane.admin)).send().await.expect("a view");
        let mut view: Value = view.json().await.expect("the view is JSON");
        let rows = view["backends"].as_array_mut().expect("there are backends");
        rows.iter_mut().find(|row| row["name"] == backend).expect("it is listed").take()
    }

    /// The cell of a way with another backend.
    async fn with_another(&self, place: usize) -> (String, Seen) {
        let seen = self.ask(place, true).await;
        let bad = self.asked(&self.bad, place, true);
        let good = self.asked(&self.good, place, true);
        let word = match (seen.word.as_str(), good) {
            _ if bad > 1 => format!("{}, tried {bad} times", seen.word),
            ("whole", 1) if !seen.backend.starts_with("good") => format!("whole from {}", seen.backend),
            ("whole", 1) if !seen.headers.is_empty() => format!("whole, {}", seen.headers),
            ("whole", 1) => "unseen".to_owned(),
            (word, 0) => word.to_owned(),
            (word, more) => format!("{word}, and asked another {more} times"),
        };
        (word, seen)
    }

    /// What the client and the breaker see of the only backend of a way.
    async fn alone(&self, place: usize) -> (Seen, String) {
        let name = format!("only-{place:02}");
        let first = self.ask(place, false).await;
        let row = self.breaker(&name).await;
        // A rest that is over already leaves a trial.
        if row["breaker"] != "closed" {
            return (first, "opens at once".to_owned());
        }
        if row["asked_for_rest"] == true {
            return (first, "rests as asked".to_owned());
        }
        let more = join_all((1..IN_A_ROW).map(|_| self.ask(place, false))).await;
        if let Some(other) = more.into_iter().find(|seen| seen.word != first.word) {
            return (other, format!("another answer than the first, {}", first.word));
        }
        let opened = self.breaker(&name).await["breaker"] != "closed";
        let word = if opened { format!("opens after {IN_A_ROW}") } else { "does not count".to_owned() };
        (first, word)
    }
}

/// What is seen of one fault, as rows of the table; cells in which ways of one family differ name them.
async fn observe(named: Named) -> Vec<Row> {
    let field = Field::start(&named).await;
    let ways = (0..WAYS.len()).filter(|place| !named.long || WAYS[*place].grows());
    let cells = join_all(ways.map(|place| {
        let field = &field;
        async move { (place, field.with_another(place).await, field.alone(place).await) }
    }))
    .await;
    let mut rows = Vec::new();
    for stream in if named.long { &[false][..] } else { &[false, true] } {
        let stream = *stream;
        let mut row = Row {
            fault: named.name.to_owned(),
            stream,
            another: String::new(),
            alone: Default::default(),
            headers: String::new(),
            breaker: String::new(),
        };
        let of = |family: Option<Family>| {
            cells.iter().filter(move |(place, ..)| {
                WAYS[*place].stream == stream && family.is_none_or(|family| WAYS[*place].family == family)
            })
        };
        let same = |(place, (word, both), (seen, _)): &(usize, (String, Seen), (Seen, String))| {
            // What another backend could not hide is told as if there were none.
            if word == &seen.word {
                assert_eq!(both.headers, seen.headers, "{}: {}", named.name, WAYS[*place].name);
                "as alone".to_owned()
            } else {
                word.clone()
            }
        };
        row.another = merged(of(None).map(|cell| (cell.0, same(cell))));
        row.headers = merged(of(None).map(|(place, _, (seen, _))| (*place, seen.headers.clone())));
        let told = |breaker: &String| match breaker.as_str() {
            // Its reset comes before the request is written, or after it.
            "opens at once" | "opens after 5" if named.races => "opens at once or after 5".to_owned(),
            _ => breaker.clone(),
        };
        row.breaker = merged(of(None).map(|(place, _, (_, breaker))| (*place, told(breaker))));
        for (place, family) in Family::ALL.into_iter().enumerate() {
            row.alone[place] =
                merged(of(Some(family)).map(|(place, _, (seen, _))| (*place, seen.word.clone())));
        }
        rows.push(row);
    }
    field.plane.stop().await;
    rows
}

/// One word for all ways, or each word with who says it.
fn merged(words: impl Iterator<Item = (usize, String)>) -> String {
    let all: Vec<(usize, String)> = words.collect();
    let mut kinds: Vec<&String> = Vec::new();
    for (_, word) in &all {
        if !kinds.contains(&word) {
            kinds.push(word);
        }
    }
    let who = |word: &String| {
        let ways = all.iter().filter(|(_, said)| said == word).map(|(place, _)| WAYS[*place]);
        ways.map(|way| way.name).collect::<Vec<_>>().join(", ")
    };
    match kinds.as_slice() {
        [] => String::new(),
        [one] => (*one).clone(),
        several => {
            several.iter().map(|word| format!("{word} ({})", who(word))).collect::<Vec<_>>().join("; ")
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_comes_to_what_the_table_says() {
    let promised = table::rows(TABLE);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let observed = faults::all().into_iter().map(|named| {
        let turns = turns.clone();
        tokio::spawn(async move {
            let _turn = turns.acquire().await.expect("never closed");
            observe(named).await
        })
    });
    let observed: Vec<Row> =
        join_all(observed).await.into_iter().flat_map(|rows| rows.expect("no panic")).collect();
    let wrong: Vec<String> = observed.iter().filter(|row| !promised.contains(row)).map(Row::line).collect();
    assert!(wrong.is_empty(), "these rows are seen and not in the table:\n{}", wrong.join("\n"));
    let names: BTreeSet<_> = observed.iter().map(|row| (&row.fault, row.stream)).collect();
    let unknown: Vec<_> = promised.iter().filter(|row| !names.contains(&(&row.fault, row.stream))).collect();
    assert!(unknown.is_empty(), "rows of faults that are not tried: {unknown:?}");
    assert_eq!(promised.len(), observed.len(), "a row stands twice");
}
