//! What apid serves with: a stream from init, for as long as both live.

use std::time::Duration;

use api::internal::daemon_client::DaemonClient;
use api::internal::{Settings, WatchSettingsRequest};
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::{info, warn};

/// Longest pause between two tries to reach init.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Keeps `settings` equal to what init says. Ends only when nobody reads it any more.
///
/// When the stream breaks (init restarts its server, a socket error) the last settings stay in force and the stream is asked for again.
pub async fn follow(channel: Channel, settings: watch::Sender<Option<Settings>>) {
    tokio::select! {
        () = settings.closed() => {}
        () = again_and_again("settings", || stream_once(channel.clone(), &settings)) => {}
    }
}

/// Asks init for a stream again and again, with growing pauses: the kernel offers no event for "the peer listens again".
pub(crate) async fn again_and_again<F: Future<Output = Result<(), tonic::Status>>>(what: &str, mut once: impl FnMut() -> F) {
    let mut pause = Duration::from_millis(50);
    loop {
        match once().await {
            Ok(()) => info!(what, "init ended a stream; asking again"),
            Err(status) => warn!(what, %status, "cannot read a stream of init; asking again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

async fn stream_once(channel: Channel, settings: &watch::Sender<Option<Settings>>) -> Result<(), tonic::Status> {
    let mut stream = DaemonClient::new(channel).watch_settings(WatchSettingsRequest {}).await?.into_inner();
    while let Some(message) = stream.message().await? {
        settings.send_replace(Some(message));
    }
    Ok(())
}
