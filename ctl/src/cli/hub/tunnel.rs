//! `hub tunnel`: a local port that is a device's API, for tools that speak TLS to it themselves. Nothing is opened and nothing read here.

use std::net::SocketAddr;
use std::sync::Arc;

use machine_config::types::DeviceId;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::failure::{Exit, Explain, Failure};
use crate::hub::{Hub, HubError};
use crate::view::View;

use super::super::args::Global;
use super::args::TunnelArgs;
use super::{hub_of, id_of};

/// The port cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

impl Explain for ListenError {
    fn exit(&self) -> Exit {
        Exit::Failure
    }

    fn hint(&self) -> Option<String> {
        Some("choose another with --listen ADDRESS:PORT; port 0 takes a free one".into())
    }
}

#[derive(Debug, Serialize)]
struct Listening {
    listening: SocketAddr,
    device: DeviceId,
}

impl View for Listening {
    fn text(&self) -> String {
        let Self { listening, device } = self;
        format!("{listening} is {device}\nskerryctl --node {listening} --device {device} status\n")
    }
}

pub(super) async fn run(global: &Global, command: TunnelArgs) -> Result<(), Failure> {
    let TunnelArgs { target, listen } = command;
    let hub = hub_of(global)?;
    let device = id_of(&hub, &target).await?;
    // Tried once before anybody connects: whoever starts it learns at once that the device is away.
    drop(hub.tunnel(&device).await?);
    let failed = |source| ListenError { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let listening = listener.local_addr().map_err(failed)?;
    global.output.show_item(&Listening { listening, device: device.clone() })?;
    tokio::select! {
        error = forward(listener, hub, device) => Err(failed(error).into()),
        // Ending it is how it ends.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Each connection gets a tunnel of its own, as many at once as a device has.
async fn forward(listener: TcpListener, hub: Hub, device: DeviceId) -> std::io::Error {
    let places = Arc::new(Semaphore::new(api::hub::MAX_TUNNELS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the places are never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return error,
        };
        let (hub, device) = (hub.clone(), device.clone());
        tokio::spawn(async move {
            if let Err(error) = carry(stream, &hub, &device).await {
                eprintln!("error: {}", Failure::from(error));
            }
            drop(place);
        });
    }
}

async fn carry(mut stream: TcpStream, hub: &Hub, device: &DeviceId) -> Result<(), HubError> {
    let mut tunnel = hub.tunnel(device).await?;
    // Whichever side ends it, and however: the other is told by the end of its connection.
    tokio::io::copy_bidirectional(&mut stream, &mut tunnel).await.ok();
    Ok(())
}
