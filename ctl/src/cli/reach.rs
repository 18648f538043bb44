//! From the global options to a connected node: which node, by which way, which certificate, which device id.

use std::path::Path;

use machine_config::types::DeviceId;

use crate::context::{Context, ContextFile};
use crate::failure::{Exit, Explain, Failure, UsageError};
use crate::hub::{Hub, device_named, login};
use client::{ClientIdentity, ConnectOptions, Made, NodeClient, Place, Trust};

use super::args::{DeviceName, Global, Via};

/// How sure the command must be of the device.
#[derive(Debug, Clone)]
pub(super) enum Meant {
    /// The one that goes by this name; the hub's word for which that is will do.
    Named,
    /// Exactly the one the operator's own file names, or that the command line or the context knows: it is sent secrets.
    Exactly(Option<DeviceId>),
}

impl Meant {
    fn device(&self) -> Option<DeviceId> {
        match self {
            Self::Named => None,
            Self::Exactly(device) => device.clone(),
        }
    }
}

/// Nobody but the hub says which device is meant.
#[derive(Debug, thiserror::Error)]
#[error("only the hub says that `{name}` is the device {id}")]
struct Unvouched {
    name: String,
    id: DeviceId,
}

impl Explain for Unvouched {
    fn exit(&self) -> Exit {
        Exit::Identity
    }

    fn hint(&self) -> Option<String> {
        Some(format!(
            "what is sent may hold secrets; compare the id with the device's label, then use --device {}, set target.deviceId in the file, \
             or say --trust-first-use to take the hub's word and remember it",
            self.id
        ))
    }
}

/// Connects to the node the options mean. The device a file names for itself counts when neither the command line nor the context knows the
/// device.
pub(super) async fn reach(global: &Global, meant: Meant) -> Result<NodeClient, Failure> {
    let file = ContextFile::load(global.context.as_deref())?;
    match global.via {
        None => at_its_address(global, file, meant.device()).await,
        Some(Via::Hub) => through_hub(global, file, meant).await,
    }
}

/// The node as it is shown in questions and answers, before it is reached.
pub(super) fn name(global: &Global) -> Result<String, Failure> {
    let file = ContextFile::load(global.context.as_deref())?;
    match global.via {
        None => Ok(file.context().find(global.node.as_deref())?.0),
        Some(Via::Hub) => Ok(named(global, file.context())?.to_string()),
    }
}

async fn at_its_address(global: &Global, mut file: ContextFile, meant_for: Option<DeviceId>) -> Result<NodeClient, Failure> {
    let (name, known) = file.context().find(global.node.as_deref())?;
    let expected = id_of(global.device.as_ref())?.or(known.device).or(meant_for);
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

fn id_of(device: Option<&DeviceName>) -> Result<Option<DeviceId>, UsageError> {
    match device {
        None => Ok(None),
        Some(DeviceName::Id(id)) => Ok(Some(id.clone())),
        Some(DeviceName::Name(name)) => Err(UsageError {
            message: format!("`{name}` is no device id: 64 lower-case hexadecimal digits"),
            hint: "names of devices are the hub's: add --via hub".into(),
        }),
    }
}

async fn through_hub(global: &Global, mut file: ContextFile, meant: Meant) -> Result<NodeClient, Failure> {
    let name = named(global, file.context())?;
    let hub = login::known(&file, global.timeout)?;
    let identity = identity(global.cert.as_deref(), &file)?;
    let device = match vouched(&name, file.context()).or(meant.device()) {
        Some(device) => device,
        None => by_hubs_word(global, &hub, &mut file, &name.to_string(), &meant).await?,
    };
    let place = Place::Hub { device: name.to_string(), hub: hub.url.to_string() };
    let stream = hub.tunnel(&device).await?;
    let trust = Trust::Device(device);
    Ok(client::connect_over(Made { stream, place, trust, identity, timeout: global.timeout }).await?)
}

/// What the options call the device.
fn named(global: &Global, context: &Context) -> Result<DeviceName, UsageError> {
    let node = || global.node.as_ref().or(context.node.as_ref()).and_then(|name| name.parse().ok());
    global.device.clone().or_else(node).ok_or_else(|| UsageError {
        message: "no device is named".into(),
        hint: "add --device NAME; `skerryctl hub devices` lists the names".into(),
    })
}

/// The id that the command line or the context knows the device by.
fn vouched(name: &DeviceName, context: &Context) -> Option<DeviceId> {
    match name {
        DeviceName::Id(id) => Some(id.clone()),
        DeviceName::Name(name) => {
            let at_hub = context.hub.as_ref().and_then(|hub| hub.devices.get(name));
            at_hub.or_else(|| context.nodes.get(name).and_then(|node| node.device.as_ref())).cloned()
        }
    }
}

/// The id that the hub says. The device still has to prove it; what is trusted is that this device is the one of that name.
async fn by_hubs_word(
    global: &Global,
    hub: &Hub,
    file: &mut ContextFile,
    name: &str,
    meant: &Meant,
) -> Result<DeviceId, Failure> {
    let id = device_named(hub, name).await?.id;
    if global.trust_first_use {
        file.remember_at_hub(name, &id)?;
        eprintln!(
            "remembered {name} as device {id} in {}: so says the hub; compare the id with the device's label",
            file.path().display()
        );
        return Ok(id);
    }
    match meant {
        Meant::Named => {
            eprintln!("{} says that {name} is device {id} (--trust-first-use remembers it)", hub.url);
            Ok(id)
        }
        Meant::Exactly(_) => Err(Unvouched { name: name.to_owned(), id }.into()),
    }
}

fn identity(cert: Option<&Path>, file: &ContextFile) -> Result<Option<ClientIdentity>, Failure> {
    let files = match cert {
        Some(cert) => Some((cert.to_owned(), cert.to_owned())),
        None => file.identity_files(),
    };
    Ok(files.map(|(cert, key)| ClientIdentity::load(&cert, &key)).transpose()?)
}
