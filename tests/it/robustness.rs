//! No request is an internal error: whatever a caller sends is answered with what is wrong about it.
//!
//! Every built RPC is called with requests made of values that trip programs up, by somebody who may do everything, so that
//! most of them reach the handler and the database.

use chorus::server::db::sql;
use futures_util::{StreamExt, stream};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::Method;
use serde_json::json;
use tonic::Code;

use crate::support::{
    contract::{Rpc, field_at, rpcs},
    server::{Reply, TestServer, on_each_engine},
};

/// Requests of each RPC on each engine.
const EACH: usize = 60;
/// Calls at a time.
const AT_ONCE: usize = 8;

const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "Atlas",
    "chorus",
    "*",
    "1",
    "0",
    "-1",
    "id",
    "name",
    "ASC",
    "desc",
    "workspace",
    "user",
    "active",
    "WorkspaceMember",
    "SuperAdmin",
    "Airgapped",
    "%",
    "_",
    "\\",
    "'",
    "\"; DROP TABLE users; --",
    "$1",
    "${x}",
    "{{}}",
    "\0",
    "a\0b",
    "\u{1}",
    "\n",
    "\r\n",
    "\t",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{ad}",
    "\u{200b}",
    "\u{200d}",
    "\u{202e}",
    "\u{2028}",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10ffff}",
    "é",
    "e\u{301}",
    "ß",
    "İ",
    "ﬁ",
    "Ⅷ",
    "Ω",
    "東京",
    "🦀",
    "🏴\u{e0067}",
    "ada@example.org",
    "@",
    "a@b",
    "https://example.org",
    "javascript:alert(1)",
    "//",
    "../../etc/passwd",
    "%00",
    "%2e%2e",
    "9223372036854775807",
    "9223372036854775808",
    "NaN",
    "null",
    "true",
    "<script>",
    "1e400",
    "host.example.org",
    "*.example.org",
];

const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    3,
    4,
    7,
    20,
    500,
    501,
    1000,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 53,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_an_internal_error() {
    on_each_engine(|server| async move {
        let mut random = StdRng::seed_from_u64(20_260_301);
        let mut findings = Vec::new();
        for rpc in rpcs().iter().filter(|rpc| !rpc.planned && !rpc.signs_out()) {
            server.workspace(&server.admin, "Atlas").await;
            // a quota that an earlier request happened to set would refuse everything
            sql("DELETE FROM platform_settings").run(&server.db).await.unwrap();
            let requests: Vec<_> = (0..EACH).map(|number| request(rpc, &mut random, number)).collect();
            let calls = stream::iter(requests).map(|request| outcome(&server, rpc, request)).buffer_unordered(AT_ONCE);
            let outcomes: Vec<_> = calls.collect().await;
            if !outcomes.contains(&Outcome::Handled) && !NEVER_HANDLED.contains(&rpc.name.as_str()) {
                findings.push(format!("{}: no request came through, so nothing was tried", rpc.label()));
            }
            findings.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
                Outcome::Broken(text) => Some(text),
                Outcome::Handled | Outcome::Refused => None,
            }));
        }
        assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
        assert!(
            server.call(Some(&server.admin), "UserService/GetUserMe", json!({})).await.is_ok(),
            "the administrator is gone"
        );
    })
    .await;
}

/// RPCs that want a password or a code, which none of these requests has.
const NEVER_HANDLED: &[&str] = &["Authenticate", "UpdatePassword", "CreateUser", "EnableTotp", "ResetTotp"];

#[derive(PartialEq, Eq)]
enum Outcome {
    /// The handler did something: there is a reply, or the thing was looked for.
    Handled,
    Refused,
    /// What must not be.
    Broken(String),
}

async fn outcome(server: &TestServer, rpc: &Rpc, request: DynamicMessage) -> Outcome {
    let result = server.send(Some(&server.admin), rpc.descriptor.clone(), request.clone()).await;
    match result.as_ref().map_err(|failure| failure.code) {
        Ok(_) | Err(Code::NotFound) => Outcome::Handled,
        Err(
            Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::ResourceExhausted,
        ) if result.as_ref().is_err_and(|failure| !failure.reason.is_empty()) => Outcome::Refused,
        Err(_) => Outcome::Broken(format!("{}: {result:?} {request:?}", rpc.label())),
    }
}

