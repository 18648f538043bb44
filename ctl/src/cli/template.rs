//! The configuration to begin with: small, commented, valid as it stands once a fleet is named.

use machine_config::schema::API_VERSION;

use crate::failure::Failure;
use crate::fleet::Fleet;

use super::args::{ConfigNew, K3sRole, TargetArgs};

const TARGET: &str = "\
# The one device this is for. Exactly one of:
#   deviceId: shown on the console and by `skerryctl status`
#   serial:   SMBIOS or board serial number
#   mac:      address of a wired link
#   any:      true, for any device of the fleet
";

const MACHINE: &str = "\
machine:
  # hostname: other-name          # default: metadata.name
  network:
    # Without interfaces every wired link asks DHCPv4.
    # interfaces:
    #   - name: eth0
    #     addresses: [192.168.1.10/24]
    #     routes: [{to: 0.0.0.0/0, via: 192.168.1.1}]
    # nameservers: [192.168.1.1]
    interfaces: []
  # registries:
  #   docker.io: {mirrors: [\"https://mirror.example\"]}
";

const HUB: &str = "\
# The hub to phone home to; without it the device calls the one of its SEED, or nobody.
# hub:
#   url: https://hub.example      # port 443 unless one is given
#   pin: 64 hexadecimal digits    # `skerry-hub pin`
#   fallbacks: [\"https://hub-2.example:8443\"]
#   proxy: {url: \"http://proxy.example:3128\", user: store, password: \"...\"}
";

const K3S_SERVER: &str = "\
# Kubernetes, as the first server of a cluster.
k3s:
  role: server
  # disable: [traefik, servicelb]
";

const K3S_NONE: &str = "\
# Kubernetes; without it containerd runs alone.
# k3s:
#   role: server
";

/// The document's text.
pub(super) fn render(command: &ConfigNew) -> Result<String, Failure> {
    let fleet = command.fleet.as_deref().map(Fleet::open).transpose()?;
    let (fleet_name, client_ca) = match &fleet {
        Some(fleet) => (fleet.name().to_string(), Some(fleet.client_ca()?)),
        None => ("my-fleet".to_owned(), None),
    };
    let name = &command.name;
    let generation = command.generation;
    Ok([
        "# One machine's whole configuration. Check it with `skerryctl config validate`, sign it with `skerryctl config sign`.\n"
            .into(),
        format!("apiVersion: {API_VERSION}\nkind: MachineConfig\n\nmetadata:\n  name: {name}\n  fleet: {fleet_name}\n"),
        format!("  generation: {generation}                   # raise it with every change\n\n"),
        format!("{TARGET}target:\n  {}\n\n", target(&command.target)),
        format!("{MACHINE}\n{}\n{HUB}\n", api(client_ca.as_deref())),
        command.k3s.map_or(K3S_NONE, |K3sRole::Server| K3S_SERVER).into(),
    ]
    .concat())
}

fn target(target: &TargetArgs) -> String {
    let TargetArgs { target_any: _, serial, device_id, mac } = target;
    match (serial, device_id, mac) {
        (Some(serial), _, _) => format!("serial: {}", serde_json::Value::from(serial.as_str())),
        (_, Some(id), _) => format!("deviceId: \"{id}\""),
        (_, _, Some(mac)) => format!("mac: \"{mac}\""),
        // `--target-any` says what is the default anyway.
        (None, None, None) => "any: true".into(),
    }
}

fn api(client_ca: Option<&str>) -> String {
    let Some(client_ca) = client_ca else {
        return "# Who may call the API: paste client-ca.pem of the fleet folder here. Without it no device takes this file.\n\
                api:\n  clientCa: \"\"\n"
            .into();
    };
    let indented: String = client_ca.lines().map(|line| format!("    {line}\n")).collect();
    format!("# Who may call the API: bearers of certificates that this CA signed.\napi:\n  clientCa: |\n{indented}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use machine_config::{check_semantics, parse};

    use super::*;
    use crate::cli::args::{Cli, Command, Config};

    fn rendered(arguments: &[&str]) -> String {
        let cli = Cli::try_parse_from(["skerryctl", "config", "new"].iter().chain(arguments)).unwrap();
        let Command::Config(Config::New(command)) = cli.command else { panic!("config new") };
        render(&command).unwrap()
    }

    #[test]
    fn every_form_of_the_template_lacks_only_the_fleets_ca() {
        let id = "a".repeat(64);
        for arguments in [
            vec![],
            vec!["--target-any", "--name", "store-1", "--generation", "7"],
            vec!["--serial", "FZ \"1\": x"],
            vec!["--device-id", &id],
            vec!["--mac", "52:54:00:12:34:56", "--k3s", "server"],
        ] {
            let text = rendered(&arguments);
            let config = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{arguments:?}: {}\n{text}", error.report("new")));
            let lacking: Vec<_> = check_semantics(&config).unwrap_err().into_iter().map(|error| error.path).collect();
            assert_eq!(lacking, ["api"], "{arguments:?}");
        }
    }

    #[test]
    fn the_hub_in_the_template_is_one_when_it_is_filled_in() {
        let hub: String = HUB.lines().skip(1).map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
        let hub = hub.replace("64 hexadecimal digits ", &"ab".repeat(32));
        let text = format!("{}{hub}", rendered(&[]));
        let config = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{}\n{text}", error.report("new")));
        machine_config::check_hub(&config.hub.expect("it has one")).unwrap();
    }

    #[test]
    fn the_fleets_folder_fills_in_its_name_and_ca() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme");
        crate::fleet::init(&path, &crate::fleet::InitOptions::new("acme".parse().unwrap())).unwrap();
        let text = rendered(&["--fleet", path.to_str().unwrap(), "--serial", "7"]);
        let config = parse(text.as_bytes()).unwrap();
        assert_eq!(config.metadata.fleet.as_str(), "acme");
        assert_eq!(config.target.serial.as_deref(), Some("7"));
        assert!(config.api.client_ca.starts_with("-----BEGIN CERTIFICATE-----"));
        check_semantics(&config).unwrap();
    }
}
