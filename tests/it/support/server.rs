//! The real server, in this process: both listeners on loopback, a database of its own, a clock that stands still.
//!
//! People are made through the store and signed in by opening a session, since a password costs as much here as it does in
//! production. Two have one all the same: the administrator of the default tenant and whoever a test signs in itself.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use chorus::{
    proto,
    server::{
        Server,
        access::{api_token::Fresh, caller::Account, keyring::Keyring, throttle::Throttle},
        clock::{Clock, ManualClock},
        config::{self, keys::Key},
        db::{Db, Json, fold, sql},
        desktops::Desktops,
        error,
        pipeline::Shared,
        random::{Random, SeededRandom},
        reconcile::Reconciler,
        runtime::{SharedRuntime, none::Nothing},
        services,
        transport::stream::Streams,
        upkeep::Upkeep,
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use prost_reflect::{DeserializeOptions, DynamicMessage, MethodDescriptor, SerializeOptions};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Code, Request, Status, transport::Channel};

use super::{Database, each_engine, wire::Dynamic};

/// The password of the administrator.
pub const ADMIN_PASSWORD: &str = "seven grey herons over the lake";

/// A running server.
pub struct TestServer {
    /// Its database.
    pub db: Db,
    /// Its time.
    pub clock: Arc<ManualClock>,
    /// The default tenant, to which visitors belong.
    pub tenant: i64,
    /// The administrator of the default tenant: `SuperAdmin`, with [`ADMIN_PASSWORD`].
    pub admin: Person,
    server: Server,
    runtime: SharedRuntime,
    reconciler: tokio::sync::Mutex<Reconciler>,
    http: reqwest::Client,
    channel: Channel,
    random: SeededRandom,
    numbers: AtomicU32,
    database: Option<Database>,
    dir: TempDir,
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: i64,
    pub tenant: i64,
    pub username: String,
    pub token: String,
}

/// An API token.
pub struct ApiToken {
    pub id: i64,
    /// Its owner, who shows it instead of a session.
    pub bearer: Person,
}

/// A role to give, and what it is bound to: `("WorkspaceAdmin", &[("workspace", "1")])`.
pub type Grant<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// The stable reason of the error's detail.
    pub reason: String,
    pub message: String,
}

/// The answer to a REST call.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// The JSON body; null when there is none.
    pub body: Value,
}

/// Runs the body against a fresh server on each engine.
pub async fn on_each_engine<F: Future<Output = ()>>(body: impl Fn(Arc<TestServer>) -> F) {
    each_engine(|db| async {
        let server = Arc::new(TestServer::with(db, &[]).await);
        body(server.clone()).await;
        if let Ok(server) = Arc::try_unwrap(server).map_err(drop) {
            server.stop().await;
        }
    })
    .await;
}

impl TestServer {
    /// A server on a fresh SQLite database, with the default configuration.
    pub async fn start() -> Self {
        Self::configured(&[]).await
    }

    /// A server on a fresh SQLite database; keys and values as `--flags` would set them.
    pub async fn configured(settings: &[(&str, &str)]) -> Self {
        let database = Database::sqlite();
        let db = database.open().await;
        db.migrate().await.unwrap();
        Self { database: Some(database), ..Self::with(db, settings).await }
    }

    /// A server on this database, which has the current schema and nothing in it.
    pub async fn with(db: Db, settings: &[(&str, &str)]) -> Self {
        Self::with_runtime(db, settings, Arc::new(Nothing)).await
    }

    /// The same with this runtime.
    pub async fn with_runtime(db: Db, settings: &[(&str, &str)], runtime: SharedRuntime) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-03-01T08:00:00Z".parse().unwrap()));
        // the first start would do this, with a password that is slow to hash
        let tenant = insert_tenant(&db, "default", clock.now()).await;
        let admin = insert_user(&db, tenant, "chorus", clock.now()).await;
        let hash = bcrypt::hash(ADMIN_PASSWORD, 4).unwrap();
        sql("UPDATE users SET password_hash = $1 WHERE id = $2").bind(hash).bind(admin.id).run(&db).await.unwrap();

