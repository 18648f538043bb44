//! Tunnels: connections of operators to the device's own API that come through the hub, as numbered pieces of opaque bytes.
//!
//! Each side sends only what the other has given credit for, so a slow reader holds up its own tunnel and no other, and none holds more than
//! 64 KiB here. A hub that sends beyond its credit, or in pieces too large or empty, breaks the protocol: the session ends. Above eight
//! tunnels, or when they are opened faster than people do, the hub is told so and the session goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::hub::v1::device_message::Kind as Say;
use api::hub::v1::hub_message::Kind;
use api::hub::v1::{TunnelClose, TunnelData, TunnelOpen, TunnelOpened};
use tokio::task::JoinSet;

use super::node::Node;
use super::outbox::{Full, Outbox};

mod flow;
mod pump;

use flow::{Credit, Inbox};

/// Tunnels that may be opened at once after a quiet time.
const BURST: u32 = 32;
/// And one more each time this has passed.
const REFILL: Duration = Duration::from_millis(250);
/// Characters of an operator's name that are kept.
const MAX_WHO: usize = 64;

/// Why the session must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// More bytes than credit.
    #[error("the hub sent more into a tunnel than it had credit for")]
    Credit,
    /// A piece of a wrong size.
    #[error("the hub sent an empty or too large piece of a tunnel")]
    Piece,
    /// A number twice.
    #[error("the hub opened a tunnel under a number in use")]
    Number,
    /// Too much credit.
    #[error("the hub gave more credit than a tunnel can have")]
    Window,
    /// It asks and does not read.
    #[error("the hub reads nothing")]
    Deaf,
}

impl From<Full> for Violation {
    fn from(_: Full) -> Self {
        Self::Deaf
    }
}

/// The tunnels of one session; dropping them ends all.
pub(super) struct Tunnels {
    open: BTreeMap<u32, Tunnel>,
    pumps: JoinSet<u32>,
    opens: Opens,
}

struct Tunnel {
    inbox: Inbox,
    credit: Credit,
}

/// How many tunnels may be opened now.
struct Opens {
    left: u32,
    refilled: Instant,
}

impl Tunnels {
    /// None yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { open: BTreeMap::new(), pumps: JoinSet::new(), opens: Opens { left: BURST, refilled: now } }
    }

    /// Does what the hub says about a tunnel.
    pub(super) fn handle<N: Node>(&mut self, now: Instant, kind: Kind, node: &N, outbox: &Outbox) -> Result<(), Violation> {
        match kind {
            Kind::TunnelOpen(open) => self.open(now, open, node, outbox),
            Kind::TunnelData(data) if data.data.is_empty() || data.data.len() > api::hub::TUNNEL_PIECE_BYTES => {
                Err(Violation::Piece)
            }
            // What is said about a tunnel that this side has closed was on its way.
            Kind::TunnelData(data) => self.open.get(&data.id).map_or(Ok(()), |tunnel| tunnel.inbox.push(&data.data)),
            Kind::TunnelCredit(credit) => self.open.get(&credit.id).map_or(Ok(()), |tunnel| tunnel.credit.give(credit.bytes)),
            Kind::TunnelClose(close) => {
                if let Some(tunnel) = self.open.remove(&close.id) {
                    tunnel.inbox.close();
                }
                Ok(())
            }
            // The machine passes nothing else on.
            Kind::Challenge(_) | Kind::Ask(_) | Kind::Verdict(_) | Kind::HeartbeatReceived(_) | Kind::ConfigOffer(_) => Ok(()),
        }
    }

    fn open<N: Node>(&mut self, now: Instant, open: TunnelOpen, node: &N, outbox: &Outbox) -> Result<(), Violation> {
        let TunnelOpen { id, who } = open;
        if self.open.contains_key(&id) {
            return Err(Violation::Number);
        }
        let refuse = |reason: String| Ok(outbox.send(Say::TunnelClose(TunnelClose { id, reason }))?);
        // Those that the hub has closed may have bytes left to write: they count until they are done.
        if self.open.len() >= api::hub::MAX_TUNNELS || self.pumps.len() >= 2 * api::hub::MAX_TUNNELS {
            return refuse(format!("the device has {} tunnels already; close one", api::hub::MAX_TUNNELS));
        }
        if !self.opens.take(now) {
            return refuse("too many tunnels in a short time; try again in a moment".into());
        }
        let who: String = who.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(MAX_WHO).collect();
        let stream = match node.open_tunnel(&who) {
            Ok(stream) => stream,
            Err(reason) => return refuse(reason),
        };
        outbox.send(Say::TunnelOpened(TunnelOpened { id }))?;
        let tunnel = Tunnel { inbox: Inbox::default(), credit: Credit::default() };
        self.pumps.spawn(pump::pump(id, stream, tunnel.inbox.clone(), tunnel.credit.clone(), outbox.clone()));
        self.open.insert(id, tunnel);
        Ok(())
    }

    /// Waits until one has ended; for ever while there is none.
    pub(super) async fn ended(&mut self) {
        match self.pumps.join_next().await {
            Some(Ok(id)) => drop(self.open.remove(&id)),
            Some(Err(error)) => tracing::warn!(%error, "a tunnel ended abnormally"),
            None => std::future::pending().await,
        }
    }
}

impl Opens {
    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.refilled).as_millis() / REFILL.as_millis();
        if let Some(earned) = u32::try_from(earned).ok().filter(|earned| *earned > 0) {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

/// A piece for the hub.
fn piece(id: u32, data: Vec<u8>) -> Say {
    Say::TunnelData(TunnelData { id, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_opened_at_people_s_pace() {
        let now = Instant::now();
        let mut opens = Opens { left: BURST, refilled: now };
        assert_eq!((0..100).filter(|_| opens.take(now)).count(), BURST as usize);
        let later = now + REFILL * 2;
        assert_eq!((0..100).filter(|_| opens.take(later)).count(), 2);
        assert_eq!((0..100).filter(|_| opens.take(later + Duration::from_secs(3600))).count(), BURST as usize);
    }
}
