//! A throw-away fleet: made by the operator's own library, with the certificates that the tests show to nodes, good and bad.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use api::Role;
use client::ClientIdentity;
use ctl::fleet::{ClientCertificate, Fleet, InitOptions, expiry};
use jiff::Timestamp;
use machine_config::{FleetTrust, sign};

use crate::config::Config;

/// A fleet's folder, and what can be made with it.
#[derive(Debug)]
pub struct TestFleet {
    fleet: Fleet,
}

/// A client certificate with its key, in one PEM file.
#[derive(Debug, Clone)]
pub struct Credentials {
    path: PathBuf,
}

impl Credentials {
    /// Reads them for one connection.
    pub fn load(&self) -> Result<ClientIdentity> {
        ClientIdentity::load(&self.path, &self.path).with_context(|| format!("cannot load {}", self.path.display()))
    }
}

impl TestFleet {
    /// Opens the fleet in `folder`, or makes it under the name `name`.
    pub fn open_or_make(folder: &Path, name: &str) -> Result<Self> {
        if folder.join("fleet.pub").exists() {
            return Self::open(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        let options = InitOptions::new(name.parse().context("a fleet's name is a DNS name")?);
        let fleet = ctl::fleet::init(folder, &options).with_context(|| format!("cannot make fleet {name}"))?;
        Ok(Self { fleet })
    }

    /// Opens the fleet in `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        let fleet = Fleet::open(folder).with_context(|| format!("cannot open fleet {}", folder.display()))?;
        Ok(Self { fleet })
    }

    /// The folder, as `imager build --fleet` takes it.
    pub fn folder(&self) -> &Path {
        self.fleet.dir()
    }

    /// The folder's context file, as `skerryctl --context` takes it.
    pub fn context_file(&self) -> PathBuf {
        self.fleet.context_file()
    }

    /// What devices of this fleet trust, as SEED says it.
    pub fn trust(&self) -> FleetTrust {
        self.fleet.trust().clone()
    }

    /// The first configuration of a device of this fleet.
    pub fn config(&self) -> Result<Config> {
        Ok(Config::new(self.fleet.name().as_str(), &self.fleet.client_ca()?))
    }

    /// Signs a configuration.
    pub fn sign(&self, config: &Config) -> Result<Vec<u8>> {
        self.sign_text(&config.to_yaml())
    }

    /// Signs any text, even one that no device accepts.
    pub fn sign_text(&self, text: &str) -> Result<Vec<u8>> {
        sign(text.as_bytes(), &self.fleet.signing_key(None)?).context("cannot sign")
    }

    /// A certificate of `role` that is good for a day; issued into `folder`.
    pub fn certificate(&self, role: Role, folder: &Path) -> Result<Credentials> {
        let not_after = expiry(Timestamp::now(), 1)?;
        self.issue(ClientCertificate { role, name: format!("a-{}", role.as_str()), not_after }, folder)
    }

    /// An administrator's certificate whose time was over when this century began.
    pub fn expired_certificate(&self, folder: &Path) -> Result<Credentials> {
        let not_after = Timestamp::from_second(946_684_800)?;
        self.issue(ClientCertificate { role: Role::Admin, name: "yesterday".into(), not_after }, folder)
    }

    fn issue(&self, request: ClientCertificate, folder: &Path) -> Result<Credentials> {
        let path = folder.join(format!("{}-{}.pem", self.fleet.name(), request.name));
        let pem = self.fleet.issue(&request, None)?;
        fs::write(&path, pem.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Credentials { path })
    }
}
