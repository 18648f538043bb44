//! The one table method -> role. What is not in it cannot be called.

use Role::{Admin, Operator, Reader};

/// What a client certificate's organisation may say, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May look.
    Reader,
    /// May also restart services and reboot.
    Operator,
    /// May also apply configurations and read them.
    Admin,
}

impl Role {
    /// The word in the certificate's organisation: `admin`, `operator` or `reader`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reader => "reader",
            Operator => "operator",
            Admin => "admin",
        }
    }

    /// Reads the word of [`Role::as_str`]; any other is no role.
    pub fn parse(word: &str) -> Option<Self> {
        [Reader, Operator, Admin].into_iter().find(|role| role.as_str() == word)
    }
}

/// One method of the node API and who may call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// The HTTP/2 path, `/skerry.v1.Node/Version`.
    pub path: &'static str,
    /// The least role that may call it.
    pub role: Role,
    /// Answered without a client certificate while the device is in maintenance.
    pub in_maintenance: bool,
}

const fn open(path: &'static str, role: Role) -> Method {
    Method { path, role, in_maintenance: true }
}

const fn closed(path: &'static str, role: Role) -> Method {
    Method { path, role, in_maintenance: false }
}

/// Every method that apid forwards.
pub const METHODS: &[Method] = &[
    open("/skerry.v1.Node/Version", Reader),
    open("/skerry.v1.Node/Status", Reader),
    open("/skerry.v1.Node/Hardware", Reader),
    open("/skerry.v1.Node/ApplyConfig", Admin),
    closed("/skerry.v1.Node/WatchStatus", Reader),
    closed("/skerry.v1.Node/GetConfig", Reader),
    closed("/skerry.v1.Node/Services", Reader),
    closed("/skerry.v1.Node/RestartService", Operator),
    closed("/skerry.v1.Node/Logs", Reader),
    closed("/skerry.v1.Node/Kmsg", Reader),
    closed("/skerry.v1.Node/Events", Reader),
    closed("/skerry.v1.Node/BootTimes", Reader),
    closed("/skerry.v1.Node/Processes", Reader),
    closed("/skerry.v1.Node/Resources", Reader),
    closed("/skerry.v1.Node/Containers", Reader),
    closed("/skerry.v1.Node/Reboot", Operator),
    closed("/skerry.v1.Node/PowerOff", Operator),
];

/// The table's entry for an HTTP/2 path, or none: then nobody may call it.
pub fn method(path: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;

    fn paths_in_proto() -> BTreeSet<String> {
        let set = prost_types::FileDescriptorSet::decode(crate::NODE_DESCRIPTORS).expect("the build wrote it");
        let mut paths = BTreeSet::new();
        for file in set.file.iter().filter(|file| file.package() == "skerry.v1") {
            for service in &file.service {
                for method in &service.method {
                    paths.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        paths
    }

    #[test]
    fn every_method_has_a_role_and_every_role_a_method() {
        let table: BTreeSet<String> = METHODS.iter().map(|method| method.path.to_owned()).collect();
        assert_eq!(table, paths_in_proto());
        assert_eq!(table.len(), METHODS.len(), "a method stands in the table twice");
    }

    #[test]
    fn only_four_methods_answer_in_maintenance() {
        let open: Vec<_> = METHODS.iter().filter(|method| method.in_maintenance).map(|method| method.path).collect();
        assert_eq!(
            open,
            ["/skerry.v1.Node/Version", "/skerry.v1.Node/Status", "/skerry.v1.Node/Hardware", "/skerry.v1.Node/ApplyConfig"]
        );
    }

    #[test]
    fn roles_are_ordered_and_round_trip() {
        assert!(Reader < Operator && Operator < Admin);
        for role in [Reader, Operator, Admin] {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
        assert_eq!(Role::parse("Admin"), None);
    }
}
