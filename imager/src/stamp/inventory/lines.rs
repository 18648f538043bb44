//! On which line a record begins. The CSV reader's own count is behind by one after `\r\n` and empty lines.

/// Counts lines up to the record asked for last.
pub(super) struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// A record's line and its values. What is not UTF-8 becomes the replacement character, which no value may hold.
    pub(super) fn of(&mut self, record: &csv::ByteRecord) -> (usize, Vec<String>) {
        let begins = record.position().map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX));
        while let Some(byte) = self.text.get(self.at).filter(|byte| self.at < begins || matches!(byte, b'\r' | b'\n')) {
            self.line += usize::from(*byte == b'\n');
            self.at += 1;
        }
        (self.line, record.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect())
    }
}
