//! Phase `api`: init's socket, apid, and what apid serves with. Ends when apid listens.

use std::path::Path;
use std::rc::Rc;

use ::api::hub::v1::Release as HubRelease;
use anyhow::Context;
use tokio::sync::watch;

use super::super::machine::Machine;
use super::super::table::is_settled;
use super::blocking;
use crate::api::{self as socket, Context as ApiContext, Inventory};
use crate::config::{Leaf, settings};
use crate::hub::{self, HomeOfSeed, HubDesk};
use crate::inventory;
use crate::node::{ApidSettings, ConfigHandle, InForce, Node, Phase, PhaseState, Release, Times};
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
        hub: HubDesk::new(machine.node.clone(), machine.identity.subscribe(), watcher.clone(), machine.config.clone()),
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
    let sources = Sources {
        node: machine.node.clone(),
        identity: machine.identity.subscribe(),
        home: machine.home.subscribe(),
        config: machine.config.clone(),
        release: machine.release().clone(),
    };
    tokio::spawn(publish_settings(publish, sources));
    let mut times = machine.node.times.subscribe();
    times.wait_for(|times| times.api_ready_usec.is_some()).await.context("the record of times is gone")?;
    Ok(())
}

/// What the settings are made from.
struct Sources {
    node: Node,
    identity: watch::Receiver<Option<Identity>>,
    /// Set before the identity is.
    home: watch::Receiver<HomeOfSeed>,
    config: ConfigHandle,
    release: Release,
}

