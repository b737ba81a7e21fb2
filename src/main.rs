//! The command line; the server is the library's.

fn main() {}
