//! The images the VM tests boot: what each is made of, and making them with the `imager` command as an operator would.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::SANDBOX_IMAGE;

use crate::config::HELLO_IMAGE;
use crate::cprogram;
use crate::fleet::TestFleet;
use crate::harness::firmware;
use crate::oci::{self, Image};
use crate::places;

/// Folder of the fleet whose key the images trust.
pub const FLEET: &str = "fleet";

/// Folder of a fleet that means nothing to them.
pub const FOREIGN_FLEET: &str = "foreign-fleet";

/// The board all test images are for.
pub const BOARD: &str = "qemu-x86_64";

/// The images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestImage {
    /// As it leaves the factory: knows its fleet, has no configuration.
    Blank,
    /// The same with a signed configuration in SEED.
    Seeded,
}

impl TestImage {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Blank, Self::Seeded];

    /// Its file in the images' folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Blank => "blank.img",
            Self::Seeded => "seeded.img",
        }
    }
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
        let mut list: Vec<OsString> = vec!["build".into(), "--board".into(), BOARD.into()];
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
            self.k3s = K3sFrom::File(standin());
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

/// The stand-in as `make node` builds it; `SKERRY_STANDIN` names another.
pub fn standin() -> PathBuf {
    let built = || places::target().join("x86_64-unknown-linux-gnu/image/standin-k3s");
    std::env::var_os("SKERRY_STANDIN").map_or_else(built, PathBuf::from)
}

/// The cache `imager` chooses: `SKERRY_CACHE`, else `skerry` in the user's cache folder.
pub fn cache() -> Result<PathBuf> {
    let own = std::env::var_os("SKERRY_CACHE").map(PathBuf::from);
    let user = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    own.or_else(|| user.or(home).map(|folder| folder.join("skerry"))).context("neither SKERRY_CACHE nor HOME is set")
}

/// Compiles the test programs and writes them as one OCI archive at `out`.
pub fn make_archive(out: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut images = Vec::new();
    for (name, program) in [(SANDBOX_IMAGE, "pause"), (HELLO_IMAGE, "hello")] {
        let binary = folder.path().join(program);
        cprogram::compile(&places::source(&format!("apps/{program}.c")), &binary)?;
        images.push(Image { name: name.into(), program: program.into(), bytes: fs::read(binary)? });
    }
    let file = File::create(out).with_context(|| format!("cannot write {}", out.display()))?;
    oci::write_archive(&images, "amd64", file).with_context(|| format!("cannot write {}", out.display()))
}

/// Fetches the guests' firmware into `folder`. Without it the host's own does, two seconds slower at each boot.
pub fn fetch_firmware(folder: &Path) {
    if let Err(error) = firmware::fetch(folder) {
        eprintln!("using the host's firmware: {error:#}");
    }
}

/// Makes everything the VM tests need in `folder`: fleets, archive, configurations, images.
pub fn make_all(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let fleet = TestFleet::open_or_make(&folder.join(FLEET), "acme")?;
    TestFleet::open_or_make(&folder.join(FOREIGN_FLEET), "rival")?;
    fetch_firmware(folder);
    let archive = folder.join("images.tar");
    make_archive(&archive)?;
    let config = folder.join("seed.yaml");
    fs::write(&config, fleet.sign(&fleet.config()?)?).context("cannot write the configuration for SEED")?;
    for image in TestImage::ALL {
        let config = match image {
            TestImage::Blank => None,
            TestImage::Seeded => Some(config.clone()),
        };
        let k3s = K3sFrom::File(standin());
        let inputs =
            Inputs { imager: imager(), k3s, archive: archive.clone(), fleet: fleet.folder().into(), config, cache: None };
        let took = inputs.build(&folder.join(image.file_name()))?;
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
        make_archive(&out).unwrap();
        let text = String::from_utf8_lossy(&fs::read(out).unwrap()).into_owned();
        assert!(text.contains(SANDBOX_IMAGE) && text.contains(HELLO_IMAGE));
    }
}
