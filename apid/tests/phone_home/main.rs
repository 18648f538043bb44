//! Phone home against a hub made for the purpose: real TLS, HTTP/2 and gRPC, in one process, most of it in virtual time.

mod daemon;
mod device;
mod hostile;
mod hub;
mod idle;
mod network;
mod sessions;
mod tunnels;
