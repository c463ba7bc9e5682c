//! The gate, with handlers made up here: what no RPC of the contract shows (streams, panics, rules by stored rows).

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta};
use futures_util::StreamExt;
use secrecy::ExposeSecret as _;
use tokio_stream::wrappers::IntervalStream;
use tonic::{Code, Request, Response, Status};

use super::{
    Items, Replies,
    admission::{Arrived, Need, Plan, Rule, TargetOf, Wanted},
    gate::{Gate, Shared},
    rpc::{Rpc, When},
    validation::Violations,
};
use crate::server::{
    access::{
        api_token::Fresh,
        audit,
        caller::Account,
        catalogue::Permission,
        decide::Roles,
        keyring::{Keyring, Keys},
        kiosk::Kiosk,
        password::Hasher,
        seal::Sealer,
        sessions::{Lifetime, Sessions},
        throttle::Throttle,
        token::{CookiePolicy, Tokens},
    },
    clock::{Clock, ManualClock},
    config::CookieSameSite,
    db::{Db, sql},
    error::{Result, detail},
    random::{Random, SeededRandom},
};

static RPC: Rpc = Rpc {
    name: "TestService/Test",
    path: "/test.TestService/Test",
    public: false,
    planned: false,
    restricted: false,
    session_only: false,
    signs_out: false,
    streaming: true,
    max_bytes: 1024,
    audit: When::Failure,
    action: "TestThing",
};

/// The request is the id of a workspace.
static PLAN: Plan<u64> = Plan {
    rpc: &RPC,
    clear: |_| {},
    required: |q, v: &mut Violations| {
        if *q == 0 {
            v.add("id", "required");
        }
    },
    check: |_, _| {},
    subjects: |q, s| s.workspace = super::admission::id(Some(q)),
};

const OF_WORKSPACE: Rule<u64> =
    Rule::All(&[Need { permission: Permission::GetWorkspace, target: TargetOf::Field(|q| *q) }]);

struct World {
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    db: Db,
    clock: Arc<ManualClock>,
}

impl World {
    /// User 1 is administrator of workspace 5.
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let db = Db::memory().await.unwrap();
        for statement in [
            "INSERT INTO tenants (id, name, created_at, updated_at) VALUES (1, 't', $1, $1)",
            "INSERT INTO users (id, tenant_id, username, username_key, password_changed, search_key, created_at, updated_at) \
             VALUES (1, 1, 'ann', 'ann', TRUE, 'ann', $1, $1)",
            "INSERT INTO role_assignments (tenant_id, user_id, role, workspace, created_at) VALUES (1, 1, 'WorkspaceAdmin', '5', $1)",
        ] {
            sql(statement).bind(clock.now()).run(&db).await.unwrap();
        }
        let lifetime = Lifetime { idle: TimeDelta::hours(12), absolute: TimeDelta::days(7) };
        let keys = Keys::fixed(Keyring::generate(&*random, &*clock));
        let shared = Arc::new(Shared {
            sessions: Sessions::new(db.clone(), Tokens::new(keys.clone()), lifetime, 1, Roles::built_in(true)),
            cookie: CookiePolicy { same_site: CookieSameSite::Lax, secure: true },
            audit: audit::Writer::start(db.clone()),
            hasher: Hasher::start(random.clone()).unwrap(),
            throttle: Throttle::new(db.clone(), keys.clone()),
            sealer: Sealer::new(keys.clone()),
            kiosk: Kiosk::new(keys),
            desktops: Default::default(),
            clock: clock.clone(),
            random,
            trusted_proxies: Vec::new(),
        });
        Self { gate: Gate::new(shared.clone()), shared, db, clock }
    }

    async fn request(&self, workspace: u64) -> Request<u64> {
        let account: Account =
            sql("SELECT id, tenant_id, first_name, last_name, username, source, email, status, totp_enabled, \
             password_changed, created_at, updated_at FROM users WHERE id = 1")
            .one(&self.db)
            .await
            .unwrap();
        let id = self.shared.random.uuid().to_string();
        let now = self.clock.now();
        let opened = self.shared.sessions.open(&self.db, &account, &id, ("", ""), now).await.unwrap();
        let mut request = Request::new(workspace);
        request.metadata_mut().insert("authorization", format!("Bearer {}", opened.token).parse().unwrap());
        request
    }

    /// The same by an API token that is for workspace 5 only.
    async fn request_by_token(&self, workspace: u64) -> Request<u64> {
        let fresh = Fresh::new(&*self.shared.random);
        sql("INSERT INTO api_tokens (tenant_id, user_id, name, name_key, public_id, secret_hash, scopes, created_by, \
             created_at, expires_at) VALUES (1, 1, 'ci', 'ci', $1, $2, '[\"getWorkspace@workspace=5\"]', 1, $3, $4)")
        .bind(fresh.public_id)
        .bind(fresh.secret_hash.to_vec())
        .bind(self.clock.now())
        .bind(self.clock.now() + TimeDelta::days(1))
        .run(&self.db)
        .await
        .unwrap();
        let mut request = Request::new(workspace);
        let bearer = format!("Bearer {}", fresh.text.expose_secret());
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        request
    }

    /// What another replica would do.
    async fn elsewhere(&self, statement: &'static str) {
        sql(statement).run(&self.db).await.unwrap();
        sql("UPDATE access_version SET version = version + 1").run(&self.db).await.unwrap();
    }

    async fn records(&self) -> Vec<(String, String, Option<i64>, i64)> {
        sql("SELECT action, outcome, workspace_id, code FROM audit_log ORDER BY id").all(&self.db).await.unwrap()
    }
}

