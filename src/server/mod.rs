//! Everything behind the listeners.

pub mod access;
pub mod clock;
pub mod db;
pub mod error;
pub mod random;
pub mod transport;
