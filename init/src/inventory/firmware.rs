//! What the firmware says of the machine: SMBIOS on PCs, the device tree on boards. Secure Boot as the loader left it.

use super::serial::genuine;
use super::source::{Roots, head};

/// The EFI variable that says whether signatures were checked.
const SECURE_BOOT: &str = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Bytes of attributes before an EFI variable's value.
const ATTRIBUTE_BYTES: usize = 4;

/// `secure_boot` in the x86 boot protocol's zero page (Documentation/arch/x86/zero-page.rst): there without efivarfs too.
const ZERO_PAGE_SECURE_BOOT: usize = 0x1ec;

/// What the firmware says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Firmware {
    pub(super) vendor: String,
    pub(super) product: String,
    /// Real ones, most particular first, none twice.
    pub(super) serials: Vec<String>,
    pub(super) uuid: String,
    pub(super) firmware: String,
}

impl Firmware {
    /// SMBIOS where there is any, else the device tree.
    pub(super) fn read(roots: &Roots) -> Self {
        let (smbios, tree) = (Self::smbios(roots), Self::device_tree(roots));
        let mut chosen = if smbios.product.is_empty() { tree.clone() } else { smbios };
        for serial in tree.serials {
            if !chosen.serials.contains(&serial) {
                chosen.serials.push(serial);
            }
        }
        chosen
    }

    fn smbios(roots: &Roots) -> Self {
        let id = |name: &str| roots.sys(&format!("class/dmi/id/{name}"));
        let mut serials = Vec::new();
        for serial in ["product_serial", "board_serial", "chassis_serial"].iter().filter_map(|name| genuine(&id(name))) {
            if !serials.contains(&serial) {
                serials.push(serial);
            }
        }
        let firmware = ["bios_vendor", "bios_version", "bios_date"].map(id);
        Self {
            vendor: id("sys_vendor"),
            product: id("product_name"),
            serials,
            uuid: id("product_uuid"),
            firmware: firmware.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
        }
    }

    fn device_tree(roots: &Roots) -> Self {
        let node = |name: &str| roots.sys(&format!("firmware/devicetree/base/{name}"));
        // The first of the compatible strings is the board's own: `raspberrypi,4-model-b`.
        let vendor = node("compatible").split(',').next().unwrap_or_default().to_owned();
        let product = node("model");
        let firmware = if product.is_empty() { String::new() } else { "device tree".to_owned() };
        Self { vendor, product, serials: genuine(&node("serial-number")).into_iter().collect(), uuid: String::new(), firmware }
    }
}

/// `on`, `off` or `unknown`.
pub(super) fn secure_boot(roots: &Roots) -> &'static str {
    let variable = head(&roots.sys_path(SECURE_BOOT), 8);
    match variable.get(ATTRIBUTE_BYTES) {
        Some(1) => return "on",
        Some(_) => return "off",
        None => {}
    }
    let zero_page = head(&roots.sys_path("kernel/boot_params/data"), 4096);
    match zero_page.get(ZERO_PAGE_SECURE_BOOT) {
        Some(2) => "off",
        Some(3) => "on",
        Some(_) | None => "unknown",
    }
}
