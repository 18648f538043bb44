//! What may stand on the command line, and what of it makes no sense together.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::serve::{Options, Plain};
use crate::auth::oidc;
use crate::listen::Limits;

/// The hub that Skerry devices phone home to.
#[derive(Debug, Parser)]
#[command(name = "skerry-hub", version, about, max_term_width = 110)]
pub(super) struct Cli {
    /// Say more in the log.
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
    /// How the log is written, on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogForm::Text, value_name = "FORM")]
    pub(super) log: LogForm,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogForm {
    /// Lines for people, with `key=value`
    Text,
    /// One JSON object on each line
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve devices, operators and browsers, all on one TLS port
    Serve(Box<ServeArgs>),
    /// Print the pin that devices know this hub by
    Pin(Place),
    /// Make and print another admin token; it is shown once
    AdminToken(Place),
    /// Work with the audit
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check that no line was changed, taken out or put in
    Verify {
        #[command(flatten)]
        place: Place,
        /// Check also that a line with this hash is in it: the last one of an earlier check. Without it lines taken from the end leave no gap
        #[arg(long, value_name = "HASH")]
        holds: Option<String>,
    },
}

/// Where the hub keeps things.
#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// The hub's folder: its key, and its database unless --database says otherwise
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
    /// Another database: postgres://USER@HOST/NAME, which several processes may share
    #[arg(long, value_name = "URL", env = "SKERRY_HUB_DATABASE", hide_env_values = true)]
    pub(super) database: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    place: Place,
    /// The TLS port for everyone
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:443")]
    listen: SocketAddr,
    /// How devices and people reach this hub: https://NAME or https://NAME:PORT
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The certificate browsers see, PEM; without it they see the hub's own
    #[arg(long, value_name = "FILE", requires = "web_key")]
    web_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "web_cert")]
    web_key: Option<PathBuf>,
    /// A port without TLS for a reverse proxy on this host: pages and REST, never devices
    #[arg(long, value_name = "ADDRESS")]
    plain: Option<SocketAddr>,
    /// Let --plain listen beyond this host; passwords and tokens then pass that network in the clear
    #[arg(long, requires = "plain")]
    plain_anywhere: bool,
    /// Where other processes of this hub reach this one, when several share a database: HOST:PORT of its TLS port
    #[arg(long, value_name = "HOST:PORT")]
    replica_address: Option<String>,
    /// A folder of images to download, each with its .sha256 beside it
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// A reader's client certificate of the fleet, PEM: with it the hub shows devices' logs in its pages
    #[arg(long, value_name = "FILE")]
    reader_cert: Option<PathBuf>,
    /// Its key, PEM, when it is in a file of its own
    #[arg(long, value_name = "FILE", requires = "reader_cert")]
    reader_key: Option<PathBuf>,
    #[command(flatten)]
    oidc: oidc::Options,
    /// Devices connected at once
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().devices)]
    max_devices: usize,
    /// Unproven connections of one address at once; raise it when all devices call through one proxy
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().strangers_of_one)]
    max_strangers_of_one: usize,
    /// New connections of one address in a second
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().calls_per_second)]
    calls_per_second: u32,
}

impl TryFrom<Box<ServeArgs>> for Options {
    type Error = anyhow::Error;

    fn try_from(args: Box<ServeArgs>) -> anyhow::Result<Self> {
        let plain = match args.plain {
            Some(address) if !address.ip().is_loopback() && !args.plain_anywhere => {
                bail!("cannot serve without TLS at {address}: it is reached from other hosts; use 127.0.0.1, or --plain-anywhere")
            }
            plain => plain,
        };
        if let Some(url) = args.url.as_deref()
            && !url.starts_with("https://")
        {
            bail!("cannot use {url} as the hub's address: it begins with https://");
        }
        let limits = Limits {
            devices: args.max_devices,
            strangers_of_one: args.max_strangers_of_one,
            calls_per_second: args.calls_per_second,
            calls_at_once: args.calls_per_second.saturating_mul(20),
            ..Limits::default()
        };
        let reader_key = args.reader_key;
        let reader = args.reader_cert.map(|file| (file.clone(), reader_key.unwrap_or(file)));
        Ok(Self {
            data: args.place.data,
            database: args.place.database,
            listen: args.listen,
            url: args.url.map(|url| url.trim_end_matches('/').to_owned()),
            web: args.web_cert.zip(args.web_key),
            plain: plain.map(|address| Plain { address }),
            replica_address: args.replica_address,
            limits,
            oidc: args.oidc,
            images: args.images,
            reader,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let Command::Serve(args) = cli.command else { panic!("another command") };
        Options::try_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_whole() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_plain_port_stays_on_this_host_unless_asked() {
        assert!(options("skerry-hub serve --data /d --plain 0.0.0.0:80").unwrap_err().contains("--plain-anywhere"));
        assert!(options("skerry-hub serve --data /d --plain 0.0.0.0:80 --plain-anywhere").is_ok());
        let options = options("skerry-hub serve --data /d --plain 127.0.0.1:80 --url https://hub.example/").unwrap();
        assert_eq!(options.url.as_deref(), Some("https://hub.example"));
        assert_eq!(options.listen.port(), 443);
    }

    #[test]
    fn an_identity_provider_is_named_whole() {
        let with = |more: &str| options(&format!("skerry-hub serve --data /d {more}"));
        let whole =
            with("--url https://hub.example --oidc-issuer https://id.example --oidc-client-id skerry --oidc-role admin=it")
                .unwrap();
        assert_eq!((whole.oidc.roles.len(), whole.oidc.groups_claim.as_str(), whole.oidc.scopes.len()), (1, "groups", 3));
        for half in [
            "--oidc-issuer https://id.example --oidc-client-id skerry",
            "--url https://hub.example --oidc-issuer https://id.example",
            "--oidc-role admin=it",
            "--url https://hub.example --oidc-issuer https://id.example --oidc-client-id skerry --oidc-role boss=it",
        ] {
            assert!(with(half).is_err(), "{half}");
        }
    }

    #[test]
    fn half_a_web_certificate_is_refused() {
        assert!(options("skerry-hub serve --data /d --web-cert /c").is_err());
        assert!(options("skerry-hub serve --data /d --url http://hub.example").is_err());
    }
}
