//! Whether an uploaded file is a configuration that a device of this hub would take.

use machine_config::schema::{MachineConfig, Target};
use machine_config::types::Generation;
use machine_config::{Accepted, DeviceId, Refusal, Verified, VerifyError, judge, judge_for_fleet};

use crate::model::{Device, Fleet};

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Nobody's signature counts yet.
    #[error("cannot take the configuration: no fleet is registered at this hub; register one with its `fleet.pub`")]
    NoFleet,
    /// Every device of the fleet would refuse it.
    #[error("cannot take the configuration: {0}")]
    Refused(Box<Refusal>),
    /// Nobody here is meant.
    #[error("cannot take the configuration: it is for {target}, and no device and no manifest at this hub has that")]
    Target {
        /// Whom it is for.
        target: String,
    },
    /// The one it is meant for would refuse it.
    #[error("cannot take the configuration: device {device} would refuse it: {refusal}")]
    Device {
        /// Who.
        device: DeviceId,
        /// Why.
        refusal: Box<Refusal>,
    },
}

impl UploadError {
    /// A stable name for programs: where a device would refuse, the device's own.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFleet => "no-fleet",
            Self::Refused(refusal) | Self::Device { refusal, .. } => refusal.code(),
            Self::Target { .. } => "target-unknown",
        }
    }
}

/// The configuration in these bytes, if a registered fleet signed it for itself, and that fleet.
///
/// # Errors
/// The refusal of the fleet whose key it claims; if none has that key, of the last one.
pub fn judge_upload<'a>(bytes: &[u8], fleets: &'a [Fleet]) -> Result<(Verified<MachineConfig>, &'a Fleet), UploadError> {
    let mut worst = UploadError::NoFleet;
    for fleet in fleets {
        match judge_for_fleet(bytes, &fleet.trust()) {
            Ok(config) => return Ok((config, fleet)),
            Err(refusal @ Refusal::Unproven(VerifyError::KeyUnknown { .. })) => {
                if matches!(worst, UploadError::NoFleet) {
                    worst = UploadError::Refused(Box::new(refusal));
                }
            }
            Err(refusal) => worst = UploadError::Refused(Box::new(refusal)),
        }
    }
    Err(worst)
}

/// Whether a device it is meant for would take it. `devices` are those that may be meant; none: it is for a device that has not called yet.
///
/// # Errors
/// The refusal of the first one, when none takes it.
pub fn check_devices(bytes: &[u8], fleet: &Fleet, devices: &[Device]) -> Result<(), UploadError> {
    let mut refused = None;
    for device in devices {
        match would_take(bytes, fleet, device) {
            Ok(()) => return Ok(()),
            Err(refusal) => {
                refused.get_or_insert(UploadError::Device { device: device.id.clone(), refusal: Box::new(refusal) });
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Whether this device would take it, by what it said last.
///
/// # Errors
/// The device's own refusal.
pub(crate) fn would_take(bytes: &[u8], fleet: &Fleet, device: &Device) -> Result<(), Refusal> {
    let generation = Generation::try_from(device.config_generation).ok();
    let accepted = generation.zip(device.config_digest.clone()).map(|(generation, digest)| Accepted { generation, digest });
    judge(bytes, &fleet.trust(), &device.facts(), accepted.as_ref()).map(|_| ())
}

/// Whom a configuration is for, in a few words.
pub fn describe(target: &Target) -> String {
    let Target { serial, device_id, mac, any } = target;
    let serial = serial.as_ref().map(|serial| format!("serial {serial}"));
    let id = device_id.as_ref().map(|id| format!("device {id}"));
    let mac = mac.as_ref().map(|mac| format!("mac {mac}"));
    let any = any.filter(|any| *any).map(|_| "any".to_owned());
    serial.or(id).or(mac).or(any).unwrap_or_else(|| "none".to_owned())
}