/// By turns a request full of tricky values, and one that would be fine but for one of its fields.
fn request(rpc: &Rpc, random: &mut StdRng, number: usize) -> DynamicMessage {
    let descriptor = rpc.descriptor.input();
    if number.is_multiple_of(2) {
        return message(&descriptor, random, 0);
    }
    let mut request = DynamicMessage::new(descriptor.clone());
    for path in &rpc.required {
        let field = field_at(&descriptor, path).unwrap();
        let plausible = match (field.kind(), field.name()) {
            (Kind::Uint64, _) => Value::U64(random.random_range(1..4)),
            (Kind::String, "status") => Value::String("active".to_owned()),
            (Kind::String, "username") => Value::String(format!("atlas-{}", random.random_range(0..1000))),
            (Kind::String, "scope") => Value::String("platform".to_owned()),
            (Kind::String, "permissions") => Value::List(vec![Value::String("listUsers".to_owned())]),
            (Kind::String, "role_name") => Value::String("WorkspaceMember".to_owned()),
            (Kind::String, "docker_image_name") => Value::String("apps/editor".to_owned()),
            (Kind::String, "docker_image_tag") => Value::String("1.2".to_owned()),
            (Kind::Message(app), "apps") => {
                let mut app = DynamicMessage::new(app);
                for (name, text) in
                    [("name", "Editor"), ("docker_image_name", "apps/editor"), ("docker_image_tag", "1.2")]
                {
                    app.set_field_by_name(name, Value::String(text.to_owned()));
                }
                Value::List(vec![Value::Message(app)])
            }
            (Kind::String, _) => Value::String(format!("Atlas {}", random.random_range(0..1000))),
            (Kind::Message(scope), "scopes") => {
                let mut scope = DynamicMessage::new(scope);
                scope.set_field_by_name("permission", Value::String("getMyOwnUser".to_owned()));
                Value::List(vec![Value::Message(scope)])
            }
            // a day after the server starts
            (Kind::Message(moment), "expires_at") => {
                let mut moment = DynamicMessage::new(moment);
                moment.set_field_by_name("seconds", Value::I64(1_772_438_400));
                Value::Message(moment)
            }
            _ => field_value(&field, random, 1),
        };
        let (outer, last) = path.rsplit_once('.').map_or((None, path.as_str()), |(outer, last)| (Some(outer), last));
        let place = outer
            .into_iter()
            .flat_map(|outer| outer.split('.'))
            .fold(&mut request, |place, step| place.get_field_by_name_mut(step).unwrap().as_message_mut().unwrap());
        place.set_field_by_name(last, plausible);
    }
    let fields: Vec<_> = descriptor.fields().collect();
    // where there is but one field, every other request stays fine
    let spoils = fields.len() > 1 || number % 4 == 1;
    if let Some(field) = fields.choose(random).filter(|_| spoils) {
        request.set_field(field, field_value(field, random, 0));
    }
    request
}

/// A message of tricky values; half of its fields are left out.
fn message(descriptor: &MessageDescriptor, random: &mut StdRng, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if descriptor.full_name() == "google.protobuf.Timestamp" {
        let seconds = *[0, -1, i64::MIN, i64::MAX, 253_402_300_800].choose(random).unwrap();
        message.set_field_by_name("seconds", Value::I64(seconds));
        message.set_field_by_name("nanos", Value::I32(*[0, -1, 1_000_000_000, i32::MAX].choose(random).unwrap()));
        return message;
    }
    for field in descriptor.fields() {
        let left_out = depth > 3 || random.random_bool(if depth == 0 { 0.25 } else { 0.5 });
        if !left_out {
            message.set_field(&field, field_value(&field, random, depth));
        }
    }
    message
}

