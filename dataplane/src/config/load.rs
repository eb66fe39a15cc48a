//! What a data plane does now, as the control plane is told.

use proto::v1::{self, load::Sharing};

use crate::{
    dispatch::{Role, words},
    serve::Shared,
};

/// The latest.
pub fn load(shared: &Shared) -> v1::Load {
    let (view, standing) = (shared.dispatch.view(), shared.dispatch.standing());
    let snapshot = shared.snapshot.load();
    let backends = view.backends.iter().filter_map(|(id, row)| {
        let (permits, parked) = standing.permits.get(id).copied().unwrap_or_default();
        Some(v1::BackendLoad {
            name: snapshot.backend(*id)?.name.to_string(),
            in_flight: row.busy + row.cooling,
            slots: row.slots,
            resting: words::resting(&row.breaker),
            permits,
            parked,
        })
    });
    let sharing = match standing.role {
        Role::Alone => Sharing::Alone,
        Role::Leads => Sharing::Leads,
        Role::Led => Sharing::Led,
        Role::Leaderless => Sharing::Leaderless,
    };
    v1::Load {
        queued: u32::try_from(view.waiting).unwrap_or(u32::MAX),
        backends: backends.collect(),
        sharing: sharing.into(),
        term: standing.term,
        forwarded: shared.report.passed_on(),
    }
}
