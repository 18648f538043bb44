//! Which serial numbers are real. Firmware makers ship the same words on thousands of boards; a configuration must never reach a device by them.

/// What makers leave where a serial number should be, in lower case.
const PLACEHOLDERS: [&str; 26] = [
    "0123456789",
    "012345678",
    "123456789",
    "1234567890",
    "base board serial number",
    "chassis serial number",
    "default",
    "default string",
    "empty",
    "invalid",
    "n/a",
    "na",
    "nil",
    "none",
    "not applicable",
    "not available",
    "not defined",
    "not specified",
    "null",
    "o.e.m.",
    "oem",
    "serial number",
    "system serial number",
    "to be filled by o.e.m",
    "to be filled by oem",
    "unknown",
];

/// The trimmed number, unless it is a placeholder or one character over and over.
pub(super) fn genuine(text: &str) -> Option<String> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let word = lower.trim_end_matches('.');
    let one_character = lower.chars().all(|c| lower.starts_with(c));
    let placeholder = PLACEHOLDERS.iter().any(|placeholder| placeholder.trim_end_matches('.') == word);
    (!one_character && !placeholder).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_no_serial_numbers() {
        for text in [
            "",
            " ",
            "0",
            "00000000",
            "xxxxxxxxxx",
            "...........",
            "None",
            "NONE",
            "N/A",
            "Default string",
            "Default String ",
            "To be filled by O.E.M.",
            "To Be Filled By O.E.M.",
            "Not Specified",
            "System Serial Number",
            "0123456789",
            "O.E.M.",
        ] {
            assert_eq!(genuine(text), None, "{text:?}");
        }
    }

    #[test]
    fn serial_numbers_are_kept_as_they_are() {
        for text in ["FZ1234567", "G6BN0520013Q", "10000000a3b2c1d0", "12", "VMware-56 4d 1f"] {
            assert_eq!(genuine(&format!(" {text}\n")).as_deref(), Some(text));
        }
    }
}
