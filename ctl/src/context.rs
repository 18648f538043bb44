//! The context file: which certificate to show, and which device stands behind which address.
//!
//! It holds no private key, only the paths of files that do; paths are relative to its own folder. A remembered device id is
//! what makes a second connection safe, so the file is written by rename and never loses an id on its own.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use machine_config::types::{DeviceId, Digest, DnsName, Secret};
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Explain};
use crate::files::{self, FileError, folder_of};
use crate::fleet::CONTEXT_FILE;
use crate::hub::HubUrl;
use client::NodeAddress;

/// The file beside the context that holds the token for the hub.
const HUB_TOKEN_FILE: &str = "hub.token";

const HEADER: &str = "\
# How skerryctl reaches the devices of this fleet. Paths are relative to this file.
#   cert    PEM file with your client certificate (and its key, unless `key` names another file)
#   node    the node meant when --node is not given
#   nodes   NAME: {endpoint: HOST[:PORT], device: ID}; the id is what a device is recognised by
#   hub     the hub for `skerryctl hub` and --via hub, written by `skerryctl hub login`; `token` is a file
";

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Context {
    /// The fleet it is for; for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<DnsName>,
    /// PEM file with the client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// PEM file with the certificate's key; none: it stands in `cert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The node meant when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Known nodes by name, or by the address they were first reached at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, KnownNode>,
    /// The hub that devices phone home to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<KnownHub>,
}

/// The hub somebody logged in to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KnownHub {
    /// Where it answers.
    pub url: HubUrl,
    /// What its key is recognised by; none: the authorities of this host vouch for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Digest>,
    /// The file with the token.
    pub token: PathBuf,
    /// Devices by the names they are reached by through the hub.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<String, DeviceId>,
}

/// One known node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KnownNode {
    /// Where it answers.
    pub endpoint: NodeAddress,
    /// Who it must prove to be; none: not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
}

/// A context and the file it lives in.
#[derive(Debug, Clone)]
pub struct ContextFile {
    path: PathBuf,
    context: Context,
}

/// Why the context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not a context file.
    #[error("cannot use the context file {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong there.
        reason: String,
    },
    /// No node was named, neither on the command line nor in the file.
    #[error("no node is named")]
    NoNode,
    /// The named node is neither in the file nor an address.
    #[error("cannot understand the node `{given}`: {reason}")]
    Address {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Explain for ContextError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoNode | Self::Address { .. } => Exit::Usage,
            Self::File(_) | Self::Parse { .. } => Exit::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoNode => Some("add --node HOST[:PORT], or write `node: NAME` into the context file".into()),
            Self::Address { .. } => {
                Some("give HOST, HOST:PORT or [IPV6]:PORT, or a name from `nodes:` of the context file".into())
            }
            Self::File(error) => error.hint(),
            Self::Parse { .. } => Some("its keys are fleet, cert, key, node, nodes and hub; see docs/cli.md".into()),
        }
    }
}

impl Context {
    /// The context of a fleet just made.
    pub fn for_fleet(fleet: &DnsName, cert: &str) -> Self {
        Self { fleet: Some(fleet.clone()), cert: Some(cert.into()), ..Self::default() }
    }

    /// The file's text, with its explaining header.
    pub fn to_yaml(&self) -> String {
        let body = serde_saphyr::to_string(self).expect("a context holds only text");
        format!("{HEADER}{body}")
    }

    /// The node that `given` (or else `node:`) means: under which name it is remembered, where it is, who it must be.
    pub fn find(&self, given: Option<&str>) -> Result<(String, KnownNode), ContextError> {
        let name = given.or(self.node.as_deref()).ok_or(ContextError::NoNode)?;
        if let Some(node) = self.nodes.get(name) {
            return Ok((name.to_owned(), node.clone()));
        }
        let endpoint: NodeAddress =
            name.parse().map_err(|reason: String| ContextError::Address { given: name.to_owned(), reason })?;
        // `10.0.0.5` and `10.0.0.5:7440` are the same place.
        let known = self.nodes.iter().find(|(_, node)| node.endpoint == endpoint);
        Ok(match known {
            Some((name, node)) => (name.clone(), node.clone()),
            None => (endpoint.to_string(), KnownNode { endpoint, device: None }),
        })
    }
}

