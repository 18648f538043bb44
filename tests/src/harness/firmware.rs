//! Finds UEFI firmware for the guest. Newer firmware first: trixie's boots two seconds faster than bookworm's.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use imager::board::Architecture;

use super::fetched;

/// Firmware code, and the variables it starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// Read-only code.
    pub code: PathBuf,
    /// Variable store: the distribution's pristine one, or one run's own copy.
    pub variables: PathBuf,
}

/// No firmware was found.
#[derive(Debug, thiserror::Error)]
#[error("cannot find UEFI firmware for the guest: looked in {}; `make setup` installs it, {variable}=FOLDER names another place",
    .looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
pub struct NoFirmware {
    variable: &'static str,
    looked: Vec<PathBuf>,
}

/// Where the firmware of one architecture comes from.
#[derive(Debug)]
struct Source {
    /// The component, and the folder of the images it is fetched into.
    component: &'static str,
    /// Where in the component it lies.
    within: &'static str,
    /// The variable that names another folder.
    variable: &'static str,
    /// Code and variables by the names that distributions give them.
    names: &'static [(&'static str, &'static str)],
    /// Where hosts have it.
    host: &'static [&'static str],
}

const OVMF: Source = Source {
    component: "ovmf",
    within: "usr/share/OVMF",
    variable: "SKERRY_OVMF",
    names: &[("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"), ("OVMF_CODE.fd", "OVMF_VARS.fd")],
    host: &["/usr/share/OVMF", "/usr/share/ovmf/x64", "/usr/share/edk2/x64"],
};

const AAVMF: Source = Source {
    component: "aavmf",
    within: "usr/share/AAVMF",
    variable: "SKERRY_AAVMF",
    names: &[("AAVMF_CODE.fd", "AAVMF_VARS.fd"), ("QEMU_EFI.fd", "QEMU_VARS.fd")],
    host: &["/usr/share/AAVMF", "/usr/share/edk2/aarch64"],
};

fn source(architecture: Architecture) -> &'static Source {
    match architecture {
        Architecture::X86_64 => &OVMF,
        Architecture::Aarch64 => &AAVMF,
    }
}

impl Source {
    fn in_folder(&self, folder: &Path) -> Option<Firmware> {
        let pairs = self.names.iter();
        let mut pairs = pairs.map(|(code, variables)| Firmware { code: folder.join(code), variables: folder.join(variables) });
        pairs.find(|pair| pair.code.is_file() && pair.variables.is_file())
    }
}

/// Fetches the locked firmware of an architecture into its folder in `images`.
pub fn fetch(images: &Path, architecture: Architecture) -> anyhow::Result<()> {
    fetched::fetch(images, source(architecture).component, architecture)
}

impl Firmware {
    /// The firmware that the architecture's variable names, that of `fetched` (the folder the images were built into), or the host's,
    /// in this order.
    pub fn find(fetched: &Path, architecture: Architecture) -> Result<Self, NoFirmware> {
        let source = source(architecture);
        let named = env::var_os(source.variable).map(PathBuf::from);
        let host = source.host.iter().map(PathBuf::from);
        let folders: Vec<PathBuf> =
            named.into_iter().chain([fetched.join(source.component).join(source.within)]).chain(host).collect();
        let found = folders.iter().find_map(|folder| source.in_folder(folder));
        found.ok_or(NoFirmware { variable: source.variable, looked: folders })
    }

    /// A copy whose variables are `path`, so that a run changes no other run's.
    pub fn with_own_variables(&self, path: PathBuf) -> io::Result<Self> {
        fs::copy(&self.variables, &path)?;
        Ok(Self { code: self.code.clone(), variables: path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetched_firmware_comes_before_the_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let ovmf = folder.path().join("ovmf/usr/share/OVMF");
        fs::create_dir_all(&ovmf).unwrap();
        fs::write(ovmf.join("OVMF_CODE_4M.fd"), "code").unwrap();
        assert_eq!(OVMF.in_folder(&ovmf), None, "code without variables is no firmware");
        fs::write(ovmf.join("OVMF_VARS_4M.fd"), "variables").unwrap();
        let found = Firmware::find(folder.path(), Architecture::X86_64).unwrap();
        assert_eq!(found.code, ovmf.join("OVMF_CODE_4M.fd"));
        let own = found.with_own_variables(folder.path().join("own.fd")).unwrap();
        assert_eq!(fs::read_to_string(own.variables).unwrap(), "variables");
    }
}
