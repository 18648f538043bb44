//! The node API: generated types, and the one table that says which role may call which method.
//!
//! Nothing here does I/O. The protobuf files in `proto/` are the reference for every field and its unit.

pub mod hub;
mod methods;

pub use methods::{METHODS, Method, Role, method};

/// `skerry.v1`: what an operator may ask of one device.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/skerry/v1/node.proto, documented there")]
pub mod v1 {
    tonic::include_proto!("skerry.v1");
}

/// `skerry.internal.v1`: what apid asks of init over the unix socket. The inner module stands where the generated code looks for others.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/skerry/v1/internal.proto, documented there")]
pub mod internal {
    pub use v1::*;

    pub mod v1 {
        tonic::include_proto!("skerry.internal.v1");
    }
}

/// The Kubernetes container runtime interface, as far as Skerry uses it.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/cri/runtime.proto, documented there")]
pub mod cri {
    tonic::include_proto!("runtime.v1");
}

/// containerd's own services, as far as Skerry uses them. The tree of modules is the tree of protobuf packages.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/containerd/*.proto, documented there")]
pub mod containerd {
    pub mod types {
        tonic::include_proto!("containerd.types");
    }
    pub mod services {
        pub mod content {
            pub mod v1 {
                tonic::include_proto!("containerd.services.content.v1");
            }
        }
        pub mod images {
            pub mod v1 {
                tonic::include_proto!("containerd.services.images.v1");
            }
        }
        pub mod leases {
            pub mod v1 {
                tonic::include_proto!("containerd.services.leases.v1");
            }
        }
    }
}

/// Where containerd serves its own API and the container runtime interface.
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// The image every pod sandbox runs. It is part of the runtime image, so that a pod starts without any registry.
pub const SANDBOX_IMAGE: &str = "localhost/skerry/pause:1";

/// The public service's file descriptor set, for server reflection.
pub const NODE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/node.bin"));

/// TCP port of the API unless the configuration says otherwise.
pub const DEFAULT_PORT: u16 = 7440;

/// Where init serves the API and the internal service; apid's only way to init.
pub const INIT_SOCKET: &str = "/run/skerry/init.sock";

/// The DNS name in every device's leaf certificate. It proves nothing, the key does; TLS wants a name.
pub const LEAF_NAME: &str = "skerry";

/// User and group id of apid.
pub const APID_UID: u32 = 7440;

/// Metadata key under which apid tells init the caller's name (the certificate's common name, or `anonymous`).
pub const PEER_METADATA: &str = "x-skerry-peer";

/// Metadata key under which apid tells init the caller's role (`admin`, `operator`, `reader` or `anonymous`).
pub const ROLE_METADATA: &str = "x-skerry-role";

/// Metadata key under which a refusal carries its stable code, e.g. `generation-older`.
pub const ERROR_CODE_METADATA: &str = "x-skerry-error-code";
