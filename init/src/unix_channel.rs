//! gRPC over unix sockets: the one way in which init and its tools reach containerd.

use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Error};

/// Connects now; a connection that breaks later is made again at the next call.
pub(crate) async fn connect(socket: &Path) -> Result<Channel, Error> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is not used; HTTP wants one.
    Endpoint::from_static("http://unix").connect_with_connector(connector).await
}
