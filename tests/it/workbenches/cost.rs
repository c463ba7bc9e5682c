//! What lists, watchers and the idle policy cost with 10,000 workbenches, in statements.
//!
//! Statements are counted in the log of the whole process, so these tests need one of their own, as cargo-nextest gives them.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use tokio::time::Instant;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

use super::*;
use crate::support::server::on_each_engine;

/// The statements that ran.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        write!(self.0, "{value:?} ").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

impl Statements {
    /// Starts to count; nothing when other tests run in the same process.
    fn count() -> Option<Self> {
        if std::env::var_os("NEXTEST").is_none() {
            eprintln!("skipped: statements are counted for the whole process; run this with cargo nextest");
            return None;
        }
        let statements = Self::default();
        tracing_subscriber::registry().with(statements.clone()).init();
        Some(statements)
    }

    /// Those since the last time that name this table.
    fn of(&self, table: &str) -> usize {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.iter().filter(|text| text.contains(table)).count()
    }
}

async fn many(server: &TestServer, workspace: i64) {
    server.workbench(&server.admin, workspace, "desk").await;
    for _ in 0..14 {
        sql("INSERT INTO workbenches (tenant_id, user_id, workspace_id, name, name_key, active_at, created_at, updated_at) \
             SELECT tenant_id, user_id, workspace_id, name, name_key, active_at, created_at, updated_at FROM workbenches \
             LIMIT 10000 - (SELECT count(*) FROM workbenches)")
        .run(&server.db)
        .await
        .unwrap();
    }
    let (rows,): (i64,) = sql("SELECT count(*) FROM workbenches").one(&server.db).await.unwrap();
    assert_eq!(rows, 10_000);
}

#[tokio::test]
async fn ten_thousand_at_rest_cost_next_to_nothing() {
    let Some(statements) = Statements::count() else { return };
    on_each_engine(|server| {
        let statements = statements.clone();
        async move {
            let workspace = server.workspace(&server.admin, "Atlas").await;
            many(&server, workspace).await;
            let admin = &server.admin;
            statements.of("");
            for query in ["?pagination.limit=500", "?pagination.limit=20&pagination.offset=5000", ""] {
                let reply = call(&server, admin, Method::GET, query, None).await;
                assert_eq!(reply.body["pagination"]["total"], 10_000);
                assert_eq!(statements.of("FROM workbenches"), 1, "{query}");
            }
            call(&server, admin, Method::GET, "?pagination.limit=20&pagination.offset=20000", None).await;
            assert_eq!(statements.of("FROM workbenches"), 2, "beyond the end");
            let one = row(&server, 1).await;
            assert_eq!(one.due_at, None, "at rest");
            statements.of("");
            get(&server, admin, 1).await;
            assert_eq!(statements.of("workbenches"), 1, "reading one that is in use writes nothing");

            server.upkeep().round().await;
            assert!(statements.of("workbenches") <= 4, "one look for each thing that could be due");

            let started = Instant::now();
            let path = format!("{WORKBENCHES}/watch?filter.workspaceIdsIn={}", server.workspace(admin, "Empty").await);
            let mut watchers = Vec::new();
            for _ in 0..20 {
                let request = server.request(Method::GET, &path).bearer_auth(&admin.token);
                let mut response = request.send().await.unwrap();
                assert!(response.chunk().await.unwrap().is_some());
                watchers.push(response);
            }
            let body = json!({"id": "1", "name": "changed"});
            call(&server, admin, Method::PUT, "", Some(body)).await;
            // one each when they open, and one task that asks for all of them
            let looks = statements.of("FROM desktop_version");
            let most = 20 + 8 + 3 * usize::try_from(started.elapsed().as_secs()).unwrap();
            assert!((20..=most).contains(&looks), "{looks} of {most}");
        }
    })
    .await;
}
