//! A bench of one machine, for tests: a small image, an inventory, a warehouse on the loopback interface.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine_config::seed::{self, Seed};
use machine_config::types::MacAddress;

use super::event::testing::Kept;
use super::interface::Interface;
use super::ledger::Ledger;
use super::minted::Mint;
use super::neighbour::Neighbours;
use super::plan::{Settings, Unknown};
use super::stock::{Batch, Stock, StockError};
use super::warehouse::Warehouse;
use crate::board::{Architecture, Format};
use crate::build::tests::build_sample;
use crate::format::source::Source;
use crate::format::target::Target;
use crate::inspect::{self, Depth};
use crate::stamp::base::Base;
use crate::stamp::inventory;
use crate::stamp::plan::{Facts, plan};
use crate::stamp::press::Press;
use crate::stamp::testing::{fleet, key};

/// The machine's address, as names have it.
pub(crate) const MAC: &str = "52-54-00-00-00-01";
/// A machine of no inventory, on the bench's network.
pub(crate) const ROGUE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Stands in for iPXE.
pub(crate) const IPXE: &[u8] = b"a loader";

const ROWS: &str = "name,mac,board,hub,hub_pin,join_token\n\
    store-1,52:54:00:00:00:01,test,https://hub,abababababababababababababababababababababababababababababababab,auto\n\
    store-2,52:54:00:00:00:02,other,,,\n\
    store-3,,test,,,\n";

/// The bench.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) events: Arc<Kept>,
}

impl Bench {
    /// With an image of a fleet, not yet open.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let seed = Seed { fleet: fleet(1), hub: None, join_token: None, device_name: None, config: None, identity: None };
        let bench = Self { folder, events: Arc::default() };
        build_sample(bench.folder.path(), Some(seed::encode(&seed).expect("fits")));
        let inspection = inspect::inspect(&bench.disk(), Depth::Overview).expect("inspected");
        let source = Source::open(&bench.disk(), &inspection).expect("opened");
        Target::all(&[Format::Uki], &bench.image()).expect("a place")[0].write(&source).expect("written");
        bench
    }

    /// Where the image is.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.path().join("image.efi")
    }

    /// Where the disk image is that it was made from.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// The machine.
    pub(crate) fn mac() -> MacAddress {
        MAC.replace('-', ":").parse().expect("a MAC address")
    }

    /// Opens for business, with records in the folder.
    pub(crate) fn open(&self, once: Option<u32>) -> Arc<Warehouse> {
        self.open_for(once, Unknown::Refuse)
    }

    /// The same, with something to do for machines in no inventory.
    pub(crate) fn open_for(&self, once: Option<u32>, unknown: Unknown) -> Arc<Warehouse> {
        let stock = self.stock().expect("stocked");
        let settings = Settings {
            address: Ipv4Addr::LOCALHOST,
            http_port: 8080,
            ipxe: vec![Architecture::X86_64],
            images: stock.architectures(),
            unknown,
            once,
        };
        let interface = Interface { name: "lo".into(), address: Ipv4Addr::LOCALHOST, mtu: 1500 };
        let ipxe = BTreeMap::from([(Architecture::X86_64, IPXE.into())]);
        let warehouse = Warehouse::new(interface, settings, stock, ipxe, ledger(self.folder.path()), self.events.clone());
        Arc::new(warehouse.knowing(Box::new(OnLoopback)))
    }

    /// What there is to give, with records in the folder.
    pub(crate) fn stock(&self) -> Result<Stock, StockError> {
        let out = self.folder.path();
        let base = Base::open(&self.image()).expect("opened");
        let rows = inventory::parse(ROWS.as_bytes()).expect("good rows");
        let of_board: Vec<_> = rows.iter().filter(|row| row.board == base.release.board).cloned().collect();
        let facts = Facts {
            board: &base.release.board,
            k3s_roles: &base.release.k3s_roles,
            fleet: &fleet(1),
            configs: &BTreeMap::new(),
            common_config: None,
            identities: &BTreeMap::new(),
        };
        let mint = Mint::open(out).expect("a secret");
        let stamps = plan(&of_board, &facts, mint.source("store-1")).expect("planned");
        let batch = Batch { press: Press::new(base, key(9)).expect("hashed"), stamps, fleet: fleet(1) };
        Stock::new(vec![batch], &rows, out)
    }
}

/// The loopback interface has no neighbours; who asks from its address is the bench's machine, who asks from the next one another.
struct OnLoopback;

impl Neighbours for OnLoopback {
    fn find(&self, _interface: &str, peer: Ipv4Addr) -> io::Result<Option<MacAddress>> {
        let known = [(Ipv4Addr::LOCALHOST, Bench::mac()), (ROGUE, "52:54:00:00:00:66".parse().expect("a MAC address"))];
        Ok(known.into_iter().find_map(|(address, mac)| (address == peer).then_some(mac)))
    }
}

fn ledger(folder: &Path) -> Ledger {
    Ledger::open(folder).expect("opened")
}

/// Runs a future to its end, as the servers run.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(future)
}
