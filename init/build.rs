//! Linker options of the programs that run on a device: smaller tables of relocations, and equal functions kept once.
//!
//! The RAM disk holds every byte of PID 1 for as long as the device runs. Only for static x86-64 builds, whose linker is known to be LLD.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let cfg = |name: &str| env::var(format!("CARGO_CFG_{name}")).unwrap_or_default();
    let is_static = cfg("TARGET_FEATURE").split(',').any(|feature| feature == "crt-static");
    if is_static && cfg("TARGET_ARCH") == "x86_64" && cfg("TARGET_OS") == "linux" {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
