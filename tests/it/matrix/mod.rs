//! Every RPC of the contract, called by everybody there is.
//!
//! What is expected comes from the options of the contract, read by reflection, and from the compatibility matrix of roles;
//! for lists and for handlers that decide themselves, from a table written by hand. The server's own pipeline has no part
//! in it. An RPC of which nothing is known to be expected fails the test.
//!
//! A request names things that exist and lacks whatever else is required, so that an admitted call stops at validation; the
//! few that need nothing else get a scene of their own.

mod custom;
mod roles;
mod scene;
mod tenants;
mod tokens;

use std::fmt;

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tonic::Code;

use self::{
    custom::EXPECTED,
    roles::Matrix,
    scene::{Scene, Subject},
};
use crate::support::{
    contract::{Access, Context, Grant, Rpc, rpcs},
    server::{Failure, TestServer},
};

/// How a call ends, as far as access is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unauthenticated,
    Denied,
    Unimplemented,
    /// What the call is about does not exist, for this caller.
    Hidden,
    /// The handler was reached, or the request was found wanting on the way to it.
    Admitted,
    /// Nothing that a caller can bring about.
    Broken,
}

impl Outcome {
    fn of(result: &Result<Value, Failure>) -> Self {
        if result.as_ref().is_err_and(|failure| failure.reason == "APP_INSTANCE_NOT_FOUND") {
            return Self::Hidden;
        }
        match result.as_ref().map_err(|failure| failure.code) {
            Err(Code::Unauthenticated) => Self::Unauthenticated,
            Err(Code::PermissionDenied) => Self::Denied,
            Err(Code::Unimplemented) => Self::Unimplemented,
            Err(Code::Internal | Code::Unknown | Code::Unavailable | Code::DeadlineExceeded | Code::DataLoss) => {
                Self::Broken
            }
            Ok(_) | Err(_) => Self::Admitted,
        }
    }
}

/// One request of one RPC.
struct Case<'a> {
    rpc: &'a Rpc,
    /// The table's line, for lists and custom rules.
    by_hand: Option<&'static custom::Expected>,
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rpc.label())?;
        self.by_hand.map_or(Ok(()), |line| write!(f, " ({})", line.variant))
    }
}

/// RPCs that change something although the request says nothing but an id, or nothing at all.
const FRESH_SCENE: &[&str] = &[
    "AppInstanceService/DeleteAppInstance",
    "AppInstanceService/RestartAppInstance",
    "AuthenticationService/Logout",
    "AuthenticationService/RevokeSessions",
    "UserService/DeleteUser",
    "WorkbenchService/DeleteWorkbench",
    "WorkspaceService/DeleteWorkspace",
];

/// Calls at a time.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_may_exactly_what_the_contract_says() {
    let server = TestServer::start().await;
    let rpcs = rpcs();
    check(&server, &rpcs, &Matrix::read(), |_| true).await;
    server.stop().await;
}

/// The answer does not depend on the engine; a sample shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_on_every_engine() {
    crate::support::server::on_each_engine(|server| async move {
        let all = rpcs();
        let sample: Vec<_> = all.into_iter().filter(|r| r.service == "WorkspaceService").collect();
        let roles = ["WorkspaceAdmin", "WorkspaceGuest", "PlatformUserManager", "SuperAdmin"];
        let known = |s: &Subject<'_>| s.role().is_none_or(|role| roles.contains(&role.name.as_str()));
        check(&server, &sample, &Matrix::read(), known).await;
    })
    .await;
}

/// Calls these RPCs as everybody whom the filter lets through.
async fn check(server: &TestServer, rpcs: &[Rpc], matrix: &Matrix, filter: impl Fn(&Subject<'_>) -> bool) {
    let cases: Vec<_> = rpcs.iter().flat_map(cases).collect();
    let foreign = server.tenant("elsewhere").await;
    let mut findings = Vec::new();
    for subject in Subject::all(matrix).into_iter().filter(filter) {
        let shared = Scene::new(server, foreign, subject).await;
        let calls = stream::iter(&cases).map(|case| finding(server, foreign, matrix, case, &shared));
        findings.extend(calls.buffer_unordered(AT_ONCE).filter_map(async |finding| finding).collect::<Vec<_>>().await);
    }
    findings.sort();
    assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
}

/// The requests of an RPC.
fn cases(rpc: &Rpc) -> Vec<Case<'_>> {
    let by_hand: Vec<_> =
        EXPECTED.iter().filter(|line| line.rpc == rpc.label()).map(|line| Case { rpc, by_hand: Some(line) }).collect();
    match rpc.access.as_ref().unwrap() {
        // nothing is known without the stored row: everybody who is signed in hears the same
        Access::Custom(_) if rpc.planned => vec![Case { rpc, by_hand: None }],
        Access::Custom(_) | Access::List { .. } => {
            assert!(!by_hand.is_empty(), "{}: say in matrix/custom.rs who is admitted", rpc.label());
            by_hand
        }
        _ => {
            assert!(
                by_hand.is_empty(),
                "{}: the contract says who is admitted, matrix/custom.rs must not",
                rpc.label()
            );
            vec![Case { rpc, by_hand: None }]
        }
    }
}

