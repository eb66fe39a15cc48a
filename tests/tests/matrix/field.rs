//! A data plane in front of servers that all fail in one way, and of others that do not.

use futures_util::future::join_all;
use llmsim::{Settings, Sim};
use proto::v1;
use serde_json::Value;
use tests::rig::{self, Plane};

use super::{
    faults::Named,
    seen::{self, Seen},
    ways::{Family, WAYS},
};

/// Requests that fail in a row until a breaker opens.
const IN_A_ROW: usize = sched::BREAKER_FAILURES as usize;
/// More than all requests of a plane.
const SLOTS: u32 = 1024;

/// The field of one fault.
pub struct Field {
    pub plane: Plane,
    client: reqwest::Client,
    /// One of each family.
    pub good: Vec<Sim>,
    /// One of each family, that fails.
    pub bad: Vec<Sim>,
    tokens_max: u32,
}

/// The model of a way; with another backend, or without.
pub fn model(place: usize, another: bool) -> String {
    format!("{}-{place}", if another { "both" } else { "alone" })
}

fn models() -> impl Iterator<Item = String> {
    (0..WAYS.len()).flat_map(|place| [model(place, true), model(place, false)])
}

fn sims(named: &Named) -> (Vec<Sim>, Vec<Sim>) {
    let start = |family: Family, settings: Settings| {
        let settings = Settings { kind: family.kind(), models: models().collect(), ..settings };
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
    /// Starts all of it.
    pub async fn start(named: &Named) -> Self {
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
        let mut snapshot = rig::snapshot(rows);
        // A name that a backend serves comes before any pattern.
        for model in named.deadlines().iter().flat_map(|_| models()) {
            snapshot.routes.push(v1::Route {
                name: model.clone(),
                r#match: Some(v1::route::Match::Exact(model)),
                targets: vec![v1::Target::default()],
                deadlines: named.deadlines(),
                ..v1::Route::default()
            });
        }
        let plane = Plane::start(&snapshot, |_| {}).await;
        Self { plane, client: rig::client(), good, bad, tokens_max: named.tokens_max() }
    }

    async fn ask(&self, place: usize, another: bool) -> Seen {
        let (way, model) = (&WAYS[place], model(place, another));
        let request = self.client.post(format!("{}{}", self.plane.url, way.path(&model)));
        seen::read(way, request.json(&way.body(&model, self.tokens_max)).send().await).await
    }

    /// How often a server of the way was asked for a model.
    pub fn asked(&self, sims: &[Sim], place: usize, another: bool) -> usize {
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
    pub async fn with_another(&self, place: usize) -> (String, Seen) {
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
    pub async fn alone(&self, place: usize) -> (Seen, String) {
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