        let config = configuration(dir.path(), settings);
        // a database with users and without a keyring is not started with
        config.create_data_dir().unwrap();
        Keyring::load_or_create(&config.keys, &SeededRandom::new(seed()), &*clock).unwrap();
        let random = Arc::new(SeededRandom::new(seed()));
        let server =
            Server::start(config, clock.clone(), random, Some(db.clone()), Some(runtime.clone())).await.unwrap();
        let reconciler = reconciler(&server, &db, &runtime);
        // reqwest takes the provider of the process; another test may have been faster
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let channel = Channel::from_shared(format!("http://{}", server.grpc())).unwrap().connect_lazy();
        let nobody = Person { id: admin.id, tenant, username: admin.username.clone(), token: String::new() };
        let mut this = Self {
            db,
            clock,
            tenant,
            admin: nobody,
            reconciler: tokio::sync::Mutex::new(reconciler),
            server,
            runtime,
            http,
            channel,
            random: SeededRandom::new(seed()),
            numbers: AtomicU32::new(0),
            database: None,
            dir,
        };
        this.admin = this.open_session(&admin).await;
        let own = admin.id.to_string();
        let everything: &[_] = &[("workspace", "*"), ("workbench", "*"), ("user", "*")];
        this.give(&this.admin, &[("Authenticated", &[("user", &own)]), ("SuperAdmin", everything)]).await;
        this
    }

    /// Stops the server gracefully; the database stays for whoever wants to look.
    pub async fn stop(self) -> Option<Database> {
        self.server.stop().await;
        self.database
    }

    /// The keyring file.
    pub fn keys(&self) -> PathBuf {
        self.dir.path().join("data/keys")
    }

    /// Another server on the same database, with the same keys and the same time.
    pub async fn replica(&self) -> Self {
        self.replica_with_keys(self.keys()).await.unwrap()
    }

    /// The same with its own keyring file.
    pub async fn replica_with_keys(&self, keys: PathBuf) -> anyhow::Result<Self> {
        let keys = keys.display().to_string();
        let (config, dir) = (configuration(self.dir.path(), &[("keys", &keys)]), tempfile::tempdir().unwrap());
        let random = Arc::new(SeededRandom::new(seed()));
        let server =
            Server::start(config, self.clock.clone(), random, Some(self.db.clone()), Some(self.runtime.clone()))
                .await?;
        let channel = Channel::from_shared(format!("http://{}", server.grpc())).unwrap().connect_lazy();
        Ok(Self {
            db: self.db.clone(),
            clock: self.clock.clone(),
            tenant: self.tenant,
            admin: self.admin.clone(),
            reconciler: tokio::sync::Mutex::new(reconciler(&server, &self.db, &self.runtime)),
            server,
            runtime: self.runtime.clone(),
            http: self.http.clone(),
            channel,
            random: SeededRandom::new(seed()),
            numbers: AtomicU32::new(1_000_000),
            database: None,
            dir,
        })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.http())
    }

    /// A connection to the gRPC listener, for typed clients.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The address of the gRPC listener.
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.server.grpc())
    }

    /// The streams of desktops.
    pub fn streams(&self) -> &Streams {
        self.server.streams()
    }

    /// What its calls share.
    pub fn shared(&self) -> &Shared {
        self.server.shared()
    }

    /// The address of the HTTP listener.
    pub fn http(&self) -> std::net::SocketAddr {
        self.server.http()
    }

    /// Makes the server see at once what a test changed behind its back.
    pub fn forget(&self) {
        self.server.shared().sessions.forget();
    }

    /// What the server does every so often, to be done when a test wants it.
    pub fn upkeep(&self) -> Upkeep {
        let jobs = services::jobs(self.server.shared(), self.server.base());
        Upkeep::new(self.db.clone(), self.clock.clone(), self.random.uuid().to_string(), jobs)
    }

    /// Brings the runtime to what the rows want, and the rows to what the runtime shows, until nothing is due by now.
    pub async fn reconcile(&self) {
        let mut reconciler = self.reconciler.lock().await;
        for _ in 0..1000 {
            if reconciler.round().await == 0 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Wakes the loop of this server, and those who watch.
    pub fn desktops(&self) -> &Desktops {
        &self.server.shared().desktops
    }

    /// Another loop over the same rows and the same runtime, as another replica has one.
    pub fn reconciler(&self) -> Reconciler {
        reconciler(&self.server, &self.db, &self.runtime)
    }

    /// Its throttle, to fill buckets without the price of a hash.
    pub fn throttle(&self) -> &Throttle {
        &self.server.shared().throttle
    }

    /// Makes a tenant.
    pub async fn tenant(&self, name: &str) -> i64 {
        insert_tenant(&self.db, name, self.clock.now()).await
    }

    /// Makes an active user of the default tenant with the role every account has and these, and signs it in.
    pub async fn person(&self, username: &str, roles: &[Grant<'_>]) -> Person {
        self.person_of(self.tenant, username, roles).await
    }

    /// The same in another tenant.
    pub async fn person_of(&self, tenant: i64, username: &str, roles: &[Grant<'_>]) -> Person {
        let account = insert_user(&self.db, tenant, username, self.clock.now()).await;
        let person = self.open_session(&account).await;
        let own = person.id.to_string();
        self.give(&person, &[("Authenticated", &[("user", &own)])]).await;
        self.give(&person, roles).await;
        person
    }

    /// Somebody with exactly these roles, and a name of the server's choice.
    pub async fn stranger(&self, tenant: i64, roles: &[Grant<'_>]) -> Person {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let account = insert_user(&self.db, tenant, &format!("stranger-{number}"), self.clock.now()).await;
        let person = self.open_session(&account).await;
        self.give(&person, roles).await;
        person
    }

    /// The same with a session that can only change a temporary password.
    pub async fn restricted(&self, roles: &[Grant<'_>]) -> Person {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut account = insert_user(&self.db, self.tenant, &format!("newcomer-{number}"), self.clock.now()).await;
        account.password_changed = false;
        let person = self.open_session(&account).await;
        self.give(&person, roles).await;
        person
    }

    /// Makes an active, private workspace.
    pub async fn workspace(&self, owner: &Person, name: &str) -> i64 {
        let now = self.clock.now();
        let (id,): (i64,) =
            sql("INSERT INTO workspaces (tenant_id, user_id, name, name_key, status, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, 'active', $5, $5) RETURNING id")
            .bind(owner.tenant)
            .bind(owner.id)
            .bind(name)
            .bind(fold(name))
            .bind(now)
            .one(&self.db)
            .await
            .unwrap();
        id
    }

    /// Makes an active app.
    pub async fn app(&self, owner: &Person, name: &str, image: &str, tag: &str) -> i64 {
        let (id,): (i64,) =
            sql("INSERT INTO apps (tenant_id, user_id, name, name_key, status, docker_image_name, docker_image_tag, \
             created_at, updated_at) VALUES ($1, $2, $3, $4, 'active', $5, $6, $7, $7) RETURNING id")
            .bind(owner.tenant)
            .bind(owner.id)
            .bind(name)
            .bind(fold(name))
            .bind(image)
            .bind(tag)
            .bind(self.clock.now())
            .one(&self.db)
            .await
            .unwrap();
        id
    }

    /// Makes an instance of an app that is about to start in a workbench.
    pub async fn app_instance(&self, owner: &Person, workbench: i64, app: i64) -> i64 {
        let (id,): (i64,) = sql(
            "INSERT INTO app_instances (tenant_id, user_id, app_id, workspace_id, workbench_id, app, started_at, created_at, \
             updated_at) SELECT $1, $2, $3, workspace_id, id, $4, $5, $5, $5 FROM workbenches WHERE id = $6 RETURNING id",
        )
        .bind(owner.tenant)
        .bind(owner.id)
        .bind(app)
        .bind(Json(serde_json::json!({"name": "App", "image": "apps/app", "tag": "1"})))
        .bind(self.clock.now())
        .bind(workbench)
        .one(&self.db)
        .await
        .unwrap();
        id
    }

    /// Makes a workbench that is on its way, without members.
    pub async fn workbench(&self, owner: &Person, workspace: i64, name: &str) -> i64 {
        let now = self.clock.now();
        let (id,): (i64,) = sql(
            "INSERT INTO workbenches (tenant_id, user_id, workspace_id, name, name_key, active_at, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6, $6) RETURNING id",
        )
        .bind(owner.tenant)
        .bind(owner.id)
        .bind(workspace)
        .bind(name)
        .bind(fold(name))
        .bind(now)
        .one(&self.db)
        .await
        .unwrap();
        id
    }

    /// Defines a role in a tenant, of a workspace or of the platform.
    pub async fn role(&self, tenant: i64, name: &str, workspace: Option<i64>, permissions: &[&str]) -> i64 {
        let now = self.clock.now();
        let (id,): (i64,) =
            sql("INSERT INTO dynamic_roles (tenant_id, workspace_id, name, name_key, permissions, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id")
            .bind(tenant)
            .bind(workspace)
            .bind(name)
            .bind(fold(name))
            .bind(Json(permissions))
            .bind(now)
            .one(&self.db)
            .await
            .unwrap();
        id
    }

    /// Another session of the same person.
    pub async fn sign_in(&self, person: &Person) -> Person {
        let account: Account = sql("SELECT * FROM users WHERE id = $1").bind(person.id).one(&self.db).await.unwrap();
        self.open_session(&account).await
    }

    /// Stores an API token of somebody, with these scopes and a name of the server's choice, good for a day.
    pub async fn api_token(&self, owner: &Person, scopes: &[&str]) -> ApiToken {
        let fresh = Fresh::new(&self.random);
        let name = format!("program-{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        let now = self.clock.now();
        let (id,): (i64,) = sql(
            "INSERT INTO api_tokens (tenant_id, user_id, name, name_key, public_id, secret_hash, scopes, created_by, \
             created_at, expires_at) VALUES ($1, $2, $3, $3, $4, $5, $6, $2, $7, $8) RETURNING id",
        )
        .bind(owner.tenant)
        .bind(owner.id)
        .bind(name)
        .bind(fresh.public_id)
        .bind(fresh.secret_hash.to_vec())
        .bind(Json(scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>()))
        .bind(now)
        .bind(now + TimeDelta::days(1))
        .one(&self.db)
        .await
        .unwrap();
        ApiToken { id, bearer: Person { token: fresh.text.expose_secret().to_owned(), ..owner.clone() } }
    }

    async fn open_session(&self, account: &Account) -> Person {
        let id = self.random.uuid().to_string();
        let sessions = &self.server.shared().sessions;
        let opened = sessions.open(&self.db, account, &id, ("test", "127.0.0.1"), self.clock.now()).await.unwrap();
        Person { id: account.id, tenant: account.tenant_id, username: account.username.clone(), token: opened.token }
    }

    /// Gives roles through the store, with one or no value for each dimension. Memory is not told: see
    /// [`TestServer::forget`].
    pub async fn give(&self, person: &Person, roles: &[Grant<'_>]) {
        for (role, context) in roles {
            let bound = |dimension| context.iter().find(|(d, _)| *d == dimension).map(|(_, value)| (*value).to_owned());
            sql(
                "INSERT INTO role_assignments (tenant_id, user_id, role, workspace, workbench, user_context, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(person.tenant)
            .bind(person.id)
            .bind((*role).to_owned())
            .bind(bound("workspace"))
            .bind(bound("workbench"))
            .bind(bound("user"))
            .bind(self.clock.now())
            .run(&self.db)
            .await
            .unwrap();
        }
    }

    /// A REST call; `by` none for a visitor.
    pub async fn rest(&self, by: Option<&Person>, method: Method, path: &str, body: Option<Value>) -> Reply {
        let mut request = self.http.request(method, format!("{}{path}", self.url()));
        if let Some(by) = by {
            request = request.bearer_auth(&by.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Reply::read(request.send().await.unwrap()).await
    }

    /// A request to the HTTP listener, for what [`TestServer::rest`] cannot say.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url()))
    }

    /// A gRPC call of any RPC, such as `UserService/GetUser`, with request and reply in JSON.
    pub async fn call(&self, by: Option<&Person>, rpc: &str, request: Value) -> Result<Value, Failure> {
        let (service, name) = rpc.split_once('/').unwrap();
        let service = proto::pool().get_service_by_name(&format!("chorus.v1.{service}")).unwrap();
        let method = service.methods().find(|m| m.name() == name).unwrap();
        let message = DynamicMessage::deserialize_with_options(method.input(), request, &DeserializeOptions::new())
            .unwrap_or_else(|error| panic!("{rpc}: {error}"));
        let reply = self.send(by, method, message).await?;
        let options = SerializeOptions::new().skip_default_fields(false);
        Ok(reply.serialize_with_options(serde_json::value::Serializer, &options).unwrap())
    }

    /// A gRPC call with messages as they are; of a stream, its first message.
    pub async fn send(
        &self,
        by: Option<&Person>,
        method: MethodDescriptor,
        message: DynamicMessage,
    ) -> Result<DynamicMessage, Failure> {
        let mut request = Request::new(message);
        if let Some(by) = by {
            request.metadata_mut().insert("authorization", format!("Bearer {}", by.token).parse().unwrap());
        }
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
        let mut client = tonic::client::Grpc::new(self.channel());
        client.ready().await.unwrap();
        let codec = Dynamic::new(method.output());
        if method.is_server_streaming() {
            let mut messages = client.server_streaming(request, path, codec).await?.into_inner();
            return Ok(messages.message().await?.expect("the stream is empty"));
        }
        Ok(client.unary(request, path, codec).await?.into_inner())
    }
}

impl Reply {
    /// Reads an answer whole.
    pub async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Self { status, headers, body }
    }

    /// The stable reason of a failure; empty for a success.
    pub fn reason(&self) -> &str {
        self.body["details"][0]["reason"].as_str().unwrap_or_default()
    }

    /// The code of a failure as REST clients know it; empty for a success.
    pub fn chorus_code(&self) -> &str {
        self.body["details"][0]["chorusCode"].as_str().unwrap_or_default()
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let reason = error::detail(&status).map(|detail| detail.reason).unwrap_or_default();
        Self { code: status.code(), reason, message: status.message().to_owned() }
    }
}

/// Every server of a test makes its own keys and ids, and the same ones in every run.
fn seed() -> u64 {
    static SEED: AtomicU64 = AtomicU64::new(0);
    SEED.fetch_add(1, Ordering::Relaxed)
}

fn reconciler(server: &Server, db: &Db, runtime: &SharedRuntime) -> Reconciler {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let holder = format!("replica {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    Reconciler::new(db.clone(), runtime.clone(), server.shared().clone(), holder)
}

fn configuration(dir: &std::path::Path, settings: &[(&str, &str)]) -> config::Config {
    let data = dir.join("data").display().to_string();
    let defaults =
        [("listen", "127.0.0.1:0"), ("grpc_listen", "127.0.0.1:0"), ("data_dir", &data), ("runtime", "none")];
    let mut flags: Vec<(&'static Key, Vec<String>)> = Vec::new();
    for (name, value) in defaults.iter().chain(settings) {
        let key = Key::find(name).unwrap_or_else(|| panic!("no configuration key {name}"));
        flags.retain(|(known, _)| known.name != key.name);
        flags.push((key, vec![(*value).to_owned()]));
    }
    config::load(&config::Sources { flags, ..Default::default() })
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config
}

async fn insert_tenant(db: &Db, name: &str, now: DateTime<Utc>) -> i64 {
    let (id,): (i64,) = sql("INSERT INTO tenants (name, created_at, updated_at) VALUES ($1, $2, $2) RETURNING id")
        .bind(name)
        .bind(now)
        .one(db)
        .await
        .unwrap();
    id
}

async fn insert_user(db: &Db, tenant: i64, username: &str, now: DateTime<Utc>) -> Account {
    sql("INSERT INTO users (tenant_id, first_name, last_name, username, username_key, search_key, email, password_changed, \
         created_at, updated_at) VALUES ($1, $2, 'Tester', $2, $3, $4, $5, TRUE, $6, $6) RETURNING *")
    .bind(tenant)
    .bind(username)
    .bind(fold(username))
    .bind(fold(&format!("{username} Tester {username}")))
    .bind(format!("{username}@example.org"))
    .bind(now)
    .one(db)
    .await
    .unwrap()
}
