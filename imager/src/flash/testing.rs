//! For tests: images in temporary folders, and drives in memory that misbehave in one way each.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use rustix::io::Errno;

use super::facts::{Block, DeviceNumber, Facts, Kind};
use super::image::{Image, Trust};
use super::outcome::{Drive, Failure, Transport};
use super::plan::Job;
use super::target::{Discard, Drives, Forgotten, Target};

pub(super) const MIB: u64 = 1 << 20;

/// A list of one range.
pub(super) fn one(range: Range<u64>) -> Vec<Range<u64>> {
    vec![range]
}

pub(super) fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("small")
}

/// Bytes that nothing else has, none of them zero, for a place in an image.
pub(super) fn content(range: Range<u64>) -> Vec<u8> {
    let word = |at: u64| (at | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().map(|byte| byte | 1);
    let words = range.start / 8..range.end.div_ceil(8);
    let bytes: Vec<u8> = words.flat_map(word).collect();
    let skipped = at(range.start % 8);
    bytes[skipped..skipped + at(range.end - range.start)].to_vec()
}

/// A sparse file with [`content`] in these ranges.
pub(super) fn write_sparse(path: &Path, bytes: u64, mapped: &[Range<u64>]) {
    let file = std::fs::File::create(path).expect("created");
    file.set_len(bytes).expect("sized");
    for range in mapped {
        file.write_all_at(&content(range.clone()), range.start).expect("written");
    }
}

/// An image with content in these ranges, as it is found in a file.
pub(super) fn image(folder: &Path, name: &str, bytes: u64, mapped: &[Range<u64>]) -> Arc<Image> {
    let path = folder.join(name);
    write_sparse(&path, bytes, mapped);
    Arc::new(Image::open(&path, &Trust::default()).expect("an image"))
}

/// A USB stick of this size at /dev/NAME.
pub(super) fn stick(name: &str, minor: u32, bytes: u64) -> Facts {
    let path = Path::new("/dev").join(name);
    let drive = Drive {
        serial: Some("0123456789ABCDEF".into()),
        model: Some("Stick".into()),
        bytes,
        transport: Transport::Usb,
        port: Some(format!("pci-0000:00:14.0-usb-0:{minor}:1.0-scsi-0:0:0:0")),
    };
    let block = Block {
        number: DeviceNumber { major: 8, minor },
        name: name.into(),
        sequence: None,
        drive,
        partition_of: None,
        removable: true,
        read_only: false,
        sector_bytes: 512,
        partitions: vec![],
        uses: vec![],
        backing: None,
    };
    Facts { named: path.clone(), path, kind: Kind::Block(block) }
}

/// What is wrong with a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// It is gone once this place was to be written.
    PulledAt(u64),
    /// It takes half of what covers this place.
    ShortAt(u64),
    /// This place cannot be written.
    BadBlock(u64),
    /// This place cannot be read.
    UnreadableBlock(u64),
    /// It is full at this place.
    FullAt(u64),
    /// It has only so many bytes; higher addresses land on lower ones.
    Wraps(u64),
    /// It has only so many bytes; what is written beyond is lost.
    Loses(u64),
    /// A bit here is always wrong when read.
    FlipsBit(u64),
    /// It does not answer once this place is to be written, until it is released.
    HangsAt(u64),
    /// Another program has it open.
    Busy,
    /// What is written from here to there is lost.
    LosesOnly(u64, u64),
    /// It does not answer once this place is to be written, until it is released; then it goes on.
    WaitsAt(u64),
    /// The same when it is read.
    WaitsToRead(u64),
    /// What it takes may wait in memory.
    Cached,
    /// It says that it can discard, and does not.
    RefusesToForget,
    /// Writing this place panics: this program's own mistake.
    PanicsAt(u64),
}

/// A drive in memory.
#[derive(Debug)]
pub(super) struct Medium {
    pub(super) bytes: Mutex<Vec<u8>>,
    fault: Fault,
    gone: Mutex<bool>,
    released: Mutex<bool>,
    changed: Condvar,
    /// What it took since it finished last, and the most it ever took until then.
    unfinished: Mutex<(u64, u64)>,
}

impl Medium {
    /// The most it ever took before it was asked to finish.
    pub(super) fn most_unfinished(&self) -> u64 {
        self.unfinished.lock().expect("not poisoned").1
    }

    fn wait(&self) {
        let released = self.released.lock().expect("not poisoned");
        drop(self.changed.wait_while(released, |released| !*released).expect("not poisoned"));
    }

    pub(super) fn content(&self) -> Vec<u8> {
        self.bytes.lock().expect("not poisoned").clone()
    }

    fn release(&self) {
        *self.released.lock().expect("not poisoned") = true;
        self.changed.notify_all();
    }

    /// The parts of a range: where each begins in it, how long it is, and where it really is; none: nowhere.
    fn parts(&self, range: Range<u64>) -> Vec<(usize, usize, Option<usize>)> {
        let mut parts = Vec::new();
        let mut place = range.start;
        while place < range.end {
            let (real, border) = match self.fault {
                Fault::Wraps(bytes) => (Some(at(place % bytes)), (place / bytes + 1) * bytes),
                Fault::LosesOnly(from, to) if (from..to).contains(&place) => (None, to),
                Fault::LosesOnly(from, _) if place < from => (Some(at(place)), from),
                Fault::Loses(bytes) if place >= bytes => (None, u64::MAX),
                Fault::Loses(bytes) => (Some(at(place)), bytes),
                _ => (Some(at(place)), u64::MAX),
            };
            let end = border.min(range.end);
            parts.push((at(place - range.start), at(end - place), real));
            place = end;
        }
        parts
    }

