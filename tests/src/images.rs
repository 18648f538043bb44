//! The images the VM tests boot: what each is made of, and making them with the `imager` command as an operator would.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::SANDBOX_IMAGE;
use imager::board::{Architecture, Board};

use crate::config::HELLO_IMAGE;
use crate::cprogram;
use crate::fleet::TestFleet;
use crate::harness::{fetched, firmware};
use crate::oci::{self, Image};
use crate::{places, raspberry};

/// Folder of the fleet whose key the images trust.
pub const FLEET: &str = "fleet";

/// Folder of a fleet that means nothing to them.
pub const FOREIGN_FLEET: &str = "foreign-fleet";

/// The images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestImage {
    /// The virtual PC's as it leaves the factory: knows its fleet, has no configuration.
    Blank,
    /// The same with a signed configuration in SEED.
    Seeded,
    /// The NUC's; this and all following have the configuration in SEED too.
    Nuc,
    /// The virtual arm64 machine's.
    QemuAarch64,
    /// The generic arm64 machine's.
    Arm64Uefi,
    /// The Raspberry Pi 4's.
    Rpi4,
    /// The Raspberry Pi 5's.
    Rpi5,
    /// That of another board of `kernel/boards`, of which no story here knows.
    Other(&'static str),
}

impl TestImage {
    /// Those that stories name, one for each board.
    const NAMED: [Self; 6] = [Self::Seeded, Self::Nuc, Self::QemuAarch64, Self::Arm64Uefi, Self::Rpi4, Self::Rpi5];

    /// All of them.
    ///
    /// # Panics
    /// As [`Self::boards`] does.
    pub fn all() -> Vec<Self> {
        [vec![Self::Blank], Self::boards()].concat()
    }

    /// One with a configuration for each file of `kernel/boards`.
    ///
    /// # Panics
    /// When the folder cannot be read: it is in the tree.
    pub fn boards() -> Vec<Self> {
        let names = imager::board::names(&board_files()).expect("kernel/boards is in the tree");
        names.into_iter().map(Self::of_board).collect()
    }

    fn of_board(name: String) -> Self {
        let named = Self::NAMED.into_iter().find(|image| image.board() == name);
        named.unwrap_or_else(|| Self::Other(name.leak()))
    }

    /// Its file in the images' folder.
    pub fn file_name(self) -> String {
        match self {
            Self::Blank => "blank.img".into(),
            Self::Seeded => "seeded.img".into(),
            Self::Nuc | Self::QemuAarch64 | Self::Arm64Uefi | Self::Rpi4 | Self::Rpi5 | Self::Other(_) => {
                format!("{}.img", self.board())
            }
        }
    }

    /// The board it is for.
    pub fn board(self) -> &'static str {
        match self {
            Self::Blank | Self::Seeded => "qemu-x86_64",
            Self::Nuc => "nuc",
            Self::QemuAarch64 => "qemu-aarch64",
            Self::Arm64Uefi => "arm64-uefi",
            Self::Rpi4 => "rpi4",
            Self::Rpi5 => "rpi5",
            Self::Other(name) => name,
        }
    }

    /// The board's architecture.
    ///
    /// # Panics
    /// When there is no file of a board that nobody here knows.
    pub fn architecture(self) -> Architecture {
        match self {
            Self::Blank | Self::Seeded | Self::Nuc => Architecture::X86_64,
            Self::QemuAarch64 | Self::Arm64Uefi | Self::Rpi4 | Self::Rpi5 => Architecture::Aarch64,
            Self::Other(name) => Board::load(&board_files(), name).expect("it has a file").architecture,
        }
    }

    /// What it is made of, once [`make_parts`] has made that in `folder`.
    pub fn inputs(self, folder: &Path) -> Inputs {
        self.inputs_for(self.architecture(), folder)
    }

    fn inputs_for(self, architecture: Architecture, folder: &Path) -> Inputs {
        let config = match self {
            Self::Blank => None,
            Self::Seeded | Self::Nuc | Self::QemuAarch64 | Self::Arm64Uefi | Self::Rpi4 | Self::Rpi5 | Self::Other(_) => {
                Some(folder.join(CONFIG))
            }
        };
        Inputs {
            imager: imager(),
            board: self.board().into(),
            k3s: K3sFrom::File(standin(architecture)),
            archive: folder.join(archive_name(architecture)),
            fleet: folder.join(FLEET),
            config,
            cache: None,
        }
    }
}

/// The folder with a file for each board.
pub fn board_files() -> PathBuf {
    places::workspace().join("kernel/boards")
}

