//! One data plane.

use proto::v1::DataPlane;

use super::{
    plain,
    status::{ago, state, version},
};

/// Everything that is known of it, a line each. `now_ms` is the time since the Unix epoch in milliseconds.
pub fn details(plane: &DataPlane, now_ms: u64) -> String {
    let or = |value: &str| if value.is_empty() { "-".to_owned() } else { plain(value) };
    let mut lines = vec![
        ("state", state(plane, now_ms)),
        ("incarnation", plane.incarnation.to_string()),
        ("software", or(&plane.software_version)),
        ("serves", or(&plane.serves)),
        ("admin", or(&plane.admin)),
        ("peer", or(&plane.peer)),
        ("snapshot", format!("{}, {} behind the newest", version(plane.acked.as_ref()), plane.lag)),
        ("queued", plane.load.as_ref().map_or(0, |load| load.queued).to_string()),
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
    lines.extend(plane.faults.iter().map(|fault| ("fault", plain(fault))));
    let mut text = format!("data plane {}\n", plain(&plane.id));
    for (name, value) in lines {
        text += &format!("  {name}: {value}\n");
    }
    text
}