fn field_value(field: &FieldDescriptor, random: &mut StdRng, depth: usize) -> Value {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let count = random.random_range(0..4);
            let pairs = (0..count).map(|_| {
                let key = MapKey::String(text(random));
                (key, value(&entry.map_entry_value_field().kind(), random, depth))
            });
            Value::Map(pairs.collect())
        }
        kind if field.is_list() => {
            let count = *[0, 1, 2, 5].choose(random).unwrap();
            Value::List((0..count).map(|_| value(&kind, random, depth)).collect())
        }
        kind => value(&kind, random, depth),
    }
}

fn value(kind: &Kind, random: &mut StdRng, depth: usize) -> Value {
    match kind {
        Kind::String => Value::String(text(random)),
        Kind::Bytes => Value::Bytes(text(random).into_bytes().into()),
        Kind::Bool => Value::Bool(random.random()),
        Kind::Uint64 => Value::U64(*NUMBERS.choose(random).unwrap()),
        Kind::Uint32 => Value::U32(*NUMBERS.choose(random).unwrap() as u32),
        Kind::Int32 => Value::I32(*NUMBERS.choose(random).unwrap() as i32),
        Kind::Int64 => Value::I64(*NUMBERS.choose(random).unwrap() as i64),
        Kind::Enum(_) => Value::EnumNumber(*[0, 1, 2, 3, 99, -1, i32::MAX].choose(random).unwrap()),
        Kind::Message(inner) => Value::Message(message(inner, random, depth + 1)),
        other => panic!("say here what is tricky about {other:?}"),
    }
}

fn text(random: &mut StdRng) -> String {
    match random.random_range(0..20) {
        0 => "x".repeat(*[63, 64, 65, 255, 256, 257, 4096, 4097, 70_000].choose(random).unwrap()),
        1 => (0..random.random_range(1..12))
            .map(|_| char::from_u32(random.next_u32() % 0x11_0000).unwrap_or('\u{fffd}'))
            .collect(),
        2 => format!("{}{}", TEXTS.choose(random).unwrap(), TEXTS.choose(random).unwrap()),
        _ => (*TEXTS.choose(random).unwrap()).to_owned(),
    }
}

/// What is no request at all, over REST.
#[tokio::test]
async fn no_body_is_an_internal_error() {
    let server = TestServer::start().await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let nested = format!("{}1{}", r#"{"role":"#.repeat(300), "}".repeat(300));
    let bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "true",
        "1",
        "\"x\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}{}",
        "{\"a\"",
        "{\"name\":}",
        "{'name': 1}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":1}",
        "{\"name\":[]}",
        "{\"name\":{}}",
        "{\"id\":-1}",
        "{\"id\":1.5}",
        "{\"id\":1e999}",
        "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"nosuchfield\":1}",
        "{\"createdAt\":\"yesterday\"}",
        "{\"status\":\"NO_SUCH\"}",
        "{\"role\":[]}",
        "{\"role\":{\"context\":[]}}",
        "{\"role\":{\"context\":{\"workspace\":1}}}",
        &deep,
        &nested,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into_iter()
    .chain([vec![0xff, 0xfe], b"\xef\xbb\xbf{}".to_vec(), b"{\"name\":\"\xc3\x28\"}".to_vec()])
    .collect();
    let mut findings = Vec::new();
    let placeholder = regex::Regex::new(r"\{[^}]*\}").unwrap();
    for rpc in rpcs().iter().filter(|rpc| !rpc.signs_out()) {
        for binding in rpc.http.iter().filter(|binding| !binding.body.is_empty()) {
            let path = placeholder.replace_all(&binding.path, "1").into_owned();
            for body in &bodies {
                let method = Method::from_bytes(binding.verb.as_bytes()).unwrap();
                let request = server.request(method, &path).bearer_auth(&server.admin.token);
                let request = request.header("content-type", "application/json").body(body.clone());
                let reply = Reply::read(request.send().await.unwrap()).await;
                let shaped = reply.status == 200 || !reply.reason().is_empty();
                if !shaped || (reply.status >= 500 && reply.status != 501) {
                    let body = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
                    findings.push(format!("{} {path} {body:?}: {} {}", binding.verb, reply.status, reply.body));
                }
            }
        }
    }
    assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
}
