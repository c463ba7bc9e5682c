//! The control plane of a trusted research environment.
//!
//! ```text
//! proto/chorus/v1/*.proto ── the contract: messages, RPCs, REST bindings, access, audit, validation rules
//!         │ build/ (no protoc needed)
//!         ▼
//!  types · gRPC server and client · the pipeline of every RPC · descriptors for REST and OpenAPI
//!
//!  CLI ──────gRPC──┐
//!  other services ─┤    transport        pipeline (generated per RPC)         services/<noun>      db
//!  browser ──REST──┼──► grpc, rest ──►   audit( authenticate →                rules, models,  ──► SQLite │
//!                  └──► (in process)     authorize → validate → call )        transactions         PostgreSQL
//! ```
//!
//! - [`proto`] mounts what the build generated from the contract.
//! - [`server`] is everything behind the listeners.
//! - [`cli`] knows all commands and runs them.
//! - [`client`] is the administrator's command line; it never imports the server.

pub mod cli;
pub mod client;
pub mod proto;
pub mod server;
