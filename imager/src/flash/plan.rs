//! What will be done to which drive, decided before anything is written: images and facts in, jobs and refusals out. Pure; can be printed.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use machine_config::disk::SECTOR_BYTES;
use serde::Serialize;

use super::clear::{Clear, How, Why, clears};
use super::facts::{Facts, Kind};
use super::guard::{ImageFacts, Policy, Refusal, refusal};
use super::image::Image;
use super::outcome::{Drive, Transport};
use super::pieces::{pieces, total};
use super::probe;
use super::target::Discard;

/// One drive to be written.
#[derive(Debug, Clone)]
pub struct Job {
    /// What is written to it.
    pub image: Arc<Image>,
    /// The drive as it was when this was planned.
    pub facts: Facts,
    /// What the drive tells of itself.
    pub drive: Drive,
    /// What is cleared, ascending.
    pub clears: Vec<Clear>,
    /// Where its capacity is probed.
    pub probes: Vec<u64>,
}

/// A drive that will not be written.
#[derive(Debug, Clone)]
pub struct Refused {
    /// What would have been written to it.
    pub image: Arc<Image>,
    /// What was named.
    pub facts: Facts,
    /// Why.
    pub refusal: Refusal,
}

/// Everything that will be done.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Drives to be written.
    pub jobs: Vec<Job>,
    /// Drives that are refused.
    pub refused: Vec<Refused>,
}

/// Why images and drives do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot tell which image goes to which drive: {images} images, {drives} drives; name one image, or one per drive")]
pub struct PairError {
    /// How many images.
    pub images: usize,
    /// How many drives.
    pub drives: usize,
}

/// Which image goes to which drive: one to all, or each to its own.
///
/// # Errors
/// When there is more than one image and another number of drives.
pub fn pair(images: &[Arc<Image>], drives: Vec<Facts>) -> Result<Vec<(Arc<Image>, Facts)>, PairError> {
    match images {
        [one] => Ok(drives.into_iter().map(|facts| (Arc::clone(one), facts)).collect()),
        many if many.len() == drives.len() => Ok(many.iter().cloned().zip(drives).collect()),
        many => Err(PairError { images: many.len(), drives: drives.len() }),
    }
}

/// Which image goes to which of all drives of this machine: in their order, to those that nothing speaks against. Drives without a plug are only written to
/// when somebody names them, those that are not free not at all. What is left over of either is left.
pub fn assign(
    images: &[Arc<Image>],
    drives: Vec<Facts>,
    policy: &Policy,
    mut is_free: impl FnMut(&Facts) -> bool,
) -> Vec<(Arc<Image>, Facts)> {
    let mut left = images.iter();
    let mut pairs: Vec<(Arc<Image>, Facts)> = Vec::new();
    let mut image = left.next();
    for facts in drives {
        let Some(next) = image else { break };
        let earlier: Vec<&Facts> = pairs.iter().map(|(_, facts)| facts).collect();
        if has_plug(&facts) && refusal(&facts, &facts_of(next), &earlier, policy).is_none() && is_free(&facts) {
            pairs.push((Arc::clone(next), facts));
            image = left.next();
        }
    }
    pairs
}

fn has_plug(facts: &Facts) -> bool {
    facts.drive().is_some_and(|drive| match drive.transport {
        Transport::Usb | Transport::Mmc | Transport::Nvme | Transport::Sata | Transport::Scsi => true,
        Transport::Virtio | Transport::Nbd | Transport::Loop | Transport::File | Transport::Other => false,
    })
}

fn facts_of(image: &Image) -> ImageFacts<'_> {
    ImageFacts { kept: &image.kept, bytes: image.bytes }
}

/// Decides what is done to each drive.
pub fn plan(pairs: Vec<(Arc<Image>, Facts)>, policy: &Policy) -> Plan {
    let mut plan = Plan::default();
    let mut policy = policy.clone();
    policy.kept.extend(pairs.iter().flat_map(|(image, _)| image.kept.iter().cloned())); // no image of this run goes onto another
    for (image, facts) in pairs {
        let earlier: Vec<&Facts> = plan.jobs.iter().map(|job| &job.facts).collect();
        match refusal(&facts, &facts_of(&image), &earlier, &policy) {
            Some(refusal) => plan.refused.push(Refused { image, facts, refusal }),
            None => plan.jobs.push(job(image, facts, policy.discard)),
        }
    }
    plan
}

