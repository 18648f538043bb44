//! Phase `network`: started, not waited for.

use std::rc::Rc;

use machine_config::DeviceId;
use machine_config::types::HostName;

use super::super::machine::{FromSeed, Machine};
use crate::network::{Settings, start};

pub(in crate::boot) async fn network(machine: Rc<Machine>) -> anyhow::Result<()> {
    let device_id = machine.node.status.get().device_id;
    let stamped = machine.seed.get().and_then(FromSeed::device_name);
    let name = name_without_configuration(stamped, device_id.as_ref());
    let handle = start(machine.node.clone(), Settings::system(&name), machine.in_force());
    machine.network.get_or_init(|| handle);
    Ok(())
}

/// What a device is called until a configuration names it: as it was stamped, else after its id.
fn name_without_configuration(stamped: Option<&HostName>, device_id: Option<&DeviceId>) -> String {
    match (stamped, device_id) {
        (Some(name), _) => name.to_string(),
        (None, Some(id)) => format!("skerry-{}", &id.as_str()[..8]),
        (None, None) => "skerry".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_name_goes_before_one_made_of_the_id() {
        let (name, id) = ("store-7".parse().expect("a name"), "ab".repeat(32).parse().expect("an id"));
        for (stamped, device_id, expected) in [
            (Some(&name), Some(&id), "store-7"),
            (Some(&name), None, "store-7"),
            (None, Some(&id), "skerry-abababab"),
            (None, None, "skerry"),
        ] {
            assert_eq!(name_without_configuration(stamped, device_id), expected);
        }
    }
}
