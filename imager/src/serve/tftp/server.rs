//! TFTP's sockets: one for requests, one for each transfer. A transfer's socket takes packets of its client alone. Decides nothing beyond how many
//! transfers there may be.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Bytes;
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

use super::packet::{self, ErrorCode, MOST_REQUEST, Packet, ReadRequest, Terms};
use super::transfer::{Action, End, Event, Transfer};
use crate::serve::aside::aside;
use crate::serve::image::Patched;
use crate::serve::names::Served;
use crate::serve::places::{NoPlace, Places};
use crate::serve::server::{SocketError, udp};
use crate::serve::warehouse::{Content, Denied, Warehouse, unreadable};

/// Where TFTP servers listen.
pub const PORT: u16 = 69;
/// Transfers at once: a rack that starts together.
const MOST_TRANSFERS: usize = 128;
/// Transfers of one machine. Its firmware has one; those it began before a reset have not timed out yet.
const MOST_OF_ONE: usize = 8;
/// Bytes of an image in memory for one transfer.
const CHUNK_BYTES: u64 = 128 << 10;

/// Serves until the socket fails.
///
/// # Errors
/// The socket cannot be read.
pub async fn run(socket: UdpSocket, warehouse: Arc<Warehouse>) -> io::Result<()> {
    let places = Places::new(MOST_TRANSFERS, MOST_OF_ONE);
    let mut buffer = vec![0; MOST_REQUEST + 1];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        let place = match places.take(peer) {
            Ok(place) => place,
            // A request that comes twice is of a client that has not yet heard the first answer.
            Err(NoPlace::Twice) => continue,
            // From this socket: one of its own is what it may not have.
            Err(full @ (NoPlace::OfOne | NoPlace::All)) => {
                let refusal = packet::error(ErrorCode::Other, &full.to_string());
                socket.send_to(&refusal, peer).await.ok(); // lost like any datagram
                continue;
            }
        };
        let request = buffer[..length].to_vec();
        let warehouse = warehouse.clone();
        tokio::spawn(async move {
            serve(&request, peer, &warehouse).await;
            drop(place);
        });
    }
}

async fn serve(request: &[u8], peer: SocketAddr, warehouse: &Arc<Warehouse>) {
    // Policy: without a socket there is no way to tell the client; it asks again.
    let Ok(socket) = open(peer, warehouse).await else { return };
    let refusal = match ReadRequest::parse(request) {
        Err(error) => packet::error(error.code(), &error.to_string()),
        Ok(request) => match find(&request, peer, warehouse).await {
            Ok(content) => return send(&socket, &request, content, warehouse.interface.mtu).await,
            Err(denied) => packet::error(code(&denied), &denied.to_string()),
        },
    };
    socket.send(&refusal).await.ok(); // lost like any datagram
}

async fn open(peer: SocketAddr, warehouse: &Warehouse) -> Result<UdpSocket, SocketError> {
    let interface = &warehouse.interface;
    let socket = udp(&interface.name, SocketAddrV4::new(interface.address, 0))?;
    socket.connect(peer).await.map_err(|source| SocketError { what: format!("TFTP to {peer}"), source })?;
    Ok(socket)
}

async fn find(request: &ReadRequest, peer: SocketAddr, warehouse: &Arc<Warehouse>) -> Result<Content, Denied> {
    let IpAddr::V4(peer) = peer.ip() else { return Err(Denied::Stranger) };
    let file: Served = request.file.parse().map_err(|_| Denied::NotFound)?;
    let warehouse = warehouse.clone();
    aside(move || warehouse.open(&file, peer)).await
}

fn code(denied: &Denied) -> ErrorCode {
    match denied {
        Denied::NotFound => ErrorCode::NotFound,
        Denied::Foreign(_) | Denied::Stranger | Denied::Served(_) => ErrorCode::Access,
        Denied::Failed(_) => ErrorCode::Other,
    }
}

/// Sends a file on the terms that its request asks for.
async fn send(socket: &UdpSocket, request: &ReadRequest, content: Content, mtu: u16) {
    let bytes = match &content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Image(image, _) => image.bytes(),
    };
    let (terms, options) = request.terms(bytes, mtu);
    let options = (!options.is_empty()).then(|| packet::option_ack(&options));
    let mut sender = Sender { socket, content, ahead: Ahead::default(), terms, options, begun: false, told: 0 };
    match sender.run(bytes).await {
        Ok(end) => sender.end(end).await,
        Err(error) => {
            let reason = unreadable(&error);
            socket.send(&packet::error(ErrorCode::Other, &reason)).await.ok(); // lost like any datagram
            if let Content::Image(_, delivery) = sender.content {
                delivery.fail(&reason);
            }
        }
    }
}

