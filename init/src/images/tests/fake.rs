//! containerd's stores in memory: content that checks digests, images, leases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use api::containerd::services::content::v1::content_server::{Content, ContentServer};
use api::containerd::services::content::v1::*;
use api::containerd::services::images::v1::images_server::{Images, ImagesServer};
use api::containerd::services::images::v1::*;
use api::containerd::services::leases::v1::leases_server::{Leases, LeasesServer};
use api::containerd::services::leases::v1::{AddResourceRequest, CreateRequest, CreateResponse, DeleteRequest};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, Streaming};

use crate::images::Digest;

#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) bytes: Vec<u8>,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) content: BTreeMap<String, Stored>,
    pub(super) images: BTreeMap<String, Image>,
    pub(super) leases: BTreeSet<String>,
    pub(super) writes: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }
}

/// Serves on a socket in the folder.
pub(super) async fn serve(fake: &Fake, folder: &Path) -> PathBuf {
    let socket = folder.join(format!("containerd-{}.sock", fake.state().writes));
    let _ = std::fs::remove_file(&socket);
    let listener = tokio::net::UnixListener::bind(&socket).expect("the folder is ours");
    let router = tonic::transport::Server::builder()
        .add_service(ContentServer::new(fake.clone()))
        .add_service(ImagesServer::new(fake.clone()))
        .add_service(LeasesServer::new(fake.clone()));
    tokio::spawn(router.serve_with_incoming(UnixListenerStream::new(listener)));
    socket
}

fn check_namespace<T>(request: &Request<T>) {
    let namespace = request.metadata().get("containerd-namespace").map(|value| value.as_bytes());
    assert_eq!(namespace, Some(&b"k8s.io"[..]));
}

#[tonic::async_trait]
impl Content for Fake {
    type ReadStream = BoxStream<'static, Result<ReadContentResponse, Status>>;
    type WriteStream = BoxStream<'static, Result<WriteContentResponse, Status>>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        check_namespace(&request);
        let digest = request.into_inner().digest;
        let found = self.state().content.contains_key(&digest);
        if found { Ok(Response::new(InfoResponse::default())) } else { Err(Status::not_found(digest)) }
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        let request = request.into_inner();
        let info = request.info.unwrap_or_default();
        let mut state = self.state();
        let stored = state.content.get_mut(&info.digest).ok_or_else(|| Status::not_found(info.digest.clone()))?;
        for path in request.update_mask.unwrap_or_default().paths {
            let key = path.strip_prefix("labels.").expect("only labels are changed").to_owned();
            stored.labels.insert(key.clone(), info.labels[&key].clone());
        }
        Ok(Response::new(UpdateResponse::default()))
    }

    async fn read(&self, _: Request<ReadContentRequest>) -> Result<Response<Self::ReadStream>, Status> {
        Err(Status::unimplemented("the importer reads nothing back"))
    }

    async fn write(&self, request: Request<Streaming<WriteContentRequest>>) -> Result<Response<Self::WriteStream>, Status> {
        check_namespace(&request);
        let state = (request.into_inner(), self.clone(), Vec::new());
        let answers = stream::unfold(state, async |(mut requests, fake, mut bytes)| {
            let request = requests.message().await.ok()??;
            let answer = fake.take(&request, &mut bytes);
            Some((answer, (requests, fake, bytes)))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        Err(Status::not_found(request.into_inner().r#ref))
    }
}

impl Fake {
    fn take(&self, request: &WriteContentRequest, bytes: &mut Vec<u8>) -> Result<WriteContentResponse, Status> {
        match request.action() {
            WriteAction::Stat => self.state().writes += 1,
            WriteAction::Write => {
                if request.offset != bytes.len() as i64 {
                    return Err(Status::out_of_range("gap"));
                }
                bytes.extend(&request.data);
            }
            WriteAction::Commit => {
                let digest = Digest::of(bytes).to_string();
                if request.expected != digest || request.total != bytes.len() as i64 {
                    return Err(Status::failed_precondition("unexpected digest or size"));
                }
                if self.state().content.insert(digest, Stored { bytes: bytes.clone(), ..Stored::default() }).is_some() {
                    return Err(Status::already_exists("content"));
                }
            }
        }
        Ok(WriteContentResponse::default())
    }
}

#[tonic::async_trait]
impl Images for Fake {
    async fn get(&self, request: Request<GetImageRequest>) -> Result<Response<GetImageResponse>, Status> {
        let name = request.into_inner().name;
        let image = self.state().images.get(&name).cloned().ok_or_else(|| Status::not_found(name))?;
        Ok(Response::new(GetImageResponse { image: Some(image) }))
    }

    async fn list(&self, _: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        Ok(Response::new(ListImagesResponse { images: self.state().images.values().cloned().collect() }))
    }

    async fn create(&self, request: Request<CreateImageRequest>) -> Result<Response<CreateImageResponse>, Status> {
        let image = request.into_inner().image.unwrap_or_default();
        let mut state = self.state();
        if state.images.contains_key(&image.name) {
            return Err(Status::already_exists(image.name));
        }
        state.images.insert(image.name.clone(), image);
        Ok(Response::new(CreateImageResponse::default()))
    }

    async fn update(&self, request: Request<UpdateImageRequest>) -> Result<Response<UpdateImageResponse>, Status> {
        let image = request.into_inner().image.unwrap_or_default();
        self.state().images.insert(image.name.clone(), image);
        Ok(Response::new(UpdateImageResponse::default()))
    }

    async fn delete(&self, request: Request<DeleteImageRequest>) -> Result<Response<()>, Status> {
        self.state().images.remove(&request.into_inner().name);
        Ok(Response::new(()))
    }
}

#[tonic::async_trait]
impl Leases for Fake {
    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        check_namespace(&request);
        let id = request.into_inner().id;
        let fresh = self.state().leases.insert(id.clone());
        if fresh { Ok(Response::new(CreateResponse::default())) } else { Err(Status::already_exists(id)) }
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>, Status> {
        let id = request.into_inner().id;
        let found = self.state().leases.remove(&id);
        if found { Ok(Response::new(())) } else { Err(Status::not_found(id)) }
    }

    async fn add_resource(&self, request: Request<AddResourceRequest>) -> Result<Response<()>, Status> {
        let found = self.state().leases.contains(&request.into_inner().id);
        if found { Ok(Response::new(())) } else { Err(Status::not_found("lease")) }
    }
}
