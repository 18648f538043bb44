//! Phase `api`: init's socket, apid, and what apid serves with. Ends when apid listens.

use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use tokio::sync::watch;

use super::super::machine::Machine;
use super::super::table::is_settled;
use super::blocking;
use crate::api::{self as socket, Context as ApiContext, Inventory};
use crate::config::{Leaf, settings};
use crate::inventory;
use crate::node::{ApidSettings, ConfigHandle, Node, Phase, PhaseState, Times};
use crate::services::definitions;
use crate::state::Identity;

pub(in crate::boot) async fn api(machine: Rc<Machine>) -> anyhow::Result<()> {
    let supervisor = machine.supervisor.get().context("the supervisor did not start")?.clone();
    let (publish, watcher) = watch::channel(None);
    let context = ApiContext {
        node: machine.node.clone(),
        release: machine.release().clone(),
        supervisor: supervisor.clone(),
        config: machine.config.clone(),
        power: machine.power.clone(),
        settings: watcher,
        inventory: Inventory { hardware: inventory::hardware, resources: inventory::resources, processes: inventory::processes },
    };
    let node = machine.node.clone();
    tokio::spawn(async move {
        if let Err(error) = socket::serve(context, Path::new(::api::INIT_SOCKET)).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the API socket is gone");
            node.status.update(|status| status.set_error("api", Some(error.to_string())));
        }
    });
    supervisor.ensure(vec![definitions::apid()]);
    tokio::spawn(publish_settings(publish, machine.node.clone(), machine.identity.subscribe(), machine.config.clone()));
    let mut times = machine.node.times.subscribe();
    times.wait_for(|times| times.api_ready_usec.is_some()).await.context("the record of times is gone")?;
    Ok(())
}

/// Keeps apid's settings right, for ever. Nothing is published before it is clear whether a configuration is in force: a configured
/// device is never in maintenance, not even for a moment.
async fn publish_settings(
    publish: watch::Sender<Option<ApidSettings>>,
    node: Node,
    mut identity: watch::Receiver<Option<Identity>>,
    config: ConfigHandle,
) {
    let mut times = node.times.subscribe();
    let mut in_force = config.subscribe();
    let mut leaf: Option<(bool, Leaf)> = None;
    loop {
        // The certificate is made while the configuration is still being judged.
        let ready = |times: &Times| is_settled(Phase::Config, times) || matches!(times.get(Phase::State).state, PhaseState::Done);
        if times.wait_for(ready).await.is_err() {
            return;
        }
        let known = identity.borrow_and_update().clone();
        if leaf.as_ref().is_none_or(|(real, _)| *real != known.is_some()) {
            leaf = issue(&node, known.clone()).await.map(|leaf| (known.is_some(), leaf));
        }
        if times.wait_for(|times| is_settled(Phase::Config, times)).await.is_err() {
            return;
        }
        if let Some((_, leaf)) = &leaf {
            let settings = settings(leaf, in_force.borrow_and_update().as_deref());
            node.status.update(|status| status.api_port = port(&settings));
            publish.send_if_modified(|old| {
                let changed = old.as_ref() != Some(&settings);
                *old = Some(settings);
                changed
            });
        }
        tokio::select! {
            changed = identity.changed() => if changed.is_err() { return },
            changed = in_force.changed() => if changed.is_err() { return },
        }
    }
}

/// With no identity (no disk, broken STATE) a key for this boot alone lets the API say what is wrong.
async fn issue(node: &Node, identity: Option<Identity>) -> Option<Leaf> {
    let work = move || -> anyhow::Result<Leaf> {
        let identity = identity.map_or_else(Identity::generate, Ok)?;
        Ok(Leaf::issue(&identity)?)
    };
    let leaf = blocking(work).await.and_then(|leaf| leaf);
    leaf.inspect_err(|error| node.failed(Phase::Api, &format!("{error:#}"))).ok()
}

fn port(settings: &ApidSettings) -> u16 {
    settings.listen.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(::api::DEFAULT_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::config_channel;

    #[tokio::test]
    async fn a_configured_device_is_never_in_maintenance_for_a_moment() {
        let node = Node::default();
        let (publish, mut watcher) = watch::channel(None);
        let identity = watch::Sender::new(None);
        let (config, _inbox, in_force) = config_channel();
        tokio::spawn(publish_settings(publish, node.clone(), identity.subscribe(), config));
        node.begin(Phase::Config);
        identity.send_replace(Some(Identity::generate().expect("random bytes")));
        tokio::task::yield_now().await;
        assert!(watcher.borrow().is_none(), "not settled yet");
        node.waiting(Phase::Config, "a configuration");
        watcher.wait_for(Option::is_some).await.expect("published");
        assert!(watcher.borrow().as_ref().is_some_and(|settings| settings.maintenance));
        drop(in_force);
    }

    #[tokio::test]
    async fn without_a_disk_the_api_still_gets_a_certificate() {
        let node = Node::default();
        let (publish, mut watcher) = watch::channel(None);
        let identity = watch::Sender::new(None);
        let (config, _inbox, _in_force) = config_channel();
        tokio::spawn(publish_settings(publish, node.clone(), identity.subscribe(), config));
        node.done(Phase::Early);
        node.failed(Phase::Devices, "no boot disk");
        let first = watcher.wait_for(Option::is_some).await.expect("published").clone();
        identity.send_replace(Some(Identity::generate().expect("random bytes")));
        watcher.wait_for(|now| *now != first).await.expect("published again with the real identity");
    }
}
