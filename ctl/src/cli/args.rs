//! The command line, as clap reads it. What a command does stands in its own module.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use machine_config::types::{DeviceId, DnsName, Generation, HostName, MacAddress};

use crate::output::Format;

use super::hub::args::Hub;

/// Operate Skerry devices: fleets, signed configurations, nodes.
#[derive(Debug, Parser)]
#[command(name = "skerryctl", version, max_term_width = 120, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failure, 2 usage, 3 unreachable, 4 configuration refused, 5 certificate or role,
6 not found, 7 not the expected device, 8 not in the node's present state.";

/// Options of every command that talks to a node.
#[derive(Debug, Args)]
#[command(next_help_heading = "Node and output")]
pub(crate) struct Global {
    /// The node: HOST, HOST:PORT or a name from the context file.
    #[arg(short, long, global = true, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Context file or fleet folder [default: ./context.yaml, then skerry/context.yaml in your configuration folder].
    #[arg(short, long, global = true, value_name = "FILE", env = "SKERRY_CONTEXT")]
    pub(crate) context: Option<PathBuf>,
    /// The device id the node must prove; with --via hub also the device's name at the hub.
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) device: Option<DeviceName>,
    /// Reach the device through the connection it keeps to the hub.
    #[arg(long, global = true, value_name = "WAY", value_enum)]
    pub(crate) via: Option<Via>,
    /// Accept a device that is not known yet (with --via hub: the hub's word for it), and remember its id in the context file.
    #[arg(long, global = true)]
    pub(crate) trust_first_use: bool,
    /// Client certificate (PEM, with its key) instead of the context's.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Seconds for connecting, and again for each answer.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// What answers look like.
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// How to reach a device, if not at its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// Through the hub of the context file.
    Hub,
}

