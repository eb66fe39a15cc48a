//! Status: the control plane, its backends and the data planes that follow.

use proto::v1;

use super::{Api, plane::version};

impl Api {
    pub(super) fn status_now(&self) -> v1::StatusResponse {
        let desired = self.store.desired();
        v1::StatusResponse {
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            version: Some(version(&self.publisher.version())),
            revision: desired.revision,
            backends: self.backends(&desired),
            data_planes: self.data_planes(),
            plan_faults: self.publisher.plan_faults(),
            term: self
                .publisher
                .with_fleet(|fleet| fleet.registry().lead.as_ref().map_or(0, |lead| lead.term)),
        }
    }
}
