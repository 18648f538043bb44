//! Carries stamps out: image, manifest and, where one was made, token of each device. Files appear whole, the image last, so that whoever finds an
//! image finds what belongs to it. Chooses nothing.

use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use machine_config::DeviceId;
use machine_config::types::Secret;
use rustix::io::Errno;
use serde::Serialize;
use zeroize::Zeroizing;

use super::base::{BaseError, Opened};
use super::manifest::{BaseEntry, Manifest};
use super::plan::Stamp;
use super::press::Press;
use crate::draft::folder_of;
use crate::image::digest::Digest;
use crate::image::output::{Output, OutputError, Place};
use crate::image::window::Window;
use crate::parallel;
use crate::progress::{Event, Progress};

/// Bytes copied at once.
const COPY_BYTES: u64 = 1 << 20;

/// Why a stamp is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The base cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Something is there that may be a device's only record.
    #[error("cannot write {}: it is there already; choose an empty folder, or say --replace", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// The record of another stamp is there.
    #[error(
        "cannot write {}: what is there belongs to another stamp of this device; choose another folder, or move its manifest and token away",
        path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
    },
    /// Nobody takes the image.
    #[error("cannot write the image to standard output")]
    Stream(#[source] io::Error),
}

/// What to do about files that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Keep,
    /// Write over them.
    Replace,
}

/// What became of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stamped {
    /// Its name.
    pub name: String,
    /// Its image; none when it went elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// Its manifest.
    pub manifest: PathBuf,
    /// Its token, when one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<PathBuf>,
    /// Who it will be, when its key was made before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// SHA-256 of the whole image.
    pub image_sha256: Digest,
}

/// A run that may begin: every name is free, every digest known.
#[derive(Debug)]
pub struct Run<'a> {
    press: &'a Press,
    jobs: Vec<Job<'a>>,
}

#[derive(Debug)]
struct Job<'a> {
    stamp: &'a Stamp,
    image_sha256: Digest,
    image: Place,
    records: Records,
}

/// Where a device's manifest and token go: what stays at the station.
#[derive(Debug)]
pub struct Records {
    manifest: Place,
    token: Place,
}

impl Records {
    /// Looks for places in `folder`: `NAME.manifest.json` and `NAME.token`.
    pub fn prepare(stamp: &Stamp, folder: &Path, existing: Existing) -> Result<Self, WriteError> {
        let manifest = place(stamp, folder, "manifest.json", existing)?;
        Ok(Self { manifest, token: place(stamp, folder, "token", existing)? })
    }

