//! The reference of the configuration as a Markdown page, made from the types, the tables of effects and the codes themselves, so that it
//! cannot say anything else than the code does. `docs/configuration.md` is this page; a test compares them.

mod mistakes;
mod page;
mod sections;
mod value;

use crate::json_schema::json_schema;

/// The page, to the last newline.
pub fn reference() -> String {
    page::render(&sections::sections(&json_schema()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::json_schema::tests::paths;

    /// A path of the schema as the page writes it.
    fn plain(path: &str) -> String {
        path.replace("[]", "").replace("[NAME]", "")
    }

    #[test]
    fn docs_configuration_md_is_this_page() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/configuration.md does not say what the code does; write it anew:\n  \
             cargo run -p ctl -- config schema --markdown > configuration.md && mv configuration.md docs/"
        );
    }

    #[test]
    fn the_operators_guide_names_every_refusal() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operator-guide.md");
        let guide = std::fs::read_to_string(path).expect("the guide");
        for code in crate::RefusalCode::ALL {
            assert!(guide.contains(&format!("`{code}`")), "docs/operator-guide.md does not know `{code}`");
        }
    }

    #[test]
    fn every_setting_of_the_schema_has_a_row() {
        let sections = sections::sections(&json_schema());
        let rows: Vec<String> =
            sections.iter().flat_map(|section| section.rows.iter().map(|row| plain(&section.path_of(row)))).collect();
        for path in paths() {
            assert!(rows.contains(&path), "{path} has no row");
        }
    }

    #[test]
    fn no_cell_breaks_its_table() {
        for section in sections::sections(&json_schema()) {
            for row in &section.rows {
                for cell in [&row.value, &row.default, &row.meaning, &row.effect] {
                    assert!(!cell.is_empty() && !cell.contains('\n'), "{}: {cell:?}", section.path_of(row));
                }
            }
        }
    }
}
