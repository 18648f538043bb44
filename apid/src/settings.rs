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
/// When the stream breaks (init restarts its server, a socket error) the last settings stay in force and the stream is asked for again,
/// with growing pauses: the kernel offers no event for "the peer listens again".
pub async fn follow(channel: Channel, settings: watch::Sender<Option<Settings>>) {
    let mut pause = Duration::from_millis(50);
    while !settings.is_closed() {
        match stream_once(channel.clone(), &settings).await {
            Ok(()) => info!("init ended the settings stream; asking again"),
            Err(status) => warn!(%status, "cannot read settings from init; asking again"),
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
