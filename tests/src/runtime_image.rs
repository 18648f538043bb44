//! The content of a runtime image, unpacked by a tool that did not make it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use machine_config::disk::{Partition, SECTOR_BYTES};
use sha2::{Digest, Sha256};

use crate::filesystem;

/// Unpacks the runtime image of `image` into the new folder `into`.
pub fn unpack(image: &Path, into: &Path) -> Result<()> {
    let offset = filesystem::find(image, Partition::RuntimeA)?.starting_lba * SECTOR_BYTES;
    let mut command = Command::new("unsquashfs");
    command.args(["-quiet", "-no-progress", "-offset", &offset.to_string(), "-dest"]).arg(into).arg(image);
    let output = command.output().context("cannot run unsquashfs; `make setup` installs it")?;
    ensure!(output.status.success(), "unsquashfs cannot read it: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Every file below `folder`: its path, and its permissions and hash, or what it links to.
pub fn listing(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it lies below").display().to_string();
                found.insert(name, fact(&path).with_context(|| format!("cannot read {}", path.display()))?);
            }
        }
    }
    Ok(found)
}

fn fact(path: &Path) -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    if path.is_symlink() {
        return Ok(format!("-> {}", fs::read_link(path)?.display()));
    }
    let mode = path.metadata()?.permissions().mode();
    Ok(format!("{mode:o} {}", hex::encode(Sha256::digest(fs::read(path)?))))
}
