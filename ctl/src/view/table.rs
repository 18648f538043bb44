//! Text for people: aligned columns without lines or colours, the same on a terminal and in a pipe.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Row, Table};

/// Columns under headers; nothing but a hint when there is no row.
pub(crate) fn table<const N: usize>(headers: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(headers);
    for row in rows {
        table.add_row(Row::from(row.iter().map(|cell| Cell::new(shown(cell)))));
    }
    if table.row_count() == 0 {
        return "none\n".into();
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Names and values, one pair a line.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a value; an empty one shows as `-`.
    pub(crate) fn add(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// Adds a value unless it is empty.
    pub(crate) fn add_some(self, name: &'static str, value: impl ToString) -> Self {
        let value = value.to_string();
        if value.is_empty() { self } else { self.add(name, value) }
    }

    /// Adds one line for each value, the name on the first only.
    pub(crate) fn add_each(mut self, name: &'static str, values: &[String]) -> Self {
        self.0.extend(values.iter().enumerate().map(|(index, value)| (if index == 0 { name } else { "" }, value.clone())));
        self
    }

    pub(crate) fn text(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        self.0.iter().map(|(name, value)| format!("{name:width$}  {}\n", shown(value))).collect()
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() { "-".into() } else { clean(value) }
}

/// The text with control characters escaped. Tabs stay.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\t' {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let text = table(["NAME", "STATE"], [["containerd".into(), "ready".into()], ["k3s".into(), String::new()]]);
        assert_eq!(text, "NAME        STATE\ncontainerd  ready\nk3s         -\n");
        assert_eq!(table(["NAME"], Vec::<[String; 1]>::new()), "none\n");
    }

    #[test]
    fn fields_are_aligned_and_lists_name_themselves_once() {
        let text = Fields::new()
            .add("mode", "configured")
            .add("fleet", "")
            .add_some("waiting", "")
            .add_each("addresses", &["a".into(), "b".into()])
            .text();
        assert_eq!(text, "mode       configured\nfleet      -\naddresses  a\n           b\n");
    }

    #[test]
    fn a_log_line_cannot_drive_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\tc\r"), "a\\u{1b}[2Jb\tc\\r");
    }
}