/// A handler behind the rule, as the build emits them.
async fn echo(arrived: Arrived<u64>) -> Result<u64> {
    let (_, q) = arrived.admit(&OF_WORKSPACE)?;
    Ok(q)
}

async fn signed_in(arrived: Arrived<u64>) -> Result<u64> {
    let (_, q) = arrived.admit(&Rule::SignedIn)?;
    Ok(q)
}

async fn not_built(arrived: Arrived<u64>) -> Result<u64> {
    arrived.not_built(&OF_WORKSPACE)
}

async fn ticks(arrived: Arrived<u64>) -> Result<Items<u32>> {
    arrived.admit(&OF_WORKSPACE)?;
    Ok(every_so_often())
}

fn every_so_often() -> Items<u32> {
    let every = tokio::time::interval(Duration::from_millis(200));
    Box::pin(IntervalStream::new(every).map(|_| Ok(7)))
}

fn reason<T>(answer: &Result<Response<T>, Status>) -> (Code, String) {
    match answer {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), detail(status).unwrap().reason),
    }
}

#[tokio::test]
async fn authenticate_then_authorize_then_validate_then_call() {
    let world = World::new().await;
    let nobody = world.gate.unary(&PLAN, Request::new(5), echo).await;
    assert_eq!(reason(&nobody), (Code::Unauthenticated, "CREDENTIAL_MISSING".into()));
    // workspace 0 breaks a rule, but who may not call is not told about rules
    for other in [0, 6, u64::MAX] {
        let request = world.request(other).await;
        let refused = world.gate.unary(&PLAN, request, echo).await;
        assert_eq!(reason(&refused).0, Code::PermissionDenied, "{other}");
    }
    let request = world.request(0).await;
    let invalid = world.gate.unary(&PLAN, request, signed_in).await;
    assert_eq!(reason(&invalid), (Code::InvalidArgument, "VALIDATION_FAILED".into()));
    let request = world.request(5).await;
    assert_eq!(world.gate.unary(&PLAN, request, echo).await.unwrap().into_inner(), 5);

    // what had a caller and failed is recorded before the answer
    let denied = Code::PermissionDenied as i64;
    let records: Vec<_> = world.records().await.into_iter().map(|r| (r.1, r.2, r.3)).collect();
    let refused = "refused".to_owned();
    assert_eq!(
        records,
        [
            (refused.clone(), None, denied),
            (refused.clone(), Some(6), denied),
            (refused, None, denied),
            ("failed".into(), None, Code::InvalidArgument as i64)
        ]
    );
}

#[tokio::test]
async fn a_panic_fails_its_call_alone() {
    async fn panics(arrived: Arrived<u64>) -> Result<u64> {
        arrived.admit(&OF_WORKSPACE)?;
        panic!("secret inner text")
    }
    let world = World::new().await;
    let request = world.request(5).await;
    let failed = world.gate.unary(&PLAN, request, panics).await;
    assert_eq!(reason(&failed), (Code::Internal, "INTERNAL".into()));
    assert!(!failed.unwrap_err().message().contains("secret"));
    let request = world.request(5).await;
    assert!(world.gate.unary(&PLAN, request, echo).await.is_ok());
}

