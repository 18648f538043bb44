//! What waits to be sent to the hub, in two lanes: what the protocol needs goes before the bytes of tunnels, so that a heartbeat does not
//! stand behind somebody's logs. Both lanes are short; a hub that reads nothing fills them and is left.

use std::pin::Pin;
use std::task::{Context, Poll};

use api::hub::v1::DeviceMessage;
use api::hub::v1::device_message::Kind;
use futures_util::Stream;
use tokio::sync::mpsc;

/// Messages of the protocol that wait at most.
const CONTROL: usize = 64;
/// Messages of tunnels that wait at most, each with 16 KiB at most.
const DATA: usize = 4;

/// The end that takes messages.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    control: mpsc::Sender<DeviceMessage>,
    data: mpsc::Sender<DeviceMessage>,
}

/// The lane is full: the hub reads nothing.
#[derive(Debug)]
pub(super) struct Full;

/// The end that the call sends from. It ends when every taking end is gone and all is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    control: mpsc::Receiver<DeviceMessage>,
    data: mpsc::Receiver<DeviceMessage>,
}

/// Both ends.
pub(super) fn outbox() -> (Outbox, Outgoing) {
    let (control, control_out) = mpsc::channel(CONTROL);
    let (data, data_out) = mpsc::channel(DATA);
    (Outbox { control, data }, Outgoing { control: control_out, data: data_out })
}

impl Outbox {
    /// One that nothing comes out of: what is added goes nowhere.
    pub(super) fn closed() -> Self {
        outbox().0
    }

    /// Adds a message of the protocol.
    pub(super) fn send(&self, kind: Kind) -> Result<(), Full> {
        match self.control.try_send(DeviceMessage { kind: Some(kind) }) {
            Ok(()) => Ok(()),
            // The call has ended; its end is an event of its own.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Full),
        }
    }

    /// Adds a message of a tunnel, when there is room; false: the call has ended.
    pub(super) async fn send_data(&self, kind: Kind) -> bool {
        self.data.send(DeviceMessage { kind: Some(kind) }).await.is_ok()
    }
}

impl Stream for Outgoing {
    type Item = DeviceMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<DeviceMessage>> {
        let control = self.control.poll_recv(context);
        if let Poll::Ready(Some(message)) = control {
            return Poll::Ready(Some(message));
        }
        match self.data.poll_recv(context) {
            Poll::Ready(None) => control,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use api::hub::v1::{Heartbeat, TunnelData};
    use futures_util::StreamExt;

    use super::*;

    fn beat(number: u64) -> Kind {
        Kind::Heartbeat(Heartbeat { number, ..Heartbeat::default() })
    }

    #[tokio::test]
    async fn a_heartbeat_overtakes_the_bytes_of_tunnels() {
        let (outbox, mut outgoing) = outbox();
        for id in 0..DATA as u32 {
            assert!(outbox.send_data(Kind::TunnelData(TunnelData { id, data: vec![0; 16 << 10] })).await);
        }
        outbox.send(beat(1)).expect("its lane is free");
        assert_eq!(outgoing.next().await.and_then(|message| message.kind), Some(beat(1)));
        drop(outbox);
        assert_eq!(outgoing.count().await, DATA, "what waited is sent, then it ends");
    }

    #[tokio::test]
    async fn a_hub_that_reads_nothing_fills_the_lane() {
        let (outbox, _outgoing) = outbox();
        let sent = (0..1000).take_while(|number| outbox.send(beat(*number)).is_ok()).count();
        assert_eq!(sent, CONTROL);
    }
}
