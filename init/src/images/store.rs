//! containerd's stores of content and images, in the namespace Kubernetes uses. Each write is checked against its digest.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use api::containerd::services::content::v1::content_client::ContentClient;
use api::containerd::services::content::v1::{AbortRequest, Info, InfoRequest, UpdateRequest, WriteAction, WriteContentRequest};
use api::containerd::services::images::v1::images_client::ImagesClient;
use api::containerd::services::images::v1::{CreateImageRequest, GetImageRequest, Image, UpdateImageRequest};
use api::containerd::services::leases::v1::leases_client::LeasesClient;
use api::containerd::services::leases::v1::{AddResourceRequest, CreateRequest, DeleteRequest, Resource};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::digest::Digest;
use super::layout::Descriptor;
use crate::unix_channel;

/// The namespace in which Kubernetes and the container runtime interface look for images.
const NAMESPACE: &str = "k8s.io";

/// Keeps the garbage collector off content that nothing names yet. One name for ever: what a crash left is found and removed.
const LEASE: &str = "skerry-images";

/// Sent at once; containerd takes up to 16 MiB.
const CHUNK_BYTES: usize = 256 << 10;

/// Kubernetes sees the image, and never removes it to free space: without a registry it could not come back.
const LABELS: [(&str, &str); 2] = [("io.cri-containerd.image", "managed"), ("io.cri-containerd.pinned", "pinned")];

