//! The figures by which requests are placed.

use proto::v1;
use tonic::Status;

use super::{
    Api,
    refusal::{invalid, unmade},
};
use crate::model::{Change, parse, render};

impl Api {
    pub(super) async fn scheduling_updated(
        &self,
        request: v1::UpdateSchedulingRequest,
    ) -> Result<v1::Scheduling, Status> {
        let scheduling = parse::scheduling(request.scheduling.as_ref()).map_err(invalid)?;
        let change = Change::UpdateScheduling(scheduling, request.expected_revision);
        let (_, after) = self.store.change(change).await.map_err(unmade)?;
        Ok(render::scheduling(&after.scheduling))
    }
}
