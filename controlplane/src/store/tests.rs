//! The store: durable, grouped, refusing what it cannot read.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use super::{
    disk::Disk,
    engine::{Batch, Engine, Records, Tree},
    memory::Memory,
    *,
};
use crate::fleet::{Denial, Entry, Hello};
use crate::model::{Backend, BaseUrl, Change, Health, Model, Name, Observed, Record, Refusal, Scheduling};

fn fresh() -> Identity {
    Identity { lineage: "0123456789abcdef0123456789abcdef".to_owned(), epoch: 0, salt: [7; 32] }
}

fn backend(name: &str) -> Backend {
    Backend {
        name: Name::new(name).unwrap(),
        url: BaseUrl::new(&format!("http://{name}:8080")).unwrap(),
        kind: None,
        max_concurrency: 0,
        priority: 0,
        max_input_tokens: 0,
        max_loaded_models: 0,
        credential: None,
        ca_file: None,
        draining: false,
        dialects: vec![wire::Dialect::Anthropic],
    }
}

/// What a shared engine does with the next commits.
#[derive(Default)]
struct Script {
    memory: Memory,
    faults: Vec<EngineFault>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Script>>);

impl Engine for Shared {
    fn load(&mut self) -> Result<Records, EngineFault> {
        self.0.lock().unwrap().memory.load()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), EngineFault> {
        let mut script = self.0.lock().unwrap();
        match script.faults.pop() {
            Some(fault) => Err(fault),
            None => script.memory.commit(batch),
        }
    }
}

impl Shared {
    async fn open(&self) -> Result<Store, EngineFault> {
        let engine = self.clone();
        Store::open(move || Ok(Box::new(engine) as Box<dyn Engine>), fresh()).await
    }
}

async fn on_disk(dir: &Path) -> Result<Store, EngineFault> {
    let dir = dir.to_owned();
    let open = move || Disk::open(&dir).map(|disk| Box::new(disk) as Box<dyn Engine>);
    Store::open(open, fresh()).await
}

#[tokio::test]
async fn lineage_and_salt_stay_epoch_grows_resources_return() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = None;
    for epoch in 1..4 {
        let store = on_disk(dir.path()).await.unwrap();
        assert_eq!(store.identity(), &Identity { epoch, ..fresh() });
        let planes = store.registry();
        assert_eq!(planes.rows.len() as u64, epoch - 1);
        assert_eq!(
            planes.lead.as_ref().map(|lead| lead.plane.clone()),
            (epoch > 1).then(|| format!("plane-{}", epoch - 1))
        );
        assert!(planes.term >= epoch - 1);
        assert_eq!(*kept.get_or_insert_with(|| store.desired()), store.desired());
        store.change(Change::CreateBackend(backend(&format!("b{epoch}")))).await.unwrap();
        let plane = format!("plane-{epoch}");
        let hello = Hello { plane: plane.clone(), incarnation: 1, ..Hello::default() };
        store.enter(Entry::Hello(Box::new(hello), 1)).await.unwrap();
        let after = planes.term;
        store.enter(Entry::Appoint { after, plane: plane.clone(), incarnation: 1, now_us: 0 }).await.unwrap();
        let stale = store.enter(Entry::Appoint { after, plane, incarnation: 1, now_us: 0 }).await;
        assert!(matches!(stale, Err(StoreFault::Denied(Denial::Stale { .. }))));
        assert_eq!(store.registry().term, after + 1);
        kept = Some(store.desired());
        store.stop();
    }
}

#[tokio::test]
async fn every_start_counts() {
    let engine = Shared::default();
    for epoch in 1..5 {
        let store = engine.open().await.unwrap();
        assert_eq!(
            (store.identity().epoch, store.identity().lineage.as_str()),
            (epoch, fresh().lineage.as_str())
        );
        store.stop();
    }
}

