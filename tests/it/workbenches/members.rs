//! Who belongs to a workbench.

use super::*;
use crate::support::server::on_each_engine;

async fn remove(server: &TestServer, by: &Person, id: i64, user: i64) -> Reply {
    call(server, by, Method::DELETE, &format!("/{id}/user/{user}"), None).await
}

#[tokio::test]
async fn a_member_has_one_role() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let owner = member(&server, "owner", workspace).await;
        let id = made(&server, &owner, workspace, "desk").await;
        let user = server.person("user", &[]).await;
        let held = |role: &str| vec![(owner.id, "WorkbenchAdmin".to_owned(), false), (user.id, role.to_owned(), false)];
        assert_eq!(get(&server, &user, id).await.status, 403);

        for (role, told) in [("WorkbenchMember", 1), ("WorkbenchViewer", 3), ("WorkbenchViewer", 3)] {
            let reply = add(&server, &owner, id, user.id, role).await;
            assert_eq!((reply.status, super::id(shown(&reply))), (200, id), "{:?}", reply.body);
            assert_eq!(roles_in(&server, id).await, held(role), "in place of the one before");
            assert_eq!(messages_to(&server, user.id).await.len(), told, "{role}");
        }
        assert_eq!(get(&server, &user, id).await.status, 200);
        for (who, workspaces, workbenches) in [(user.id, 0, 1), (owner.id, 1, 1)] {
            let who = &who.to_string();
            // members of the workspace are only those who were made its members
            let listed = async |filter: String| {
                let reply =
                    server.rest(Some(&server.admin), Method::GET, &format!("/api/rest/v1/users?{filter}"), None).await;
                let users = reply.body["result"]["users"].as_array().unwrap().clone();
                users.iter().filter(|user| user["id"] == *who).count()
            };
            assert_eq!(listed(format!("filter.workspaceIDs={workspace}")).await, workspaces);
            assert_eq!(listed(format!("filter.workbenchIDs={id}")).await, workbenches);
        }

        // more than one, as it may have come about otherwise, go together
        server.give(&user, &[("WorkbenchMember", &[("workbench", &id.to_string())])]).await;
        for _ in 0..2 {
            assert_eq!(remove(&server, &owner, id, user.id).await.status, 200, "who is no member stays none");
            assert_eq!(roles_in(&server, id).await.len(), 1);
        }
        assert_eq!(get(&server, &user, id).await.status, 403);
    })
    .await;
}

#[tokio::test]
async fn who_may_change_members() {
    on_each_engine(|server| async move {
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let owner = member(&server, "owner", workspace).await;
        let id = made(&server, &owner, workspace, "desk").await;
        let at = id.to_string();
        let colleague = server.person("colleague", &[("WorkbenchMember", &[("workbench", &at)])]).await;
        let space = workspace.to_string();
        let chief = server.person("chief", &[("WorkspaceAdmin", &[("workspace", &space)])]).await;
        let user = server.person("user", &[]).await;
        for (by, role, status, reason) in [
            (&colleague, "WorkbenchViewer", 403, "PERMISSION_DENIED"),
            (&chief, "WorkbenchViewer", 403, "PERMISSION_DENIED"),
            (&owner, "WorkspaceMember", 400, "VALIDATION_FAILED"),
            (&owner, "SuperAdmin", 400, "VALIDATION_FAILED"),
            (&owner, "NoSuchRole", 400, "VALIDATION_FAILED"),
            (&owner, "WorkbenchAdmin", 200, ""),
        ] {
            let reply = add(&server, by, id, user.id, role).await;
            assert_eq!((reply.status, reply.reason()), (status, reason), "{} {role}", by.username);
        }
        let reply = add(&server, &owner, id, 999_999, "WorkbenchViewer").await;
        assert_eq!((reply.status, reply.reason()), (404, "USER_NOT_FOUND"));
        let reply = add(&server, &server.admin, 999_999, user.id, "WorkbenchViewer").await;
        assert_eq!((reply.status, reply.reason()), (404, "WORKBENCH_NOT_FOUND"));
        assert_eq!(add(&server, &owner, 999_999, user.id, "WorkbenchViewer").await.status, 403);
        assert_eq!(remove(&server, &chief, id, user.id).await.status, 403);
        assert_eq!(remove(&server, &user, id, owner.id).await.status, 200, "an administrator removes any member");
    })
    .await;
}

/// Who leaves a workspace leaves its desktops, and no others.
#[tokio::test]
async fn who_leaves_the_workspace_leaves_its_workbenches() {
    on_each_engine(|server| async move {
        for way in ["user/{user}", "user/{user}/role/WorkspaceMember"] {
            let (atlas, bering) =
                (server.workspace(&server.admin, "Atlas").await, server.workspace(&server.admin, "Bering").await);
            let space = atlas.to_string();
            let chief = server.stranger(server.tenant, &[("WorkspaceAdmin", &[("workspace", &space)])]).await;
            let leaver = server.stranger(server.tenant, &[("WorkspaceMember", &[("workspace", &space)])]).await;
            let own = made(&server, &leaver, atlas, "own").await;
            let elsewhere = made(&server, &server.admin, bering, "elsewhere").await;
            add(&server, &server.admin, elsewhere, leaver.id, "WorkbenchViewer").await;
            let before = messages_to(&server, leaver.id).await.len();
            let path = format!("/api/rest/v1/workspaces/{atlas}/{}", way.replace("{user}", &leaver.id.to_string()));
            let reply = server.rest(Some(&chief), Method::DELETE, &path, None).await;
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            assert_eq!(roles_in(&server, own).await, [], "{way}");
            assert_eq!(roles_in(&server, elsewhere).await.len(), 2, "{way}");
            assert_eq!(messages_to(&server, leaver.id).await.len(), before + 1, "one change, one notification");
        }
    })
    .await;
}
