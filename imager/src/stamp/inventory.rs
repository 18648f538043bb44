//! The warehouse's list of devices: CSV with a header, one device per row. Strict: an unknown column, a wrong value, a name, serial number or MAC
//! address that stands twice are each refused with line and column. Reads no file but the text it is given, and chooses nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;

use machine_config::check_hub;
use machine_config::schema::{Hub, HubProxy};
use machine_config::types::{HostName, MacAddress, Secret};

mod cells;
mod lines;

use cells::Cells;
use lines::Lines;

/// What a column is called, in the order of the documentation.
pub const COLUMNS: [&str; 15] = [
    "name",
    "serial",
    "mac",
    "board",
    "hub",
    "hub_pin",
    "hub_fallbacks",
    "hub_proxy",
    "hub_proxy_user",
    "hub_proxy_password",
    "hub_proxy_pin",
    "join_token",
    "config",
    "identity",
    "labels",
];
/// Which column each setting of the hub stands in, by its path in a configuration; the first that a path lies in counts.
const HUB_COLUMNS: [(&str, &str); 7] = [
    ("hub.url", "hub"),
    ("hub.pin", "hub_pin"),
    ("hub.fallbacks", "hub_fallbacks"),
    ("hub.proxy.user", "hub_proxy_user"),
    ("hub.proxy.password", "hub_proxy_password"),
    ("hub.proxy.pin", "hub_proxy_pin"),
    ("hub.proxy", "hub_proxy"),
];
/// Columns no inventory is without.
const NEEDED: [&str; 2] = ["name", "board"];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a device shows to its hub once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Nothing.
    None,
    /// A random one, made when it is stamped.
    Auto,
    /// This one.
    Given(Secret),
}

/// The signed configuration a device begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChoice {
    /// The row does not say: the one for the whole run, if there is one.
    Unsaid,
    /// None: the device waits for one.
    None,
    /// This file, as the inventory names it.
    Given(PathBuf),
}

/// The key that a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityChoice {
    /// It makes its own on first boot.
    Own,
    /// A random one, made when it is stamped.
    Auto,
    /// The one in this file, as the inventory names it.
    Given(PathBuf),
}

impl IdentityChoice {
    /// The file that the key is in, if it is in one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Given(path) => Some(path),
            Self::Own | Self::Auto => None,
        }
    }
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands, from 1.
    pub line: usize,
    /// What the device is called; also the name of its image.
    pub name: HostName,
    /// Serial number, as the firmware tells it.
    pub serial: Option<String>,
    /// MAC address of a wired port.
    pub mac: Option<MacAddress>,
    /// The board it is.
    pub board: String,
    /// Where it phones home.
    pub hub: Option<Hub>,
    /// What it shows there.
    pub token: Token,
    /// Its signed configuration.
    pub config: ConfigChoice,
    /// Its key.
    pub identity: IdentityChoice,
    /// For the warehouse's own use; they reach the manifest and not the device.
    pub labels: BTreeMap<String, String>,
}

/// A place in the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The column's name, as the header has it.
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {} (`{}`)", self.line, self.column, self.name)
    }
}

/// Why an inventory is not read.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// Nothing to stamp.
    #[error("cannot read the inventory: it lists no device; the first line names the columns, each further line is a device")]
    Empty,
    /// A header that names something else.
    #[error("cannot read the inventory at {0}: there is no such column; columns are {known}, separated by commas", known = COLUMNS.join(", "))]
    UnknownColumn(Place),
    /// The proxy for all of them.
    #[error(
        "cannot send the devices through this proxy: {problem}; one with a password or a pin stands in the columns `hub_proxy`, `hub_proxy_…`"
    )]
    Proxy {
        /// What is wrong.
        problem: String,
    },
    /// A column that stands twice.
    #[error("cannot read the inventory at {0}: the column stands twice; keep one")]
    ColumnTwice(Place),
    /// A column that must be there.
    #[error("cannot read the inventory: it has no column `{0}`; name it in the first line")]
    NoColumn(&'static str),
    /// A row with too many or too few values.
    #[error(
        "cannot read the inventory at line {line}: it has {found} values, the header has {expected}; quote values with commas"
    )]
    Width {
        /// The row's line.
        line: usize,
        /// Columns in the header.
        expected: usize,
        /// Values in the row.
        found: usize,
    },
    /// A value that is wrong.
    #[error("cannot read the inventory at {place}: {problem}")]
    Value {
        /// Where.
        place: Place,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Two devices with one name, serial number or address.
    #[error("cannot read the inventory at {place}: `{value}` stands at line {first} already; each device has its own")]
    Twice {
        /// Where the second one is.
        place: Place,
        /// What they share.
        value: String,
        /// Line of the first one.
        first: usize,
    },
    /// Text that is no CSV.
    #[error("cannot read the inventory as CSV")]
    Csv(#[from] csv::Error),
}

/// The devices in an inventory's text, in its order.
///
/// # Errors
/// See [`InventoryError`]; the first thing wrong is the one told.
pub fn parse(text: &[u8]) -> Result<Vec<Row>, InventoryError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut lines = Lines::new(text);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let mut records = reader.byte_records();
    let header = match records.next() {
        Some(record) => header(lines.of(&record?))?,
        None => return Err(InventoryError::Empty),
    };
    let rows = records.map(|record| row(&header, lines.of(&record?))).collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        return Err(InventoryError::Empty);
    }
    check_unique(&header, &rows)?;
    Ok(rows)
}

