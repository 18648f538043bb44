//! What a device tree says of its machine: the root's `model` and `compatible`. Reads the flattened form (Devicetree Specification, chapter 5).
//!
//! It reads no other node, and trusts no offset before it has been compared with the file's length.

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const PROPERTY: u32 = 3;
const NOTHING: u32 = 4;

/// A device tree's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// For people.
    pub model: String,
    /// Most particular first.
    pub compatible: Vec<String>,
}

/// Reads the root node; the error says what is wrong.
pub fn machine(bytes: &[u8]) -> Result<Machine, &'static str> {
    let header = |n: usize| word(bytes, n * 4).ok_or("it is cut short");
    if header(0)? != MAGIC {
        return Err("it is not a flattened device tree");
    }
    if header(1)? as usize > bytes.len() {
        return Err("it is cut short");
    }
    let (structure, strings) = (header(2)? as usize, header(3)? as usize);
    let properties = root(bytes, structure, strings).ok_or("its root node is damaged")?;
    let texts = |name: &str| {
        let found = properties.iter().find(|(other, _)| *other == name).map(|(_, value)| *value).unwrap_or_default();
        let texts = found.split(|byte| *byte == 0).filter(|text| !text.is_empty());
        texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>()
    };
    let model = texts("model").into_iter().next().ok_or("its root has no model")?;
    Ok(Machine { model, compatible: texts("compatible") })
}

/// The root node's properties, which come before its children.
fn root(bytes: &[u8], mut at: usize, strings: usize) -> Option<Vec<(&str, &[u8])>> {
    let mut properties = Vec::new();
    let mut inside = false;
    loop {
        let token = word(bytes, at)?;
        at += 4;
        match token {
            // The root's name is empty: four NULs.
            BEGIN_NODE if !inside => (inside, at) = (true, at + 4),
            PROPERTY if inside => {
                let (length, name) = (word(bytes, at)? as usize, word(bytes, at + 4)? as usize);
                let value = bytes.get(at + 8..at.checked_add(8)?.checked_add(length)?)?;
                properties.push((text(bytes.get(strings.checked_add(name)?..)?)?, value));
                at = (at + 8 + length).next_multiple_of(4);
            }
            NOTHING => {}
            _ => return inside.then_some(properties),
        }
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
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
