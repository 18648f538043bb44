//! What U-Boot reads of the device tree it is handed (`/config`, U-Boot's own binding): that it boots at once, ignores the keyboard and serial port, and
//! halts rather than show a prompt when nothing boots. There is nobody in front of the machine, and nothing to log in to.
//!
//! It adds that one node and changes nothing else; a kernel passes it over.

use dtoolkit::error::FdtParseError;
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

const NODE: &str = "config";
/// Never counts down, so that no key is asked for: -2.
const BOOT_DELAY: (&str, u32) = ("bootdelay", -2_i32 as u32);
/// The one command U-Boot may run: the boot command of its environment.
const BOOT_COMMAND: (&str, &str) = ("bootcmd", "bootd");
/// Run that command only, without Ctrl-C, and halt when it returns.
const NO_PROMPT: (&str, u32) = ("bootsecure", 1);

/// The device tree with U-Boot's prompt closed.
pub fn close_prompt(devicetree: &[u8]) -> Result<Vec<u8>, FdtParseError> {
    let mut tree = DeviceTree::from_fdt(&Fdt::new(devicetree)?);
    tree.root.remove_child(NODE);
    let node = tree.root.add_child_mut(DeviceTreeNode::new_unchecked(NODE));
    node.add_property(DeviceTreeProperty::new_unchecked(BOOT_DELAY.0, BOOT_DELAY.1));
    node.add_property(DeviceTreeProperty::new_unchecked(BOOT_COMMAND.0, BOOT_COMMAND.1));
    node.add_property(DeviceTreeProperty::new_unchecked(NO_PROMPT.0, NO_PROMPT.1));
    Ok(tree.to_dtb())
}

/// Whether U-Boot shows no prompt when it is handed this device tree.
pub fn prompt_is_closed(devicetree: &[u8]) -> bool {
    let Ok(tree) = Fdt::new(devicetree) else { return false };
    let root = tree.root();
    let Some(node) = root.child(NODE) else { return false };
    let number = |(name, value): (&str, u32)| node.property(name).is_some_and(|found| found.value() == value.to_be_bytes());
    let text = |(name, value): (&str, &str)| {
        node.property(name).is_some_and(|found| found.value().strip_suffix(b"\0") == Some(value.as_bytes()))
    };
    number(BOOT_DELAY) && text(BOOT_COMMAND) && number(NO_PROMPT)
}

#[cfg(test)]
mod tests {
    use super::super::devicetree::{machine, testing::tree};
    use super::*;

    #[test]
    fn closing_the_prompt_changes_nothing_of_the_machine() {
        let open = tree("Raspberry Pi 4 Model B", "brcm,bcm2711");
        assert!(!prompt_is_closed(&open));
        let closed = close_prompt(&open).expect("a device tree");
        assert!(prompt_is_closed(&closed));
        assert_eq!(machine(&closed), machine(&open));
        assert_eq!(close_prompt(&closed).expect("a device tree"), closed, "twice is once");
    }

    #[test]
    fn another_word_in_its_place_leaves_the_prompt_open() {
        let closed = close_prompt(&tree("x", "y")).expect("a device tree");
        for (from, to) in [(b"bootd\0".as_slice(), b"shell\0".as_slice()), (&[0xff, 0xff, 0xff, 0xfe], &[0, 0, 0, 2])] {
            let at = closed.windows(from.len()).position(|window| window == from).expect("written");
            let mut changed = closed.clone();
            changed[at..at + to.len()].copy_from_slice(to);
            assert!(!prompt_is_closed(&changed), "{from:?}");
        }
        assert!(!prompt_is_closed(b"no device tree") && close_prompt(b"no device tree").is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_changed_tree_never_ends_the_program(at in 0usize..400, value: u8) {
            let mut bytes = close_prompt(&tree("Raspberry Pi", "brcm,bcm2711")).expect("a device tree");
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
            let _ = prompt_is_closed(&bytes);
            let _ = close_prompt(&bytes);
        }
    }
}