#[tokio::test]
async fn changes_of_many_are_grouped_and_each_has_its_revision() {
    let store = Arc::new(Shared::default().open().await.unwrap());
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.change(Change::CreateBackend(backend(&format!("b{n}")))).await })
        })
        .collect();
    let mut revisions = Vec::new();
    for task in tasks {
        revisions.push(task.await.unwrap().unwrap().0.revision);
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=100).collect::<Vec<_>>());
    assert_eq!(store.desired().revision, 100);
    assert!(store.commits().0 <= 100);
    let again = store.change(Change::CreateBackend(backend("b7"))).await;
    assert!(matches!(again, Err(StoreFault::Refused(Refusal::Exists { .. }))));
    assert_eq!(store.desired().revision, 100, "a refused change has no revision");
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_another_fault_ends_the_writer() {
    let engine = Shared::default();
    let store = engine.open().await.unwrap();
    let full = EngineFault::Full { dir: "/d".into(), free_bytes: 1, floor_bytes: 2 };
    engine.0.lock().unwrap().faults.push(full);
    let refused = store.change(Change::CreateBackend(backend("b"))).await.unwrap_err().to_string();
    assert!(refused.contains("1 bytes free"), "{refused}");
    assert_eq!(store.desired().revision, 0, "nothing changed");
    assert!(store.ready().is_ok());
    store.change(Change::CreateBackend(backend("b"))).await.unwrap();
    engine.0.lock().unwrap().faults.push(EngineFault::Write("bad sector".to_owned()));
    let failed = store.change(Change::CreateBackend(backend("c"))).await.unwrap_err().to_string();
    assert!(failed.contains("bad sector"), "{failed}");
    assert!(store.ready().is_err());
    let after = store.change(Change::CreateBackend(backend("d"))).await;
    assert!(matches!(after, Err(StoreFault::Down(_))));
    assert_eq!(store.desired().revision, 1);
}

/// Waits in each commit until it is let go.
struct Stuck {
    memory: Memory,
    go: std::sync::mpsc::Receiver<()>,
}

impl Engine for Stuck {
    fn load(&mut self) -> Result<Records, EngineFault> {
        self.memory.load()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), EngineFault> {
        self.go.recv().map_err(|_| EngineFault::Write("let go for ever".to_owned()))?;
        self.memory.commit(batch)
    }
}

#[tokio::test]
async fn a_writer_that_hangs_is_seen_and_takes_no_more() {
    let (go, waits) = std::sync::mpsc::channel();
    go.send(()).unwrap();
    let open = move || Ok(Box::new(Stuck { memory: Memory::default(), go: waits }) as Box<dyn Engine>);
    let store = Store::open(open, fresh()).await.unwrap().hung_after(std::time::Duration::from_millis(5));
    let store = Arc::new(store);
    assert!(store.ready().is_ok());
    let hanging = Arc::clone(&store);
    let change = tokio::spawn(async move { hanging.change(Change::CreateBackend(backend("a"))).await });
    let until = async |want: bool| {
        let seen = async {
            while store.ready().is_ok() != want {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), seen).await.expect("seen in time");
    };
    until(false).await;
    let refused = store.change(Change::CreateBackend(backend("b"))).await.unwrap_err();
    assert!(matches!(&refused, StoreFault::Down(why) if why.contains("hangs")), "{refused}");
    go.send(()).unwrap();
    change.await.unwrap().unwrap();
    until(true).await;
    assert_eq!(store.desired().revision, 1);
}

#[tokio::test]
async fn too_little_space_is_said_before_the_engine_could_hang() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let open = move || Ok(Box::new(Disk::open(&path)?.with_floor(u64::MAX)) as Box<dyn Engine>);
    let fault = Store::open(open, fresh()).await.err().expect("no disk is that large").to_string();
    assert!(fault.contains("bytes free"), "{fault}");
}

#[tokio::test]
async fn a_torn_index_is_moved_aside_and_all_data_is_there() {
    for name in ["snap.0000000000001000", "snap.00000000000000C8.generating"] {
        let dir = tempfile::tempdir().unwrap();
        let store = on_disk(dir.path()).await.unwrap();
        store.change(Change::CreateBackend(backend("kept"))).await.unwrap();
        store.stop();
        fs::write(dir.path().join("control/store").join(name), b"torn").unwrap();
        let store = on_disk(dir.path()).await.unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert!(store.desired().backends.contains_key("kept"), "{name}");
        assert_eq!(store.identity().epoch, 2);
        store.stop();
        let entries =
            fs::read_dir(dir.path().join("control")).unwrap().map(|entry| entry.unwrap().file_name());
        let aside: Vec<_> =
            entries.filter(|name| name.to_string_lossy().starts_with("store-torn-")).collect();
        assert_eq!(aside.len(), 1, "{name}: what was torn is kept");
    }
}

