//! Whole answers from fixture folders.

use std::fs;
use std::path::Path;

use super::*;

struct Machine {
    folder: tempfile::TempDir,
    roots: Roots,
}

impl Machine {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temp folder");
        let roots = Roots::new(&folder.path().join("proc"), &folder.path().join("sys"));
        let machine = Self { folder, roots };
        files.iter().for_each(|(path, content)| machine.write(path, content.as_bytes()));
        machine
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("it can be made");
        fs::write(path, content).expect("it can be written");
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("it can be made");
        std::os::unix::fs::symlink(Path::new(target), path).expect("it can be made");
    }
}

fn nuc() -> Machine {
    let machine = Machine::new(&[
        ("sys/class/dmi/id/sys_vendor", "Intel(R) Client Systems\n"),
        ("sys/class/dmi/id/product_name", "NUC11TNKi5\n"),
        ("sys/class/dmi/id/product_serial", "G6TN2130026H\n"),
        ("sys/class/dmi/id/board_serial", "BTTN21200FX5\n"),
        ("sys/class/dmi/id/chassis_serial", "Default string\n"),
        ("sys/class/dmi/id/product_uuid", "4c4c4544-0000-2010-8020-80c04f202020\n"),
        ("sys/class/dmi/id/bios_vendor", "Intel Corp.\n"),
        ("sys/class/dmi/id/bios_version", "TNTGL357.0064\n"),
        ("sys/class/tpm/tpm0/dev", "10:224\n"),
        ("proc/cpuinfo", "processor: 0\nmodel name: i5-1135G7\nprocessor: 1\n"),
        ("proc/meminfo", "MemTotal: 8000000 kB\n"),
        ("sys/block/loop0/size", "0\n"),
        ("sys/block/nvme0c0n1/device/model", "KINGSTON  \n"),
        ("sys/block/nvme0c0n1/hidden", "1\n"),
        ("sys/block/nvme0c0n1/size", "2048\n"),
        ("sys/block/nvme0n1/hidden", "0\n"),
        ("sys/block/nvme0n1/size", "2048\n"),
        ("sys/block/nvme0n1/device/model", "KINGSTON  \n"),
        ("sys/block/nvme0n1/device/serial", "50026B\n"),
        ("sys/block/nvme0n1/removable", "0\n"),
        ("sys/block/nvme0n1/nvme0n1p10/partition", "10\n"),
        ("sys/block/nvme0n1/nvme0n1p10/size", "8\n"),
        ("sys/block/nvme0n1/nvme0n1p2/partition", "2\n"),
        ("sys/block/nvme0n1/nvme0n1p2/size", "1024\n"),
        ("sys/block/nvme0n1/nvme0n1p2/uevent", "DEVTYPE=partition\nPARTN=2\nPARTNAME=SEED\n"),
        ("sys/block/nvme0n1/queue/size", "7\n"),
        ("sys/class/net/eth0/type", "1\n"),
        ("sys/class/net/eth0/address", "52:54:00:aa:bb:cc\n"),
        ("sys/class/net/eth0/mtu", "1500\n"),
        ("sys/class/net/eth0/carrier", "1\n"),
        ("sys/class/net/eth0/operstate", "up\n"),
        ("sys/class/net/eth0/statistics/rx_bytes", "123\n"),
        ("sys/class/net/cni0/type", "1\n"),
        ("sys/class/net/cni0/address", "52:54:00:00:00:01\n"),
    ]);
    machine.link("sys/class/net/eth0/device/driver", "../../../bus/pci/drivers/igc");
    machine
}

#[test]
fn a_small_pc() {
    let machine = nuc();
    let hardware = machine.roots.hardware("nvme0n1");
    assert_eq!((hardware.vendor.as_str(), hardware.product.as_str()), ("Intel(R) Client Systems", "NUC11TNKi5"));
    assert_eq!(hardware.serial, "G6TN2130026H");
    assert_eq!(hardware.firmware, "Intel Corp. TNTGL357.0064");
    assert_eq!((hardware.cpu_count, hardware.memory_bytes, hardware.tpm), (2, 8_192_000_000, true));
    assert_eq!(hardware.secure_boot, "unknown");

    let [disk] = &hardware.disks[..] else { panic!("one disk: {:?}", hardware.disks) };
    assert_eq!((disk.size_bytes, disk.model.as_str(), disk.serial.as_str(), disk.boot), (1 << 20, "KINGSTON", "50026B", true));
    let partitions: Vec<_> =
        disk.partitions.iter().map(|part| (part.name.as_str(), part.label.as_str(), part.size_bytes)).collect();
    assert_eq!(partitions, [("nvme0n1p2", "SEED", 524_288), ("nvme0n1p10", "", 4096)]);

    let [nic] = &hardware.nics[..] else { panic!("one port: {:?}", hardware.nics) };
    assert_eq!((nic.name.as_str(), nic.driver.as_str(), nic.carrier, nic.mtu, nic.rx_bytes), ("eth0", "igc", true, 1500, 123));
    let links: Vec<_> = machine.roots.resources("").links.into_iter().map(|link| link.name).collect();
    assert_eq!(links, ["cni0", "eth0"]);
}

