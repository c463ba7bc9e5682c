//! Workspaces and their members, over REST, on both engines.

use std::sync::Arc;

use chorus::server::db::{Engine, sql};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::server::{Person, Reply, TestServer, on_each_engine};

const WORKSPACES: &str = "/api/rest/v1/workspaces";

/// The context of roles for all workspaces.
const ALL: &[(&str, &str)] = &[("workspace", "*")];

async fn create(server: &TestServer, by: &Person, body: Value) -> Reply {
    server.rest(Some(by), Method::POST, WORKSPACES, Some(body)).await
}

/// A workspace, made by the RPC.
async fn made(server: &TestServer, by: &Person, name: &str) -> i64 {
    let reply = create(server, by, json!({"name": name})).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    shown(&reply)["id"].as_str().unwrap().parse().unwrap()
}

async fn get(server: &TestServer, by: &Person, path: &str) -> Reply {
    server.rest(Some(by), Method::GET, path, None).await
}

async fn workspace_as(server: &TestServer, by: &Person, id: i64) -> Reply {
    get(server, by, &format!("{WORKSPACES}/{id}")).await
}

async fn names(server: &TestServer, by: &Person, query: &str) -> Vec<String> {
    let reply = get(server, by, &format!("{WORKSPACES}?{query}")).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let list = reply.body["result"]["workspaces"].as_array().unwrap();
    list.iter().map(|w| w["name"].as_str().unwrap().to_owned()).collect()
}

async fn add(server: &TestServer, by: &Person, id: i64, user: i64, role: &str) -> Reply {
    let path = format!("{WORKSPACES}/{id}/user/{user}/role");
    server.rest(Some(by), Method::POST, &path, Some(json!({"role": {"name": role}}))).await
}

async fn remove(server: &TestServer, by: &Person, id: i64, user: i64, role: &str) -> Reply {
    server.rest(Some(by), Method::DELETE, &format!("{WORKSPACES}/{id}/user/{user}/role/{role}"), None).await
}

/// The roles that a user holds in a workspace, as stored.
async fn roles_in(server: &TestServer, id: i64, user: i64) -> Vec<String> {
    let rows: Vec<(String,)> =
        sql("SELECT role FROM role_assignments WHERE workspace = $1 AND user_id = $2 ORDER BY role")
            .bind(id.to_string())
            .bind(user)
            .all(&server.db)
            .await
            .unwrap();
    rows.into_iter().map(|row| row.0).collect()
}

async fn messages_to(server: &TestServer, user: i64) -> Vec<String> {
    let rows: Vec<(String,)> = sql("SELECT message FROM notifications WHERE user_id = $1 ORDER BY created_at, id")
        .bind(user)
        .all(&server.db)
        .await
        .unwrap();
    rows.into_iter().map(|row| row.0).collect()
}

async fn set_limit(server: &TestServer, workspaces: u32) {
    let body = json!({"platformSettings": {"maxWorkspacesPerUser": workspaces}});
    let reply = server.rest(Some(&server.admin), Method::PUT, "/api/rest/v1/platform-settings", Some(body)).await;
    assert_eq!(reply.status, 200);
}

/// The workspace of a reply.
fn shown(reply: &Reply) -> &Value {
    &reply.body["result"]["workspace"]
}