    /// Refuses places where the manifest or token of another stamp lies, which may be a device's only record: of another base, or with another SEED.
    pub fn check_same(&self, stamp: &Stamp, base: &BaseEntry) -> Result<(), WriteError> {
        let other = |place: &Place| Err(WriteError::Other { path: place.named().to_owned() });
        let is_same = |text: &[u8]| {
            let found = Manifest::read(text, None);
            found.is_ok_and(|found| found.base.blank_sha256 == base.blank_sha256 && found.seed.is_same(&stamp.facts.seed))
        };
        if read(&self.manifest)?.is_some_and(|text| !is_same(&text)) {
            return other(&self.manifest);
        }
        let own = stamp.made_token().map(token_text);
        match read(&self.token)? {
            Some(text) if own.is_none_or(|own| own.as_bytes() != text.as_slice()) => other(&self.token),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes them, the token first.
    pub fn write(&self, stamp: &Stamp, manifest: &str) -> Result<(), WriteError> {
        match stamp.made_token() {
            Some(token) => write_text(Output::create(&self.token)?.private(), &token_text(token))?,
            None => remove(&self.token)?,
        }
        write_text(Output::create(&self.manifest)?, manifest)
    }
}

impl<'a> Run<'a> {
    /// Looks for places in `folder` and hashes all images to be.
    pub fn prepare(press: &'a Press, stamps: &'a [Stamp], folder: &Path, existing: Existing) -> Result<Self, WriteError> {
        let places = |stamp| {
            Ok((place(stamp, folder, press.base().opened.suffix(), existing)?, Records::prepare(stamp, folder, existing)?))
        };
        let places = stamps.iter().map(places).collect::<Result<Vec<_>, WriteError>>()?;
        let job = |((stamp, (image, records)), image_sha256)| Job { stamp, image_sha256, image, records };
        let jobs = stamps.iter().zip(places).zip(press.digests(stamps)?).map(job).collect();
        Ok(Self { press, jobs })
    }

    fn base(&self) -> &Opened {
        &self.press.base().opened
    }

    /// Writes everything; the first device that fails, by the inventory's order, is the one told.
    pub fn write(&self, progress: &dyn Progress) -> Result<Vec<Stamped>, WriteError> {
        let image = self.base().image();
        let total = Some(image.bytes * self.jobs.len() as u64);
        progress.event(Event::Begin { step: STEP, total_bytes: total });
        let done = std::sync::atomic::AtomicU64::new(0);
        let stamped = parallel::map(&self.jobs, |job| {
            let output = self.image(job)?;
            self.base().check_unchanged()?;
            self.records(job)?;
            output.publish()?;
            let done = done.fetch_add(image.bytes, std::sync::atomic::Ordering::Relaxed) + image.bytes;
            progress.event(Event::Advance { step: STEP, done_bytes: done });
            Ok::<_, WriteError>(job.stamped(Some(job.image.named().to_owned())))
        })?;
        progress.event(Event::End { step: STEP });
        Ok(stamped)
    }

    /// Writes the images to `out`, one after the other, and their manifests and tokens to their places.
    pub fn stream(&self, out: &mut dyn Write) -> Result<Vec<Stamped>, WriteError> {
        for job in &self.jobs {
            self.records(job)?;
            pipe(self.press, job.stamp, out)?;
        }
        Ok(self.jobs.iter().map(|job| job.stamped(None)).collect())
    }

    /// The image of one device, complete and not published. It holds secrets of the device, so it is its owner's only.
    fn image(&self, job: &Job<'_>) -> Result<Output, WriteError> {
        let (image, seed) = (self.base().image(), job.stamp.seed());
        let output = Output::create(&job.image)?.private();
        match rustix::fs::ioctl_ficlone(output.file(), image.file) {
            Ok(()) => output.file().write_all_at(&seed, image.seed.start).map_err(|error| output.failure(error))?,
            // No file system in common, or one that cannot share.
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::ISDIR | Errno::PERM) => {
                output.set_len(image.bytes)?;
                self.copy_data(&output)?;
                output.write_at(image.seed.start, &seed)?;
            }
            Err(other) => return Err(output.failure(other.into()).into()),
        }
        Ok(output)
    }

    /// Copies what the base has outside SEED; holes stay holes.
    fn copy_data(&self, output: &Output) -> Result<(), WriteError> {
        let file = self.base().image().file;
        let mut buffer = Vec::new();
        for range in &self.press.base().data {
            let mut at = range.start;
            while at < range.end {
                let count = COPY_BYTES.min(range.end - at);
                buffer.resize(usize::try_from(count).expect("a MiB at most"), 0);
                file.read_exact_at(&mut buffer, at).map_err(|source| self.base().failure(source))?;
                output.write_at(at, &buffer)?;
                at += count;
            }
        }
        Ok(())
    }

    fn records(&self, job: &Job<'_>) -> Result<(), WriteError> {
        job.records.write(job.stamp, &self.press.manifest(job.stamp, job.image_sha256))
    }
}

/// Writes one device's image to `out` and keeps nothing: neither manifest nor token.
pub fn pipe(press: &Press, stamp: &Stamp, out: &mut dyn Write) -> Result<(), WriteError> {
    let base = &press.base().opened;
    let image = base.image();
    let copy = |mut from: Window<'_>, out: &mut dyn Write| io::copy(&mut from, out);
    copy(image.before(), out).map_err(WriteError::Stream)?;
    out.write_all(&stamp.seed()).map_err(WriteError::Stream)?;
    copy(image.after(), out).and_then(|_| out.flush()).map_err(WriteError::Stream)?;
    Ok(base.check_unchanged()?)
}

const STEP: &str = "stamp";

impl Job<'_> {
    fn stamped(&self, image: Option<PathBuf>) -> Stamped {
        Stamped {
            name: self.stamp.facts.device.name.to_string(),
            image,
            manifest: self.records.manifest.named().to_owned(),
            token: self.stamp.made_token().map(|_| self.records.token.named().to_owned()),
            device_id: self.stamp.facts.identity.as_ref().map(|identity| identity.device_id.clone()),
            image_sha256: self.image_sha256,
        }
    }
}

fn token_text(token: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", token.expose()))
}

/// What is at a place; none: nothing.
fn read(place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>, WriteError> {
    match std::fs::read(place.named()) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(place.failure(error).into()),
    }
}

fn write_text(output: Output, text: &str) -> Result<(), WriteError> {
    output.file().write_all_at(text.as_bytes(), 0).map_err(|error| output.failure(error))?;
    Ok(output.publish()?)
}

/// Takes away the token of an earlier stamp that is being replaced: it would pass for one of this stamp.
fn remove(place: &Place) -> Result<(), WriteError> {
    match std::fs::remove_file(place.named()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(place.failure(error).into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where a file of a device goes. Its name is a host name, so it leads nowhere else.
fn place(stamp: &Stamp, folder: &Path, suffix: &str, existing: Existing) -> Result<Place, WriteError> {
    let path = folder.join(format!("{}.{suffix}", stamp.facts.device.name));
    debug_assert_eq!(folder_of(&path), folder_of(&folder.join("name")), "a host name is one path component");
    let place = Place::new(&path)?;
    match existing {
        Existing::Keep if path.exists() => Err(WriteError::Occupied { path }),
        Existing::Keep | Existing::Replace => Ok(place),
    }
}
