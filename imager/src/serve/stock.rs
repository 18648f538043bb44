//! What can be given: for each machine of the inventory its board's image, its stamp, and where its records go. Manifest and token of a machine are on
//! the disk before the first byte of its image leaves, so that no machine runs of which nothing is known.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use machine_config::FleetTrust;
use machine_config::seed::{self, EncodeError, Seed};
use machine_config::types::{HostName, MacAddress};

use super::image::Patched;
use super::program::{self, ProgramError};
use crate::board::Architecture;
use crate::stamp::base::BaseError;
use crate::stamp::inventory::Row;
use crate::stamp::plan::Stamp;
use crate::stamp::press::Press;
use crate::stamp::write::{Existing, Records, WriteError};

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    /// Two images for one board.
    #[error("cannot serve two images for the board {0}: name one")]
    BoardTwice(String),
    /// An image is no program of firmware's.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A place for records is missing.
    #[error(transparent)]
    Records(#[from] WriteError),
    /// A SEED for machines without a name cannot be made.
    #[error("cannot make a SEED for machines that the inventory does not list")]
    Blank(#[from] EncodeError),
}

/// Why a machine's image is not given.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The base cannot be read, or was changed.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// Its manifest or token cannot be written.
    #[error(transparent)]
    Records(#[from] WriteError),
}

/// One board's image, and the stamps of the rows that are for it.
#[derive(Debug)]
pub struct Batch {
    /// The image.
    pub press: Press,
    /// The stamps.
    pub stamps: Vec<Stamp>,
    /// Whom the devices obey.
    pub fleet: FleetTrust,
}

/// A machine of the inventory.
#[derive(Debug)]
pub struct Machine {
    /// What it is called.
    pub name: HostName,
    /// What its image runs on.
    pub architecture: Architecture,
    /// The kernel's command line in its image.
    pub command_line: Arc<str>,
    press: Arc<Press>,
    stamp: Stamp,
    records: Records,
    recorded: Mutex<bool>,
}

/// Everything that can be given.
#[derive(Debug)]
pub struct Stock {
    machines: BTreeMap<MacAddress, Machine>,
    left_out: BTreeMap<MacAddress, String>,
    blanks: BTreeMap<Architecture, Blank>,
}

/// What machines without a name get.
#[derive(Debug, Clone)]
pub struct Blank {
    /// The image.
    pub image: Patched,
    /// The kernel's command line in it.
    pub command_line: Arc<str>,
}

impl Machine {
    /// Its image, once its records are written.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self) -> Result<Patched, OpenError> {
        let imprint = self.press.imprint(&self.stamp)?;
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if !*recorded {
            self.records.check_same(&self.stamp, self.press.entry())?;
            self.records.write(&self.stamp, &imprint.manifest)?;
            *recorded = true;
        }
        Ok(Patched::new(self.press.clone(), imprint.seed))
    }
}

impl Stock {
    /// The machines of these batches, with their records to be written into `folder`. `rows` is the whole inventory: rows of other boards are known
    /// by their reason.
    ///
    /// # Errors
    /// See [`StockError`].
    pub fn new(batches: Vec<Batch>, rows: &[Row], folder: &Path) -> Result<Self, StockError> {
        let mut stock = Self { machines: BTreeMap::new(), left_out: BTreeMap::new(), blanks: BTreeMap::new() };
        let mut boards = Vec::new();
        for Batch { press, stamps, fleet } in batches {
            let release = press.base().release.clone();
            if boards.contains(&release.board) {
                return Err(StockError::BoardTwice(release.board));
            }
            boards.push(release.board);
            let command_line: Arc<str> = program::command_line(&press.base().opened)?.into();
            let press = Arc::new(press);
            let image = Patched::new(press.clone(), blank_seed(fleet)?);
            stock.blanks.entry(release.architecture).or_insert(Blank { image, command_line: command_line.clone() });
            for stamp in stamps {
                stock.add(&press, &command_line, stamp, folder)?;
            }
        }
        let boardless = rows.iter().filter(|row| !boards.contains(&row.board));
        stock.left_out = boardless.filter_map(|row| Some((row.mac.clone()?, row.board.clone()))).collect();
        Ok(stock)
    }

    /// A row without a MAC address cannot be told from a stranger; it is left to `imager stamp`.
    fn add(&mut self, press: &Arc<Press>, command_line: &Arc<str>, stamp: Stamp, folder: &Path) -> Result<(), StockError> {
        let device = &stamp.facts.device;
        let (Some(mac), name) = (device.mac.clone(), device.name.clone()) else { return Ok(()) };
        let records = Records::prepare(&stamp, folder, Existing::Replace)?;
        records.check_same(&stamp, press.entry())?;
        let architecture = press.base().release.architecture;
        let (press, command_line) = (press.clone(), command_line.clone());
        let machine = Machine { name, architecture, command_line, press, stamp, records, recorded: Mutex::new(false) };
        self.machines.insert(mac, machine);
        Ok(())
    }

    /// The machine with this address.
    pub fn machine(&self, mac: &MacAddress) -> Option<&Machine> {
        self.machines.get(mac)
    }

    /// All machines.
    pub fn machines(&self) -> &BTreeMap<MacAddress, Machine> {
        &self.machines
    }

    /// The board of a machine that is listed, but whose board's image is not served.
    pub fn left_out(&self, mac: &MacAddress) -> Option<&str> {
        self.left_out.get(mac).map(String::as_str)
    }

    /// What machines without a name get.
    pub fn blank(&self, architecture: Architecture) -> Option<&Blank> {
        self.blanks.get(&architecture)
    }

    /// The architectures there is an image for.
    pub fn architectures(&self) -> Vec<Architecture> {
        self.blanks.keys().copied().collect()
    }
}

/// The fleet and nothing else: no name, no hub, no token.
fn blank_seed(fleet: FleetTrust) -> Result<Vec<u8>, EncodeError> {
    seed::encode(&Seed { fleet, hub: None, join_token: None, device_name: None, config: None, identity: None })
}
