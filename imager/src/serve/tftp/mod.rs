//! TFTP, read-only: what firmware without HTTP loads from (RFC 1350, with the options of RFC 2347, 2348, 2349 and 7440). Writes are refused, and so
//! is every name that was not planned.

pub mod packet;
pub mod server;
pub mod transfer;
