//! How the demo speaks: chapters, steps and results on standard output; plain text when that is no terminal.

use std::io::{IsTerminal, stdout};

/// Tells the story.
pub(crate) struct Narration {
    colours: bool,
}

impl Narration {
    /// Colours only on a terminal.
    pub(crate) fn to_terminal() -> Self {
        Self { colours: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A new part of the story.
    pub(crate) fn chapter(&self, title: &str) {
        println!("\n{}", self.painted("1;36", &format!("== {title}")));
    }

    /// Something that is done.
    pub(crate) fn step(&self, text: &str) {
        println!("   {text}");
    }

    /// What came of it.
    pub(crate) fn result(&self, text: &str) {
        println!("   {} {text}", self.painted("1;32", "->"));
    }

    /// Text that brings its own form.
    pub(crate) fn plain(&self, text: &str) {
        println!("{text}");
    }

    /// What nobody may overlook.
    pub(crate) fn loudly(&self, lines: &[&str]) {
        let bar = "!".repeat(78);
        println!("\n{}", self.painted("1;33", &bar));
        for line in lines {
            println!("{} {line}", self.painted("1;33", "!!"));
        }
        println!("{}\n", self.painted("1;33", &bar));
    }

    /// Why the story ends early.
    pub(crate) fn trouble(&self, text: &str) {
        eprintln!("\n{} {text}", self.painted("1;31", "demo:"));
    }
}
