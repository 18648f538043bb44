//! The devices that a command stamps: inventory, configurations, keys, fleet and station's key, read from the files that the options name and
//! planned on a base. Writes nothing but whose a key is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use machine_config::seed::Seed;
use machine_config::{DeviceId, FleetTrust, MachineConfig, SigningKey, Verified};

use super::args::DeviceArgs;
use super::fleet;
use crate::draft::folder_of;
use crate::progress::{Event, Progress, step};
use crate::stamp::base::Base;
use crate::stamp::claim::claim;
use crate::stamp::inventory::{self, ConfigChoice, Row};
use crate::stamp::plan::{Facts, PlanError, Stamp, check_identities, plan};
use crate::stamp::press::Press;
use crate::stamp::{identity, roles, station};

/// A press with its base, the stamps of an inventory, in its order, and the fleet they are for.
pub(super) struct Devices {
    pub(super) press: Press,
    pub(super) stamps: Vec<Stamp>,
    pub(super) fleet: FleetTrust,
}

/// What the options name, read and judged, for the rows of the inventory: [`read_inventory`]. The base is looked at last: it takes longest.
pub(super) fn load(path: &Path, args: &DeviceArgs, rows: &[Row], progress: &dyn Progress) -> Result<Devices> {
    load_as(path, args, rows, progress, |facts| plan(rows, facts, |_, into| getrandom::fill(into)))
}

