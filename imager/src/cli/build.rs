//! `imager build`: gathers what the options name and hands it to the builder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use machine_config::FleetTrust;
use machine_config::seed::{self, Seed};

use super::args::{BuildArgs, Common};
use super::formats::{self, Done, mib};
use super::ui::Ui;
use super::{fleet, floor, workspace};
use crate::board::{Architecture, Board};
use crate::build::{self, Ingredients, Programs};
use crate::components::assemble::{self, Components};
use crate::components::lockfile::Lock;
use crate::format::Target;
use crate::progress::{Event, Progress as _, step};
use crate::stamp::roles;

/// Builds the image and tells what was built.
pub(super) fn run(common: &Common, args: &BuildArgs, ui: &Ui) -> Result<()> {
    let board = common.board(&args.board)?;
    let targets = Target::all(&formats::check(&board, &args.forms.formats)?, &args.out)?;
    // A configuration may hold k3s's token.
    let targets = if args.config.is_some() { formats::private(targets) } else { targets };
    let seed = args.fleet.as_deref().map(|fleet| read_seed(&board, fleet, args.config.as_deref(), ui)).transpose()?;
    let programs = programs(args, board.architecture)?;
    programs.check()?;
    let own = programs.records(env!("CARGO_PKG_VERSION"))?;
    let options = common.assemble_options(args.wishes.wishes()?)?;
    let floor = floor::find(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref(), &Lock::load(&options.lock)?.release)?;
    let mut components = step(ui, "gather the components", || assemble::run(&board, &options, ui))?;
    components.records.extend(own);
    let cache = common.derived_cache()?;
    let ingredients = ingredients(&board, floor, components, programs, seed)?;
    let built = build::make(ingredients, &cache, ui, formats::raw_place(&targets))?;
    let done = formats::write_built(built, &targets, ui)?;
    ui.done(&done, &summary(&done));
    Ok(())
}

fn ingredients(
    board: &Board,
    floor: u64,
    components: Components,
    programs: Programs,
    seed: Option<Vec<u8>>,
) -> Result<Ingredients<'_>> {
    let component_list = serde_json::to_string_pretty(&components.records).context("cannot write the list of components")? + "\n";
    Ok(Ingredients {
        board,
        version: env!("CARGO_PKG_VERSION"),
        build_time_floor: floor,
        kernel: components.kernel,
        kernel_version: components.kernel_version,
        loader: components.loader,
        microcode: components.microcode,
        boot_files: components.boot_files,
        hardware: components.initramfs,
        runtime: components.runtime,
        component_list,
        programs,
        seed,
    })
}

fn programs(args: &BuildArgs, architecture: Architecture) -> Result<Programs> {
    let path = |given: &Option<PathBuf>, name: &str| match given {
        Some(path) => Ok(path.clone()),
        None => workspace::find().map(|root| root.join("target").join(architecture.rust_target()).join("image").join(name)),
    };
    Ok(Programs {
        init: path(&args.init, "skerry-init")?,
        apid: path(&args.apid, "apid")?,
        images_importer: path(&args.images_importer, "skerry-images")?,
    })
}

/// The content of SEED: the fleet's keys, and a configuration that the fleet signed.
fn read_seed(board: &Board, fleet: &Path, config: Option<&Path>, ui: &Ui) -> Result<Vec<u8>> {
    let fleet = fleet::read(fleet)?;
    let config = config.map(|path| read_config(board, path, &fleet, ui)).transpose()?;
    let seed = Seed { fleet, hub: None, join_token: None, device_name: None, config, identity: None };
    seed::encode(&seed).context("cannot make the content of SEED")
}

/// A configuration that the fleet signed and the board is strong enough for.
fn read_config(board: &Board, path: &Path, fleet: &FleetTrust, ui: &Ui) -> Result<Vec<u8>> {
    let config = fleet::judged(path, fleet)?;
    if let Some(role) = roles::refused(config.content(), &board.k3s_roles) {
        let allowed = roles::allowed(&board.name, &board.k3s_roles);
        bail!("cannot use {} as the configuration: it makes the device a k3s {}, {allowed}", path.display(), role.as_str());
    }
    if let Some(message) = roles::scarce(config.content(), &board.name, board.memory_mib) {
        ui.event(Event::Warn { message: &message });
    }
    Ok(config.bytes().to_vec())
}

