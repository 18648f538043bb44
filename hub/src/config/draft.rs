//! The draft for a device that takes another's place: the same configuration, for the new box, one generation on. It is unsigned; the fleet's key
//! is elsewhere, offline.

use machine_config::schema::{MachineConfig, Target};
use machine_config::types::Generation;

use crate::model::Device;

/// Why there is no draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The new device has nothing to be named by in the way the old one was.
    #[error("cannot aim the configuration at the new device: it reports no {what}; write its target by hand")]
    Nameless {
        /// A serial number, a MAC address.
        what: &'static str,
    },
    /// There is no greater number.
    #[error("cannot raise the configuration's generation: it is the greatest there is")]
    Generation,
}

/// The configuration of `old`, as YAML with its secrets, aimed at `new` in the same way. Comments are lost: it is written anew from what it means.
///
/// # Errors
/// See [`DraftError`].
pub fn draft(config: &MachineConfig, old: &Device, new: &Device) -> Result<String, DraftError> {
    let mut config = config.clone();
    config.target = aim(&config.target, new)?;
    let last = config.metadata.generation.get().max(old.config_generation).max(new.config_generation);
    let next = last.checked_add(1).and_then(|next| Generation::try_from(next).ok());
    config.metadata.generation = next.ok_or(DraftError::Generation)?;
    Ok(machine_config::write(&config))
}

fn aim(target: &Target, new: &Device) -> Result<Target, DraftError> {
    let Target { serial, device_id, mac, any } = target;
    let none = Target { serial: None, device_id: None, mac: None, any: None };
    if serial.is_some() {
        let serial = new.serials.first().ok_or(DraftError::Nameless { what: "serial number" })?;
        return Ok(Target { serial: Some(serial.clone()), ..none });
    }
    if mac.is_some() {
        let mac = new.macs.first().ok_or(DraftError::Nameless { what: "MAC address" })?;
        return Ok(Target { mac: Some(mac.clone()), ..none });
    }
    if device_id.is_some() {
        return Ok(Target { device_id: Some(new.id.clone()), ..none });
    }
    Ok(Target { any: *any, ..none })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrol::testing::device;

    fn config(target: &str) -> MachineConfig {
        let text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: 7}}\ntarget: {{{target}}}\n\
             k3s: {{role: agent, server: \"https://10.0.0.1:6443\", token: 0123456789abcdef-secret}}\n"
        );
        machine_config::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_draft_is_aimed_as_the_old_one_was_and_is_newer_than_both() {
        let old = Device { config_generation: 9, ..device(1) };
        let new = Device { serials: vec!["NEW".into()], macs: vec!["52:54:00:00:00:02".parse().unwrap()], ..device(2) };
        let id = format!("deviceId: {}", old.id);
        let cases = [
            ("serial: OLD", Target { serial: Some("NEW".into()), ..Target::default() }),
            ("mac: 52:54:00:00:00:01", Target { mac: new.macs.first().cloned(), ..Target::default() }),
            (&id, Target { device_id: Some(new.id.clone()), ..Target::default() }),
            ("any: true", Target { any: Some(true), ..Target::default() }),
        ];
        for (target, expected) in cases {
            let yaml = draft(&config(target), &old, &new).unwrap();
            let read = machine_config::parse(yaml.as_bytes()).unwrap();
            assert_eq!((read.target, read.metadata.generation.get()), (expected, 10), "{target}");
            assert!(
                yaml.contains("0123456789abcdef-secret"),
                "a draft with a masked secret would take the device out of its cluster"
            );
        }
        assert_eq!(draft(&config("serial: OLD"), &old, &device(3)), Err(DraftError::Nameless { what: "serial number" }));
    }
}
