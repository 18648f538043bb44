//! The DHCPv4 client's decisions (RFC 2131 section 4.4) as a state machine without I/O: `on_event(now, event)` and `deadline()`.
//!
//! The first DISCOVER goes out as soon as there is a carrier, without the random delay of section 4.4.1: boot time counts, and devices of a
//! site do not all start within a second. Lost answers are asked for again after 1, 2, 4 ... 64 seconds, for ever.
//! A lease outlives a lost carrier until it expires; when the carrier is back, the machine asks whether it still holds (section 4.4.2).

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::lease::Lease;
use super::message::{Message, MessageType};
use super::options::{Code, Options};

/// Tries before an offer is forgotten and the search begins anew.
const REQUEST_TRIES: u32 = 4;

/// Tries to have a former lease confirmed before the search begins anew.
const REBOOT_TRIES: u32 = 2;

/// Least time between two requests to renew or rebind (RFC 2131 section 4.4.5).
const RENEW_PAUSE: Duration = Duration::from_secs(60);

/// Largest message we take: what fits one Ethernet frame.
const MAX_MESSAGE_BYTES: u16 = 1472;

/// Sent as vendor class, so that a site's operator recognises the device.
const VENDOR_CLASS: &[u8] = b"skerry";

const WANTED: [Code; 9] = [
    Code::SubnetMask,
    Code::Router,
    Code::DnsServers,
    Code::DomainName,
    Code::Mtu,
    Code::RenewalTime,
    Code::RebindingTime,
    Code::DomainSearch,
    Code::ClasslessRoutes,
];

/// What the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The link's hardware address.
    pub mac: [u8; 6],
    /// The name told to the server; none: no name.
    pub hostname: Option<String>,
    /// Seeds transaction numbers and jitter; must differ between boots and links.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The link has a carrier.
    CarrierUp,
    /// It has none any more.
    CarrierLost,
    /// A message arrived.
    Received(Message),
    /// The deadline has come.
    Timer,
    /// The device has another name now.
    Renamed(Option<String>),
}

/// How a message travels, and where answers are awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// To everybody on the link, below IP.
    Broadcast,
    /// To one server, from the leased address.
    Unicast {
        /// The leased address.
        from: Ipv4Addr,
        /// The server.
        to: Ipv4Addr,
    },
}

/// Why a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawal {
    /// Nobody renewed it in time.
    Expired,
    /// A server said no.
    Refused,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this message.
    Send {
        /// How.
        path: Path,
        /// What.
        message: Message,
    },
    /// Use this lease from now on; it may be the one in use, renewed.
    Bind(Lease),
    /// Stop using the lease.
    Withdraw(Withdrawal),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exchange {
    NoCarrier,
    Pausing,
    Discovering { tries: u32 },
    Requesting { address: Ipv4Addr, server: Ipv4Addr, tries: u32 },
    Rebooting { address: Ipv4Addr, tries: u32 },
    Bound,
    Renewing,
    Rebinding,
}

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    renew_at: Option<Instant>,
    rebind_at: Option<Instant>,
    expires_at: Option<Instant>,
}

/// The client of one link.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: Settings,
    random: u64,
    exchange: Exchange,
    held: Option<Held>,
    timer: Option<Instant>,
    xid: u32,
    began: Instant,
    refusals: u32,
}

impl Machine {
    /// A client that waits for a carrier.
    pub fn new(now: Instant, settings: Settings) -> Self {
        let random = settings.seed;
        Self { settings, random, exchange: Exchange::NoCarrier, held: None, timer: None, xid: 0, began: now, refusals: 0 }
    }

    /// When [`Event::Timer`] is due; none: only another event can move the machine.
    pub fn deadline(&self) -> Option<Instant> {
        let expires = self.held.as_ref().and_then(|held| held.expires_at);
        self.timer.into_iter().chain(expires).min()
    }

    /// Where answers are awaited; none: nothing needs to be open.
    pub fn listens(&self) -> Option<Path> {
        match self.exchange {
            Exchange::NoCarrier | Exchange::Pausing | Exchange::Bound => None,
            Exchange::Discovering { .. } | Exchange::Requesting { .. } | Exchange::Rebooting { .. } | Exchange::Rebinding => {
                Some(Path::Broadcast)
            }
            Exchange::Renewing => self.held.as_ref().map(|held| unicast(&held.lease)),
        }
    }

