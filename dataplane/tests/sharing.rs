//! Several dispatchers with streams between them: what each client is given, and what the servers see.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use proto::v1;
use sched::{BackendId, Chain, Class, Outcome, Policy, Refusal, permit::PlaneId};
use tokio::task::JoinSet;
use wire::Dialect;

use dataplane::{
    config::{Parser, Snapshot},
    dispatch::{Dispatch, Lease, Role, Standing, Waiting, Wish},
    peer::{Ends as _, Links, Names, Outbox},
    route::Lookup,
};

/// Nothing here takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// The network between dispatchers.
#[derive(Default)]
struct Net {
    planes: Mutex<BTreeMap<PlaneId, Weak<Dispatch>>>,
    /// Streams that are there, each ended by dropping its end.
    open: Mutex<BTreeMap<(PlaneId, PlaneId), tokio::sync::oneshot::Sender<()>>>,
}

struct Way {
    net: Arc<Net>,
    me: PlaneId,
}

impl Net {
    fn find(&self, plane: PlaneId) -> Option<Arc<Dispatch>> {
        self.planes.lock().expect("no holder panics").get(&plane).and_then(Weak::upgrade)
    }

    async fn stream(self: Arc<Self>, me: PlaneId, lead: PlaneId, attempt: u64) {
        let Some(follower) = self.find(me) else { return };
        let (down, mut told) = Outbox::pair();
        let joined = self.find(lead).and_then(|lead| Some((lead.joined(down)?, lead)));
        let Some((stream, lead_end)) = joined else {
            tokio::task::yield_now().await;
            return follower.lost(attempt);
        };
        let (up, mut said) = Outbox::pair();
        let (cut, mut over) = tokio::sync::oneshot::channel();
        self.open.lock().expect("no holder panics").insert((me, lead), cut);
        follower.connected(attempt, up);
        loop {
            tokio::select! {
                message = said.recv() => match message {
                    Some(message) => lead_end.told(stream, message),
                    None => break,
                },
                message = told.recv() => match message {
                    Some(message) => follower.heard(attempt, message),
                    None => break,
                },
                _ = &mut over => break,
            }
        }
        lead_end.left(stream);
        follower.lost(attempt);
    }
}

impl Links for Way {
    fn connect(&self, lead: PlaneId, attempt: u64) {
        tokio::spawn(self.net.clone().stream(self.me, lead, attempt));
    }

    fn disconnect(&self) {
        self.net.open.lock().expect("no holder panics").retain(|(me, _), _| *me != self.me);
    }
}

struct Plane {
    dispatch: Arc<Dispatch>,
    parser: Parser,
    current: Arc<Snapshot>,
}

/// What the control plane says: the slots of backends, who is registered, and who leads by which term.
struct Picture<'a> {
    seq: u64,
    slots: &'a [u32],
    rows: &'a [(&'a str, u64)],
    lead: (&'a str, u64),
}

impl Picture<'_> {
    fn snapshot(&self, owner: bool) -> v1::Snapshot {
        let backend = |(number, slots): (usize, &u32)| v1::SnapshotBackend {
            name: format!("b{number}"),
            url: format!("http://127.0.0.1:{}", 9000 + number),
            dialects: vec![v1::Dialect::OpenaiChat as i32],
            models: vec![v1::Model { name: "m".to_owned(), ..v1::Model::default() }],
            slots: *slots,
            health: v1::Health::Healthy as i32,
            ..v1::SnapshotBackend::default()
        };
        let row = |(id, dead_through): &(&str, u64)| v1::Registered {
            plane_id: (*id).to_owned(),
            incarnation: 1,
            peer: format!("{id}:1"),
            dead_through: *dead_through,
            draining: false,
            permits: true,
        };
        v1::Snapshot {
            version: Some(v1::Version { lineage: "l".to_owned(), epoch: 1, seq: self.seq }),
            backends: self.slots.iter().enumerate().map(backend).collect(),
            planes: self.rows.iter().map(row).collect(),
            lead: Some(v1::Lead {
                plane_id: self.lead.0.to_owned(),
                incarnation: 1,
                term: self.lead.1,
                ..v1::Lead::default()
            }),
            owner,
            ..v1::Snapshot::default()
        }
    }
}

