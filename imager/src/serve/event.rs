//! What happens while the server runs, for whoever is looking. The library tells; what a person sees is the binary's choice.

use std::net::Ipv4Addr;

use serde::Serialize;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The server is ready.
    Listening {
        /// Where.
        interface: String,
        /// Its own address there.
        address: Ipv4Addr,
        /// The port of HTTP.
        http_port: u16,
        /// How many machines it knows.
        machines: usize,
    },
    /// A machine's firmware was told what to boot.
    Offered {
        /// The machine.
        mac: String,
        /// Its name; none: it has none.
        name: Option<String>,
        /// Who asked.
        loader: String,
        /// What it was told.
        file: String,
    },
    /// A machine's firmware was not answered.
    Passed {
        /// The machine.
        mac: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A machine began to load its image.
    Loading {
        /// The machine.
        mac: String,
        /// Its name.
        name: String,
        /// Bytes of the image.
        bytes: u64,
    },
    /// A machine has loaded this much.
    Progress {
        /// The machine.
        mac: String,
        /// Its name.
        name: String,
        /// Bytes sent.
        sent: u64,
        /// Bytes of the image.
        bytes: u64,
    },
    /// A machine has loaded its image.
    Loaded {
        /// The machine.
        mac: String,
        /// Its name.
        name: String,
        /// How often it has, since the ledger was begun.
        loads: u32,
    },
    /// A load ended before its end.
    Broken {
        /// The machine.
        mac: String,
        /// Its name.
        name: String,
        /// Bytes sent until then.
        sent: u64,
        /// Why.
        reason: String,
    },
    /// A file was not given.
    Denied {
        /// Who asked.
        peer: Ipv4Addr,
        /// For what.
        file: String,
        /// Why.
        reason: String,
    },
    /// Something a person should read; the server goes on.
    Warning {
        /// The whole sentence.
        message: String,
    },
}

/// Takes events. Called from several threads, and must not block.
pub trait Watcher: Send + Sync {
    /// One thing happened.
    fn event(&self, event: &Event);
}

#[cfg(test)]
pub(crate) mod testing {
    //! A listener for tests.

    use std::sync::Mutex;

    use super::{Event, Watcher};

    /// Keeps events.
    #[derive(Default)]
    pub(crate) struct Kept(Mutex<Vec<Event>>);

    impl Kept {
        /// Those of this far.
        pub(crate) fn all(&self) -> Vec<Event> {
            self.0.lock().expect("not poisoned").clone()
        }
    }

    impl Watcher for Kept {
        fn event(&self, event: &Event) {
            self.0.lock().expect("not poisoned").push(event.clone());
        }
    }
}
