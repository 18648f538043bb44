//! The unified kernel image: systemd's EFI stub with command line, kernel and initramfs as sections, in the order in which systemd-stub measures
//! them; the kernel comes last, as ukify places it.

use object::read::pe::PeFile64;
use object::{Object as _, ObjectSection as _};

use super::pe::{self, PeError, Section};
use crate::board::Architecture;

/// What goes into a UKI.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// For which architecture.
    pub architecture: Architecture,
    /// systemd's EFI stub.
    pub stub: &'a [u8],
    /// The kernel, with its own EFI header.
    pub kernel: &'a [u8],
    /// Compressed initramfs.
    pub initramfs: &'a [u8],
    /// Microcode, as an early initramfs: the stub hands it to the kernel before the other one.
    pub microcode: Option<&'a [u8]>,
    /// Kernel command line.
    pub command_line: &'a str,
    /// Text of os-release; the loader shows its PRETTY_NAME.
    pub os_release: &'a str,
    /// Kernel version, `uname -r`.
    pub uname: &'a str,
}

/// Puts a UKI together.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, PeError> {
    pe::check_architecture("the EFI stub", parts.stub, parts.architecture)?;
    pe::check_architecture("the kernel image", parts.kernel, parts.architecture)?;
    let sections = [
        (".osrel", Some(parts.os_release.as_bytes())),
        (".cmdline", Some(parts.command_line.as_bytes())),
        (".uname", Some(parts.uname.as_bytes())),
        (".ucode", parts.microcode),
        (".initrd", Some(parts.initramfs)),
        (".linux", Some(parts.kernel)),
    ];
    let there = sections.into_iter().filter_map(|(name, bytes)| Some(Section { name, bytes: bytes? }));
    pe::append("the EFI stub", parts.stub, &there.collect::<Vec<_>>())
}

/// The os-release text of an image.
pub fn os_release(version: &str, board: &str) -> String {
    format!(
        "ID=skerry\nNAME=Skerry\nPRETTY_NAME=\"Skerry {version} ({board})\"\nVERSION_ID={version}\nIMAGE_ID={board}\nIMAGE_VERSION={version}\n"
    )
}

/// A UKI taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uki {
    /// All sections in order: name and size.
    pub sections: Vec<(String, u64)>,
    /// Kernel command line.
    pub command_line: String,
    /// Kernel version.
    pub uname: String,
    /// os-release.
    pub os_release: String,
    /// Compressed initramfs.
    pub initramfs: Vec<u8>,
}

/// Takes a UKI apart; the error says what is missing.
pub fn read(bytes: &[u8]) -> Result<Uki, String> {
    let file = PeFile64::parse(bytes).map_err(|error| format!("it is not a PE file ({error})"))?;
    let mut uki = Uki::default();
    for section in file.sections() {
        let name = section.name().map_err(|error| error.to_string())?;
        uki.sections.push((name.to_owned(), section.size()));
    }
    let data = |name: &str| {
        let section = file.section_by_name(name).ok_or(format!("it has no section {name}"))?;
        let data = section.data().map_err(|_| format!("its section {name} is cut short"))?;
        let size = usize::try_from(section.size()).unwrap_or(usize::MAX);
        data.get(..size.min(data.len())).ok_or(format!("its section {name} is cut short"))
    };
    let text = |name: &str| data(name).map(|bytes| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned());
    uki.command_line = text(".cmdline")?;
    uki.uname = text(".uname")?;
    uki.os_release = text(".osrel")?;
    uki.initramfs = data(".initrd")?.to_vec();
    data(".linux")?;
    Ok(uki)
}

#[cfg(test)]
mod tests {
    use super::super::pe::tests::stub;
    use super::*;

    fn parts<'a>(stub: &'a [u8], kernel: &'a [u8]) -> Parts<'a> {
        Parts {
            architecture: Architecture::X86_64,
            stub,
            kernel,
            initramfs: b"compressed",
            microcode: None,
            command_line: "console=tty0 quiet",
            os_release: "ID=skerry\n",
            uname: "6.12.0",
        }
    }

    #[test]
    fn parts_read_back() {
        let (efi, kernel) = (stub(8, 0x8664), stub(0, 0x8664));
        let uki = read(&build(&parts(&efi, &kernel)).expect("built")).expect("read");
        let names: Vec<_> = uki.sections.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [".text", ".osrel", ".cmdline", ".uname", ".initrd", ".linux"]);
        assert_eq!((uki.command_line.as_str(), uki.uname.as_str()), ("console=tty0 quiet", "6.12.0"));
        assert_eq!(uki.initramfs, b"compressed");
    }

    #[test]
    fn microcode_comes_before_the_initramfs() {
        let (efi, kernel) = (stub(9, 0x8664), stub(0, 0x8664));
        let made = build(&Parts { microcode: Some(b"early"), ..parts(&efi, &kernel) }).expect("built");
        let uki = read(&made).expect("read");
        let place = |wanted: &str| uki.sections.iter().position(|(name, _)| name == wanted);
        assert!(place(".ucode").is_some() && place(".ucode") < place(".initrd"));
    }

    #[test]
    fn a_kernel_for_another_processor_is_refused() {
        let (efi, kernel) = (stub(8, 0x8664), stub(0, 0xaa64));
        let error = build(&parts(&efi, &kernel)).expect_err("refused").to_string();
        assert_eq!(error, "cannot use the kernel image: it is for aarch64, the board is x86_64");
    }

    #[test]
    fn a_uki_without_a_section_says_which() {
        assert_eq!(read(&stub(8, 0x8664)), Err("it has no section .cmdline".into()));
        assert!(read(b"MZ").is_err());
    }
}
