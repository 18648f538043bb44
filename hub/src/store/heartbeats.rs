//! Heartbeats in the database: many in one write. They are not audited; what a configuration came to is.

use std::net::IpAddr;

use api::v1::StatusResponse;
use machine_config::DeviceId;

use super::error::StoreError;
use super::row::json;
use super::tx::Tx;
use super::{Store, deliveries};
use crate::enrol::release;
use crate::model::{Release, Status, Time, Use};

/// One heartbeat, cut to what is kept: it waits in memory until it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Beat {
    /// Whose.
    pub device: DeviceId,
    /// When it came.
    pub at: Time,
    /// From where.
    pub address: IpAddr,
    /// The use of its resources.
    pub resources: Option<Use>,
    /// What changed, if anything did.
    pub report: Option<(Status, Release)>,
}

impl Beat {
    /// A heartbeat as it came.
    pub fn of(device: DeviceId, beat: &api::hub::v1::Heartbeat, address: IpAddr, at: Time) -> Self {
        let report = beat.report.as_ref().map(|report| {
            let status = Status::of(report.status.as_ref().unwrap_or(&StatusResponse::default()));
            (status, release(&report.release.clone().unwrap_or_default()))
        });
        Self { device, at, address, resources: beat.r#use.map(Use::from), report }
    }
}

impl Store {
    /// Notes heartbeats, in their order. Those of devices that are not admitted are passed over.
    ///
    /// # Errors
    /// The database failed; none of them is noted.
    pub async fn record_heartbeats(&self, beats: Vec<Beat>) -> Result<(), StoreError> {
        if beats.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            Box::pin(async move {
                for beat in beats {
                    record(tx, beat).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

async fn record(tx: &mut Tx, beat: Beat) -> Result<(), StoreError> {
    let resources = beat.resources.unwrap_or_default();
    let presence = sqlx::query(
        "UPDATE presence SET last_seen = $2, last_address = $3, load_percent = $4, memory_mib = $5, data_mib = $6 WHERE device = $1",
    )
    .bind(beat.device.to_string())
    .bind(beat.at.millis())
    .bind(beat.address.to_string())
    .bind(i64::from(resources.load_percent))
    .bind(i64::from(resources.memory_available_mib))
    .bind(i64::from(resources.data_available_mib));
    tx.run(presence, "note a heartbeat").await?;
    match beat.report {
        Some((status, release)) => report(tx, &beat.device, &status, release, beat.at).await,
        None => Ok(()),
    }
}

async fn report(tx: &mut Tx, device: &DeviceId, status: &Status, release: Release, at: Time) -> Result<(), StoreError> {
    let digest = status.config_digest.parse::<machine_config::types::Digest>().ok();
    let statement = sqlx::query(
        "UPDATE devices SET healthy = $2, phase = $3, status = $4, config_generation = $5, config_digest = $6, version = $7, board = $8, \
            architecture = $9, kernel = $10, runtime_root_hash = $11 WHERE id = $1 AND state = 'admitted'",
    )
    .bind(device.to_string())
    .bind(i64::from(status.healthy))
    .bind(status.phase.clone())
    .bind(json(status))
    .bind(i64::try_from(status.config_generation).unwrap_or(i64::MAX))
    .bind(digest.as_ref().map(ToString::to_string))
    .bind(release.version)
    .bind(release.board)
    .bind(release.architecture)
    .bind(release.kernel)
    .bind(release.runtime_root_hash);
    if tx.run(statement, "note a device's report").await? == 0 {
        return Ok(());
    }
    match digest {
        Some(digest) => deliveries::running(tx, device, &digest, at).await,
        None => Ok(()),
    }
}