impl ContextFile {
    /// The file named, or the default one; a default file that is not there is an empty context.
    pub fn load(named: Option<&Path>) -> Result<Self, ContextError> {
        match named {
            Some(path) if path.is_dir() => Self::read(&path.join(CONTEXT_FILE)),
            Some(path) => Self::read(path),
            None => {
                let candidates = default_paths();
                match candidates.iter().find(|path| path.exists()) {
                    Some(path) => Self::read(path),
                    None => {
                        Ok(Self { path: candidates.into_iter().next_back().unwrap_or_default(), context: Context::default() })
                    }
                }
            }
        }
    }

    fn read(path: &Path) -> Result<Self, ContextError> {
        let text = files::read_text(path)?;
        let context = serde_saphyr::from_str(&text)
            .map_err(|error| ContextError::Parse { path: path.into(), reason: error.to_string() })?;
        Ok(Self { path: path.into(), context })
    }

    /// What the file says.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Certificate and key files, their paths made absolute or relative to here.
    pub fn identity_files(&self) -> Option<(PathBuf, PathBuf)> {
        let folder = folder_of(&self.path);
        let cert = folder.join(self.context.cert.as_ref()?);
        let key = self.context.key.as_ref().map_or_else(|| cert.clone(), |key| folder.join(key));
        Some((cert, key))
    }

    /// Remembers who answers at `endpoint`.
    pub fn remember(&mut self, name: &str, endpoint: &NodeAddress, device: &DeviceId) -> Result<(), ContextError> {
        let node = KnownNode { endpoint: endpoint.clone(), device: Some(device.clone()) };
        self.change(|context| drop(context.nodes.insert(name.to_owned(), node)))
    }

    /// Remembers which device the hub means by a name.
    pub fn remember_at_hub(&mut self, name: &str, device: &DeviceId) -> Result<(), ContextError> {
        self.change(|context| {
            if let Some(hub) = &mut context.hub {
                hub.devices.insert(name.to_owned(), device.clone());
            }
        })
    }

    /// Remembers a hub and the token for it, which gets a file of its own. Names of another hub's devices are forgotten.
    pub fn log_in(&mut self, url: &HubUrl, pin: Option<&Digest>, token: &Secret) -> Result<(), ContextError> {
        let made = |devices| KnownHub { url: url.clone(), pin: pin.cloned(), token: HUB_TOKEN_FILE.into(), devices };
        // The context first: it makes the folder. Without the token it says to log in.
        self.change(|context| {
            let same = context.hub.take().filter(|known| known.url == *url);
            context.hub = Some(made(same.map(|known| known.devices).unwrap_or_default()));
        })?;
        let path = folder_of(&self.path).join(HUB_TOKEN_FILE);
        Ok(files::replace_secret(&path, format!("{}\n", token.expose()).as_bytes())?)
    }

    /// Forgets the hub and the token for it.
    pub fn log_out(&mut self) -> Result<Option<HubUrl>, ContextError> {
        let Some(hub) = self.context.hub.clone() else { return Ok(None) };
        files::remove(&folder_of(&self.path).join(&hub.token))?;
        self.change(|context| context.hub = None)?;
        Ok(Some(hub.url))
    }

    /// The token for the hub; none: somebody logged out, or never in.
    pub fn hub_token(&self) -> Result<Option<Secret>, ContextError> {
        let Some(hub) = &self.context.hub else { return Ok(None) };
        let path = folder_of(&self.path).join(&hub.token);
        if !path.exists() {
            return Ok(None);
        }
        let text = zeroize::Zeroizing::new(files::read_text(&path)?);
        Ok(text.lines().next().map(|line| Secret::from(line.trim().to_owned())))
    }

    /// Changes the file, keeping what others have written into it since it was read.
    fn change(&mut self, change: impl FnOnce(&mut Context)) -> Result<(), ContextError> {
        if self.path.exists() {
            self.context = Self::read(&self.path)?.context;
        } else {
            let folder = folder_of(&self.path);
            std::fs::create_dir_all(folder).map_err(|source| FileError::Write { path: folder.into(), source })?;
        }
        change(&mut self.context);
        files::replace(&self.path, self.context.to_yaml().as_bytes())?;
        Ok(())
    }
}

