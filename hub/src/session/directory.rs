//! What a session asks of the database. Everything it learns about a device, and everything it writes, goes through here.

use std::future::Future;
use std::net::IpAddr;

use api::hub::v1::{ConfigOutcome, Heartbeat};
use machine_config::DeviceId;

use super::event::{Attempt, Decision, Dismissal, Offer, Wanted};
use super::proof::Proven;
use crate::model::Time;

/// The database failed; it has said so in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database failed")]
pub struct DirectoryFailed;

/// What a connected device is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// It has what it should have, refused it before, or nothing is assigned to it.
    Nothing,
    /// This configuration.
    Offer(Offer),
    /// Its end: it is not served any more.
    NotServed(Dismissal),
}

/// Where a device's session counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// Here.
    Here,
    /// At another process of the hub, which the device called later: this one is over.
    Elsewhere,
}

/// What is answered is durable: an admission that was told to a device is not forgotten.
pub trait Directory: Clone + Send + Sync + 'static {
    /// What to ask a device that proved its key.
    fn wanted(&self, proven: &Proven, inventory_digest: &[u8]) -> impl Future<Output = Result<Wanted, DirectoryFailed>> + Send;

    /// Decides about a device, and writes down what it came with.
    fn decide(&self, attempt: Attempt, from: IpAddr) -> impl Future<Output = Result<Decision, DirectoryFailed>> + Send;

    /// Notes that somebody was turned away before anything was decided about him. `claimed` is who he says he is, which may be wrong.
    fn turned_away(
        &self,
        claimed: Option<&DeviceId>,
        from: IpAddr,
        code: &'static str,
    ) -> impl Future<Output = Result<(), DirectoryFailed>> + Send;

    /// Notes that a device's session is open here since then. A later session of the same device counts, whichever is noted first.
    fn began(
        &self,
        device: &DeviceId,
        from: IpAddr,
        session: u64,
        since: Time,
    ) -> impl Future<Output = Result<Noted, DirectoryFailed>> + Send;

    /// Notes that it is over.
    fn ended(&self, device: &DeviceId, session: u64) -> impl Future<Output = Result<(), DirectoryFailed>> + Send;

    /// What is to be done about a connected device now, which has configurations with these digests from its session already. That another
    /// one is offered is written down.
    fn assigned(
        &self,
        device: &DeviceId,
        from: IpAddr,
        has: &[String],
    ) -> impl Future<Output = Result<Assigned, DirectoryFailed>> + Send;

    /// Writes down what became of an offer.
    fn outcome(
        &self,
        device: &DeviceId,
        from: IpAddr,
        outcome: ConfigOutcome,
    ) -> impl Future<Output = Result<(), DirectoryFailed>> + Send;

    /// Keeps what a device reports; it reaches the database within a second or so.
    fn heard(&self, device: &DeviceId, from: IpAddr, heartbeat: Heartbeat);

    /// Keeps what happened on a device, in the same way.
    fn happened(&self, device: &DeviceId, events: Vec<api::v1::Event>);
}
