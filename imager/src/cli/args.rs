//! Options and what they default to.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};

use super::flash::FlashArgs;
use super::label::LabelArgs;
use super::records::RecordsArgs;
use super::serve::ServeArgs;
use super::workspace;
use crate::board::{Board, Format};
use crate::cache::DerivedCache;
use crate::components::assemble::AssembleOptions;
use crate::components::cache::Cache;
use crate::components::{MirrorChoice, Wishes};

/// Builds, checks and inspects Skerry's disk images. Needs neither root, mounts nor loop devices.
#[derive(Debug, Parser)]
#[command(name = "imager", version, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Print JSON: one event per line for what takes time, the last one `done`; one document for `inspect` and `boards`.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Folder for fetched and derived files [default: SKERRY_CACHE, else XDG_CACHE_HOME/skerry, else ~/.cache/skerry].
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
    /// Base address of Debian's main archive [default: SKERRY_MIRROR, else this host's apt configuration].
    #[arg(long, global = true, value_name = "URL")]
    mirror: Option<String>,
    /// Base address of Debian's security archive [default: SKERRY_SECURITY_MIRROR, else this host's apt configuration].
    #[arg(long, global = true, value_name = "URL")]
    security_mirror: Option<String>,
    /// Folder with components.toml, components.lock, boards/ and modules/ [default: `kernel` of the workspace around the current folder].
    #[arg(long, global = true, value_name = "DIR")]
    kernel_dir: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Build a bootable disk image.
    Build(BuildArgs),
    /// Write other forms of an image: compressed, for virtual machines, for discs, for netboot.
    Convert(ConvertArgs),
    /// Tell what an image of any form holds, and verify it.
    Inspect(InspectArgs),
    /// List the boards.
    Boards(BoardsArgs),
    /// Resolve components.toml against the archives and write components.lock.
    Lock(LockArgs),
    /// Fetch what images of a board are made of into the cache.
    Fetch(FetchArgs),
    /// Print the files of a component that only tests use.
    Files(FilesArgs),
    /// Write one image per device of an inventory, each differing from the base only inside SEED, each with a signed manifest.
    Stamp(StampArgs),
    /// Prove that a stamped image is what its manifest says.
    Verify(VerifyArgs),
    /// Boot machines of an inventory over the network from images that run in RAM, each stamped on its way.
    Serve(ServeArgs),
    /// Write images to many drives at once, read everything back and prove it.
    Flash(FlashArgs),
    /// Prove that the log of flashed drives is whole, and show it.
    Records(RecordsArgs),
    /// Print labels with a code for devices of a log, or of manifests.
    Label(LabelArgs),
    /// Make the key with which this station signs manifests and records.
    StationKey(StationKeyArgs),
}

/// Which devices there are and what all of them share: options of every command that stamps.
#[derive(Debug, Clone, Args)]
pub(super) struct DeviceArgs {
    /// The devices, CSV: name, serial, mac, board, hub, hub_pin, join_token, config, identity, labels, and more about the hub.
    #[arg(long, value_name = "FILE")]
    pub(super) inventory: PathBuf,
    /// A proxy, `http://HOST:PORT`, through which each device calls its hub, unless its row names one.
    #[arg(long, value_name = "URL")]
    pub(super) hub_proxy: Option<String>,
    /// A signed configuration for every device whose row names none.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The station's key, which `imager station-key` makes.
    #[arg(long, value_name = "FILE", env = "SKERRY_STATION_KEY")]
    pub(super) station_key: Option<PathBuf>,
    /// Folder of the fleet (its fleet.pub) that the devices obey [default: the base's].
    #[arg(long, value_name = "DIR")]
    pub(super) fleet: Option<PathBuf>,
}

