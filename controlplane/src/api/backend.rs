//! Backends.

use std::sync::Arc;

use proto::v1;
use tonic::Status;

use super::{
    Api,
    refusal::{invalid, refused, unmade},
};
use crate::{
    model::{Backend, Change, Desired, Health, Observed, Record, Refusal, parse, render},
    plan,
    probe::{ask::Asker, watch::unix_ms},
};

impl Api {
    /// A backend with what has been seen of it.
    pub(super) fn backend(&self, desired: &Desired, name: &str) -> Result<v1::Backend, Status> {
        let missing = || Refusal::Missing { what: "backend", name: name.chars().take(128).collect() };
        let record = desired.backends.get(name).ok_or_else(|| refused(&missing()))?;
        Ok(self.joined(record))
    }

    pub(super) fn backends(&self, desired: &Desired) -> Vec<v1::Backend> {
        desired.backends.values().map(|record| self.joined(record)).collect()
    }

    fn joined(&self, record: &Record<Backend>) -> v1::Backend {
        let seen = self.sights.borrow().get(&record.value.name).cloned().unwrap_or_default();
        render::backend(record, &seen, plan::slots(&record.value, &seen))
    }

    async fn backend_changed(&self, name: String, change: Change) -> Result<v1::Backend, Status> {
        let (_, after): (_, Arc<Desired>) = self.store.change(change).await.map_err(unmade)?;
        self.backend(&after, &name)
    }

    pub(super) async fn backend_created(
        &self,
        request: v1::CreateBackendRequest,
    ) -> Result<v1::Backend, Status> {
        let backend = parse::backend(request.backend).map_err(invalid)?;
        self.backend_changed(backend.name.to_string(), Change::CreateBackend(backend)).await
    }

    pub(super) async fn backend_updated(
        &self,
        request: v1::UpdateBackendRequest,
    ) -> Result<v1::Backend, Status> {
        let backend = parse::backend(request.backend).map_err(invalid)?;
        let change = Change::UpdateBackend(backend.clone(), request.expected_revision);
        self.backend_changed(backend.name.to_string(), change).await
    }

    pub(super) async fn backend_deleted(
        &self,
        request: v1::DeleteBackendRequest,
    ) -> Result<v1::DeleteResponse, Status> {
        let change = Change::DeleteBackend(request.name, request.expected_revision);
        let (written, _) = self.store.change(change).await.map_err(unmade)?;
        Ok(v1::DeleteResponse { revision: written.revision })
    }

    pub(super) async fn backend_drained(
        &self,
        name: String,
        draining: bool,
        expected: u64,
    ) -> Result<v1::Backend, Status> {
        self.backend_changed(name.clone(), Change::Drain(name, draining, expected)).await
    }

    pub(super) async fn backend_probed(
        &self,
        request: v1::ProbeBackendRequest,
    ) -> Result<v1::ProbeBackendResponse, Status> {
        let backend = parse::probed(request.backend).map_err(invalid)?;
        let (verdict, rtt_us) = Asker::new(&backend, self.probe_timeout).identify().await;
        let mut seen = Observed { probed_at_ms: unix_ms(), probe_rtt_us: rtt_us, ..Observed::default() };
        match verdict.finding {
            Ok(finding) => {
                seen.health = Health::Healthy;
                seen.kind = Some(finding.kind);
                (seen.dialects, seen.models) = (finding.dialects, finding.models);
                (seen.slots, seen.version) = (finding.slots, finding.version);
            }
            Err(reason) => (seen.health, seen.reason) = (Health::Unhealthy, reason),
        }
        let slots = plan::slots(&backend, &seen);
        let status = Some(render::status(&seen, slots));
        Ok(v1::ProbeBackendResponse { status, evidence: verdict.evidence })
    }
}
