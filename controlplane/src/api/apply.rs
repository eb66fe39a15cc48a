//! Apply: a whole configuration in one transaction.

use proto::v1::{self, applied_resource};
use tonic::Status;

use super::{
    Api,
    refusal::{invalid, refused, unmade},
};
use crate::model::{Change, Written, change::Outcome, parse};

impl Api {
    pub(super) async fn applied(&self, request: v1::ApplyRequest) -> Result<v1::ApplyResponse, Status> {
        let change = Change::Apply(parse::config(request.config).map_err(invalid)?);
        let written = if request.dry_run {
            let desired = self.store.desired();
            let (written, _) = desired.made(&change).map_err(|refusal| refused(&refusal))?;
            Written { revision: desired.revision, ..written }
        } else {
            self.store.change(change).await.map_err(unmade)?.0
        };
        let backends =
            written.backends.iter().map(|(name, outcome)| resource("backend", name.as_str(), *outcome));
        let routes = written.routes.iter().map(|(name, outcome)| resource("route", name.as_str(), *outcome));
        let scheduling = written.scheduling.map(|outcome| resource("scheduling", "scheduling", outcome));
        let resources = backends.chain(routes).chain(scheduling).collect();
        Ok(v1::ApplyResponse { revision: written.revision, resources })
    }
}

fn resource(resource: &str, name: &str, outcome: Outcome) -> v1::AppliedResource {
    let outcome = match outcome {
        Outcome::Created => applied_resource::Outcome::Created,
        Outcome::Updated => applied_resource::Outcome::Updated,
        Outcome::Unchanged => applied_resource::Outcome::Unchanged,
        Outcome::Deleted => applied_resource::Outcome::Unspecified,
    };
    v1::AppliedResource { resource: resource.to_owned(), name: name.to_string(), outcome: outcome as i32 }
}