/// Options of `stamp`.
#[derive(Debug, Args)]
pub(super) struct StampArgs {
    /// The image to stamp; it is not changed.
    pub(super) base: PathBuf,
    #[command(flatten)]
    pub(super) devices: DeviceArgs,
    /// Folder for NAME.img, NAME.manifest.json and, for `auto` tokens, NAME.token; made if it is missing.
    #[arg(long, value_name = "DIR", required_unless_present = "stdout")]
    pub(super) out: Option<PathBuf>,
    /// Write the image of the only device to standard output; the other files go to --out, and are not kept without it.
    #[arg(long)]
    pub(super) stdout: bool,
    /// Write over files of the same names.
    #[arg(long, requires = "out")]
    pub(super) replace: bool,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The stamped image, or the disk it was written to.
    pub(super) image: PathBuf,
    /// Its manifest.
    #[arg(long, value_name = "FILE")]
    pub(super) manifest: PathBuf,
    /// The station's public key, or the file with it [default: believe the key in the manifest].
    #[arg(long, value_name = "PUB")]
    pub(super) station_key: Option<String>,
    /// The base, to compare with.
    #[arg(long, value_name = "FILE")]
    pub(super) base: Option<PathBuf>,
}

/// Options of `station-key`.
#[derive(Debug, Args)]
pub(super) struct StationKeyArgs {
    /// The key to make; the public half gets the same name with `.pub`.
    pub(super) file: PathBuf,
}

/// Options of `build`.
#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// The board; `imager boards` lists them.
    #[arg(long)]
    pub(super) board: String,
    /// The image to write; it appears when it is complete. With several forms, each gets an ending of its own.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    #[command(flatten)]
    pub(super) forms: FormArgs,
    /// Folder of the fleet (its fleet.pub) that devices with this image obey [default: none, to be stamped later].
    #[arg(long, value_name = "DIR")]
    pub(super) fleet: Option<PathBuf>,
    /// A configuration signed by the fleet, for devices with this image to begin with.
    #[arg(long, value_name = "FILE", requires = "fleet")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) wishes: WishArgs,
    /// PID 1 [default: skerry-init as `make node` builds it].
    #[arg(long, value_name = "PATH")]
    pub(super) init: Option<PathBuf>,
    /// The API daemon [default: apid as `make node` builds it].
    #[arg(long, value_name = "PATH")]
    pub(super) apid: Option<PathBuf>,
    /// The image importer [default: skerry-images as `make node` builds it].
    #[arg(long, value_name = "PATH")]
    pub(super) images_importer: Option<PathBuf>,
}

/// In which forms an image is written.
#[derive(Debug, Args)]
pub(super) struct FormArgs {
    /// The forms, separated by commas: raw, raw.zst, raw.gz, qcow2, iso, pxe, uki; may be repeated.
    #[arg(long = "format", value_name = "FORM", value_delimiter = ',', default_value = "raw")]
    pub(super) formats: Vec<Format>,
}

/// Options of `convert`.
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// The image, in any form.
    pub(super) image: PathBuf,
    /// The file to write. With several forms, each gets an ending of its own.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    #[command(flatten)]
    pub(super) forms: FormArgs,
}

/// Which components to take otherwise than locked.
#[derive(Debug, Args)]
pub(super) struct WishArgs {
    /// Take a component from a file, package or folder instead; may be repeated.
    #[arg(long = "component", value_name = "NAME=PATH")]
    given: Vec<String>,
    /// Leave an optional component out, such as k3s; may be repeated.
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
}

/// Options of `inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The image in any form, the initramfs out of a netboot archive, or a disk. Compressed and RAM forms take room below TMPDIR meanwhile.
    pub(super) image: PathBuf,
    /// Also check every file in it, as a build does.
    #[arg(long)]
    pub(super) check: bool,
}

/// Options of `boards`.
#[derive(Debug, Args)]
pub(super) struct BoardsArgs {}

/// Options of `lock`.
#[derive(Debug, Args)]
pub(super) struct LockArgs {
    /// Believe Release files past their own limit.
    #[arg(long)]
    pub(super) allow_expired: bool,
}

/// Options of `fetch`.
#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    /// The board [default: every board].
    #[arg(long)]
    pub(super) board: Option<String>,
    #[command(flatten)]
    pub(super) wishes: WishArgs,
}

