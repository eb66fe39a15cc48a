//! The management API, one file a resource.

mod apply;
mod backend;
mod plane;
mod refusal;
mod route;
mod scheduling;
mod serve;
mod status;

use std::{sync::Arc, time::Duration};

use proto::v1::{self, management_server::Management};
use tonic::{Request, Response, Status};

use crate::{
    model::render,
    probe::watch::Sights,
    publish::{Publisher, enrol::Enrol},
    store::Store,
};

pub use serve::routes;

/// Serves operators.
pub struct Api {
    store: Arc<Store>,
    sights: Arc<Sights>,
    publisher: Arc<Publisher>,
    enrol: Enrol,
    probe_timeout: Duration,
}

impl Api {
    /// The API on the parts that it reads and writes.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        sights: Arc<Sights>,
        publisher: Arc<Publisher>,
        enrol: Enrol,
        probe_timeout: Duration,
    ) -> Self {
        Api { store, sights, publisher, enrol, probe_timeout }
    }
}

#[tonic::async_trait]
impl Management for Api {
    async fn create_backend(
        &self,
        request: Request<v1::CreateBackendRequest>,
    ) -> Result<Response<v1::Backend>, Status> {
        self.backend_created(request.into_inner()).await.map(Response::new)
    }

    async fn get_backend(
        &self,
        request: Request<v1::GetBackendRequest>,
    ) -> Result<Response<v1::Backend>, Status> {
        self.backend(&self.store.desired(), &request.into_inner().name).map(Response::new)
    }

    async fn list_backends(
        &self,
        _: Request<v1::ListBackendsRequest>,
    ) -> Result<Response<v1::ListBackendsResponse>, Status> {
        let desired = self.store.desired();
        let backends = self.backends(&desired);
        Ok(Response::new(v1::ListBackendsResponse { backends, revision: desired.revision }))
    }

    async fn update_backend(
        &self,
        request: Request<v1::UpdateBackendRequest>,
    ) -> Result<Response<v1::Backend>, Status> {
        self.backend_updated(request.into_inner()).await.map(Response::new)
    }

    async fn delete_backend(
        &self,
        request: Request<v1::DeleteBackendRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        self.backend_deleted(request.into_inner()).await.map(Response::new)
    }

    async fn drain_backend(
        &self,
        request: Request<v1::DrainBackendRequest>,
    ) -> Result<Response<v1::Backend>, Status> {
        let request = request.into_inner();
        self.backend_drained(request.name, true, request.expected_revision).await.map(Response::new)
    }

    async fn undrain_backend(
        &self,
        request: Request<v1::UndrainBackendRequest>,
    ) -> Result<Response<v1::Backend>, Status> {
        let request = request.into_inner();
        self.backend_drained(request.name, false, request.expected_revision).await.map(Response::new)
    }

    async fn probe_backend(
        &self,
        request: Request<v1::ProbeBackendRequest>,
    ) -> Result<Response<v1::ProbeBackendResponse>, Status> {
        self.backend_probed(request.into_inner()).await.map(Response::new)
    }

    async fn create_route(
        &self,
        request: Request<v1::CreateRouteRequest>,
    ) -> Result<Response<v1::Route>, Status> {
        self.route_created(request.into_inner()).await.map(Response::new)
    }

    async fn get_route(&self, request: Request<v1::GetRouteRequest>) -> Result<Response<v1::Route>, Status> {
        route::find(&self.store.desired(), &request.into_inner().name).map(Response::new)
    }

    async fn list_routes(
        &self,
        _: Request<v1::ListRoutesRequest>,
    ) -> Result<Response<v1::ListRoutesResponse>, Status> {
        Ok(Response::new(route::list(&self.store.desired())))
    }

    async fn update_route(
        &self,
        request: Request<v1::UpdateRouteRequest>,
    ) -> Result<Response<v1::Route>, Status> {
        self.route_updated(request.into_inner()).await.map(Response::new)
    }

    async fn delete_route(
        &self,
        request: Request<v1::DeleteRouteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        self.route_deleted(request.into_inner()).await.map(Response::new)
    }

    async fn get_scheduling(
        &self,
        _: Request<v1::GetSchedulingRequest>,
    ) -> Result<Response<v1::Scheduling>, Status> {
        Ok(Response::new(render::scheduling(&self.store.desired().scheduling)))
    }

    async fn update_scheduling(
        &self,
        request: Request<v1::UpdateSchedulingRequest>,
    ) -> Result<Response<v1::Scheduling>, Status> {
        self.scheduling_updated(request.into_inner()).await.map(Response::new)
    }

    async fn get_data_plane(
        &self,
        request: Request<v1::GetDataPlaneRequest>,
    ) -> Result<Response<v1::DataPlane>, Status> {
        self.data_plane(&request.into_inner().id).map(Response::new)
    }

    async fn list_data_planes(
        &self,
        _: Request<v1::ListDataPlanesRequest>,
    ) -> Result<Response<v1::ListDataPlanesResponse>, Status> {
        Ok(Response::new(v1::ListDataPlanesResponse { data_planes: self.data_planes() }))
    }

    async fn drain_data_plane(
        &self,
        request: Request<v1::DrainDataPlaneRequest>,
    ) -> Result<Response<v1::DataPlane>, Status> {
        self.plane_drained(request.into_inner().id, true).await.map(Response::new)
    }

    async fn undrain_data_plane(
        &self,
        request: Request<v1::UndrainDataPlaneRequest>,
    ) -> Result<Response<v1::DataPlane>, Status> {
        self.plane_drained(request.into_inner().id, false).await.map(Response::new)
    }

    async fn fence_data_plane(
        &self,
        request: Request<v1::FenceDataPlaneRequest>,
    ) -> Result<Response<v1::DataPlane>, Status> {
        self.plane_fenced(request.into_inner()).await.map(Response::new)
    }

    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        self.applied(request.into_inner()).await.map(Response::new)
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(self.status_now()))
    }
}
