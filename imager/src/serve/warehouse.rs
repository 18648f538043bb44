//! What there is to give and to whom, shared by the three servers: answers firmware, opens files, counts loads. Decides through `plan::plan`
//! and tells everything it does to the watcher.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use jiff::Timestamp;
use machine_config::types::MacAddress;

use super::aside::aside;
use super::client::Client;
use super::event::{Event, Watcher};
use super::image::Patched;
use super::interface::Interface;
use super::ledger::{Ledger, LedgerError};
use super::names::{Served, Which};
use super::neighbour::{self, Neighbours};
use super::plan::{Boot, Known, Pass, Settings, Unknown, plan};
use super::stock::{Blank, Machine, Stock};
use crate::board::Architecture;

/// The same about the same machine or address is told again after this time: firmware asks several times a second.
const QUIET: Duration = Duration::from_secs(10);
/// What to remember for that; beyond it, strangers would fill the memory.
const MOST_REMEMBERED: usize = 4096;
/// A load in progress is told this often.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Why a file is not given.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It is not there.
    #[error("there is no such file")]
    NotFound,
    /// The image of another machine.
    #[error("it is another machine's: this one is {0}")]
    Foreign(MacAddress),
    /// Nobody knows what machine that is.
    #[error("what machine asks is not known: it is not on the network that is served")]
    Stranger,
    /// The machine has had it.
    #[error("the machine has loaded it {0} times (--once)")]
    Served(u32),
    /// It cannot be read, or what belongs to it cannot be written.
    #[error("it cannot be given: {0}")]
    Failed(String),
}

/// A file to be sent.
#[derive(Debug)]
pub enum Content {
    /// Bytes that are the same for all.
    Bytes(Bytes),
    /// An image.
    Image(Patched, Delivery),
}

/// Everything the servers share.
pub struct Warehouse {
    /// Where it serves.
    pub interface: Interface,
    settings: Settings,
    stock: Stock,
    ipxe: BTreeMap<Architecture, Bytes>,
    book: Mutex<Book>,
    /// Held while the ledger's file is written, and never together with the book by whoever may not wait.
    writing: Mutex<()>,
    watcher: Arc<dyn Watcher>,
    neighbours: Box<dyn Neighbours>,
}

/// What changes.
struct Book {
    ledger: Ledger,
    /// How far each machine has come since it began at the start of its image, without a gap.
    reach: HashMap<MacAddress, u64>,
    told: HashMap<String, Instant>,
}

impl Warehouse {
    /// Opens for business.
    pub fn new(
        interface: Interface,
        settings: Settings,
        stock: Stock,
        ipxe: BTreeMap<Architecture, Bytes>,
        ledger: Ledger,
        watcher: Arc<dyn Watcher>,
    ) -> Self {
        let book = Mutex::new(Book { ledger, reach: HashMap::new(), told: HashMap::new() });
        let neighbours = Box::new(neighbour::Kernel);
        Self { interface, settings, stock, ipxe, book, writing: Mutex::default(), watcher, neighbours }
    }

    /// The same, with somebody else to say which machine has an address: a test has no network with machines.
    #[cfg(test)]
    pub(super) fn knowing(self, neighbours: Box<dyn Neighbours>) -> Self {
        Self { neighbours, ..self }
    }

    /// Tells what happened.
    pub fn tell(&self, event: Event) {
        self.watcher.event(&event);
    }

    /// Tells it unless it was told a moment ago.
    fn tell_once(&self, event: Event) {
        if self.book().is_news(&event) {
            self.tell(event);
        }
    }

    /// What does not change.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The machines.
    pub fn stock(&self) -> &Stock {
        &self.stock
    }

    /// How often a machine loaded its image completely.
    pub fn loads(&self, mac: &MacAddress) -> u32 {
        self.book().ledger.loads(mac)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, mac: &MacAddress) -> Option<Known> {
        let machine = self.stock.machine(mac)?;
        Some(Known { architecture: machine.architecture, loads: self.loads(mac) })
    }

