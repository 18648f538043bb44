//! Running the binary and saying what it must do.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

/// A run of the binary, ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs `skerryctl` in a folder, without the environment of whoever runs the tests.
pub fn skerryctl(dir: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::cargo_bin("skerryctl").expect("cargo builds the package's binary before its tests");
    command.current_dir(dir).env_clear().env("HOME", dir).args(arguments);
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    Ran {
        code: status.code().expect("it ends by itself"),
        out: String::from_utf8(stdout).expect("answers are UTF-8"),
        err: String::from_utf8(stderr).expect("messages are UTF-8"),
    }
}

impl Ran {
    /// It must have succeeded; its standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    /// It must have failed so, saying all of these words; its standard error.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "`{word}` is missing in: {}", self.err);
        }
        assert!(!self.err.contains('\x1b'), "colours reach a pipe: {:?}", self.err);
        self.err
    }
}

/// A folder with an open fleet `acme` in it.
pub fn with_fleet() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = ctl::fleet::InitOptions::new("acme".parse().expect("a name"));
    ctl::fleet::init(&dir.path().join("acme"), &options).expect("a fleet");
    dir
}

/// Writes a file and gives its name back.
pub fn write<'a>(dir: &Path, name: &'a str, text: &str) -> &'a str {
    std::fs::write(dir.join(name), text).expect("a temporary folder takes files");
    name
}

/// The client CA of the examples.
const CLIENT_CA: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBXTCCAQ+gAwIBAgIUH8pDB2TOqcWJBHV0AmjME8UybJwwBQYDK2VwMCMxITAf\n\
BgNVBAMMGGFjbWUgY2xpZW50IENBIChleGFtcGxlKTAgFw0yNjExMjAwODA0Mjha\n\
GA8yMTI2MTAyNzA4MDQyOFowIzEhMB8GA1UEAwwYYWNtZSBjbGllbnQgQ0EgKGV4\n\
YW1wbGUpMCowBQYDK2VwAyEATNSIrDqPQTHNhlopMUNIVVdSp+qxCmnC0JeKMmIk\n\
66ajUzBRMB0GA1UdDgQWBBQGNYnxhSpKsXH5zu0HalZPAJqDujAfBgNVHSMEGDAW\n\
gBQGNYnxhSpKsXH5zu0HalZPAJqDujAPBgNVHRMBAf8EBTADAQH/MAUGAytlcANB\n\
AAS0/jx/RhSYqqCUm7JoI+r8dS3GdoUVbVkkh1oo7sxCjEXg7yyXkDBvo1zXve2r\n\
b91l2U9YHj0XKEEx1jSQxwo=\n\
-----END CERTIFICATE-----\n";

/// A configuration for fleet `acme` that is valid as it stands.
pub fn minimal(generation: u64) -> String {
    format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: MachineConfig\nmetadata: {{name: node-1, fleet: acme, generation: {generation}}}\n\
         target: {{any: true}}\napi: {{clientCa: {:?}}}\n",
        CLIENT_CA
    )
}
