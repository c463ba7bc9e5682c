//! Opening a page, signing in, the dashboard, staying signed in, signing out, and registering.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    browser::{Browser, SETTINGS, UI},
    shapes,
};
use crate::support::server::{ADMIN_PASSWORD, TestServer};

/// The first requests of any page.
async fn open_page(browser: &Browser<'_>) {
    let store = browser.get("devstore/global").await;
    assert!(store["result"]["entries"].is_object(), "{store}");
}

/// Everything between a good login and the dashboard; the user and the workspaces that it shows.
pub async fn dashboard(browser: &Browser<'_>) -> (Value, Vec<Value>) {
    let (me, _) = refresh(browser).await;
    let none_yet = ["terms-of-use/acceptances/status", "terms-of-use/versions/current", "approval-requests/mine/count"];
    for path in none_yet {
        browser.refused(501, Method::GET, path, None).await;
    }
    for app in shapes::list(&browser.get("apps").await["result"]["apps"]) {
        shapes::app(app);
    }
    let workbenches = browser.get("workbenches").await;
    for workbench in shapes::list(&workbenches["result"]["workbenches"]) {
        shapes::workbench(workbench);
    }
    for instance in shapes::list(&browser.get("app-instances").await["result"]["appInstances"]) {
        shapes::app_instance(instance);
    }
    let (roles, permissions, own) = tokio::join!(
        browser.get("authorization/roles"),
        browser.get("authorization/permissions"),
        browser.get("devstore/user"),
    );
    may_be_joined(&me, &roles, &permissions);
    assert!(own["result"]["entries"].is_object(), "{own}");
    let (again, workspaces) = refresh(browser).await;
    assert_eq!(again, me);
    for workspace in &workspaces {
        let path = format!("users?filter.workspaceIDs={}", shapes::id(&workspace["id"]));
        shapes::users(&browser.get(&path).await);
    }
    for query in ["pagination.limit=1&isRead=false", "pagination.limit=100"] {
        let reply = browser.get(&format!("notifications?{query}")).await;
        shapes::list(&reply["result"]);
        assert!(reply["totalItems"].is_u64(), "{reply}");
    }
    (me, workspaces)
}

/// What the client asks every 30 seconds, and after each change.
pub async fn refresh(browser: &Browser<'_>) -> (Value, Vec<Value>) {
    let (me, workspaces) = tokio::join!(browser.get("users/me"), browser.get("workspaces"));
    let me = shapes::user(&me["result"]["me"]).clone();
    let workspaces = shapes::list(&workspaces["result"]["workspaces"]).to_vec();
    for workspace in &workspaces {
        shapes::workspace(workspace);
    }
    (me, workspaces)
}

/// The client finds the permissions of the user's roles by name.
fn may_be_joined(me: &Value, roles: &Value, permissions: &Value) {
    let names =
        |list: &Value| shapes::list(list).iter().map(|v| shapes::text(&v["name"]).to_owned()).collect::<Vec<_>>();
    let (known, allowed) = (names(&roles["result"]["roles"]), names(&permissions["result"]["permissions"]));
    for grant in shapes::list(&me["rolesWithContext"]) {
        assert!(known.contains(&shapes::text(&grant["name"]).to_owned()), "{grant} of {known:?}");
    }
    for role in shapes::list(&roles["result"]["roles"]) {
        shapes::fields(role, &["name", "description", "context", "permissions", "scope", "dynamic"]);
        shapes::list(&role["context"]);
        for permission in shapes::list(&role["permissions"]) {
            assert!(allowed.contains(&shapes::text(permission).to_owned()), "{permission} of {role}");
        }
    }
    for asked in [
        "createWorkspace",
        "updateWorkspace",
        "deleteWorkspace",
        "createWorkbench",
        "listWorkspaces",
        "listUsers",
        "createApp",
        "listAppInstances",
        "deleteAppInstance",
        "setPlatformSettings",
        "auditPlatform",
        "manageUserRoles",
        "manageUsersInWorkspace",
        "manageUsersInWorkbench",
        "listRequests",
        "approveRequest",
    ] {
        assert!(allowed.contains(&asked.to_owned()), "the client asks for {asked}");
    }
    for offered in
        ["WorkspaceAdmin", "WorkspaceMaintainer", "WorkspaceDataManager", "WorkspaceMember", "WorkspaceGuest"]
    {
        let role = shapes::list(&roles["result"]["roles"]).iter().find(|role| role["name"] == offered);
        assert_eq!(role.map(|role| &role["scope"]), Some(&json!("workspace")), "{offered}");
    }
}