    /// What a machine's firmware is told to boot; none: it is not answered.
    pub fn answer(&self, client: &Client) -> Option<Boot> {
        let planned = plan(client, self.known(&client.mac), &self.settings);
        let mac = client.mac.to_string();
        let event = match &planned {
            Ok(boot) => Event::Offered {
                name: self.stock.machine(&client.mac).map(|machine| machine.name.to_string()),
                loader: client.loader.to_string(),
                file: boot.file().to_owned(),
                mac,
            },
            Err(pass) => Event::Passed { reason: self.reason(&client.mac, *pass), mac },
        };
        self.tell_once(event);
        planned.ok()
    }

    /// An unserved row's reason is better than "unknown".
    fn reason(&self, mac: &MacAddress, pass: Pass) -> String {
        match (pass, self.stock.left_out(mac)) {
            (Pass::Unknown, Some(board)) => format!("its row says the board {board}, and no image for that is served"),
            (pass, _) => pass.to_string(),
        }
    }

    /// A file for whoever is at `peer`.
    ///
    /// # Errors
    /// See [`Denied`]; it is told to the watcher.
    pub fn open(self: &Arc<Self>, file: &Served, peer: Ipv4Addr) -> Result<Content, Denied> {
        let opened = self.find(file, peer);
        if let Err(denied) = &opened {
            self.tell_once(Event::Denied { peer, file: file.to_string(), reason: denied.to_string() });
        }
        opened
    }

    fn find(self: &Arc<Self>, file: &Served, peer: Ipv4Addr) -> Result<Content, Denied> {
        match file {
            Served::Ipxe(architecture) => self.ipxe.get(architecture).cloned().map(Content::Bytes).ok_or(Denied::NotFound),
            Served::Script(which) => Ok(Content::Bytes(self.script(which, peer)?.into())),
            Served::Image(Which::Blank(architecture)) => {
                let image = self.blank(*architecture)?.image.clone();
                let name = format!("a machine without a name at {peer}");
                Ok(Content::Image(image, Delivery::of(self, None, name)))
            }
            Served::Image(Which::Machine(mac)) => {
                self.check_peer(mac, peer)?;
                let machine = self.stock.machine(mac).ok_or(Denied::NotFound)?;
                if let Some(loads) = self.settings.once.filter(|once| self.loads(mac) >= *once) {
                    return Err(Denied::Served(loads));
                }
                let image = machine.open().map_err(|error| Denied::Failed(one_line(&error)))?;
                Ok(Content::Image(image, Delivery::of(self, Some(mac.clone()), machine.name.to_string())))
            }
        }
    }

    /// What machines in no inventory get, if they get anything.
    fn blank(&self, architecture: Architecture) -> Result<&Blank, Denied> {
        let wanted = match self.settings.unknown {
            Unknown::Refuse => None,
            Unknown::Maintenance => self.stock.blank(architecture),
        };
        wanted.ok_or(Denied::NotFound)
    }

    fn script(&self, which: &Which, peer: Ipv4Addr) -> Result<String, Denied> {
        match which {
            Which::Blank(architecture) => {
                let blank = self.blank(*architecture)?;
                Ok(self.settings.script(which, "this machine", &blank.command_line, None))
            }
            Which::Machine(mac) => {
                self.check_peer(mac, peer)?;
                let Machine { name, command_line, .. } = self.stock.machine(mac).ok_or(Denied::NotFound)?;
                Ok(self.settings.script(which, name.as_str(), command_line, self.known(mac)))
            }
        }
    }

    /// A machine's image holds its secrets, its script its name: nobody else's address gets them, and no program on this host that asks.
    fn check_peer(&self, mac: &MacAddress, peer: Ipv4Addr) -> Result<(), Denied> {
        let found = self.neighbours.find(&self.interface.name, peer).map_err(|error| Denied::Failed(error.to_string()))?;
        match found {
            Some(found) if found == *mac => Ok(()),
            Some(found) => Err(Denied::Foreign(found)),
            None => Err(Denied::Stranger),
        }
    }

    /// Notes a complete load; when it is told it is on the disk.
    async fn note(self: &Arc<Self>, mac: &MacAddress, name: &str) {
        let loads = self.book().ledger.note(mac, name, Timestamp::now());
        let own = self.clone();
        if let Err(error) = aside(move || own.write_ledger()).await {
            let message = format!("{}; after a restart it will not be known that {name} was served", one_line(&error));
            self.tell(Event::Warning { message });
        }
        self.tell(Event::Loaded { mac: mac.to_string(), name: name.to_owned(), loads });
    }

