//! The XML of a block map: exactly the elements that format 2.0 names, each once. Anything else an XML file may hold is refused.

use super::{BLOCK_BYTES, Bmap, BmapError, BmapRange};
use crate::image::digest::Digest;

const VERSION: &str = "2.0";
const PROLOG: &str = "<?xml version=\"1.0\" ?>";
const CHECKSUM: &str = "BmapFileChecksum";
const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The file's text, with its own checksum.
pub(super) fn write(map: &Bmap) -> String {
    let text = unsummed(map);
    text.replace(NO_CHECKSUM, &Digest::of(text.as_bytes()).hex())
}

fn unsummed(map: &Bmap) -> String {
    let ranges: String = map.ranges.iter().map(range_line).collect();
    format!(
        "{PROLOG}\n<bmap version=\"{VERSION}\">\n    <ImageSize> {} </ImageSize>\n    <BlockSize> {} </BlockSize>\n    \
         <BlocksCount> {} </BlocksCount>\n    <MappedBlocksCount> {} </MappedBlocksCount>\n    \
         <ChecksumType> sha256 </ChecksumType>\n    <{CHECKSUM}> {NO_CHECKSUM} </{CHECKSUM}>\n    \
         <BlockMap>\n{ranges}    </BlockMap>\n</bmap>\n",
        map.image_bytes,
        map.block_bytes,
        map.blocks(),
        map.mapped_blocks(),
    )
}

fn range_line(range: &BmapRange) -> String {
    let last = range.first_block + range.blocks - 1;
    let blocks = if range.blocks == 1 { last.to_string() } else { format!("{}-{last}", range.first_block) };
    format!("        <Range chksum=\"{}\"> {blocks} </Range>\n", range.sha256.hex())
}

/// Reads the file's text; its checksum is the first thing looked at once the form is clear.
pub(super) fn read(text: &str) -> Result<Bmap, BmapError> {
    let mut rest = Reader::new(text)?;
    let version = rest.open("bmap", Some("version"))?;
    if version != VERSION {
        return Err(form(format!("it is of version {version}, this reads {VERSION}")));
    }
    let image_bytes = number("ImageSize", &rest.field("ImageSize")?)?;
    let block_bytes = number("BlockSize", &rest.field("BlockSize")?)?;
    let blocks = number("BlocksCount", &rest.field("BlocksCount")?)?;
    let mapped = number("MappedBlocksCount", &rest.field("MappedBlocksCount")?)?;
    let kind = rest.field("ChecksumType")?;
    if kind != "sha256" {
        return Err(form(format!("its checksums are {kind}, this reads sha256")));
    }
    check_sum(text, &rest.field(CHECKSUM)?)?;
    rest.open("BlockMap", None)?;
    let mut ranges = Vec::new();
    while rest.sees("<Range") {
        ranges.push(rest.range()?);
    }
    rest.close("BlockMap")?;
    rest.close("bmap")?;
    rest.end()?;
    let map = Bmap { image_bytes, block_bytes, ranges };
    check_numbers(&map, blocks, mapped)?;
    Ok(map)
}

/// The checksum is over the text with zeros in its own place.
fn check_sum(text: &str, expected: &str) -> Result<(), BmapError> {
    digest(expected)?;
    let found = Digest::of(text.replacen(expected, NO_CHECKSUM, 1).as_bytes()).hex();
    if found == expected { Ok(()) } else { Err(BmapError::Checksum { expected: expected.to_owned(), found }) }
}

fn check_numbers(map: &Bmap, blocks: u64, mapped: u64) -> Result<(), BmapError> {
    let wrong = |reason: String| Err(BmapError::Contradiction { reason });
    if map.block_bytes != BLOCK_BYTES {
        return wrong(format!("its blocks have {} bytes, this reads blocks of {BLOCK_BYTES}", map.block_bytes));
    }
    if map.blocks() != blocks {
        return wrong(format!("{} bytes are not {blocks} blocks", map.image_bytes));
    }
    let mut end = 0;
    for range in &map.ranges {
        if range.first_block < end {
            return wrong(format!("its range at block {} overlaps the one before", range.first_block));
        }
        end = range.first_block.saturating_add(range.blocks);
        if end > blocks {
            return wrong(format!("its range at block {} leaves the image", range.first_block));
        }
    }
    match map.mapped_blocks() {
        found if found == mapped => Ok(()),
        found => wrong(format!("its ranges have {found} blocks, it says {mapped}")),
    }
}