/// A file, its socket and how far it is.
struct Sender<'a> {
    socket: &'a UdpSocket,
    content: Content,
    ahead: Ahead,
    terms: Terms,
    options: Option<Vec<u8>>,
    begun: bool,
    told: u64,
}

impl Sender<'_> {
    /// Carries the transfer's actions out until it ends.
    async fn run(&mut self, bytes: u64) -> io::Result<End> {
        let (mut transfer, first) = Transfer::begin(Instant::now(), self.terms, bytes, self.options.is_some());
        let mut action = Some(first);
        let mut buffer = [0; 64];
        loop {
            match action {
                Some(Action::End(end)) => {
                    self.tell(&transfer, bytes);
                    return Ok(end);
                }
                Some(action) => self.act(action, &transfer).await?,
                None => {}
            }
            self.tell(&transfer, bytes);
            let event = match timeout_at(transfer.deadline().into(), self.socket.recv(&mut buffer)).await {
                Ok(Ok(length)) => Packet::parse(&buffer[..length]).map(Event::Packet),
                // The client's port is closed: it is gone without a word.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(End::Aborted(0)),
                Ok(Err(error)) => return Err(error),
                Err(_elapsed) => Some(Event::Timeout),
            };
            action = event.and_then(|event| transfer.on_event(Instant::now(), event));
        }
    }

    async fn act(&mut self, action: Action, transfer: &Transfer) -> io::Result<()> {
        match action {
            Action::SendOptions => self.put(self.options.as_deref().unwrap_or_default()).await,
            Action::SendBlocks(blocks) => {
                let mut packet = Vec::with_capacity(4 + usize::from(self.terms.block));
                for number in blocks {
                    let (offset, length) = transfer.place(number);
                    packet.clear();
                    packet.extend(packet::data_header(number as u16)); // the wire's numbers wrap
                    packet.extend(self.read(offset, length).await?);
                    self.put(&packet).await;
                }
            }
            Action::End(_) => {}
        }
        Ok(())
    }

    async fn read(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        match &self.content {
            Content::Image(image, _) => self.ahead.read(image, offset, length).await,
            Content::Bytes(bytes) => {
                let at = usize::try_from(offset).expect("within a file in memory");
                Ok(&bytes[at..at + length])
            }
        }
    }
}

impl Sender<'_> {
    async fn put(&self, packet: &[u8]) {
        // Policy: a packet that cannot be sent is one that was lost; the deadline sends it again or gives up.
        self.socket.send(packet).await.ok();
    }

    /// Tells the delivery what the client has. A probe never begins one.
    fn tell(&mut self, transfer: &Transfer, bytes: u64) {
        let Content::Image(_, delivery) = &mut self.content else { return };
        let delivered = transfer.delivered();
        if delivered == 0 {
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            delivery.begin(0, bytes);
        }
        delivery.advance(delivered - self.told);
        self.told = delivered;
    }

    async fn end(self, end: End) {
        let Content::Image(_, delivery) = self.content else { return };
        match end {
            End::Complete => delivery.finish().await,
            End::Probed => {}
            End::Aborted(code) => delivery.fail(&format!("its firmware gave up (TFTP error {code})")),
            End::Gone => delivery.fail("it fell silent"),
        }
    }
}

/// The part of an image that is in memory, so that a disk is waited for once in many blocks.
#[derive(Default)]
struct Ahead {
    from: u64,
    bytes: Bytes,
}

impl Ahead {
    /// What stands at an offset, read from there on if it is not in memory.
    async fn read(&mut self, image: &Patched, offset: u64, length: usize) -> io::Result<&[u8]> {
        let within = offset.checked_sub(self.from).and_then(|at| usize::try_from(at).ok());
        if within.is_none_or(|at| at + length > self.bytes.len()) {
            let count = (image.bytes() - offset).min(CHUNK_BYTES.max(length as u64));
            let image = image.clone();
            self.bytes = aside(move || image.chunk(offset, count)).await?;
            self.from = offset;
        }
        let at = usize::try_from(offset - self.from).expect("it is in memory");
        Ok(&self.bytes[at..at + length])
    }
}
