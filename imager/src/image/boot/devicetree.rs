//! What a device tree says of its machine: the root's `model` and `compatible`. The flattened form (Devicetree Specification, chapter 5) is read by dtoolkit.
//!
//! It reads no other node, and takes nothing out of a tree that has not been checked as a whole.

use dtoolkit::error::FdtErrorKind;
use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};

const MAGIC: [u8; 4] = 0xd00d_feed_u32.to_be_bytes();

/// A device tree's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// For people.
    pub model: String,
    /// Most particular first.
    pub compatible: Vec<String>,
}

/// Reads the root node; the error says what is wrong. What follows the tree is no part of it.
pub fn machine(bytes: &[u8]) -> Result<Machine, &'static str> {
    const SHORT: &str = "it is cut short";
    if bytes.first_chunk::<4>().ok_or(SHORT)? != &MAGIC {
        return Err("it is not a flattened device tree");
    }
    let total = bytes.get(4..8).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes).ok_or(SHORT)?;
    let tree = Fdt::new(bytes.get(..total as usize).ok_or(SHORT)?).map_err(|error| match error.kind {
        FdtErrorKind::InvalidLength => SHORT,
        _ => "it is damaged",
    })?;
    let root = tree.root();
    let texts = |name: &str| {
        let found = root.property(name).map(|property| property.value().to_vec()).unwrap_or_default();
        let texts = found.split(|byte| *byte == 0).filter(|text| !text.is_empty());
        texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>()
    };
    let model = texts("model").into_iter().next().ok_or("its root has no model")?;
    Ok(Machine { model, compatible: texts("compatible") })
}

#[cfg(test)]
pub(crate) mod testing {
    //! Made-up device trees.

    use dtoolkit::model::{DeviceTree, DeviceTreeProperty};

    /// A tree of a root node with a model and one compatible name.
    pub(crate) fn tree(model: &str, compatible: &str) -> Vec<u8> {
        let mut tree = DeviceTree::new();
        for (name, value) in [("model", model), ("compatible", compatible)] {
            tree.root.add_property(DeviceTreeProperty::new_unchecked(name, value));
        }
        tree.to_dtb()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::tree;
    use super::*;

    #[test]
    fn the_root_s_names_are_read() {
        let machine = machine(&tree("Raspberry Pi 4 Model B", "raspberrypi,4-model-b")).expect("read");
        assert_eq!(machine.model, "Raspberry Pi 4 Model B");
        assert_eq!(machine.compatible, ["raspberrypi,4-model-b"]);
    }

    #[test]
    fn what_is_no_device_tree_is_refused() {
        let good = tree("x", "y");
        for (bytes, reason) in [
            (b"".to_vec(), "cut short"),
            (vec![0; 64], "not a flattened device tree"),
            (good[..good.len() - 1].to_vec(), "cut short"),
            ([&good[..8], &[0xff; 4][..], &good[12..]].concat(), "damaged"),
        ] {
            assert!(machine(&bytes).expect_err(reason).contains(reason), "{reason}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_changed_tree_never_ends_the_program(at in 0usize..120, value: u8) {
            let mut bytes = tree("Raspberry Pi", "brcm,bcm2711");
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
            let _ = machine(&bytes);
        }
    }
}