/// Damage to the log gives all that was acknowledged or a refusal that says what to do, never an older store.
#[tokio::test]
async fn a_damaged_log_is_whole_or_refused() {
    const RECORDS: u64 = 40;
    let sound = tempfile::tempdir().unwrap();
    let store = on_disk(sound.path()).await.unwrap();
    for n in 0..RECORDS {
        store.change(Change::CreateBackend(backend(&format!("b{n}")))).await.unwrap();
    }
    store.stop();
    let log = fs::read(sound.path().join("control/store/db")).unwrap();
    let used = log.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let flipped = |at: usize| {
        let mut log = log.clone();
        log[at] ^= 0x5a;
        log
    };
    let zeroed = |at: usize| {
        let mut log = log.clone();
        let end = used.min(at + 4096);
        log[at..end].fill(0);
        log
    };
    let cut = |at: usize| log[..at].to_vec();
    let (mut whole, mut refused) = (0, 0);
    for place in 0..24 {
        let at = used * place / 24;
        for damaged in [flipped(at), zeroed(at), cut(at), [&log[..], &[0xaa; 999]].concat()] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("control/store")).unwrap();
            for entry in fs::read_dir(sound.path().join("control/store")).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file()
                    && !entry.file_name().to_string_lossy().starts_with("snap.")
                {
                    fs::copy(entry.path(), dir.path().join("control/store").join(entry.file_name())).unwrap();
                }
            }
            fs::copy(sound.path().join("control/witness"), dir.path().join("control/witness")).unwrap();
            fs::write(dir.path().join("control/store/db"), damaged).unwrap();
            match on_disk(dir.path()).await {
                Ok(store) => {
                    assert_eq!(store.desired().revision, RECORDS, "byte {at}: an older store");
                    assert_eq!(store.desired().backends.len() as u64, RECORDS, "byte {at}: records are gone");
                    store.stop();
                    whole += 1;
                }
                Err(fault) => {
                    assert!(fault.to_string().contains("put a copy of the state directory back"), "{fault}");
                    refused += 1;
                }
            }
        }
    }
    assert!(whole > 0 && refused > 0, "{whole} whole, {refused} refused");
}

/// A state directory that cannot be one is told as such.
#[tokio::test]
async fn what_stands_in_the_way_of_the_directory_is_told() {
    for file in ["control", "control/store"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"").unwrap();
        let fault = on_disk(dir.path()).await.err().expect("no directory can be there").to_string();
        assert!(fault.contains("directory") && fault.contains(&dir.path().display().to_string()), "{fault}");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("control/lock")).unwrap();
    let fault = on_disk(dir.path()).await.err().expect("the lock is no file").to_string();
    assert!(fault.contains("give --state-dir a directory that can be written to"), "{fault}");
}

#[tokio::test]
async fn what_cannot_be_read_refuses_the_start() {
    let cases: [(Tree, &[u8], &[u8], &str); 6] = [
        (Tree::Backends, b"b", b"\x09{}", "backend \"b\": form 9"),
        (Tree::Backends, b"b", b"\x01{\"revision\":1}", "backend \"b\": missing field"),
        (Tree::Routes, b"r", b"", "route \"r\": empty"),
        (Tree::Meta, b"scheduling", b"\x01{\"revision\":1}", "scheduling: missing field"),
        (
            Tree::Meta,
            b"scheduling",
            b"\x01{\"revision\":1,\"value\":{\"later\":1}}",
            "scheduling: unknown field `later`",
        ),
        (Tree::Meta, b"revision", b"\x01\"x\"", "revision: invalid type"),
    ];
    for (tree, key, value, want) in cases {
        let engine = Shared::default();
        engine.open().await.unwrap().stop();
        let batch = Batch(vec![(tree, key.to_vec(), Some(value.to_vec()))]);
        engine.0.lock().unwrap().memory.commit(&batch).unwrap();
        let fault = engine.open().await.err().expect(want).to_string();
        assert!(fault.contains(want), "{fault}");
    }
}

