//! A made-up archive, served over HTTP: packages, indexes, Release file, and the components that use them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tar::EntryType::Regular;

use super::deb::testing::{Form, deb, gzip, xz};
use super::digest::Digest;
use super::elf::testing::elf;
use super::http::testing::serve;
use super::kmod::testing::ko;
use super::mirror::MirrorChoice;
use super::{gpgv, lock};
use crate::progress::Silent;

/// One made-up package.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) depends: &'static str,
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
}

/// Machine number of x86-64 in ELF.
pub(crate) const X86_64: u16 = 62;
/// Machine number of AArch64 in ELF.
pub(crate) const AARCH64: u16 = 183;

/// The components of the made-up archive.
pub(crate) const COMPONENTS: &str = r#"
[suite.test]
archive = "debian"
areas = ["main", "non-free-firmware"]
[suite.test-security]
archive = "debian-security"

[component.kernel]
role = "kernel"
architectures = ["x86_64"]
suites = ["test", "test-security"]
[[component.kernel.package]]
name = "linux-{arch}"
follow = ["linux-[0-9]*"]
take = ["usr/lib/modules/*/**"]
place = { "boot/vmlinuz-*" = "vmlinuz" }

[component.loader]
role = "loader"
architectures = ["x86_64", "aarch64"]
suites = ["test"]
[[component.loader.package]]
name = "loader"
place = { "usr/lib/boot.efi" = "boot.efi", "usr/lib/stub.efi" = "stub.efi" }

[component.firmware]
role = "firmware"
architectures = ["x86_64"]
suites = ["test"]
[[component.firmware.package]]
name = "firmware"
take = ["usr/lib/firmware/**"]
place = { "usr/share/doc/firmware/copyright" = "licences/firmware.txt" }

[component.microcode]
role = "microcode"
architectures = ["x86_64"]
suites = ["test"]
[[component.microcode.package]]
name = "microcode"
take = ["usr/lib/firmware/intel-ucode/*"]

[component.pi-kernel]
role = "kernel"
architectures = ["aarch64"]
suites = ["test"]
[[component.pi-kernel.package]]
name = "pi-linux"
follow = ["pi-linux-7", "pi-binary-*"]
place = { "usr/lib/modules/*/vmlinuz" = "vmlinuz", "usr/lib/modules/*/dtb/*.dtb" = "dtb/maker/" }
[[component.pi-kernel.package]]
name = "pi-linux"
follow = ["pi-linux-7", "pi-modules-*"]
take = ["usr/lib/modules/*/kernel/**"]

[component.pi-boot]
role = "boot-files"
architectures = ["aarch64"]
suites = ["test"]
[[component.pi-boot.package]]
name = "pi-boot"
place = { "usr/lib/pi/start.elf" = "start.elf", "usr/share/doc/pi-boot/copyright" = "licences/pi-boot.txt" }

[component.emulator]
role = "tool"
architectures = ["x86_64"]
suites = ["test"]
[[component.emulator.package]]
name = "emulator"
take = ["usr/bin/emulator"]

[component.tool]
role = "runtime"
architectures = ["x86_64"]
suites = ["test"]
join = { "usr/share/all.pem" = "usr/share/certs/*" }
[[component.tool.package]]
name = "tool"
take = ["usr/bin/tool"]
[component.tool.links]
"usr/bin/alias" = "tool"

[component.extra]
role = "runtime"
architectures = ["x86_64"]
optional = true
[component.extra.file]
version = "v1"
to = "usr/share/extra/"
pin.x86_64 = { url = "EXTRA", sha256 = "DIGEST" }

[component.bench]
role = "test"
architectures = ["x86_64"]
suites = ["test"]
[[component.bench.package]]
name = "bench"
take = ["usr/share/bench"]
"#;

