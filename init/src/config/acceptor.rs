//! Judging what is offered and recording what is accepted: durably, before it acts.
//!
//! `machine_config::judge` is the only way through; this file adds where the bytes come from and where they go.

use std::sync::Arc;

use machine_config::{Accepted, DeviceFacts, MachineConfig, Refusal, Trust, Verified, compare, judge, not_yet_in_effect};

use crate::node::{Applied, ApplyError, InForce};
use crate::state::{Store, StoreError};

/// Asks the hardware who it is, each time anew: a link may have appeared since.
pub type Facts = Box<dyn Fn() -> DeviceFacts + Send>;

/// What was found when the device started.
#[derive(Debug)]
pub enum Resumed {
    /// A configuration is in force.
    InForce(Arc<InForce>),
    /// There is none.
    Nothing,
    /// There is one and it is refused; the device waits for a better one.
    Refused {
        /// Where it lies.
        source: &'static str,
        /// Why.
        refusal: Refusal,
    },
}

/// Judges and records.
pub struct Acceptor {
    store: Store,
    trust: Trust,
    facts: Facts,
    last: Option<Accepted>,
    in_force: Option<Arc<InForce>>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("fleet", &self.trust.fleet).field("last", &self.last).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// For a device of this fleet.
    pub fn new(store: Store, trust: Trust, facts: Facts) -> Result<Self, StoreError> {
        let last = store.accepted_record()?;
        Ok(Self { store, trust, facts, last, in_force: None })
    }

    /// What to start with: the accepted configuration, judged again; then SEED's, when it is newer or there is no other.
    pub fn resume(&mut self, seed: Option<&[u8]>) -> Result<Resumed, StoreError> {
        let mut refused = None;
        if let Some(accepted) = self.store.accepted()? {
            self.last = accepted.record;
            match self.judge(&accepted.bytes) {
                Ok(config) => self.put_in_force(&config)?,
                Err(refusal) => refused = Some(("STATE", refusal)),
            }
        }
        if let Some(bytes) = seed {
            match self.judge(bytes) {
                Ok(config) if self.is_new(&config) || self.in_force.is_none() => self.put_in_force(&config)?,
                // An older or equal one in SEED is what a device that was configured since has; that is as it should be.
                Ok(_) | Err(Refusal::GenerationOlder { .. }) => {}
                Err(refusal) if self.in_force.is_none() => refused = refused.or(Some(("SEED", refusal))),
                Err(_) => {}
            }
        }
        Ok(match (&self.in_force, refused) {
            (Some(in_force), _) => Resumed::InForce(Arc::clone(in_force)),
            (None, Some((source, refusal))) => Resumed::Refused { source, refusal },
            (None, None) => Resumed::Nothing,
        })
    }

    /// Judges an offer; with `dry_run` nothing else happens.
    pub fn offer(&mut self, bytes: &[u8], dry_run: bool) -> Result<Applied, ApplyError> {
        let config = self.judge(bytes)?;
        let old = self.in_force.as_ref().map(|in_force| &in_force.config);
        let applied = Applied {
            generation: config.content().metadata.generation.get(),
            digest: config.digest().to_string(),
            changes: compare(old, config.content()),
            not_yet_in_effect: not_yet_in_effect(config.content()),
            already_in_force: self.in_force.is_some() && !self.is_new(&config),
        };
        if !dry_run && !applied.already_in_force {
            self.put_in_force(&config).map_err(|error| ApplyError::Store(error.to_string()))?;
        }
        Ok(applied)
    }

    /// The configuration in force.
    pub fn in_force(&self) -> Option<Arc<InForce>> {
        self.in_force.clone()
    }

    fn judge(&self, bytes: &[u8]) -> Result<Verified<MachineConfig>, Refusal> {
        judge(bytes, &self.trust, &(self.facts)(), self.last.as_ref())
    }

    fn is_new(&self, config: &Verified<MachineConfig>) -> bool {
        self.last.as_ref() != Some(&Accepted::of(config))
    }