/// `./context.yaml`, then the user's own.
fn default_paths() -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from(CONTEXT_FILE)];
    let config = env::var_os("XDG_CONFIG_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let config = config.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    paths.extend(config.map(|config| config.join("skerry").join(CONTEXT_FILE)));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> DeviceId {
        String::from_iter([digit; 64]).parse().unwrap()
    }

    fn context() -> Context {
        serde_saphyr::from_str(&format!(
            "fleet: acme\ncert: admin.pem\nnode: shop\nnodes:\n  shop: {{endpoint: 10.0.0.5, device: {}}}\n",
            id('a')
        ))
        .unwrap()
    }

    #[test]
    fn a_node_is_found_by_name_by_default_and_by_its_address_in_any_form() {
        for given in [None, Some("shop"), Some("10.0.0.5"), Some("10.0.0.5:7440")] {
            let (name, node) = context().find(given).unwrap();
            assert_eq!((name.as_str(), node.device), ("shop", Some(id('a'))), "{given:?}");
        }
        let (name, node) = context().find(Some("10.0.0.5:7441")).unwrap();
        assert_eq!((name.as_str(), node.device), ("10.0.0.5:7441", None));
    }

    #[test]
    fn no_node_and_a_senseless_node_are_usage_errors() {
        for result in [Context::default().find(None), context().find(Some("a b")), context().find(Some("host:99999"))] {
            assert_eq!(result.unwrap_err().exit(), Exit::Usage);
        }
    }

    #[test]
    fn remembering_keeps_what_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("context.yaml");
        std::fs::write(&path, context().to_yaml()).unwrap();
        let mut file = ContextFile::load(Some(dir.path())).unwrap();
        file.remember("10.0.0.6:7440", &"10.0.0.6".parse().unwrap(), &id('b')).unwrap();
        let again = ContextFile::load(Some(&path)).unwrap();
        assert_eq!(again.context().find(Some("10.0.0.6")).unwrap().1.device, Some(id('b')));
        assert_eq!(again.context().find(None).unwrap().1.device, Some(id('a')));
        assert_eq!(again.identity_files().unwrap().0, dir.path().join("admin.pem"));
    }

    #[test]
    fn a_login_keeps_the_token_apart_and_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/context.yaml");
        let mut file = ContextFile { path: path.clone(), context: Context::default() };
        let url: HubUrl = "hub.example".parse().unwrap();
        let pin = Digest::of(b"key");
        file.log_in(&url, Some(&pin), &Secret::from("ska_secret".to_owned())).unwrap();
        file.remember_at_hub("shop", &id('c')).unwrap();
        assert!(!std::fs::read_to_string(&path).unwrap().contains("ska_secret"));
        let token = dir.path().join("deep/hub.token");
        assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);

        let mut again = ContextFile::load(Some(&path)).unwrap();
        assert_eq!(again.hub_token().unwrap().unwrap().expose(), "ska_secret");
        let hub = again.context().hub.clone().unwrap();
        assert_eq!((hub.url.clone(), hub.pin, hub.devices["shop"].clone()), (url.clone(), Some(pin), id('c')));
        again.log_in(&url, None, &Secret::from("ska_other".to_owned())).unwrap();
        assert_eq!(again.context().hub.as_ref().unwrap().devices.len(), 1, "the same hub");
        again.log_in(&"other.example".parse().unwrap(), None, &Secret::from("ska_other".to_owned())).unwrap();
        assert!(again.context().hub.as_ref().unwrap().devices.is_empty(), "another hub's names mean other devices");
        again.log_out().unwrap();
        assert!(!token.exists() && again.hub_token().unwrap().is_none());
        assert_eq!(again.log_out().unwrap(), None);
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("context.yaml");
        std::fs::write(&path, "fleet: acme\ncertificate: admin.pem\n").unwrap();
        let message = ContextFile::load(Some(&path)).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }
}
