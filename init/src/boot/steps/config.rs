//! Phase `config`: a configuration in force. Without one it waits for ever, and says for what.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use machine_config::DeviceFacts;

use super::super::machine::{FromSeed, Machine};
use super::blocking;
use crate::config::{Acceptor, Facts, Resumed};
use crate::hub::HomeOfSeed;
use crate::inventory;
use crate::node::Node;
use crate::node::{EventKind, Mode, Phase};

/// A configuration bound to a link's address can be judged only when the link is there; its driver may still be at work.
const LINKS: Duration = Duration::from_secs(10);

pub(in crate::boot) async fn config(machine: Rc<Machine>) -> anyhow::Result<()> {
    let mut in_force = machine.config.subscribe();
    let from_seed: &FromSeed = machine.seed.get().expect("the state phase fills it");
    match &from_seed.trust {
        Ok(trust) => {
            let store = Machine::product(&machine.store);
            let acceptor = Acceptor::new(store, trust.clone(), facts(&machine))?;
            let (acceptor, resumed) = resume(&machine, acceptor, from_seed.config().map(Arc::from)).await?;
            machine.hand_over(acceptor);
            explain(&machine.node, &resumed, ways(&machine.home.borrow()));
        }
        Err(why) => wait_visibly(&machine.node, &format!("a fleet to obey: {why}")),
    }
    in_force.wait_for(Option::is_some).await.context("the configuration's task ended")?;
    machine.node.status.update(|status| status.set_error("config", None));
    Ok(())
}

fn facts(machine: &Machine) -> Facts {
    let device_id = machine.identity.borrow().as_ref().map(crate::state::Identity::device_id).expect("the state phase fills it");
    Box::new(move || DeviceFacts {
        device_id: device_id.clone(),
        serials: inventory::device_serials(),
        macs: inventory::wired_macs(),
    })
}

/// Judges what is there; when it is for another device, judges again as links appear, for a while.
async fn resume(machine: &Machine, mut acceptor: Acceptor, seed: Option<Arc<[u8]>>) -> anyhow::Result<(Acceptor, Resumed)> {
    let mut links = Machine::product(&machine.hotplug).changes();
    let deadline = tokio::time::sleep(LINKS);
    tokio::pin!(deadline);
    loop {
        links.mark_unchanged();
        let offered = seed.clone();
        let judge = move || {
            let resumed = acceptor.resume(offered.as_deref());
            (acceptor, resumed)
        };
        let judged = blocking(judge).await?;
        acceptor = judged.0;
        let resumed = judged.1?;
        let for_another = matches!(&resumed, Resumed::Refused { refusal, .. } if refusal.code() == "target");
        if !for_another {
            return Ok((acceptor, resumed));
        }
        tokio::select! {
            changed = links.changed() => changed.context("the listener for devices ended")?,
            () = &mut deadline => return Ok((acceptor, resumed)),
        }
    }
}

/// How a configuration may come to a device that has none.
fn ways(home: &HomeOfSeed) -> &'static str {
    if home.hub.is_some() { "from the hub or over the API" } else { "over the API" }
}

fn explain(node: &Node, resumed: &Resumed, ways: &str) {
    match resumed {
        Resumed::InForce(current) => {
            tracing::info!(generation = current.generation, digest = current.digest, "configuration in force")
        }
        Resumed::Nothing => wait_visibly(node, &format!("a signed configuration for this device, {ways}")),
        Resumed::Refused { source, refusal } => {
            let message = format!("the configuration in {source} is not obeyed: {refusal} ({})", refusal.code());
            tracing::warn!(message, "configuration");
            node.events.record(EventKind::Config, source, &message);
            node.status.update(|status| status.set_error("config", Some(message)));
            wait_visibly(node, &format!("another signed configuration for this device, {ways}"));
        }
    }
}

fn wait_visibly(node: &Node, what: &str) {
    node.status.update(|status| status.mode = Mode::Maintenance);
    node.waiting(Phase::Config, what);
}