    /// Records first; only what is durable is in force.
    fn put_in_force(&mut self, config: &Verified<MachineConfig>) -> Result<(), StoreError> {
        let record = Accepted::of(config);
        if self.is_new(config) {
            self.store.accept(config.bytes(), &record)?;
            // What is recorded holds, with or without the comfort of a higher floor.
            if let Err(error) = self.store.record_clock() {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot record the clock");
            }
        }
        self.last = Some(record);
        self.in_force = Some(Arc::new(InForce {
            config: config.content().clone(),
            generation: config.content().metadata.generation.get(),
            digest: config.digest().to_string(),
            key_id: config.key_id().to_string(),
        }));
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use machine_config::{FleetTrust, PublicKey, SigningKey, sign};

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    /// A signed configuration of this generation for any device of the fleet `acme`.
    pub(crate) fn signed(generation: u64, extra: &str) -> Vec<u8> {
        let text = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: store-1, fleet: acme, generation: {generation}}}\n\
             target: {{any: true}}\napi: {{clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}}\n{extra}"
        );
        sign(text.as_bytes(), &key()).expect("a document")
    }

    /// An acceptor over a fresh STATE.
    pub(crate) fn acceptor(folder: &std::path::Path) -> Acceptor {
        with_facts(folder, |facts| facts.clone())
    }

    /// One whose first question to the hardware meets a defect.
    pub(crate) fn failing_once(folder: &std::path::Path) -> Acceptor {
        let asked = std::sync::atomic::AtomicBool::new(false);
        with_facts(folder, move |facts| {
            assert!(asked.swap(true, std::sync::atomic::Ordering::Relaxed), "a defect");
            facts.clone()
        })
    }

    fn with_facts(folder: &std::path::Path, ask: impl Fn(&DeviceFacts) -> DeviceFacts + Send + 'static) -> Acceptor {
        let public = PublicKey::try_from(key().verifying_key()).expect("a strong key");
        let trust = FleetTrust { name: "acme".parse().expect("a name"), keys: vec![public] }.trust();
        let device_id = "ab".repeat(32).parse().expect("64 digits");
        let facts = DeviceFacts { device_id, serials: vec![], macs: vec![] };
        let store = Store::open(folder).expect("writable");
        Acceptor::new(store, trust, Box::new(move || ask(&facts))).expect("readable")
    }

    fn generation(resumed: &Resumed) -> Option<u64> {
        match resumed {
            Resumed::InForce(in_force) => Some(in_force.generation),
            Resumed::Nothing | Resumed::Refused { .. } => None,
        }
    }

    #[test]
    fn an_accepted_configuration_is_in_force_after_a_reboot() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let applied = acceptor(state.path()).offer(&signed(2, ""), false).expect("good");
        assert!(!applied.already_in_force);
        let mut rebooted = acceptor(state.path());
        assert_eq!(generation(&rebooted.resume(None).expect("readable")), Some(2));
        assert!(rebooted.offer(&signed(2, ""), false).expect("the same bytes").already_in_force);
    }

    #[test]
    fn a_dry_run_changes_nothing() {
        let state = tempfile::tempdir().expect("a temporary folder");
        acceptor(state.path()).offer(&signed(2, ""), true).expect("good");
        assert!(matches!(acceptor(state.path()).resume(None).expect("readable"), Resumed::Nothing));
    }

    #[test]
    fn older_and_conflicting_generations_are_refused_also_after_a_reboot() {
        let state = tempfile::tempdir().expect("a temporary folder");
        acceptor(state.path()).offer(&signed(5, ""), false).expect("good");
        let mut rebooted = acceptor(state.path());
        for (bytes, code) in [
            (signed(4, ""), "generation-older"),
            (signed(5, "machine: {hostname: other}\n"), "generation-conflict"),
            (b"nonsense".to_vec(), "envelope"),
        ] {
            assert_eq!(rebooted.offer(&bytes, false).expect_err("refused").code(), code);
        }
    }

    #[test]
    fn a_tampered_file_on_state_is_refused_and_the_device_waits() {
        let state = tempfile::tempdir().expect("a temporary folder");
        acceptor(state.path()).offer(&signed(5, ""), false).expect("good");
        let path = state.path().join("config/accepted.yaml");
        let text = std::fs::read_to_string(&path).expect("there").replace("store-1", "store-2");
        std::fs::write(&path, text).expect("writable");
        let resumed = acceptor(state.path()).resume(None).expect("readable");
        assert!(
            matches!(&resumed, Resumed::Refused { source: "STATE", refusal } if refusal.code() == "signature"),
            "{resumed:?}"
        );
    }

    #[test]
    fn an_old_file_put_back_on_state_is_refused() {
        let state = tempfile::tempdir().expect("a temporary folder");
        acceptor(state.path()).offer(&signed(5, ""), false).expect("good");
        std::fs::write(state.path().join("config/accepted.yaml"), signed(4, "")).expect("writable");
        let resumed = acceptor(state.path()).resume(None).expect("readable");
        assert!(matches!(&resumed, Resumed::Refused { refusal, .. } if refusal.code() == "generation-older"), "{resumed:?}");
    }

    #[test]
    fn seed_serves_when_there_is_no_other_and_when_it_is_newer() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let seed = signed(3, "");
        assert_eq!(generation(&acceptor(state.path()).resume(Some(&seed)).expect("readable")), Some(3));
        acceptor(state.path()).offer(&signed(4, ""), false).expect("good");
        assert_eq!(generation(&acceptor(state.path()).resume(Some(&seed)).expect("readable")), Some(4));
        assert_eq!(generation(&acceptor(state.path()).resume(Some(&signed(9, ""))).expect("readable")), Some(9));
        assert_eq!(generation(&acceptor(state.path()).resume(None).expect("readable")), Some(9));
    }

    #[test]
    fn a_bad_seed_does_not_stop_a_configured_device() {
        let state = tempfile::tempdir().expect("a temporary folder");
        acceptor(state.path()).offer(&signed(4, ""), false).expect("good");
        assert_eq!(generation(&acceptor(state.path()).resume(Some(b"nonsense")).expect("readable")), Some(4));
    }

    #[test]
    fn a_cut_between_the_two_files_of_an_acceptance_completes_it() {
        let state = tempfile::tempdir().expect("a temporary folder");
        acceptor(state.path()).offer(&signed(4, ""), false).expect("good");
        std::fs::write(state.path().join("config/accepted.yaml"), signed(5, "")).expect("writable");
        assert_eq!(generation(&acceptor(state.path()).resume(None).expect("readable")), Some(5));
        assert_eq!(acceptor(state.path()).offer(&signed(4, ""), false).expect_err("older").code(), "generation-older");
    }
}