#[tokio::test]
async fn records_of_before_read_as_if_nothing_new_were_set() {
    let engine = Shared::default();
    engine.open().await.unwrap().stop();
    let record = br#"{"revision":1,"value":{"name":"r","matcher":{"exact":"m"},"precedence":3,"targets":[{"model":"m","backend":null}]}}"#;
    let record = [&b"\x01"[..], record].concat();
    let batch = Batch(vec![(Tree::Routes, b"r".to_vec(), Some(record))]);
    engine.0.lock().unwrap().memory.commit(&batch).unwrap();
    let store = engine.open().await.unwrap();
    let route = &store.desired().routes["r"].value;
    assert_eq!((route.policy, route.class, route.targets[0].weight), (None, None, None));
    assert_eq!(route.precedence, 3);
    assert_eq!(store.desired().scheduling, Record::default());
    store.stop();
}

#[tokio::test]
async fn the_figures_of_scheduling_return() {
    let dir = tempfile::tempdir().unwrap();
    let set = Scheduling { age_max_ms: Some(5000), fair: Some(false), ..Scheduling::default() };
    let store = on_disk(dir.path()).await.unwrap();
    store.change(Change::UpdateScheduling(set, 0)).await.unwrap();
    store.stop();
    let store = on_disk(dir.path()).await.unwrap();
    assert_eq!(store.desired().scheduling, Record { revision: 1, value: set });
    store.stop();
}

#[tokio::test]
async fn the_journal_is_bounded() {
    let mut batch = Batch::default();
    let mut desired = crate::model::Desired { revision: engine::JOURNAL_LINES_MAX + 4, ..Default::default() };
    let written = desired.make(&Change::CreateBackend(backend("b"))).unwrap();
    tree::put(&mut batch, &desired, &written, 1).unwrap();
    let journal: Vec<_> = batch.0.iter().filter(|(tree, ..)| *tree == Tree::Journal).collect();
    assert_eq!(journal.len(), 2);
    assert_eq!((&journal[1].1, &journal[1].2), (&5_u64.to_be_bytes().to_vec(), &None));
}

#[tokio::test]
async fn findings_are_kept_within_bounds_and_never_refuse_the_start() {
    let engine = Shared::default();
    let store = engine.open().await.unwrap();
    for name in ["large", "other"] {
        store.change(Change::CreateBackend(backend(name))).await.unwrap();
    }
    let model = |n: usize| Model { name: format!("{n:0>200}"), resident: true, ..Model::default() };
    let seen = Observed { models: (0..4096).map(model).collect(), slots: 3, ..Observed::default() };
    let moved = Backend { url: BaseUrl::new("http://elsewhere").unwrap(), ..backend("other") };
    let found = vec![(backend("large"), seen.clone()), (moved, seen.clone()), (backend("gone"), seen)];
    store.keep(found).await.unwrap();
    assert_eq!(store.desired().revision, 2);
    store.stop();
    let records = engine.0.lock().unwrap().memory.load().unwrap().findings;
    assert_eq!(records.len(), 1, "those that are gone or others by now are not kept");
    assert!(records[0].1.len() <= tree::RECORD_BYTES_MAX);
    let store = engine.open().await.unwrap();
    let large = &store.first_seen()["large"];
    assert_eq!((large.slots, large.health), (3, Health::Unknown));
    assert!(large.models.len() > 200 && !large.models[0].resident, "{}", large.models.len());
    store.stop();
    let batch = Batch(vec![(Tree::Findings, b"large".to_vec(), Some(b"\x09{}".to_vec()))]);
    engine.0.lock().unwrap().memory.commit(&batch).unwrap();
    let store = engine.open().await.unwrap();
    assert!(store.first_seen().is_empty(), "probing finds it anew");
    store.change(Change::DeleteBackend("large".to_owned(), 0)).await.unwrap();
    assert!(engine.0.lock().unwrap().memory.load().unwrap().findings.is_empty());
}
