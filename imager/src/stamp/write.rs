//! Carries stamps out: image, manifest and, where one was made, token of each device. Files appear whole, the image last, so that whoever finds an
//! image finds what belongs to it. Chooses nothing.

use std::borrow::Cow;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use machine_config::SigningKey;
use rustix::io::Errno;
use serde::Serialize;

use super::base::{Base, BaseError};
use super::hash::digests;
use super::manifest::{BaseEntry, ImageEntry, Manifest};
use super::plan::Stamp;
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
    /// SHA-256 of the whole image.
    pub image_sha256: Digest,
}

/// A run that may begin: every name is free, every digest known.
#[derive(Debug)]
pub struct Run<'a> {
    base: &'a Base,
    station: &'a SigningKey,
    entry: BaseEntry,
    jobs: Vec<Job<'a>>,
}

#[derive(Debug)]
struct Job<'a> {
    stamp: &'a Stamp,
    image_sha256: Digest,
    image: Place,
    manifest: Place,
    token: Place,
}

/// What SEED holds in an image that is hashed.
enum Content<'a> {
    /// What the base has there.
    Base(&'a [u8]),
    /// Zeros.
    Blank,
    /// A stamp.
    Stamp(&'a Stamp),
}

impl Content<'_> {
    fn bytes(&self, length: usize) -> Cow<'_, [u8]> {
        match self {
            Self::Base(bytes) => Cow::Borrowed(bytes),
            Self::Blank => Cow::Owned(vec![0; length]),
            Self::Stamp(stamp) => Cow::Owned(stamp.seed()),
        }
    }
}

impl<'a> Run<'a> {
    /// Looks for places in `folder` and hashes the base and all images to be.
    pub fn prepare(
        base: &'a Base,
        stamps: &'a [Stamp],
        folder: &Path,
        existing: Existing,
        station: &'a SigningKey,
    ) -> Result<Self, WriteError> {
        let places = stamps.iter().map(|stamp| places(stamp, folder, existing)).collect::<Result<Vec<_>, _>>()?;
        let own = base.opened.read_seed()?;
        let mut contents = vec![Content::Base(&own), Content::Blank];
        contents.extend(stamps.iter().map(Content::Stamp));
        let hashed = digests(&base.opened.image(), &contents, |content| content.bytes(own.len()));
        let digests = hashed.map_err(|source| base.opened.failure(source))?;
        base.opened.check_unchanged()?;
        let release = &base.release;
        let (version, board) = (release.version.clone(), release.board.clone());
        let entry = BaseEntry { version, board, sha256: digests[0], blank_sha256: digests[1] };
        let job = |((stamp, [image, manifest, token]), sha256): ((&'a Stamp, [Place; 3]), &Digest)| Job {
            stamp,
            image_sha256: *sha256,
            image,
            manifest,
            token,
        };
        let jobs = stamps.iter().zip(places).zip(&digests[2..]).map(job).collect();
        Ok(Self { base, station, entry, jobs })
    }

    /// Writes everything; the first device that fails, by the inventory's order, is the one told.
    pub fn write(&self, progress: &dyn Progress) -> Result<Vec<Stamped>, WriteError> {
        let image = self.base.opened.image();
        let total = Some(image.bytes * self.jobs.len() as u64);
        progress.event(Event::Begin { step: STEP, total_bytes: total });
        let done = std::sync::atomic::AtomicU64::new(0);
        let stamped = parallel::map(&self.jobs, |job| {
            let output = self.image(job)?;
            self.base.opened.check_unchanged()?;
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
        let image = self.base.opened.image();
        for job in &self.jobs {
            self.records(job)?;
            let copy = |mut from: Window<'_>, out: &mut dyn Write| io::copy(&mut from, out);
            copy(image.before(), out).map_err(WriteError::Stream)?;
            out.write_all(&job.stamp.seed()).map_err(WriteError::Stream)?;
            copy(image.after(), out).and_then(|_| out.flush()).map_err(WriteError::Stream)?;
            self.base.opened.check_unchanged()?;
        }
        Ok(self.jobs.iter().map(|job| job.stamped(None)).collect())
    }

    /// The image of one device, complete and not published. It holds secrets of the device, so it is its owner's only.
    fn image(&self, job: &Job<'_>) -> Result<Output, WriteError> {
        let (image, seed) = (self.base.opened.image(), job.stamp.seed());
        let output = Output::create(&job.image)?.private();
        match rustix::fs::ioctl_ficlone(output.file(), image.file) {
            Ok(()) => output.file().write_all_at(&seed, image.seed.offset).map_err(|error| output.failure(error))?,
            // No file system in common, or one that cannot share.
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::ISDIR | Errno::PERM) => {
                output.set_len(image.bytes)?;
                self.copy_data(&output)?;
                output.write_at(image.seed.offset, &seed)?;
            }
            Err(other) => return Err(output.failure(other.into()).into()),
        }
        Ok(output)
    }

    /// Copies what the base has outside SEED; holes stay holes.
    fn copy_data(&self, output: &Output) -> Result<(), WriteError> {
        let file = self.base.opened.image().file;
        let mut buffer = Vec::new();
        for range in &self.base.data {
            let mut at = range.start;
            while at < range.end {
                let count = COPY_BYTES.min(range.end - at);
                buffer.resize(usize::try_from(count).expect("a MiB at most"), 0);
                file.read_exact_at(&mut buffer, at).map_err(|source| self.base.opened.failure(source))?;
                output.write_at(at, &buffer)?;
                at += count;
            }
        }
        Ok(())
    }

    /// Writes token and manifest of one device.
    fn records(&self, job: &Job<'_>) -> Result<(), WriteError> {
        match job.stamp.made_token() {
            Some(token) => write_text(Output::create(&job.token)?.private(), &format!("{}\n", token.expose()))?,
            None => remove(&job.token)?,
        }
        let image = ImageEntry { bytes: self.base.opened.image().bytes, sha256: job.image_sha256 };
        let Stamp { device, entry, .. } = job.stamp.clone();
        let manifest = Manifest::new(self.entry.clone(), entry, image, device, self.station);
        write_text(Output::create(&job.manifest)?, &manifest.sign(self.station))
    }
}

const STEP: &str = "stamp";

impl Job<'_> {
    fn stamped(&self, image: Option<PathBuf>) -> Stamped {
        Stamped {
            name: self.stamp.device.name.to_string(),
            image,
            manifest: self.manifest.named().to_owned(),
            token: self.stamp.made_token().map(|_| self.token.named().to_owned()),
            image_sha256: self.image_sha256,
        }
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

/// Where image, manifest and token go. A name is a host name, so it leads nowhere else.
fn places(stamp: &Stamp, folder: &Path, existing: Existing) -> Result<[Place; 3], WriteError> {
    let place = |suffix: &str| {
        let path = folder.join(format!("{}.{suffix}", stamp.device.name));
        let place = Place::new(&path)?;
        match existing {
            Existing::Keep if path.exists() => Err(WriteError::Occupied { path }),
            Existing::Keep | Existing::Replace => Ok(place),
        }
    };
    debug_assert_eq!(folder_of(&folder.join("name")), folder, "a host name is one path component");
    Ok([place("img")?, place("manifest.json")?, place("token")?])
}
