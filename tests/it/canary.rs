//! Secrets leave no trace. The binary gets every kind of secret in every way that people and programs hand them over, also
//! in the wrong place; then everything that it wrote is searched for them, in every common spelling.
//!
//! Written is: the database with its journal, the log at its most talkative, standard output, metrics, answers, the files
//! and the output of the command line, the arguments of the process. What is meant to hold a secret is exempt by name: the
//! keyring, the client's credentials, and the one answer that shows a secret once.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use base64::{Engine as _, alphabet, engine::GeneralPurpose, engine::general_purpose::NO_PAD};
use chorus::{
    proto::v1::{Credentials, authentication_service_client::AuthenticationServiceClient},
    server::{
        access::{
            keyring::{Keyring, Keys},
            kiosk::{self, Kiosk},
        },
        clock::{Clock as _, SystemClock},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::support::{
    binary::{ADMIN_PASSWORD, Answer, Server, Shell},
    postgres, totp,
};

/// Files that hold secrets on purpose.
const EXEMPT: [&str; 2] = ["keys", "credentials.yaml"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_leave_no_trace_in_a_file() {
    let mut secrets = Secrets::default();
    let server = Server::with_flags(None, &["--log-level", "trace"]);
    leave_no_trace(&mut secrets, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_leave_no_trace_in_postgresql() {
    let Some(url) = postgres::database(postgres::Content::Empty).await else { return };
    let mut secrets = Secrets::default();
    // the throw-away server takes any password
    let with_password = url.replacen("postgres@", &format!("postgres:{}@", secrets.plant("database password")), 1);
    let server = Server::with_flags(Some(with_password), &["--log-level", "trace"]);
    leave_no_trace(&mut secrets, server).await;
    secrets.search("the database", &postgres::dump(&url).await);
    secrets.none_found();
}

async fn leave_no_trace(secrets: &mut Secrets, mut server: Server) {
    secrets.learn("password of the first administrator", ADMIN_PASSWORD);
    let mut rest = Rest { url: server.http.clone(), client: reqwest::Client::new(), cookie: String::new() };
    let admin = signing_in(secrets, &mut rest).await;
    credentials_in_wrong_places(secrets, &rest, &admin).await;
    broken_requests(secrets, &rest).await;
    // a browser that signs in as somebody else ends the session that it held
    rest.cookie.clear();
    let changed = passwords(secrets, &rest, &admin).await;
    second_factor(secrets, &rest, &changed).await;
    api_token(secrets, &rest, &admin).await;
    web_app(secrets, &rest, &admin, &server.data().join("keys")).await;
    over_grpc(secrets, &server.grpc).await;
    let shells = command_line(secrets, &server.grpc, &changed);

    let metrics = rest.client.get(format!("{}/metrics", rest.url)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("chorus_"), "{metrics}");
    secrets.search("the metrics", &metrics);
    secrets
        .search("the arguments of the server", &fs::read_to_string(format!("/proc/{}/cmdline", server.id())).unwrap());
    // with the journal that a stopped server no longer has
    secrets.search_files(&server.data());
    shells.iter().for_each(|shell| secrets.search_files(&shell.config()));
    assert!(server.stop("TERM").success());
    secrets.search_files(&server.data());
    let output = server.output();
    assert!(output.contains("TRACE") && output.contains("stopped"), "the log is not what it should be");

    secrets.search("the log", &output);
    unreachable_database(secrets);

    assert!(secrets.all.len() >= 20, "only {} secrets were planted", secrets.all.len());
    secrets.none_found();
}

/// The right way, and the mistakes that people make on it. The administrator's token.
async fn signing_in(secrets: &mut Secrets, rest: &mut Rest) -> String {
    let wrong = secrets.plant("wrong password");
    let answer = rest.post("authentication/login", &json!({"username": "chorus", "password": wrong})).await;
    secrets.refused(&answer, "a wrong password");
    let name = secrets.plant("password in the place of the user name");
    let answer = rest.post("authentication/login", &json!({"username": name, "password": "chorus"})).await;
    secrets.refused(&answer, "a password as user name");

    let answer = rest.post("authentication/login", &json!({"username": "chorus", "password": ADMIN_PASSWORD})).await;
    let token = answer.body["result"]["token"].as_str().unwrap().to_owned();
    secrets.learn("session token", &token);
    secrets.learn("signature of the session token", token.rsplit_once('.').unwrap().1);
    rest.cookie = format!("jwttoken={token}");
    let answer = rest.post("authentication/refresh-token", &json!({})).await;
    secrets.learn("refreshed token", answer.body["result"]["token"].as_str().unwrap());
    token
}

/// Credentials where none belong, and credentials that are none.
async fn credentials_in_wrong_places(secrets: &mut Secrets, rest: &Rest, admin: &str) {
    let basic = format!("chorus:{}", secrets.plant("password of a Basic header"));
    let basic = base64::prelude::BASE64_STANDARD.encode(basic);
    let headers = [
        ("authorization", format!("Bearer {}", secrets.plant("unknown bearer token"))),
        ("authorization", format!("Basic {basic}")),
        ("authorization", format!("Token {}", secrets.plant("token of an unknown scheme"))),
        ("authorization", secrets.plant("token without a scheme")),
        ("cookie", format!("theme=dark; jwttoken={}", secrets.plant("unknown cookie"))),
        ("x-api-key", secrets.plant("key in a header of its own")),
    ];
    for (name, value) in headers {
        let request = rest.client.get(format!("{}/api/rest/v1/users/me", rest.url)).header(name, value);
        let answer = rest.send(request).await;
        secrets.refused(&answer, name);
    }
    for path in ["api/rest/v1/users/me", "api/rest/v1/nothing", "metrics", "account", "doc/nothing"] {
        let token = secrets.plant("token in an address");
        let request = rest.client.get(format!("{}/{path}?access_token={token}&token={token}", rest.url));
        let answer = rest.send(request.bearer_auth(admin)).await;
        secrets.search(&format!("the answer of {path}"), &answer.text);
    }
    let path = secrets.plant("token in a path");
    // the answer names the path; that it is in no log is what counts
    rest.send(rest.client.get(format!("{}/reset/{path}", rest.url))).await;
    rest.send(rest.client.get(format!("{}/api/rest/v1/users/{path}", rest.url)).bearer_auth(admin)).await;
}

/// Requests that cannot be read, each with a password inside.
async fn broken_requests(secrets: &mut Secrets, rest: &Rest) {
    type Broken = (&'static str, fn(&str) -> String);
    let bodies: [Broken; 6] = [
        ("application/json", |secret| format!(r#"{{"username": "chorus", "password": "{secret}""#)),
        ("application/json", |secret| format!(r#"{{"username": "chorus", "passwort": "{secret}"}}"#)),
        ("application/json", |secret| format!(r#"{{"username": "chorus", "password": ["{secret}"]}}"#)),
        ("application/json", |secret| format!(r#"{{"username": "chorus", "password": "a", "totp": "{secret}!"}}"#)),
        ("application/json", |secret| format!(r#"{{"{secret}": "password"}}"#)),
        ("application/x-www-form-urlencoded", |secret| format!("username=chorus&password={secret}")),
    ];
    for (kind, body) in bodies {
        let body = body(&secrets.plant("password in a broken request"));
        let request = rest.client.post(format!("{}/api/rest/v1/authentication/login", rest.url));
        let answer = rest.send(request.header("content-type", kind).body(body)).await;
        assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text);
    }
}

/// Passwords on their way through an account. The name and password of one that is left.
async fn passwords(secrets: &mut Secrets, rest: &Rest, admin: &str) -> [String; 2] {
    let user = |name: &str, password: &str| {
        json!({"firstName": "Ada", "lastName": "Lovelace", "username": name, "email": "ada@example.org", "status": "active",
               "password": password})
    };
    let by_admin = |method, path: &str, body: &Value| rest.request(method, path, body).bearer_auth(admin);
    let first = secrets.plant("first password");
    let answer = rest.send(by_admin(Method::POST, "users", &user("ada", &first))).await;
    secrets.accepted(&answer, "a new user");
    let id = answer.body["result"]["user"]["id"].as_str().unwrap().to_owned();
    // both are refused: the name is taken, and the password is in the name
    let answer =
        rest.send(by_admin(Method::POST, "users", &user("ada", &secrets.plant("password of a duplicate")))).await;
    secrets.refused(&answer, "a duplicate");
    let same = secrets.plant("password that is refused");
    let mut refused = user("eve", &same);
    refused["lastName"] = json!(same);
    let answer = rest.send(by_admin(Method::POST, "users", &refused)).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let visitor = user("visitor", &secrets.plant("password of a visitor"));
    let answer = rest.send(rest.request(Method::POST, "users", &visitor)).await;
    assert!(answer.status >= 400, "{}", answer.text);

    let answer = rest.send(by_admin(Method::POST, &format!("users/{id}/password/reset"), &json!({}))).await;
    let temporary = answer.body["result"]["temporaryPassword"].as_str().unwrap().to_owned();
    secrets.learn("temporary password", &temporary);
    let answer = rest.post("authentication/login", &json!({"username": "ada", "password": temporary})).await;
    let token = answer.body["result"]["token"].as_str().unwrap().to_owned();
    secrets.learn("restricted session token", &token);
    let wrong = secrets.plant("wrong current password");
    let new = secrets.plant("new password");
    for (current, new, status) in
        [(&wrong, &new, 401), (&temporary, &"aaaaaaaaaaaa".to_owned(), 400), (&temporary, &new, 200)]
    {
        let body = json!({"currentPassword": current, "newPassword": new});
        let answer = rest.send(rest.request(Method::PUT, "users/me/password", &body).bearer_auth(&token)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        secrets.search("the answer to a new password", &answer.text);
    }
    ["ada".to_owned(), new]
}

/// A second factor from its making to a sign-in by recovery code. The codes of the app are left out: six digits cannot be
/// told from other numbers.
async fn second_factor(secrets: &mut Secrets, rest: &Rest, [name, password]: &[String; 2]) {
    let credentials = |code: &str| match code {
        "" => json!({"username": name, "password": password}),
        code => json!({"username": name, "password": password, "totp": code}),
    };
    let sign_in = |code: &str| rest.send(rest.request(Method::POST, "authentication/login", &credentials(code)));
    let token = sign_in("").await.body["result"]["token"].as_str().unwrap().to_owned();
    let by_user = |path: &str, body: &Value| rest.send(rest.request(Method::POST, path, body).bearer_auth(&token));
    let wrong = json!({"password": secrets.plant("wrong password for a second factor")});
    secrets.refused(&by_user("users/me/totp/reset", &wrong).await, "a second factor with a wrong password");
    let reply = by_user("users/me/totp/reset", &json!({"password": password})).await;
    let secret = reply.body["result"]["totpSecret"].as_str().unwrap().to_owned();
    secrets.learn("secret of the authenticator app", &secret);
    let codes: Vec<String> = serde_json::from_value(reply.body["result"]["totpRecoveryCodes"].clone()).unwrap();
    for code in &codes {
        secrets.learn("recovery code", code);
        secrets.learn("recovery code without its dashes", &code.replace('-', ""));
    }
    let code = totp::code(&secret, SystemClock.now());
    secrets.accepted(&by_user("users/me/totp/enable", &json!({"totp": code})).await, "a second factor");
    let wrong = secrets.plant("wrong code");
    secrets.refused(&sign_in(&wrong).await, "a wrong code");
    let reply = sign_in(&codes[0]).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    secrets.learn("token after a recovery code", reply.body["result"]["token"].as_str().unwrap());
    secrets.refused(&sign_in(&codes[0]).await, "a used recovery code");
    // off again, for the command line
    let off = json!({"password": password, "totp": codes[1]});
    assert_eq!(by_user("users/me/totp/reset", &off).await.status, 200);
}

async fn api_token(secrets: &mut Secrets, rest: &Rest, admin: &str) {
    let ends = (SystemClock.now() + TimeDelta::hours(1)).to_rfc3339();
    let body = json!({"name": "canary", "scopes": [{"permission": "getMyOwnUser"}], "expiresAt": ends});
    let reply = rest.send(rest.request(Method::POST, "tokens", &body).bearer_auth(admin)).await;
    let token = reply.body["result"]["token"].as_str().unwrap_or_else(|| panic!("{}", reply.text)).to_owned();
    secrets.learn("API token", &token);
    let me = |token: &str| rest.client.get(format!("{}/api/rest/v1/users/me", rest.url)).bearer_auth(token);
    secrets.accepted(&rest.send(me(&token)).await, "a call with an API token");
    let (most, last) = token.split_at(token.len() - 1);
    let broken = format!("{most}{}", if last == "a" { "b" } else { "a" });
    secrets.learn("mistyped API token", &broken);
    secrets.refused(&rest.send(me(&broken)).await, "a mistyped API token");
}

/// A browser that is not signed in opens a desktop, with a ticket in the address.
async fn open_desktop(secrets: &mut Secrets, rest: &Rest, admin: &str, workbench: &str) {
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let tickets = format!("workbenches/{workbench}/stream-tickets");
    let reply = rest.send(rest.request(Method::POST, &tickets, &json!({})).bearer_auth(admin)).await;
    let path = reply.body["result"]["path"].as_str().unwrap_or_else(|| panic!("{}", reply.text)).to_owned();
    let (page, ticket) = path.split_once("?ticket=").unwrap();
    secrets.learn("ticket of a desktop", ticket);
    let opened = browser.get(format!("{}{path}", rest.url)).send().await.unwrap();
    assert_eq!(opened.status().as_u16(), 303);
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    secrets.learn("cookie of a desktop", cookie.strip_prefix("chorus_stream=").unwrap());
    let wrong = secrets.plant("wrong ticket of a desktop");
    for (address, credential, status) in [
        (path.clone(), "", 401),
        (format!("{page}?ticket={wrong}"), "", 401),
        (page.to_owned(), &*cookie, 503),
        (page.to_owned(), &*format!("chorus_stream={wrong}"), 401),
    ] {
        let answer = browser.get(format!("{}{address}", rest.url)).header("cookie", credential).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{address}");
    }
}

/// A web app in a workbench signs its user in.
async fn web_app(secrets: &mut Secrets, rest: &Rest, admin: &str, keys: &Path) {
    let make = async |path: &str, kind: &str, body: Value| {
        let reply = rest.send(rest.request(Method::POST, path, &body).bearer_auth(admin)).await;
        let made = reply.body["result"][kind].clone();
        assert!(made["id"].is_string(), "{path}: {}", reply.text);
        made
    };
    let workspace = make("workspaces", "workspace", json!({"name": "Atlas"})).await;
    let desk = json!({"workspaceId": workspace["id"], "name": "Desk"});
    let workbench = make("workbenches", "workbench", desk).await;
    let app = json!({"name": "Jupyter", "dockerImageName": "apps/kiosk", "dockerImageTag": "1", "browserConfigURL":
        "https://jupyter.example.org", "browserConfigJWTOIDCClientID": "jupyter"});
    let app = make("apps", "app", app).await;
    let start = json!({"workbenchId": workbench["id"], "appId": app["id"]});
    let instance = make("app-instances", "appInstance", start).await;

    let kiosk = Kiosk::new(Keys::fixed(Keyring::load(keys).unwrap().unwrap()));
    let started: DateTime<Utc> = instance["createdAt"].as_str().unwrap().parse().unwrap();
    let id = instance["id"].as_str().unwrap().parse().unwrap();
    let token = kiosk.token(id, 1, "jupyter", kiosk::expires_at(started)).unwrap();
    let token = token.expose_secret();
    secrets.learn("token of a web app", token);
    secrets.learn("last part of the token of a web app", token.rsplit_once('.').unwrap().1);
    let page = format!("{}/kiosk-jwt", rest.url);
    let answer = rest.client.post(&page).body(json!({"token": token}).to_string()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 204);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    secrets.learn("session of a web app", cookie.strip_prefix("jwttoken=").unwrap().split(';').next().unwrap());

    open_desktop(secrets, rest, admin, workbench["id"].as_str().unwrap()).await;
    let wrong = secrets.plant("wrong token of a web app");
    for body in [json!({"token": wrong}).to_string(), format!("{{\"token\": \"{wrong}"), wrong.clone()] {
        let answer = rest.send(rest.client.post(&page).body(body)).await;
        secrets.refused(&answer, "a wrong token of a web app");
    }
    let answer = rest.send(rest.client.get(format!("{page}?jwt={wrong}"))).await;
    secrets.search("the page of web apps", &answer.text);
    let answer = rest.send(rest.client.get(format!("{}/api/rest/v1/users/me", rest.url)).bearer_auth(token)).await;
    secrets.refused(&answer, "the token of a web app as a session");
}

async fn over_grpc(secrets: &mut Secrets, address: &str) {
    let channel = tonic::transport::Channel::from_shared(address.to_owned()).unwrap().connect().await.unwrap();
    let mut client = AuthenticationServiceClient::new(channel);
    let (username, password) =
        (secrets.plant("password as user name over gRPC"), secrets.plant("wrong password over gRPC"));
    for username in [username, "chorus".to_owned()] {
        let mut request =
            tonic::Request::new(Credentials { username, password: password.clone(), totp: String::new() });
        let token = format!("Bearer {}", secrets.plant("unknown token over gRPC"));
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        let refused = client.authenticate(request).await.unwrap_err();
        secrets.search("an answer over gRPC", &format!("{refused:?}"));
    }
}

/// Commands at their most talkative. The shells, whose folders stay for a look.
fn command_line(secrets: &mut Secrets, server: &str, [name, password]: &[String; 2]) -> [Shell; 2] {
    let mut shell = Shell::new(server);
    let wrong = secrets.plant("wrong password on the command line");
    let answer = shell.run_with("login -vv --username chorus --password-stdin", &wrong);
    secrets.said(&answer, "");
    secrets.said(&shell.run_with("login -vv --username chorus --password-stdin", ADMIN_PASSWORD), "");
    let created = secrets.plant("password of a user created on the command line");
    let line = "user create bob -vv --first-name Bob --last-name Ross --password-stdin";
    secrets.said(&shell.run_with(line, &created), "");
    let answer = shell.run("user create eve -vv --first-name Eve --last-name Ross --generate-password -o json");
    let generated: Value = serde_json::from_str(&answer.stdout).unwrap();
    secrets.learn("generated password", generated["password"].as_str().unwrap());
    secrets.said(&answer, "generated password");
    let answer = shell.run("user reset-password -vv eve");
    secrets.learn("temporary password on the command line", answer.stdout.trim());
    secrets.said(&answer, "temporary password on the command line");

    let answer = shell.run("token create nightly -vv --scope getMyOwnUser --expires 1h");
    let token = answer.stdout.trim().to_owned();
    secrets.learn("API token", &token);
    secrets.said(&answer, "API token");
    // how it begins may be shown, the rest never
    secrets.learn("secret of the API token", token.rsplit_once('_').unwrap().1);
    for (line, code) in [("whoami -vv", 0), ("token list -vv", 5), ("logout -vv", 5)] {
        secrets.used(&shell, line, &token, code);
    }
    secrets.said(&shell.run("token list -vv -o json"), "");
    secrets.said(&shell.run("token revoke -vv nightly"), "");
    secrets.used(&shell, "whoami -vv", &token, 4);

    let mut own = Shell::new(server);
    secrets.said(&own.run_with(&format!("login -vv --username {name} --password-stdin"), password), "");
    let new = secrets.plant("new password on the command line");
    secrets.said(&own.run_with("password -vv --password-stdin", &format!("{password}\n{new}\n")), "");
    secrets.said(&own.run("whoami -vv -o json"), "");
    let line = "token create nightly -vv --scope getMyOwnUser --expires 1h -o json";
    let answer = shell.run(line);
    let made: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{}", answer.stderr));
    secrets.learn("API token of the command line", made["token"].as_str().unwrap());
    secrets.said(&answer, "API token of the command line");
    let answer = own.run_with("totp enroll -vv --password-stdin -o json", &new);
    let made: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{}", answer.stderr));
    for text in texts(&made).into_iter().filter(|text| text.len() > 16) {
        secrets.learn("second factor of the command line", text);
    }
    secrets.said(&answer, "second factor of the command line");
    let token = secrets.plant("token in the environment");
    secrets.used(&own, "whoami -vv", &token, 4);
    [shell, own]
}

/// A server that does not start tells why, without the password that it has for the database.
fn unreachable_database(secrets: &mut Secrets) {
    let url = format!("postgres://chorus:{}@127.0.0.1:1/chorus", secrets.plant("password of a database that is away"));
    let shell = Shell::new("http://127.0.0.1:1");
    let folder = tempfile::tempdir().unwrap();
    for line in ["serve --log-level trace --data-dir data", "migrate", "config show", "config check"] {
        let mut command = shell.command(line);
        let answer = command.env("CHORUS_DATABASE_URL", &url).current_dir(folder.path()).output().unwrap();
        secrets.search(line, &String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()));
    }
}

/// The REST side of the server.
struct Rest {
    url: String,
    client: reqwest::Client,
    cookie: String,
}

/// An answer, as text and as far as it is JSON.
struct Reply {
    status: u16,
    text: String,
    body: Value,
}

impl Rest {
    fn request(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        self.client.request(method, format!("{}/api/rest/v1/{path}", self.url)).json(body)
    }

    /// As a browser does it, with the cookie.
    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request(Method::POST, path, body).header("cookie", &self.cookie)).await
    }

    async fn send(&self, request: RequestBuilder) -> Reply {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Reply { status, text, body }
    }
}

/// What was planted, and where it turned up.
#[derive(Default)]
struct Secrets {
    /// Every secret by what it is, in each of its spellings.
    all: Vec<(&'static str, Vec<String>)>,
    planted: usize,
    found: BTreeMap<String, String>,
}

impl Secrets {
    /// A new secret. It would do as a password.
    fn plant(&mut self, what: &'static str) -> String {
        self.planted += 1;
        let secret = format!("kX{0:02}vQz wmT{0:02}pLr/{1:x}", self.planted, 0xbeef_0000 + self.planted * 7919);
        // no blank where a header or an address has to take it
        let secret = if what.contains("password") && !what.contains("database") {
            secret
        } else {
            secret.replace([' ', '/'], "-")
        };
        self.learn(what, &secret);
        secret
    }

    /// A secret that the server made.
    fn learn(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 8, "{what} is too short to be told from anything else");
        self.all.push((what, spellings(secret)));
    }

    /// Notes every secret in a text.
    fn search(&mut self, place: &str, text: &str) {
        self.search_but(place, text.as_bytes(), "");
    }

    fn search_but(&mut self, place: &str, bytes: &[u8], allowed: &str) {
        let secrets = self.all.iter().filter(|(what, _)| *what != allowed);
        // one pass, since the log is long; what it finds is looked at again
        let any = secrets.clone().flat_map(|(_, spellings)| spellings).map(|text| regex::escape(text));
        let any = regex::bytes::Regex::new(&any.collect::<Vec<_>>().join("|")).unwrap();
        let hits: Vec<_> = any.find_iter(bytes).map(|hit| (hit.start(), hit.as_bytes())).collect();
        for (what, spellings) in secrets {
            let hit = hits.iter().find(|(_, hit)| spellings.iter().any(|spelling| spelling.as_bytes() == *hit));
            if let Some((at, hit)) = hit {
                let around = &bytes[at.saturating_sub(80)..bytes.len().min(at + hit.len() + 20)];
                let around = String::from_utf8_lossy(around).into_owned();
                self.found.entry(format!("{what} in {place}")).or_insert(around);
            }
        }
    }

    /// Notes every secret in the files below a folder.
    fn search_files(&mut self, folder: &Path) {
        let mut folders = vec![PathBuf::from(folder)];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                match path.is_dir() {
                    true => folders.push(path),
                    false if EXEMPT.contains(&name.as_str()) => files += 1,
                    false => {
                        files += 1;
                        self.search_but(&format!("the file {name}"), &fs::read(path).unwrap(), "");
                    }
                }
            }
        }
        assert!(files > 0, "nothing to search in {}", folder.display());
    }

    /// A refusal that repeats no secret.
    fn refused(&mut self, reply: &Reply, what: &str) {
        assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.text);
        self.search(&format!("the answer to {what}"), &reply.text);
    }

    /// A success that repeats no secret.
    fn accepted(&mut self, reply: &Reply, what: &str) {
        assert_eq!(reply.status, 200, "{what}: {}", reply.text);
        self.search(&format!("the answer to {what}"), &reply.text);
    }

    /// What a command said; standard output may show the allowed secret.
    fn said(&mut self, answer: &Answer, allowed: &str) {
        self.search_but("standard output of the command line", answer.stdout.as_bytes(), allowed);
        self.search("standard error of the command line", &answer.stderr);
    }

    /// Runs a command with a token from the environment.
    fn used(&mut self, shell: &Shell, line: &str, token: &str, code: i32) {
        let answer = shell.command(line).env("CHORUS_TOKEN", token).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
        assert_eq!(answer.status.code(), Some(code), "{line}: {text}");
        self.search("the command line", &text);
    }

    fn none_found(&self) {
        let mut text = String::new();
        self.found.iter().for_each(|(what, around)| writeln!(text, "  {what}: …{around}…").unwrap());
        assert!(self.found.is_empty(), "{} traces:\n{text}", self.found.len());
    }
}

/// Every text in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// How a text looks in logs, addresses, headers and dumps.
fn spellings(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![
        secret.to_owned(),
        percent_encode(secret.as_bytes(), NON_ALPHANUMERIC).to_string(),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        hex.to_uppercase(),
        hex,
    ];
    for alphabet in [alphabet::STANDARD, alphabet::URL_SAFE] {
        let engine = GeneralPurpose::new(&alphabet, NO_PAD);
        // how it starts within a group of three bytes decides how it looks; the ends depend on what is around it
        for before in 0..3 {
            let encoded = engine.encode([&[0; 2][..before], secret.as_bytes()].concat());
            let (start, end) = ([0, 2, 3][before], encoded.len() - 1);
            all.push(encoded[start..end].to_owned());
        }
    }
    all.sort();
    all.dedup();
    all
}

/// The search would find what it searches for.
#[test]
fn a_secret_is_found_in_every_spelling() {
    let mut secrets = Secrets::default();
    let secret = secrets.plant("password");
    let base64 = base64::prelude::BASE64_STANDARD;
    for text in [
        secret.clone(),
        secret.replace(' ', "+").replace('/', "%2F"),
        base64.encode(&secret),
        base64.encode(format!("chorus:{secret}")),
        base64.encode(format!("{{\"password\":\"{secret}\"}}")),
        base64.encode(format!("ab{secret}c")),
        secret.bytes().map(|byte| format!("{byte:02X}")).collect(),
    ] {
        secrets.found.clear();
        secrets.search("a text", &format!("before {text} after"));
        assert_eq!(secrets.found.len(), 1, "{text}");
    }
}
