//! The network of simulated devices: this host's loopback, with an address of its own for each device, so that what a hub allows one address counts as it
//! does for devices in as many places. What passes is counted as it is on a line with TCP and IP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use apid::phone_home::connect::DialError;
use apid::phone_home::{Address, Dial, Io};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// The first device's address.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
/// IPv6 and TCP with time stamps, for a segment and for the acknowledgement that comes back alone.
const SEGMENT_BYTES: u64 = 2 * (40 + 32);

/// Bytes on the line, of all who share it.
#[derive(Debug, Default)]
pub struct Traffic(AtomicU64);

impl Traffic {
    /// Bytes so far: each piece that was written or read counts as a segment with its acknowledgement.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, piece: usize) {
        if piece > 0 {
            self.0.fetch_add(piece as u64 + SEGMENT_BYTES, Ordering::Relaxed);
        }
    }
}

/// The way of one device to the network.
#[derive(Debug)]
pub struct Loopback {
    source: Ipv4Addr,
    traffic: Arc<Traffic>,
    first_call: Mutex<Option<Instant>>,
}

impl Loopback {
    /// That of the device with this number.
    pub fn of(number: u32, traffic: Arc<Traffic>) -> Self {
        Self { source: Ipv4Addr::from_bits(FIRST.to_bits() + number), traffic, first_call: Mutex::default() }
    }

    /// When it called first since it was last asked; asking forgets it.
    pub fn take_first_call(&self) -> Option<Instant> {
        // Nothing that could panic happens under it.
        self.first_call.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.source, 0).into())?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Dial for Loopback {
    async fn dial(&self, address: &Address) -> Result<Box<dyn Io>, DialError> {
        self.first_call.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        let address = address.authority().parse().map_err(|_| DialError::NoAddress)?;
        match self.connect(address).await {
            Ok(stream) => Ok(Box::new(Counted { stream, traffic: Arc::clone(&self.traffic) })),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(DialError::Refused { address }),
            Err(source) => Err(DialError::Network { address, source }),
        }
    }
}

struct Counted {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.traffic.add(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.traffic.add(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
