//! Whether every kernel module of a board loads: in what order, in a guest with nothing but them, and how each went.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use imager::board::Architecture;
use serde::Deserialize;

use crate::bootfiles::BootFiles;
use crate::harness::boot::Rig;
use crate::harness::logs::Logs;
use crate::harness::{Chassis, DirectKernel, Guest, Patience, boot};
use crate::{cprogram, initramfs, places, runtime_image};

/// `modules.json`, as far as loading needs it.
#[derive(Debug, Default, Deserialize)]
struct Index {
    modules: BTreeMap<String, Module>,
}

#[derive(Debug, Deserialize)]
struct Module {
    file: String,
    #[serde(default)]
    depends: Vec<String>,
    #[serde(default)]
    softdeps_pre: Vec<String>,
}

/// Where modules lie in the initramfs.
const RAM_FOLDER: &str = "skerry/modules/";

/// Where modules lie in the runtime image.
const RUNTIME_FOLDER: &str = "lib/skerry/modules";

/// What stands before the names of the runtime image's modules in the guest's root folder.
const RUNTIME_PREFIX: &str = "runtime-";

/// What a module may say when the machine lacks its hardware.
const NO_HARDWARE: [&str; 2] = ["ENODEV", "EOPNOTSUPP"];

impl Index {
    fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).context("modules.json is not as docs/architecture.md says")
    }

    /// Names in an order in which each comes after what it needs.
    fn order(&self) -> Vec<&str> {
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        for name in self.modules.keys() {
            self.visit(name, &mut order, &mut seen);
        }
        order
    }

    fn visit<'a>(&'a self, name: &'a str, order: &mut Vec<&'a str>, seen: &mut BTreeSet<&'a str>) {
        if !seen.insert(name) {
            return;
        }
        if let Some(module) = self.modules.get(name) {
            module.softdeps_pre.iter().chain(&module.depends).for_each(|needed| self.visit(needed, order, seen));
            order.push(name);
        }
    }

    /// Files in that order.
    fn files(&self) -> impl Iterator<Item = &str> {
        self.order().into_iter().map(|name| self.modules[name].file.as_str())
    }
}

/// Loads every module of `image` in a guest on `chassis`, with the image's own kernel. Fails with the names of those that do not load
/// for another reason than missing hardware; returns how many were loaded.
pub fn load_all(image: &Path, name: &str, chassis: Chassis, architecture: Architecture, rig: &Rig<'_>) -> Result<usize> {
    let (direct, listed) = loader(image, architecture, rig.logs)?;
    let guest = Guest { chassis, kernel: Some(direct), card: None, ..Guest::new(name) };
    let patience = Patience::new("the last module", 25);
    let mut booted = boot(&guest, rig, None, &mut 0, &patience, |line| line.contains("modules: end"))?;
    let lines = booted.machine.console().lines();
    booted.cut()?;
    judge(&lines, &listed)
}

/// The image's kernel with its initramfs, in which a program that loads modules has taken PID 1's place, and the paths of those. The kernel keeps quiet, so that
/// no line of its own falls into one of the program's.
fn loader(image: &Path, architecture: Architecture, logs: &Logs) -> Result<(DirectKernel, Vec<String>)> {
    let files = BootFiles::read(image)?;
    let direct = DirectKernel {
        kernel: logs.path("kernel"),
        initrd: Some(logs.path("modules.cpio")),
        devicetree: None,
        command_line: format!("console={} loglevel=1 panic=10", console(architecture)),
    };
    let mut initrd = files.initramfs;
    let (added, listed) = added(image, &initrd, architecture, logs)?;
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(added);
    fs::write(logs.path("kernel"), &files.kernel)?;
    fs::write(logs.path("modules.cpio"), initrd)?;
    Ok((direct, listed))
}

