//! The command line of `skerryctl hub`, as clap reads it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use machine_config::types::{Digest, MacAddress};
use serde::Serialize;

use super::super::args::DeviceName;
use crate::hub::HubUrl;

#[derive(Debug, Subcommand)]
pub(crate) enum Hub {
    /// Remember a hub and the token for it in the context file.
    Login(Login),
    /// Forget the hub and the token for it. The token itself stays good until somebody revokes it.
    Logout,
    /// Who the hub takes you for, and what you may do.
    Whoami,
    /// List devices.
    Devices(Devices),
    /// Admit devices.
    Approve {
        /// Names, serial numbers or ids.
        #[arg(required = true, value_name = "DEVICE")]
        devices: Vec<DeviceName>,
    },
    /// Refuse devices that wait for approval.
    Refuse(Act),
    /// Serve devices no longer, until they are approved again.
    Quarantine(Act),
    /// Revoke devices' keys, for good.
    Remove(Remove),
    /// Change what the hub calls a device, and how it is sorted.
    Edit(Edit),
    /// Put one device in another's place: name, site, labels, groups and assignments move, and the old key is revoked for good.
    Replace(Replace),
    /// Rules that admit, refuse or quarantine devices without a person.
    #[command(subcommand)]
    Rule(Rule),
    /// Make, list and revoke join tokens.
    #[command(subcommand)]
    Token(Token),
    /// Upload and list signed configurations.
    #[command(subcommand)]
    Config(HubConfig),
    /// How far a configuration came.
    #[command(subcommand)]
    Rollout(Rollout),
    /// Forward a local port to a device's API, for tools that speak to it themselves.
    Tunnel(TunnelArgs),
    /// Fleets whose configurations the hub takes.
    #[command(subcommand)]
    Fleet(HubFleet),
    /// Stations whose manifests the hub believes.
    #[command(subcommand)]
    Station(Station),
    /// What a warehouse signed: which devices to expect.
    #[command(subcommand)]
    Manifest(Manifest),
    /// People, what each may do, and for which sites installers claim devices.
    #[command(subcommand)]
    User(User),
    /// Make, list and revoke API tokens, with which programs ask the hub.
    #[command(subcommand)]
    ApiToken(ApiToken),
    /// Who did what: the newest lines of the audit.
    Audit(Audit),
    /// List images.
    Images,
    /// Download an image, stamped for one device.
    Download(Download),
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The hub: https://NAME or https://NAME:PORT.
    pub(crate) url: HubUrl,
    /// What `skerry-hub pin` prints [default: the authorities that this host trusts must vouch for the hub].
    #[arg(long, value_name = "HEX")]
    pub(crate) pin: Option<Digest>,
    /// Read the token from the first line of this file, `-` for standard input, instead of the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Devices {
    /// In this state: pending, admitted, refused, quarantined, removed [default: any but removed].
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// With this label, KEY=VALUE.
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// Of this group.
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// At this site.
    #[arg(long)]
    pub(crate) site: Option<String>,
    /// Whose name, id, serial number, MAC address or site contains this.
    #[arg(long)]
    pub(crate) search: Option<String>,
    /// Leave out so many.
    #[arg(long, value_name = "N")]
    pub(crate) offset: Option<u64>,
    /// At most so many, up to 500.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Act {
    /// Names, serial numbers or ids.
    #[arg(required = true, value_name = "DEVICE")]
    pub(crate) devices: Vec<DeviceName>,
    /// Why; the device shows it on its console.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    pub(crate) act: Act,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// Name, serial number or id.
    #[arg(value_name = "DEVICE")]
    pub(crate) target: DeviceName,
    /// Its name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where it is.
    #[arg(long)]
    pub(crate) site: Option<String>,
    /// Its labels from now on, KEY=VALUE; may be repeated.
    #[arg(long, value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Its groups from now on; may be repeated.
    #[arg(long)]
    pub(crate) group: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Replace {
    /// The device that leaves.
    pub(crate) old: DeviceName,
    /// The device that takes its place.
    pub(crate) new: DeviceName,
    /// First write the old one's configuration, made out to the new one and to be signed, into this file; must not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) draft: Option<PathBuf>,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rule {
    /// Make a rule; one of the same name is replaced.
    Add(RuleAdd),
    /// List rules.
    List,
    /// Delete a rule. Devices that it admitted stay.
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RuleAdd {
    /// Names it in the audit.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) looks_at: LooksAt,
    /// What becomes of devices that it fits.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) outcome: RuleOutcome,
    /// Admit also devices that show no join token: whoever knows a serial number can then come in the device's place.
    #[arg(long)]
    pub(crate) without_token: bool,
    /// Label that an admitted device gets, KEY=VALUE; may be repeated.
    #[arg(long, value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Group that an admitted device gets; may be repeated.
    #[arg(long)]
    pub(crate) group: Vec<String>,
}

/// What becomes of devices that a rule fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuleOutcome {
    /// They are admitted.
    #[default]
    Admit,
    /// They are refused, until a person approves them.
    Refuse,
    /// They are quarantined, until a person approves them.
    Quarantine,
}

/// Which devices a rule fits.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct LooksAt {
    /// Devices of imported manifests and records.
    #[arg(long)]
    pub(crate) expected: bool,
    /// Devices with a serial number of this file, one a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) serials: Option<PathBuf>,
    /// Devices that have this label from their token or manifest, KEY=VALUE.
    #[arg(long, value_name = "LABEL")]
    pub(crate) having: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a join token. It is shown this once. Or register one that is there already.
    Create(TokenCreate),
    /// List join tokens.
    List,
    /// Let nobody join with a token any more. Devices that did stay.
    Revoke {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// What people call it.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// Register the token in the first line of this file, `-` for standard input: one that somebody chose, or NAME.token of `imager stamp`. It is shown nowhere.
    #[arg(long, value_name = "FILE")]
    pub(crate) text_from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) terms: Terms,
}