/// What containerd did not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not answer.
    #[error("cannot connect to containerd at {socket}: is it running?")]
    Connect {
        /// Where.
        socket: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// It refused.
    #[error("containerd cannot {action}: {}", status.message())]
    Refused {
        /// To do what.
        action: String,
        /// What it answered.
        status: Box<Status>,
    },
    /// Content is not what its name says.
    #[error("content {expected} is damaged: it has the digest {found}")]
    Damaged {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Content could not be read.
    #[error("cannot read content: {0}")]
    Read(#[from] io::Error),
}

/// Adds namespace and lease to every call.
#[derive(Debug, Clone)]
pub(super) struct Scope;

impl Interceptor for Scope {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
        request.metadata_mut().insert("containerd-lease", MetadataValue::from_static(LEASE));
        Ok(request)
    }
}

type Scoped = InterceptedService<Channel, Scope>;

/// A connection to containerd.
#[derive(Debug, Clone)]
pub struct Store {
    content: ContentClient<Scoped>,
    images: ImagesClient<Scoped>,
    leases: LeasesClient<Scoped>,
}

impl Store {
    /// Connects.
    pub async fn connect(socket: &Path) -> Result<Self, StoreError> {
        let channel = unix_channel::connect(socket)
            .await
            .map_err(|source| StoreError::Connect { socket: socket.display().to_string(), source })?;
        Ok(Self {
            content: ContentClient::with_interceptor(channel.clone(), Scope),
            images: ImagesClient::with_interceptor(channel.clone(), Scope),
            leases: LeasesClient::with_interceptor(channel, Scope),
        })
    }

    /// Takes the lease, anew if an earlier run left it.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        self.end().await?;
        let created = self.leases.create(CreateRequest { id: LEASE.to_owned(), ..Default::default() }).await;
        created.map(drop).map_err(refused("make a lease"))
    }

    /// Gives the lease back: from now on images keep what they name, and the garbage collector takes the rest.
    pub(super) async fn end(&mut self) -> Result<(), StoreError> {
        let deleted = self.leases.delete(DeleteRequest { id: LEASE.to_owned(), sync: false }).await;
        tolerate(Code::NotFound, deleted.map(drop)).map_err(refused("give a lease back"))
    }

    /// Writes content whose digest may be unknown; returns it.
    pub(super) async fn write_checked(
        &mut self,
        expected: Option<&Digest>,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<Digest, StoreError> {
        if let Some(digest) = expected
            && self.has(digest).await?
        {
            return Ok(digest.clone());
        }
        let name = expected.map_or("unknown", Digest::as_str);
        let reference = format!("skerry-images-{name}");
        let aborted = self.content.abort(AbortRequest { r#ref: reference.clone() }).await;
        tolerate(Code::NotFound, aborted.map(drop)).map_err(refused("forget an unfinished write"))?;
        let upload = Upload::open(&mut self.content, reference, size).await.map_err(refused("take content"))?;
        upload.send(expected, content).await
    }

    /// Writes content of a known digest.
    pub(super) async fn write(&mut self, digest: &Digest, size: u64, content: &mut dyn Read) -> Result<(), StoreError> {
        self.write_checked(Some(digest), size, content).await.map(drop)
    }

    /// Whether the content is there; if so, the lease holds it too.
    async fn has(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        match self.content.info(InfoRequest { digest: digest.to_string() }).await {
            Err(status) if status.code() == Code::NotFound => return Ok(false),
            answer => answer.map_err(refused("look content up"))?,
        };
        let resource = Resource { id: digest.to_string(), r#type: "content".to_owned() };
        let request = AddResourceRequest { id: LEASE.to_owned(), resource: Some(resource) };
        self.leases.add_resource(request).await.map_err(refused("hold content by a lease"))?;
        Ok(true)
    }

    /// Labels content.
    pub(super) async fn label(&mut self, digest: &Digest, labels: &BTreeMap<String, String>) -> Result<(), StoreError> {
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let labels = labels.clone().into_iter().collect();
        let info = Info { digest: digest.to_string(), size: 0, labels };
        let request = UpdateRequest { info: Some(info), update_mask: Some(prost_types::FieldMask { paths }) };
        self.content.update(request).await.map(drop).map_err(refused("label content"))
    }

    /// Makes the name point at the target, whatever it pointed at before.
    pub(super) async fn name(&mut self, name: &str, target: &Descriptor) -> Result<(), StoreError> {
        let labels = LABELS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let target = api::containerd::types::Descriptor {
            media_type: target.media_type.clone(),
            digest: target.digest.to_string(),
            size: target.size,
            annotations: target.annotations.clone().into_iter().collect(),
        };
        let image = Image { name: name.to_owned(), labels, target: Some(target) };
        match self.images.create(CreateImageRequest { image: Some(image.clone()) }).await {
            Err(status) if status.code() == Code::AlreadyExists => {}
            answer => return answer.map(drop).map_err(refused(&format!("name the image {name}"))),
        }
        let paths = LABELS.iter().map(|(key, _)| format!("labels.{key}")).chain(["target".to_owned()]).collect();
        let request = UpdateImageRequest { image: Some(image), update_mask: Some(prost_types::FieldMask { paths }) };
        self.images.update(request).await.map(drop).map_err(refused(&format!("name the image {name}")))
    }

    /// What the name points at.
    pub(super) async fn target_of(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        match self.images.get(GetImageRequest { name: name.to_owned() }).await {
            Err(status) if status.code() == Code::NotFound => Ok(None),
            answer => {
                let image = answer.map_err(refused(&format!("look the image {name} up")))?.into_inner().image;
                Ok(image.and_then(|image| image.target).map(|target| target.digest))
            }
        }
    }

    /// Whether all these names point at these targets.
    pub(super) async fn has_images(&mut self, images: &[(String, Digest)]) -> Result<bool, StoreError> {
        for (name, digest) in images {
            if self.target_of(name).await?.as_deref() != Some(digest.as_str()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One blob on its way.
struct Upload {
    requests: mpsc::Sender<WriteContentRequest>,
    answers: tonic::Streaming<api::containerd::services::content::v1::WriteContentResponse>,
    reference: String,
    total: i64,
}

impl Upload {
    async fn open(content: &mut ContentClient<Scoped>, reference: String, size: u64) -> Result<Self, Status> {
        let total = i64::try_from(size).map_err(|_| Status::out_of_range("content of more than 8 EiB"))?;
        let (requests, outgoing) = mpsc::channel(1);
        let stat =
            WriteContentRequest { action: WriteAction::Stat.into(), r#ref: reference.clone(), total, ..Default::default() };
        // It fits: the channel is new. containerd answers the call itself only after its first message.
        requests.send(stat).await.map_err(|_| Status::internal("the channel is open"))?;
        let mut answers = content.write(ReceiverStream::new(outgoing)).await?.into_inner();
        answers.message().await?;
        Ok(Self { requests, answers, reference, total })
    }

    async fn send(mut self, expected: Option<&Digest>, content: &mut dyn Read) -> Result<Digest, StoreError> {
        let (mut hash, mut offset) = (Sha256::new(), 0);
        loop {
            let mut data = Vec::new();
            content.take(CHUNK_BYTES as u64).read_to_end(&mut data)?;
            if data.is_empty() {
                break;
            }
            hash.update(&data);
            let end = offset + data.len() as i64;
            self.ask(WriteContentRequest { action: WriteAction::Write.into(), offset, data, ..Default::default() }).await?;
            offset = end;
        }
        if offset != self.total {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle of it").into());
        }
        let found = Digest::finish(hash);
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            return Err(StoreError::Damaged { expected: expected.clone(), found });
        }
        let commit =
            WriteContentRequest { action: WriteAction::Commit.into(), offset, expected: found.to_string(), ..Default::default() };
        match self.ask(commit).await {
            Err(StoreError::Refused { status, .. }) if status.code() == Code::AlreadyExists => Ok(found),
            answer => answer.map(|()| found),
        }
    }

    async fn ask(&mut self, request: WriteContentRequest) -> Result<(), StoreError> {
        let request = WriteContentRequest { r#ref: self.reference.clone(), total: self.total, ..request };
        // When the other end has hung up, its answer says why.
        let _ = self.requests.send(request).await;
        let answer = self.answers.message().await.map_err(refused("take content"))?;
        answer.map(drop).ok_or_else(|| refused("take content")(Status::aborted("it ended the transfer")))
    }
}

fn refused(action: &str) -> impl FnOnce(Status) -> StoreError + use<> {
    let action = action.to_owned();
    move |status| StoreError::Refused { action, status: Box::new(status) }
}

fn tolerate(code: Code, result: Result<(), Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.code() == code => Ok(()),
        result => result,
    }
}
