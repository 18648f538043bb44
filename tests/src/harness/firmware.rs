//! Finds UEFI firmware for the guest. Newer firmware first: trixie's boots two seconds faster than bookworm's.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use imager::board::Architecture;
use imager::components::assemble::{AssembleOptions, test_files};
use imager::components::{MirrorChoice, Wishes};
use imager::progress::Silent;

use crate::places;

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
#[error("cannot find UEFI firmware for the guest: looked in {}; `make setup` installs it, SKERRY_OVMF=FOLDER names another place",
    .looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
pub struct NoFirmware {
    looked: Vec<PathBuf>,
}

/// Where fetched firmware lies in the images' folder.
const FOLDER: &str = "ovmf";

/// Code and variables by the names that distributions give them.
const NAMES: [(&str, &str); 2] = [("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"), ("OVMF_CODE.fd", "OVMF_VARS.fd")];

fn in_folder(folder: &Path) -> Option<Firmware> {
    let pairs = NAMES.map(|(code, variables)| Firmware { code: folder.join(code), variables: folder.join(variables) });
    pairs.into_iter().find(|pair| pair.code.is_file() && pair.variables.is_file())
}

/// Fetches the locked firmware into the folder `ovmf` of `images`.
pub fn fetch(images: &Path) -> anyhow::Result<()> {
    let kernel = places::workspace().join("kernel");
    let options = AssembleOptions {
        manifest: kernel.join("components.toml"),
        lock: kernel.join("components.lock"),
        cache: None,
        mirrors: MirrorChoice::default(),
        wishes: Wishes::default(),
    };
    let files = test_files("ovmf", Architecture::X86_64, &options, &Silent)?;
    let folder = images.join(FOLDER);
    fs::create_dir_all(&folder)?;
    for (name, path) in &files {
        let name = Path::new(name).file_name().unwrap_or(name.as_ref());
        fs::copy(path, folder.join(name))?;
    }
    Ok(())
}

impl Firmware {
    /// The firmware of `SKERRY_OVMF`, of `fetched` (the folder the images were built into), or of the host, in this order.
    pub fn find(fetched: &Path) -> Result<Self, NoFirmware> {
        let named = env::var_os("SKERRY_OVMF").map(PathBuf::from);
        let host = ["/usr/share/OVMF", "/usr/share/ovmf/x64", "/usr/share/edk2/x64"].map(PathBuf::from);
        let folders: Vec<PathBuf> = named.into_iter().chain([fetched.join(FOLDER)]).chain(host).collect();
        folders.iter().find_map(|folder| in_folder(folder)).ok_or(NoFirmware { looked: folders })
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
        let ovmf = folder.path().join("ovmf");
        fs::create_dir(&ovmf).unwrap();
        fs::write(ovmf.join("OVMF_CODE_4M.fd"), "code").unwrap();
        assert_eq!(in_folder(&ovmf), None, "code without variables is no firmware");
        fs::write(ovmf.join("OVMF_VARS_4M.fd"), "variables").unwrap();
        let found = Firmware::find(folder.path()).unwrap();
        assert_eq!(found.code, ovmf.join("OVMF_CODE_4M.fd"));
        let own = found.with_own_variables(folder.path().join("own.fd")).unwrap();
        assert_eq!(fs::read_to_string(own.variables).unwrap(), "variables");
    }
}