    /// One after the other, each with all that is noted when its turn comes.
    fn write_ledger(&self) -> Result<(), LedgerError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let page = self.book().ledger.page();
        page.write()
    }
}

/// An error with its causes.
fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Book {
    /// Whether this was not told a moment ago.
    fn is_news(&mut self, event: &Event) -> bool {
        let now = Instant::now();
        if self.told.len() >= MOST_REMEMBERED {
            self.told.retain(|_, last| now.duration_since(*last) < QUIET);
        }
        if self.told.len() >= MOST_REMEMBERED {
            return false; // a flood: what is told would be one too
        }
        self.told.insert(format!("{event:?}"), now).is_none_or(|last| now.duration_since(last) >= QUIET)
    }
}

/// One image on its way to one machine. Dropped before its end, it counts as broken off.
pub struct Delivery {
    warehouse: Arc<Warehouse>,
    mac: Option<MacAddress>,
    name: String,
    sent: u64,
    /// Where in the image it is.
    at: u64,
    bytes: u64,
    /// Whether the machine has all that comes before: it began at the start, or where an earlier part ended.
    is_joined: bool,
    told: Option<Instant>,
    settled: bool,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Delivery({} of {} to {})", self.sent, self.bytes, self.name)
    }
}

impl Delivery {
    fn of(warehouse: &Arc<Warehouse>, mac: Option<MacAddress>, name: String) -> Self {
        let warehouse = warehouse.clone();
        Self { warehouse, mac, name, sent: 0, at: 0, bytes: 0, is_joined: false, told: None, settled: true }
    }

    fn mac(&self) -> String {
        self.mac.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// It begins: from `offset`, of an image of `bytes`. Until then nothing is told, and nothing counts.
    pub fn begin(&mut self, offset: u64, bytes: u64) {
        (self.at, self.bytes, self.settled) = (offset, bytes, false);
        self.is_joined = offset <= self.reach();
        if offset == 0 {
            if let Some(mac) = &self.mac {
                self.warehouse.book().reach.insert(mac.clone(), 0);
            }
            self.warehouse.tell(Event::Loading { mac: self.mac(), name: self.name.clone(), bytes });
        }
    }

    /// This much more has gone out.
    pub fn advance(&mut self, count: u64) {
        self.sent += count;
        self.at += count;
        if let Some(mac) = self.mac.as_ref().filter(|_| self.is_joined) {
            let mut book = self.warehouse.book();
            let reach = book.reach.entry(mac.clone()).or_default();
            *reach = self.at.max(*reach);
        }
        if self.told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            let (sent, bytes) = (self.reach().max(self.sent), self.bytes);
            self.warehouse.tell(Event::Progress { mac: self.mac(), name: self.name.clone(), sent, bytes });
        }
    }

    /// How far the machine has come over all requests since the one that began at the start.
    fn reach(&self) -> u64 {
        self.mac.as_ref().and_then(|mac| self.warehouse.book().reach.get(mac).copied()).unwrap_or_default()
    }

    /// The machine has all that it asked for.
    pub async fn finish(mut self) {
        self.settled = true;
        if self.at < self.bytes || !self.is_joined {
            return; // a part; the rest is asked for separately
        }
        match self.mac.clone() {
            Some(mac) => {
                self.warehouse.book().reach.remove(&mac);
                self.warehouse.note(&mac, &self.name).await;
            }
            None => self.warehouse.tell(Event::Loaded { mac: String::new(), name: self.name.clone(), loads: 1 }),
        }
    }

    /// It will not be finished.
    pub fn fail(mut self, reason: &str) {
        self.break_off(reason);
    }

    fn break_off(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.settled, true) {
            let (mac, name, sent) = (self.mac(), self.name.clone(), self.sent);
            self.warehouse.tell(Event::Broken { mac, name, sent, reason: reason.to_owned() });
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.break_off("the machine ended the connection, or took nothing for too long");
    }
}

/// The error of a file that cannot be read.
pub fn unreadable(error: &io::Error) -> String {
    format!("the image cannot be read: {error}")
}