fn form(reason: impl Into<String>) -> BmapError {
    BmapError::Form { reason: reason.into() }
}

fn number(what: &str, text: &str) -> Result<u64, BmapError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| form(format!("its {what} is `{text}` instead of a number")))
}

fn digest(text: &str) -> Result<Digest, BmapError> {
    text.parse().map_err(|_| form(format!("`{text}` is no SHA-256 checksum")))
}

/// What is left of the text. White space and comments between elements are passed over.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Self, BmapError> {
        let rest = text.strip_prefix("<?xml version=\"1.0\"").and_then(|rest| rest.split_once("?>"));
        let (declared, rest) = rest.ok_or_else(|| form("it does not begin with an XML declaration"))?;
        match declared.trim() {
            "" | "encoding=\"UTF-8\"" | "encoding=\"utf-8\"" => Self { rest }.after_space(),
            other => Err(form(format!("its XML declaration says {other}"))),
        }
    }

    fn after_space(mut self) -> Result<Self, BmapError> {
        self.skip()?;
        Ok(self)
    }

    /// Passes over white space and comments.
    fn skip(&mut self) -> Result<(), BmapError> {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("<!--") else { return Ok(()) };
            let (_, rest) = comment.split_once("-->").ok_or_else(|| form("a comment in it has no end"))?;
            self.rest = rest;
        }
    }

    fn sees(&self, text: &str) -> bool {
        self.rest.starts_with(text)
    }

    fn take(&mut self, text: &str, element: &str) -> Result<(), BmapError> {
        self.rest = self.rest.strip_prefix(text).ok_or_else(|| form(format!("{element} is missing or not as it must be")))?;
        Ok(())
    }

    fn until(&mut self, end: &str, element: &str) -> Result<&'a str, BmapError> {
        let (before, rest) = self.rest.split_once(end).ok_or_else(|| form(format!("{element} has no end")))?;
        self.rest = rest;
        Ok(before)
    }

    /// The start of an element; gives the value of its one attribute.
    fn open(&mut self, element: &str, attribute: Option<&str>) -> Result<&'a str, BmapError> {
        self.take(&format!("<{element}"), element)?;
        let value = match attribute {
            Some(attribute) => {
                self.take(&format!(" {attribute}=\""), element)?;
                self.until("\"", element)?
            }
            None => "",
        };
        self.take(">", element)?;
        self.skip()?;
        Ok(value)
    }

    fn close(&mut self, element: &str) -> Result<(), BmapError> {
        self.take(&format!("</{element}>"), element)?;
        self.skip()
    }

    /// An element with text in it.
    fn field(&mut self, element: &str) -> Result<String, BmapError> {
        self.open(element, None)?;
        self.text(element)
    }

    fn text(&mut self, element: &str) -> Result<String, BmapError> {
        let text = self.until("<", element)?.trim();
        self.take(&format!("/{element}>"), element)?;
        self.skip()?;
        Ok(text.to_owned())
    }

    fn range(&mut self) -> Result<BmapRange, BmapError> {
        let sha256 = digest(self.open("Range", Some("chksum"))?)?;
        let text = self.text("Range")?;
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let (first_block, last) = (number("Range", first)?, number("Range", last)?);
        let blocks = last.checked_sub(first_block).and_then(|blocks| blocks.checked_add(1));
        let blocks =
            blocks.ok_or_else(|| BmapError::Contradiction { reason: format!("its range {text} ends before it begins") })?;
        Ok(BmapRange { first_block, blocks, sha256 })
    }

    fn end(&self) -> Result<(), BmapError> {
        if self.rest.is_empty() { Ok(()) } else { Err(form("something follows its end")) }
    }
}