/// The same, with the stamps that `stamps` plans.
pub(super) fn load_as(
    path: &Path,
    args: &DeviceArgs,
    rows: &[Row],
    progress: &dyn Progress,
    stamps: impl FnOnce(&Facts<'_>) -> Result<Vec<Stamp>, PlanError>,
) -> Result<Devices> {
    let station = load_station(args)?;
    let folder = folder_of(&args.inventory);
    let identities = read_identities(rows, folder)?;
    check_identities(rows, &identities)?;
    let base = step(progress, "check the base", || Base::open(path))?;
    let fleet = choose_fleet(args, &base, path, progress)?;
    let common = args.config.as_deref().map(|path| Ok::<_, anyhow::Error>((path, fleet::judged(path, &fleet)?))).transpose()?;
    let facts = Facts {
        board: &base.release.board,
        k3s_roles: &base.release.k3s_roles,
        fleet: &fleet,
        configs: &read_configs(rows, folder, &fleet)?,
        common_config: common.as_ref().map(|(path, config)| (*path, config)),
        identities: &identities,
    };
    let stamps = stamps(&facts)?;
    warn_of_scarce_memory(rows, &facts, base.release.memory_mib, progress);
    let mut planned = rows.iter().filter(|row| row.board == base.release.board);
    planned.try_for_each(|row| claim_identity(row, folder, &facts))?;
    let press = step(progress, "hash the base", || Press::new(base, station))?;
    Ok(Devices { press, stamps, fleet })
}

/// Says once of each configuration that makes servers of machines which may be too small. Bases from before boards told their memory say nothing of it.
fn warn_of_scarce_memory(rows: &[Row], facts: &Facts<'_>, memory_mib: Option<u64>, progress: &dyn Progress) {
    let Some(memory_mib) = memory_mib else { return };
    let named = rows.iter().filter(|row| row.board == facts.board).filter_map(|row| match &row.config {
        ConfigChoice::Unsaid => facts.common_config,
        ConfigChoice::None => None,
        ConfigChoice::Given(path) => facts.configs.get(path).map(|config| (path.as_path(), config)),
    });
    for (path, config) in named.collect::<BTreeMap<_, _>>() {
        if let Some(why) = roles::scarce(config.content(), facts.board, memory_mib) {
            progress.event(Event::Warn { message: &format!("{}: {why}", path.display()) });
        }
    }
}

/// The rows of the inventory that the options name, their hubs behind the proxy that the options name.
pub(super) fn read_rows(args: &DeviceArgs) -> Result<Vec<Row>> {
    let mut rows = read_inventory(&args.inventory)?;
    if let Some(proxy) = &args.hub_proxy {
        inventory::behind_proxy(&mut rows, proxy)?;
    }
    Ok(rows)
}

/// The rows of an inventory.
pub(super) fn read_inventory(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    inventory::parse(&text).with_context(|| format!("cannot use {}", path.display()))
}

fn load_station(args: &DeviceArgs) -> Result<SigningKey> {
    match &args.station_key {
        Some(path) => Ok(station::load(path)?),
        None => bail!(
            "cannot sign manifests: no station key is named; make one with `imager station-key FILE`, name it with --station-key or SKERRY_STATION_KEY"
        ),
    }
}

/// The fleet that the devices obey, and a warning of what the base's SEED holds that no stamp takes over.
fn choose_fleet(args: &DeviceArgs, base: &Base, path: &Path, progress: &dyn Progress) -> Result<FleetTrust> {
    let left: Vec<&str> = base.seed.iter().flat_map(left_out).collect();
    if !left.is_empty() {
        let message =
            format!("the base's own {} goes into no stamped image; what a device gets stands in its row", left.join(" and "));
        progress.event(Event::Warn { message: &message });
    }
    match (&args.fleet, &base.seed) {
        (Some(folder), _) => fleet::read(folder),
        (None, Some(seed)) => Ok(seed.fleet.clone()),
        (None, None) => {
            bail!(
                "cannot stamp {}: it belongs to no fleet; name one with --fleet, or build the base with --fleet",
                path.display()
            )
        }
    }
}

fn left_out(seed: &Seed) -> Vec<&'static str> {
    let parts = [
        ("hub", seed.hub.is_some()),
        ("join token", seed.join_token.is_some()),
        ("configuration", seed.config.is_some()),
        ("device key", seed.identity.is_some()),
    ];
    parts.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// Each configuration that rows name, read once; paths are relative to the inventory's folder.
fn read_configs(rows: &[Row], folder: &Path, fleet: &FleetTrust) -> Result<BTreeMap<PathBuf, Verified<MachineConfig>>> {
    read_each(rows, folder, |row| given_config(&row.config), |path| fleet::judged(path, fleet))
}

/// The row's key is this device's from now on, if it names one.
fn claim_identity(row: &Row, folder: &Path, facts: &Facts<'_>) -> Result<()> {
    let Some((path, key)) = row.identity.file().and_then(|path| Some((path, facts.identities.get(path)?))) else { return Ok(()) };
    let owner = format!("{}/{}", facts.fleet.name, row.name);
    let claimed = claim(&folder.join(path), &DeviceId::of(&key.verifying_key()), &owner);
    claimed.with_context(|| cannot_stamp(row))
}

fn cannot_stamp(row: &Row) -> String {
    format!("cannot stamp {} (line {})", row.name, row.line)
}

/// Each device key that rows name; paths are relative to the inventory's folder.
fn read_identities(rows: &[Row], folder: &Path) -> Result<BTreeMap<PathBuf, SigningKey>> {
    read_each(rows, folder, |row| row.identity.file(), |path| Ok(identity::load(path)?))
}

fn given_config(choice: &ConfigChoice) -> Option<&PathBuf> {
    match choice {
        ConfigChoice::Given(path) => Some(path),
        ConfigChoice::Unsaid | ConfigChoice::None => None,
    }
}

/// What `read` makes of each file that rows name, once for each file.
fn read_each<T>(
    rows: &[Row],
    folder: &Path,
    named: impl Fn(&Row) -> Option<&PathBuf>,
    read: impl Fn(&Path) -> Result<T>,
) -> Result<BTreeMap<PathBuf, T>> {
    let mut all = BTreeMap::new();
    for row in rows {
        let Some(path) = named(row).filter(|path| !all.contains_key(*path)) else { continue };
        let one = read(&folder.join(path)).with_context(|| cannot_stamp(row))?;
        all.insert(path.clone(), one);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use machine_config::judge_for_fleet;

    use super::*;
    use crate::progress::testing::Warnings;
    use crate::stamp::testing::{self, config_with};

    #[test]
    fn each_configuration_that_makes_servers_of_machines_which_may_be_too_small_is_warned_of_once() {
        let fleet = testing::fleet(1);
        let server =
            |name| judge_for_fleet(&config_with(name, "any: true", "k3s: {role: server}\n"), &fleet.trust()).expect("good");
        let (configs, common) = (BTreeMap::from([(PathBuf::from("own.yaml"), server("own"))]), server("common"));
        let (common_config, identities) = (Some((Path::new("common.yaml"), &common)), BTreeMap::new());
        let facts =
            Facts { board: "nuc", k3s_roles: &[], fleet: &fleet, configs: &configs, common_config, identities: &identities };
        let own = inventory::parse(b"name,board,config\na,nuc,own.yaml\nb,nuc,own.yaml\nc,nuc,none\n").expect("good rows");
        let all = inventory::parse(b"name,board,config\na,nuc,own.yaml\nb,nuc,\nc,another,\n").expect("good rows");
        for (rows, memory_mib, expected) in [
            (&own, Some(1024), vec!["own.yaml"]),
            (&all, Some(1024), vec!["common.yaml", "own.yaml"]),
            (&all, Some(2048), vec![]),
            (&all, None, vec![]),
        ] {
            let warnings = Warnings::default();
            warn_of_scarce_memory(rows, &facts, memory_mib, &warnings);
            let warned = warnings.all();
            assert_eq!(warned.len(), expected.len(), "{warned:?}");
            assert!(warned.iter().zip(expected).all(|(text, file)| text.starts_with(file)), "{warned:?}");
        }
    }
}