/// A device by its id, or by what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceName {
    /// What it proves.
    Id(DeviceId),
    /// Name, serial number, or the beginning of the id: the hub knows which.
    Name(String),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if text.trim().is_empty() => Err("a device has a name or an id".to_owned()),
            Err(_) => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("not between 0.001 and 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a fleet, and certificates for its people.
    #[command(subcommand)]
    Fleet(Fleet),
    /// Write, check, sign and compare configurations. Needs no node.
    #[command(subcommand)]
    Config(Config),
    /// Work with the hub that devices phone home to.
    #[command(subcommand)]
    Hub(Hub),
    /// Send a signed configuration.
    Apply(Apply),
    /// Mode, phase, addresses, configuration in force.
    Status(Status),
    /// Versions of what runs on the node.
    Version,
    /// List services, or restart one.
    Services {
        #[command(subcommand)]
        command: Option<Services>,
    },
    /// What a service wrote.
    Logs(Logs),
    /// What the kernel wrote.
    Dmesg(Follow),
    /// What happened: phases, services, configuration, network, power.
    Events(Follow),
    /// When each boot phase began and ended.
    BootTimes,
    /// Show one thing about the node.
    Get {
        /// What to show.
        #[arg(value_enum)]
        what: Thing,
    },
    /// Stop services in order and restart the machine.
    Reboot(Confirm),
    /// Stop services in order and turn the machine off.
    Poweroff(Confirm),
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Fleet {
    /// Make a fleet folder: signing key, client CA, administrator's certificate, context file.
    Init(FleetInit),
    /// Issue a client certificate with its key.
    Cert(FleetCert),
}

#[derive(Debug, Args)]
pub(crate) struct FleetInit {
    /// The folder; must not exist, or be empty.
    pub(crate) dir: PathBuf,
    /// The fleet's name [default: the folder's name].
    #[arg(long)]
    pub(crate) name: Option<DnsName>,
    /// Common name of the administrator's certificate.
    #[arg(long, default_value = "admin")]
    pub(crate) admin: String,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFile,
    /// Leave the private keys open, readable by their owner only.
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) no_passphrase: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PassphraseFile {
    /// Read the passphrase from the first line of this file instead of the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FleetCert {
    /// What its bearer may do.
    #[arg(long, value_enum)]
    pub(crate) role: RoleName,
    /// Who its bearer is.
    #[arg(long)]
    pub(crate) name: String,
    /// Days it is valid.
    #[arg(long, default_value_t = 365)]
    pub(crate) days: u32,
    /// File for certificate and key; must not exist.
    #[arg(long)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) fleet: FleetDir,
}

/// The fleet folder a command works with.
#[derive(Debug, Args)]
pub(crate) struct FleetDir {
    /// The fleet's folder.
    #[arg(long = "fleet", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFile,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// May look.
    Reader,
    /// May also restart services and reboot.
    Operator,
    /// May also apply configurations.
    Admin,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print a commented configuration to begin with.
    New(ConfigNew),
    /// Check a configuration, signed or not.
    Validate {
        /// The file.
        file: PathBuf,
    },
    /// Sign a configuration, after checking it.
    Sign(ConfigSign),
    /// Check a signed configuration and its signature.
    Verify(ConfigVerify),
    /// What would change from one configuration to another, and with what effect.
    Diff {
        /// The configuration in force.
        old: PathBuf,
        /// The one to come.
        new: PathBuf,
    },
    /// Print the JSON Schema, for editors.
    Schema {
        /// Print the reference for people instead, as Markdown: docs/configuration.md.
        #[arg(long)]
        markdown: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ConfigNew {
    /// The device's name.
    #[arg(long, default_value = "node-1")]
    pub(crate) name: HostName,
    /// Fleet folder: fills in the fleet's name and client CA.
    #[arg(long, value_name = "DIR")]
    pub(crate) fleet: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Greater than that of every configuration the device accepted before.
    #[arg(long, default_value = "1", value_parser = generation)]
    pub(crate) generation: Generation,
    /// Run k3s, as the first server of a cluster.
    #[arg(long, value_name = "ROLE", value_enum)]
    pub(crate) k3s: Option<K3sRole>,
}

fn generation(text: &str) -> Result<Generation, String> {
    let number: u64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Generation::try_from(number).map_err(|error| error.to_string())
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum K3sRole {
    /// Control plane and workloads.
    Server,
}

/// Which device it is for.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct TargetArgs {
    /// For any device of the fleet (the default).
    #[arg(long, visible_alias = "any")]
    pub(crate) target_any: bool,
    /// For the device with this SMBIOS or board serial number.
    #[arg(long)]
    pub(crate) serial: Option<String>,
    /// For the device with this id.
    #[arg(long, value_name = "ID")]
    pub(crate) device_id: Option<DeviceId>,
    /// For the device with this MAC address.
    #[arg(long)]
    pub(crate) mac: Option<MacAddress>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigSign {
    /// The configuration.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) fleet: FleetDir,
    /// The signed file, `-` for standard output [default: the configuration itself].
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Replace the signature of another fleet's key. This fleet's own is replaced unasked.
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigVerify {
    /// The signed configuration.
    pub(crate) file: PathBuf,
    /// The fleet's folder; its private keys are not needed.
    #[arg(long, value_name = "DIR")]
    pub(crate) fleet: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The signed configuration.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Judge and compare, change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Show it again at each change.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Restart one service.
    Restart {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The service.
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) follow: Follow,
}

#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// Go on with what comes.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last N lines; 0: everything kept.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) tail: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Thing {
    /// What the machine is made of.
    Hardware,
    /// CPU, memory, disks, links, mounts.
    Resources,
    /// Processes.
    Processes,
    /// Containers.
    Containers,
    /// Disks and partitions.
    Disks,
    /// Network links.
    Links,
    /// Mounted file systems.
    Mounts,
    /// The configuration in force, secrets masked.
    Config,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn timeouts_are_seconds_within_bounds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "x", "0", "-1", "1e9", "NaN", "inf"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