/// Makes one call; what was not as expected.
async fn finding(
    server: &TestServer,
    foreign: i64,
    matrix: &Matrix,
    case: &Case<'_>,
    shared: &Scene<'_>,
) -> Option<String> {
    let fresh = match FRESH_SCENE.contains(&case.rpc.label().as_str()) {
        true => Some(Scene::new(server, foreign, shared.subject).await),
        false => None,
    };
    let scene = fresh.as_ref().unwrap_or(shared);
    let request = case.by_hand.map_or_else(|| request(case.rpc, matrix, scene), |line| (line.request)(scene));
    let result = server.call(scene.caller.as_ref(), &case.rpc.label(), request).await;
    let (actual, expected) = (Outcome::of(&result), expected(case, matrix, scene));
    (actual != expected)
        .then(|| format!("{case} as {}: expected {expected:?}, got {actual:?} {result:?}", scene.subject))
}

/// A request that says which thing it is about, and nothing else.
fn request(rpc: &Rpc, matrix: &Matrix, scene: &Scene<'_>) -> Value {
    let mut request = json!({});
    if let Access::Grants(grants) = rpc.access.as_ref().unwrap() {
        for Grant { permission, context } in grants {
            match context {
                Context::Field(path) => put(&mut request, path, scene.target(matrix.requires(permission).unwrap())),
                Context::Resolver(name) if !rpc.planned => put(&mut request, "id", resolved(name, scene).0),
                Context::None | Context::Caller | Context::Resolver(_) => {}
            }
        }
    }
    request
}

fn put(request: &mut Value, path: &str, id: i64) {
    let (outer, last) = path.rsplit_once('.').map_or((None, path), |(outer, last)| (Some(outer), last));
    let mut place = request;
    for step in outer.into_iter().flat_map(|outer| outer.split('.')) {
        place = place.as_object_mut().unwrap().entry(step).or_insert_with(|| Map::new().into());
    }
    place[last] = id.into();
}

/// What the contract says.
fn expected(case: &Case<'_>, matrix: &Matrix, scene: &Scene<'_>) -> Outcome {
    let rpc = case.rpc;
    let access = rpc.access.as_ref().unwrap();
    let reached = if rpc.planned { Outcome::Unimplemented } else { Outcome::Admitted };
    let visitor = || match (rpc.public, access) {
        (false, _) => Outcome::Unauthenticated,
        // registration is off unless configured
        (true, Access::Custom(_)) => Outcome::Denied,
        (true, _) => reached,
    };
    match scene.subject {
        Subject::Visitor => return visitor(),
        Subject::Restricted { .. } if !rpc.restricted && rpc.public => return visitor(),
        Subject::Restricted { .. } if !rpc.restricted => return Outcome::Denied,
        _ => {}
    }
    let admitted = match access {
        Access::Anyone | Access::SignedIn => true,
        Access::Custom(_) if rpc.planned => true,
        Access::Custom(_) | Access::List { .. } => case.by_hand.unwrap().admitted.admits(scene.subject),
        Access::Grants(grants) if has_resolver(grants) && rpc.planned => true,
        Access::Grants(grants) => grants.iter().all(|grant| holds(grant, matrix, scene)),
    };
    match access {
        Access::Grants(grants) if hides(grants) && !sees_workbench(matrix, scene) => Outcome::Hidden,
        _ if admitted => reached,
        _ => Outcome::Denied,
    }
}

/// Whether the rule is about app instances, which do not exist for those who may neither see their workbench nor do
/// anything with them.
fn hides(grants: &[Grant]) -> bool {
    grants.iter().any(|grant| matches!(&grant.context, Context::Resolver(name) if name == "app_instance_workbench"))
}

fn sees_workbench(matrix: &Matrix, scene: &Scene<'_>) -> bool {
    let Some(role) = scene.subject.role() else { return false };
    let foreign = matches!(scene.subject, Subject::Foreigner { .. });
    let holds = |permission| matrix.holds(role, &scene.binding, scene.own_id(), permission, Some(scene.workbench));
    !foreign && ["getWorkbench", "getAppInstance", "updateAppInstance", "deleteAppInstance"].into_iter().any(holds)
}

/// The thing whose row a resolver reads, and what it finds there.
fn resolved(resolver: &str, scene: &Scene<'_>) -> (i64, i64) {
    match resolver {
        "owner" => (scene.token, scene.other.id),
        "app_instance_workbench" => (scene.app_instance, scene.workbench),
        name => panic!("say here what the resolver {name} finds"),
    }
}

fn has_resolver(grants: &[Grant]) -> bool {
    grants.iter().any(|grant| matches!(grant.context, Context::Resolver(_)))
}

fn holds(Grant { permission, context }: &Grant, matrix: &Matrix, scene: &Scene<'_>) -> bool {
    let Some(role) = scene.subject.role() else { return false };
    let target = match context {
        Context::None => None,
        Context::Caller => Some(scene.own_id()),
        Context::Field(_) => Some(scene.target(matrix.requires(permission).unwrap())),
        Context::Resolver(name) => Some(resolved(name, scene).1),
    };
    matrix.holds(role, &scene.binding, scene.own_id(), permission, target)
}