/// Where k3s in an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum K3sFrom {
    /// The pinned release, as `imager` fetches it.
    Release,
    /// This file: the stand-in.
    File(PathBuf),
}

/// What images are made of.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The `imager` command.
    pub imager: PathBuf,
    /// The board.
    pub board: String,
    /// k3s.
    pub k3s: K3sFrom,
    /// OCI archive with the pause and greeting images.
    pub archive: PathBuf,
    /// Folder of the fleet.
    pub fleet: PathBuf,
    /// Signed configuration for SEED; none: none.
    pub config: Option<PathBuf>,
    /// The command's cache; none: the one it chooses.
    pub cache: Option<PathBuf>,
}

impl Inputs {
    /// The command's arguments for an image at `out`.
    fn arguments(&self, out: &Path) -> Vec<OsString> {
        let mut list: Vec<OsString> = vec!["build".into(), "--board".into(), self.board.clone().into()];
        let mut add = |flag: &str, value: OsString| list.extend([flag.into(), value]);
        add("--fleet", self.fleet.clone().into());
        if let Some(config) = &self.config {
            add("--config", config.clone().into());
        }
        match &self.k3s {
            K3sFrom::Release => {}
            K3sFrom::File(path) => add("--component", component("k3s", path)),
        }
        add("--component", component("k3s-images", &self.archive));
        add("--out", out.into());
        list
    }

    /// Makes the image; returns how long the command took.
    pub fn build(&self, out: &Path) -> Result<Duration> {
        let start = Instant::now();
        let mut command = Command::new(&self.imager);
        command.current_dir(places::workspace()).args(self.arguments(out));
        if let Some(cache) = &self.cache {
            command.env("SKERRY_CACHE", cache);
        }
        let output = command.output().with_context(|| format!("cannot run {}; `make tools` builds it", self.imager.display()))?;
        if output.status.success() {
            return Ok(start.elapsed());
        }
        bail!("cannot build {}: {}", out.display(), complaint(&String::from_utf8_lossy(&output.stderr)))
    }
}

impl Inputs {
    /// Makes the image with the k3s release, or, when that cannot be had, calls `loudly` with the reason and makes it with the
    /// stand-in. Says which of the two it carries. Only the demo may fall back so: an image for a device must not.
    pub fn build_or_stand_in(&mut self, out: &Path, loudly: impl FnOnce(&str)) -> Result<K3sFrom> {
        self.k3s = K3sFrom::Release;
        if let Err(error) = self.build(out) {
            let reason = format!("{error:#}");
            if !reason.contains("k3s") {
                return Err(error); // something else is wrong, and the stand-in would not mend it
            }
            loudly(&reason);
            self.k3s = K3sFrom::File(standin(Architecture::X86_64));
            self.build(out)?;
        }
        Ok(self.k3s.clone())
    }
}

/// What the command complains about: what follows `error: `, without the progress before it.
fn complaint(stderr: &str) -> &str {
    stderr.split_once("error: ").map_or(stderr, |(_, words)| words).trim()
}

fn component(name: &str, path: &Path) -> OsString {
    let mut text = OsString::from(format!("{name}="));
    text.push(path);
    text
}

/// The `imager` command of the same build as the running program; `SKERRY_IMAGER` names another.
pub fn imager() -> PathBuf {
    std::env::var_os("SKERRY_IMAGER").map_or_else(|| places::beside("imager"), PathBuf::from)
}

/// The stand-in as `make node` builds it; `SKERRY_STANDIN` names another of x86-64.
pub fn standin(architecture: Architecture) -> PathBuf {
    let built = || places::target().join(architecture.rust_target()).join("image/standin-k3s");
    match architecture {
        Architecture::X86_64 => std::env::var_os("SKERRY_STANDIN").map_or_else(built, PathBuf::from),
        Architecture::Aarch64 => built(),
    }
}

/// The cache `imager` chooses: `SKERRY_CACHE`, else `skerry` in the user's cache folder.
pub fn cache() -> Result<PathBuf> {
    let own = std::env::var_os("SKERRY_CACHE").map(PathBuf::from);
    let user = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    own.or_else(|| user.or(home).map(|folder| folder.join("skerry"))).context("neither SKERRY_CACHE nor HOME is set")
}

/// Compiles the test programs and writes them as one OCI archive at `out`.
pub fn make_archive(architecture: Architecture, out: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut images = Vec::new();
    for (name, program) in [(SANDBOX_IMAGE, "pause"), (HELLO_IMAGE, "hello")] {
        let binary = folder.path().join(program);
        cprogram::compile(&places::source(&format!("apps/{program}.c")), architecture, &binary)?;
        images.push(Image { name: name.into(), program: program.into(), bytes: fs::read(binary)? });
    }
    let file = File::create(out).with_context(|| format!("cannot write {}", out.display()))?;
    let oci_name = match architecture {
        Architecture::X86_64 => "amd64",
        Architecture::Aarch64 => "arm64",
    };
    oci::write_archive(&images, oci_name, file).with_context(|| format!("cannot write {}", out.display()))
}

