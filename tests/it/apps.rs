//! The app catalogue, over REST, on both engines.

use chorus::server::{
    clock::Clock as _,
    db::sql,
    services::apps::starter::{self, Starter},
};
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{Person, Reply, TestServer, on_each_engine};

const APPS: &str = "/api/rest/v1/apps";

async fn get(server: &TestServer, by: &Person, path: &str) -> Reply {
    server.rest(Some(by), Method::GET, &format!("{APPS}{path}"), None).await
}

async fn send(server: &TestServer, method: Method, path: &str, body: Value) -> Reply {
    server.rest(Some(&server.admin), method, &format!("{APPS}{path}"), Some(body)).await
}

fn app(name: &str, image: &str, tag: &str) -> Value {
    json!({"name": name, "dockerImageName": image, "dockerImageTag": tag})
}

/// `name:tag [tags of the other versions]` of each app of the list, and the total.
async fn listed(server: &TestServer, query: &str) -> (Vec<String>, u64) {
    let reply = get(server, &server.admin, &format!("?{query}")).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let apps = reply.body["result"]["apps"].as_array().unwrap().iter().map(|app| {
        let others = app["groupedVersions"].as_array().unwrap();
        let others: Vec<_> = others.iter().map(|version| version["dockerImageTag"].as_str().unwrap()).collect();
        format!("{}:{} {others:?}", app["name"].as_str().unwrap(), app["dockerImageTag"].as_str().unwrap())
    });
    (apps.collect(), reply.body["pagination"]["total"].as_u64().unwrap())
}

