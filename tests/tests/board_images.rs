//! Every board's image, looked at with tools that did not make it, and made a second time from the packages on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, copy};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use imager::board::Architecture;
use machine_config::disk::{Partition, SECTOR_BYTES};
use serde_json::Value;
use skerry_tests::bootfiles::BootFiles;
use skerry_tests::esp::Esp;
use skerry_tests::images::{self, Inputs, TestImage, imager};
use skerry_tests::lab::Lab;
use skerry_tests::picfg::PiConfig;
use skerry_tests::story::step;
use skerry_tests::{cold, filesystem, initramfs, places, runtime_image};

/// Bytes of a dm-verity block.
const BLOCK_BYTES: u64 = 4096;

#[test]
fn other_tools_agree_with_every_image() {
    let Some(lab) = Lab::open_or_skip() else { return };
    for image in TestImage::boards() {
        let path = lab.image(image);
        let board = image.board();
        let folder = tempfile::tempdir_in(lab.images()).unwrap();
        step(format!("{board}: sgdisk finds no fault with the partition table"), || filesystem::check_table(&path));
        step(format!("{board}: fsck.fat finds no fault with the boot partition"), || boot_partition(&path, folder.path()));
        step(format!("{board}: veritysetup verifies the runtime image against the command line"), || {
            verity(&path, folder.path())
        });
        step(format!("{board}: imager finds nothing in it that must not be there"), || checked(&path));
        step(format!("{board}: bmaptool makes the same bytes of it by its map"), || by_its_map(&path, folder.path()));
    }
}

/// With a cache that holds the packages and nothing that the first build took out of them or compressed. The boards share it, so that what several
/// of them have is made anew once: measured, 210 seconds of processor time for all six, two to four minutes on two cores.
#[test]
fn building_an_image_again_from_packages_alone_gives_the_same_bytes() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let folder = tempfile::tempdir_in(lab.images()).unwrap();
    let (cache, again) = (folder.path().join("cache"), folder.path().join("again.img"));
    step("a cache of packages alone", || cold::cache(&images::cache()?, &cache));
    for image in TestImage::boards() {
        step(format!("{}: built again", image.board()), || {
            Inputs { cache: Some(cache.clone()), ..image.inputs(lab.images()) }.build(&again)?;
            same_bytes(&lab.image(image), &again)
        });
    }
}

#[test]
fn the_list_of_contents_names_the_crates_of_the_programs_in_the_image_and_no_others() {
    let Some(lab) = Lab::open_or_skip() else { return };
    let lock: toml::Table = fs::read_to_string(places::workspace().join("Cargo.lock")).unwrap().parse().unwrap();
    for image in TestImage::boards() {
        let board = image.board();
        let contents = step(format!("{board}: its list of contents is JSON"), || Contents::read(&lab.image(image)));
        step(format!("{board}: it fits the schema of SPDX"), || contents.fits());
        step(format!("{board}: every crate is the one in the lock"), || contents.check_versions(&lock));
        for program in ["skerry-init", "apid", "skerry-images", "k3s"] {
            step(format!("{board}: {program} has tokio and nothing of imager's or of tests'"), || {
                contents.check_program(program)
            });
        }
    }
}

#[test]
fn boards_of_one_architecture_run_the_same_programs() {
    let Some(lab) = Lab::open_or_skip() else { return };
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        let images: Vec<_> = TestImage::boards().into_iter().filter(|image| image.architecture() == architecture).collect();
        let [first, others @ ..] = images.as_slice() else { panic!("no board is {architecture}") };
        let (programs, expected) = (root(&lab, *first).unwrap(), userland(&lab, *first).unwrap());
        for image in others {
            let (board, first) = (image.board(), first.board());
            step(format!("{board} has in its root what {first} has"), || same_listing(&programs, &root(&lab, *image)?));
            step(format!("{board} has in its runtime image what {first} has"), || {
                same_listing(&expected, &userland(&lab, *image)?)
            });
        }
    }
}

#[test]
fn every_file_a_raspberry_pis_firmware_is_told_of_is_there() {
    let Some(lab) = Lab::open_or_skip() else { return };
    for image in [TestImage::Rpi4, TestImage::Rpi5] {
        step(format!("{}: every file named by config.txt is there", image.board()), || pi_files(&lab.image(image)));
    }
    step("rpi5: the kernel is one that the firmware starts as it is", || pi5_kernel(&lab.image(TestImage::Rpi5)));
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}; `make setup` installs it"))?;
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{program} {}: {words}", arguments.join(" "));
    Ok(words)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path is text")
}