/// The field and the rule of a refused value.
fn broken(reply: &Reply) -> (&str, &str) {
    let entry = &reply.body["details"][0]["validationErrors"][0];
    (entry["field"].as_str().unwrap_or_default(), entry["reason"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_new_workspace_belongs_to_its_creator() {
    on_each_engine(|server| async move {
        let creator = server.person("carla", &[("PlatformWorkspaceManager", ALL)]).await;
        let body = json!({
            "id": "77", "tenantId": "99", "userId": "99", "name": "Tumour board ☃", "shortName": "wks", "gid": "5",
            "namespace": "kube-system", "networkPolicyStatus": "open", "allowedFqdns": ["*.example.org"],
        });
        let reply = create(&server, &creator, body).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let workspace = shown(&reply).clone();
        let id: i64 = workspace["id"].as_str().unwrap().parse().unwrap();
        for (field, expected) in [
            ("name", json!("Tumour board ☃")),
            ("shortName", json!("wks")),
            ("tenantId", json!(server.tenant.to_string())),
            ("userId", json!(creator.id.to_string())),
            ("namespace", json!(format!("workspace{id}"))),
            ("gid", json!(id.to_string())),
            ("status", json!("WORKSPACE_STATUS_ACTIVE")),
            ("visibility", json!("WORKSPACE_VISIBILITY_PRIVATE")),
            ("networkPolicy", json!("Airgapped")),
            ("networkPolicyStatus", json!("")),
            ("allowedFqdns", json!(["*.example.org"])),
            ("clipboard", json!("disabled")),
            ("contactUserId", json!("0")),
            ("appInstances", json!([])),
            ("createdAt", json!("2026-03-01T08:00:00Z")),
        ] {
            assert_eq!(workspace[field], expected, "{field}");
        }
        assert_eq!(shown(&workspace_as(&server, &creator, id).await), &workspace);
        assert_eq!(roles_in(&server, id, creator.id).await, ["WorkspaceAdmin", "WorkspaceDataManager"]);
        let messages = messages_to(&server, creator.id).await;
        assert_eq!(messages.len(), 1, "one change, one notification: {messages:?}");
        assert!(messages[0].contains(&format!("WorkspaceAdmin@workspace={id}")), "{messages:?}");

        let (recorded, outcome): (Option<i64>, String) =
            sql("SELECT workspace_id, outcome FROM audit_log WHERE action = 'CreateWorkspace'")
                .one(&server.db)
                .await
                .unwrap();
        assert_eq!((recorded, &*outcome), (Some(id), "ok"));
        assert_eq!(made(&server, &creator, "Tumour board ☃").await, id + 1, "names may repeat");
    })
    .await;
}

#[tokio::test]
async fn the_configuration_says_what_a_creator_becomes() {
    let settings = [
        ("workspace.creator_is_admin", "false"),
        ("workspace.creator_is_data_manager", "false"),
        ("workspace.gid_offset", "60000"),
    ];
    let server = TestServer::configured(&settings).await;
    let creator = server.person("carla", &[("PlatformWorkspaceManager", ALL)]).await;
    let reply = create(&server, &creator, json!({"name": "Trial"})).await;
    let id: i64 = shown(&reply)["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(shown(&reply)["gid"], json!((id + 60000).to_string()));
    assert!(roles_in(&server, id, creator.id).await.is_empty());
    assert!(messages_to(&server, creator.id).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_a_workspace_must_not_be() {
    on_each_engine(|server| async move {
        let foreign = server.person_of(server.tenant("other").await, "zoe", &[]).await;
        for (body, field, rule) in [
            (json!({}), "name", "required"),
            (json!({"name": "  "}), "name", "not_blank"),
            (json!({"name": "a<b>"}), "name", "pattern"),
            (json!({"name": "a", "status": "WORKSPACE_STATUS_DELETED"}), "status", "not_deleted"),
            (json!({"name": "a", "networkPolicy": "airgapped"}), "networkPolicy", "in"),
            (json!({"name": "a", "clipboard": "none"}), "clipboard", "in"),
            (json!({"name": "a", "allowedFqdns": ["-x-"]}), "allowedFqdns[0]", "pattern"),
            (json!({"name": "a", "allowedFqdns": [""]}), "allowedFqdns[0]", "required"),
            (json!({"name": "a", "contactUserId": "999999"}), "contactUserId", "known_user"),
            (json!({"name": "a", "contactUserId": u64::MAX.to_string()}), "contactUserId", "known_user"),
            (json!({"name": "a", "contactUserId": foreign.id.to_string()}), "contactUserId", "known_user"),
        ] {
            let reply = create(&server, &server.admin, body.clone()).await;
            assert_eq!((reply.status, broken(&reply)), (400, (field, rule)), "{body} {:?}", reply.body);
        }
        assert!(names(&server, &server.admin, "").await.is_empty(), "a refused create leaves nothing");
    })
    .await;
}

#[tokio::test]
async fn the_quota_holds_under_a_rush() {
    on_each_engine(|server| async move {
        let creator = server.person("carla", &[("PlatformWorkspaceManager", ALL)]).await;
        let first = made(&server, &creator, "before the limit").await;
        set_limit(&server, 3).await;
        let mut rush = JoinSet::new();
        for i in 0..8 {
            let (server, creator) = (server.clone(), creator.clone());
            rush.spawn(async move { create(&server, &creator, json!({"name": format!("rush {i}")})).await });
        }
        let replies = rush.join_all().await;
        let succeeded = replies.iter().filter(|reply| reply.status == 200).count();
        let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
        assert_eq!(succeeded, 2);
        for reply in refused {
            assert_eq!((reply.status, reply.reason()), (429, "QUOTA_WORKSPACES"));
            assert!(reply.body["message"].as_str().unwrap().contains("maxWorkspacesPerUser"));
        }
        let other = create(&server, &server.admin, json!({"name": "of another owner"})).await;
        assert_eq!(other.status, 200, "the quota is each owner's own");

        let path = format!("{WORKSPACES}/{first}");
        assert_eq!(server.rest(Some(&creator), Method::DELETE, &path, None).await.status, 200);
        made(&server, &creator, "in the place of the deleted").await;
        assert_eq!(create(&server, &creator, json!({"name": "one more"})).await.status, 429);
        set_limit(&server, 0).await;
        made(&server, &creator, "without a limit").await;
    })
    .await;
}

#[tokio::test]
async fn an_owner_has_one_main_workspace() {
    on_each_engine(|server| async move {
        let main = create(&server, &server.admin, json!({"name": "home", "isMain": true})).await;
        assert_eq!((main.status, &shown(&main)["isMain"]), (200, &json!(true)));
        let second = create(&server, &server.admin, json!({"name": "second", "isMain": true})).await;
        assert_eq!((second.status, second.reason()), (409, "MAIN_WORKSPACE_EXISTS"));
        assert_eq!(names(&server, &server.admin, "").await, ["home"], "nothing of the refused one stays");

        let id = made(&server, &server.admin, "ordinary").await;
        let body = json!({"id": id.to_string(), "name": "ordinary", "isMain": true});
        let reply = server.rest(Some(&server.admin), Method::PUT, WORKSPACES, Some(body)).await;
        assert_eq!((reply.status, reply.reason()), (409, "MAIN_WORKSPACE_EXISTS"));
        let other = server.person("carla", &[("PlatformWorkspaceManager", ALL)]).await;
        assert_eq!(create(&server, &other, json!({"name": "theirs", "isMain": true})).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn an_update_replaces_everything() {
    on_each_engine(|server| async move {
        let contact = server.person("conny", &[]).await;
        let full = json!({
            "name": "Before", "shortName": "b", "description": "two\nlines", "status": "WORKSPACE_STATUS_INACTIVE",
            "networkPolicy": "FQDNAllowlist", "allowedFqdns": ["pypi.org"], "clipboard": "both",
            "visibility": "WORKSPACE_VISIBILITY_PUBLIC", "contactUserId": contact.id.to_string(),
        });
        let made = create(&server, &server.admin, full.clone()).await;
        for (field, value) in full.as_object().unwrap() {
            assert_eq!(&shown(&made)[field], value, "{field}");
        }
        let id = shown(&made)["id"].clone();
        server.clock.advance(chrono::TimeDelta::hours(1));

        let mut again = shown(&made).clone();
        again["name"] = json!("After");
        sql("UPDATE users SET status = 'deleted' WHERE id = $1").bind(contact.id).run(&server.db).await.unwrap();
        let reply = server.rest(Some(&server.admin), Method::PUT, WORKSPACES, Some(again)).await;
        assert_eq!(reply.status, 200, "a contact that is gone stops nothing: {:?}", reply.body);
        assert_eq!(shown(&reply)["name"], json!("After"));
        assert_eq!(shown(&reply)["createdAt"], shown(&made)["createdAt"]);
        assert_eq!(shown(&reply)["updatedAt"], json!("2026-03-01T09:00:00Z"));

        let bare = json!({"id": id, "name": "Bare"});
        let reply = server.rest(Some(&server.admin), Method::PUT, WORKSPACES, Some(bare)).await;
        for (field, value) in [
            ("shortName", json!("")),
            ("description", json!("")),
            ("status", json!("WORKSPACE_STATUS_ACTIVE")),
            ("networkPolicy", json!("Airgapped")),
            ("allowedFqdns", json!([])),
            ("clipboard", json!("disabled")),
            ("visibility", json!("WORKSPACE_VISIBILITY_PRIVATE")),
            ("contactUserId", json!("0")),
        ] {
            assert_eq!(shown(&reply)[field], value, "{field}");
        }
        let deleted = json!({"id": id, "name": "Bare", "status": "WORKSPACE_STATUS_DELETED"});
        let reply = server.rest(Some(&server.admin), Method::PUT, WORKSPACES, Some(deleted)).await;
        assert_eq!((reply.status, broken(&reply).0), (400, "status"));
        for id in ["999999", "18446744073709551615"] {
            let body = json!({"id": id, "name": "Nothing"});
            let reply = server.rest(Some(&server.admin), Method::PUT, WORKSPACES, Some(body)).await;
            assert_eq!(reply.status, 404, "{id}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_deleted_workspace_is_gone_with_all_roles_in_it() {
    on_each_engine(|server| async move {
        let member = server.person("mia", &[]).await;
        let id = made(&server, &server.admin, "short-lived").await;
        let kept = made(&server, &server.admin, "kept").await;
        for workspace in [id, kept] {
            assert_eq!(add(&server, &server.admin, workspace, member.id, "WorkspaceMember").await.status, 200);
        }
        let entries = format!("/api/rest/v1/devstore/workspace/{id}");
        let entry = json!({"key": "config", "value": "{}"});
        assert_eq!(server.rest(Some(&server.admin), Method::POST, &entries, Some(entry)).await.status, 200);
        assert_eq!(workspace_as(&server, &member, id).await.status, 200);

        let path = format!("{WORKSPACES}/{id}");
        let reply = server.rest(Some(&member), Method::DELETE, &path, None).await;
        assert_eq!(reply.status, 403);
        let reply = server.rest(Some(&server.admin), Method::DELETE, &path, None).await;
        assert_eq!((reply.status, &reply.body["result"]), (200, &json!({})));

        assert!(roles_in(&server, id, member.id).await.is_empty());
        assert!(roles_in(&server, id, server.admin.id).await.is_empty());
        assert_eq!(roles_in(&server, kept, member.id).await, ["WorkspaceMember"]);
        assert_eq!(workspace_as(&server, &member, id).await.status, 403, "the role ended at once");
        assert_eq!(workspace_as(&server, &server.admin, id).await.reason(), "WORKSPACE_NOT_FOUND");
        assert_eq!(names(&server, &server.admin, "").await, ["kept"]);
        assert_eq!(names(&server, &member, "").await, ["kept"]);
        assert_eq!(get(&server, &server.admin, &entries).await.status, 404);
        assert_eq!(server.rest(Some(&server.admin), Method::DELETE, &path, None).await.status, 404);
        let update = json!({"id": id.to_string(), "name": "back"});
        assert_eq!(server.rest(Some(&server.admin), Method::PUT, WORKSPACES, Some(update)).await.status, 404);
        assert_eq!(add(&server, &server.admin, id, member.id, "WorkspaceMember").await.status, 404);

        let (name, status): (String, String) =
            sql("SELECT name, status FROM workspaces WHERE id = $1").bind(id).one(&server.db).await.unwrap();
        assert_eq!((&*name, &*status), ("short-lived", "deleted"));
        let (left,): (i64,) = sql("SELECT count(*) FROM devstore").one(&server.db).await.unwrap();
        assert_eq!(left, 0);
    })
    .await;
}

#[tokio::test]
async fn lists_show_what_the_caller_may_see() {
    on_each_engine(|server| async move {
        for name in ["beta", "Alpha", "gamma"] {
            made(&server, &server.admin, name).await;
        }
        let other = server.tenant("other").await;
        let foreign = server.person_of(other, "zoe", &[("PlatformWorkspaceManager", ALL)]).await;
        let theirs = made(&server, &foreign, "theirs").await;
        let own: Vec<i64> = vec![theirs - 3, theirs - 2, theirs - 1];

        let nobody = server.person("nora", &[]).await;
        assert!(names(&server, &nobody, "").await.is_empty());
        assert_eq!(names(&server, &foreign, "").await, ["theirs"]);
        assert_eq!(workspace_as(&server, &foreign, own[0]).await.status, 404, "a tenant sees its own");
        assert_eq!(workspace_as(&server, &server.admin, theirs).await.status, 404);

        let guest = server.person("gus", &[("WorkspaceGuest", &[("workspace", &own[2].to_string())])]).await;
        assert_eq!(names(&server, &guest, "").await, ["gamma"]);
        assert_eq!(names(&server, &guest, &format!("filter.workspaceIdsIn={}", own[2])).await, ["gamma"]);
        let reply = get(&server, &guest, &format!("{WORKSPACES}?filter.workspaceIdsIn={}", own[0])).await;
        assert_eq!(reply.status, 403);

        for (query, expected) in [
            ("", vec!["beta", "Alpha", "gamma"]),
            ("pagination.sort.type=name", vec!["Alpha", "beta", "gamma"]),
            ("pagination.sort.type=NAME&pagination.sort.order=DESC", vec!["gamma", "beta", "Alpha"]),
            ("pagination.sort.type=isMain&pagination.sort.order=desc", vec!["gamma", "Alpha", "beta"]),
            ("pagination.limit=1&pagination.offset=1", vec!["Alpha"]),
            ("pagination.offset=7", vec![]),
            (&format!("filter.workspaceIdsIn={}&filter.workspaceIdsIn={}", own[2], own[0]), vec!["beta", "gamma"]),
            (&format!("filter.workspaceIdsIn={theirs}"), vec![]),
        ] {
            assert_eq!(names(&server, &server.admin, query).await, expected, "{query}");
        }
        let page = get(&server, &server.admin, &format!("{WORKSPACES}?pagination.offset=7&pagination.limit=2")).await;
        let expected = json!({"total": 3, "offset": 7, "limit": 2, "sort": {"order": "asc", "type": "id"}});
        assert_eq!(page.body["pagination"], expected);
        let reply = get(&server, &server.admin, &format!("{WORKSPACES}?pagination.sort.type=colour")).await;
        assert_eq!((reply.status, reply.reason()), (400, "UNKNOWN_SORT"));
        assert!(reply.body["message"].as_str().unwrap().contains("shortname"));
    })
    .await;
}

#[tokio::test]
async fn the_catalogue_names_contacts_who_can_answer() {
    on_each_engine(|server| async move {
        let contact = server.person("conny", &[]).await;
        let reader = server.person("rita", &[]).await;
        for (name, visibility, contact) in [
            ("open", "WORKSPACE_VISIBILITY_PUBLIC", contact.id),
            ("closed", "WORKSPACE_VISIBILITY_PRIVATE", contact.id),
            ("nobody", "WORKSPACE_VISIBILITY_PUBLIC", 0),
        ] {
            let body = json!({"name": name, "visibility": visibility, "contactUserId": contact.to_string()});
            assert_eq!(create(&server, &server.admin, body).await.status, 200);
        }
        let catalogue = || async {
            let reply = get(&server, &reader, &format!("{WORKSPACES}/public?pagination.sort.type=name")).await;
            assert_eq!((reply.status, &reply.body["pagination"]["total"]), (200, &json!(2)), "{:?}", reply.body);
            let list = reply.body["result"]["publicWorkspaces"].as_array().unwrap().clone();
            let names: Vec<_> = list.iter().map(|w| w["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["nobody", "open"]);
            assert_eq!(list[0]["contactUsername"], json!(""));
            list[1].clone()
        };
        let open = catalogue().await;
        assert_eq!(open["contactUsername"], json!("conny"));
        assert_eq!(open["contactEmail"], json!("conny@example.org"));
        for status in ["disabled", "deleted"] {
            let gone = sql("UPDATE users SET status = $1 WHERE id = $2").bind(status).bind(contact.id);
            gone.run(&server.db).await.unwrap();
            let open = catalogue().await;
            for field in ["contactUsername", "contactFirstName", "contactLastName", "contactEmail"] {
                assert_eq!(open[field], json!(""), "{status} {field}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn members_come_and_go() {
    on_each_engine(|server| async move {
        let (member, id) = (server.person("mia", &[]).await, made(&server, &server.admin, "Trial").await);
        let admin = server.person("adam", &[("WorkspaceAdmin", &[("workspace", &id.to_string())])]).await;
        assert_eq!(workspace_as(&server, &member, id).await.status, 403);

        let reply = add(&server, &admin, id, member.id, "WorkspaceMember").await;
        assert_eq!((reply.status, &shown(&reply)["name"]), (200, &json!("Trial")), "{:?}", reply.body);
        assert_eq!(workspace_as(&server, &member, id).await.status, 200, "the role holds at once");
        assert_eq!(add(&server, &admin, id, member.id, "WorkspaceDataManager").await.status, 200);
        let again = add(&server, &admin, id, member.id, "WorkspaceMember").await;
        assert_eq!((again.status, again.reason()), (409, "ROLE_ALREADY_HELD"));
        assert_eq!(messages_to(&server, member.id).await.len(), 2, "one for each change");

        let reply = remove(&server, &admin, id, member.id, "WorkspaceMember").await;
        assert_eq!((reply.status, shown(&reply)["id"].as_str()), (200, Some(&*id.to_string())));
        let again = remove(&server, &admin, id, member.id, "WorkspaceMember").await;
        assert_eq!((again.status, again.reason()), (404, "ROLE_NOT_HELD"));
        assert_eq!(roles_in(&server, id, member.id).await, ["WorkspaceDataManager"]);

        assert_eq!(add(&server, &admin, id, member.id, "WorkspaceGuest").await.status, 200);
        let path = format!("{WORKSPACES}/{id}/user/{}", member.id);
        for (left, messages) in [("the roles", 5), ("nothing", 5)] {
            let reply = server.rest(Some(&admin), Method::DELETE, &path, None).await;
            assert_eq!((reply.status, &shown(&reply)["name"]), (200, &json!("Trial")), "{left}");
            assert!(roles_in(&server, id, member.id).await.is_empty());
            assert_eq!(messages_to(&server, member.id).await.len(), messages, "{left}");
        }
        assert_eq!(workspace_as(&server, &member, id).await.status, 403);

        let recorded: Vec<(String, i64, i64)> = sql("SELECT action, workspace_id, user_id FROM audit_log \
             WHERE outcome = 'ok' AND user_id IS NOT NULL ORDER BY id")
        .all(&server.db)
        .await
        .unwrap();
        let actions: Vec<_> = recorded.iter().map(|row| row.0.as_str()).collect();
        let (add, take, remove) = ("AddWorkspaceMember", "UpdateWorkspaceMember", "RemoveWorkspaceMember");
        assert_eq!(actions, [add, add, take, add, remove, remove]);
        assert!(recorded.iter().all(|row| (row.1, row.2) == (id, member.id)));
    })
    .await;
}

#[tokio::test]
async fn who_may_change_members() {
    on_each_engine(|server| async move {
        let (user, id) = (server.person("mia", &[]).await, made(&server, &server.admin, "Trial").await);
        let context: &[(&str, &str)] = &[("workspace", &id.to_string())];
        let admin = server.person("adam", &[("WorkspaceAdmin", context)]).await;
        let data = server.person("dora", &[("WorkspaceDataManager", context)]).await;
        let guest = server.person("gus", &[("WorkspaceGuest", context)]).await;
        let foreign = server.person_of(server.tenant("other").await, "zoe", &[]).await;

        for (by, workspace, user, role, status, reason) in [
            (&guest, id, user.id, "WorkspaceGuest", 403, "PERMISSION_DENIED"),
            (&guest, 999_999, user.id, "WorkspaceGuest", 403, "PERMISSION_DENIED"),
            (&guest, id, 999_999, "WorkspaceGuest", 403, "PERMISSION_DENIED"),
            (&admin, 999_999, user.id, "WorkspaceGuest", 403, "PERMISSION_DENIED"),
            (&data, id, user.id, "WorkspaceMember", 403, "PERMISSION_DENIED"),
            (&data, id, user.id, "WorkspaceDataManager", 200, ""),
            (&admin, id, user.id, "SuperAdmin", 400, "VALIDATION_FAILED"),
            (&admin, id, user.id, "WorkbenchMember", 400, "VALIDATION_FAILED"),
            (&admin, id, user.id, "NoSuchRole", 400, "VALIDATION_FAILED"),
            (&admin, id, 999_999, "WorkspaceMember", 404, "USER_NOT_FOUND"),
            (&admin, id, foreign.id, "WorkspaceMember", 404, "USER_NOT_FOUND"),
            (&server.admin, 999_999, user.id, "WorkspaceMember", 404, "WORKSPACE_NOT_FOUND"),
            (&admin, id, user.id, "WorkspaceAdmin", 200, ""),
        ] {
            let reply = add(&server, by, workspace, user, role).await;
            assert_eq!((reply.status, reply.reason()), (status, reason), "{} {role} {user}", by.username);
            if status == 400 {
                assert_eq!(broken(&reply).0, "role.name");
            }
        }
        for (by, role, status) in [
            (&guest, "WorkspaceAdmin", 403),
            (&data, "WorkspaceAdmin", 403),
            (&data, "WorkspaceDataManager", 200),
            (&admin, "NoSuchRole", 404),
            (&admin, "SuperAdmin", 400),
            (&admin, "WorkbenchMember", 400),
            (&admin, "WorkspaceAdmin", 200),
        ] {
            assert_eq!(remove(&server, by, id, user.id, role).await.status, status, "{} {role}", by.username);
        }
        let body = json!({});
        let path = format!("{WORKSPACES}/{id}/user/{}/role", user.id);
        let reply = server.rest(Some(&admin), Method::POST, &path, Some(body)).await;
        assert_eq!((reply.status, broken(&reply)), (400, ("role.name", "required")));
    })
    .await;
}

/// Whatever is put into a workspace waits for a deletion that has begun, and then finds no workspace.
#[tokio::test]
async fn nothing_is_left_in_a_workspace_that_goes() {
    on_each_engine(|server: Arc<TestServer>| async move {
        if server.db.engine() != Engine::Postgres {
            return; // one writer at a time, so nothing can come between
        }
        let user = server.person("user", &[]).await;
        for way in ["grant", "entry"] {
            let id = made(&server, &server.admin, "contested").await;
            let mut deletion = server.db.transaction().await.unwrap();
            deletion.lock(&format!("chorus.workspace.{id}")).await.unwrap();
            let put = tokio::spawn({
                let (server, user) = (server.clone(), user.id);
                async move {
                    let role = json!({"name": "WorkspaceMember", "context": {"workspace": id.to_string()}});
                    let (path, body) = match way {
                        "grant" => (format!("/api/rest/v1/users/{user}/role"), json!({"role": role})),
                        _ => (format!("/api/rest/v1/devstore/workspace/{id}"), json!({"key": "a", "value": "b"})),
                    };
                    server.rest(Some(&server.admin), Method::POST, &path, Some(body)).await
                }
            });
            while !put.is_finished() && !somebody_waits(&server).await {}
            sql("UPDATE workspaces SET status = 'deleted', deleted_at = created_at WHERE id = $1")
                .bind(id)
                .run(&mut deletion)
                .await
                .unwrap();
            deletion.commit().await.unwrap();
            let reply = put.await.unwrap();
            assert_eq!((reply.status, reply.reason()), (404, "WORKSPACE_NOT_FOUND"), "{way}");
        }
    })
    .await;
}

/// Whether a transaction waits for a lock by name.
async fn somebody_waits(server: &TestServer) -> bool {
    let (waiting,): (i64,) = sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
    .one(&server.db)
    .await
    .unwrap();
    waiting > 0
}

/// A call that was admitted from memory changes nothing for an account that is disabled meanwhile.
#[tokio::test]
async fn who_is_disabled_meanwhile_owns_nothing_new() {
    on_each_engine(|server: Arc<TestServer>| async move {
        let user = server.person("user", &[("PlatformWorkspaceManager", ALL)]).await;
        made(&server, &user, "before").await;
        sql("UPDATE users SET status = 'disabled' WHERE id = $1").bind(user.id).run(&server.db).await.unwrap();
        let refused = create(&server, &user, json!({"name": "after"})).await;
        assert_eq!((refused.status, refused.reason()), (401, "SESSION_ENDED"));
        let body = json!({"key": "a", "value": "b"});
        let refused = server.rest(Some(&user), Method::POST, "/api/rest/v1/devstore/user", Some(body)).await;
        assert_eq!((refused.status, refused.reason()), (401, "SESSION_ENDED"));
    })
    .await;
}

/// A member is not added to a workspace that another call deletes at the same time.
#[tokio::test]
async fn nobody_joins_a_workspace_that_goes() {
    on_each_engine(|server: Arc<TestServer>| async move {
        for round in 0..5 {
            let id = made(&server, &server.admin, "contested").await;
            let user = server.person(&format!("user{round}"), &[]).await;
            let path = format!("{WORKSPACES}/{id}");
            let (added, deleted) = tokio::join!(
                add(&server, &server.admin, id, user.id, "WorkspaceMember"),
                server.rest(Some(&server.admin), Method::DELETE, &path, None)
            );
            assert!([200, 404].contains(&added.status), "{:?}", added.body);
            assert_eq!(deleted.status, 200, "{:?}", deleted.body);
            assert!(roles_in(&server, id, user.id).await.is_empty());
        }
    })
    .await;
}
