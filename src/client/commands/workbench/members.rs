//! `chorus workbench member`: what is special about members of a workbench.
//!
//! Somebody has one role in a workbench, so a new one takes the place of the old, and there is nothing but everything to take
//! away.

use clap::Args;

use super::Target;
use crate::{
    client::{
        commands::member::Place,
        connect::{self, Session},
        error::Result,
        resolve::Reference,
    },
    proto::v1::{AddUserRoleInWorkbenchRequest, RemoveUserFromWorkbenchRequest, Role, UserFilter, Workbench},
};

/// Nothing less than everything is taken from a member of a workbench.
#[derive(Debug, Args)]
pub struct Everything {}

impl Place for Target {
    const KIND: &'static str = "workbench";
    const ROLE: &'static str = "WorkbenchMember";
    const ROLES: &'static str = "Name of a role of scope workbench, as in `chorus role list --scope workbench`; it replaces \
                                 the role that the user has there";
    const EXAMPLES: (&'static str, &'static str) = (
        "\
Examples:
  chorus workbench member add desk ada
  chorus workbench member add genomics/desk ada --role WorkbenchViewer",
        "\
Examples:
  chorus workbench member remove desk ada",
    );
    type Part = Everything;
    type Thing = Workbench;

    fn reference(&self) -> &Reference {
        &self.workbench
    }

    async fn id(&self, session: &Session) -> Result<u64> {
        self.find(session).await.map(|(id, _)| id)
    }

    fn members(id: u64) -> UserFilter {
        UserFilter { workbench_ids: vec![id], ..UserFilter::default() }
    }

    async fn add(session: &Session, what: &str, id: u64, user_id: u64, role: Role) -> Result<Option<Workbench>> {
        let request = AddUserRoleInWorkbenchRequest { id, user_id, role: Some(role) };
        let call = session.call(what, "WorkbenchService/AddUserRoleInWorkbench", request, async |channel, request| {
            connect::workbenches(channel).add_user_role_in_workbench(request).await
        });
        Ok(call.await?.result.and_then(|result| result.workbench))
    }

    async fn remove(
        session: &Session,
        Everything {}: Everything,
        (id, place): (u64, &str),
        (user_id, user): (u64, &str),
    ) -> Result<(Option<Workbench>, String)> {
        let what = format!("remove user {user} from workbench {place}");
        let request = RemoveUserFromWorkbenchRequest { id, user_id };
        let rpc = "WorkbenchService/RemoveUserFromWorkbench";
        let call = session.call(&what, rpc, request, async |channel, request| {
            connect::workbenches(channel).remove_user_from_workbench(request).await
        });
        let stored = call.await?.result.and_then(|result| result.workbench);
        Ok((stored, format!("user {user} has left workbench {place}")))
    }
}