/// Copies a partition's content out of the image; returns its file.
fn extract(image: &Path, partition: Partition, to: &Path) -> Result<()> {
    let entry = filesystem::find(image, partition)?;
    let mut file = File::open(image)?;
    file.seek(SeekFrom::Start(entry.starting_lba * SECTOR_BYTES))?;
    copy(&mut file.take(entry.size()? * SECTOR_BYTES), &mut File::create(to)?)?;
    Ok(())
}

fn boot_partition(image: &Path, folder: &Path) -> Result<()> {
    let esp = folder.join("esp");
    extract(image, Partition::Esp, &esp)?;
    run("/usr/sbin/fsck.fat", &["-n", text(&esp)?]).map(|_| ())
}

fn verity(image: &Path, folder: &Path) -> Result<()> {
    let runtime = folder.join("runtime");
    extract(image, Partition::RuntimeA, &runtime)?;
    let files = BootFiles::read(image)?;
    let word = files.word("skerry.runtime").context("the command line names no runtime image")?;
    let [blocks, _, root] = word.split(':').collect::<Vec<_>>()[..] else { bail!("{word} is no runtime image") };
    let offset = format!("--hash-offset={}", blocks.parse::<u64>()? * BLOCK_BYTES);
    run("/usr/sbin/veritysetup", &["verify", &offset, text(&runtime)?, text(&runtime)?, root]).map(|_| ())
}

fn checked(image: &Path) -> Result<()> {
    let imager = imager();
    run(text(&imager)?, &["inspect", "--check", text(image)?]).map(|_| ())
}

/// Onto an empty disk of the image's length.
fn by_its_map(image: &Path, folder: &Path) -> Result<()> {
    let (map, disk) = (format!("{}.bmap", text(image)?), folder.join("disk"));
    File::create(&disk)?.set_len(fs::metadata(image)?.len())?;
    run("bmaptool", &["--quiet", "copy", "--bmap", &map, text(image)?, text(&disk)?])?;
    same_bytes(image, &disk)
}

fn same_bytes(one: &Path, other: &Path) -> Result<()> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    ensure!(one.metadata()?.len() == other.metadata()?.len(), "their lengths differ");
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for part in 0.. {
        let read = one.by_ref().take(left.len() as u64).read(&mut left)?;
        if read == 0 {
            return Ok(());
        }
        other.read_exact(&mut right[..read])?;
        ensure!(left[..read] == right[..read], "they differ in the MiB after the {part}th read");
    }
    Ok(())
}

/// An SPDX document beside an image.
struct Contents(Value);

