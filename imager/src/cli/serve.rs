//! `imager serve`: gathers images, inventory, interface and iPXE as the options name them, hands them to [`crate::serve`], shows what happens.

mod show;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use hyper::body::Bytes;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Common, DeviceArgs};
use super::devices;
use super::folder;
use super::ui::Ui;
use crate::board::Architecture;
use crate::components::assemble::test_files;
use crate::components::{Wishes, assemble};
use crate::image::pe;
use crate::progress::{Event, Progress};
use crate::serve::interface::{self, Wish};
use crate::serve::ledger::Ledger;
use crate::serve::minted::Mint;
use crate::serve::plan::{Settings, Unknown};
use crate::serve::server::{self, Sockets};
use crate::serve::stock::{Batch, Stock};
use crate::serve::warehouse::Warehouse;
use crate::stamp::inventory::Row;
use crate::stamp::plan::{Facts, PlanError, Stamp, plan};
use show::Show;

/// The component that holds iPXE.
const IPXE: &str = "ipxe";

/// How long what is being written when the server ends may take: nobody waits for a disk that hangs.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What that means.
const WITHOUT_IPXE: &str =
    "firmware without HTTP boot loads the whole image over TFTP, which is slower; name a folder that has it with --ipxe";

/// Options of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The images that run from RAM (`--format uki`), one for each board of the inventory; they are not changed.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    devices: DeviceArgs,
    /// Folder for NAME.manifest.json and NAME.token of each machine that is served, and for what is remembered over a restart; made if it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The interface of the bench network; nothing is served on any other.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// This host's address there.
    #[arg(long, value_name = "IP")]
    address: Option<Ipv4Addr>,
    /// The port of HTTP.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,
    /// Folder with ipxe-amd64.efi and ipxe-arm64.efi [default: the locked component].
    #[arg(long, value_name = "DIR")]
    ipxe: Option<PathBuf>,
    /// Hand out no iPXE: firmware without HTTP boot loads images over TFTP by itself.
    #[arg(long, conflicts_with = "ipxe")]
    no_ipxe: bool,
    /// What machines get that the inventory does not list.
    #[arg(long, value_enum, default_value_t = UnknownArg::Refuse)]
    unknown: UnknownArg,
    /// Leave a machine to its own disk after N complete loads.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    once: Option<u32>,
}

/// What machines get that the inventory does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnknownArg {
    /// Nothing.
    Refuse,
    /// The image without a name; they wait for a configuration of the fleet.
    Maintenance,
}

/// Serves until it is ended by a signal.
pub(super) fn run(common: &Common, args: &ServeArgs, ui: &Ui) -> Result<()> {
    folder::check(&args.out)?;
    let wish = Wish { name: args.interface.clone(), address: args.address };
    let interface = interface::choose(&interface::list()?, &wish)?;
    folder::make(&args.out, ui)?;
    let ledger = Ledger::open(&args.out)?;
    let stock = stock(args, ui)?;
    let ipxe = ipxe(common, args, &stock.architectures(), ui)?;
    let show = Arc::new(Show::new(common.json));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the servers")?;
    let warehouse = runtime.block_on(async {
        let sockets = Sockets::open(&interface, args.http_port)?;
        let http_port = sockets.http_port().context("cannot open HTTP")?;
        let settings = args.settings(interface.address, http_port, ipxe.keys().copied().collect(), stock.architectures());
        let warehouse = Arc::new(Warehouse::new(interface, settings, stock, ipxe, ledger, show.clone()));
        server::run(sockets, warehouse.clone(), ended()?).await?;
        Ok::<_, anyhow::Error>(warehouse)
    })?;
    runtime.shutdown_timeout(LAST_WRITES); // machines that are loading ask again
    show.finish(&warehouse, ui);
    Ok(())
}

impl ServeArgs {
    fn settings(&self, address: Ipv4Addr, http_port: u16, ipxe: Vec<Architecture>, images: Vec<Architecture>) -> Settings {
        let unknown = match self.unknown {
            UnknownArg::Refuse => Unknown::Refuse,
            UnknownArg::Maintenance => Unknown::Maintenance,
        };
        Settings { address, http_port, ipxe, images, unknown, once: self.once }
    }
}

/// The images, and the machines of the inventory that they are for.
fn stock(args: &ServeArgs, ui: &Ui) -> Result<Stock> {
    let rows = devices::read_rows(&args.devices)?;
    let mint = Mint::open(&args.out)?;
    let batches = args.images.iter().map(|image| batch(image, args, &rows, &mint, ui)).collect::<Result<Vec<_>>>()?;
    let stock = Stock::new(batches, &rows, &args.out)?;
    warn_of_rows(&stock, &rows, ui);
    Ok(stock)
}

/// Completes at the first signal to end.
fn ended() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// One image with the stamps of the rows that are for its board.
fn batch(image: &Path, args: &ServeArgs, rows: &[Row], mint: &Mint, ui: &Ui) -> Result<Batch> {
    let stamps = |facts: &Facts<'_>| stamps(rows, facts, mint);
    let loaded = devices::load_as(image, &args.devices, rows, ui, stamps)?;
    let devices::Devices { press, stamps, fleet } = loaded;
    Ok(Batch { press, stamps, fleet })
}