#[tokio::test]
async fn from_the_first_page_to_signing_out() {
    let server = TestServer::configured(SETTINGS).await;
    let browser = Browser::new(&server);
    open_page(&browser).await;
    let reply = browser.refused(401, Method::GET, "users/me", None).await;
    assert_eq!((&reply.body["code"], reply.chorus_code()), (&json!(16), "UNAUTHENTICATED"));
    let internal = json!({ "type": "internal", "internal": { "publicRegistrationEnabled": false },
        "ButtonText": "Sign in", "IconURL": "" });
    assert_eq!(browser.modes().await, json!({ "result": { "modes": [internal] } }));

    let wrong = browser.sign_in("chorus", "no such password").await;
    assert_eq!((wrong.status, wrong.chorus_code()), (401, "INVALID_CREDENTIALS"));
    assert_eq!(browser.cookie(), None);

    let reply = browser.sign_in("chorus", ADMIN_PASSWORD).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    shapes::fields(&reply.body["result"], &["token"]);
    let cookie = browser.cookie().expect("a cookie that lasts");
    assert_eq!(shapes::text(&reply.body["result"]["token"]), cookie.value);
    assert!(cookie.value.len() < 4000, "browsers drop large cookies");
    assert_eq!(cookie.attributes[..3], ["Path=/", "HttpOnly", "SameSite=Lax"].map(str::to_owned));
    assert!(!cookie.attributes.iter().any(|attribute| attribute.starts_with("Domain=")), "for this host only");

    let (me, workspaces) = dashboard(&browser).await;
    assert_eq!((&me["username"], workspaces.len()), (&json!("chorus"), 0));
    for _ in 0..3 {
        server.clock.advance(TimeDelta::seconds(30));
        assert_eq!(refresh(&browser).await.0, me, "nothing that reads counts as a change");
    }

    let reply = browser.post("authentication/logout", json!({})).await;
    assert!(matches!(reply.get("redirectURL").and_then(Value::as_str), None | Some("")), "{reply}");
    assert_eq!(browser.cookie(), None, "the cookie is gone from the browser");
    browser.set_cookie(&cookie.value);
    browser.refused(401, Method::GET, "users/me", None).await;
    server.stop().await;
}

/// A cookie that is no good any more must not keep anybody from the login page.
#[tokio::test]
async fn a_dead_cookie_is_no_obstacle() {
    let server = TestServer::configured(SETTINGS).await;
    let dead = Browser::of(&server, &server.admin);
    dead.post("authentication/logout", json!({})).await;
    for cookie in [server.admin.token.as_str(), "no-token-at-all", ""] {
        let browser = Browser::of(&server, &server.admin);
        browser.set_cookie(cookie);
        open_page(&browser).await;
        browser.refused(401, Method::GET, "users/me", None).await;
        let reply = browser.refused(401, Method::POST, "authentication/logout", Some(json!({}))).await;
        assert_eq!(reply.headers.contains_key("set-cookie"), !cookie.is_empty());
        assert_eq!(
            browser.cookie().map(|cookie| cookie.value).unwrap_or_default(),
            "",
            "the cookie is gone from the browser"
        );
        browser.set_cookie(cookie);
        browser.modes().await;
        browser.get("authorization/roles").await;
        let wrong = browser.sign_in("chorus", "no such password").await;
        assert_eq!(wrong.chorus_code(), "INVALID_CREDENTIALS", "{cookie:?}");
    }
    dead.set_cookie(&server.admin.token);
    assert_eq!(dead.sign_in("chorus", ADMIN_PASSWORD).await.status, 200);
    dashboard(&dead).await;
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_expires_ends_at_the_login_page() {
    let server = TestServer::configured(&[SETTINGS[0], ("session_idle_timeout", "1h")]).await;
    let person = server.person("ida", &[]).await;
    let browser = Browser::of(&server, &person);
    for _ in 0..4 {
        server.clock.advance(TimeDelta::minutes(30));
        refresh(&browser).await;
    }
    server.clock.advance(TimeDelta::minutes(61));
    browser.refused(401, Method::GET, "users/me", None).await;
    server.stop().await;
}

const REGISTRATION: &str = "users";

fn registration() -> Value {
    json!({ "firstName": "Élodie", "lastName": "Łaska", "username": "elodie@example.org", "status": "active",
        "password": "winter otters skate uphill", "email": "elodie@example.org" })
}

#[tokio::test]
async fn registering_and_signing_in() {
    let server = TestServer::configured(&[("cors_origins", UI), ("public_registration", "true")]).await;
    let browser = Browser::new(&server);
    let modes = browser.modes().await;
    assert_eq!(modes["result"]["modes"][0]["internal"]["publicRegistrationEnabled"], true);

    let mut weak = registration();
    weak["password"] = json!("password1234");
    let reply = browser.refused(400, Method::POST, REGISTRATION, Some(weak)).await;
    let violations = &reply.body["details"][0]["validationErrors"];
    assert_eq!(violations[0]["field"], "password", "{}", reply.body);
    assert!(!reply.body.to_string().contains("password1234"), "the password is not repeated");

    let user = browser.post(REGISTRATION, registration()).await["result"]["user"].clone();
    shapes::user(&user);
    assert_eq!((&user["firstName"], &user["status"]), (&json!("Élodie"), &json!("active")));
    let reply = browser.refused(409, Method::POST, REGISTRATION, Some(registration())).await;
    assert_eq!(reply.chorus_code(), "ALREADY_EXISTS");
    assert_eq!(browser.cookie(), None, "who registers still has to sign in");

    assert_eq!(browser.sign_in("elodie@example.org", "winter otters skate uphill").await.status, 200);
    let (me, workspaces) = dashboard(&browser).await;
    assert_eq!((&me["id"], workspaces.len()), (&user["id"], 0));
    server.stop().await;
}

#[tokio::test]
async fn registration_is_closed_unless_opened() {
    let server = TestServer::configured(SETTINGS).await;
    let reply = Browser::new(&server).refused(403, Method::POST, REGISTRATION, Some(registration())).await;
    assert_eq!((reply.chorus_code(), reply.reason()), ("PERMISSION_DENIED", "REGISTRATION_CLOSED"));
    server.stop().await;
}
