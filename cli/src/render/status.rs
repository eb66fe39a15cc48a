//! The state of the whole: control plane, backends, data planes.

use proto::v1::{Backend, BackendLoad, DataPlane, Load, StatusResponse, Version, load::Sharing};

use super::{plain, slots, table};
use crate::words;

/// Everything `llmctl status` says. `now_ms` is the time since the Unix epoch in milliseconds.
pub fn status(status: &StatusResponse, now_ms: u64) -> String {
    let mut text = format!(
        "control plane {}, revision {}, snapshot {}\n",
        plain(&status.software_version),
        status.revision,
        version(status.version.as_ref())
    );
    for fault in &status.plan_faults {
        text += &format!("fault: {}; the last good snapshot stays\n", plain(fault));
    }
    text += "\n";
    text += &backends(&status.backends, &status.data_planes);
    text += "\n";
    text += &planes(&status.data_planes, now_ms);
    text
}

fn backends(list: &[Backend], data_planes: &[DataPlane]) -> String {
    if list.is_empty() {
        return super::backends(list);
    }
    let loads: Vec<&BackendLoad> = data_planes
        .iter()
        .filter(|plane| plane.connected)
        .flat_map(|plane| plane.load.iter().flat_map(|load| &load.backends))
        .collect();
    let row = |backend: &Backend| {
        let found = backend.status.clone().unwrap_or_default();
        let own = || loads.iter().filter(|load| load.name == backend.name);
        let in_flight: u32 = own().map(|load| load.in_flight).sum();
        // Which of the two holds a backend out: the control plane's probes or what a data plane met itself.
        let resting = own().filter(|load| !load.resting.is_empty());
        let mut reasons: Vec<String> = resting.map(|load| format!("data plane: {}", load.resting)).collect();
        if !found.reason.is_empty() {
            reasons.insert(0, format!("probes: {}", found.reason));
        }
        vec![
            backend.name.clone(),
            super::kind(backend),
            words::state(backend).to_owned(),
            in_flight.to_string(),
            slots(backend),
            found.models.len().to_string(),
            reasons.join("; "),
        ]
    };
    let headings = ["BACKEND", "KIND", "STATE", "IN FLIGHT", "SLOTS", "MODELS", "REASON"];
    table(&headings, list.iter().map(row).collect())
}

/// Data planes, a line each.
pub fn planes(list: &[DataPlane], now_ms: u64) -> String {
    if list.is_empty() {
        return "no data plane follows: nothing is served; start one with llmb-data\n".to_owned();
    }
    let row = |plane: &DataPlane| {
        vec![
            plane.id.clone(),
            state(plane, now_ms),
            plane.serves.clone(),
            plane.load.as_ref().map_or(0, |load| load.queued).to_string(),
            plane.load.as_ref().map_or_else(String::new, permits),
            version(plane.acked.as_ref()),
            plane.lag.to_string(),
            ago(plane.seen_at_ms, now_ms),
            plane.faults.join("; "),
        ]
    };
    let headings =
        ["DATA PLANE", "STATE", "SERVES", "QUEUED", "PERMITS", "SNAPSHOT", "LAG", "SEEN", "FAULTS"];
    table(&headings, list.iter().map(row).collect())
}

/// How a data plane stands, in words.
pub fn state(plane: &DataPlane, now_ms: u64) -> String {
    let leaderless = plane.load.as_ref().is_some_and(|load| load.sharing() == Sharing::Leaderless);
    let mut words = vec![match (plane.connected, plane.lead) {
        (true, true) => "serving, lead".to_owned(),
        (true, false) if !plane.serving => "spare, serves nothing".to_owned(),
        (true, false) if leaderless => "serving, hears no lead".to_owned(),
        (true, false) => "serving".to_owned(),
        (false, true) => format!("lead, gone for {}", ago(plane.seen_at_ms, now_ms)),
        (false, false) => format!("gone for {}", ago(plane.seen_at_ms, now_ms)),
    }];
    let also = [
        (plane.draining, "drains"),
        (plane.dead, "dead"),
        (!plane.connected && !plane.dead && plane.alone, "was the only one: start it again, or fence it"),
        (plane.connected && !plane.registered, "not registered yet"),
    ];
    words.extend(also.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()));
    words.join(", ")
}

/// The slots that it owns; empty: it is alone, or does not share.
fn permits(load: &Load) -> String {
    let (all, parked) = load.backends.iter().fold((0_u32, 0_u32), |(all, parked), backend| {
        (all.saturating_add(backend.permits), parked.saturating_add(backend.parked))
    });
    match load.sharing() {
        Sharing::Unspecified | Sharing::Alone => String::new(),
        Sharing::Leads | Sharing::Led | Sharing::Leaderless => held(all, parked),
    }
}

/// Owned slots in words.
pub fn held(all: u32, parked: u32) -> String {
    format!("{} busy, {parked} parked", all.saturating_sub(parked))
}

/// A version in short: the first 8 digits of the lineage, epoch and sequence number.
pub fn version(version: Option<&Version>) -> String {
    version.map_or("none".to_owned(), |version| {
        let lineage: String = version.lineage.chars().take(8).collect();
        format!("{lineage}/{}.{}", version.epoch, version.seq)
    })
}

/// How long ago, in short.
pub fn ago(then_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
