//! What every VM test stands on: the images, an accelerator that works here, firmware. Opened once; a test that lacks it says why.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use imager::board::Architecture;

use crate::fleet::TestFleet;
use crate::floor;
use crate::harness::boot::Rig;
use crate::harness::disk::DISK_BYTES;
use crate::harness::emulator::Emulator;
use crate::harness::fetched;
use crate::harness::firmware::NoFirmware;
use crate::harness::logs::Logs;
use crate::harness::{Accelerator, Chassis, DirectKernel, Disk, Firmware, Guest};
use crate::images::{FLEET, FOREIGN_FLEET, TestImage};
use crate::places;
use crate::uki::Uki;

/// The laboratory.
#[derive(Debug)]
pub struct Lab {
    images: PathBuf,
    accelerator: Accelerator,
    firmware: Firmware,
    arm_firmware: Result<Firmware, NoFirmware>,
}

impl Lab {
    /// Opens it for a test. Without images the test is skipped, and the reason printed; with `SKERRY_TEST_IMAGES` set, as
    /// `make test` sets it, nothing may be skipped.
    ///
    /// # Panics
    /// When `SKERRY_TEST_IMAGES` names a folder that does not do.
    pub fn open_or_skip() -> Option<Self> {
        let required = env::var_os("SKERRY_TEST_IMAGES").is_some();
        match Self::open(&places::test_images()) {
            Ok(lab) => Some(lab),
            Err(error) if required => panic!("cannot run VM tests: {error:#}"),
            Err(error) => {
                eprintln!("skipped: {error:#}");
                None
            }
        }
    }

    /// Opens it on the test images in the folder `images`.
    pub fn open(images: &Path) -> Result<Self> {
        let blank = images.join(TestImage::Blank.file_name());
        fs::metadata(&blank).with_context(|| format!("no {}; `make test` or `build-images` makes it", blank.display()))?;
        Self::for_image(&blank)
    }

    /// Opens it for one image. An x86-64 image's kernel is the one to probe with; others are emulated in any case.
    pub fn for_image(image: &Path) -> Result<Self> {
        let images = image.parent().context("an image lies in a folder")?.to_owned();
        let firmware = Firmware::find(&images, Architecture::X86_64)?;
        let arm_firmware = Firmware::find(&images, Architecture::Aarch64);
        let accelerator = match Uki::read(image)?.architecture()? {
            Architecture::X86_64 => Accelerator::choose(|candidate| probe(candidate, image)),
            Architecture::Aarch64 => Accelerator::emulation(),
        };
        let accelerator = accelerator.context("cannot ask the emulator")?;
        Ok(Self { images, accelerator, firmware, arm_firmware })
    }

    /// How guests are run here.
    pub fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    /// The firmware guests start with.
    pub fn firmware(&self) -> &Firmware {
        &self.firmware
    }

    /// The folder of the images.
    pub fn images(&self) -> &Path {
        &self.images
    }

    /// An image's file.
    pub fn image(&self, image: TestImage) -> PathBuf {
        self.images.join(image.file_name())
    }

    /// The fleet whose key the images trust.
    pub fn fleet(&self) -> Result<TestFleet> {
        TestFleet::open(&self.images.join(FLEET))
    }

    /// Another fleet, whose keys mean nothing to the images.
    pub fn foreign_fleet(&self) -> Result<TestFleet> {
        TestFleet::open(&self.images.join(FOREIGN_FLEET))
    }

    /// The fetched emulator of a chassis, newer than the host's.
    pub fn newer_emulator(&self, chassis: Chassis) -> Result<Emulator> {
        fetched::emulator(&self.images, chassis)
    }

    /// What a boot of `guest` with these logs needs: the firmware of its chassis.
    pub fn rig_for<'a>(&'a self, guest: &Guest, logs: &'a Logs) -> Result<Rig<'a>> {
        let firmware = match guest.chassis {
            Chassis::Pc => Some(&self.firmware),
            Chassis::Arm { .. } => match &self.arm_firmware {
                Ok(firmware) => Some(firmware),
                Err(error) => bail!("{error}"),
            },
            Chassis::RaspberryPi3 | Chassis::RaspberryPi4 => None, // the kernel it is handed does that work
        };
        Ok(Rig { firmware, ..self.rig(logs) })
    }

    /// What the boot of a PC with these logs needs.
    pub fn rig<'a>(&'a self, logs: &'a Logs) -> Rig<'a> {
        Rig { accelerator: &self.accelerator, firmware: Some(&self.firmware), logs }
    }
}

/// Takes kernel and command line from `image`, and the floor's initramfs, into the log folder.
///
/// The command line is the image's own, so that the kernel does the same work before PID 1.
pub fn floor_kernel(image: &Path, logs: &Logs) -> Result<DirectKernel> {
    let uki = Uki::read(image)?;
    let direct = DirectKernel {
        kernel: logs.path("kernel"),
        initrd: Some(logs.path("floor.cpio")),
        devicetree: None,
        command_line: uki.command_line()?,
    };
    fs::write(&direct.kernel, uki.section(".linux")?).context("cannot write the floor's kernel")?;
    floor::make_initramfs(&logs.path("floor.cpio"))?;
    Ok(direct)
}

/// Whether a guest runs to its end under the candidate.
fn probe(candidate: &Accelerator, image: &Path) -> bool {
    let run = || -> Result<()> {
        let guest = Guest::new("probe");
        let logs = Logs::fresh("probe")?;
        let direct = floor_kernel(image, &logs)?;
        let disk = Disk::from_image(image, &logs.path("disk.img"), DISK_BYTES)?;
        floor::measure(&guest, direct, &Rig { accelerator: candidate, firmware: None, logs: &logs }, &disk, &mut 0)?;
        Ok(())
    };
    run().is_ok()
}
