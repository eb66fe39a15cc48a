//! One data plane.

use proto::v1::{DataPlane, load::Sharing};

use super::{
    plain,
    status::{ago, held, state, version},
};

/// Everything that is known of it, a line each. `now_ms` is the time since the Unix epoch in milliseconds.
pub fn details(plane: &DataPlane, now_ms: u64) -> String {
    let load = plane.load.clone().unwrap_or_default();
    let or = |value: &str| if value.is_empty() { "-".to_owned() } else { plain(value) };
    let mut lines = vec![
        ("state", state(plane, now_ms)),
        ("incarnation", plane.incarnation.to_string()),
        ("software", or(&plane.software_version)),
        ("serves", or(&plane.serves)),
        ("admin", or(&plane.admin)),
        ("peer", or(&plane.peer)),
        ("snapshot", format!("{}, {} behind the newest", version(plane.acked.as_ref()), plane.lag)),
        ("shares", shares(plane)),
        ("queued", load.queued.to_string()),
        ("forwarded", load.forwarded.to_string()),
        ("last contact", format!("{} ago", ago(plane.seen_at_ms, now_ms))),
        (
            "registered",
            if plane.registered {
                format!("{} ago", ago(plane.first_seen_at_ms, now_ms))
            } else {
                "not yet".to_owned()
            },
        ),
    ];
    let owned = load.backends.iter().filter(|backend| backend.permits > 0);
    lines.extend(owned.map(|backend| {
        ("permits", format!("{}: {}", plain(&backend.name), held(backend.permits, backend.parked)))
    }));
    if plane.nacks > 0 {
        lines.push(("refused", format!("{} snapshots and deltas since it follows", plane.nacks)));
    }
    lines.extend(plane.faults.iter().map(|fault| ("fault", plain(fault))));
    let mut text = format!("data plane {}\n", plain(&plane.id));
    for (name, value) in lines {
        text += &format!("  {name}: {value}\n");
    }
    text
}

/// How it stands with the lead, in words.
fn shares(plane: &DataPlane) -> String {
    let (said, term) = plane.load.as_ref().map_or_else(Default::default, |load| (load.sharing(), load.term));
    match said {
        Sharing::Alone => "alone, on all slots".to_owned(),
        Sharing::Leads => format!("leads, by term {term}"),
        Sharing::Led => format!("hears the lead of term {term}"),
        Sharing::Leaderless => "hears no lead, and works on with the permits that it has".to_owned(),
        Sharing::Unspecified if plane.lead => format!("appointed to lead, by term {}", plane.term),
        Sharing::Unspecified => "-".to_owned(),
    }
}