    /// Moves the machine; the actions are to be carried out in order.
    pub fn on_event(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::CarrierUp if self.exchange == Exchange::NoCarrier => match &self.held {
                Some(held) => {
                    let address = held.lease.address.addr();
                    self.begin(now, Exchange::Rebooting { address, tries: 0 }, &mut actions);
                }
                None => self.begin(now, Exchange::Discovering { tries: 0 }, &mut actions),
            },
            Event::CarrierUp => {}
            Event::CarrierLost => (self.exchange, self.timer) = (Exchange::NoCarrier, None),
            Event::Received(message) => self.on_message(now, &message, &mut actions),
            Event::Timer => self.on_timer(now, &mut actions),
            Event::Renamed(hostname) => self.on_rename(now, hostname, &mut actions),
        }
        actions
    }

    /// A server that keeps names learns a new one by an early renewal (RFC 2131 section 4.4.5 leaves the time to the client).
    fn on_rename(&mut self, now: Instant, hostname: Option<String>, actions: &mut Vec<Action>) {
        let renamed = self.settings.hostname != hostname;
        self.settings.hostname = hostname;
        if renamed && self.exchange == Exchange::Bound {
            self.begin(now, Exchange::Renewing, actions);
        }
    }

    fn on_timer(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.held.as_ref().and_then(|held| held.expires_at).is_some_and(|at| at <= now) {
            self.held = None;
            actions.push(Action::Withdraw(Withdrawal::Expired));
            if matches!(self.exchange, Exchange::Bound | Exchange::Renewing | Exchange::Rebinding) {
                return self.begin(now, Exchange::Discovering { tries: 0 }, actions);
            }
        }
        if self.timer.is_none_or(|at| at > now) {
            return;
        }
        match self.exchange.clone() {
            Exchange::NoCarrier => self.timer = None,
            Exchange::Pausing => self.begin(now, Exchange::Discovering { tries: 0 }, actions),
            Exchange::Discovering { tries } => self.send(now, Exchange::Discovering { tries: tries.saturating_add(1) }, actions),
            Exchange::Requesting { address, server, tries } if tries + 1 < REQUEST_TRIES => {
                self.send(now, Exchange::Requesting { address, server, tries: tries + 1 }, actions);
            }
            Exchange::Rebooting { address, tries } if tries + 1 < REBOOT_TRIES => {
                self.send(now, Exchange::Rebooting { address, tries: tries + 1 }, actions);
            }
            Exchange::Requesting { .. } | Exchange::Rebooting { .. } => {
                self.begin(now, Exchange::Discovering { tries: 0 }, actions);
            }
            Exchange::Bound | Exchange::Renewing => {
                let rebind = self.held.as_ref().and_then(|held| held.rebind_at).is_some_and(|at| at <= now);
                let next = if rebind { Exchange::Rebinding } else { Exchange::Renewing };
                if self.exchange == next { self.send(now, next, actions) } else { self.begin(now, next, actions) }
            }
            Exchange::Rebinding => self.send(now, Exchange::Rebinding, actions),
        }
    }

    fn on_message(&mut self, now: Instant, message: &Message, actions: &mut Vec<Action>) {
        if message.xid != self.xid || message.chaddr != self.settings.mac {
            return;
        }
        let server = server_of(message);
        match (&self.exchange, message.kind()) {
            (Exchange::Discovering { .. }, Some(MessageType::Offer)) => {
                if let Ok(offer) = Lease::from_ack(message) {
                    let next = Exchange::Requesting { address: offer.address.addr(), server: offer.server, tries: 0 };
                    self.send(now, next, actions);
                }
            }
            (Exchange::Requesting { server: chosen, .. }, Some(MessageType::Ack | MessageType::Nak))
                if server != Some(*chosen) => {}
            (
                Exchange::Requesting { .. } | Exchange::Rebooting { .. } | Exchange::Renewing | Exchange::Rebinding,
                Some(MessageType::Ack),
            ) => {
                if let Ok(lease) = Lease::from_ack(message) {
                    self.bind(now, lease, actions);
                }
            }
            (
                Exchange::Requesting { .. } | Exchange::Rebooting { .. } | Exchange::Renewing | Exchange::Rebinding,
                Some(MessageType::Nak),
            ) => self.refused(now, actions),
            // An answer to a question that is no longer asked.
            (_, _) => {}
        }
    }

    fn bind(&mut self, now: Instant, lease: Lease, actions: &mut Vec<Action>) {
        let at = |after: Option<Duration>| after.and_then(|after| now.checked_add(after));
        let held = Held {
            renew_at: at(lease.renew_after),
            rebind_at: at(lease.rebind_after),
            expires_at: at(lease.lifetime),
            lease: lease.clone(),
        };
        self.exchange = Exchange::Bound;
        self.timer = held.renew_at;
        self.held = Some(held);
        self.refusals = 0;
        actions.push(Action::Bind(lease));
    }

    /// Starts over: at once after the first refusal, later and later when refusals follow each other.
    fn refused(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.held.take().is_some() {
            actions.push(Action::Withdraw(Withdrawal::Refused));
        }
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals == 1 {
            return self.begin(now, Exchange::Discovering { tries: 0 }, actions);
        }
        self.exchange = Exchange::Pausing;
        self.timer = Some(now + self.back_off(self.refusals));
    }

    /// Sends the first message of a new transaction.
    fn begin(&mut self, now: Instant, exchange: Exchange, actions: &mut Vec<Action>) {
        self.xid = u32::try_from(self.next_random() >> 32).expect("the upper half of 64 bits");
        self.began = now;
        self.send(now, exchange, actions);
    }

    /// Enters an exchange and sends its message.
    fn send(&mut self, now: Instant, exchange: Exchange, actions: &mut Vec<Action>) {
        self.exchange = exchange;
        let mut message = self.message(now);
        let mut path = Path::Broadcast;
        match (&self.exchange, &self.held) {
            (Exchange::Discovering { .. }, _) => message.options.set(Code::MessageType, &[MessageType::Discover.to_wire()]),
            (Exchange::Requesting { address, server, .. }, _) => {
                message.options.set(Code::RequestedAddress, &address.octets());
                message.options.set(Code::ServerId, &server.octets());
            }
            (Exchange::Rebooting { address, .. }, _) => message.options.set(Code::RequestedAddress, &address.octets()),
            (Exchange::Renewing | Exchange::Rebinding, Some(held)) => {
                message.ciaddr = held.lease.address.addr();
                if self.exchange == Exchange::Renewing {
                    path = unicast(&held.lease);
                }
            }
            (Exchange::NoCarrier | Exchange::Pausing | Exchange::Bound | Exchange::Renewing | Exchange::Rebinding, _) => return,
        }
        self.timer = self.retry_at(now);
        actions.push(Action::Send { path, message });
    }

    /// The message common to all: a REQUEST that says who asks and what for.
    fn message(&self, now: Instant) -> Message {
        let mut options = Options::default();
        let mac = self.settings.mac;
        options.set(Code::MessageType, &[MessageType::Request.to_wire()]);
        options.set(Code::ClientId, &[&[1], &mac[..]].concat());
        options.set(Code::MaxMessageSize, &MAX_MESSAGE_BYTES.to_be_bytes());
        options.set(Code::ParameterList, &WANTED.map(Code::number));
        options.set(Code::VendorClass, VENDOR_CLASS);
        if let Some(hostname) = &self.settings.hostname {
            options.set(Code::HostName, hostname.as_bytes());
        }
        let secs = u16::try_from(now.saturating_duration_since(self.began).as_secs()).unwrap_or(u16::MAX);
        let unset = Ipv4Addr::UNSPECIFIED;
        Message { xid: self.xid, secs, ciaddr: unset, yiaddr: unset, chaddr: mac, options }
    }

    fn retry_at(&mut self, now: Instant) -> Option<Instant> {
        let tries = match &self.exchange {
            Exchange::Discovering { tries } | Exchange::Requesting { tries, .. } | Exchange::Rebooting { tries, .. } => *tries,
            Exchange::Renewing => return Some(until(now, self.held.as_ref().and_then(|held| held.rebind_at))),
            Exchange::Rebinding => return Some(until(now, self.held.as_ref().and_then(|held| held.expires_at))),
            Exchange::NoCarrier | Exchange::Pausing | Exchange::Bound => return None,
        };
        Some(now + self.back_off(tries))
    }

    /// 1, 2, 4 ... 64 seconds, an eighth more or less.
    fn back_off(&mut self, tries: u32) -> Duration {
        let base = Duration::from_secs(1 << tries.min(6));
        base * 7 / 8 + base / 4 * u32::try_from(self.next_random() % 1000).expect("less than 1000") / 1000
    }

    /// SplitMix64: enough for numbers that must differ, not for secrets.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn unicast(lease: &Lease) -> Path {
    Path::Unicast { from: lease.address.addr(), to: lease.server }
}

fn server_of(message: &Message) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = message.options.get(Code::ServerId)?.try_into().ok()?;
    Some(octets.into())
}

/// Half of what remains until `end`, but no less than a minute, and never past it (RFC 2131 section 4.4.5). Without an end: a minute.
fn until(now: Instant, end: Option<Instant>) -> Instant {
    let Some(end) = end else { return now + RENEW_PAUSE };
    let remains = end.saturating_duration_since(now);
    (now + (remains / 2).max(RENEW_PAUSE)).min(end)
}

#[cfg(test)]
mod tests;
