//! Accounts, who sees and changes them, and their roles.

use std::sync::Arc;

use chorus::server::db::sql;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::server::{Person, TestServer, on_each_engine};

const PASSWORD: &str = "a heron eats wet clocks";

async fn manager(server: &TestServer) -> Person {
    server.person("manager", &[("PlatformUserManager", &[("user", "*")])]).await
}

fn new_user(username: &str) -> Value {
    json!({"firstName": "Zoë", "lastName": "Łaska", "username": username, "email": "zoe@example.org", "password": PASSWORD})
}

/// What a client sends back after reading a user.
fn as_sent(user: &Value, changes: &[(&str, &str)]) -> Value {
    let mut sent = json!({});
    for field in ["id", "firstName", "lastName", "username", "email", "status"] {
        sent[field] = user[field].clone();
    }
    for (field, value) in changes {
        sent[*field] = json!(value);
    }
    sent
}

async fn read(server: &TestServer, by: &Person, id: i64) -> Value {
    server.call(Some(by), "UserService/GetUser", json!({"id": id.to_string()})).await.unwrap()["result"]["user"].clone()
}

async fn update(server: &TestServer, by: &Person, user: Value) -> Result<Value, String> {
    let reply = server.call(Some(by), "UserService/UpdateUser", user).await;
    reply.map(|reply| reply["result"]["user"].clone()).map_err(|failure| failure.reason)
}

