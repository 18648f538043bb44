//! Where things lie in the workspace and its target folder. Makes folders it returns for writing; reads nothing.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The workspace's root folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// A file of this package, such as `floor/init.c`.
pub fn source(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    workspace().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Makes and returns a folder below the target folder.
pub fn in_target(relative: &str) -> io::Result<PathBuf> {
    let folder = target().join(relative);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Where the images lie that `build-images` made for the tests: `SKERRY_TEST_IMAGES` (a relative one is relative to the workspace),
/// else `vm-images` in the target folder.
pub fn test_images() -> PathBuf {
    let named = env::var_os("SKERRY_TEST_IMAGES").map(|folder| workspace().join(folder));
    named.unwrap_or_else(|| target().join("vm-images"))
}

/// A program of the same build as the running one: Cargo puts them into one folder, and tests one folder deeper.
pub fn beside(program: &str) -> PathBuf {
    let folder = || {
        let running = env::current_exe().ok()?;
        let folder = running.parent()?;
        let folder = if folder.ends_with("deps") { folder.parent()? } else { folder };
        Some(folder.to_owned())
    };
    folder().unwrap_or_else(|| target().join("release")).join(program)
}
