//! Integration tests. They need nothing but the toolchain; what needs more says what it skipped and how to get it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod attacks;
mod audit;
mod authentication;
mod completions;
mod contract;
mod coverage;
mod db;
mod matrix;
mod openapi;
mod replicas;
mod robustness;
mod support;
mod users;
