//! Status: the control plane, its backends and the data planes that follow.

use proto::v1;

use super::Api;
use crate::fleet::{BackendLoad, Load, Plane, Version};

impl Api {
    pub(super) fn status_now(&self) -> v1::StatusResponse {
        let desired = self.store.desired();
        v1::StatusResponse {
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            version: Some(version(&self.publisher.version())),
            revision: desired.revision,
            backends: self.backends(&desired),
            data_planes: self.publisher.with_fleet(|fleet| {
                fleet.planes().map(|(id, plane)| data_plane(id, plane, fleet.owner() == id)).collect()
            }),
            plan_faults: self.publisher.plan_faults(),
        }
    }
}

fn version(version: &Version) -> v1::Version {
    v1::Version { lineage: version.lineage.clone(), epoch: version.epoch, seq: version.seq }
}

fn data_plane(id: &str, plane: &Plane, owner: bool) -> v1::DataPlane {
    v1::DataPlane {
        id: id.to_owned(),
        incarnation: plane.incarnation.clone(),
        owner,
        connected: plane.stream.is_some(),
        acked: plane.acked.as_ref().map(version),
        faults: plane.faults.clone(),
        load: plane.load.as_ref().map(load),
        serves: plane.serves.clone(),
        admin: plane.admin.clone(),
        seen_at_ms: plane.seen_at_ms,
    }
}

fn load(load: &Load) -> v1::Load {
    let one = |backend: &BackendLoad| v1::BackendLoad {
        name: backend.name.clone(),
        in_flight: backend.in_flight,
        slots: backend.slots,
        resting: backend.resting.clone(),
    };
    v1::Load { queued: load.queued, backends: load.backends.iter().map(one).collect() }
}
