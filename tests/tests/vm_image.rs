//! What is in the image that the other stories boot, looked at with tools that did not make it.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use machine_config::disk::{Partition, SECTOR_BYTES};
use skerry_tests::images::{TestImage, imager};
use skerry_tests::lab::Lab;
use skerry_tests::story::step;
use skerry_tests::uki::Uki;
use skerry_tests::{filesystem, initramfs};

/// Programs that run what they are told, by the beginnings of their names.
const INTERPRETERS: [&str; 22] = [
    "sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh", "rbash", "busybox", "toybox", "perl", "python",
    "ruby", "lua", "tclsh", "awk", "gawk", "mawk", "node",
];

/// Ways to log in, to become another, or to run a command in a container by hand.
const LOGINS: [&str; 12] =
    ["login", "su", "sudo", "sshd", "dropbear", "telnetd", "agetty", "getty", "ctr", "crictl", "nerdctl", "kubectl"];

#[test]
fn nothing_in_the_image_can_be_logged_in_to() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let image = lab.image(TestImage::Seeded);
    step("the initramfs holds no interpreter, no login and nothing of containerd", || ram_disk(&image));
    step("the runtime image holds no interpreter, no login and no set-user-id file", || runtime(&image));
    step("imager finds the same when it reads the image back", || read_back(&image));
    step("a truncated image is refused by name", || truncated(&image, &lab));
}

fn ram_disk(image: &Path) -> Result<()> {
    let uki = Uki::read(image)?;
    let files = initramfs::read(uki.section(".initrd")?)?;
    let foreign = files.iter().find(|(_, entry)| entry.mode & 0o6000 != 0);
    ensure!(foreign.is_none(), "set-user-id: {:?}", foreign.map(|(name, _)| name));
    let names: BTreeSet<String> = files.into_keys().collect();
    ensure!(names.contains("init") && names.contains("skerry/apid"), "it lacks PID 1 or apid: {names:?}");
    refuse_by_name(&names)?;
    let foreign = names.iter().find(|name| ["containerd", "runc", "k3s"].iter().any(|word| file_name(name).starts_with(word)));
    ensure!(foreign.is_none(), "the RAM disk carries {foreign:?}");
    Ok(())
}

fn runtime(image: &Path) -> Result<()> {
    let offset = filesystem::find(image, Partition::RuntimeA)?.starting_lba * SECTOR_BYTES;
    let output = Command::new("unsquashfs").args(["-lln", "-offset", &offset.to_string()]).arg(image).output();
    let output = output.context("cannot run unsquashfs; `make setup` installs it")?;
    ensure!(output.status.success(), "unsquashfs cannot read it: {}", String::from_utf8_lossy(&output.stderr));
    let mut names = BTreeSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((name, mode)) = listed(line) else { continue };
        ensure!(!mode.contains(['s', 'S']), "{name} is set-user-id: {mode}");
        ensure!(!mode.starts_with(['b', 'c']), "{name} is a device");
        names.insert(name.to_owned());
    }
    ensure!(names.contains("bin/containerd") && names.contains("bin/runc"), "it lacks containerd or runc: {names:?}");
    refuse_by_name(&names)
}

/// Name and mode in a line of `unsquashfs -lln`: `-rwxr-xr-x 0/0  1234 1970-01-01 00:00 squashfs-root/bin/runc`.
fn listed(line: &str) -> Option<(&str, &str)> {
    let mode = line.split_whitespace().next()?;
    let path = line.split_once("squashfs-root/")?.1;
    Some((path.split(" -> ").next()?, mode))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Refuses programs in folders that are searched for programs; a folder of certificates may be called anything.
fn refuse_by_name(names: &BTreeSet<String>) -> Result<()> {
    for path in names {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let searched = folder.is_empty() || folder.ends_with("bin") || folder.ends_with("sbin") || folder.ends_with("libexec");
        let name = file_name(path);
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        ensure!(!(searched && (INTERPRETERS.contains(&bare) || LOGINS.contains(&bare))), "the image carries {path}");
    }
    Ok(())
}

fn read_back(image: &Path) -> Result<()> {
    let output = Command::new(imager()).args(["inspect", "--check"]).arg(image).output().context("cannot run imager")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn truncated(image: &Path, lab: &Lab) -> Result<()> {
    let folder = tempfile::tempdir_in(lab.images())?;
    let half = folder.path().join("half.img");
    let mut source = std::fs::File::open(image)?.take(8 << 20);
    std::io::copy(&mut source, &mut std::fs::File::create(&half)?)?;
    let output = Command::new(imager()).arg("inspect").arg(&half).output().context("cannot run imager")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        bail!("imager inspects half an image without a word");
    }
    ensure!(
        words.contains("half.img") && words.trim().lines().count() <= 2,
        "it does not say in one line what is wrong: {words}"
    );
    Ok(())
}