#[derive(Default)]
struct Rig {
    net: Arc<Net>,
    names: Arc<Names>,
    planes: BTreeMap<&'static str, Plane>,
}

impl Rig {
    fn of(ids: &[&'static str]) -> Self {
        let mut rig = Self::default();
        ids.iter().for_each(|id| rig.start(id));
        rig
    }

    fn start(&mut self, id: &'static str) {
        let mut parser = Parser::named(1000, false, self.names.clone());
        parser.own = Some((id.to_owned(), 1));
        parser.reachable = true;
        let empty = Arc::new(Snapshot::empty(1000));
        let dispatch = Dispatch::new(1, empty.fleet.clone());
        let me = self.names.plane(id).expect("it is there");
        self.net.planes.lock().expect("no holder panics").insert(me, Arc::downgrade(&dispatch));
        dispatch.join(Arc::new(Way { net: self.net.clone(), me }), &empty);
        let ticking = Arc::downgrade(&dispatch);
        tokio::spawn(async move {
            if let Some(dispatch) = ticking.upgrade() {
                dispatch.tick().await;
            }
        });
        self.planes.insert(id, Plane { dispatch, parser, current: empty });
    }

    fn show(&mut self, id: &str, picture: &Picture<'_>) {
        let plane = self.planes.get_mut(id).expect("it is there");
        let snapshot = picture.snapshot(picture.lead.0 == id);
        plane.current = Arc::new(plane.parser.parse(&snapshot).expect("it is there"));
        plane.dispatch.adopt(&plane.current, || {});
    }

    fn show_all(&mut self, picture: &Picture<'_>) {
        for id in self.planes.keys().copied().collect::<Vec<_>>() {
            self.show(id, picture);
        }
    }

    fn ask(&self, id: &str) -> Waiting {
        let plane = &self.planes[id];
        ask(&plane.dispatch, &plane.current)
    }

    /// Waits until a data plane stands so.
    async fn until(&self, id: &str, so: impl Fn(&Standing) -> bool) {
        let stands = async {
            while !so(&self.planes[id].dispatch.standing()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, stands).await.expect("it comes to that in time");
    }

    async fn get(&self, id: &str) -> (Lease, BackendId) {
        get(self.ask(id)).await.expect("it is there")
    }
}

fn ask(dispatch: &Arc<Dispatch>, current: &Snapshot) -> Waiting {
    let found = current.table.candidates("m", Dialect::OpenaiChat).expect("it is there");
    let wish = Wish {
        key: 1,
        asked: 1,
        prompt_tokens: 10,
        prompt: Chain::default(),
        policy: Policy::LeastBusy,
        class: Class::Normal,
        candidates: found.numbered(),
        patience: DEADLINE,
    };
    dispatch.arrive(wish, || Lookup { model: "m".to_owned(), dialect: Dialect::OpenaiChat, found })
}

async fn get(waiting: Waiting) -> Result<(Lease, BackendId), Refusal> {
    let answer = tokio::time::timeout(DEADLINE, waiting.slot()).await.expect("an answer in time");
    answer.said.map(|(lease, grant, _)| (lease, grant.backend))
}

fn done(mut lease: Lease) {
    lease.outcome = Outcome::Done;
}

/// What servers see.
#[derive(Default)]
struct Peaks(Mutex<BTreeMap<BackendId, (usize, usize)>>);

impl Peaks {
    fn enter(&self, backend: BackendId) {
        let mut peaks = self.0.lock().expect("no holder panics");
        let (now, most) = peaks.entry(backend).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    fn leave(&self, backend: BackendId) {
        self.0.lock().expect("no holder panics").get_mut(&backend).expect("it is there").0 -= 1;
    }

    fn most(&self) -> Vec<usize> {
        self.0.lock().expect("no holder panics").values().map(|(_, most)| *most).collect()
    }
}

const THREE: &[(&str, u64)] = &[("a", 0), ("b", 0), ("c", 0)];

#[tokio::test]
async fn no_slot_is_used_twice_through_whichever_data_plane() {
    let mut rig = Rig::of(&["a", "b", "c"]);
    rig.show_all(&Picture { seq: 1, slots: &[1, 4], rows: THREE, lead: ("b", 7) });
    let (peaks, mut clients) = (Arc::new(Peaks::default()), JoinSet::new());
    for client in 0..60 {
        let plane = &rig.planes[["a", "b", "c"][client % 3]];
        let (dispatch, current, peaks) = (plane.dispatch.clone(), plane.current.clone(), peaks.clone());
        clients.spawn(async move {
            for turn in 0..20 {
                let (lease, backend) = get(ask(&dispatch, &current)).await.unwrap();
                peaks.enter(backend);
                for _ in 0..(client * 7 + turn * 3) % 40 {
                    tokio::task::yield_now().await;
                }
                lease.first_token();
                tokio::task::yield_now().await;
                peaks.leave(backend);
                done(lease);
            }
        });
    }
    while let Some(client) = tokio::time::timeout(DEADLINE, clients.join_next()).await.expect("all in time") {
        client.unwrap();
    }
    assert_eq!(peaks.most(), [1, 4]);
}

#[tokio::test]
async fn what_one_alone_runs_stays_on_its_slot_when_another_comes() {
    let mut rig = Rig::default();
    rig.start("a");
    rig.show("a", &Picture { seq: 1, slots: &[1], rows: &[("a", 0)], lead: ("a", 1) });
    let (lease, _) = rig.get("a").await;
    let first = rig.ask("a");
    assert!(first.queued());
    rig.start("b");
    let both = Picture { seq: 2, slots: &[1], rows: &[("a", 0), ("b", 0)], lead: ("a", 1) };
    rig.show("b", &both);
    let second = rig.ask("b");
    rig.show("a", &both);
    assert!(first.queued() && second.queued());
    done(lease);
    let (lease, _) = get(first).await.unwrap();
    done(lease);
    let (lease, _) = get(second).await.unwrap();
    assert_eq!(rig.planes["b"].dispatch.view().running, 1);
    done(lease);
}

#[tokio::test]
async fn one_that_never_comes_takes_nothing_from_one_that_was_alone() {
    let mut rig = Rig::default();
    rig.start("a");
    rig.show("a", &Picture { seq: 1, slots: &[2], rows: &[("a", 0)], lead: ("a", 1) });
    let (first, _) = rig.get("a").await;
    rig.show("a", &Picture { seq: 2, slots: &[2], rows: &[("a", 0), ("b", 0)], lead: ("a", 1) });
    let (second, _) = rig.get("a").await;
    let third = rig.ask("a");
    assert!(third.queued());
    done(first);
    let (third, _) = get(third).await.unwrap();
    done(second);
    done(third);
}

#[tokio::test]
async fn what_was_kept_of_a_fleet_that_is_shared_gives_no_slot() {
    let mut rig = Rig::default();
    let mut parser = Parser::named(1000, false, rig.names.clone());
    (parser.own, parser.reachable) = (Some(("a".to_owned(), 2)), true);
    let rows = &[("a", 0), ("b", 0)];
    let kept = Picture { seq: 1, slots: &[2], rows, lead: ("a", 1) };
    let current = Arc::new(parser.parse(&kept.snapshot(true)).unwrap());
    let dispatch = Dispatch::new(1, current.fleet_alone());
    let early = ask(&dispatch, &current);
    assert!(get(early).await.is_err(), "nothing is owned before it is known how it stands with the others");
    dispatch.join(Arc::new(Way { net: rig.net.clone(), me: rig.names.plane("a").unwrap() }), &current);
    assert!(ask(&dispatch, &current).queued());
    assert!(dispatch.standing().permits.is_empty());
    rig.planes.insert("a", Plane { dispatch, parser, current });
}

#[tokio::test]
async fn without_a_lead_each_works_on_with_what_it_has() {
    let mut rig = Rig::of(&["a", "b"]);
    let rows = &[("a", 0), ("b", 0)];
    rig.show_all(&Picture { seq: 1, slots: &[1], rows, lead: ("a", 1) });
    let (held, _) = rig.get("b").await;
    let waits = rig.ask("b");
    let me = rig.names.plane("a").unwrap();
    let dead = rig.planes.remove("a");
    rig.net.planes.lock().expect("no holder panics").remove(&me);
    rig.net.open.lock().expect("no holder panics").retain(|(_, lead), _| *lead != me);
    rig.until("b", |standing| standing.role == Role::Leaderless).await;
    done(held);
    let (lease, _) = get(waits).await.unwrap();
    done(lease);
    let (lease, backend) = rig.get("b").await;
    let standing = rig.planes["b"].dispatch.standing();
    assert_eq!(standing.permits[&backend], (1, 0));
    done(lease);
    drop(dead);
}

#[tokio::test]
async fn when_the_lead_dies_another_serves_all_who_wait() {
    let mut rig = Rig::of(&["a", "b", "c"]);
    rig.show_all(&Picture { seq: 1, slots: &[1], rows: THREE, lead: ("a", 1) });
    let (held, _) = rig.get("a").await;
    let waiting = [rig.ask("b"), rig.ask("c")];
    let dead = rig.planes.remove("a").unwrap();
    let me = rig.names.plane("a").unwrap();
    rig.net.planes.lock().expect("no holder panics").remove(&me);
    rig.net.open.lock().expect("no holder panics").retain(|(_, lead), _| *lead != me);
    let rows = &[("a", 1), ("b", 0), ("c", 0)];
    rig.show_all(&Picture { seq: 2, slots: &[1], rows, lead: ("b", 2) });
    for waiting in waiting {
        let (lease, _) = get(waiting).await.unwrap();
        done(lease);
    }
    drop((held, dead));
}

#[tokio::test]
async fn a_request_that_waits_is_offered_what_is_new_and_keeps_its_place() {
    let mut rig = Rig::of(&["a", "b"]);
    let rows = &[("a", 0), ("b", 0)];
    rig.show_all(&Picture { seq: 1, slots: &[1], rows, lead: ("a", 1) });
    let (lease, taken) = rig.get("b").await;
    let waiting = rig.ask("b");
    assert!(waiting.queued());
    rig.show_all(&Picture { seq: 2, slots: &[1, 1], rows, lead: ("a", 1) });
    let answer = tokio::time::timeout(DEADLINE, waiting.slot()).await.expect("an answer in time");
    let (second, grant, newer) = answer.said.unwrap();
    let newer = newer.expect("it leads elsewhere than before");
    assert_ne!(grant.backend, taken);
    assert_eq!(newer.candidates[grant.candidate].backend.id, grant.backend);
    done(lease);
    done(second);
}

#[tokio::test]
async fn one_whose_client_left_takes_no_slot() {
    let mut rig = Rig::of(&["a", "b"]);
    rig.show_all(&Picture { seq: 1, slots: &[1], rows: &[("a", 0), ("b", 0)], lead: ("a", 1) });
    let (lease, _) = rig.get("b").await;
    let (left, stays) = (rig.ask("b"), rig.ask("a"));
    drop(left);
    done(lease);
    let (lease, _) = get(stays).await.unwrap();
    done(lease);
    let view = rig.planes["b"].dispatch.view();
    assert_eq!((view.waiting, view.running), (0, 0));
}