/// The archive's file in the images' folder.
fn archive_name(architecture: Architecture) -> String {
    format!("images-{architecture}.tar")
}

/// The signed configuration's file in the images' folder.
const CONFIG: &str = "seed.yaml";

const ARCHITECTURES: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

/// Fetches the guests' firmware into `folder`. Without it the host's own does, two seconds slower at each boot.
pub fn fetch_firmware(folder: &Path, architecture: Architecture) {
    if let Err(error) = firmware::fetch(folder, architecture) {
        eprintln!("using the host's firmware for {architecture}: {error:#}");
    }
}

/// Makes what images are made of in `folder`: fleets, archives, the configuration; fetches the firmware of guests.
pub fn make_parts(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let fleet = TestFleet::open_or_make(&folder.join(FLEET), "acme")?;
    TestFleet::open_or_make(&folder.join(FOREIGN_FLEET), "rival")?;
    for architecture in ARCHITECTURES {
        fetch_firmware(folder, architecture);
        make_archive(architecture, &folder.join(archive_name(architecture)))?;
    }
    raspberry::fetch(folder).context("cannot fetch the device tree of a Raspberry Pi 3")?;
    for emulator in fetched::EMULATORS {
        fetched::fetch(folder, emulator, Architecture::X86_64).with_context(|| format!("cannot fetch {emulator}"))?;
    }
    fs::write(folder.join(CONFIG), fleet.sign(&fleet.config()?)?).context("cannot write the configuration for SEED")
}

/// Makes everything the VM tests need in `folder`.
pub fn make_all(folder: &Path) -> Result<()> {
    make_parts(folder)?;
    for image in TestImage::all() {
        let took = image.inputs(folder).build(&folder.join(image.file_name()))?;
        eprintln!("built {} in {:.1} s", image.file_name(), took.as_secs_f32());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_asked_for_as_an_operator_would() {
        let inputs = Inputs {
            imager: "imager".into(),
            board: "qemu-x86_64".into(),
            k3s: K3sFrom::File("/standin".into()),
            archive: "/a.tar".into(),
            fleet: "/fleet".into(),
            config: Some("/seed.yaml".into()),
            cache: None,
        };
        let expected = "build --board qemu-x86_64 --fleet /fleet --config /seed.yaml --component k3s=/standin \
            --component k3s-images=/a.tar --out /out.img";
        assert_eq!(inputs.arguments(Path::new("/out.img")).join(" ".as_ref()), expected);
        let release = Inputs { k3s: K3sFrom::Release, config: None, ..inputs };
        let expected = "build --board qemu-x86_64 --fleet /fleet --component k3s-images=/a.tar --out /out.img";
        assert_eq!(release.arguments(Path::new("/out.img")).join(" ".as_ref()), expected);
    }

    #[test]
    fn a_failed_build_is_told_without_its_progress() {
        assert_eq!(complaint("gather the components: 0.5 s\nerror: cannot fetch k3s\n"), "cannot fetch k3s");
        assert_eq!(complaint("killed\n"), "killed");
    }

    #[test]
    fn the_archive_holds_both_programs() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("images.tar");
        make_archive(Architecture::X86_64, &out).unwrap();
        let text = String::from_utf8_lossy(&fs::read(out).unwrap()).into_owned();
        assert!(text.contains(SANDBOX_IMAGE) && text.contains(HELLO_IMAGE));
    }

    #[test]
    fn every_board_has_an_image_of_its_architecture() {
        let boards = TestImage::boards();
        assert!(TestImage::NAMED.iter().all(|image| boards.contains(image)), "a story is left without its board: {boards:?}");
        for image in boards {
            assert_eq!(Board::load(&board_files(), image.board()).unwrap().architecture, image.architecture(), "{image:?}");
        }
    }

    #[test]
    fn a_board_that_no_story_names_has_an_image_too() {
        let image = TestImage::of_board("nuc-with-serial-port".into());
        assert_eq!(image, TestImage::Other("nuc-with-serial-port"));
        assert_eq!(image.file_name(), "nuc-with-serial-port.img");
        let inputs = image.inputs_for(Architecture::X86_64, Path::new("/images"));
        assert_eq!((inputs.board.as_str(), inputs.config), ("nuc-with-serial-port", Some("/images/seed.yaml".into())));
    }
}
