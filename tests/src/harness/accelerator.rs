//! How the guest's code is run: emulated (TCG), unless KVM is proved to work on this machine by probe guests.
//!
//! A `/dev/kvm` that opens proves nothing: nested hosts offer it and their guests die at random. So a tiny guest is run
//! several times, and the verdict is kept until the host boots again.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::hardware::Chassis;
use crate::places;

/// How the guest's code is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accelerator {
    /// Software emulation with this CPU model.
    Tcg {
        /// The emulator's `-cpu`.
        cpu: &'static str,
    },
    /// The host's virtualisation, proved to work.
    Kvm,
}

/// Probe guests that must all run to their end before KVM is trusted.
const PROBES: u32 = 5;

impl Accelerator {
    /// The emulator's `-accel`.
    pub fn accel(&self) -> &'static str {
        match self {
            Self::Tcg { .. } => "tcg,thread=multi",
            Self::Kvm => "kvm",
        }
    }

    /// The emulator's `-cpu`.
    pub fn cpu(&self) -> &'static str {
        match self {
            Self::Tcg { cpu } => cpu,
            Self::Kvm => "host",
        }
    }

    /// Emulation with the CPU model that the installed emulator runs reliably.
    pub fn emulation() -> io::Result<Self> {
        let output = Command::new(Chassis::Pc.program()).arg("--version").output()?;
        let major = major_version(&String::from_utf8_lossy(&output.stdout));
        Ok(Self::Tcg { cpu: cpu_model(major) })
    }

    /// The accelerator of this machine: KVM if `probe`, which runs one tiny guest under it, succeeds every time.
    pub fn choose(probe: impl Fn(&Self) -> bool) -> io::Result<Self> {
        let emulation = Self::emulation()?;
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(emulation);
        }
        let verdict = places::in_target("vm-probe")?.join("kvm");
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let works = kept(&verdict, &boot_id).unwrap_or_else(|| (0..PROBES).all(|_| probe(&Self::Kvm)));
        fs::write(&verdict, format!("{}\n{}\n", boot_id.trim(), if works { "works" } else { "fails" }))?;
        Ok(if works { Self::Kvm } else { emulation })
    }
}

/// The verdict kept since the host booted; none: there is none of this boot.
fn kept(verdict: &Path, boot_id: &str) -> Option<bool> {
    let text = fs::read_to_string(verdict).ok()?;
    let (boot, works) = text.trim().split_once('\n')?;
    (boot == boot_id.trim()).then_some(works == "works")
}

fn major_version(text: &str) -> Option<u32> {
    text.split_once("version ")?.1.split('.').next()?.parse().ok()
}

/// QEMU 7.2's `cmpxchg16b` breaks about one boot in ten; without it 52 of 52 came up, as did 52 of 52 under QEMU 10 with it.
fn cpu_model(major: Option<u32>) -> &'static str {
    match major {
        Some(10..) => "qemu64",
        Some(_) | None => "qemu64,-cx16",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_emulators_get_the_cpu_that_boots_every_time() {
        let old = major_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright");
        assert_eq!((old, cpu_model(old)), (Some(7), "qemu64,-cx16"));
        let new = major_version("QEMU emulator version 10.0.2 (Debian)");
        assert_eq!((new, cpu_model(new)), (Some(10), "qemu64"));
        assert_eq!(cpu_model(major_version("garbage")), "qemu64,-cx16");
    }

    #[test]
    fn a_verdict_of_an_earlier_boot_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kvm");
        fs::write(&file, "boot-1\nworks\n").unwrap();
        assert_eq!(kept(&file, "boot-1\n"), Some(true));
        assert_eq!(kept(&file, "boot-2\n"), None);
        fs::write(&file, "boot-1\nfails\n").unwrap();
        assert_eq!(kept(&file, "boot-1\n"), Some(false));
    }
}
