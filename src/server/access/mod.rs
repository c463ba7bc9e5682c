//! Who somebody is and what they may do: roles and permissions, passwords, keys and tokens.

pub mod catalogue;
