//! Many devices at once, each with a key, a serial number and an address of its own.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use ed25519_dalek::SigningKey;
use futures_util::StreamExt as _;

use super::device::{Make, SimulatedDevice};
use super::loopback::{Loopback, Traffic};
use super::standing::Tally;

/// The devices.
#[derive(Debug, Default)]
pub struct Swarm {
    /// Each with its way to the network.
    pub devices: Vec<(SimulatedDevice, Arc<Loopback>)>,
    /// How many are admitted.
    pub tally: Tally,
    /// What they say and hear.
    pub traffic: Arc<Traffic>,
}

impl Swarm {
    /// Adds the devices with these numbers, `at_once` of them on their way to be admitted at any time. Whatever `common` says of key and serial number is
    /// each device's own.
    ///
    /// # Errors
    /// One of them is not admitted within `patience`.
    pub async fn add(&mut self, numbers: Range<u32>, common: &Make, at_once: usize, patience: Duration) -> Result<()> {
        let (tally, traffic) = (self.tally.clone(), Arc::clone(&self.traffic));
        let started = futures_util::stream::iter(numbers).map(|number| {
            let dial = Arc::new(Loopback::of(number, Arc::clone(&traffic)));
            let make = Make { key: key(number), serial: serial(number), ..common.clone() };
            let device = SimulatedDevice::start(make, Arc::clone(&dial), tally.clone());
            async move {
                let mut standing = device.standing();
                let admitted = tokio::time::timeout(patience, standing.wait_for(|standing| standing.is_admitted())).await.is_ok();
                let last = device.standing().borrow().clone();
                ensure!(admitted, "device {number} was not admitted within {} s: {last:?}", patience.as_secs());
                Ok((device, dial))
            }
        });
        let mut started = started.buffer_unordered(at_once);
        while let Some(device) = started.next().await {
            self.devices.push(device?);
        }
        Ok(())
    }

    /// All of them call again at once.
    pub fn call_again(&self) {
        self.devices.iter().for_each(|(device, _)| device.call_again());
    }
}

/// The key of the device with this number.
pub fn key(number: u32) -> SigningKey {
    let mut secret = [0x5e; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&secret)
}

/// Its serial number.
fn serial(number: u32) -> String {
    format!("SIM{number:07}")
}
