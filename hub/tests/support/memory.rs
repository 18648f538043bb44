//! What the hub knows, in memory: devices are admitted when a test says so.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use api::hub::v1::{ConfigOutcome, Heartbeat};
use hub::model::Time;
use hub::session::{Assigned, Attempt, Decision, Directory, DirectoryFailed, Dismissal, Noted, Offer, Proven, Wanted};
use machine_config::DeviceId;

/// What was written down, and what is to be answered.
#[derive(Default)]
pub struct Notes {
    pub admitted: Vec<DeviceId>,
    pub everybody: bool,
    pub offer: Option<Offer>,
    pub attempts: Vec<Attempt>,
    pub outcomes: Vec<ConfigOutcome>,
    pub heartbeats: BTreeMap<DeviceId, u64>,
    pub events: usize,
    pub ended: usize,
    pub failing: bool,
    /// Who was turned away unheard, by what he said.
    pub turned_away: Vec<(Option<DeviceId>, &'static str)>,
    /// Devices called at another process of the hub later.
    pub elsewhere: bool,
    /// What connected devices are told, since they are not served any more.
    pub not_served: Option<Dismissal>,
}

/// The directory.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Notes>>);

type Answer<T> = std::future::Ready<Result<T, DirectoryFailed>>;

impl Memory {
    pub fn with<T>(&self, act: impl FnOnce(&mut Notes) -> T) -> T {
        act(&mut self.0.lock().expect("no test panics under it"))
    }

    fn answer<T>(&self, act: impl FnOnce(&mut Notes) -> T) -> Answer<T> {
        ready(self.with(|notes| if notes.failing { Err(DirectoryFailed) } else { Ok(act(notes)) }))
    }
}

impl Directory for Memory {
    fn wanted(&self, _: &Proven, _: &[u8]) -> impl Future<Output = Result<Wanted, DirectoryFailed>> + Send {
        self.answer(|notes| Wanted { join_token: !notes.everybody, inventory: !notes.everybody })
    }

    fn decide(&self, attempt: Attempt, _: IpAddr) -> impl Future<Output = Result<Decision, DirectoryFailed>> + Send {
        self.answer(|notes| {
            let admitted = notes.everybody || notes.admitted.contains(&attempt.proven.id);
            notes.attempts.push(attempt);
            match admitted {
                true => Decision::Admitted { name: "box".into() },
                false => Decision::Pending { message: "wait".into(), retry_seconds: 15 },
            }
        })
    }

    fn turned_away(
        &self,
        claimed: Option<&DeviceId>,
        _: IpAddr,
        code: &'static str,
    ) -> impl Future<Output = Result<(), DirectoryFailed>> + Send {
        self.answer(|notes| notes.turned_away.push((claimed.cloned(), code)))
    }

    fn began(&self, _: &DeviceId, _: IpAddr, _: u64, _: Time) -> impl Future<Output = Result<Noted, DirectoryFailed>> + Send {
        self.answer(|notes| if notes.elsewhere { Noted::Elsewhere } else { Noted::Here })
    }

    fn ended(&self, _: &DeviceId, _: u64) -> impl Future<Output = Result<(), DirectoryFailed>> + Send {
        self.answer(|notes| notes.ended += 1)
    }

    fn assigned(&self, _: &DeviceId, _: IpAddr, _: &[String]) -> impl Future<Output = Result<Assigned, DirectoryFailed>> + Send {
        self.answer(|notes| match notes.not_served.clone() {
            Some(why) => Assigned::NotServed(why),
            None => notes.offer.clone().map_or(Assigned::Nothing, Assigned::Offer),
        })
    }

    fn outcome(
        &self,
        _: &DeviceId,
        _: IpAddr,
        outcome: ConfigOutcome,
    ) -> impl Future<Output = Result<(), DirectoryFailed>> + Send {
        self.answer(|notes| notes.outcomes.push(outcome))
    }

    fn heard(&self, device: &DeviceId, _: IpAddr, heartbeat: Heartbeat) {
        self.with(|notes| notes.heartbeats.insert(device.clone(), heartbeat.number));
    }

    fn happened(&self, _: &DeviceId, events: Vec<api::v1::Event>) {
        self.with(|notes| notes.events += events.len());
    }
}
