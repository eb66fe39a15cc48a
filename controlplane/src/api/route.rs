//! Routes.

use proto::v1;
use tonic::Status;

use super::{
    Api,
    refusal::{invalid, refused, unmade},
};
use crate::model::{Change, Desired, Refusal, parse, render};

/// One route by name.
pub fn find(desired: &Desired, name: &str) -> Result<v1::Route, Status> {
    let missing = || Refusal::Missing { what: "route", name: name.chars().take(128).collect() };
    desired.routes.get(name).map(|record| render::route(record)).ok_or_else(|| refused(&missing()))
}

/// All routes in the order in which they are tried.
pub fn list(desired: &Desired) -> v1::ListRoutesResponse {
    let routes = desired.routes_in_order().into_iter().map(|record| render::route(record)).collect();
    v1::ListRoutesResponse { routes, revision: desired.revision }
}

impl Api {
    async fn route_changed(&self, name: &str, change: Change) -> Result<v1::Route, Status> {
        let (_, after) = self.store.change(change).await.map_err(unmade)?;
        find(&after, name)
    }

    pub(super) async fn route_created(&self, request: v1::CreateRouteRequest) -> Result<v1::Route, Status> {
        let route = parse::route(request.route).map_err(invalid)?;
        self.route_changed(route.name.clone().as_str(), Change::CreateRoute(route)).await
    }

    pub(super) async fn route_updated(&self, request: v1::UpdateRouteRequest) -> Result<v1::Route, Status> {
        let route = parse::route(request.route).map_err(invalid)?;
        let name = route.name.clone();
        self.route_changed(name.as_str(), Change::UpdateRoute(route, request.expected_revision)).await
    }

    pub(super) async fn route_deleted(
        &self,
        request: v1::DeleteRouteRequest,
    ) -> Result<v1::DeleteResponse, Status> {
        let change = Change::DeleteRoute(request.name, request.expected_revision);
        let (written, _) = self.store.change(change).await.map_err(unmade)?;
        Ok(v1::DeleteResponse { revision: written.revision })
    }
}
