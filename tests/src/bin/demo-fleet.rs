//! `make demo-fleet`: two devices come home to a hub, told step by step, with the address of the hub's pages. `KEEP=1` leaves all of it running until Enter is
//! pressed.

use std::env;
use std::io::{BufRead as _, stdin};
use std::process::ExitCode;

use anyhow::Result;
use imager::board::Architecture;
use skerry_tests::fleet::TestFleet;
use skerry_tests::images::{self, FLEET, TestImage};
use skerry_tests::lab::Lab;
use skerry_tests::{field, places};

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    let keep = env::var_os("KEEP").is_some_and(|value| value == "1");
    let folder = places::in_target("demo-fleet")?;
    TestFleet::open_or_make(&folder.join(FLEET), "acme")?;
    images::fetch_firmware(&folder, Architecture::X86_64);
    let inputs = TestImage::Blank.inputs(&folder);
    images::make_archive(Architecture::X86_64, &inputs.archive)?;
    println!("   … the image that both devices are stamped from");
    inputs.build(&folder.join(TestImage::Blank.file_name()))?;
    let lab = Lab::open(&folder)?;
    let told = field::tell(&lab, |url, token| {
        println!(
            "\n== The hub's pages: {url}\n   sign in with the token {token}\n   (the browser warns: the certificate is the hub's own)\n"
        );
    });
    println!("\n== {} is served, {} was removed", told.staying.name, told.removed.name);
    if keep {
        println!("== Hub and devices go on until you press Enter: https://{}", told.hub.options.listen);
        stdin().lock().lines().next();
    }
    Ok(())
}
