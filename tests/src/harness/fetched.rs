//! Puts what the lock names for tests alone (firmware, newer emulators) into the images' folder, laid out as in its packages.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use imager::board::Architecture;
use imager::components::assemble::{AssembleOptions, TestFile, test_files};
use imager::components::{MirrorChoice, Wishes};
use imager::progress::Silent;

use super::emulator::Emulator;
use super::hardware::Chassis;
use crate::places;

/// Fetches the component called `component` into the folder of that name in `images`, made anew.
pub fn fetch(images: &Path, component: &str, architecture: Architecture) -> Result<()> {
    let kernel = places::workspace().join("kernel");
    let options = AssembleOptions {
        manifest: kernel.join("components.toml"),
        lock: kernel.join("components.lock"),
        cache: None,
        mirrors: MirrorChoice::default(),
        wishes: Wishes::default(),
    };
    let files = test_files(component, architecture, &options, &Silent)?;
    let folder = images.join(component);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for (path, file) in &files {
        let to = folder.join(path);
        lay(file, &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

fn lay(file: &TestFile, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to.parent().expect("it lies in a folder"))?;
    match file {
        TestFile::Link { target } => symlink(target, to),
        TestFile::File { path, executable } => {
            fs::copy(path, to)?;
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(to, fs::Permissions::from_mode(mode))
        }
    }
}

/// The emulators that are fetched: newer than many hosts', with a Raspberry Pi 4 and more network cards.
pub const EMULATORS: [&str; 2] = ["qemu-x86", "qemu-arm"];

/// The fetched emulator of a chassis. It runs with the libraries it was built for, whatever the host has.
pub fn emulator(images: &Path, chassis: Chassis) -> Result<Emulator> {
    let component = match chassis {
        Chassis::Pc => EMULATORS[0],
        Chassis::Arm { .. } | Chassis::RaspberryPi3 | Chassis::RaspberryPi4 => EMULATORS[1],
    };
    let root = images.join(component);
    let program = root.join("usr/bin").join(chassis.program());
    let loader = find(&root, |name| name.to_string_lossy().starts_with("ld-linux-")).context("it is without a dynamic linker");
    let loader = loader.with_context(|| format!("cannot use {}: `build-images` fetches it", program.display()))?;
    let mut folders = Vec::new();
    library_folders(&root, &mut folders)?;
    let text = |path: &Path| path.display().to_string();
    let libraries = folders.iter().map(|folder| text(folder)).collect::<Vec<_>>().join(":");
    let data = text(&root.join("usr/share/qemu"));
    Ok(Emulator { program: loader, arguments: vec!["--library-path".into(), libraries, text(&program), "-L".into(), data] })
}

/// The first file below `folder` with a name that `wanted` accepts.
fn find(folder: &Path, wanted: fn(&OsStr) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir() && !path.is_symlink());
    let found = files.into_iter().find(|path| path.file_name().is_some_and(wanted));
    found.or_else(|| folders.iter().find_map(|folder| find(folder, wanted)))
}

/// Every folder below `folder` that holds a shared library.
fn library_folders(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            library_folders(&path, found)?;
        } else if path.to_string_lossy().contains(".so") && found.last().is_none_or(|last| last != folder) {
            found.push(folder.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_started_through_its_own_linker() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("qemu-arm");
        for file in ["usr/bin/qemu-system-aarch64", "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6"] {
            let source = folder.path().join("source");
            fs::write(&source, "program").unwrap();
            lay(&TestFile::File { path: source, executable: true }, &root.join(file)).unwrap();
        }
        let emulator = emulator(folder.path(), Chassis::RaspberryPi4).unwrap();
        assert_eq!(emulator.program, root.join("usr/lib64/ld-linux-x86-64.so.2"));
        let arguments = emulator.arguments.join(" ");
        assert!(
            arguments.contains("usr/lib/x86_64-linux-gnu") && arguments.contains("usr/bin/qemu-system-aarch64 -L "),
            "{arguments}"
        );
    }

    #[test]
    fn an_emulator_that_was_not_fetched_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", emulator(folder.path(), Chassis::Pc).unwrap_err());
        assert!(error.contains("qemu-system-x86_64") && error.contains("build-images"), "{error}");
    }
}
