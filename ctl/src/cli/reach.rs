//! From the global options to a connected node: which node, which certificate, which device id.

use std::path::Path;

use machine_config::types::DeviceId;

use crate::client::{self, ClientIdentity, ConnectOptions, NodeClient, Trust};
use crate::context::ContextFile;
use crate::failure::Failure;

use super::args::Global;

/// Connects to the node the options mean. `meant_for` is the device a configuration names for itself: it counts when neither the
/// command line nor the context knows the device.
pub(super) async fn reach(global: &Global, meant_for: Option<DeviceId>) -> Result<NodeClient, Failure> {
    let mut file = ContextFile::load(global.context.as_deref())?;
    let (name, known) = file.context().find(global.node.as_deref())?;
    let expected = global.device.clone().or(known.device).or(meant_for);
    let first_use = expected.is_none() && global.trust_first_use;
    let trust = match expected {
        Some(device) => Trust::Device(device),
        None if first_use => Trust::FirstUse,
        None => Trust::Nobody,
    };
    let identity = identity(global.cert.as_deref(), &file)?;
    let address = known.endpoint.clone();
    let node = client::connect(ConnectOptions { address, trust, identity, timeout: global.timeout }).await?;
    if first_use {
        let id = node.device_id();
        file.remember(&name, &known.endpoint, id)?;
        eprintln!("remembered {name} as device {id} in {}", file.path().display());
        eprintln!("compare the id with the device's console or label: whoever answered first is trusted from now on");
    }
    Ok(node)
}

fn identity(cert: Option<&Path>, file: &ContextFile) -> Result<Option<ClientIdentity>, Failure> {
    let files = match cert {
        Some(cert) => Some((cert.to_owned(), cert.to_owned())),
        None => file.identity_files(),
    };
    Ok(files.map(|(cert, key)| ClientIdentity::load(&cert, &key)).transpose()?)
}
