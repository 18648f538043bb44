//! HTTP's connections: bounded in number, per address and in how long they may stand still. What is answered is [`super::respond`]'s.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

use super::receipt::{Counted, Tally, collect};
use super::respond::respond;
use crate::serve::aside::aside;
use crate::serve::places::Places;
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
    let places = Places::new(MOST_CONNECTIONS, MOST_OF_ONE);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(BREATH).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        // A connection too many is closed without a word: an answer would need what is lacking.
        let (SocketAddr::V4(from), Ok(place)) = (peer, places.take(peer)) else { continue };
        let warehouse = warehouse.clone();
        tokio::spawn(async move {
            serve(stream, *from.ip(), warehouse).await;
            drop(place);
        });
    }
}

/// Whether accepting may succeed later: the client was quick to go, or descriptors are short.
fn is_passing(error: &io::Error) -> bool {
    let too_many = matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
    too_many || error.kind() == io::ErrorKind::ConnectionAborted
}

/// One connection, until it ends, and what it sent is acknowledged, or stands still.
async fn serve(stream: TcpStream, peer: Ipv4Addr, warehouse: Arc<Warehouse>) {
    // Policy: without a descriptor for the acknowledgements it would not be known what was served; the machine asks again.
    let Ok(connection) = stream.as_fd().try_clone_to_owned() else { return };
    let tally = Arc::new(Tally::default());
    let own = tally.clone();
    let service = service_fn(move |request| {
        own.tick(1);
        let (warehouse, tally) = (warehouse.clone(), own.clone());
        // Opening an image hashes its end and writes its records.
        async move { Ok::<_, Infallible>(aside(move || respond(&request, peer, &warehouse, &tally)).await) }
    });
    let stream = TokioIo::new(Counted::new(stream, tally.clone()));
    let serving = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD).serve_connection(stream, service);
    let served = async {
        drop(serving.await); // Policy: how a client's connection ends is the delivery's to tell
        tally.end();
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(served, collect(&tally, connection)) } => {}
        () = stalled(&tally, STALL) => {}
    }
}

/// Returns when nothing moved between two looks.
async fn stalled(tally: &Tally, every: Duration) {
    let mut last = tally.moved();
    loop {
        tokio::time::sleep(every).await;
        let now = tally.moved();
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
            let tally = Tally::default();
            timeout(EVERY * 50, stalled(&tally, EVERY)).await.expect("it stands still");
            let moving = async {
                for _ in 0..20 {
                    tokio::time::sleep(EVERY / 10).await;
                    tally.tick(1);
                }
            };
            tokio::select! {
                () = moving => {}
                () = stalled(&tally, EVERY) => panic!("it moves"),
            }
        });
    }
}
