//! Kernel modules: found by name or by the hardware's alias, loaded with what they need. There is no modprobe in the image.
//!
//! `index` says what to load; this file loads it.

mod fnmatch;
mod hotplug;
mod index;
mod uevent;

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use hotplug::Hotplug;
pub use index::{Index, Load, LoadPlan, Module};
pub use uevent::{Uevent, UeventSocket};

use crate::image_file::ImageFileError;

/// Modules of the RAM disk.
pub const BOOT_FOLDER: &str = "/skerry/modules";

/// Modules only the runtime needs, inside the runtime image.
pub const RUNTIME_FOLDER: &str = "/usr/lib/skerry/modules";

/// `MODULE_INIT_COMPRESSED_FILE`: the kernel unpacks the file itself.
const COMPRESSED: c_int = 4;

/// A module that did not load.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The kernel or the file system refused.
    #[error("cannot load module {name} from {}", path.display())]
    Load {
        /// Which module.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No module of that name exists.
    #[error("cannot load module {name}: neither in the image nor built into the kernel; add it to the board's module list")]
    Missing {
        /// Which module.
        name: String,
    },
}

/// Loads modules of one folder and remembers what is loaded.
#[derive(Debug)]
pub struct Loader {
    folder: PathBuf,
    index: Index,
    loaded: BTreeSet<String>,
    stopping: Arc<AtomicBool>,
}

impl Loader {
    /// Reads the folder's index. Once `stopping` is set nothing more is loaded.
    pub fn open(folder: &Path, stopping: Arc<AtomicBool>) -> Result<Self, ImageFileError> {
        Ok(Self { folder: folder.to_owned(), index: Index::load(folder)?, loaded: BTreeSet::new(), stopping })
    }

    /// The folder's index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Whether the folder has a module of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.index.has(name)
    }

    /// Counts as loaded what another loader, or the kernel, has loaded: `/proc/modules`.
    pub fn note_loaded(&mut self) {
        let listed = fs::read_to_string("/proc/modules").unwrap_or_default();
        self.loaded.extend(listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned));
    }

    /// Loads these modules and what they need; returns what went wrong and goes on with the rest.
    pub fn load<'a>(&mut self, wanted: impl IntoIterator<Item = &'a str>) -> Vec<ModuleError> {
        let plan = self.index.plan(wanted, &self.loaded);
        let mut errors: Vec<_> = plan.missing.into_iter().map(|name| ModuleError::Missing { name }).collect();
        for load in plan.loads {
            if self.stopping.load(Ordering::Relaxed) {
                break;
            }
            match insert(&self.folder.join(&load.file)) {
                Ok(()) => {}
                Err(source) => {
                    errors.push(ModuleError::Load { name: load.name.clone(), path: self.folder.join(&load.file), source })
                }
            }
            // Also after a failure: hardware that asks again would fail again, at every event.
            self.loaded.insert(load.name);
        }
        errors
    }

    /// Loads every module the alias of a device asks for.
    pub fn load_for_alias(&mut self, alias: &str) -> Vec<ModuleError> {
        let names: Vec<String> = self.index.for_alias(alias).into_iter().map(str::to_owned).collect();
        self.load(names.iter().map(String::as_str))
    }

    /// Loads what the hardware that is there already asks for. `sys` is where sysfs is mounted.
    pub fn coldplug(&mut self, sys: &Path) -> Vec<ModuleError> {
        // What a virtual machine is made of first: the rest of its hardware is emulated, and slow to answer.
        let (first, rest): (Vec<_>, Vec<_>) = aliases(sys).into_iter().partition(|alias| alias.starts_with("virtio:"));
        first.iter().chain(&rest).flat_map(|alias| self.load_for_alias(alias)).collect()
    }
}

/// Puts one file into the kernel; a module that is there already is success.
fn insert(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let plain = path.extension().is_some_and(|extension| extension == "ko");
    match rustix::system::finit_module(&file, c"", if plain { 0 } else { COMPRESSED }) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The distinct aliases of all devices on all buses, and of input devices, which are on none.
fn aliases(sys: &Path) -> BTreeSet<String> {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let devices = entries(sys.join("bus")).flat_map(|bus| entries(bus.join("devices"))).chain(entries(sys.join("class/input")));
    let alias = |device: PathBuf| fs::read_to_string(device.join("modalias")).ok();
    devices.filter_map(alias).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coldplug_reads_the_aliases_of_every_bus() {
        let sys = tempfile::tempdir().expect("a temporary folder");
        for (device, alias) in
            [("bus/pci/devices/0000:00:01.0", "pci:v1\n"), ("bus/usb/devices/1-1", "usb:v2\n"), ("bus/usb/devices/1-2", "")]
        {
            let folder = sys.path().join(device);
            fs::create_dir_all(&folder).expect("a writable folder");
            fs::write(folder.join("modalias"), alias).expect("a writable folder");
        }
        assert_eq!(aliases(sys.path()), BTreeSet::from(["pci:v1".to_owned(), "usb:v2".to_owned()]));
        assert!(aliases(Path::new("/nonexistent")).is_empty());
    }

    #[test]
    fn a_missing_file_is_named_once_and_not_tried_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let json = r#"{"kernel": "6", "modules": {"a": {"file": "a.ko.xz", "aliases": ["x*"]}}}"#;
        fs::write(folder.path().join("modules.json"), json).expect("a writable folder");
        let mut loader = Loader::open(folder.path(), Arc::default()).expect("an index");
        let errors = loader.load_for_alias("xyz");
        assert!(errors[0].to_string().starts_with("cannot load module a from "), "{errors:?}");
        assert!(loader.load_for_alias("xyz").is_empty());
    }

    #[test]
    fn nothing_is_loaded_once_the_machine_goes_down() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let json = r#"{"kernel": "6", "modules": {"a": {"file": "a.ko.xz"}}}"#;
        fs::write(folder.path().join("modules.json"), json).expect("a writable folder");
        let stopping = Arc::new(AtomicBool::new(true));
        let mut loader = Loader::open(folder.path(), stopping).expect("an index");
        assert!(loader.load(["a"]).is_empty(), "an attempt would have failed");
    }

    #[test]
    fn a_broken_index_names_its_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("modules.json"), "{").expect("a writable folder");
        let error = Loader::open(folder.path(), Arc::default()).expect_err("not JSON");
        assert!(error.to_string().contains("modules.json"));
    }
}