#[test]
fn configurations_reach_it_by_real_serials_and_wired_macs_only() {
    let machine = nuc();
    assert_eq!(machine.roots.device_serials(), ["G6TN2130026H", "BTTN21200FX5"]);
    let macs: Vec<_> = machine.roots.wired_macs().iter().map(ToString::to_string).collect();
    assert_eq!(macs, ["52:54:00:aa:bb:cc"]);
}

#[test]
fn a_board_with_a_device_tree() {
    let machine = Machine::new(&[
        ("sys/firmware/devicetree/base/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
        ("sys/firmware/devicetree/base/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
        ("sys/firmware/devicetree/base/serial-number", "10000000a3b2c1d0\0"),
    ]);
    let hardware = machine.roots.hardware("");
    assert_eq!((hardware.vendor.as_str(), hardware.product.as_str()), ("raspberrypi", "Raspberry Pi 4 Model B Rev 1.4"));
    assert_eq!(hardware.serial, "10000000a3b2c1d0");
    assert_eq!(machine.roots.device_serials(), ["10000000a3b2c1d0"]);
}

#[test]
fn an_emulator_without_a_serial_number_has_none() {
    let machine = Machine::new(&[
        ("sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n"),
        ("sys/class/dmi/id/product_serial", "Not Specified\n"),
        ("sys/class/dmi/id/board_serial", "\n"),
    ]);
    assert!(machine.roots.device_serials().is_empty());
    assert_eq!(machine.roots.hardware("").serial, "");
}

#[test]
fn secure_boot_is_read_where_it_can_be() {
    let variable = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let by_variable = |value: u8| {
        let machine = Machine::new(&[]);
        machine.write(variable, &[6, 0, 0, 0, value]);
        machine.roots.hardware("").secure_boot
    };
    assert_eq!((by_variable(1).as_str(), by_variable(0).as_str()), ("on", "off"));
    let by_zero_page = |value: u8| {
        let machine = Machine::new(&[]);
        let mut page = [0; 4096];
        page[0x1ec] = value;
        machine.write("sys/kernel/boot_params/data", &page);
        machine.roots.hardware("").secure_boot
    };
    assert_eq!([by_zero_page(0), by_zero_page(1), by_zero_page(2), by_zero_page(3)], ["unknown", "unknown", "off", "on"]);
}

#[test]
fn a_machine_that_says_nothing_is_no_error() {
    let machine = Machine::new(&[]);
    assert_eq!(machine.roots.hardware("vda").secure_boot, "unknown");
    assert!(machine.roots.resources("vda").mounts.is_empty());
    assert!(machine.roots.processes().processes.is_empty());
}

#[test]
fn processes_and_kernel_threads() {
    let machine = Machine::new(&[
        ("proc/1/stat", "1 (skerry-init) S 0 1 1 0 -1 0 9 9 0 0 10 20 0 0 20 0 1 0 5 100 50"),
        ("proc/1/status", "Name:\tskerry-init\nVmRSS:\t    5120 kB\n"),
        ("proc/1/cmdline", "/init\0"),
        ("proc/1/cgroup", "0::/skerry/init\n"),
        ("proc/10/stat", "10 (kworker/0:1) I 2 0 0 0 -1 0 0 0 0 0 0 5 0 0 20 0 1 0 5 0 0"),
        ("proc/9/stat", "9 (gone"),
        ("proc/self/stat", "1 (x) S 0"),
    ]);
    let processes = machine.roots.processes().processes;
    let lines: Vec<_> = processes
        .iter()
        .map(|p| format!("{} {} {} {} {} {}", p.pid, p.ppid, p.command, p.rss_bytes, p.cpu_ms, p.cgroup))
        .collect();
    assert_eq!(lines, ["1 0 /init 5242880 300 /skerry/init", "10 2 [kworker/0:1] 0 50 "]);
}

#[test]
fn the_serial_number_of_a_sata_disk_stands_in_its_vital_product_data() {
    let machine = Machine::new(&[("sys/block/sda/size", "8\n"), ("sys/block/sda/device/model", "Samsung SSD 860\n")]);
    machine.write("sys/block/sda/device/vpd_pg80", b"\0\x80\0\x14     S3Z2NB0K123456A");
    let disks = machine.roots.disks("");
    assert_eq!(disks[0].serial, "S3Z2NB0K123456A");
    machine.write("sys/block/sda/device/vpd_pg80", b"\0\x80");
    assert_eq!(machine.roots.disks("")[0].serial, "");
}
