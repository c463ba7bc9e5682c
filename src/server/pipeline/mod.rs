//! The way of every call: audit( authenticate → authorize → validate → call ).
//!
//! The build emits from the contract a table of all RPCs, per service a trait of handlers, and a gRPC service that
//! reaches a handler only through [`Gate`]. What always holds: a handler runs only for a caller whom the RPC's access
//! rule admits, with a request that keeps the contract's rules; a panic fails that call alone; a record of a refused or
//! failed call is on disk before the reply leaves.

pub mod admission;
pub mod call;
pub mod change;
pub mod desktop;
pub mod gate;
pub mod rpc;
#[cfg(test)]
mod tests;
pub mod validation;
mod watch;

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use tonic::Status;

pub use self::{
    call::{Authorized, Call, Pending},
    change::Change,
    gate::{Gate, Shared},
    rpc::{RPCS, Rpc, find},
};
use crate::server::error::Result;

/// What a streaming handler returns.
pub type Items<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// What a streaming RPC sends.
pub type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The handlers' traits and the services behind the gate, one of each per service of the contract.
#[allow(clippy::all, clippy::redundant_closure_for_method_calls, unused_variables, unused_imports, dead_code)]
pub mod generated {
    use super::{
        admission::{Need, Plan, Rule, TargetOf, Wanted, id},
        call::{Authorized, Pending},
        gate::Gate,
        rpc::{Rpc, When},
        validation::{Check, Pattern, Violations},
        *,
    };
    use crate::server::access::{caller::Caller, catalogue::Permission, decide::Visible};

    include!(concat!(env!("OUT_DIR"), "/checks.rs"));
    include!(concat!(env!("OUT_DIR"), "/pipeline.rs"));
}
