//! Accepting: who gets a place, who is told apart as what, and when a caller has had his time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use super::limits::Limits;
use super::places::{NoPlace, Place, Places, Shares, neighbour};
use super::{device, web};
use crate::metrics::{Metrics, Unserved, WhyUnserved};
use crate::session::{Devices, Directory};
use crate::tls::{Caller, TlsConfigs};

/// A dead connection is noticed by the kernel after about this long.
const DEAD_AFTER: Duration = Duration::from_secs(90);
/// How often callers that were turned away are told of in the log, and forgotten addresses are dropped.
const SWEEP: Duration = Duration::from_secs(60);

/// What the port is made of.
pub struct Parts<D> {
    /// What devices talk to.
    pub devices: Devices<D>,
    /// What everyone else talks to.
    pub web: Router,
    /// Who sees which certificate.
    pub tls: TlsConfigs,
    /// How much anybody gets.
    pub limits: Limits,
    /// Counters.
    pub metrics: Metrics,
}

/// The port's state, shared by its connections.
pub struct Door<D> {
    pub(super) devices: Devices<D>,
    pub(super) web: Router,
    pub(super) limits: Limits,
    pub(super) device_places: Places,
    metrics: Metrics,
    tls: TlsConfigs,
    strangers: Places,
    web_places: Places,
    rates: DefaultKeyedRateLimiter<IpAddr>,
}

impl<D: Directory> Door<D> {
    /// Makes it of its parts.
    pub fn new(parts: Parts<D>) -> Arc<Self> {
        let Parts { devices, web, tls, limits, metrics } = parts;
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limits.calls_per_second)).allow_burst(at_least_one(limits.calls_at_once));
        Arc::new(Self {
            device_places: Places::new(Shares::of_anybody(limits.devices)),
            strangers: Places::new(Shares::of_each(limits.strangers, limits.strangers_of_one)),
            web_places: Places::new(Shares::of_each(limits.web, limits.web_of_one)),
            rates: RateLimiter::keyed(quota),
            devices,
            web,
            tls,
            limits,
            metrics,
        })
    }

    pub(super) fn turn_away(&self, reason: Unserved) {
        self.metrics.unserved.get_or_create(&WhyUnserved { reason }).inc();
    }

    fn no_place(&self, error: NoPlace) {
        self.turn_away(match error {
            NoPlace::Full => Unserved::Full,
            NoPlace::Crowded => Unserved::Crowded,
        });
    }

    /// A stranger's place for a new caller, unless it calls too often or has enough of them.
    fn admit(&self, caller: IpAddr) -> Option<Place> {
        self.metrics.connections.inc();
        if self.rates.check_key(&neighbour(caller)).is_err() {
            self.turn_away(Unserved::Fast);
            return None;
        }
        self.strangers.take(caller).map_err(|error| self.no_place(error)).ok()
    }

    pub(super) fn web_place(&self, caller: IpAddr) -> Option<Place> {
        self.web_places.take(caller).map_err(|error| self.no_place(error)).ok()
    }

    fn turned_away(&self) -> u64 {
        let count = |reason| self.metrics.unserved.get_or_create(&WhyUnserved { reason }).get();
        [Unserved::Full, Unserved::Crowded, Unserved::Fast, Unserved::Slow].into_iter().map(count).sum()
    }
}

/// Serves the TLS port until `stop` says so. Sessions that run are not ended here.
pub async fn serve<D: Directory>(listener: TcpListener, door: Arc<Door<D>>, mut stop: watch::Receiver<bool>) {
    let mut sweep = tokio::time::interval(SWEEP);
    let mut told = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
            _ = sweep.tick() => {
                told = tell(&door, told);
                continue;
            }
        };
        let Some((stream, caller)) = accepted_or_pause(accepted).await else { continue };
        let Some(place) = door.admit(caller.ip()) else { continue };
        tokio::spawn(greet(stream, caller, place, Arc::clone(&door)));
    }
}

/// Serves web requests without TLS, for a reverse proxy before it. No device is served there.
pub async fn serve_plain<D: Directory>(listener: TcpListener, door: Arc<Door<D>>, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some((stream, caller)) = accepted_or_pause(accepted).await else { continue };
        let Some(place) = door.web_place(caller.ip()) else { continue };
        tokio::spawn(web::serve(stream, web::Entrance::Plain(caller.ip()), place, Arc::clone(&door)));
    }
}

fn tell<D: Directory>(door: &Door<D>, told: u64) -> u64 {
    door.rates.retain_recent();
    door.devices.forget_calls();
    let now = door.turned_away();
    if now > told {
        warn!(callers = now - told, "turned callers away: too many or too often from one address, too many in all, or too slow");
    }
    now
}

async fn accepted_or_pause(accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, SocketAddr)> {
    match accepted {
        Ok((stream, caller)) => {
            if let Err(error) = tune(&stream) {
                debug!(%caller, %error, "cannot tune a connection");
            }
            Some((stream, caller))
        }
        Err(error) => {
            // Out of descriptors or memory, or the caller is gone already: the next accept may do better, but not at once.
            warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// No delay for small messages, and an end for connections whose other side vanished.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(DEAD_AFTER))
}

async fn greet<D: Directory>(stream: TcpStream, caller: SocketAddr, place: Place, door: Arc<Door<D>>) {
    match timeout(door.limits.handshake, handshake(stream, &door.tls)).await {
        // Tasks of their own: what the handshake took is given back.
        Ok(Ok((Caller::Device, tls))) => {
            tokio::spawn(device::serve(tls, caller.ip(), place, door));
        }
        Ok(Ok((Caller::Web, tls))) => {
            drop(place);
            let Some(place) = door.web_place(caller.ip()) else { return };
            tokio::spawn(web::serve(tls, web::Entrance::Direct(caller.ip()), place, door));
        }
        Ok(Err(error)) => {
            door.turn_away(Unserved::Handshake);
            debug!(%caller, %error, "TLS handshake failed");
        }
        Err(_) => {
            door.turn_away(Unserved::Slow);
            info!(%caller, "TLS handshake took too long");
        }
    }
}

async fn handshake(stream: TcpStream, tls: &TlsConfigs) -> io::Result<(Caller, TlsStream<TcpStream>)> {
    let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let (caller, config) = tls.choose(&started.client_hello());
    Ok((caller, started.into_stream(config).await?))
}
