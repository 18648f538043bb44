//! Reads a Raspberry Pi's `config.txt` as its firmware documents it: sections in brackets, `key=value`, and `initramfs` without `=`.

/// The settings in the order of the file, each with the section it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PiConfig {
    settings: Vec<Setting>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    section: String,
    key: String,
    value: String,
}

impl PiConfig {
    /// Reads the text.
    pub fn parse(text: &str) -> Self {
        let mut section = "all".to_owned();
        let mut settings = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.into();
            } else if let Some((key, value)) = line.split_once('=').or_else(|| line.split_once(' ')) {
                settings.push(Setting { section: section.clone(), key: key.trim().into(), value: value.trim().into() });
            }
        }
        Self { settings }
    }

    /// The last value of `key`, whatever its section.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.settings.iter().rev().find(|setting| setting.key == key).map(|setting| setting.value.as_str())
    }

    /// All values of `key`, each with its section.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let found = self.settings.iter().filter(move |setting| setting.key == key);
        found.map(|setting| (setting.section.as_str(), setting.value.as_str()))
    }

    /// A file of the slot: the firmware puts `os_prefix` before its name.
    pub fn in_slot(&self, name: &str) -> String {
        format!("{}{name}", self.value("os_prefix").unwrap_or_default())
    }

    /// The kernel's path.
    pub fn kernel(&self) -> Option<String> {
        self.value("kernel").map(|name| self.in_slot(name))
    }

    /// The initramfs's path, from `initramfs NAME followkernel`.
    pub fn initramfs(&self) -> Option<String> {
        self.value("initramfs")?.split_whitespace().next().map(|name| self.in_slot(name))
    }

    /// The path of the command line.
    pub fn command_line(&self) -> String {
        self.in_slot(self.value("cmdline").unwrap_or("cmdline.txt"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_below_the_slots_prefix() {
        let config = PiConfig::parse(
            "# slot A\narm_64bit=1\nos_prefix=skerry-a/\nkernel=kernel.img\ninitramfs initramfs.img followkernel\n[pi5]\ndevice_tree=bcm2712-rpi-5-b.dtb\n[all]\n",
        );
        assert_eq!(config.kernel().as_deref(), Some("skerry-a/kernel.img"));
        assert_eq!(config.initramfs().as_deref(), Some("skerry-a/initramfs.img"));
        assert_eq!(config.command_line(), "skerry-a/cmdline.txt");
        assert_eq!(config.values("device_tree").collect::<Vec<_>>(), [("pi5", "bcm2712-rpi-5-b.dtb")]);
        assert_eq!(config.value("dtoverlay"), None);
    }
}
