//! A QR code in half blocks, for a screen that is light on dark. It makes text; where that is shown is decided elsewhere.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code. ISO/IEC 18004 asks for 4; readers get by with 2 on a screen, where more would push out the text above.
const QUIET: usize = 2;

/// The code that says this; none: it is longer than any code, and what it says stands on the screen as text anyway.
pub(super) fn code(text: &str) -> Option<String> {
    // Nothing scratches a screen, so the least correction makes the smallest code.
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (width, colors) = (code.width(), code.to_colors());
    let whole = width + 2 * QUIET;
    let is_light = |column: usize, row: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        match (inside(column), inside(row)) {
            (Some(column), Some(row)) => colors[row * width + column] == Color::Light,
            (Some(_) | None, Some(_) | None) => row < whole,
        }
    };
    let block = |column, row| match (is_light(column, row), is_light(column, row + 1)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    };
    let lines = (0..whole).step_by(2).map(|row| (0..whole).map(|column| block(column, row)).chain(['\n']).collect::<String>());
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a telephone reads off the screen.
    fn read(text: &str) -> Option<String> {
        const MODULE: usize = 4;
        let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let (width, height) = (lines[0].len() * MODULE, lines.len() * 2 * MODULE);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            let row = y / MODULE;
            let lit = match lines[row / 2][x / MODULE] {
                '█' => true,
                '▀' => row.is_multiple_of(2),
                '▄' => !row.is_multiple_of(2),
                _ => false,
            };
            if lit { 255 } else { 0 }
        });
        image.detect_grids().first().and_then(|grid| grid.decode().ok()).map(|(_, content)| content)
    }

    #[test]
    fn a_telephone_reads_what_the_screen_shows() {
        let id = "0123456789abcdef".repeat(4);
        for text in [id.clone(), format!("https://hub.some-fleet.example:8443/claim/id/{id}")] {
            assert_eq!(read(&code(&text).expect("it fits")).as_deref(), Some(text.as_str()));
        }
    }

    #[test]
    fn the_code_of_an_address_to_claim_at_is_small() {
        let code = code(&format!("https://hub.example/claim/id/{}", "ab".repeat(32))).expect("it fits");
        let columns: Vec<usize> = code.lines().map(|line| line.chars().count()).collect();
        assert!(columns.iter().all(|count| *count == columns[0]), "a square");
        assert!(columns[0] <= 41 && columns.len() <= 21, "{} x {}", columns[0], columns.len());
    }

    #[test]
    fn what_no_code_holds_gives_none() {
        assert_eq!(code(&"x".repeat(10_000)), None);
    }
}