#[tokio::test]
async fn a_rule_by_a_stored_row() {
    let world = World::new().await;
    // the request names a thing, whose row says which workspace
    let of_row = |workspace| {
        move |arrived: Arrived<u64>| async move {
            let (_, q) = arrived.admit_by(vec![(Permission::GetWorkspace, Wanted::Id(workspace))])?;
            Ok(q)
        }
    };
    let request = world.request(1).await;
    assert!(world.gate.unary(&PLAN, request, of_row(5)).await.is_ok());
    let request = world.request(5).await;
    assert_eq!(reason(&world.gate.unary(&PLAN, request, of_row(1)).await).0, Code::PermissionDenied);
}

#[tokio::test]
async fn a_planned_rpc_is_authorized_and_not_built() {
    let world = World::new().await;
    let request = world.request(6).await;
    assert_eq!(reason(&world.gate.unary(&PLAN, request, not_built).await).0, Code::PermissionDenied);
    let request = world.request(5).await;
    assert_eq!(reason(&world.gate.unary(&PLAN, request, not_built).await), (Code::Unimplemented, "NOT_BUILT".into()));
}

/// Counts items until the stream ends; returns the code of the end and how long it took.
async fn until_end(mut stream: Replies<u32>) -> (Code, Duration) {
    let started = tokio::time::Instant::now();
    while let Some(item) = stream.next().await {
        if let Err(status) = item {
            assert!(stream.next().await.is_none());
            return (status.code(), started.elapsed());
        }
        assert!(started.elapsed() < Duration::from_secs(10), "the stream outlived the right to it");
    }
    (Code::Ok, started.elapsed())
}

/// Opens the stream of workspace 5 and reads its first item.
async fn open_stream(world: &World) -> Replies<u32> {
    let request = world.request(5).await;
    let mut stream = world.gate.stream(&PLAN, request, ticks).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap(), 7);
    stream
}

#[tokio::test]
async fn streams_end_with_the_right_to_them() {
    let causes = [
        ("role revoked", "DELETE FROM role_assignments WHERE role = 'WorkspaceAdmin'", Code::PermissionDenied),
        ("role bound elsewhere", "UPDATE role_assignments SET workspace = '6'", Code::PermissionDenied),
        ("another role", "UPDATE role_assignments SET role = 'PlatformAuditor'", Code::PermissionDenied),
        ("disabled", "UPDATE users SET status = 'disabled'", Code::Unauthenticated),
        ("deleted", "UPDATE users SET status = 'deleted'", Code::Unauthenticated),
        ("session revoked", "UPDATE sessions SET revoked_at = created_at", Code::Unauthenticated),
        (
            "password changed or reset",
            "UPDATE sessions SET revoked_at = created_at WHERE user_id = 1 AND revoked_at IS NULL",
            Code::Unauthenticated,
        ),
        ("upkeep removed the row", "DELETE FROM sessions", Code::Unauthenticated),
    ];
    let ends = causes.map(async |(cause, statement, code)| {
        let world = World::new().await;
        let stream = open_stream(&world).await;
        world.elsewhere(statement).await;
        let (ended, after) = until_end(stream).await;
        assert_eq!(ended, code, "{cause}");
        // some more than the second that is promised: the machine may be busy
        assert!(after < Duration::from_millis(1500), "{cause}: {after:?}");
    });
    futures_util::future::join_all(ends).await;
}