/// What a join token is good for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Join token")]
pub(crate) struct Terms {
    /// How many devices may join with it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) uses: u32,
    /// Only the device with this serial number.
    #[arg(long)]
    pub(crate) serial: Option<String>,
    /// Only the device with this MAC address.
    #[arg(long)]
    pub(crate) mac: Option<MacAddress>,
    /// Only devices that a manifest gives this label, KEY=VALUE.
    #[arg(long, value_name = "LABEL")]
    pub(crate) bound_label: Option<String>,
    /// Label that a device gets with it, KEY=VALUE; may be repeated.
    #[arg(long, value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Group that a device gets with it; may be repeated.
    #[arg(long)]
    pub(crate) group: Vec<String>,
    /// Days until it ends [default: it does not].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: Option<u32>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum HubConfig {
    /// Upload a signed configuration, and assign it to the devices that are named.
    Push(Push),
    /// List configurations.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The signed configuration.
    pub(crate) file: PathBuf,
    /// Assign it to every device of this group. (--device assigns it to one device.)
    #[arg(long, conflicts_with = "label")]
    pub(crate) group: Option<String>,
    /// Assign it to every device with this label, KEY=VALUE.
    #[arg(long)]
    pub(crate) label: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Counts, and each device that it reached or that refused it.
    Status {
        /// The configuration: its file, its digest or the beginning of it, or its name for the newest of that name.
        config: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TunnelArgs {
    /// Name, serial number or id.
    #[arg(value_name = "DEVICE")]
    pub(crate) target: DeviceName,
    /// Where to listen; port 0: a free one. Whoever reaches it reaches the device's port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HubFleet {
    /// Register a fleet, or the keys it has now.
    Add {
        /// The fleet's folder, or its fleet.pub.
        fleet: PathBuf,
    },
    /// List fleets.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Station {
    /// Believe what a station signs.
    Add {
        /// What people call it.
        name: String,
        /// Its public key: station.pub, or 64 hexadecimal digits.
        key: String,
    },
    /// List stations.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Manifest {
    /// Import manifests of `imager stamp` and logs of `imager flash`.
    Import {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// List people.
    List,
    /// Say what somebody may do when no group of theirs has a role; they may never have signed in. Their logins end.
    Role {
        /// As the identity provider calls them (`sub`).
        name: String,
        /// The role, or `none`.
        #[arg(value_enum)]
        role: RoleOrNone,
    },
    /// Lock somebody out; their logins end.
    Lock {
        /// As `user list` names them.
        name: String,
    },
    /// Let somebody in again.
    Unlock {
        /// As `user list` names them.
        name: String,
    },
    /// Say for which sites somebody claims devices as an installer, from now on.
    Sites {
        /// As `user list` names them.
        name: String,
        /// The sites; `*` stands for every one, none takes all away.
        #[arg(value_name = "SITE")]
        site: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HubRole {
    /// Everything, people and fleets included.
    Admin,
    /// Devices, tokens, configurations.
    Operator,
    /// Looking, and connections to devices.
    Reader,
    /// Claiming devices for their sites.
    Installer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleOrNone {
    Admin,
    Operator,
    Reader,
    Installer,
    None,
}

impl RoleOrNone {
    /// As the hub writes it.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::Admin => Some("admin"),
            Self::Operator => Some("operator"),
            Self::Reader => Some("reader"),
            Self::Installer => Some("installer"),
            Self::None => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiToken {
    /// Make an API token. It is shown this once.
    Create(ApiTokenCreate),
    /// List API tokens.
    List,
    /// Let nobody use a token any more. Logins that began with it end.
    Revoke {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ApiTokenCreate {
    /// What people call it, and the audit.
    pub(crate) name: String,
    /// The most it may do.
    #[arg(long, value_enum)]
    pub(crate) role: HubRole,
    /// What of that it may do: an area such as `devices`, or `devices:read`; may be repeated [default: all of it].
    #[arg(long)]
    pub(crate) scope: Vec<String>,
    /// A site for which an installer claims devices, `*` for all; may be repeated. They are those of every token of this name.
    #[arg(long)]
    pub(crate) site: Vec<String>,
    /// Days until it ends [default: it does not].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// By this actor, as the audit writes it: `user:kim`, `token:ci`, `device:ID`. (--device chooses one device.)
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Whose action begins so: `device.`, `tunnel.open`.
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Older than this line.
    #[arg(long, value_name = "LINE")]
    pub(crate) before: Option<i64>,
    /// At most so many, up to 500.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Download {
    /// The image, as `skerryctl hub images` lists it.
    pub(crate) image: String,
    /// The file; must not exist.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// As it is, without anything that is particular to a device.
    #[arg(long, conflicts_with_all = ["name", "fleet", "uses", "serial", "mac", "bound_label", "label", "group", "days"])]
    pub(crate) as_is: bool,
    /// What the device is called until a configuration names it.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// The fleet it obeys [default: the only one the hub has].
    #[arg(long)]
    pub(crate) fleet: Option<String>,
    #[command(flatten)]
    pub(crate) terms: Terms,
}
