//! Rooms that the contract has and this version does not: their calls are authenticated and authorized by the pipeline,
//! which then answers that they are not built. So they have no handlers.

use crate::server::pipeline::generated::{
    ApprovalRequestHandlers, OrganizationHandlers, StewardHandlers, TermsOfUseHandlers, WorkspaceFileHandlers,
    WorkspaceServiceInstanceHandlers,
};

/// Such a room.
#[derive(Debug, Clone, Copy)]
pub struct Unbuilt;

impl ApprovalRequestHandlers for Unbuilt {}
impl OrganizationHandlers for Unbuilt {}
impl StewardHandlers for Unbuilt {}
impl TermsOfUseHandlers for Unbuilt {}
impl WorkspaceFileHandlers for Unbuilt {}
impl WorkspaceServiceInstanceHandlers for Unbuilt {}