#[tokio::test]
async fn streams_outlive_what_leaves_the_right_to_them() {
    let changes = [
        (
            "a role gained",
            "INSERT INTO role_assignments (tenant_id, user_id, role, workspace, created_at) \
             SELECT 1, 1, 'WorkspaceMember', '6', created_at FROM users",
        ),
        ("an account renamed", "UPDATE users SET first_name = 'Anne'"),
        ("a new password", "UPDATE users SET password_hash = 'x'"),
        ("a role lost that has no part in it", "DELETE FROM role_assignments WHERE role = 'WorkspaceGuest'"),
    ];
    let lives = changes.map(async |(change, statement)| {
        let world = World::new().await;
        sql("INSERT INTO role_assignments (tenant_id, user_id, role, workspace, created_at) \
             SELECT 1, 1, 'WorkspaceGuest', '5', created_at FROM users")
        .run(&world.db)
        .await
        .unwrap();
        let mut stream = open_stream(&world).await;
        world.elsewhere(statement).await;
        // an item each 200 ms: well beyond the second in which a loss would be noticed
        for _ in 0..7 {
            assert_eq!(stream.next().await.unwrap().unwrap(), 7, "{change}");
        }
    });
    futures_util::future::join_all(lives).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_session_does() {
    let world = World::new().await;
    let stream = open_stream(&world).await;
    // open streams do not count as use
    world.clock.advance(TimeDelta::hours(12));
    assert_eq!(until_end(stream).await.0, Code::Unauthenticated);
}

#[tokio::test]
async fn streams_of_programs_end_with_the_right_to_them() {
    for (change, code) in [
        ("DELETE FROM role_assignments", Code::PermissionDenied),
        ("UPDATE api_tokens SET scopes = '[\"getWorkspace@workspace=6\"]'", Code::PermissionDenied),
        ("UPDATE users SET status = 'disabled'", Code::Unauthenticated),
        ("UPDATE api_tokens SET revoked_at = created_at", Code::Unauthenticated),
    ] {
        let world = World::new().await;
        let elsewhere = world.gate.stream(&PLAN, world.request_by_token(6).await, ticks).await;
        assert_eq!(elsewhere.map(drop).unwrap_err().code(), Code::PermissionDenied);
        let request = world.request_by_token(5).await;
        let mut stream = world.gate.stream(&PLAN, request, ticks).await.unwrap().into_inner();
        assert_eq!(stream.next().await.unwrap().unwrap(), 7);
        world.elsewhere(change).await;
        assert_eq!(until_end(stream).await.0, code, "{change}");
    }
    // time alone ends it as well
    let world = World::new().await;
    let request = world.request_by_token(5).await;
    let stream = world.gate.stream(&PLAN, request, ticks).await.unwrap().into_inner();
    world.clock.advance(TimeDelta::days(1));
    assert_eq!(until_end(stream).await.0, Code::Unauthenticated);
}

#[tokio::test]
async fn a_streaming_list_ends_when_roles_change() {
    const LIST: Rule<u64> =
        Rule::List { permission: Permission::GetWorkspace, ids: |q| std::slice::from_ref(q), also: None };
    let world = World::new().await;
    let request = world.request(5).await;
    let handler = |arrived: Arrived<u64>| async move {
        arrived.admit_list(&LIST)?;
        Ok(every_so_often())
    };
    let stream = world.gate.stream(&PLAN, request, handler).await.unwrap().into_inner();
    world.elsewhere("UPDATE role_assignments SET role = 'WorkspaceMember'").await;
    assert_eq!(until_end(stream).await.0, Code::Aborted);
}

#[tokio::test]
async fn a_flood_of_equal_refusals_is_counted() {
    let world = World::new().await;
    for _ in 0..50 {
        let request = world.request(6).await;
        let _ = world.gate.unary(&PLAN, request, echo).await;
    }
    world.shared.audit.stop().await;
    let rows: Vec<(i64,)> = sql("SELECT repeats FROM audit_log ORDER BY id").all(&world.db).await.unwrap();
    assert_eq!(rows.iter().map(|r| r.0).sum::<i64>(), 50);
    assert!(rows.len() < 50, "{} rows", rows.len());
}

#[tokio::test]
async fn an_abandoned_call_is_recorded() {
    async fn never(arrived: Arrived<u64>) -> Result<u64> {
        arrived.admit(&OF_WORKSPACE)?;
        std::future::pending().await
    }
    let world = World::new().await;
    let request = world.request(5).await;
    let call = world.gate.unary(&PLAN, request, never);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    world.shared.audit.stop().await;
    let records = world.records().await;
    assert_eq!(records, [("TestThing".into(), "failed".into(), Some(5), Code::DeadlineExceeded as i64)]);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_takes_no_other_with_it() {
    let world = World::new().await;
    // the second record of the group breaks a rule of the table
    sql("CREATE TRIGGER picky BEFORE INSERT ON audit_log WHEN NEW.workspace_id = 6 BEGIN SELECT RAISE(ABORT, 'no'); END")
        .run(&world.db)
        .await
        .unwrap();
    let requests = [world.request(6).await, world.request(7).await, world.request(8).await];
    let calls = requests.map(|request| world.gate.unary(&PLAN, request, echo));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_err));
    let written: Vec<_> = world.records().await.into_iter().map(|r| r.2).collect();
    assert_eq!(written, [Some(7), Some(8)]);
}

#[test]
fn facts_are_short_and_plain() {
    let mut subjects = super::call::Subjects::default();
    subjects.detail("empty", "");
    subjects.detail("text", &format!("a\0\u{1b}[31m{}", "x".repeat(1 << 20)));
    subjects.detail_list("ids", &(1..=25_u64).collect::<Vec<_>>());
    let details = subjects.details();
    assert_eq!(details.len(), 2);
    assert!(details["text"].starts_with("a\u{fffd}\u{fffd}[31mxxx") && details["text"].chars().count() == 256);
    assert!(details["ids"].ends_with(",19,20 and 5 more"), "{}", details["ids"]);
}