/// Sends every device with a hub through this proxy, unless its row names one.
///
/// # Errors
/// The address is none of a proxy that needs no more than an address, or no row has a hub.
pub fn behind_proxy(rows: &mut [Row], url: &str) -> Result<(), InventoryError> {
    let mut hubs = rows.iter_mut().filter_map(|row| row.hub.as_mut()).peekable();
    if hubs.peek().is_none() {
        return Err(InventoryError::Proxy { problem: "no row has a hub".into() });
    }
    for hub in hubs.filter(|hub| hub.proxy.is_none()) {
        hub.proxy = Some(HubProxy { url: url.to_owned(), user: None, password: None, pin: None });
        check_hub(hub).map_err(|errors| InventoryError::Proxy { problem: errors[0].to_string() })?;
    }
    Ok(())
}

/// The names of the columns, each known and there once.
fn header((line, values): (usize, Vec<String>)) -> Result<Vec<String>, InventoryError> {
    for (index, name) in values.iter().enumerate() {
        let place = || Place { line, column: index + 1, name: name.clone() };
        if !COLUMNS.contains(&name.as_str()) {
            return Err(InventoryError::UnknownColumn(place()));
        }
        if values[..index].contains(name) {
            return Err(InventoryError::ColumnTwice(place()));
        }
    }
    match NEEDED.into_iter().find(|needed| !values.iter().any(|name| name == needed)) {
        Some(missing) => Err(InventoryError::NoColumn(missing)),
        None => Ok(values),
    }
}

fn row(header: &[String], (line, values): (usize, Vec<String>)) -> Result<Row, InventoryError> {
    if values.len() != header.len() {
        return Err(InventoryError::Width { line, expected: header.len(), found: values.len() });
    }
    let cells = Cells { line, header, values };
    cells.check_text()?;
    Ok(Row {
        line,
        name: cells.parsed("name")?.ok_or_else(|| cells.wrong("name", "it is empty; name the device"))?,
        serial: cells.get("serial").map(str::to_owned),
        mac: cells.mac()?,
        board: cells.get("board").map(str::to_owned).ok_or_else(|| cells.wrong("board", "it is empty; name the board"))?,
        hub: cells.hub()?,
        token: cells.token()?,
        config: cells.config(),
        identity: cells.identity(),
        labels: cells.labels()?,
    })
}

fn place(header: &[String], line: usize, column: &str) -> Place {
    let index = header.iter().position(|name| name == column);
    Place { line, column: index.map_or(0, |index| index + 1), name: column.to_owned() }
}

fn check_unique(header: &[String], rows: &[Row]) -> Result<(), InventoryError> {
    let mut seen = HashMap::new();
    for row in rows {
        let keys = [
            ("name", Some(row.name.as_str())),
            ("serial", row.serial.as_deref()),
            ("mac", row.mac.as_ref().map(MacAddress::as_str)),
        ];
        for (column, value) in keys {
            let Some(value) = value else { continue };
            if let Some(first) = seen.insert((column, value), row.line) {
                return Err(InventoryError::Twice { place: place(header, row.line, column), value: value.to_owned(), first });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
