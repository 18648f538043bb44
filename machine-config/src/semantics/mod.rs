//! Meaning that spans fields: addresses, names, references, settings that contradict each other. Reports everything it finds, each with
//! its path.

mod endpoint;
mod hub;
mod k3s;
mod machine;
mod network;
mod pem;
mod problem;
#[cfg(test)]
mod tests;

pub(crate) use k3s::KUBELET_LABELS;
pub(crate) use machine::RESERVED_SYSCTLS;
pub use problem::{Problem, SemanticError};

use crate::schema::{Api, Hub, MachineConfig, Target};

/// The services a configuration may name.
pub const SERVICES: [&str; 4] = ["apid", "containerd", "images", "k3s"];

/// Serial numbers that vendors forget to fill in. Half a warehouse can have the same one.
pub const PLACEHOLDER_SERIALS: [&str; 9] = [
    "default string",
    "to be filled by o.e.m.",
    "system serial number",
    "not specified",
    "not applicable",
    "none",
    "0",
    "123456789",
    "0123456789",
];

/// Collects what is wrong.
#[derive(Default)]
struct Findings(Vec<SemanticError>);

impl Findings {
    fn add(&mut self, path: impl Into<String>, problem: Problem) {
        self.0.push(SemanticError { path: path.into(), problem });
    }

    fn add_if(&mut self, wrong: bool, path: &str, problem: Problem) {
        if wrong {
            self.add(path, problem);
        }
    }

    /// Adds [`Problem::Twice`] for each item that equals an earlier one.
    fn add_repeated<T: PartialEq + ToString>(&mut self, path: &str, items: &[T]) {
        for (index, item) in items.iter().enumerate() {
            if let Some(first) = items[..index].iter().position(|earlier| earlier == item) {
                self.add(
                    format!("{path}[{index}]"),
                    Problem::Twice { what: item.to_string(), first: format!("{path}[{first}]") },
                );
            }
        }
    }

    /// Adds [`Problem::UnknownName`] for each item that is not known.
    fn add_unknown(&mut self, path: &str, items: &[String], known: &[&'static str]) {
        for (index, item) in items.iter().enumerate() {
            if !known.contains(&item.as_str()) {
                self.add(format!("{path}[{index}]"), Problem::UnknownName { name: item.clone(), known: known.to_vec() });
            }
        }
    }
}

/// Whether the configuration means something and does not contradict itself.
///
/// # Errors
/// Everything that is wrong, in the order of the schema.
pub fn check_semantics(config: &MachineConfig) -> Result<(), Vec<SemanticError>> {
    let mut findings = Findings::default();
    target(&config.target, &mut findings);
    machine::check(config, &mut findings);
    network::check(&config.machine.network, &mut findings);
    api(&config.api, &mut findings);
    config.hub.iter().for_each(|hub| hub::check(hub, &mut findings));
    k3s::check(config, &mut findings);
    if findings.0.is_empty() { Ok(()) } else { Err(findings.0) }
}

/// Whether a hub, standing alone as in SEED, means something. Paths in the errors are those of a configuration.
///
/// # Errors
/// Everything that is wrong.
pub fn check_hub(hub: &Hub) -> Result<(), Vec<SemanticError>> {
    let mut findings = Findings::default();
    hub::check(hub, &mut findings);
    if findings.0.is_empty() { Ok(()) } else { Err(findings.0) }
}

fn target(target: &Target, findings: &mut Findings) {
    let Target { serial, device_id, mac, any } = target;
    let found = [serial.is_some(), device_id.is_some(), mac.is_some(), any.is_some()].into_iter().filter(|set| *set).count();
    findings.add_if(found != 1, "target", Problem::TargetCount { found });
    findings.add_if(*any == Some(false), "target.any", Problem::AnyFalse);
    if let Some(serial) = serial {
        let plain = serial.trim().to_lowercase();
        let placeholder = plain.is_empty() || PLACEHOLDER_SERIALS.contains(&plain.as_str());
        findings.add_if(placeholder, "target.serial", Problem::PlaceholderSerial { serial: serial.clone() });
    }
}

fn api(api: &Api, findings: &mut Findings) {
    if api.client_ca.is_empty() {
        let reason = "without it nobody is admitted and the device takes no more orders over the network; paste `client-ca.pem` of the \
                      fleet's folder, as `skerryctl config new --fleet DIR` does";
        findings.add("api", Problem::Needs { needed: "clientCa", reason });
    } else {
        pem::check("api.clientCa", &api.client_ca, findings);
    }
    // 6443 and 10250 are the Kubernetes API server's and the kubelet's.
    let taken = api.port.filter(|port| matches!(port, 0 | 6443 | 10250));
    findings.add_if(taken.is_some(), "api.port", Problem::PortTaken { port: taken.unwrap_or_default() });
}
