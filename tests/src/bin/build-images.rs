//! Makes the images the VM tests boot, in the folder of `SKERRY_TEST_IMAGES` or `target/vm-images`. `make test` runs it first.

use std::process::ExitCode;

use skerry_tests::{images, places};

fn main() -> ExitCode {
    let folder = places::test_images();
    match images::make_all(&folder) {
        Ok(()) => {
            println!("{}", folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("build-images: {error:#}");
            ExitCode::FAILURE
        }
    }
}
