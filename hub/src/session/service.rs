//! The gRPC side of sessions: one method, small buffers, bounded messages.

use std::sync::Arc;

use api::hub::v1::{DeviceMessage, HubMessage};
use api::hub::{MAX_MESSAGE_BYTES, NONCE_BYTES};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use machine_config::DeviceId;
use prost::bytes::Buf as _;
use std::num::NonZeroU32;
use std::time::Duration;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, Streaming};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::directory::Directory;
use super::driver::Driver;
use super::mailbox::Mailbox;
use super::outbox::{Messages, outbox};
use super::proof::Channel;
use super::registry::Sessions;
use crate::listen::Visit;
use crate::metrics::Metrics;

/// The one method's path.
const METHOD: &str = "/skerry.hub.v1.Devices/Session";
/// Bytes of a call's buffer to begin with; heartbeats fit.
const BUFFER_BYTES: usize = 1 << 10;
/// Bytes that are put into one frame before it is sent.
const YIELD_BYTES: usize = 32 << 10;
/// Bytes of a message of a device that is not admitted. Decoded a message may take seventy times its bytes, and anybody has a key of his own.
const STRANGERS_BYTES: usize = 64 << 10;
/// Calls of one proven device at once, and the pause after which it may call once more.
const CALLS_AT_ONCE: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
const CALL_PAUSE: Duration = Duration::from_secs(4);

/// What devices talk to. Clones serve the same hub.
pub struct Devices<D>(pub(super) Arc<Hub<D>>);

impl<D> Clone for Devices<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What all sessions share.
pub(super) struct Hub<D> {
    pub(super) directory: D,
    pub(super) sessions: Sessions,
    pub(super) metrics: Metrics,
    pub(super) calls: DefaultKeyedRateLimiter<DeviceId>,
    pin: [u8; 32],
}

impl<D: Directory> Devices<D> {
    /// Serves devices for the hub with this pin.
    pub fn new(pin: [u8; 32], directory: D, sessions: Sessions, metrics: Metrics) -> Self {
        let quota = Quota::with_period(CALL_PAUSE).expect("the pause is not zero").allow_burst(CALLS_AT_ONCE);
        Self(Arc::new(Hub { directory, sessions, metrics, calls: RateLimiter::keyed(quota), pin }))
    }

    /// Forgets devices that have not called for a while. To be called now and then.
    pub fn forget_calls(&self) {
        self.0.calls.retain_recent();
    }

    /// Answers the call of a connection.
    pub async fn call(&self, visit: Arc<Visit>, request: http::Request<Body>) -> http::Response<Body> {
        if request.uri().path() != METHOD {
            return Status::unimplemented("a device has one thing to say to its hub: Session").into_http();
        }
        let codec = SmallCodec(Arc::clone(&visit));
        let call = Call { hub: Arc::clone(&self.0), visit };
        Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE_BYTES).streaming(call, request).await
    }
}

struct Call<D> {
    hub: Arc<Hub<D>>,
    visit: Arc<Visit>,
}

impl<D: Directory> StreamingService<DeviceMessage> for Call<D> {
    type Response = HubMessage;
    type ResponseStream = Messages;
    type Future = std::future::Ready<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Streaming<DeviceMessage>>) -> Self::Future {
        std::future::ready(self.begin(request.into_inner()).map(Response::new))
    }
}

impl<D: Directory> Call<D> {
    fn begin(&self, incoming: Streaming<DeviceMessage>) -> Result<Messages, Status> {
        if !self.visit.call() {
            return Err(Status::failed_precondition("one session per connection"));
        }
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| Status::unavailable("the hub has no random bytes; come back later"))?;
        let channel = Channel { pin: self.hub.pin, nonce, exporter: *self.visit.exporter() };
        let mailbox = Arc::new(Mailbox::default());
        let (outbox, messages) = outbox(Arc::clone(mailbox.bell()));
        let driver = Driver::new(Arc::clone(&self.hub), Arc::clone(&self.visit), mailbox, outbox, channel);
        tokio::spawn(driver.run(incoming));
        Ok(messages)
    }
}

/// Protobuf with buffers of a size that thousands of idle calls can have.
struct SmallCodec(Arc<Visit>);

/// Looks at a message's size before it is decoded.
struct Measured {
    visit: Arc<Visit>,
    inner: ProstDecoder<DeviceMessage>,
}

impl Decoder for Measured {
    type Item = DeviceMessage;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<DeviceMessage>, Status> {
        if message.remaining() > STRANGERS_BYTES && !self.visit.is_admitted() {
            return Err(Status::out_of_range("a device that is not admitted sends a message larger than 64 KiB"));
        }
        self.inner.decode(message)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.inner.buffer_settings()
    }
}

impl Codec for SmallCodec {
    type Encode = HubMessage;
    type Decode = DeviceMessage;
    type Encoder = ProstEncoder<HubMessage>;
    type Decoder = Measured;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<HubMessage, DeviceMessage>::raw_encoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        let inner = ProstCodec::<HubMessage, DeviceMessage>::raw_decoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES));
        Measured { visit: Arc::clone(&self.0), inner }
    }
}
