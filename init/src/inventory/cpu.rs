//! Processors: what they are (/proc/cpuinfo) and how busy they are (/proc/loadavg, /proc/stat).

use api::v1::Cpu;

use super::source::field;

/// Milliseconds in a tick of /proc: USER_HZ is 100 on every architecture Skerry runs on.
pub(super) const TICK_MS: u64 = 10;

/// ARM processors say numbers, not names: implementer, part, name.
const ARM_PARTS: [(&str, &str, &str); 8] = [
    ("0x41", "0xd03", "Cortex-A53"),
    ("0x41", "0xd05", "Cortex-A55"),
    ("0x41", "0xd07", "Cortex-A57"),
    ("0x41", "0xd08", "Cortex-A72"),
    ("0x41", "0xd0b", "Cortex-A76"),
    ("0x41", "0xd0c", "Neoverse-N1"),
    ("0x41", "0xd40", "Neoverse-V1"),
    ("0x41", "0xd41", "Cortex-A78"),
];

/// The first processor's name.
pub(super) fn model(cpuinfo: &str) -> String {
    if let Some(name) = field(cpuinfo, "model name", ':') {
        return name.to_owned();
    }
    let (Some(implementer), Some(part)) = (field(cpuinfo, "CPU implementer", ':'), field(cpuinfo, "CPU part", ':')) else {
        return String::new();
    };
    let known = ARM_PARTS.iter().find(|known| (known.0, known.1) == (implementer, part));
    known.map_or_else(|| format!("ARM implementer {implementer} part {part}"), |known| known.2.to_owned())
}

/// How many processors the kernel uses.
pub(super) fn count(cpuinfo: &str) -> u32 {
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor") && line.contains(':'));
    u32::try_from(processors.count()).unwrap_or(u32::MAX)
}

/// How busy they are.
pub(super) fn usage(cpuinfo: &str, loadavg: &str, stat: &str) -> Cpu {
    let mut loads = loadavg.split_whitespace().map(|load| load.parse().unwrap_or(0.0));
    let mut load = || loads.next().unwrap_or(0.0);
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guest time is already part of user time.
    let ticks: Vec<u64> = line.split_whitespace().take(8).map(|ticks| ticks.parse().unwrap_or(0)).collect();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let all: u64 = ticks.iter().sum();
    Cpu {
        count: count(cpuinfo),
        load1: load(),
        load5: load(),
        load15: load(),
        busy_ms: (all - idle) * TICK_MS,
        idle_ms: idle * TICK_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pc() {
        let info = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t: fpu\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!((model(info).as_str(), count(info)), ("AMD EPYC", 2));
        let usage = usage(info, "0.52 1.00 2.25 1/200 4242\n", "cpu  100 5 50 800 20 1 4 0 30 0\ncpu0 1 1 1 1\nintr 5\n");
        assert_eq!((usage.load1, usage.load5, usage.load15), (0.52, 1.0, 2.25));
        assert_eq!((usage.count, usage.busy_ms, usage.idle_ms), (2, 1600, 8200));
    }

    #[test]
    fn an_arm_board() {
        let info = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n";
        assert_eq!(model(info), "Cortex-A72");
        assert_eq!(model("CPU implementer: 0x61\nCPU part: 0x22\n"), "ARM implementer 0x61 part 0x22");
    }

    #[test]
    fn nothing_readable_is_nothing_known() {
        assert_eq!((model(""), count("")), (String::new(), 0));
        assert_eq!(usage("", "", ""), Cpu::default());
    }
}