impl Sources {
    /// What apid serves with now, and whom it phones: with its real identity only.
    fn settings(&self, leaf: &Leaf, identity: Option<&Identity>, in_force: Option<&InForce>) -> ApidSettings {
        let status = self.node.status.get();
        let release = HubRelease {
            version: self.release.version.clone(),
            board: self.release.board.clone(),
            architecture: self.release.architecture.clone(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            runtime_root_hash: status.runtime_root_hash,
        };
        let caller = |identity| hub::Caller { identity, fleet: &status.fleet, release: &release };
        let hub = identity.and_then(|identity| hub::settings(&self.home.borrow(), in_force, caller(identity)));
        ApidSettings { hub, ..settings(leaf, in_force) }
    }

    /// What console and status say of them. How it stood with a hub that is no longer called is nobody's news.
    fn show(&self, settings: &ApidSettings) {
        let hub = settings.hub.as_ref();
        let is_called = |address: &str| hub.is_some_and(|hub| hub.urls.iter().any(|url| url == address));
        self.node.status.update(|status| {
            status.api_port = port(settings);
            status.claim = hub.and_then(|hub| hub::claim_address(hub, &settings.device_id)).unwrap_or_default();
            status.hub = status.hub.take().filter(|standing| is_called(standing.address()));
        });
    }
}

/// Keeps apid's settings right, for ever. Nothing is published before it is clear whether a configuration is in force: a configured
/// device is never in maintenance, not even for a moment.
async fn publish_settings(publish: watch::Sender<Option<ApidSettings>>, sources: Sources) {
    let mut times = sources.node.times.subscribe();
    let mut identity = sources.identity.clone();
    let mut in_force = sources.config.subscribe();
    let mut status = sources.node.status.subscribe();
    let mut leaf: Option<(bool, Leaf)> = None;
    loop {
        // The certificate is made while the configuration is still being judged.
        let ready = |times: &Times| is_settled(Phase::Config, times) || matches!(times.get(Phase::State).state, PhaseState::Done);
        if times.wait_for(ready).await.is_err() {
            return;
        }
        let known = identity.borrow_and_update().clone();
        if leaf.as_ref().is_none_or(|(real, _)| *real != known.is_some()) {
            leaf = issue(&sources.node, known.clone()).await.map(|leaf| (known.is_some(), leaf));
        }
        if times.wait_for(|times| is_settled(Phase::Config, times)).await.is_err() {
            return;
        }
        let root_hash = status.borrow_and_update().runtime_root_hash.clone();
        if let Some((_, leaf)) = &leaf {
            let settings = sources.settings(leaf, known.as_ref(), in_force.borrow_and_update().as_deref());
            sources.show(&settings);
            publish.send_if_modified(|old| {
                let changed = old.as_ref() != Some(&settings);
                *old = Some(settings);
                changed
            });
        }
        tokio::select! {
            changed = identity.changed() => if changed.is_err() { return },
            changed = in_force.changed() => if changed.is_err() { return },
            opened = status.wait_for(|status| status.runtime_root_hash != root_hash) => if opened.is_err() { return },
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
    use machine_config::schema::Hub;

    use super::*;
    use crate::node::{HubStanding, HubState, config_channel};

    struct Bench {
        node: Node,
        settings: watch::Receiver<Option<ApidSettings>>,
        identity: watch::Sender<Option<Identity>>,
        home: watch::Sender<HomeOfSeed>,
        in_force: watch::Sender<Option<std::sync::Arc<InForce>>>,
    }

    /// A publisher at work, before anything is known.
    fn bench() -> Bench {
        let (node, identity, home) = (Node::default(), watch::Sender::new(None), watch::Sender::new(HomeOfSeed::default()));
        let (publish, settings) = watch::channel(None);
        let (config, _inbox, in_force) = config_channel();
        let sources = Sources {
            node: node.clone(),
            identity: identity.subscribe(),
            home: home.subscribe(),
            config,
            release: Release::unknown(),
        };
        tokio::spawn(publish_settings(publish, sources));
        Bench { node, settings, identity, home, in_force }
    }

    fn some_identity() -> Option<Identity> {
        Some(Identity::generate().expect("random bytes"))
    }

    #[tokio::test]
    async fn a_configured_device_is_never_in_maintenance_for_a_moment() {
        let mut bench = bench();
        bench.node.begin(Phase::Config);
        bench.identity.send_replace(some_identity());
        tokio::task::yield_now().await;
        assert!(bench.settings.borrow().is_none(), "not settled yet");
        bench.node.waiting(Phase::Config, "a configuration");
        bench.settings.wait_for(Option::is_some).await.expect("published");
        assert!(bench.settings.borrow().as_ref().is_some_and(|settings| settings.maintenance));
    }

    #[tokio::test]
    async fn without_a_disk_the_api_still_gets_a_certificate() {
        let mut bench = bench();
        bench.node.done(Phase::Early);
        bench.node.failed(Phase::Devices, "no boot disk");
        let first = bench.settings.wait_for(Option::is_some).await.expect("published").clone();
        bench.identity.send_replace(some_identity());
        bench.settings.wait_for(|now| *now != first).await.expect("published again with the real identity");
    }

    fn seed_with_hub() -> HomeOfSeed {
        let hub = Hub { url: "https://hub.example".into(), pin: "ab".repeat(32), fallbacks: vec![], proxy: None };
        HomeOfSeed { hub: Some(hub), ..HomeOfSeed::default() }
    }

    #[tokio::test]
    async fn a_hub_is_called_with_the_real_identity_only_and_shown_with_the_address_to_claim_at() {
        let mut bench = bench();
        bench.home.send_replace(seed_with_hub());
        bench.node.failed(Phase::Devices, "no boot disk");
        bench.settings.wait_for(Option::is_some).await.expect("published");
        assert!(
            bench.settings.borrow().as_ref().is_some_and(|settings| settings.hub.is_none()),
            "a key for this boot calls nobody"
        );
        let identity = some_identity();
        let id = identity.as_ref().map(|identity| identity.device_id().to_string()).expect("it is known");
        bench.identity.send_replace(identity);
        let has_hub = |settings: &Option<ApidSettings>| settings.as_ref().is_some_and(|settings| settings.hub.is_some());
        bench.settings.wait_for(has_hub).await.expect("published");
        assert_eq!(bench.node.status.get().claim, format!("https://hub.example/claim/id/{id}"));
        bench.node.status.update(|status| status.runtime_root_hash = "cd".into());
        let has_hash = |settings: &Option<ApidSettings>| {
            let release = settings.as_ref().and_then(|settings| settings.hub.as_ref()?.release.as_ref());
            release.is_some_and(|release| release.runtime_root_hash == "cd")
        };
        bench.settings.wait_for(has_hash).await.expect("published when the runtime is open");
    }

    #[tokio::test]
    async fn how_it_stood_with_a_hub_that_is_left_is_not_shown_any_more() {
        let mut bench = bench();
        bench.home.send_replace(seed_with_hub());
        bench.identity.send_replace(some_identity());
        bench.node.waiting(Phase::Config, "a configuration");
        bench.settings.wait_for(Option::is_some).await.expect("published");
        let standing = HubStanding::new(HubState::Pending, "https://hub.example", "");
        bench.node.status.update(|status| status.hub = Some(standing));
        let text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: a, fleet: acme, generation: 1}}\ntarget: {{any: true}}\n\
             hub: {{url: \"https://other.example\", pin: {}}}\n",
            "cd".repeat(32)
        );
        let config = machine_config::parse(text.as_bytes()).expect("valid");
        let in_force = InForce { config, generation: 1, digest: "d".into(), key_id: "k".into() };
        bench.in_force.send_replace(Some(std::sync::Arc::new(in_force)));
        bench
            .settings
            .wait_for(|settings| settings.as_ref().is_some_and(|settings| !settings.maintenance))
            .await
            .expect("published");
        let status = bench.node.status.get();
        assert_eq!(status.hub, None);
        assert!(status.claim.starts_with("https://other.example/claim/id/"), "{}", status.claim);
    }
}