fn package(
    name: &'static str,
    version: &'static str,
    depends: &'static str,
    files: impl IntoIterator<Item = (&'static str, Vec<u8>)>,
) -> Package {
    Package { name, version, depends, files: files.into_iter().collect() }
}

/// The packages of suite `test`; `linux-2` is in `test-security`.
pub(crate) fn packages() -> Vec<Package> {
    programs().into_iter().chain(for_boards()).collect()
}

/// Programs, and the libraries they load.
fn programs() -> Vec<Package> {
    let loader = Some("/lib64/ld.so.2");
    let tool = [
        ("./bin/tool", elf(X86_64, loader, &["libmine_x.so.1", "libc.so.6"])),
        ("./usr/bin/sh", elf(X86_64, loader, &["libshell.so.1"])),
        ("./usr/share/certs/b", b"second\n".to_vec()),
        ("./usr/share/certs/a", b"first".to_vec()),
    ];
    let mine = [("./usr/lib/x86_64-linux-gnu/libmine_x.so.1", elf(X86_64, None, &["libdeep.so", "libc.so.6"]))];
    let libc = [
        ("./lib/x86_64-linux-gnu/libc.so.6", elf(X86_64, None, &[])),
        ("./lib64/ld.so.2", elf(X86_64, None, &[])),
        ("./usr/lib/x86_64-linux-gnu/libunused.so.1", elf(X86_64, None, &["libgone.so.1"])),
    ];
    vec![
        package("tool", "2:1-1", "unrelated, libmine-x1 (>= 1), libc6", tool),
        package("libmine-x1", "1", "libc6, libdeep", mine),
        package("libdeep", "1", "", [("./usr/lib/libdeep.so", elf(X86_64, None, &[]))]),
        package("libc6", "3", "", libc),
        package("unrelated", "1", "", [("./usr/share/x", b"x".to_vec())]),
        package("bench", "1", "", [("./usr/share/bench", b"bench".to_vec())]),
        package("emulator", "1", "libc6", [("./usr/bin/emulator", elf(X86_64, loader, &["libc.so.6"]))]),
    ]
}

/// Kernels, loaders, firmware.
fn for_boards() -> Vec<Package> {
    let licence = || b"free to pass on".to_vec();
    let firmware = [("./lib/firmware/a/b.bin", b"firmware".to_vec()), ("./usr/share/doc/firmware/copyright", licence())];
    let boot = [("./usr/lib/pi/start.elf", b"second stage".to_vec()), ("./usr/share/doc/pi-boot/copyright", licence())];
    let binary =
        [("./usr/lib/modules/7/vmlinuz", b"kernel".to_vec()), ("./usr/lib/modules/7/dtb/bcm2711-rpi-4-b.dtb", b"tree".to_vec())];
    vec![
        package("linux-amd64", "1", "linux-1 (= 1)", []),
        kernel("linux-1", "1"),
        package("loader", "5", "", [("./usr/lib/boot.efi", b"boot".to_vec()), ("./usr/lib/stub.efi", b"stub".to_vec())]),
        package("firmware", "1", "", firmware),
        package("microcode", "1", "", [("./usr/lib/firmware/intel-ucode/06-01-01", b"update".to_vec())]),
        package("pi-linux", "7", "pi-linux-7", []),
        package("pi-linux-7", "7", "pi-binary-7, pi-modules-7", []),
        package("pi-binary-7", "7", "", binary),
        package("pi-modules-7", "7", "", [("./usr/lib/modules/7/kernel/pi_wdt.ko.xz", xz(&ko("depends=\0")))]),
        package("pi-boot", "1", "", boot),
    ]
}

fn kernel(name: &'static str, version: &'static str) -> Package {
    let files = vec![
        ("./boot/vmlinuz-6", b"kernel".to_vec()),
        ("./usr/lib/modules/6/kernel/net-x.ko", ko("alias=pci:x\0depends=core\0")),
        ("./usr/lib/modules/6/kernel/core.ko.xz", xz(&ko("depends=\0"))),
        ("./usr/lib/modules/6/kernel/over.ko", ko("depends=core\0")),
        ("./usr/lib/modules/6/modules.builtin", b"kernel/ext4.ko\n".to_vec()),
    ];
    package(name, version, "", files)
}

/// Packages of suite `test-security`: a newer kernel.
pub(crate) fn security_packages() -> Vec<Package> {
    vec![package("linux-amd64", "2", "linux-2 (= 2)", []), kernel("linux-2", "2")]
}

/// A served archive, with a folder for manifest, lock and cache.
pub(crate) struct Archive {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    base: String,
}

impl Archive {
    /// Serves these packages; `tamper` may change what is served, by path, after everything was hashed.
    pub(crate) fn new(packages: &[Package], security: &[Package], tamper: impl Fn(&str, &mut Vec<u8>)) -> Self {
        let mut files = suite("debian", "test", packages, |index| ("xz", xz(index)));
        files.extend(suite("debian-security", "test-security", security, |index| ("gz", gzip(index))));
        files.push(("/extra.tar".into(), b"extra".to_vec()));
        files.iter_mut().for_each(|(path, bytes)| tamper(path, bytes));
        let (base, log) = serve(files);
        let archive = Self { folder: tempfile::tempdir().expect("folder"), log, base };
        let extra = format!("{}/extra.tar", archive.base);
        archive.write_manifest(&COMPONENTS.replace("EXTRA", &extra).replace("DIGEST", &Digest::of(b"extra").hex()));
        archive
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.folder.path().join("components.toml")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.path().join("components.lock")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn mirrors(&self) -> MirrorChoice {
        MirrorChoice { main: Some(format!("{}/debian", self.base)), security: None }
    }

    /// Locks every component, believing what the archive says.
    pub(crate) fn write_lock(&self) {
        let options = lock::LockOptions {
            manifest: self.manifest(),
            lock: self.lock(),
            cache: Some(self.folder.path().join("lock-cache")),
            mirrors: self.mirrors(),
            allow_expired: true,
        };
        let believe = |_: &str, signed: &[u8]| Ok::<_, gpgv::SignatureError>(String::from_utf8(signed.to_vec()).expect("text"));
        lock::run_with(&options, &Silent, &believe).expect("locked");
    }

    pub(crate) fn write_manifest(&self, text: &str) {
        std::fs::write(self.manifest(), text).expect("written");
    }

    pub(crate) fn edit_manifest(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.manifest()).expect("read");
        assert!(text.contains(from), "{from}");
        self.write_manifest(&text.replace(from, to));
    }
}

/// Packages that lie in the other area of their suite.
const NOT_FREE: [&str; 2] = ["firmware", "microcode"];

/// What a suite serves: packages, an index of each area and architecture in one compression, and an unsigned Release file.
fn suite(
    archive: &str,
    name: &str,
    packages: &[Package],
    pack: impl Fn(&[u8]) -> (&'static str, Vec<u8>),
) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut indexes = [("main", String::new()), ("non-free-firmware", String::new())];
    for package in packages {
        let entries: Vec<_> = package.files.iter().map(|(path, bytes)| (*path, 0o755, Regular, bytes.as_slice())).collect();
        let bytes = deb(Form::Zstd, &entries);
        let path = format!("pool/{}_{}.deb", package.name, Path::new(package.version).display());
        indexes[usize::from(NOT_FREE.contains(&package.name))].1 += &format!(
            "Package: {}\nVersion: {}\nDepends: {}\nFilename: {path}\nSize: {}\nSHA256: {}\n\n",
            package.name,
            package.version,
            package.depends,
            bytes.len(),
            Digest::of(&bytes),
        );
        files.push((format!("/{archive}/{path}"), bytes));
    }
    let mut release =
        format!("Codename: {name}\nDate: Wed, 18 Nov 2026 02:10:24 UTC\nValid-Until: Wed, 25 Nov 2026 02:10:24 UTC\nSHA256:\n",);
    for ((area, index), architecture) in indexes.iter().flat_map(|index| [(index, "amd64"), (index, "arm64")]) {
        let (suffix, packed) = pack(index.as_bytes());
        let listed = format!("{area}/binary-{architecture}/Packages.{suffix}");
        release += &format!(" {} {} {listed}\n", Digest::of(&packed), packed.len());
        files.push((format!("/{archive}/dists/{name}/{listed}"), packed));
    }
    files.push((format!("/{archive}/dists/{name}/InRelease"), release.into_bytes()));
    files
}
