//! What the build generated from the contract (`proto/`): messages, gRPC servers and clients, and the descriptors from
//! which REST routes, OpenAPI and the client's output are made.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The package `chorus.v1`.
pub use chorus::v1;

/// Packages whose root is `chorus`.
#[allow(missing_docs, rustdoc::all, clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]
pub mod chorus {
    /// The contract.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/chorus.v1.rs"));
    }
}

/// Packages whose root is `google`.
#[allow(missing_docs, rustdoc::all, clippy::all)]
pub mod google {
    /// Raw HTTP bodies.
    pub mod api {
        include!(concat!(env!("OUT_DIR"), "/google.api.rs"));
    }
}

mod secrets {
    include!(concat!(env!("OUT_DIR"), "/secrets.rs"));
}

/// The encoded descriptors of the contract, with options and comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of the contract, with options and comments.
pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default());
    &POOL
}
