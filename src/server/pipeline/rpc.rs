//! What is known of every RPC at run time.

use std::{collections::HashMap, sync::LazyLock};

pub use super::generated::RPCS;

/// One RPC of the contract.
#[derive(Debug)]
pub struct Rpc {
    /// Service and method, such as `WorkspaceService/GetWorkspace`: the label of logs and metrics.
    pub name: &'static str,
    /// The gRPC path, such as `/chorus.v1.WorkspaceService/GetWorkspace`.
    pub path: &'static str,
    /// Callers need not be signed in.
    pub public: bool,
    /// Declared, but not served yet.
    pub planned: bool,
    /// Open to a session that has to change a temporary password.
    pub restricted: bool,
    /// Closed to API tokens.
    pub session_only: bool,
    /// It signs out, so that even its refusal removes the cookie of a session that has ended.
    pub signs_out: bool,
    /// The reply is a stream.
    pub streaming: bool,
    /// The largest request, in bytes.
    pub max_bytes: usize,
    /// When the call is recorded.
    pub audit: When,
    /// The name of the audited action; empty when the call is never recorded.
    pub action: &'static str,
}

/// When a call is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Never.
    Never,
    /// When it is refused or fails.
    Failure,
    /// Always.
    Always,
}

/// The RPC with this gRPC path.
pub fn find(path: &str) -> Option<&'static Rpc> {
    static INDEX: LazyLock<HashMap<&'static str, &'static Rpc>> =
        LazyLock::new(|| RPCS.iter().map(|rpc| (rpc.path, rpc)).collect());
    INDEX.get(path).copied()
}
