//! How Debian and ELF spell the architectures of boards. Knows nothing of boards but their [`Architecture`].

use object::elf;

use crate::board::Architecture;

/// The folder below `/usr/lib` in which Debian keeps shared libraries.
pub fn triplet(arch: Architecture) -> &'static str {
    match arch {
        Architecture::X86_64 => "x86_64-linux-gnu",
        Architecture::Aarch64 => "aarch64-linux-gnu",
    }
}

/// UEFI's suffix in systemd-boot's file names.
fn efi_suffix(arch: Architecture) -> &'static str {
    match arch {
        Architecture::X86_64 => "x64",
        Architecture::Aarch64 => "aa64",
    }
}

/// `e_machine` of its ELF files.
pub fn elf_machine(arch: Architecture) -> u16 {
    match arch {
        Architecture::X86_64 => elf::EM_X86_64.0,
        Architecture::Aarch64 => elf::EM_AARCH64.0,
    }
}

/// What a person calls an `e_machine`.
pub fn machine_name(machine: u16) -> String {
    match elf::Machine(machine) {
        elf::EM_X86_64 => "x86_64".into(),
        elf::EM_AARCH64 => "aarch64".into(),
        elf::EM_386 => "i386".into(),
        elf::EM_ARM => "arm".into(),
        elf::EM_RISCV => "riscv".into(),
        elf::Machine(other) => format!("ELF machine {other}"),
    }
}

/// Replaces `{arch}` (Debian's name), `{triplet}` and `{efi}`.
pub fn expand(arch: Architecture, text: &str) -> String {
    text.replace("{arch}", arch.debian()).replace("{triplet}", triplet(arch)).replace("{efi}", efi_suffix(arch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_the_architecture() {
        let text = expand(Architecture::Aarch64, "usr/lib/{triplet}/x-{arch}{efi}");
        assert_eq!(text, "usr/lib/aarch64-linux-gnu/x-arm64aa64");
    }

    #[test]
    fn machines_are_named_for_people() {
        assert_eq!(machine_name(elf_machine(Architecture::X86_64)), "x86_64");
        assert_eq!(machine_name(8), "ELF machine 8");
    }
}