    fn store(&self, offset: u64, bytes: &[u8]) {
        let mut stored = self.bytes.lock().expect("not poisoned");
        for (from, length, real) in self.parts(offset..offset + bytes.len() as u64) {
            if let Some(real) = real {
                stored[real..real + length].copy_from_slice(&bytes[from..from + length]);
            }
        }
    }

    fn fetch(&self, offset: u64, buffer: &mut [u8]) {
        let stored = self.bytes.lock().expect("not poisoned");
        for (from, length, real) in self.parts(offset..offset + buffer.len() as u64) {
            match real {
                Some(real) => buffer[from..from + length].copy_from_slice(&stored[real..real + length]),
                None => buffer[from..from + length].fill(0),
            }
        }
    }

    fn check_write(&self, range: &Range<u64>) -> io::Result<()> {
        if *self.gone.lock().expect("not poisoned") {
            return Err(Errno::IO.into());
        }
        match self.fault {
            Fault::PulledAt(place) if range.contains(&place) => {
                *self.gone.lock().expect("not poisoned") = true;
                Err(Errno::IO.into()) // as the kernel reports it; that it is gone shows elsewhere
            }
            Fault::ShortAt(place) if range.contains(&place) => Err(ErrorKind::WriteZero.into()),
            Fault::BadBlock(place) if range.contains(&place) => Err(Errno::IO.into()),
            Fault::FullAt(place) if range.contains(&place) => Err(Errno::NOSPC.into()),
            Fault::HangsAt(place) if range.contains(&place) => {
                self.wait();
                Err(Errno::IO.into())
            }
            Fault::WaitsAt(place) if range.contains(&place) => {
                self.wait();
                Ok(())
            }
            Fault::PanicsAt(place) if range.contains(&place) => panic!("a mistake in imager, for this test"),
            _ => Ok(()),
        }
    }
}

/// Drives by their paths.
#[derive(Debug, Default)]
pub(super) struct Shelf(HashMap<PathBuf, Arc<Medium>>);

impl Shelf {
    /// Puts a drive there, full of old bytes.
    pub(super) fn put(&mut self, facts: &Facts, fault: Fault) -> Arc<Medium> {
        let bytes = vec![0xee; at(facts.drive().expect("a drive").bytes)];
        let (gone, released) = (Mutex::new(false), Mutex::new(false));
        let (changed, unfinished) = (Condvar::new(), Mutex::default());
        let medium = Arc::new(Medium { bytes: Mutex::new(bytes), fault, gone, released, changed, unfinished });
        self.0.insert(facts.path.clone(), Arc::clone(&medium));
        medium
    }

    /// Lets drives that hang go on.
    pub(super) fn release(&self) {
        self.0.values().for_each(|medium| medium.release());
    }
}

impl Drives for Shelf {
    fn open(&self, job: &Job) -> Result<Box<dyn Target>, Failure> {
        let medium = Arc::clone(&self.0[&job.facts.path]);
        match medium.fault {
            Fault::Busy => Err(Failure::new(super::outcome::Reason::Busy, "another program uses it")),
            _ => Ok(Box::new(OpenMedium(medium))),
        }
    }
}

struct OpenMedium(Arc<Medium>);

impl Target for OpenMedium {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = offset..offset + bytes.len() as u64;
        self.0.check_write(&range)?;
        let mut unfinished = self.0.unfinished.lock().expect("not poisoned");
        unfinished.0 += bytes.len() as u64;
        unfinished.1 = unfinished.1.max(unfinished.0);
        drop(unfinished);
        self.0.store(offset, bytes);
        Ok(())
    }

    fn zero(&mut self, range: Range<u64>, _: Discard) -> io::Result<()> {
        self.0.check_write(&range)?;
        self.0.store(range.start, &vec![0; at(range.end - range.start)]);
        Ok(())
    }

    fn forget(&mut self, range: Range<u64>) -> Forgotten {
        if self.0.fault == Fault::RefusesToForget {
            return Forgotten::Refused(Errno::REMOTEIO.into());
        }
        let garbled = vec![0xdd; at(range.end - range.start)];
        self.0.store(range.start, &garbled);
        Forgotten::Taken
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.unfinished.lock().expect("not poisoned").0 = 0;
        Ok(())
    }

    fn is_cached(&self) -> bool {
        self.0.fault == Fault::Cached
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = offset..offset + buffer.len() as u64;
        if matches!(self.0.fault, Fault::UnreadableBlock(place) if range.contains(&place)) {
            return Err(Errno::IO.into());
        }
        if matches!(self.0.fault, Fault::WaitsToRead(place) if range.contains(&place)) {
            self.0.wait();
        }
        self.0.fetch(offset, buffer);
        if let Fault::FlipsBit(place) = self.0.fault
            && (offset..offset + buffer.len() as u64).contains(&place)
        {
            buffer[at(place - offset)] ^= 0x10;
        }
        Ok(())
    }

    fn is_gone(&self) -> bool {
        *self.0.gone.lock().expect("not poisoned")
    }
}