fn summary(done: &Done) -> String {
    let report = &done.report;
    format!(
        "{}\n  image   {} ({} without its empty space)\n  UKI     {} (initramfs {}, {} in RAM)\n  runtime {}, root hash {}\n{}",
        report.image.display(),
        mib(report.image_bytes),
        mib(report.payload_bytes),
        report.uki_bytes.map_or_else(|| "none".to_owned(), mib),
        mib(report.initramfs_bytes),
        mib(report.initramfs_unpacked_bytes),
        mib(report.runtime_bytes),
        report.runtime_root_hash,
        formats::summary(&done.files),
    )
}

#[cfg(test)]
mod tests {
    use machine_config::SigningKey;

    use super::*;

    const CONFIG: &str = "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {name: one, fleet: acme, generation: 1}\ntarget: {any: true}\napi: {clientCa: \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\"}\n";

    fn fleet(folder: &Path, seed: u8) -> SigningKey {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let trust =
            FleetTrust { name: "acme".parse().expect("a name"), keys: vec![key.verifying_key().try_into().expect("strong")] };
        std::fs::write(folder.join("fleet.pub"), trust.to_json()).expect("written");
        key
    }

    /// A board for agents alone.
    fn board() -> Board {
        let board = crate::build::tests::board();
        Board { k3s_roles: vec![crate::board::K3sRole::Agent], ..board }
    }

    fn error(fleet: &Path, config: &[u8]) -> String {
        let path = fleet.join("config.yaml");
        std::fs::write(&path, config).expect("written");
        super::super::one_line(&read_seed(&board(), fleet, Some(&path), &Ui::new(false)).expect_err("refused"))
    }

    #[test]
    fn a_seed_holds_the_fleet_and_the_exact_configuration() {
        let folder = tempfile::tempdir().expect("temp folder");
        let key = fleet(folder.path(), 1);
        let signed = machine_config::sign(CONFIG.as_bytes(), &key).expect("signed");
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, &signed).expect("written");
        let seed =
            seed::decode(&read_seed(&board(), folder.path(), Some(&path), &Ui::new(false)).expect("made")).expect("decoded").seed;
        assert_eq!((seed.fleet.name.as_str(), seed.config), ("acme", Some(signed)));
        let seed = seed::decode(&read_seed(&board(), folder.path(), None, &Ui::new(false)).expect("made")).expect("decoded").seed;
        assert_eq!(seed.config, None);
    }

    #[test]
    fn a_configuration_no_device_would_take_is_refused_at_build_time() {
        let folder = tempfile::tempdir().expect("temp folder");
        let key = fleet(folder.path(), 1);
        let unsigned = error(folder.path(), CONFIG.as_bytes());
        assert!(unsigned.starts_with("cannot use ") && unsigned.contains("config.yaml"), "{unsigned}");
        let foreign = machine_config::sign(CONFIG.as_bytes(), &SigningKey::from_bytes(&[2; 32])).expect("signed");
        assert!(error(folder.path(), &foreign).contains("config.yaml"));
        let server = machine_config::sign(format!("{CONFIG}k3s: {{role: server}}\n").as_bytes(), &key).expect("signed");
        let refused = error(folder.path(), &server);
        assert!(refused.contains("makes the device a k3s server") && refused.contains("agent only"), "{refused}");
        let other_fleet = machine_config::sign(CONFIG.replace("acme", "other").as_bytes(), &key).expect("signed");
        assert!(error(folder.path(), &other_fleet).contains("other"));
    }

    #[test]
    fn a_folder_without_a_fleet_says_what_makes_one() {
        let folder = tempfile::tempdir().expect("temp folder");
        let error = super::super::one_line(&read_seed(&board(), folder.path(), None, &Ui::new(false)).expect_err("refused"));
        assert!(error.contains("skerryctl fleet init") && error.contains("fleet.pub"), "{error}");
    }
}
