//! A response's body: a few bytes, or an image read as fast as the client takes it, some chunks ahead and no more.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

use super::receipt::Tally;
use crate::serve::image::Patched;
use crate::serve::warehouse::{Delivery, unreadable};

/// Bytes read at once.
const CHUNK_BYTES: u64 = 256 << 10;
/// Chunks read ahead of a client.
const AHEAD: usize = 4;

/// What goes out.
#[derive(Debug)]
pub enum Outgoing {
    /// These bytes.
    Bytes(Option<Bytes>),
    /// A part of an image.
    Image(Box<Stream>),
}

/// A part of an image on its way.
#[derive(Debug)]
pub struct Stream {
    chunks: mpsc::Receiver<std::io::Result<Bytes>>,
    left: u64,
    delivery: Option<Delivery>,
    tally: Arc<Tally>,
}

impl Outgoing {
    /// A text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Bytes(Some(text.into()))
    }

    /// A part of an image, told to its delivery.
    pub fn image(image: Patched, range: Range<u64>, mut delivery: Delivery, tally: Arc<Tally>) -> Self {
        let (sender, chunks) = mpsc::channel(AHEAD);
        let left = range.end - range.start;
        delivery.begin(range.start, image.bytes());
        tokio::task::spawn_blocking(move || read(&image, range, &sender));
        Self::Image(Box::new(Stream { chunks, left, delivery: Some(delivery), tally }))
    }
}

/// Reads until the end, or until nobody takes it any more.
fn read(image: &Patched, range: Range<u64>, to: &mpsc::Sender<std::io::Result<Bytes>>) {
    let mut at = range.start;
    while at < range.end {
        let count = CHUNK_BYTES.min(range.end - at);
        let chunk = image.chunk(at, count);
        let failed = chunk.is_err();
        if to.blocking_send(chunk).is_err() || failed {
            return;
        }
        at += count;
    }
}

impl Stream {
    /// A chunk on its way out; after the last one the delivery waits for the machine's word.
    fn pass(&mut self, chunk: Bytes) -> Bytes {
        let count = chunk.len() as u64;
        self.left -= count;
        self.tally.tick(count);
        if let Some(delivery) = &mut self.delivery {
            delivery.advance(count);
        }
        if self.left == 0
            && let Some(delivery) = self.delivery.take()
        {
            self.tally.hand_over(delivery);
        }
        chunk
    }

    fn fail(&mut self, error: &std::io::Error) {
        if let Some(delivery) = self.delivery.take() {
            delivery.fail(&unreadable(error));
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Image(stream) => stream.chunks.poll_recv(context).map(|chunk| match chunk? {
                Ok(chunk) => Some(Ok(Frame::data(stream.pass(chunk)))),
                Err(error) => {
                    stream.fail(&error);
                    Some(Err(error))
                }
            }),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Image(stream) => SizeHint::with_exact(stream.left),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::Image(stream) => stream.left == 0,
        }
    }
}
