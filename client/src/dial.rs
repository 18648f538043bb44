//! From a name and a port to a TCP connection, with failures that can be told apart.

use std::io;

use tokio::net::TcpStream;

use super::NodeAddress;

/// Why nothing answers.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("its name cannot be resolved")]
    Resolve(#[source] io::Error),
    /// The machine answers, the port does not.
    #[error("nothing listens on that port")]
    PortClosed,
    /// Any other failure of TCP.
    #[error("no connection comes about")]
    Tcp(#[source] io::Error),
}

/// Tries each address of the name in turn; the last failure counts.
pub async fn dial(address: &NodeAddress) -> Result<TcpStream, DialError> {
    let resolved = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for candidate in resolved.map_err(DialError::Resolve)? {
        match TcpStream::connect(candidate).await {
            Ok(stream) => {
                // Small calls: waiting to fill a segment would only add delay. Failing to say so costs nothing else.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::ConnectionRefused => DialError::PortClosed,
        _ => DialError::Tcp(last),
    })
}
