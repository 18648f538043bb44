//! HTTP's connections: bounded in number, per address and in how long they may stand still. What is answered is [`super::respond`]'s.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

use super::respond::respond;
use crate::serve::warehouse::Warehouse;

/// Connections at once: a rack that starts together.
const MOST_CONNECTIONS: usize = 256;
/// Connections of one machine.
const MOST_OF_ONE: usize = 8;
/// A connection on which nothing moves for this long is ended.
const STALL: Duration = Duration::from_secs(30);
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(10);
/// A server without a free descriptor waits this long for one: the kernel offers no event for that.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until the program ends.
///
/// # Errors
/// The listening socket fails.
pub async fn run(listener: TcpListener, warehouse: Arc<Warehouse>) -> io::Result<()> {
    let open = Open::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(BREATH).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let SocketAddr::V4(peer) = peer else { continue };
        // A connection too many is closed without a word: an answer would need what is lacking.
        let Some(place) = Place::take(&open, peer.ip().to_owned().into()) else { continue };
        let warehouse = warehouse.clone();
        tokio::spawn(async move {
            serve(stream, *peer.ip(), warehouse).await;
            drop(place);
        });
    }
}

/// Whether accepting may succeed later: the client was quick to go, or descriptors are short.
fn is_passing(error: &io::Error) -> bool {
    let too_many = matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
    too_many || error.kind() == io::ErrorKind::ConnectionAborted
}

type Open = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One of the places for connections, given back when dropped.
struct Place {
    open: Open,
    peer: IpAddr,
}

impl Place {
    fn take(open: &Open, peer: IpAddr) -> Option<Self> {
        let mut count = open.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (count.values().sum::<usize>(), count.get(&peer).copied().unwrap_or(0));
        if all >= MOST_CONNECTIONS || own >= MOST_OF_ONE {
            return None;
        }
        count.insert(peer, own + 1);
        Some(Self { open: open.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut count = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match count.get(&self.peer) {
            Some(own) if *own > 1 => *count.entry(self.peer).or_default() -= 1,
            Some(_) | None => drop(count.remove(&self.peer)),
        }
    }
}

/// One connection, until it ends or stands still.
async fn serve(stream: TcpStream, peer: Ipv4Addr, warehouse: Arc<Warehouse>) {
    let moved = Arc::new(AtomicU64::new(0));
    let counted = moved.clone();
    let service = service_fn(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        let (warehouse, counted) = (warehouse.clone(), counted.clone());
        async move {
            // Opening an image hashes its end and writes its records: not on the thread that moves packets.
            let response = tokio::task::spawn_blocking(move || respond(&request, peer, &warehouse, &counted));
            Ok::<_, Infallible>(response.await.expect("answering a request does not panic"))
        }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => drop(ended), // Policy: how a client's connection ends is the delivery's to tell
        () = stalled(&moved, STALL) => {}
    }
}

/// Returns when nothing moved between two looks.
async fn stalled(moved: &AtomicU64, every: Duration) {
    let mut last = moved.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(every).await;
        let now = moved.load(Ordering::Relaxed);
        if now == last {
            return;
        }
        last = now;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::serve::testing::run;

    #[test]
    fn a_connection_on_which_nothing_moves_is_ended() {
        const EVERY: Duration = Duration::from_millis(100);
        run(async {
            let moved = AtomicU64::new(0);
            timeout(EVERY * 50, stalled(&moved, EVERY)).await.expect("it stands still");
            let moving = async {
                for _ in 0..20 {
                    tokio::time::sleep(EVERY / 10).await;
                    moved.fetch_add(1, Ordering::Relaxed);
                }
            };
            tokio::select! {
                () = moving => {}
                () = stalled(&moved, EVERY) => panic!("it moves"),
            }
        });
    }

    #[test]
    fn one_machine_does_not_take_every_connection() {
        let open = Open::default();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let mut places: Vec<Place> = (0..MOST_OF_ONE).map(|_| Place::take(&open, address(1)).expect("free")).collect();
        assert!(Place::take(&open, address(1)).is_none());
        assert!(Place::take(&open, address(2)).is_some());
        places.pop();
        assert!(Place::take(&open, address(1)).is_some());
        places.clear();
        assert!(open.lock().expect("not poisoned").is_empty());
    }
}
