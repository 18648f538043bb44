//! The API's streams. Each ends when its reader leaves (it is dropped), and when the device goes down.

use std::pin::Pin;
use std::sync::Arc;

use api::v1;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};
use tonic::Status;

use super::{Context, wire};
use crate::node::{Event, EventLog, PowerHandle};
use crate::services::{LogReader, LogRing};

/// A stream as tonic wants it.
pub(super) type Reply<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Ends the stream when somebody asks for reboot or power-off: an orderly end, for which nobody needs to wait.
pub(super) fn until_down<T: 'static>(
    power: &PowerHandle,
    items: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Reply<T> {
    let mut asked = power.subscribe();
    let down = async move {
        // The sender lives in the handle that every part of init holds.
        let _ = asked.wait_for(Option::is_some).await;
    };
    Box::pin(items.take_until(Box::pin(down)))
}

/// The status now, then at each change of the board.
pub(super) fn statuses(context: Context) -> impl Stream<Item = Result<v1::StatusResponse, Status>> + Send {
    let mut board = context.node.status.subscribe();
    board.mark_changed();
    stream::unfold((context, board), async |(context, mut board)| {
        board.changed().await.ok()?;
        board.mark_unchanged();
        let status = wire::status(&context);
        Some((Ok(status), (context, board)))
    })
}

/// The lines of one service from the tail on.
pub(super) fn logs(ring: &LogRing, request: v1::LogsRequest) -> impl Stream<Item = Result<v1::LogLine, Status>> + Send + use<> {
    let reader = ring.reader(request.tail as usize);
    let v1::LogsRequest { service, follow, .. } = request;
    stream::unfold((reader, service), move |(mut reader, service)| async move {
        let (line, dropped) = next_line(&mut reader, follow).await?;
        Some((Ok(wire::log_line(&service, line, dropped)), (reader, service)))
    })
}

async fn next_line(reader: &mut LogReader, follow: bool) -> Option<(crate::services::Line, u64)> {
    if follow { Some(reader.next().await) } else { reader.try_next() }
}

/// Events from the tail on.
pub(super) fn events(log: &EventLog, request: v1::EventsRequest) -> impl Stream<Item = Result<v1::Event, Status>> + Send + use<> {
    let count = request.tail as usize;
    let (past, live) = if request.follow {
        let (past, live) = log.follow(count);
        (past, Some(live))
    } else {
        (log.tail(count), None)
    };
    let live = stream::unfold(live, async |live| {
        let mut live = live?;
        let event = next_event(&mut live).await?;
        Some((event, Some(live)))
    });
    stream::iter(past).chain(live).map(|event| Ok(wire::event(&event)))
}

/// The next event; one that was lost to slowness shows as a gap in the sequence numbers.
async fn next_event(live: &mut broadcast::Receiver<Arc<Event>>) -> Option<Arc<Event>> {
    loop {
        match live.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}
