//! The books of one session's tunnels: which are open, and how much either side may still send. Pure.
//!
//! It carries no byte. A device that sends more than it was allowed to, or speaks of a tunnel that never was, breaks the protocol.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::hub::{MAX_TUNNELS, TUNNEL_PIECE_BYTES, TUNNEL_WINDOW_BYTES};

/// How long a device may take to open a tunnel.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Credit is given in portions of this size, so that small reads do not make a message each.
const CREDIT_PORTION: u32 = TUNNEL_WINDOW_BYTES / 4;
/// The most a device may allow the hub to send at once. The hub keeps no more than a window of it in memory anyway.
const MAX_ALLOWED: u32 = 16 * TUNNEL_WINDOW_BYTES;

/// How a device broke the rules of tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TunnelFault {
    /// It names a tunnel that the hub never asked for.
    #[error("it speaks of a tunnel that never was")]
    NeverWas,
    /// It answers twice, or sends before it answered.
    #[error("it sends into a tunnel that is not open, or opens it twice")]
    NotOpen,
    /// It sends more than it was allowed to.
    #[error("it sends more into a tunnel than it was given credit for")]
    Window,
    /// It allows more than makes sense.
    #[error("it gives more credit for a tunnel than the protocol knows")]
    Credit,
}

/// No more tunnels fit this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device has {MAX_TUNNELS} connections open, which is all it takes; close one")]
pub(super) struct Full;

#[derive(Debug)]
struct Tunnel {
    /// Until when it must be open; none: it is.
    opens_by: Option<Instant>,
    may_send: u32,
    may_receive: u32,
    /// Taken by the operator, no credit given for it yet.
    owed: u32,
}

/// The tunnels of one session.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    last: u32,
    tunnels: BTreeMap<u32, Tunnel>,
}

impl Tunnels {
    /// Begins one more; the device must say by a deadline that it is open.
    pub(super) fn begin(&mut self, now: Instant) -> Result<u32, Full> {
        if self.tunnels.len() >= MAX_TUNNELS {
            return Err(Full);
        }
        self.last = self.last.checked_add(1).ok_or(Full)?;
        let tunnel = Tunnel {
            opens_by: Some(now + OPEN_TIMEOUT),
            may_send: TUNNEL_WINDOW_BYTES,
            may_receive: TUNNEL_WINDOW_BYTES,
            owed: 0,
        };
        self.tunnels.insert(self.last, tunnel);
        Ok(self.last)
    }

    /// The tunnel the device speaks of; none: it was closed here meanwhile, and what is still under way is dropped.
    fn named(&mut self, id: u32) -> Result<Option<&mut Tunnel>, TunnelFault> {
        if id == 0 || id > self.last {
            return Err(TunnelFault::NeverWas);
        }
        Ok(self.tunnels.get_mut(&id))
    }

    /// The device says it is open. False: it was closed here meanwhile.
    pub(super) fn opened(&mut self, id: u32) -> Result<bool, TunnelFault> {
        let Some(tunnel) = self.named(id)? else { return Ok(false) };
        tunnel.opens_by.take().map(|_| true).ok_or(TunnelFault::NotOpen)
    }

    /// The device sent so many bytes. False: nobody is there to take them.
    pub(super) fn received(&mut self, id: u32, bytes: usize) -> Result<bool, TunnelFault> {
        let Some(tunnel) = self.named(id)? else { return Ok(false) };
        if tunnel.opens_by.is_some() {
            return Err(TunnelFault::NotOpen);
        }
        let bytes = u32::try_from(bytes).map_err(|_| TunnelFault::Window)?;
        if bytes as usize > TUNNEL_PIECE_BYTES {
            return Err(TunnelFault::Window);
        }
        tunnel.may_receive = tunnel.may_receive.checked_sub(bytes).ok_or(TunnelFault::Window)?;
        Ok(true)
    }

    /// The operator took so many bytes; what credit the device is to get for it, if it is worth a message by now.
    pub(super) fn taken(&mut self, id: u32, bytes: u32) -> Option<u32> {
        let tunnel = self.tunnels.get_mut(&id)?;
        tunnel.owed = tunnel.owed.saturating_add(bytes);
        if tunnel.owed < CREDIT_PORTION {
            return None;
        }
        let credit = std::mem::take(&mut tunnel.owed);
        tunnel.may_receive = tunnel.may_receive.saturating_add(credit).min(TUNNEL_WINDOW_BYTES);
        Some(credit)
    }

    /// The device allows so many more bytes.
    pub(super) fn credited(&mut self, id: u32, bytes: u32) -> Result<(), TunnelFault> {
        let Some(tunnel) = self.named(id)? else { return Ok(()) };
        let sum = tunnel.may_send.checked_add(bytes).filter(|sum| *sum <= MAX_ALLOWED);
        tunnel.may_send = sum.ok_or(TunnelFault::Credit)?;
        Ok(())
    }

