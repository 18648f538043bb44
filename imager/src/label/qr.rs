//! The code on a label: which of its modules are dark. Error correction M: a seventh of it may be scratched away.

use qrcode::{Color, EcLevel, QrCode};

use super::size::Length;

/// White modules that a reader needs around a code (ISO/IEC 18004).
const QUIET: usize = 4;
/// The smallest module that a telephone reads from a thermal printer's label.
const SMALLEST_MODULE: Length = Length(250);

/// A run of dark modules in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First column.
    pub column: usize,
    /// Row.
    pub row: usize,
    /// Modules.
    pub count: usize,
}

/// A code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Modules from edge to edge, without the quiet zone.
    pub width: usize,
    /// Its dark modules, row by row.
    pub runs: Vec<Run>,
}

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// No code holds so much.
    #[error("cannot make a code of {bytes} bytes: no QR code holds so much; shorten the hub's address")]
    TooLong {
        /// Of the address.
        bytes: usize,
    },
}

impl Code {
    /// The code that says this.
    ///
    /// # Errors
    /// The text is longer than any code.
    pub fn of(text: &str) -> Result<Self, CodeError> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M);
        let code = code.map_err(|_| CodeError::TooLong { bytes: text.len() })?;
        let (width, colors) = (code.width(), code.to_colors());
        let runs = colors.chunks(width).enumerate().flat_map(|(row, colors)| runs(row, colors)).collect();
        Ok(Self { width, runs })
    }

    /// Modules from edge to edge with the quiet zone.
    pub fn whole_width(&self) -> usize {
        self.width + 2 * QUIET
    }

    /// The size of a module when the code with its quiet zone is to fit into a square; none: it could not be read.
    pub fn module(&self, side: Length) -> Option<Length> {
        let module = Length(side.0 / self.whole_width() as i64);
        Some(module).filter(|module| *module >= SMALLEST_MODULE)
    }

    /// The smallest square that it can be read in.
    pub fn smallest_side(&self) -> Length {
        Length(SMALLEST_MODULE.0 * self.whole_width() as i64)
    }
}

fn runs(row: usize, colors: &[Color]) -> Vec<Run> {
    let mut column = 0;
    let mut found = Vec::new();
    for same in colors.chunk_by(|one, next| one == next) {
        if same[0] == Color::Dark {
            found.push(Run { column, row, count: same.len() });
        }
        column += same.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an independent reader sees in the code, drawn with so many dots per module.
    fn read_back(code: &Code, dots: usize) -> String {
        let side = code.whole_width() * dots;
        let dark = |x: usize, y: usize| {
            let (x, y) = ((x / dots).wrapping_sub(QUIET), (y / dots).wrapping_sub(QUIET));
            code.runs.iter().any(|run| run.row == y && (run.column..run.column + run.count).contains(&x))
        };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| if dark(x, y) { 0 } else { 255 });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().expect("read").1
    }

    #[test]
    fn an_independent_reader_reads_what_was_written() {
        let long = format!("https://hub.example:8443/claim/id/{}", "0123456789abcdef".repeat(4));
        for text in ["skerry:claim/name/a", "https://hub.example/claim/serial/A%2F1%20%C3%BC", long.as_str()] {
            assert_eq!(read_back(&Code::of(text).expect("a code"), 3), text);
        }
    }

    #[test]
    fn a_code_too_small_to_be_read_is_not_made() {
        let code = Code::of("https://hub.example/claim/serial/FZ0001").expect("a code");
        assert_eq!(code.module(code.smallest_side()), Some(SMALLEST_MODULE));
        assert_eq!(code.module(Length(code.smallest_side().0 - 1)), None);
        assert_eq!(Code::of(&"x".repeat(5000)), Err(CodeError::TooLong { bytes: 5000 }));
    }
}
