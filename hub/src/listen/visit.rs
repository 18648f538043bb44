//! A device's connection as its session sees it: who is at the other end of the channel, and how far it has come.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use api::hub::EXPORTER_BYTES;
use tokio::sync::Notify;

use super::places::{Place, Places};

const QUIET: u8 = 0;
const CALLING: u8 = 1;
const ADMITTED: u8 = 2;
const OVER: u8 = 3;

/// One connection. It takes a stranger's place until its device is admitted, then a device's.
#[derive(Debug)]
pub struct Visit {
    address: IpAddr,
    exporter: [u8; EXPORTER_BYTES],
    place: Mutex<Option<Place>>,
    devices: Places,
    stage: AtomicU8,
    changed: Notify,
}

impl Visit {
    /// A connection that has just been secured.
    pub(super) fn begin(address: IpAddr, exporter: [u8; EXPORTER_BYTES], stranger: Place, devices: Places) -> Self {
        let place = Mutex::new(Some(stranger));
        Self { address, exporter, place, devices, stage: AtomicU8::new(QUIET), changed: Notify::new() }
    }

    /// Where it comes from.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// What ties a proof to this connection.
    pub fn exporter(&self) -> &[u8; EXPORTER_BYTES] {
        &self.exporter
    }

    /// The one call of this connection begins; false: there was one.
    pub fn call(&self) -> bool {
        let is_first = self.stage.compare_exchange(QUIET, CALLING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.changed.notify_one();
        is_first
    }

    /// The device is admitted; false: the hub has as many devices as it takes.
    pub fn admit(&self) -> bool {
        let Ok(place) = self.devices.take(self.address) else { return false };
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        self.step(ADMITTED);
        true
    }

    /// Whether the device was admitted.
    pub fn is_admitted(&self) -> bool {
        self.stage.load(Ordering::Acquire) == ADMITTED
    }

    /// The call is over; the connection is of no more use.
    pub fn end(&self) {
        self.step(OVER);
    }

    fn step(&self, stage: u8) {
        self.stage.fetch_max(stage, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// Completes when the call begins.
    pub(super) async fn called(&self) {
        self.reached(CALLING).await;
    }

    /// Completes when the device is admitted or the call is over.
    pub(super) async fn decided(&self) {
        self.reached(ADMITTED).await;
    }

    /// Completes when the call is over.
    pub(super) async fn over(&self) {
        self.reached(OVER).await;
    }

    async fn reached(&self, stage: u8) {
        while self.stage.load(Ordering::Acquire) < stage {
            self.changed.notified().await;
        }
    }
}
