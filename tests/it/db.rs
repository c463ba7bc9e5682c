//! The database layer: one contract, proven on both engines.

use std::{os::unix::fs::PermissionsExt, path::Path};

use chorus::server::db::{Db, DbError, Engine, FromRow, Json, Listed, On, Options, PageQuery, Result, lease, sql};
use chrono::{DateTime, TimeDelta, Utc};

use crate::support::{Database, each_engine};

fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_700_000_000_000_000 + micros).unwrap()
}

#[derive(Debug, Clone, PartialEq, FromRow)]
struct Workspace {
    id: i64,
    name: String,
    is_main: bool,
    allowed_fqdns: Json<Vec<String>>,
    contact_user_id: Option<i64>,
    created_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
}

async fn tenant(on: impl Into<On<'_>>, name: &str) -> Result<i64> {
    let (id,) = sql("INSERT INTO tenants (name, created_at, updated_at) VALUES ($1, $2, $2) RETURNING id")
        .bind(name)
        .bind(time(0))
        .one(on)
        .await?;
    Ok(id)
}

async fn user(on: impl Into<On<'_>>, tenant: i64, name: &str) -> Result<i64> {
    let (id,) = sql("INSERT INTO users (tenant_id, username, username_key, search_key, created_at, updated_at)
         VALUES ($1, $2, $2, $2, $3, $3) RETURNING id")
    .bind(tenant)
    .bind(name)
    .bind(time(0))
    .one(on)
    .await?;
    Ok(id)
}

async fn workspace(on: impl Into<On<'_>>, owner: (i64, i64), name: &str, at: DateTime<Utc>) -> Result<Workspace> {
    sql("INSERT INTO workspaces (tenant_id, user_id, name, name_key, status, allowed_fqdns, created_at, updated_at)
         VALUES ($1, $2, $3, $4, 'active', $5, $6, $6) RETURNING *")
    .bind(owner.0)
    .bind(owner.1)
    .bind(name)
    .bind(chorus::server::db::fold(name))
    .bind(Json(vec!["example.org".to_owned()]))
    .bind(at)
    .one(on)
    .await
}

async fn owner(db: &Db) -> (i64, i64) {
    let tenant = tenant(db, "default").await.unwrap();
    (tenant, user(db, tenant, "alice").await.unwrap())
}

async fn count(db: &Db, table: &'static str) -> i64 {
    let (n,): (i64,) = sql("SELECT count(*) FROM ").push(table).one(db).await.unwrap();
    n
}

#[tokio::test]
async fn values_come_back_as_stored() {
    each_engine(|db| async move {
        let owner = owner(&db).await;
        let made = workspace(&db, owner, "Zürich 東京 🦀", time(123_456)).await.unwrap();
        let read: Workspace = sql("SELECT * FROM workspaces WHERE id = $1").bind(made.id).one(&db).await.unwrap();
        assert_eq!(made, read);
        assert_eq!((read.created_at, read.is_main, read.contact_user_id), (time(123_456), false, None));

        let changed = sql("UPDATE workspaces SET is_main = $1, contact_user_id = $2, deleted_at = $3 WHERE id = $4")
            .bind(true)
            .bind(Some(owner.1))
            .bind(Some(time(1)))
            .bind(made.id)
            .run(&db)
            .await;
        assert_eq!(changed, Ok(1));
        let read: Workspace = sql("SELECT * FROM workspaces").one(&db).await.unwrap();
        assert_eq!((read.is_main, read.contact_user_id, read.deleted_at), (true, Some(owner.1), Some(time(1))));

        let missing: Option<Workspace> = sql("SELECT * FROM workspaces WHERE id = -1").maybe(&db).await.unwrap();
        assert_eq!(missing, None);
        assert!(matches!(sql("SELECT 1 WHERE 1 = 0").one::<(i32,)>(&db).await, Err(DbError::Fault(_))));
    })
    .await;
}

#[tokio::test]
async fn violations_have_names() {
    each_engine(|db| async move {
        let (tenant_id, user_id) = owner(&db).await;
        assert!(tenant(&db, "default").await.unwrap_err().is_unique("tenants_name_key"));
        assert!(user(&db, tenant_id, "alice").await.unwrap_err().is_unique("users_username_key_source_key"));
        assert_eq!(user(&db, -1, "bob").await, Err(DbError::ForeignKey));

        let assign = || {
            sql("INSERT INTO role_assignments (tenant_id, user_id, role, workspace, created_at) VALUES ($1, $2, $3, $4, $5)")
                .bind(tenant_id)
                .bind(user_id)
                .bind("WorkspaceMember")
                .bind(Some("7"))
                .bind(time(0))
        };
        assert_eq!(assign().run(&db).await, Ok(1));
        let error = assign().run(&db).await.unwrap_err();
        assert!(error.is_unique("role_assignments_user_id_role_context_key"), "{error}");
        assert_eq!(assign().push(" ON CONFLICT DO NOTHING").run(&db).await, Ok(0));

        let error = sql("INSERT INTO access_version (id, version) VALUES (1, 1)").run(&db).await.unwrap_err();
        assert!(error.is_unique("access_version_pkey"), "{error}");
        assert!(matches!(sql("UPDATE users SET status = 'gone'").run(&db).await, Err(DbError::Fault(_))));

        let first = workspace(&db, (tenant_id, user_id), "a", time(0)).await.unwrap();
        workspace(&db, (tenant_id, user_id), "b", time(0)).await.unwrap();
        sql("UPDATE workspaces SET is_main = TRUE WHERE id = $1").bind(first.id).run(&db).await.unwrap();
        let error = sql("UPDATE workspaces SET is_main = TRUE").run(&db).await.unwrap_err();
        assert!(error.is_unique("workspaces_user_id_key"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    each_engine(|db| async move {
        let mut tx = db.transaction().await.unwrap();
        tenant(&mut tx, "kept").await.unwrap();
        let (sent, mut received) = tokio::sync::oneshot::channel();
        tx.on_commit(move || sent.send(()).unwrap());
        assert!(received.try_recv().is_err());
        tx.commit().await.unwrap();
        assert_eq!(received.try_recv(), Ok(()));

        let mut tx = db.transaction().await.unwrap();
        tenant(&mut tx, "dropped").await.unwrap();
        drop(tx);

        // after a failure, neither engine keeps a part
        let mut tx = db.transaction().await.unwrap();
        tenant(&mut tx, "before the failure").await.unwrap();
        assert!(tenant(&mut tx, "kept").await.unwrap_err().is_unique("tenants_name_key"));
        assert!(matches!(tx.commit().await, Err(DbError::Fault(_))));
        assert_eq!(count(&db, "tenants").await, 1);
    })
    .await;
}

/// A deadline drops the future of a call wherever it stands.
#[tokio::test]
async fn abandoned_calls_leave_nothing_behind() {
    each_engine(|db| async move {
        let call = async |n: u32| -> Result<()> {
            let mut tx = db.transaction().await?;
            tenant(&mut tx, &format!("{n} a")).await?;
            tenant(&mut tx, &format!("{n} b")).await?;
            tx.commit().await
        };
        for n in 0..120 {
            let yields = async {
                for _ in 0..n * n / 4 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! { biased; () = yields => {}, done = call(n) => done.unwrap() }
        }
        call(1000).await.unwrap();
        assert_eq!(count(&db, "tenants").await % 2, 0, "half a transaction was kept");
    })
    .await;
}

/// What is stored on its own is there for everybody, also when a `BEGIN` was given up on the same connection before.
#[tokio::test]
async fn an_abandoned_begin_leaves_no_transaction_open() {
    for database in Database::each().await {
        let (db, other) = (database.open().await, database.open().await);
        db.migrate().await.unwrap();
        for n in 0..400 {
            let yields = async {
                for _ in 0..n % 40 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! { biased; () = yields => {}, begun = db.transaction() => drop(begun.unwrap()) }
            tenant(&db, &format!("tenant {n}")).await.unwrap();
            assert_eq!(count(&other, "tenants").await, n + 1, "on {} after {} steps", db.engine().name(), n % 40);
        }
    }
}

#[tokio::test]
async fn a_lock_makes_reading_then_writing_safe() {
    each_engine(|db| async move {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move {
                    for _ in 0..5 {
                        let mut tx = db.transaction().await?;
                        tx.lock("version").await?;
                        let (version,): (i64,) = sql("SELECT version FROM access_version").one(&mut tx).await?;
                        sql("UPDATE access_version SET version = $1").bind(version + 1).run(&mut tx).await?;
                        tx.commit().await?;
                    }
                    Ok::<_, DbError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let (version,): (i64,) = sql("SELECT version FROM access_version").one(&db).await.unwrap();
        assert_eq!(version, 41);
    })
    .await;
}

async fn names(db: &Db, query: PageQuery<'_>) -> (Vec<String>, u64, bool) {
    let page = query.check(&[("id", "id"), ("name", "name"), ("status", "status")]).unwrap();
    let listed: Listed<Workspace> = sql("SELECT * FROM workspaces").list(db, &page).await.unwrap();
    (listed.rows.into_iter().map(|row| row.name).collect(), listed.total, listed.truncated)
}

#[tokio::test]
async fn pages_have_a_total_order_and_a_total() {
    each_engine(|db| async move {
        let owner = owner(&db).await;
        for name in ["b", "B", "ä", "a", "Z"] {
            workspace(&db, owner, name, time(0)).await.unwrap();
        }
        let query = |sort, order, offset, limit| PageQuery { sort, order, offset, limit };
        for (query, expected, total) in [
            (query("", "", 0, 0), vec!["b", "B", "ä", "a", "Z"], 5),
            // by code point, whatever the locale of the cluster
            (query("name", "", 0, 0), vec!["B", "Z", "a", "b", "ä"], 5),
            (query("NAME", "desc", 1, 2), vec!["b", "a"], 5),
            // equal rows are ordered by id
            (query("status", "asc", 0, 3), vec!["b", "B", "ä"], 5),
            (query("status", "desc", 0, 3), vec!["Z", "a", "ä"], 5),
            (query("name", "", 5, 2), vec![], 5),
            (query("name", "", 400, 2), vec![], 5),
        ] {
            let (names, found, truncated) = names(&db, query).await;
            assert_eq!(
                (names, found, truncated),
                (expected.iter().map(|s| s.to_string()).collect(), total, false),
                "{query:?}"
            );
        }
        let none = PageQuery::default().check(&[("id", "id")]).unwrap();
        let listed: Listed<Workspace> = sql("SELECT * FROM workspaces WHERE 1 = 0").list(&db, &none).await.unwrap();
        assert_eq!((listed.rows.len(), listed.total), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_list_without_parameters_says_when_it_is_cut() {
    each_engine(|db| async move {
        let mut tx = db.transaction().await.unwrap();
        let tenant = tenant(&mut tx, "default").await.unwrap();
        let owner = (tenant, user(&mut tx, tenant, "alice").await.unwrap());
        for n in 0..1001 {
            workspace(&mut tx, owner, &n.to_string(), time(n)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let (rows, total, truncated) = names(&db, PageQuery::default()).await;
        assert_eq!((rows.len(), total, truncated), (1000, 1001, true));
        let (rows, total, truncated) = names(&db, PageQuery { sort: "id", ..PageQuery::default() }).await;
        assert_eq!((rows.len(), total, truncated), (20, 1001, false));
    })
    .await;
}

#[tokio::test]
async fn filters() {
    each_engine(|db| async move {
        let owner = owner(&db).await;
        let mut ids = Vec::new();
        for (n, name) in ["Ångström", "100%", "100 x", "a_b", "acb", r"back\slash"].into_iter().enumerate() {
            ids.push(workspace(&db, owner, name, time(n as i64)).await.unwrap().id);
        }
        let find = async |some: Option<Vec<i64>>, text: Option<&str>, since: Option<DateTime<Utc>>| {
            let rows: Vec<(String,)> = sql("SELECT name FROM workspaces WHERE tenant_id = ")
                .arg(owner.0)
                .and_in("id", some)
                .and_contains("name_key", text)
                .and("created_at >=", since)
                .push(" ORDER BY id")
                .all(&db)
                .await
                .unwrap();
            rows.into_iter().map(|(name,)| name).collect::<Vec<_>>()
        };
        assert_eq!(find(None, None, None).await.len(), 6);
        assert_eq!(find(Some(vec![ids[0], ids[3], -1]), None, None).await, ["Ångström", "a_b"]);
        // access rules must not read "no workspace" as "any workspace"
        assert!(find(Some(vec![]), None, None).await.is_empty());
        assert_eq!(find(None, Some("ÅNG"), None).await, ["Ångström"]);
        assert_eq!(find(None, Some("0%"), None).await, ["100%"]);
        assert_eq!(find(None, Some("A_B"), None).await, ["a_b"]);
        assert_eq!(find(None, Some(r"\"), None).await, [r"back\slash"]);
        assert_eq!(find(None, Some("b"), Some(time(4))).await, ["acb", r"back\slash"]);
    })
    .await;
}

/// SQLite stores times as text, whose length varies: comparing must still be comparing times.
#[tokio::test]
async fn times_compare_as_times() {
    each_engine(|db| async move {
        let owner = owner(&db).await;
        let mut micros =
            vec![0, 1, 10, 500_000, 500_001, 999_999, 1_000_000, 1_000_100, -1, -1_000_000, 86_400_000_000];
        micros.extend((1..40).map(|n: i64| n * 7_919_191_919 % 20_000_000_000 - 10_000_000_000));
        for n in &micros {
            workspace(&db, owner, "x", time(*n)).await.unwrap();
        }
        let rows: Vec<(DateTime<Utc>,)> =
            sql("SELECT created_at FROM workspaces ORDER BY created_at").all(&db).await.unwrap();
        let expected = |keep: &dyn Fn(i64) -> bool| {
            let mut times: Vec<_> = micros.iter().filter(|n| keep(**n)).map(|n| (time(*n),)).collect();
            times.sort();
            times
        };
        assert_eq!(rows, expected(&|_| true));
        for limit in [0, 1, 500_000, 1_000_000] {
            let rows: Vec<(DateTime<Utc>,)> =
                sql("SELECT created_at FROM workspaces WHERE created_at > $1 ORDER BY created_at")
                    .bind(time(limit))
                    .all(&db)
                    .await
                    .unwrap();
            assert_eq!(rows, expected(&|n| n > limit));
        }
    })
    .await;
}

#[tokio::test]
async fn one_holder_a_lease() {
    each_engine(|db| async move {
        let ttl = TimeDelta::seconds(10);
        let take = async |holder, second: i64| {
            lease::acquire(&db, "operator", holder, time(second * 1_000_000), ttl).await.unwrap()
        };
        assert!(take("a", 0).await);
        assert!(!take("b", 9).await);
        assert!(take("a", 9).await, "renews");
        assert!(!take("b", 18).await);
        assert!(take("b", 19).await, "has run out");
        assert!(!take("a", 20).await);
        lease::release(&db, "operator", "a").await.unwrap();
        assert!(!take("a", 20).await, "only the holder can give it back");
        lease::release(&db, "operator", "b").await.unwrap();
        assert!(take("a", 20).await);
        assert!(lease::acquire(&db, "other", "b", time(0), ttl).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn migrations_run_once_however_many_start() {
    for database in Database::each().await {
        let (first, second) = (database.open().await, database.open().await);
        let all = first.pending_migrations().await.unwrap();
        assert_eq!(all[0].description, "foundation");
        let (one, two) = tokio::join!(first.migrate(), second.migrate());
        one.unwrap();
        two.unwrap();
        assert_eq!(first.pending_migrations().await.unwrap(), []);
        assert_eq!(second.migrate().await.unwrap(), []);
        assert_eq!(count(&second, "_sqlx_migrations").await, all.len() as i64);
        assert_eq!(count(&second, "access_version").await, 1);
    }
}

#[tokio::test]
async fn a_foreign_schema_is_refused() {
    each_engine(|db| async move {
        sql("UPDATE _sqlx_migrations SET checksum = $1 WHERE version = 1").bind(vec![0_u8]).run(&db).await.unwrap();
        let Err(DbError::Schema(edited)) = db.migrate().await else { panic!("an edited migration was accepted") };
        assert!(edited.contains("differs"), "{edited}");
        sql("UPDATE _sqlx_migrations SET version = 9000 WHERE version = 1").run(&db).await.unwrap();
        let Err(DbError::Schema(newer)) = db.pending_migrations().await else { panic!("a newer schema was accepted") };
        assert!(newer.contains("9000") && newer.contains("newer"), "{newer}");
    })
    .await;
}

#[tokio::test]
async fn every_foreign_key_has_an_index() {
    let db = Db::memory().await.unwrap();
    let missing: Vec<(String, String)> = sql(
        "SELECT t.name, f.\"from\" FROM sqlite_master t, pragma_foreign_key_list(t.name) f WHERE t.type = 'table' AND NOT EXISTS
           (SELECT 1 FROM pragma_index_list(t.name) i, pragma_index_info(i.name) c
             WHERE c.seqno = 0 AND c.name = f.\"from\" AND NOT i.partial)",
    )
    .all(&db)
    .await
    .unwrap();
    assert_eq!(missing, []);
}

#[tokio::test]
async fn what_the_gauges_and_the_status_show() {
    each_engine(|db| async move {
        db.ping().await.unwrap();
        let version = db.server_version().await.unwrap();
        assert!(version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains(' '), "{version}");
        let tx = db.transaction().await.unwrap();
        let stats = db.pool_stats();
        assert!(stats.connections > 0 && stats.idle < stats.connections, "{stats:?}");
        drop(tx);
        db.close().await;
        assert!(matches!(db.ping().await, Err(DbError::Unavailable(_))));
    })
    .await;
}

#[tokio::test]
async fn the_file_is_private() {
    let database = Database::sqlite();
    let db = database.open().await;
    db.migrate().await.unwrap();
    let path = database.url.strip_prefix("sqlite:").unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let mode = Path::new(&format!("{path}{suffix}")).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
}

#[tokio::test]
async fn readers_cannot_write_and_do_not_wait_for_a_writer() {
    let database = Database::sqlite();
    let db = database.open().await;
    db.migrate().await.unwrap();
    let mut tx = db.transaction().await.unwrap();
    tenant(&mut tx, "default").await.unwrap();
    assert_eq!(count(&db, "tenants").await, 0);
    tx.commit().await.unwrap();
    assert_eq!(count(&db, "tenants").await, 1);
}

#[tokio::test]
async fn urls_that_cannot_be_used() {
    for url in ["", "chorus.db", "mysql://root:hunter2@db/chorus", "sqlite:", "sqlite://", "postgres://u:hunter2@[x/db"]
    {
        let Err(error @ DbError::Url(_)) = Db::open(url, &Options::default()).await else { panic!("{url} was opened") };
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let missing = Db::open("sqlite:/nonexistent/folder/chorus.db", &Options::default()).await;
    assert!(matches!(missing, Err(DbError::Url(text)) if text.contains("/nonexistent/folder/chorus.db")));
    // port 1 is reserved, nobody answers there
    let options = Options { acquire_timeout: std::time::Duration::from_millis(200), ..Options::default() };
    let refused = Db::open("postgres://u:hunter2@127.0.0.1:1/db", &options).await;
    assert!(matches!(&refused, Err(DbError::Unavailable(text)) if !text.contains("hunter2")), "{refused:?}");
    assert_eq!(Db::open("sqlite::memory:", &options).await.unwrap().engine(), Engine::Sqlite);
}
