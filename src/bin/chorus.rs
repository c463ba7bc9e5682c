//! chorus
fn main() {}
