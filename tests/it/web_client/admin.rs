//! The administrator's screens: users and their roles, theme and settings of the instance.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS},
    session::refresh,
    shapes,
};
use crate::support::server::TestServer;

#[tokio::test]
async fn users_are_found_changed_and_deleted() {
    let server = TestServer::configured(SETTINGS).await;
    let mut people = Vec::new();
    for number in 10..22 {
        people.push(server.person(&format!("person{number}"), &[]).await);
    }
    let admin = Browser::of(&server, &server.admin);
    let page = admin.get("users?pagination.offset=0&pagination.limit=10").await;
    let (users, total) = shapes::users(&page);
    assert_eq!((users.len(), total), (10, 13));
    let rest = admin.get("users?pagination.offset=10&pagination.limit=10").await;
    assert_eq!(shapes::users(&rest).0.len(), 3);
    let page = admin.get("users?pagination.offset=0&pagination.limit=10&filter.search=PERSON1").await;
    assert_eq!(shapes::users(&page).1, 10);
    let page = admin.get("users?pagination.offset=0&pagination.limit=10&filter.search=nobody").await;
    assert_eq!((&page["result"], &page["pagination"]["total"]), (&json!({ "users": [] }), &json!(0)));

    let (him, id) = (Browser::of(&server, &people[0]), people[0].id.to_string());
    let body = json!({ "id": id, "username": "person10", "password": "", "firstName": "Ødegård", "lastName": "Ngũgĩ",
        "email": "o@example.org", "status": "active" });
    let reply = admin.put("users", body).await;
    assert_eq!(shapes::user(&reply["result"]["user"])["firstName"], "Ødegård");
    let me = refresh(&him).await.0;
    assert_eq!((&me["lastName"], shapes::list(&me["rolesWithContext"]).len()), (&json!("Ngũgĩ"), 1), "roles stay");

    let reply = admin.delete(&format!("users/{id}")).await;
    assert_eq!(reply, json!({ "result": {} }));
    him.refused(401, Method::GET, "users/me", None).await;
    admin.refused(404, Method::GET, &format!("users/{id}"), None).await;
    assert_eq!(shapes::users(&admin.get("users").await).1, 12);
    server.stop().await;
}

/// An empty password in the edit dialog means: as before.
#[tokio::test]
async fn editing_a_user_keeps_the_password() {
    let server = TestServer::configured(SETTINGS).await;
    let admin = Browser::of(&server, &server.admin);
    let body = json!({ "firstName": "Ida", "lastName": "Berg", "username": "ida", "status": "active",
        "password": "winter otters skate uphill", "email": "" });
    let user = admin.post("users", body).await["result"]["user"].clone();
    let body = json!({ "id": user["id"], "username": "ida", "password": "", "firstName": "Ida", "lastName": "Berg-Sund",
        "email": "", "status": "active" });
    admin.put("users", body).await;
    let ida = Browser::new(&server);
    assert_eq!(ida.sign_in("ida", "winter otters skate uphill").await.status, 200);
    assert_eq!(refresh(&ida).await.0["lastName"], "Berg-Sund");
    server.stop().await;
}

#[tokio::test]
async fn roles_are_granted_and_revoked() {
    let server = TestServer::configured(SETTINGS).await;
    let rolf = server.person("rolf", &[]).await;
    let (admin, browser) = (Browser::of(&server, &server.admin), Browser::of(&server, &rolf));
    let roles = format!("users/{}/role", rolf.id);
    let wanted = json!({ "role": { "name": "PlatformWorkspaceManager", "context": { "workspace": "*" } } });

    browser.refused(403, Method::POST, &roles, Some(wanted.clone())).await;
    assert_eq!(shapes::usernames(&admin.get("users").await), ["chorus", "rolf"]);
    let reply = admin.post(&roles, wanted.clone()).await;
    let user = shapes::user(&reply["result"]["user"]).clone();
    let grant = shapes::list(&user["rolesWithContext"]).iter().find(|grant| grant["name"] == wanted["role"]["name"]);
    let grant = grant.expect("the new role is in the answer");
    assert_eq!(grant["context"], wanted["role"]["context"]);
    assert_eq!(refresh(&browser).await.0["rolesWithContext"], user["rolesWithContext"]);
    admin.refused(409, Method::POST, &roles, Some(wanted)).await;

    let reply = admin.delete(&format!("{roles}/{}", shapes::id(&grant["id"]))).await;
    let user = shapes::user(&reply["result"]["user"]);
    assert_eq!(shapes::list(&user["rolesWithContext"]).len(), 1);
    assert_eq!(refresh(&browser).await.0["rolesWithContext"], user["rolesWithContext"]);

    let unknown = json!({ "role": { "name": "NoSuchRole", "context": {} } });
    let reply = admin.refused(400, Method::POST, &roles, Some(unknown)).await;
    assert_eq!(reply.body["details"][0]["validationErrors"][0]["field"], "role.name");
    server.stop().await;
}

