//! What firmware runs: an image that is served must be a UEFI program, and its kernel's command line must be known. iPXE hands a program words of its
//! own, and a UKI takes such words in place of those it carries (unless Secure Boot is on): so iPXE's script repeats the UKI's own.

use std::io::Read as _;
use std::path::PathBuf;

use crate::image::pe::{PeError, stretch};
use crate::image::window::Window;
use crate::seed_place::Form;
use crate::stamp::base::Opened;

/// Headers of a PE file end before this.
const HEAD_BYTES: u64 = 64 << 10;
/// The kernel takes no more.
const MOST_BYTES: u64 = 4 << 10;
/// The section of a UKI that holds it.
const SECTION: &str = ".cmdline";

/// Why an image cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is of another form.
    #[error(
        "cannot serve {}: firmware runs only UEFI programs over the network; make one of the raw image with `imager convert IMAGE --format uki`",
        path.display()
    )]
    Form {
        /// The image.
        path: PathBuf,
    },
    /// It has no command line.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// It cannot be read.
    #[error("cannot read the command line in {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line that iPXE would take for something else.
    #[error("cannot serve {}: its command line cannot stand in a script ({line:?}); build the image again", path.display())]
    Line {
        /// The image.
        path: PathBuf,
        /// The line.
        line: String,
    },
}

/// The command line of the UKI that an image is.
///
/// # Errors
/// See [`ProgramError`].
pub fn command_line(opened: &Opened) -> Result<String, ProgramError> {
    let path = || opened.path().to_owned();
    if opened.form() != Form::Program {
        return Err(ProgramError::Form { path: path() });
    }
    let image = opened.image();
    let read = |offset: u64, bytes: u64| {
        let mut content = Vec::new();
        let read = Window::new(image.file, offset, bytes).read_to_end(&mut content);
        read.map(|_| content).map_err(|source| ProgramError::Read { path: path(), source })
    };
    let head = read(0, image.bytes.min(HEAD_BYTES))?;
    let place = stretch::place("the image", &head, SECTION)?;
    let line =
        String::from_utf8_lossy(&read(place.offset, place.bytes.min(MOST_BYTES))?).trim_matches(['\0', ' ', '\n']).to_owned();
    if is_plain(&line) { Ok(line) } else { Err(ProgramError::Line { path: path(), line }) }
}

/// Words without what iPXE expands, joins or ends a line by.
fn is_plain(line: &str) -> bool {
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_graphic()) && !["||", "&&"].contains(&word);
    !line.is_empty() && !line.contains(['$', '\\', '"', '\'', '#']) && line.split(' ').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::testing::Bench;

    #[test]
    fn a_lines_words_pass_through_a_script() {
        for (line, expected) in [
            ("console=ttyS0,115200 skerry.runtime=12:ab:cd panic=10 rcupdate.x=1,2-3", true),
            ("", false),
            ("a || b", false),
            ("a && b", false),
            ("a ${net0/mac}", false),
            ("a\nb", false),
            ("dyndbg=\"file x +p\"", false),
        ] {
            assert_eq!(is_plain(line), expected, "{line}");
        }
    }

    #[test]
    fn only_programs_are_served() {
        let bench = Bench::new();
        let line = command_line(&Opened::open(&bench.image()).expect("opened")).expect("a program");
        assert!(line.contains("skerry.runtime="), "{line}");
        let error = command_line(&Opened::open(&bench.disk()).expect("opened")).expect_err("a disk").to_string();
        assert!(error.contains("imager convert"), "{error}");
    }
}