/// The field and the rule of a refused value.
fn broken(reply: &Reply) -> (&str, &str) {
    let entry = &reply.body["details"][0]["validationErrors"][0];
    (entry["field"].as_str().unwrap_or_default(), entry["reason"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn an_app_is_made_read_changed_and_deleted() {
    on_each_engine(|server| async move {
        let full = json!({
            "id": "77", "tenantId": "99", "userId": "99", "groupedVersions": [{"id": "1", "dockerImageTag": "x"}],
            "name": "RStudio ☃", "description": "R\nand more", "status": "inactive",
            "dockerImageRegistry": "registry.example.org:5000", "dockerImageName": "apps/rstudio", "dockerImageTag": "4.4",
            "shmSize": "64M", "maxCPU": "1.5", "minCPU": "500m", "maxMemory": "4Gi", "minMemory": "1G",
            "maxEphemeralStorage": "10Gi", "minEphemeralStorage": "512Mi", "browserConfigURL": "https://r.example.org/",
            "browserConfigJWTURL": "https://r.example.org/in", "browserConfigJWTOIDCClientID": "rstudio",
            "iconURL": "data:image/png;base64,AAAA", "iconBackgroundColor": "#336699", "stabilityStatus": "beta",
            "category": "Statistics",
        });
        let reply = send(&server, Method::POST, "", full.clone()).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let made = &reply.body["result"]["app"];
        let id = made["id"].as_str().unwrap();
        for (field, value) in full.as_object().unwrap() {
            let expected = match field.as_str() {
                "id" => &made["id"],
                "tenantId" => &json!(server.tenant.to_string()),
                "userId" => &json!(server.admin.id.to_string()),
                "groupedVersions" => &json!([]),
                _ => value,
            };
            assert_eq!(&made[field], expected, "{field}");
        }
        assert_eq!(get(&server, &server.admin, &format!("/{id}")).await.body["result"]["app"], *made);

        server.clock.advance(TimeDelta::hours(1));
        let mut bare = app("Bare", "apps/bare", "1");
        bare["id"] = json!(id);
        let reply = send(&server, Method::PUT, "", bare).await;
        let changed = &reply.body["result"]["app"];
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        for field in ["description", "dockerImageRegistry", "shmSize", "maxCPU", "iconURL", "stabilityStatus", "category"] {
            assert_eq!(changed[field], "", "{field}");
        }
        assert_eq!((&changed["status"], &changed["userId"]), (&json!("active"), &json!(server.admin.id.to_string())));
        assert_eq!(changed["createdAt"], made["createdAt"]);
        assert_eq!(changed["updatedAt"], "2026-03-01T09:00:00Z");

        let path = format!("{APPS}/{id}");
        let reply = server.rest(Some(&server.admin), Method::DELETE, &path, None).await;
        assert_eq!((reply.status, &reply.body["result"]), (200, &json!({})));
        for (method, body) in [(Method::GET, None), (Method::DELETE, None)] {
            let reply = server.rest(Some(&server.admin), method, &path, body).await;
            assert_eq!((reply.status, reply.reason()), (404, "APP_NOT_FOUND"));
        }
        let mut back = app("Back", "apps/bare", "1");
        back["id"] = json!(id);
        assert_eq!(send(&server, Method::PUT, "", back).await.status, 404, "a deleted app stays deleted");
        assert_eq!(listed(&server, "").await, (vec![], 0));
        let (name,): (String,) =
            sql("SELECT name FROM apps WHERE id = $1").bind(id.parse::<i64>().unwrap()).one(&server.db).await.unwrap();
        assert_eq!(name, "Bare", "names may repeat, so it keeps its own");
    })
    .await;
}

#[tokio::test]
async fn what_an_app_must_not_be() {
    on_each_engine(|server| async move {
        for (field, value, rule) in [
            ("name", "", "required"),
            ("name", " ", "not_blank"),
            ("name", "a<b>", "pattern"),
            ("status", "ready", "in"),
            ("status", "deleted", "not_deleted"),
            ("dockerImageRegistry", "https://registry.example.org", "pattern"),
            ("dockerImageRegistry", "registry.example.org:99999", "registry"),
            ("dockerImageName", "", "required"),
            ("dockerImageName", "Apps/RStudio", "pattern"),
            ("dockerImageName", "apps/rstudio:4", "pattern"),
            ("dockerImageName", "../rstudio", "pattern"),
            ("dockerImageTag", "", "required"),
            ("dockerImageTag", "-4", "pattern"),
            ("maxCPU", "two", "pattern"),
            ("maxCPU", "-1", "pattern"),
            ("maxMemory", "4 Gi", "pattern"),
            ("maxMemory", "4gi", "pattern"),
            ("shmSize", "9999999999999999G", "quantity"),
            ("browserConfigURL", "javascript:alert(1)", "pattern"),
            ("browserConfigURL", "https://me:secret@example.org", "no_credentials"),
            ("browserConfigJWTURL", "ftp://example.org", "pattern"),
            ("iconURL", "data:text/html;base64,AAAA", "pattern"),
            ("stabilityStatus", "perfect", "in"),
        ] {
            let mut wrong = app("RStudio", "apps/rstudio", "4.4");
            wrong[field] = json!(value);
            let reply = send(&server, Method::POST, "", wrong.clone()).await;
            assert_eq!((reply.status, broken(&reply)), (400, (field, rule)), "{value:?} {:?}", reply.body);
            let list = json!({"apps": [app("RStudio", "apps/rstudio", "4.4"), wrong]});
            let reply = send(&server, Method::POST, "/bulk", list).await;
            let field = format!("apps[1].{field}");
            assert_eq!((reply.status, broken(&reply)), (400, (&*field, rule)), "{value:?} {:?}", reply.body);
        }
        let mut wrong = app("RStudio", "apps/rstudio", "4.4");
        (wrong["minMemory"], wrong["maxMemory"]) = (json!("1Gi"), json!("1G"));
        let reply = send(&server, Method::POST, "", wrong).await;
        assert_eq!((reply.status, broken(&reply)), (400, ("minMemory", "lte_max")));
        assert_eq!(send(&server, Method::POST, "/bulk", json!({"apps": []})).await.status, 400);
        assert_eq!(listed(&server, "").await.1, 0, "all or nothing");
    })
    .await;
}

#[tokio::test]
async fn many_are_made_at_once() {
    on_each_engine(|server| async move {
        let list = json!({"apps": [app("B", "apps/b", "1"), app("A", "apps/a", "1"), app("B", "apps/b", "2")]});
        let reply = send(&server, Method::POST, "/bulk", list).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let names: Vec<_> = reply.body["apps"].as_array().unwrap().iter().map(|app| app["name"].clone()).collect();
        assert_eq!(names, ["B", "A", "B"], "in the order of the request");
        assert_eq!(listed(&server, "").await, (vec!["A:1 []".to_owned(), "B:2 [\"1\"]".to_owned()], 2));
    })
    .await;
}

#[tokio::test]
async fn versions_are_grouped_before_pages_are_cut() {
    on_each_engine(|server| async move {
        let admin = &server.admin;
        for (name, image, tag) in [
            ("VS Code", "apps/vscode", "1"),
            ("RStudio", "apps/rstudio", "4.1"),
            ("VS Code", "apps/vscode", "3"),
            ("Notes", "apps/kiosk", "1"),
            ("RStudio", "apps/rstudio", "4.2"),
            ("Wiki", "apps/kiosk", "1"),
            ("VS Code", "apps/vscode", "2"),
            ("NOTES", "apps/kiosk", "2"),
            ("notes", "kiosk-notes", "9"),
        ] {
            server.app(admin, name, image, tag).await;
        }
        let gone = server.app(admin, "RStudio", "apps/rstudio", "4.3").await;
        server.rest(Some(admin), Method::DELETE, &format!("{APPS}/{gone}"), None).await;
        let other = server.person_of(server.tenant("other").await, "zoe", &[]).await;
        server.app(&other, "RStudio", "apps/rstudio", "5").await;

        let all = ["RStudio:4.2 [\"4.1\"]", "Wiki:1 []", "VS Code:2 [\"3\", \"1\"]", "NOTES:2 [\"1\"]", "notes:9 []"];
        assert_eq!(listed(&server, "").await, (all.map(str::to_owned).into(), 5), "the highest id stands for all");
        for (offset, expected) in all.iter().enumerate() {
            let page = listed(&server, &format!("pagination.offset={offset}&pagination.limit=1")).await;
            assert_eq!(page, (vec![(*expected).to_owned()], 5), "every page has its group whole");
        }
        let by_name = "pagination.sort.type=name&pagination.sort.order=desc&pagination.limit=2";
        assert_eq!(listed(&server, by_name).await, (vec![all[4].to_owned(), all[1].to_owned()], 5));
        assert_eq!(listed(&server, "pagination.offset=50").await, (vec![], 5));

        let each = listed(&server, "disableGrouping=true&pagination.limit=3").await;
        assert_eq!(each, (vec!["VS Code:1 []".into(), "RStudio:4.1 []".into(), "VS Code:3 []".into()], 9));
    })
    .await;
}

#[tokio::test]
async fn the_list_says_what_it_sorts_by() {
    on_each_engine(|server| async move {
        server.app(&server.admin, "RStudio", "apps/rstudio", "4.1").await;
        for sort in ["id", "name", "status", "dockerimageregistry", "dockerImageName", "createdAt"] {
            for grouping in ["", "&disableGrouping=true"] {
                assert_eq!(listed(&server, &format!("pagination.sort.type={sort}{grouping}")).await.1, 1, "{sort}");
            }
        }
        let reply = get(&server, &server.admin, "?pagination.sort.type=category").await;
        assert_eq!((reply.status, reply.reason()), (400, "UNKNOWN_SORT"));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_runs_desktops_begins_with_apps() {
    on_each_engine(|server| async move {
        let starters = [
            Starter { image: "local/xterm", name: "Terminal", description: "A shell in a window." },
            Starter { image: "local/gedit", name: "gedit", description: "A plain text editor." },
        ];
        let now = server.clock.now();
        let other = server.tenant("other").await;
        assert_eq!(starter::seed(&server.db, other, &starters, now).await.unwrap(), 0, "nobody could own them");
        assert_eq!(starter::seed(&server.db, server.tenant, &starters, now).await.unwrap(), 2);
        let all = vec!["Terminal:installed []".to_owned(), "gedit:installed []".to_owned()];
        assert_eq!(listed(&server, "").await, (all, 2));
        let first = get(&server, &server.admin, "").await.body["result"]["apps"][0].clone();
        assert_eq!((&first["userId"], &first["status"]), (&json!(server.admin.id.to_string()), &json!("active")));

        for app in ["1", "2"] {
            server.rest(Some(&server.admin), Method::DELETE, &format!("{APPS}/{app}"), None).await;
        }
        assert_eq!(starter::seed(&server.db, server.tenant, &starters, now).await.unwrap(), 0, "deleted is deleted");
        assert_eq!(listed(&server, "").await.1, 0);
    })
    .await;
}
