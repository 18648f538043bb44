//! The services apid answers itself: gRPC health and server reflection of the public API.

use tonic::service::Routes;

/// Health and reflection. The node's own health is `Status`; this one says that the API answers.
pub async fn routes() -> Result<Routes, tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("skerry.v1.Node", tonic_health::ServingStatus::Serving).await;
    let v1 =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(api::NODE_DESCRIPTORS).build_v1()?;
    let v1alpha = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(api::NODE_DESCRIPTORS)
        .build_v1alpha()?;
    Ok(Routes::new(health).add_service(v1).add_service(v1alpha))
}
