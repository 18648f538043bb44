//! `fleet init` and `fleet cert`.

use std::path::Path;

use api::Role;
use jiff::Timestamp;
use machine_config::types::DnsName;
use serde::Serialize;

use crate::failure::{Failure, UsageError};
use crate::files::{self, Access};
use crate::fleet::{self, ClientCertificate, InitOptions};
use crate::output::Format;
use crate::view::{Fields, View};

use super::args::{Fleet, FleetCert, FleetInit, RoleName};
use super::ask;

pub(super) fn run(command: Fleet, format: Format) -> Result<(), Failure> {
    match command {
        Fleet::Init(command) => init(command, format),
        Fleet::Cert(command) => cert(command, format),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    name: String,
    dir: String,
    key_ids: Vec<String>,
    sealed: bool,
}

impl View for Made {
    fn text(&self) -> String {
        let dir = &self.dir;
        let keys = if self.sealed { "under the passphrase" } else { "open: keep the folder private" };
        let fields = Fields::new()
            .add("fleet", &self.name)
            .add("folder", dir)
            .add("signing key", self.key_ids.join(" "))
            .add("private keys", keys)
            .text();
        format!(
            "{fields}\nKeep a copy of the folder where it cannot be lost: devices obey this signing key and no other.\n\n\
             Next:\n  skerryctl config new --fleet {dir} --name node-1 > node-1.yaml\n  \
             skerryctl config sign node-1.yaml --fleet {dir}\n  \
             skerryctl --context {dir} --node HOST --trust-first-use apply -f node-1.yaml\n"
        )
    }
}

fn init(command: FleetInit, format: Format) -> Result<(), Failure> {
    let name = match command.name {
        Some(name) => name,
        None => name_of(&command.dir)?,
    };
    fleet::check_vacant(&command.dir)?;
    let mut options = InitOptions::new(name);
    options.admin = command.admin;
    if !command.no_passphrase {
        options.passphrase = ask::new_passphrase(command.passphrase.passphrase_file.as_deref())?;
    }
    let fleet = fleet::init(&command.dir, &options)?;
    format.show(&Made {
        name: fleet.name().to_string(),
        dir: command.dir.display().to_string(),
        key_ids: fleet.trust().keys.iter().map(|key| key.id().to_string()).collect(),
        sealed: fleet.is_sealed(),
    })
}

fn name_of(dir: &Path) -> Result<DnsName, UsageError> {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.parse().map_err(|error| UsageError {
        message: format!("the folder's name does not do as the fleet's name: {error}"),
        hint: "add --name NAME".into(),
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    name: String,
    role: &'static str,
    not_after: String,
    file: String,
}

impl View for Issued {
    fn text(&self) -> String {
        let file = &self.file;
        let fields = Fields::new()
            .add("name", &self.name)
            .add("role", self.role)
            .add("valid until", &self.not_after)
            .add("file", file)
            .text();
        format!("{fields}\nUse it with --cert {file}, or as `cert:` of a context file. It holds the private key.\n")
    }
}

fn cert(command: FleetCert, format: Format) -> Result<(), Failure> {
    let fleet = fleet::Fleet::open(&command.fleet.dir)?;
    let passphrase = ask::passphrase_of(&fleet, command.fleet.passphrase.passphrase_file.as_deref())?;
    let request = ClientCertificate {
        role: match command.role {
            RoleName::Reader => Role::Reader,
            RoleName::Operator => Role::Operator,
            RoleName::Admin => Role::Admin,
        },
        name: command.name,
        not_after: fleet::expiry(Timestamp::now(), command.days)?,
    };
    let pem = fleet.issue(&request, passphrase.as_ref())?;
    files::write_new(&command.out, pem.as_bytes(), Access::Secret)?;
    format.show(&Issued {
        name: request.name,
        role: request.role.as_str(),
        not_after: format!("{:.0}", request.not_after),
        file: command.out.display().to_string(),
    })
}
