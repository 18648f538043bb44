//! What an idle device costs on the line: every byte of TLS, and what TCP and IP add to it, over a day of virtual time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{self, AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::device::{Device, Network, settings};
use super::hub::{Guest, Hub};

/// IPv6 and TCP with time stamps, for a segment and for the acknowledgement that comes back alone.
const SEGMENT_BYTES: u64 = 40 + 32;
/// A month's bound.
const MONTH_BYTES: u64 = 10_000_000;

/// One end of a pipe that counts what is written into it, each write as a segment and its acknowledgement.
struct Counted {
    pipe: DuplexStream,
    bytes: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.pipe).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = &written {
            self.bytes.fetch_add(*length as u64 + 2 * SEGMENT_BYTES, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_device_costs_less_than_ten_megabytes_a_month() {
    let (hub, mut guests) = Hub::new();
    let (network, bytes) = (Network::default(), Arc::<AtomicU64>::default());
    let (serving, counter) = (hub.clone(), Arc::clone(&bytes));
    network.set("hub.example", move || {
        let (device, other) = io::duplex(64 << 10);
        let counted = |pipe| Counted { pipe, bytes: Arc::clone(&counter) };
        tokio::spawn(serving.clone().serve(counted(other)));
        Box::new(counted(device))
    });
    let device = Device::start(network, Some(settings(&["hub.example"], hub.pin)), hub.pin);
    let mut guest = Guest::next(&mut guests).await;
    guest.admits().await;
    let connecting = bytes.load(Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    let mut beats = 0_u64;
    while began.elapsed() < Duration::from_secs(86_400) {
        guest.takes_heartbeat().await;
        beats += 1;
    }
    let day = bytes.load(Ordering::Relaxed) - connecting;
    println!("device_idle_bytes_per_day {day} ({beats} heartbeats; connecting and enrolling once: {connecting})");
    assert!(day * 30 + connecting < MONTH_BYTES, "{day} bytes a day");
    assert_eq!(device.network.dials(), 1);
}
