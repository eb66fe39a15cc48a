//! Data planes.

use proto::v1;
use tonic::Status;

use super::{Api, refusal::unmade};
use crate::{
    fleet::{BackendLoad, Denial, Entry, Fleet, Load, Proof, Sharing, Version},
    store::StoreFault,
};

impl Api {
    pub(super) fn data_planes(&self) -> Vec<v1::DataPlane> {
        let newest = self.publisher.version();
        self.publisher.with_fleet(|fleet| fleet.ids().map(|id| data_plane(fleet, id, &newest)).collect())
    }

    pub(super) fn data_plane(&self, id: &str) -> Result<v1::DataPlane, Status> {
        let newest = self.publisher.version();
        let found = self.publisher.with_fleet(|fleet| {
            let known = fleet.plane(id).is_some() || fleet.registry().rows.contains_key(id);
            known.then(|| data_plane(fleet, id, &newest))
        });
        found.ok_or_else(|| unmade(Denial::Missing(id.chars().take(128).collect()).into()))
    }

    async fn entered(&self, id: &str, entry: Entry) -> Result<v1::DataPlane, Status> {
        self.enrol.enter(entry).await.map_err(unmade)?;
        self.enrol.appoint().await;
        self.data_plane(id)
    }

    pub(super) async fn plane_drained(&self, id: String, draining: bool) -> Result<v1::DataPlane, Status> {
        self.entered(&id, Entry::Drain(id.clone(), draining)).await
    }

    pub(super) async fn plane_fenced(
        &self,
        request: v1::FenceDataPlaneRequest,
    ) -> Result<v1::DataPlane, Status> {
        let id = request.id;
        let there = self.data_plane(&id)?;
        if there.connected {
            return Err(Status::failed_precondition(format!(
                "data plane {id} follows, so it is not dead: stop it, and it says so itself"
            )));
        }
        if request.incarnation != 0 && request.incarnation != there.incarnation {
            let (incarnation, latest) = (request.incarnation, there.incarnation);
            return Err(unmade(StoreFault::Denied(Denial::Other { plane: id, incarnation, latest })));
        }
        tracing::warn!(plane = id, incarnation = there.incarnation, "an operator says that it is dead");
        let (plane, incarnation) = (id.clone(), there.incarnation);
        self.entered(&id, Entry::Dead { plane, incarnation, proof: Proof::Fence }).await
    }
}

/// The proto's form of a version.
pub fn version(version: &Version) -> v1::Version {
    v1::Version { lineage: version.lineage.clone(), epoch: version.epoch, seq: version.seq }
}

fn lag(newest: &Version, acked: Option<&Version>) -> u64 {
    match acked {
        Some(acked) if acked.lineage == newest.lineage && acked.epoch == newest.epoch => {
            newest.seq.saturating_sub(acked.seq)
        }
        _ => newest.seq,
    }
}

/// Of one that is registered or follows.
fn data_plane(fleet: &Fleet, id: &str, newest: &Version) -> v1::DataPlane {
    let row = fleet.registry().rows.get(id).cloned().unwrap_or_default();
    let registered = fleet.registry().rows.contains_key(id);
    let seen = fleet.plane(id).cloned().unwrap_or_default();
    // Until its row is durable, what it says itself.
    let known = if registered { &row.serves } else { &seen.hello.serves };
    let admin = if registered { &row.admin } else { &seen.hello.admin };
    let faults = seen.faults.iter().chain(Some(&seen.mended).filter(|mended| !mended.is_empty()));
    v1::DataPlane {
        id: id.to_owned(),
        incarnation: if registered { row.incarnation } else { seen.hello.incarnation },
        lead: fleet.leads(id),
        connected: seen.stream.is_some(),
        acked: seen.acked.as_ref().map(version),
        faults: faults.cloned().collect(),
        load: seen.load.as_ref().map(load),
        serves: known.clone(),
        seen_at_ms: seen.seen_at_ms.max(row.seen_ms),
        admin: admin.clone(),
        peer: row.peer.clone(),
        software_version: if registered { row.software.clone() } else { seen.hello.software.clone() },
        first_seen_at_ms: row.first_seen_ms,
        registered,
        draining: row.draining,
        dead: registered && row.dead(),
        lag: lag(newest, seen.acked.as_ref()),
        term: fleet.registry().lead.as_ref().filter(|lead| lead.plane == id).map_or(0, |lead| lead.term),
        serving: fleet.registry().works(id),
        alone: registered && row.alone,
        nacks: seen.nacks,
    }
}

fn load(load: &Load) -> v1::Load {
    let one = |backend: &BackendLoad| v1::BackendLoad {
        name: backend.name.clone(),
        in_flight: backend.in_flight,
        slots: backend.slots,
        resting: backend.resting.clone(),
        permits: backend.permits,
        parked: backend.parked,
    };
    let sharing = match load.sharing {
        None => v1::load::Sharing::Unspecified,
        Some(Sharing::Alone) => v1::load::Sharing::Alone,
        Some(Sharing::Leads) => v1::load::Sharing::Leads,
        Some(Sharing::Led) => v1::load::Sharing::Led,
        Some(Sharing::Leaderless) => v1::load::Sharing::Leaderless,
    };
    v1::Load {
        queued: load.queued,
        backends: load.backends.iter().map(one).collect(),
        sharing: sharing as i32,
        term: load.term,
        forwarded: load.forwarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_counted_in_versions_of_this_epoch() {
        let at = |lineage: &str, epoch, seq| Version { lineage: lineage.to_owned(), epoch, seq };
        let newest = at("l", 3, 9);
        for (acked, want) in [
            (Some(at("l", 3, 9)), 0),
            (Some(at("l", 3, 4)), 5),
            (Some(at("l", 2, 40)), 9),
            (Some(at("m", 3, 9)), 9),
            (None, 9),
        ] {
            assert_eq!(lag(&newest, acked.as_ref()), want, "{acked:?}");
        }
    }
}