    /// How much may be sent to the device now, as one piece.
    pub(super) fn sendable(&self, id: u32) -> usize {
        let open = self.tunnels.get(&id).filter(|tunnel| tunnel.opens_by.is_none());
        open.map_or(0, |tunnel| (tunnel.may_send as usize).min(TUNNEL_PIECE_BYTES))
    }

    /// So much was sent. False: more than [`Self::sendable`] said, which must not happen.
    pub(super) fn sent(&mut self, id: u32, bytes: usize) -> bool {
        if bytes > self.sendable(id) {
            return false;
        }
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.may_send = tunnel.may_send.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
        true
    }

    /// The device closed it. False: it was closed here already.
    pub(super) fn closed(&mut self, id: u32) -> Result<bool, TunnelFault> {
        let known = self.named(id)?.is_some();
        self.tunnels.remove(&id);
        Ok(known)
    }

    /// Ends one from this side. False: it is over already.
    pub(super) fn end(&mut self, id: u32) -> bool {
        self.tunnels.remove(&id).is_some()
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.tunnels.keys().copied().collect()
    }

    /// Those that the device should have opened by now.
    pub(super) fn overdue(&self, now: Instant) -> Vec<u32> {
        let late = |tunnel: &Tunnel| tunnel.opens_by.is_some_and(|by| by <= now);
        self.tunnels.iter().filter(|(_, tunnel)| late(tunnel)).map(|(id, _)| *id).collect()
    }

    /// When the next one is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.tunnels.values().filter_map(|tunnel| tunnel.opens_by).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (Tunnels, u32) {
        let mut tunnels = Tunnels::default();
        let id = tunnels.begin(Instant::now()).unwrap();
        assert!(tunnels.opened(id).unwrap());
        (tunnels, id)
    }

    #[test]
    fn a_device_may_send_a_window_and_not_a_byte_more() {
        let (mut tunnels, id) = open();
        for _ in 0..4 {
            assert_eq!(tunnels.received(id, TUNNEL_PIECE_BYTES), Ok(true));
        }
        assert_eq!(tunnels.received(id, 1), Err(TunnelFault::Window));
        assert_eq!(tunnels.taken(id, 100), None, "not worth a message");
        assert_eq!(tunnels.taken(id, CREDIT_PORTION), Some(CREDIT_PORTION + 100));
        assert_eq!(tunnels.received(id, TUNNEL_PIECE_BYTES), Ok(true));
        assert_eq!(tunnels.received(id, TUNNEL_PIECE_BYTES + 1), Err(TunnelFault::Window), "a piece is bounded as well");
    }

    #[test]
    fn the_hub_sends_no_more_than_the_device_allows() {
        let (mut tunnels, id) = open();
        for _ in 0..4 {
            assert!(tunnels.sent(id, tunnels.sendable(id)));
        }
        assert_eq!(tunnels.sendable(id), 0);
        assert!(!tunnels.sent(id, 1));
        tunnels.credited(id, 10).unwrap();
        assert_eq!(tunnels.sendable(id), 10);
        assert_eq!(tunnels.credited(id, u32::MAX), Err(TunnelFault::Credit));
    }

    #[test]
    fn a_tunnel_that_never_was_is_told_from_one_just_closed() {
        let (mut tunnels, id) = open();
        assert!(tunnels.end(id));
        assert_eq!(tunnels.received(id, 5), Ok(false), "under way when it was closed");
        assert_eq!(tunnels.closed(id), Ok(false));
        assert_eq!(tunnels.received(id + 1, 5), Err(TunnelFault::NeverWas));
        assert_eq!(tunnels.opened(0), Err(TunnelFault::NeverWas));
    }

    #[test]
    fn nothing_is_sent_before_the_device_has_opened() {
        let mut tunnels = Tunnels::default();
        let now = Instant::now();
        let id = tunnels.begin(now).unwrap();
        assert_eq!((tunnels.sendable(id), tunnels.received(id, 1)), (0, Err(TunnelFault::NotOpen)));
        assert_eq!(tunnels.overdue(now), Vec::<u32>::new());
        assert_eq!(tunnels.overdue(now + OPEN_TIMEOUT), [id]);
        tunnels.opened(id).unwrap();
        assert_eq!(tunnels.opened(id), Err(TunnelFault::NotOpen), "twice");
        assert_eq!(tunnels.deadline(), None);
    }

    #[test]
    fn a_device_has_a_bounded_number_of_tunnels() {
        let mut tunnels = Tunnels::default();
        for _ in 0..MAX_TUNNELS {
            tunnels.begin(Instant::now()).unwrap();
        }
        assert_eq!(tunnels.begin(Instant::now()), Err(Full));
    }
}