impl Contents {
    fn read(image: &Path) -> Result<Self> {
        let path = format!("{}.spdx.json", text(image)?);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// The SPDX project's own schema has nothing against it.
    fn fits(&self) -> Result<()> {
        let schema = fs::read_to_string(places::workspace().join("imager/src/sbom/tests/spdx-2.3.schema.json"))?;
        let validator = jsonschema::validator_for(&serde_json::from_str(&schema)?)?;
        let errors: Vec<String> = validator.iter_errors(&self.0).map(|error| error.to_string()).collect();
        ensure!(errors.is_empty(), "{errors:?}");
        Ok(())
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.0[name].as_array().into_iter().flatten()
    }

    fn crates(&self) -> impl Iterator<Item = &Value> {
        self.list("packages").filter(|one| one["SPDXID"].as_str().is_some_and(|id| id.starts_with("SPDXRef-Crate-")))
    }

    /// Name, version and checksum of each are those of one package in the lock.
    fn check_versions(&self, lock: &toml::Table) -> Result<()> {
        let locked = lock["package"].as_array().context("the lock has packages")?;
        for one in self.crates() {
            let of = |key: &str| one[key].as_str();
            let sum = one["checksums"][0]["checksumValue"].as_str();
            let mut same = locked.iter().filter(|locked| locked["name"].as_str() == of("name"));
            let found = same.any(|locked| {
                locked["version"].as_str() == of("versionInfo") && locked.get("checksum").and_then(|sum| sum.as_str()) == sum
            });
            ensure!(found, "{one} is not in Cargo.lock");
        }
        Ok(())
    }

    fn check_program(&self, program: &str) -> Result<()> {
        let mut packages = self.list("packages");
        let id = &packages.find(|one| one["name"] == program && one["primaryPackagePurpose"] != "LIBRARY");
        let id = &id.with_context(|| format!("{program} is not listed"))?["SPDXID"];
        let links =
            self.list("relationships").filter(|one| one["spdxElementId"] == *id && one["relationshipType"] == "STATIC_LINK");
        let linked: Vec<_> = links.filter_map(|one| one["relatedSpdxElement"].as_str()).collect();
        let has = |name: &str| linked.iter().any(|id| id.starts_with(&format!("SPDXRef-Crate-{name}-")));
        ensure!(has("tokio") && has("api"), "these alone: {linked:?}");
        for other in ["indicatif", "clap", "ureq", "backhand", "proptest", "tonic-prost-build", "serde.5f.derive"] {
            ensure!(!has(other), "{other} is listed");
        }
        Ok(())
    }
}

/// What a runtime image holds but the kernel's modules, which are the board's.
fn userland(lab: &Lab, image: TestImage) -> Result<BTreeMap<String, String>> {
    let folder = tempfile::tempdir_in(lab.images())?;
    let root = folder.path().join("runtime");
    runtime_image::unpack(&lab.image(image), &root)?;
    let mut listing = runtime_image::listing(&root)?;
    let all = listing.len();
    listing.retain(|path, _| !path.starts_with("lib/skerry/modules/") && path != "share/skerry/components.json");
    ensure!(listing.len() < all && listing.contains_key("bin/containerd"), "it has no modules or no containerd");
    Ok(listing)
}

/// What a root holds but the board's: kernel modules, firmware and `release.json` below `skerry/`, microcode below `kernel/`.
fn root(lab: &Lab, image: TestImage) -> Result<initramfs::Files> {
    let mut files = initramfs::read(&BootFiles::read(&lab.image(image))?.initramfs)?;
    let all = files.len();
    files.retain(|path, _| path == "skerry/apid" || !(path.starts_with("skerry/") || path.starts_with("kernel")));
    ensure!(files.len() < all && files.contains_key("init") && files.contains_key("skerry/apid"), "it lacks modules or programs");
    Ok(files)
}

fn same_listing<T: PartialEq>(expected: &BTreeMap<String, T>, found: &BTreeMap<String, T>) -> Result<()> {
    let names = expected.keys().chain(found.keys()).filter(|name| expected.get(*name) != found.get(*name));
    let differing: std::collections::BTreeSet<_> = names.collect();
    ensure!(differing.is_empty(), "these differ: {differing:?}");
    Ok(())
}

/// Files that `config.txt` names with these keys lie in the slot's folder.
const SLOT_FILES: [&str; 3] = ["kernel", "device_tree", "cmdline"];

fn pi_files(image: &Path) -> Result<()> {
    let esp = Esp::read(image)?;
    let config = PiConfig::parse(esp.text("config.txt")?);
    for key in SLOT_FILES {
        config.values(key).try_for_each(|(_, name)| esp.file(&config.in_slot(name)).map(|_| ()))?;
    }
    if let Some(initramfs) = config.initramfs() {
        esp.file(&initramfs)?;
    }
    ensure!(config.kernel().is_some() && config.value("arm_64bit") == Some("1"), "it starts no 64-bit kernel");
    Ok(())
}

fn pi5_kernel(image: &Path) -> Result<()> {
    let kernel = BootFiles::read(image)?.kernel;
    ensure!(kernel.get(0x38..0x3c) == Some(b"ARM\x64"), "the kernel is no uncompressed arm64 image");
    let version = kernel_version(&kernel).context("the kernel does not say its version")?;
    ensure!(
        version >= RPI5_KERNEL,
        "the kernel is {version:?}, which knows neither the card nor the network of a Raspberry Pi 5"
    );
    Ok(())
}

/// The first version with drivers for its SD card and for RP1, as docs/boards.md says.
const RPI5_KERNEL: (u32, u32) = (7, 2);

/// The first two numbers of the version that an uncompressed kernel says of itself.
fn kernel_version(kernel: &[u8]) -> Option<(u32, u32)> {
    const WORDS: &[u8] = b"Linux version ";
    kernel.windows(WORDS.len()).zip(WORDS.len()..).filter(|(words, _)| *words == WORDS).find_map(|(_, at)| {
        let text: String = kernel[at..].iter().take(16).map(|byte| char::from(*byte)).collect();
        let mut numbers = text.split(|character: char| !character.is_ascii_digit()).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    })
}

#[test]
fn a_kernels_version_is_told_from_the_pattern_it_is_printed_with() {
    for (bytes, expected) in [
        (b"\0Linux version %s (%s)\0Linux version 7.2.3+deb13-arm64 (\0".as_slice(), Some((7, 2))),
        (b"Linux version 6.12.57\0", Some((6, 12))),
        (b"Linux version 10", None),
        (b"Linux", None),
    ] {
        assert_eq!(kernel_version(bytes), expected);
    }
}
