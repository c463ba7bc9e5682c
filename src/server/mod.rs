//! Everything behind the listeners.

pub mod access;
pub mod clock;
pub mod error;
pub mod random;
pub mod services;
pub mod transport;