/// The archive that is laid over the image's initramfs: the program, the list it reads, the runtime image's modules; and that list.
fn added(image: &Path, initramfs: &[u8], architecture: Architecture, logs: &Logs) -> Result<(Vec<u8>, Vec<String>)> {
    let folder = tempfile::tempdir_in(logs.folder())?;
    let program = folder.path().join("init");
    cprogram::compile(&places::source("floor/modules.c"), architecture, &program)?;
    let runtime = folder.path().join("runtime");
    runtime_image::unpack(image, &runtime)?;
    let runtime = runtime.join(RUNTIME_FOLDER);

    let ram = initramfs::read(initramfs)?;
    let index = ram.get(&format!("{RAM_FOLDER}modules.json")).context("the initramfs has no modules.json")?;
    let (early, late) = (Index::parse(&index.bytes)?, Index::parse(&fs::read(runtime.join("modules.json"))?)?);
    let early = early.files().map(|file| format!("/{RAM_FOLDER}{file}"));
    let listed: Vec<String> = early.chain(late.files().map(|file| format!("/{RUNTIME_PREFIX}{file}"))).collect();
    let list = listed.join("\n") + "\n";

    let mut files = vec![("init".to_owned(), 0o755, fs::read(&program)?), ("modules".to_owned(), 0o644, list.into_bytes())];
    for file in late.files() {
        files.push((format!("{RUNTIME_PREFIX}{file}"), 0o644, fs::read(runtime.join(file))?));
    }
    let borrowed: Vec<_> = files.iter().map(|(path, mode, bytes)| (path.as_str(), *mode, bytes.as_slice())).collect();
    Ok((initramfs::pack(&borrowed)?, listed))
}

/// The first serial port of the emulator's machine.
fn console(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "ttyS0,115200",
        Architecture::Aarch64 => "ttyAMA0,115200",
    }
}

/// How many modules were loaded. Each of those `listed` must have been heard of.
fn judge(lines: &[String], listed: &[String]) -> Result<usize> {
    let said: Vec<(&str, &str)> = lines.iter().filter_map(|line| line.split_once("modules: ")?.1.split_once(' ')).collect();
    let failed: Vec<_> = said.iter().filter(|(_, how)| *how != "loaded" && !NO_HARDWARE.contains(how)).collect();
    if !failed.is_empty() {
        bail!("these modules do not load: {failed:?}");
    }
    let heard: BTreeSet<&str> = said.iter().map(|(path, _)| *path).collect();
    let unheard: Vec<_> = listed.iter().filter(|path| !heard.contains(path.as_str())).collect();
    ensure!(unheard.is_empty(), "nothing was heard of these modules: {unheard:?}");
    let loaded = said.iter().filter(|(_, how)| *how == "loaded").count();
    ensure!(loaded > 0, "nothing was loaded: {lines:?}");
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let json = br#"{"modules": {
            "a": {"file": "a.ko", "depends": ["c"], "softdeps_pre": ["d"]},
            "b": {"file": "b.ko.xz"}, "c": {"file": "c.ko", "depends": ["d"]}, "d": {"file": "d.ko", "depends": ["elsewhere"]}}}"#;
        let index = Index::parse(json).unwrap();
        assert_eq!(index.files().collect::<Vec<_>>(), ["d.ko", "c.ko", "a.ko", "b.ko.xz"]);
    }

    #[test]
    fn only_missing_hardware_is_an_excuse() {
        let listed = ["/m/a.ko", "/m/b.ko"].map(String::from);
        assert_eq!(judge(&lines("x\nmodules: /m/a.ko loaded\nmodules: /m/b.ko ENODEV\nmodules: end"), &listed).unwrap(), 1);
        let error = judge(&lines("modules: /m/a.ko loaded\nmodules: /m/b.ko ENOENT"), &listed).unwrap_err();
        assert!(error.to_string().contains("/m/b.ko"), "{error}");
        assert!(judge(&lines("modules: /m/a.ko ENODEV\nmodules: /m/b.ko ENODEV"), &listed).is_err());
        assert!(judge(&lines("modules: end"), &[]).is_err());
    }

    #[test]
    fn a_module_of_which_nothing_is_heard_is_named() {
        let listed = ["/m/a.ko", "/m/b.ko"].map(String::from);
        for text in ["modules: /m/a.ko loaded\nmodules: end", "modules: /m/a.ko loaded\nmodules: /m/b.ko\nmodules: end"] {
            let error = judge(&lines(text), &listed).unwrap_err();
            assert!(error.to_string().contains("/m/b.ko") && !error.to_string().contains("/m/a.ko"), "{error}");
        }
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(Into::into).collect()
    }
}
