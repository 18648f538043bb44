//! `imager convert`: other forms of an image that was built or stamped before, whatever form it has.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::args::{Common, ConvertArgs};
use super::formats;
use super::ui::Ui;
use crate::board::Format;
use crate::format::Target;
use crate::progress::step;
use crate::unfold;

/// Writes the forms asked for.
pub(super) fn run(common: &Common, args: &ConvertArgs, ui: &Ui) -> Result<()> {
    let (inspection, source) = step(ui, "verify the image", || unfold::source(&args.image))?;
    // Where no board files are, such as in a warehouse, the image itself tells whether a form can be made of it.
    let formats: Vec<Format> = match common.board(&inspection.release.board) {
        Ok(board) => formats::check(&board, &args.forms.formats)?,
        Err(_) => args.forms.formats.clone(),
    };
    let targets = Target::all(&formats, &args.out)?;
    let targets = if inspection.seed.is_private() || is_private(&args.image)? { formats::private(targets) } else { targets };
    let files = formats::write(&source, &targets, None, ui)?;
    ui.done(&files, &formats::summary(&files));
    Ok(())
}

/// Whether an image is not for everybody: what is made of it must not be either.
fn is_private(image: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = std::fs::metadata(image).with_context(|| format!("cannot read {}", image.display()))?;
    Ok(meta.permissions().mode() & 0o004 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;
    use machine_config::seed::{self, Seed};

    use super::super::args::{Cli, Command};
    use super::*;
    use crate::build::tests::build_sample;
    use crate::stamp::testing::{config, fleet};

    /// The mode of what is made of an image with this SEED and mode.
    fn mode_of_result(seed: Option<Vec<u8>>, mode: u32) -> u32 {
        let folder = tempfile::tempdir().expect("temp folder");
        let (image, out) = (build_sample(folder.path(), seed), folder.path().join("out.qcow2"));
        std::fs::set_permissions(&image, std::fs::Permissions::from_mode(mode)).expect("set");
        let words = ["imager".as_ref(), "convert".as_ref(), image.as_os_str(), "--format".as_ref(), "qcow2".as_ref()];
        let cli = Cli::try_parse_from(words.into_iter().chain(["--out".as_ref(), out.as_os_str()])).expect("good");
        let Command::Convert(args) = &cli.command else { panic!("another command") };
        run(&cli.common, args, &Ui::new(false)).expect("converted");
        std::fs::metadata(&out).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn what_holds_secrets_is_its_owner_s_only_whoever_may_read_the_image() {
        let plain = Seed { fleet: fleet(1), hub: None, join_token: None, device_name: None, config: None, identity: None };
        let config = Some(config("a", "any: true", "acme", 1));
        let encoded = |seed: &Seed| seed::encode(seed).expect("fits");
        let mut damaged = encoded(&plain);
        damaged.iter_mut().for_each(|byte| *byte ^= 0x10);
        for (seed, mode, private) in [
            (None, 0o644, false),
            (Some(encoded(&plain)), 0o644, false),
            (Some(encoded(&plain)), 0o640, true),
            (Some(encoded(&plain)), 0o600, true),
            (Some(encoded(&Seed { join_token: Some("ab".repeat(32).into()), ..plain.clone() })), 0o644, true),
            (Some(encoded(&Seed { identity: Some(machine_config::IdentitySeed::new([7; 32])), ..plain.clone() })), 0o644, true),
            (Some(encoded(&Seed { config, ..plain.clone() })), 0o644, true),
            (Some(damaged), 0o644, true),
        ] {
            let found = mode_of_result(seed, mode);
            assert_eq!(found & 0o077 == 0, private, "{found:o} of {mode:o}");
        }
    }
}