/// The settings of the instance are entries that visitors read before they sign in.
#[tokio::test]
async fn theme_and_settings_of_the_instance() {
    let server = TestServer::configured(SETTINGS).await;
    let rolf = server.person("rolf", &[]).await;
    let (admin, browser, visitor) =
        (Browser::of(&server, &server.admin), Browser::of(&server, &rolf), Browser::new(&server));
    let theme = r##"{"light":{"primary":"#0a7"},"dark":{"primary":"#7fc"}}"##;
    let settings = [
        ("instance.name", "Klinik Zürich"),
        ("instance.theme", theme),
        ("instance.limits", "{\"workspaces\":3}"),
        ("external_webapps", "[]"),
        ("instance.headline", ""),
    ];
    for (key, value) in settings {
        let entry = json!({ "key": key, "value": value });
        assert_eq!(admin.post("devstore/global", entry.clone()).await, json!({ "result": entry }));
    }
    let shown = visitor.get("devstore/global").await["result"]["entries"].clone();
    let stored: Value = settings.map(|(key, value)| (key.to_owned(), json!(value))).into_iter().collect();
    assert_eq!(shown, stored);
    assert_eq!(visitor.get("devstore/global/instance.name").await["result"]["value"], "Klinik Zürich");

    let keys = ["name", "headline", "tagline", "website", "logo", "theme"].map(|key| format!("instance.{key}"));
    let paths: Vec<_> = keys.iter().map(|key| format!("devstore/global/{key}")).collect();
    for reply in join_all(paths.iter().map(|path| admin.delete(path))).await {
        assert_eq!(reply, json!({ "result": {} }), "whether there was such a key or not");
    }
    let left = visitor.get("devstore/global").await["result"]["entries"].clone();
    assert_eq!(left.as_object().unwrap().keys().collect::<Vec<_>>(), ["external_webapps", "instance.limits"]);

    let feedback = json!({ "key": "feedback.v1.6b1f", "value": "{}" });
    browser.refused(403, Method::POST, "devstore/global", Some(feedback)).await;
    browser.refused(403, Method::DELETE, "devstore/global/external_webapps", None).await;
    visitor.refused(401, Method::POST, "devstore/global", Some(json!({ "key": "a", "value": "b" }))).await;
    server.stop().await;
}

/// What the client keeps for one user: the answer to the cookie banner, bookmarks.
#[tokio::test]
async fn entries_of_a_user_are_his_own() {
    let server = TestServer::configured(SETTINGS).await;
    let (ida, rolf) = (server.person("ida", &[]).await, server.person("rolf", &[]).await);
    let (ida, rolf) = (Browser::of(&server, &ida), Browser::of(&server, &rolf));
    for entry in [
        json!({ "key": "user.cookie_consent", "value": "true" }),
        json!({ "key": "user.bookmarks", "value": "[\"/workspaces/1\"]" }),
    ] {
        assert_eq!(ida.post("devstore/user", entry.clone()).await, json!({ "result": entry }));
    }
    let bookmarks = json!({ "key": "user.bookmarks", "value": "[]" });
    ida.post("devstore/user", bookmarks).await;
    let entries = ida.get("devstore/user").await;
    let stored = json!({ "user.bookmarks": "[]", "user.cookie_consent": "true" });
    assert_eq!(entries, json!({ "result": { "entries": stored } }));
    assert_eq!(rolf.get("devstore/user").await, json!({ "result": { "entries": {} } }));
    assert_eq!(rolf.delete("devstore/user/user.bookmarks").await, json!({ "result": {} }));
    assert_eq!(ida.get("devstore/user/user.bookmarks").await["result"]["value"], "[]");
    server.stop().await;
}
