//! All gRPC services of the management port: management, follow, health, reflection.

use axum::Router;
use proto::v1::{follow_server::FollowServer, management_server::ManagementServer};
use tonic::service::Routes;
use tonic_reflection::server::Builder;

use super::Api;
use crate::publish::follow::FollowService;

/// Bytes of a management request at most.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// The services as routes, to be joined by plain pages.
///
/// # Errors
/// When the descriptor of the build is broken.
pub async fn routes(api: Api, follow: FollowService) -> Result<Router, tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ManagementServer<Api>>().await;
    reporter.set_serving::<FollowServer<FollowService>>().await;
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(ManagementServer::new(api).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(FollowServer::new(follow))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        // Reflection clients of grpcio still ask the older version.
        .add_service(reflection().build_v1alpha()?);
    Ok(routes.into_axum_router())
}
