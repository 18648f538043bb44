//! The task of one tunnel: bytes from the hub into the connection, bytes of the connection to the hub, until either ends.

use std::time::Duration;

use api::hub::v1::device_message::Kind as Say;
use api::hub::v1::{TunnelClose, TunnelCredit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::flow::{Credit, Inbox};
use super::{Outbox, piece};

/// Time for the last bytes to be written after the hub has closed the tunnel.
const LINGER: Duration = Duration::from_secs(5);

/// Runs to the tunnel's end, tells the hub unless it was the hub that closed, and gives back the tunnel's number.
pub(super) async fn pump<S>(id: u32, stream: S, inbox: Inbox, credit: Credit, outbox: Outbox) -> u32
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let closed = inbox.clone();
    let ended = tokio::select! {
        reason = to_hub(id, reader, &credit, &outbox) => reason,
        reason = from_hub(id, writer, &inbox, &outbox) => reason,
        () = overdue(&closed) => String::new(),
    };
    if !closed.is_closed() {
        outbox.send_data(Say::TunnelClose(TunnelClose { id, reason: ended })).await;
    }
    id
}

/// Passes on what the device says; returns why it ended, empty for a plain end.
async fn to_hub<S: AsyncRead>(id: u32, mut reader: ReadHalf<S>, credit: &Credit, outbox: &Outbox) -> String {
    loop {
        let mut data = vec![0; credit.some().await];
        match reader.read(&mut data).await {
            Ok(0) => return String::new(),
            Ok(length) => data.truncate(length),
            Err(error) => return format!("the device's API broke the connection: {error}"),
        }
        credit.spend(data.len());
        if !outbox.send_data(piece(id, data)).await {
            return String::new();
        }
    }
}

/// Passes on what the operator says; returns why it ended, empty for a plain end.
async fn from_hub<S: AsyncWrite>(id: u32, mut writer: WriteHalf<S>, inbox: &Inbox, outbox: &Outbox) -> String {
    let mut unreturned = 0;
    while let Some(bytes) = inbox.take().await {
        if let Err(error) = writer.write_all(&bytes).await {
            return format!("the device's API took no more: {error}");
        }
        if let Some(bytes) = inbox.written(&mut unreturned, bytes.len()) {
            outbox.send_data(Say::TunnelCredit(TunnelCredit { id, bytes })).await;
        }
    }
    // The hub has closed: the device's side learns that nothing more comes, and what it still says has no reader.
    drop(writer.shutdown().await);
    String::new()
}

/// Completes when the hub has closed the tunnel and the connection did not end by itself soon after.
async fn overdue(inbox: &Inbox) {
    inbox.closed().await;
    tokio::time::sleep(LINGER).await;
}
