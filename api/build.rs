//! Compiles the protobuf files without `protoc`: protox parses them, tonic-prost-build writes the Rust.

use std::path::PathBuf;
use std::{env, error, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn error::Error>> {
    let files = [
        "skerry/v1/node.proto",
        "skerry/v1/internal.proto",
        "skerry/hub/v1/devices.proto",
        "cri/runtime.proto",
        "containerd/types.proto",
        "containerd/content.proto",
        "containerd/images.proto",
        "containerd/leases.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Server reflection serves the public file only; the internal one stays inside the device.
    let public = protox::compile(["skerry/v1/node.proto"], ["proto"])?;
    fs::write(out.join("node.bin"), public.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
