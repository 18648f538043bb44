//! What phone home needs of the device it runs on. On a device init stands behind it; in a simulator nothing but memory.

use std::future::Future;

use api::hub::v1::{ConfigOutcome, ResourceUse};
use api::internal::HubState;
use api::v1::HardwareResponse;
use tokio::io::{AsyncRead, AsyncWrite};

use super::feed::Feed;

/// How it stands with the hub, for console and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubReport {
    /// The word.
    pub state: HubState,
    /// One line for a person, without control characters; may be empty.
    pub message: String,
    /// The hub's address that this is about.
    pub address: String,
}

/// The device.
pub trait Node: Send + Sync + 'static {
    /// A connection to the device's own API, as the network would bring one.
    type Tunnel: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Signs the statement of `api::hub` for the hub in the device's own settings. The error is one line for a person.
    fn prove(&self, nonce: [u8; 32], exporter: [u8; 32]) -> impl Future<Output = Result<[u8; 64], String>> + Send;

    /// The hardware, as the API tells it. The error is one line for a person.
    fn hardware(&self) -> impl Future<Output = Result<HardwareResponse, String>> + Send;

    /// Has a configuration judged, and taken if it is good. Whoever cannot judge says so as a refusal with a code of its own.
    fn offer_config(&self, config: Vec<u8>) -> impl Future<Output = ConfigOutcome> + Send;

    /// The resources in use now; none: not known.
    fn resources(&self) -> impl Future<Output = Option<ResourceUse>> + Send;

    /// Status and events, for as long as the device lives.
    fn feed(&self) -> Feed;

    /// Connects somebody to the device's own API. The error is one line for a person.
    fn open_tunnel(&self, who: &str) -> Result<Self::Tunnel, String>;

    /// Takes note of how it stands with the hub; does not wait.
    fn report(&self, report: HubReport);
}
