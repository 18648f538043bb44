//! Which device tree a Raspberry Pi's firmware loads on which model: three words of a board file for each.
//!
//! It refuses words that would lead nowhere; whether the tree is there and for that model is checked where the boot partition is made.

use serde::{Deserialize, Serialize};

/// A device tree of a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceTree {
    /// Its path below the kernel's own folder of them.
    pub file: String,
    /// The filter of `config.txt` for its models, such as `pi4`.
    pub filter: String,
    /// What the tree says its model is, as far as all revisions of the board say the same.
    pub model: String,
}

impl DeviceTree {
    /// The file's name on the boot partition.
    pub fn file_name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or(&self.file)
    }

    /// Whether the filter holds for all models of a generation: `pi4` for a 400 and a Compute Module 4 too.
    fn is_for_a_generation(&self) -> bool {
        self.filter.strip_prefix("pi").is_some_and(|number| number.len() == 1)
    }
}

/// What is wrong with a board's device trees.
pub(super) fn check(trees: &[DeviceTree]) -> Result<(), String> {
    for tree in trees {
        let file = &tree.file;
        let is_filter =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !file.ends_with(".dtb") {
            return Err(format!("device tree `{file}` does not end with .dtb"));
        }
        if !is_filter(&tree.filter) {
            return Err(format!(
                "device tree `{file}` has the filter `{}`: it must be one of config.txt's, such as pi4",
                tree.filter
            ));
        }
        if tree.model.is_empty() {
            return Err(format!("device tree `{file}` has no `model`: `fdtget -t s FILE / model` tells it"));
        }
    }
    // Of lines that hold for a model, the firmware takes the last.
    let particular = trees.iter().position(|tree| !tree.is_for_a_generation()).unwrap_or(trees.len());
    match trees[particular..].iter().find(|tree| tree.is_for_a_generation()) {
        Some(tree) => {
            Err(format!("filter `{}` holds for more models than `{}`: name it before", tree.filter, trees[particular].filter))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(trees: &[(&str, &str, &str)]) -> Result<(), String> {
        let tree = |(file, filter, model): &(&str, &str, &str)| DeviceTree {
            file: (*file).into(),
            filter: (*filter).into(),
            model: (*model).into(),
        };
        check(&trees.iter().map(tree).collect::<Vec<_>>())
    }

    #[test]
    fn words_that_lead_nowhere_are_refused() {
        let good = ("a/x.dtb", "pi4", "Raspberry Pi 4");
        assert_eq!(checked(&[good, ("a/y.dtb", "cm4", "Raspberry Pi Compute Module 4")]), Ok(()));
        for (trees, part) in [
            (vec![("a/x.dts", "pi4", "m")], "does not end with .dtb"),
            (vec![("x.dtb", "", "m")], "has the filter ``"),
            (vec![("x.dtb", "pi4]", "m")], "has the filter `pi4]`"),
            (vec![good, ("x.dtb", "pi4", "")], "has no `model`"),
            (vec![("x.dtb", "pi400", "m"), good], "filter `pi4` holds for more models than `pi400`"),
        ] {
            let error = checked(&trees).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
