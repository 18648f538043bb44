//! Options of `imager flash`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::flash::engine::PATIENCE;
use crate::flash::guard::MAX_BYTES;

/// Options of `flash`.
#[derive(Debug, Args)]
pub(in crate::cli) struct FlashArgs {
    /// Images: one for all drives, or one per drive. FILE.bmap, FILE.sha256 and NAME.manifest.json beside them are used.
    #[arg(value_name = "IMAGE", required_unless_present = "inventory", conflicts_with = "inventory")]
    pub(super) images: Vec<PathBuf>,
    /// Drives, such as /dev/sdb, or files; all that is on them is lost.
    #[arg(long, value_name = "DEVICE", num_args = 1.., required_unless_present = "inventory")]
    pub(super) to: Vec<PathBuf>,
    /// The devices, CSV as for `stamp`: each one's image goes to the next drive that nothing speaks against, or to the next one of --to.
    #[arg(long, value_name = "FILE", requires = "folder")]
    pub(super) inventory: Option<PathBuf>,
    /// Folder with NAME.img or NAME.iso, and NAME.manifest.json of each device, as `stamp` wrote them.
    #[arg(id = "folder", long = "images", value_name = "DIR", requires = "inventory")]
    pub(super) folder: Option<PathBuf>,
    /// Refuse larger drives: bytes, or a number with K, M, G or T (powers of 1024) [default: 2T].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) max_size: Option<u64>,
    /// Allow this drive although it is not removable, or this file although something is in it; may be repeated.
    #[arg(long, value_name = "DEVICE")]
    pub(super) allow_fixed: Vec<PathBuf>,
    /// Allow only drives on ports of this name below /dev/disk/by-path, with * and ?; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(super) port: Vec<String>,
    /// Manifest of the only image [default: NAME.manifest.json beside NAME.img, if it is there].
    #[arg(long, value_name = "FILE", conflicts_with = "inventory")]
    pub(super) manifest: Option<PathBuf>,
    /// Public key, or file with it, of the station that must have signed the manifests [default: any station].
    #[arg(long, value_name = "PUB")]
    pub(super) stamped_by: Option<String>,
    /// Append a signed record of each drive to this log.
    #[arg(long, value_name = "FILE", requires = "station_key")]
    pub(super) record: Option<PathBuf>,
    /// The station's key that signs records, which `imager station-key` makes.
    #[arg(long, value_name = "FILE", env = "SKERRY_STATION_KEY")]
    pub(super) station_key: Option<PathBuf>,
    /// Write zeros instead of dropping blocks.
    #[arg(long)]
    pub(super) no_discard: bool,
    /// Give up a drive that does not answer for so many seconds, twice as many when it empties its cache [default: 180].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: Option<u64>,
    /// Print what would be written where, and why which drive would be refused; write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub(super) yes: bool,
}

impl FlashArgs {
    /// The largest drive that is written to.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_size.unwrap_or(MAX_BYTES)
    }

    /// How long a drive may take for one answer.
    pub(super) fn patience(&self) -> Duration {
        self.timeout.map_or(PATIENCE, Duration::from_secs)
    }
}

/// A size: bytes, or with a unit behind.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size: a number of bytes, or a number with K, M, G or T");
    let upper = text.to_ascii_uppercase();
    let units = [("K", 1u64 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
    let (digits, unit) = units.into_iter().find_map(|(end, unit)| Some((upper.strip_suffix(end)?, unit))).unwrap_or((&upper, 1));
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, expected) in [("512", Some(512)), ("64G", Some(64 << 30)), ("2t", Some(2 << 40)), ("1k", Some(1024))] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
        for text in ["", "G", "-1", "1.5T", "64GB", "0", "99999999T"] {
            assert!(size(text).expect_err("refused").contains(text), "{text}");
        }
    }
}
