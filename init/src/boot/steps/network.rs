//! Phase `network`: started, not waited for.

use std::rc::Rc;

use super::super::machine::Machine;
use crate::network::{Settings, start};

pub(in crate::boot) async fn network(machine: Rc<Machine>) -> anyhow::Result<()> {
    let device_id = machine.node.status.get().device_id;
    let fallback = device_id.map_or_else(|| "skerry".to_owned(), |id| format!("skerry-{}", &id.as_str()[..8]));
    let handle = start(machine.node.clone(), Settings::system(&fallback), machine.in_force());
    machine.network.get_or_init(|| handle);
    Ok(())
}