fn usernames(reply: &Value) -> Vec<&str> {
    reply["result"]["users"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_account_from_its_making_to_its_end() {
    on_each_engine(|server| async move {
        let manager = manager(&server).await;
        let made = server.rest(Some(&manager), Method::POST, "/api/rest/v1/users", Some(new_user("Zoë"))).await;
        assert_eq!(made.status, 200, "{:?}", made.body);
        let user = &made.body["result"]["user"];
        let id = user["id"].as_str().unwrap();
        assert_eq!((&user["status"], &user["source"], &user["password"]), (&json!("active"), &json!("internal"), &json!("")));
        assert_eq!(user["rolesWithContext"][0]["name"], "Authenticated");
        assert_eq!(user["rolesWithContext"][0]["context"], json!({ "user": id }));
        assert_eq!((&user["uid"], &user["gids"], &user["namespaces"]), (&json!(id), &json!([]), &json!([])));

        // the same name in other letters, and for another tenant
        let other = server.tenant("other").await;
        let stranger = server.person_of(other, "boss", &[("PlatformUserManager", &[("user", "*")])]).await;
        for (by, name) in [(&manager, "ZOË"), (&stranger, "zoe\u{308}")] {
            let again = server.rest(Some(by), Method::POST, "/api/rest/v1/users", Some(new_user(name))).await;
            assert_eq!((again.status, again.reason()), (409, "USERNAME_TAKEN"), "{name}");
        }
        let path = format!("/api/rest/v1/users/{id}");
        assert_eq!(server.rest(Some(&stranger), Method::GET, &path, None).await.status, 404);

        let row: i64 = id.parse().unwrap();
        sql("INSERT INTO devstore (tenant_id, scope, scope_id, key, created_at, updated_at) \
             SELECT tenant_id, 'user', id, 'key', created_at, created_at FROM users WHERE id IN ($1, $2)")
        .bind(row)
        .bind(manager.id)
        .run(&server.db)
        .await
        .unwrap();
        let gone = server.rest(Some(&manager), Method::DELETE, &path, None).await;
        assert_eq!((gone.status, &gone.body), (200, &json!({"result": {}})));
        for method in [Method::GET, Method::DELETE] {
            let again = server.rest(Some(&manager), method, &path, None).await;
            assert_eq!((again.status, again.reason()), (404, "USER_NOT_FOUND"));
        }
        let made = server.rest(Some(&manager), Method::POST, "/api/rest/v1/users", Some(new_user("Zoë"))).await;
        assert_eq!(made.status, 200, "the name is free again");
        let (name, roles): (String, i64) =
            sql("SELECT username, (SELECT count(*) FROM role_assignments WHERE user_id = users.id) FROM users WHERE id = $1")
                .bind(row)
                .one(&server.db)
                .await
                .unwrap();
        assert!(name.starts_with("Zoë-") && name.len() > 36, "{name}");
        assert_eq!(roles, 0);
        let kept: Vec<(i64,)> = sql("SELECT scope_id FROM devstore WHERE scope = 'user' UNION ALL \
             SELECT user_id FROM notifications WHERE user_id = $1")
        .bind(row)
        .all(&server.db)
        .await
        .unwrap();
        assert_eq!(kept, [(manager.id,)], "others keep what they have");
    })
    .await;
}

#[tokio::test]
async fn what_makes_no_account() {
    let server = TestServer::start().await;
    let manager = manager(&server).await;
    for (field, value, reason) in [
        ("username", json!("zoe "), "trimmed"),
        ("username", json!("zoe\u{200b}"), "pattern"),
        ("firstName", json!(" "), "required"),
        ("lastName", json!("<b>"), "pattern"),
        ("email", json!("nowhere"), "email"),
        ("status", json!("deleted"), "in"),
        ("password", json!(""), "required"),
        ("password", json!("too short"), "password.min_len"),
        ("password", json!("zoe zoe zoe zoe"), "password.strength"),
    ] {
        let mut user = new_user("zoe");
        user[field] = value.clone();
        let reply = server.rest(Some(&manager), Method::POST, "/api/rest/v1/users", Some(user)).await;
        assert_eq!(reply.status, 400, "{field} {value}");
        let broken = &reply.body["details"][0]["validationErrors"][0];
        assert_eq!((&broken["field"], &broken["reason"]), (&json!(field), &json!(reason)), "{value}");
    }
    let mut user = new_user("zoe");
    user["id"] = json!("77");
    user["source"] = json!("elsewhere");
    user["rolesWithContext"] = json!([{"name": "SuperAdmin", "context": {}}]);
    let made = server.rest(Some(&manager), Method::POST, "/api/rest/v1/users", Some(user)).await;
    let made = &made.body["result"]["user"];
    assert_ne!(made["id"], "77");
    assert_eq!((&made["source"], made["rolesWithContext"].as_array().unwrap().len()), (&json!("internal"), 1));
}

#[tokio::test]
async fn people_register_where_the_server_lets_them() {
    let closed = TestServer::start().await;
    let mut newcomer = new_user(" zoe ");
    newcomer["status"] = json!("disabled");
    let refused = closed.rest(None, Method::POST, "/api/rest/v1/users", Some(new_user("zoe"))).await;
    assert_eq!((refused.status, refused.reason()), (403, "REGISTRATION_CLOSED"));

    let open = TestServer::configured(&[("public_registration", "true")]).await;
    for server in [&closed, &open] {
        let gone = server.person("gone", &[]).await;
        sql("UPDATE sessions SET revoked_at = created_at WHERE user_id = $1")
            .bind(gone.id)
            .run(&server.db)
            .await
            .unwrap();
        let garbled = Person { token: "garbled".to_owned(), ..gone.clone() };
        for by in [gone, garbled] {
            let ended = server.rest(Some(&by), Method::POST, "/api/rest/v1/users", Some(new_user("zoe"))).await;
            assert_eq!((ended.status, ended.reason()), (401, "SESSION_ENDED"), "not a visitor who registers");
        }
    }
    let nobody = open.rest(None, Method::POST, "/api/rest/v1/users", Some(newcomer)).await;
    assert_eq!(nobody.status, 200, "{:?}", nobody.body);
    let user = &nobody.body["result"]["user"];
    assert_eq!((&user["username"], &user["status"]), (&json!("zoe"), &json!("active")));
    let member = open.person("member", &[]).await;
    let member = open.call(Some(&member), "UserService/CreateUser", new_user("someone")).await.unwrap_err();
    assert_eq!(member.code, Code::PermissionDenied, "who is signed in needs the permission");
    let (action, actor): (String, String) =
        sql("SELECT action, actor_username FROM audit_log WHERE outcome = 'ok'").one(&open.db).await.unwrap();
    assert_eq!((action.as_str(), actor.as_str()), ("CreateUser", "zoe"));
}

#[tokio::test]
async fn people_change_their_names_and_nothing_else() {
    on_each_engine(|server| async move {
        let zoe = server.person("zoe", &[]).await;
        let me = server.rest(Some(&zoe), Method::GET, "/api/rest/v1/users/me", None).await.body["result"]["me"].clone();
        let changed = update(&server, &zoe, as_sent(&me, &[("firstName", "Zoé"), ("email", "")])).await.unwrap();
        assert_eq!((&changed["firstName"], &changed["email"], &changed["source"]), (&json!("Zoé"), &json!(""), &json!("internal")));
        let me = server.rest(Some(&zoe), Method::GET, "/api/rest/v1/users/me", None).await.body["result"]["me"].clone();
        assert_eq!(me["firstName"], "Zoé", "at once");
        for change in [("username", "boss"), ("status", "disabled"), ("status", "deleted")] {
            let refused = update(&server, &zoe, as_sent(&me, &[change])).await;
            assert_eq!(refused, Err("FIELD_NEEDS_ADMINISTRATOR".to_owned()), "{change:?}");
        }
        let other = server.person("other", &[]).await;
        let refused = update(&server, &zoe, json!({"id": other.id.to_string(), "firstName": "x", "lastName": "y", "username": "other", "status": "active"})).await;
        assert_eq!(refused, Err("PERMISSION_DENIED".to_owned()));

        // found under the new name, in any letters
        let found = server.call(Some(&server.admin), "UserService/ListUsers", json!({"filter": {"search": "ZOÉ TEST"}})).await;
        assert_eq!(usernames(&found.unwrap()), ["zoe"]);
    })
    .await;
}

#[tokio::test]
async fn administrators_change_the_rest() {
    on_each_engine(|server| async move {
        let manager = manager(&server).await;
        let zoe = server.person("zoe", &[]).await;
        let user = read(&server, &manager, zoe.id).await;
        let taken = update(&server, &manager, as_sent(&user, &[("username", "MANAGER")])).await;
        assert_eq!(taken, Err("USERNAME_TAKEN".to_owned()));
        let deleted = update(&server, &manager, as_sent(&user, &[("status", "deleted")])).await;
        assert_eq!(deleted, Err("VALIDATION_FAILED".to_owned()));

        let user =
            update(&server, &manager, as_sent(&user, &[("username", "zoë"), ("status", "disabled")])).await.unwrap();
        assert_eq!((&user["username"], &user["status"]), (&json!("zoë"), &json!("disabled")));
        let out = server.rest(Some(&zoe), Method::GET, "/api/rest/v1/users/me", None).await;
        assert_eq!(out.status, 401, "who is disabled is signed out");
        update(&server, &manager, as_sent(&user, &[("status", "active")])).await.unwrap();
        let out = server.rest(Some(&zoe), Method::GET, "/api/rest/v1/users/me", None).await;
        assert_eq!(out.status, 401, "the old session does not come back");
    })
    .await;
}

#[tokio::test]
async fn who_is_more_powerful_is_out_of_reach() {
    let server = TestServer::start().await;
    let manager = manager(&server).await;
    let data = server.person("data", &[("PlatformDataManager", &[("workspace", "*")])]).await;
    for powerful in [server.admin.id, data.id] {
        let user = read(&server, &manager, powerful).await;
        let changed = update(&server, &manager, as_sent(&user, &[("email", "mine@example.org")])).await;
        assert_eq!(changed, Err("USER_NEEDS_SUPER_ADMIN".to_owned()));
        for rpc in ["UserService/ResetPassword", "UserService/DeleteUser"] {
            let refused = server.call(Some(&manager), rpc, json!({"id": powerful.to_string()})).await.unwrap_err();
            assert_eq!(refused.reason, "USER_NEEDS_SUPER_ADMIN", "{rpc}");
        }
    }
    let own = read(&server, &manager, manager.id).await;
    assert!(update(&server, &manager, as_sent(&own, &[("email", "own@example.org")])).await.is_ok());
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    on_each_engine(|server| async move {
        let manager = manager(&server).await;
        let user = server.person("user", &[]).await;
        let stored = async || {
            let row: (i64, DateTime<Utc>) =
                sql("SELECT (SELECT version FROM access_version), updated_at FROM users WHERE id = $1")
                    .bind(user.id)
                    .one(&server.db)
                    .await
                    .unwrap();
            row
        };
        let (shown, before) = (read(&server, &manager, user.id).await, stored().await);
        server.clock.advance(TimeDelta::seconds(1));
        assert_eq!(update(&server, &manager, as_sent(&shown, &[])).await, Ok(shown.clone()));
        assert_eq!(stored().await, before);
        update(&server, &manager, as_sent(&shown, &[("email", "new@example.org")])).await.unwrap();
        let after = stored().await;
        assert!(after.0 > before.0 && after.1 > before.1);
    })
    .await;
}

#[tokio::test]
async fn one_super_admin_stays() {
    on_each_engine(|server| async move {
        let admin = server.admin.clone();
        let me =
            server.rest(Some(&admin), Method::GET, "/api/rest/v1/users/me", None).await.body["result"]["me"].clone();
        let assignment = me["rolesWithContext"].as_array().unwrap().iter().find(|r| r["name"] == "SuperAdmin").unwrap()
            ["id"]
            .clone();
        let disabled = update(&server, &admin, as_sent(&me, &[("status", "disabled")])).await;
        assert_eq!(disabled, Err("LAST_SUPER_ADMIN".to_owned()));
        let revoke = json!({"userId": me["id"], "roleId": assignment});
        let revoked = server.call(Some(&admin), "UserService/DeleteUserRole", revoke.clone()).await.unwrap_err();
        assert_eq!(revoked.reason, "LAST_SUPER_ADMIN");
        let own = server.call(Some(&admin), "UserService/DeleteUser", json!({"id": me["id"]})).await.unwrap_err();
        assert_eq!(own.reason, "USER_IS_ONESELF");

        let second = server.person("second", &[]).await;
        let everything = json!({"name": "SuperAdmin", "context": {"user": "*", "workspace": "*", "workbench": "*"}});
        let grant = json!({"userId": second.id.to_string(), "role": everything});
        server.call(Some(&admin), "UserService/CreateUserRole", grant).await.unwrap();
        server.call(Some(&second), "UserService/DeleteUser", json!({"id": me["id"]})).await.unwrap();
        let out = server.rest(Some(&admin), Method::GET, "/api/rest/v1/users/me", None).await;
        assert_eq!(out.status, 401);
    })
    .await;
}

#[tokio::test]
async fn a_role_comes_and_goes() {
    on_each_engine(|server| async move {
        let manager = manager(&server).await;
        let zoe = server.person("zoe", &[]).await;
        let workspace = server.workspace(&server.admin, "Lake").await.to_string();
        let role = |context: Value| json!({"role": {"id": "99", "name": "WorkspaceMember", "context": context}});
        let path = format!("/api/rest/v1/users/{}/role", zoe.id);
        let granted =
            server.rest(Some(&manager), Method::POST, &path, Some(role(json!({"workspace": workspace})))).await;
        assert_eq!(granted.status, 200, "{:?}", granted.body);
        let user = &granted.body["result"]["user"];
        assert_eq!(
            (&user["namespaces"], &user["gids"]),
            (&json!([format!("workspace{workspace}")]), &json!([workspace]))
        );
        let held =
            user["rolesWithContext"].as_array().unwrap().iter().find(|r| r["name"] == "WorkspaceMember").unwrap();
        let me = server.rest(Some(&zoe), Method::GET, "/api/rest/v1/users/me", None).await;
        assert_eq!(me.body["result"]["me"]["namespaces"], user["namespaces"], "at once");

        for (context, status, reason) in [
            (json!({"workspace": workspace}), 409, "ROLE_ALREADY_HELD"),
            (json!({"workspace": "4711"}), 404, "WORKSPACE_NOT_FOUND"),
            (json!({"workspace": "*"}), 403, "ROLE_NEEDS_SUPER_ADMIN"),
            (json!({"workspace": workspace, "user": "1"}), 400, "VALIDATION_FAILED"),
            (json!({"workspace": "none"}), 400, "VALIDATION_FAILED"),
            (json!({}), 400, "VALIDATION_FAILED"),
        ] {
            let refused = server.rest(Some(&manager), Method::POST, &path, Some(role(context.clone()))).await;
            assert_eq!((refused.status, refused.reason()), (status, reason), "{context}");
        }
        let refused = server
            .rest(
                Some(&manager),
                Method::POST,
                "/api/rest/v1/users/4711/role",
                Some(role(json!({"workspace": workspace}))),
            )
            .await;
        assert_eq!((refused.status, refused.reason()), (404, "USER_NOT_FOUND"));
        let empty = server.rest(Some(&manager), Method::POST, &path, Some(json!({}))).await;
        assert_eq!(empty.status, 400);

        let path = format!("{path}/{}", held["id"].as_str().unwrap());
        let revoked = server.rest(Some(&manager), Method::DELETE, &path, None).await;
        assert_eq!(revoked.body["result"]["user"]["namespaces"], json!([]));
        let again = server.rest(Some(&manager), Method::DELETE, &path, None).await;
        assert_eq!((again.status, again.reason()), (404, "ROLE_ASSIGNMENT_NOT_FOUND"));

        let told: Vec<(String,)> = sql("SELECT message FROM notifications WHERE user_id = $1 ORDER BY message")
            .bind(zoe.id)
            .all(&server.db)
            .await
            .unwrap();
        let label = format!("WorkspaceMember@workspace={workspace}");
        let told: Vec<_> = told.iter().map(|row| row.0.as_str()).collect();
        assert_eq!(
            told,
            [format!("The role {label} was taken from you."), format!("You were given the role {label}.")]
        );
    })
    .await;
}

#[tokio::test]
async fn who_sees_whom() {
    on_each_engine(|server| async move {
        let (first, second) =
            (server.workspace(&server.admin, "First").await, server.workspace(&server.admin, "Second").await);
        let (first, second) = (first.to_string(), second.to_string());
        let manager = manager(&server).await;
        let member = server.person("member", &[("WorkspaceMember", &[("workspace", &first)])]).await;
        let maintainer = server.person("maintainer", &[("WorkspaceMaintainer", &[("workspace", &first)])]).await;
        let admin = server.person("owner", &[("WorkspaceAdmin", &[("workspace", &second)])]).await;
        let other = server.tenant("other").await;
        server.person_of(other, "foreigner", &[]).await;
        let asleep = server.person("asleep", &[]).await;
        sql("UPDATE users SET status = 'disabled' WHERE id = $1").bind(asleep.id).run(&server.db).await.unwrap();

        let list = async |by: &Person, filter: Value| {
            let reply = server.call(Some(by), "UserService/ListUsers", json!({ "filter": filter })).await;
            reply.map_err(|failure| failure.message.split('.').next().unwrap_or_default().to_owned())
        };
        let all = ["chorus", "manager", "member", "maintainer", "owner"];
        let with_asleep = [&all[..], &["asleep"]].concat();

        // who may read every user
        let seen = list(&manager, json!({})).await.unwrap();
        assert_eq!(usernames(&seen), with_asleep);
        assert_eq!(seen["pagination"]["total"], 6);
        assert_eq!(seen["result"]["users"][2]["email"], "member@example.org");
        assert_eq!(usernames(&list(&manager, json!({"search": "MAIN"})).await.unwrap()), ["maintainer"]);
        assert_eq!(usernames(&list(&manager, json!({"search": "%"})).await.unwrap()), [] as [&str; 0]);
        let two = json!([member.id.to_string(), "999"]);
        assert_eq!(usernames(&list(&manager, json!({"idsIn": two})).await.unwrap()), ["member"]);

        // who looks for people: outlines of active users
        for by in [&maintainer, &admin] {
            let seen = list(by, json!({"search": ""})).await.unwrap();
            assert_eq!(usernames(&seen), all);
            let user = &seen["result"]["users"][2];
            assert_eq!((&user["username"], &user["status"]), (&json!("member"), &json!("active")));
            assert_eq!(
                (&user["email"], &user["rolesWithContext"], &user["uid"]),
                (&json!(""), &json!([]), &json!("0"))
            );
        }

        // members of workspaces
        let seen = list(&member, json!({"workspaceIDs": [first]})).await.unwrap();
        assert_eq!(usernames(&seen), ["member", "maintainer"]);
        assert_eq!(seen["result"]["users"][1]["email"], "maintainer@example.org");
        for (filter, missing) in [
            (
                json!({"workspaceIDs": [first, second]}),
                format!("You need the permission getWorkspace@workspace={second}"),
            ),
            (json!({"workbenchIDs": ["3"]}), "You need the permission getWorkbench@workbench=3".to_owned()),
            (json!({"idsIn": [admin.id.to_string()]}), format!("You need the permission getUser@user={}", admin.id)),
            (json!({"search": "a"}), "You need the permission searchUsers".to_owned()),
            (json!({}), "You need the permission searchUsers".to_owned()),
            (json!({"workspaceIDs": [first], "search": "a"}), "You need the permission searchUsers".to_owned()),
        ] {
            assert_eq!(list(&member, filter.clone()).await, Err(missing), "{filter}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_users() {
    let server = Arc::new(TestServer::start().await);
    for name in ["Bea", "adam", "Zoe", "céline"] {
        server.person(name, &[]).await;
    }
    let list = |query: &'static str| {
        let server = server.clone();
        async move { server.rest(Some(&server.admin), Method::GET, &format!("/api/rest/v1/users?{query}"), None).await }
    };
    let page =
        list("pagination.limit=2&pagination.offset=1&pagination.sort.type=USERNAME&pagination.sort.order=desc").await;
    // Zoe, céline, chorus, Bea, adam: by bytes of the folded name, which puts é behind every ASCII letter
    assert_eq!(usernames(&page.body), ["céline", "chorus"]);
    assert_eq!(page.body["pagination"]["total"], 5);
    let beyond = list("pagination.offset=50").await;
    assert_eq!((usernames(&beyond.body).len(), &beyond.body["pagination"]["total"]), (0, &json!(5)));
    let unknown = list("pagination.sort.type=password").await;
    assert_eq!((unknown.status, unknown.reason()), (400, "UNKNOWN_SORT"));
}