/// Options of `files`.
#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    /// The component, such as `ovmf`.
    pub(super) component: String,
    /// The board whose architecture is meant; a tool is for this machine.
    #[arg(long)]
    pub(super) board: String,
    /// Copy the files into this folder, links and modes included, instead of telling where in the cache they are.
    #[arg(long, value_name = "DIR")]
    pub(super) into: Option<PathBuf>,
}

impl WishArgs {
    /// The wishes, checked for their form.
    pub(super) fn wishes(&self) -> Result<Wishes> {
        let mut wishes = Wishes { without: self.without.iter().cloned().collect(), ..Wishes::default() };
        for text in &self.given {
            let Some((name, path)) = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty()) else {
                bail!("cannot use --component {text}: it must be NAME=PATH, such as k3s=./k3s");
            };
            let path = PathBuf::from(path);
            if !path.exists() {
                bail!("cannot use --component {name}={}: there is no such file or folder", path.display());
            }
            if wishes.given.insert(name.to_owned(), path).is_some() {
                bail!("cannot use --component {text}: {name} is given twice");
            }
        }
        Ok(wishes)
    }
}

impl Common {
    fn kernel_dir(&self) -> Result<PathBuf> {
        match &self.kernel_dir {
            Some(folder) => Ok(folder.clone()),
            None => Ok(workspace::find()?.join("kernel")),
        }
    }

    pub(super) fn boards(&self) -> Result<PathBuf> {
        Ok(self.kernel_dir()?.join("boards"))
    }

    pub(super) fn board(&self, name: &str) -> Result<Board> {
        Board::load(&self.boards()?, name).context("cannot load the board")
    }

    pub(super) fn manifest(&self) -> Result<PathBuf> {
        Ok(self.kernel_dir()?.join("components.toml"))
    }

    pub(super) fn lock(&self) -> Result<PathBuf> {
        Ok(self.kernel_dir()?.join("components.lock"))
    }

    pub(super) fn mirrors(&self) -> Result<MirrorChoice> {
        let choice = MirrorChoice { main: self.mirror.clone(), security: self.security_mirror.clone() };
        choice.check()?;
        Ok(choice)
    }

    pub(super) fn derived_cache(&self) -> Result<DerivedCache> {
        let folder = match &self.cache {
            Some(folder) => folder.clone(),
            None => Cache::from_environment()?.root().to_owned(),
        };
        Ok(DerivedCache::at(&folder.join("derived")))
    }

    pub(super) fn assemble_options(&self, wishes: Wishes) -> Result<AssembleOptions> {
        let (manifest, lock) = (self.manifest()?, self.lock()?);
        Ok(AssembleOptions { manifest, lock, cache: self.cache.clone(), mirrors: self.mirrors()?, wishes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(arguments: &[&str]) -> Result<Wishes> {
        let fixed = ["imager", "fetch", "--board", "b"];
        let cli = Cli::try_parse_from(fixed.iter().chain(arguments))?;
        let Command::Fetch(args) = cli.command else { bail!("another command") };
        args.wishes.wishes()
    }

    #[test]
    fn wishes_are_checked_for_their_form() {
        let good = wishes(&["--component", "k3s=/dev/null", "--without", "k3s-images"]).expect("good");
        assert_eq!(good.given["k3s"], PathBuf::from("/dev/null"));
        assert!(good.without.contains("k3s-images"));
        for (arguments, expected) in [
            (vec!["--component", "k3s"], "must be NAME=PATH"),
            (vec!["--component", "=x"], "must be NAME=PATH"),
            (vec!["--component", "k3s=/nowhere/at/all"], "there is no such file"),
            (vec!["--component", "a=/dev/null", "--component", "a=/dev/zero"], "given twice"),
        ] {
            let error = wishes(&arguments).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_configuration_needs_a_fleet() {
        let result = Cli::try_parse_from(["imager", "build", "--board", "b", "--out", "o", "--config", "c"]);
        assert!(result.expect_err("refused").to_string().contains("--fleet"));
    }
}