/// Planned together, because they must be right together; then each with what is minted for it alone.
fn stamps(rows: &[Row], facts: &Facts<'_>, mint: &Mint) -> Result<Vec<Stamp>, PlanError> {
    let rows: Vec<Row> = rows.iter().filter(|row| row.board == facts.board).cloned().collect();
    plan(&rows, facts, |_, into| getrandom::fill(into))?;
    let each = rows.iter().map(|row| plan(std::slice::from_ref(row), facts, mint.source(row.name.as_str())));
    Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Rows that this server can do nothing for.
fn warn_of_rows(stock: &Stock, rows: &[Row], ui: &Ui) {
    let warn = |message: String| ui.event(Event::Warn { message: &message });
    let without = rows.iter().filter(|row| row.mac.is_none()).count();
    if without > 0 {
        warn(format!("{without} rows of the inventory have no MAC address; their machines are not known here"));
    }
    let others = rows.iter().filter(|row| row.mac.as_ref().is_some_and(|mac| stock.left_out(mac).is_some())).count();
    if others > 0 {
        warn(format!("{others} rows of the inventory are for boards of which no image is served"));
    }
}

/// iPXE for each architecture there is an image for; without it firmware loads over TFTP alone.
fn ipxe(common: &Common, args: &ServeArgs, architectures: &[Architecture], ui: &Ui) -> Result<BTreeMap<Architecture, Bytes>> {
    let mut found = BTreeMap::new();
    for architecture in architectures.iter().filter(|_| !args.no_ipxe) {
        let path = match &args.ipxe {
            Some(folder) => folder.join(format!("ipxe-{}.efi", architecture.debian())),
            None => match locked(common, *architecture, ui) {
                Ok(path) => path,
                Err(error) => {
                    let why = super::one_line(&error);
                    let message = format!("there is no iPXE for {architecture} ({why}): {WITHOUT_IPXE}");
                    ui.event(Event::Warn { message: &message });
                    continue;
                }
            },
        };
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        pe::check_architecture(&path.display().to_string(), &bytes, *architecture)?;
        found.insert(*architecture, bytes.into());
    }
    Ok(found)
}

/// The locked component's file in the cache.
fn locked(common: &Common, architecture: Architecture, ui: &Ui) -> Result<PathBuf> {
    let options: assemble::AssembleOptions = common.assemble_options(Wishes::default())?;
    let files = test_files(IPXE, architecture, &options, ui)?;
    files.values().find_map(|file| file.path().map(Path::to_owned)).context("the component has no file")
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use clap::Parser as _;

    use std::os::unix::fs::PermissionsExt;

    use super::super::args::{Cli, Command};
    use super::*;
    use crate::serve::testing::Bench;
    use crate::stamp::station;

    fn parsed(more: &[&str]) -> Result<ServeArgs> {
        let fixed = ["imager", "serve", "--inventory", "d.csv", "--out", "o"];
        let cli = Cli::try_parse_from(fixed.iter().chain(more))?;
        let Command::Serve(args) = cli.command else { bail!("another command") };
        Ok(args)
    }

    #[test]
    fn once_takes_no_image_for_its_number() {
        for (words, images, once) in
            [(&["a.efi"][..], 1, None), (&["--once", "a.efi", "b.efi"], 2, Some(1)), (&["--once=3", "a.efi"], 1, Some(3))]
        {
            let args = parsed(words).expect("good");
            assert_eq!((args.images.len(), args.once), (images, once), "{words:?}");
        }
        for wrong in [&["--once=0", "a.efi"][..], &["--once"], &["--no-ipxe", "--ipxe", "d", "a.efi"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn one_key_for_machines_of_two_boards_is_refused() {
        let bench = Bench::new();
        let path = |name: &str| bench.folder.path().join(name);
        for name in ["k.key", "copy.key"] {
            std::fs::write(path(name), [7; 32]).expect("written");
            std::fs::set_permissions(path(name), PermissionsExt::from_mode(0o600)).expect("set");
        }
        station::make(&path("station")).expect("made");
        let serve = |rows: &str| {
            std::fs::write(path("d.csv"), format!("name,mac,board,identity\n{rows}")).expect("written");
            let mut args = parsed(&[&path("image.efi").display().to_string()]).expect("good");
            args.out = bench.folder.path().to_owned();
            args.devices.inventory = path("d.csv");
            args.devices.station_key = Some(path("station"));
            stock(&args, &Ui::new(false)).map(|stock| stock.machines().len()).map_err(|error| format!("{error:#}"))
        };
        for other in ["other,k.key", "other,copy.key", "test,copy.key"] {
            let rows = format!("store-1,52:54:00:00:00:01,test,k.key\nstore-2,52:54:00:00:00:02,{other}\n");
            let error = serve(&rows).expect_err(other);
            assert!(error.contains("store-2 (line 3): the device at line 2 has the same key"), "{error}");
        }
        assert_eq!(serve("store-1,52:54:00:00:00:01,test,k.key\n"), Ok(1));
        let error = serve("store-2,52:54:00:00:00:02,test,k.key\n").expect_err("another inventory");
        assert!(error.contains("says that acme/store-1 has it"), "{error}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_before_anything_is_read() {
        let args = parsed(&["a.efi"]).expect("good");
        let cli = Cli::try_parse_from(["imager", "boards"]).expect("good");
        let error = run(&cli.common, &ServeArgs { out: "/nowhere/at/all".into(), ..args }, &Ui::new(false)).expect_err("refused");
        assert!(error.to_string().contains("cannot make /nowhere/at/all"), "{error:#}");
    }
}