fn job(image: Arc<Image>, facts: Facts, discard: Discard) -> Job {
    let mut drive = drive_of(&facts);
    let (old, grows): (&[Range<u64>], _) = match &facts.kind {
        Kind::Block(block) => (&block.partitions, false),
        Kind::File(_) | Kind::Missing | Kind::Other(_) => (&[], true),
    };
    if grows {
        drive.bytes = (drive.bytes / SECTOR_BYTES * SECTOR_BYTES).max(image.bytes);
    }
    let mut clears = clears(image.bytes, &image.written, image.map.unmapped(), drive.bytes, old);
    clears.retain(|clear| discard == Discard::Allowed || clear.why.how() == How::Zero);
    let probes = probe::places(image.bytes, drive.bytes);
    Job { image, facts, drive, clears, probes }
}

/// What a target tells of itself; what is no drive tells nothing.
pub(super) fn drive_of(facts: &Facts) -> Drive {
    let nothing = Drive { serial: None, model: None, bytes: 0, transport: Transport::Other, port: None };
    facts.drive().unwrap_or(nothing)
}

impl Job {
    /// How many bytes of the image are written.
    pub fn bytes(&self) -> u64 {
        self.image.written_bytes()
    }

    /// How many bytes are cleared for each reason.
    fn cleared(&self) -> Vec<(Why, u64)> {
        let reasons = [Why::Hole, Why::OldPartition, Why::End, Why::Slack, Why::Beyond];
        let of = |why| {
            let ranges: Vec<_> = self.clears.iter().filter(|clear| clear.why == why).map(|clear| clear.range.clone()).collect();
            (why, total(&ranges))
        };
        reasons.map(of).into_iter().filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// A plan as programs read it.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    write: Vec<JobReport>,
    refuse: Vec<RefusedReport>,
}

#[derive(Debug, Serialize)]
struct JobReport {
    device: PathBuf,
    drive: Drive,
    image: PathBuf,
    device_name: Option<String>,
    bytes: u64,
    pieces: usize,
    clears: Vec<Clear>,
    probes: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct RefusedReport {
    device: PathBuf,
    image: PathBuf,
    reason: String,
}

impl Plan {
    /// The plan for programs.
    pub fn report(&self) -> PlanReport {
        let job = |job: &Job| JobReport {
            device: job.facts.named.clone(),
            drive: job.drive.clone(),
            image: job.image.path.clone(),
            device_name: job.image.device_name().map(str::to_owned),
            bytes: job.bytes(),
            pieces: pieces(&job.image.written).len(),
            clears: job.clears.clone(),
            probes: job.probes.clone(),
        };
        let refused = |refused: &Refused| RefusedReport {
            device: refused.facts.named.clone(),
            image: refused.image.path.clone(),
            reason: refused.refusal.to_string(),
        };
        PlanReport { write: self.jobs.iter().map(job).collect(), refuse: self.refused.iter().map(refused).collect() }
    }
}

/// The plan for people.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for job in &self.jobs {
            write!(f, "{}", job.facts.named.display())?;
            let Drive { model, serial, bytes, transport, port } = &job.drive;
            let port = port.as_ref().map(|port| format!("port {port}"));
            let facts = [model.clone(), serial.clone(), Some(size(*bytes)), Some(transport.to_string()), port];
            writeln!(f, "  {}", facts.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
            let name = job.image.device_name().map(|name| format!(" for {name}")).unwrap_or_default();
            writeln!(f, "  write {} of {}{name}", size(job.bytes()), job.image.path.display())?;
            for (why, bytes) in job.cleared() {
                let verb = match why.how() {
                    How::Zero => "clear",
                    How::Forget => "discard",
                };
                writeln!(f, "  {verb} {}: {why}", size(bytes))?;
            }
            if !job.probes.is_empty() {
                writeln!(f, "  probe the capacity at {} places beyond the image", job.probes.len())?;
            }
        }
        for refused in &self.refused {
            writeln!(f, "{}  refused: {}", refused.facts.named.display(), refused.refusal)?;
        }
        Ok(())
    }
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests;
