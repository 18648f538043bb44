//! `skerry-hub`: the hub as one program.

fn main() {}
