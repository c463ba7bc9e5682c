//! The composition root: configuration → database → keys → services → transports, and the graceful stop.
//!
//! What always holds: nothing is served before the schema is current and the keyring fits the database; after a stop
//! every acknowledged change and audit record is on disk.

use std::{io::Write as _, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, anyhow, bail};
use secrecy::ExposeSecret as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    access::{
        audit,
        decide::Roles,
        kiosk::Kiosk,
        password::Hasher,
        seal::Sealer,
        sessions::{Lifetime, Sessions},
        throttle::Throttle,
        token::{CookiePolicy, Tokens},
    },
    clock::Clock,
    config::Config,
    db::{self, Db},
    desktops::Desktops,
    installation, operate, operator,
    pipeline::{Gate, Shared},
    random::Random,
    reconcile::{self, Reconciler},
    runtime::{self, Runtime, SharedRuntime},
    services::{
        self, Base,
        apps::starter::{self, Starter},
        feed::Feed,
        users,
        workbenches::{self, Visit},
    },
    telemetry::{Connections, Metrics},
    transport::{
        self, Transports,
        cors::{Origins, Own},
        headers::Hardening,
        index::About,
        listen::Listeners,
        stream::{self, Streams},
    },
    upkeep::{self, Upkeep},
};

/// A running server.
pub struct Server {
    http: SocketAddr,
    grpc: SocketAddr,
    first_admin: Option<users::FirstAdmin>,
    shared: Arc<Shared>,
    base: Base,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    upkeep: upkeep::Running,
    /// None where a test drives the loop.
    reconcile: Option<reconcile::Running>,
    streams: stream::Running,
    operator: Option<operator::cluster::Running>,
    metrics: Option<JoinHandle<()>>,
    health: HealthReporter,
}

/// What is there before the server starts.
#[derive(Default)]
struct Given {
    db: Option<Db>,
    runtime: Option<SharedRuntime>,
}

/// Serves until SIGTERM or SIGINT, then stops gracefully.
///
/// # Errors
/// When the server cannot start; the text says what to change.
pub async fn run(config: Config, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<()> {
    let told = Told::listen()?;
    let mut server = Server::start_with(config, clock, random, Given::default(), announce).await?;
    tracing::info!(target: "chorus", http = %server.http, grpc = %server.grpc, engine = server.base.db.engine().name(), "ready");
    let broken = tokio::select! {
        () = told.wait() => false,
        () = server.broken() => true,
    };
    tracing::info!(target: "chorus", "stopping");
    server.stop().await;
    tracing::info!(target: "chorus", "stopped");
    // whoever started the process starts it anew
    if broken { Err(anyhow!("a part of the operator has ended, which is a bug: its log says which")) } else { Ok(()) }
}

/// SIGTERM and SIGINT, which tell a process to stop.
pub(super) struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first of them.
    pub(super) async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells the password of the first administrator, once, apart from the log.
fn announce(admin: &users::FirstAdmin) {
    let mut out = std::io::stderr().lock();
    // nobody reads it: then nobody wants it
    let _ = match &admin.password {
        Some(password) => writeln!(
            out,
            "\nThe administrator `{}` was created. This password is shown once and stored nowhere:\n\n    {}\n\n\
             Sign in with `chorus login --username {}`, then choose your own with `chorus password`.\n",
            admin.username,
            password.expose_secret(),
            admin.username
        ),
        None => {
            writeln!(out, "\nThe administrator `{}` was created with the password of the given file.\n", admin.username)
        }
    };
}

impl Server {
    /// Starts a server. Tests pass a database and a runtime of their own; with a runtime of their own they drive the loop that
    /// reconciles themselves.
    ///
    /// # Errors
    /// When it cannot start; the text says what to change.
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        db: Option<Db>,
        runtime: Option<SharedRuntime>,
    ) -> Result<Self> {
        Self::start_with(config, clock, random, Given { db, runtime }, |_| {}).await
    }

    async fn start_with(
        config: Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        given: Given,
        announce: impl FnOnce(&users::FirstAdmin),
    ) -> Result<Self> {
        let started = clock.now();
        let listeners = Listeners::bind(config.listen, config.grpc_listen).await?;
        let (http, grpc) = (listeners.http_addr()?, listeners.grpc_addr()?);
        config.create_data_dir()?;
        let db = match given.db {
            Some(db) => db,
            None => open(&config).await?,
        };
        let keys = installation::keyring(&config, &db, &*random, &*clock).await?;

        let hasher = Hasher::start(random.clone())?;
        let (visitors, first_admin) = users::bootstrap(&db, &config, &hasher, &*clock).await?;
        // at once: whatever fails from here on, the password is known
        if let Some(admin) = &first_admin {
            announce(admin);
        }
        let lifetime = Lifetime {
            idle: chrono::TimeDelta::from_std(config.session_idle_timeout)?,
            absolute: chrono::TimeDelta::from_std(config.session_max_lifetime)?,
        };
        let roles = Roles::built_in(config.workspace_admin_can_assign_data_manager);
        let shared = Arc::new(Shared {
            sessions: Sessions::new(db.clone(), Tokens::new(keys.clone()), lifetime, visitors, roles),
            cookie: CookiePolicy { same_site: config.cookie_same_site, secure: config.secure_cookie() },
            audit: audit::Writer::start(db.clone()),
            hasher,
            throttle: Throttle::new(db.clone(), keys.clone()),
            sealer: Sealer::new(keys.clone()),
            kiosk: Kiosk::new(keys),
            desktops: Desktops::default(),
            clock: clock.clone(),
            random: random.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
        });
        let metrics = config.metrics.then(|| Metrics::install(started)).transpose()?;
        let counting = metrics.clone().map(|metrics| tokio::spawn(metrics.upkeep()));

        let holder = random.uuid().to_string();

        let (runtime, by_hand) = match given.runtime {
            Some(runtime) => (runtime, true),
            None => (runtime::choose(&config)?, false),
        };
        let operator = match config.operator.enabled {
            true => Some(operate::start(&config, clock.clone(), &*random).await?),
            false => None,
        };
        let stop = CancellationToken::new();
        let feed = Arc::new(Feed::new(db.clone(), shared.desktops.listen(), stop.clone()));
        let base = Base { db: db.clone(), config: Arc::new(config), runtime, feed };
        let added = starter::seed(&db, visitors, &starters(&*base.runtime), started).await?;
        if added > 0 {
            tracing::info!(target: "chorus", added, "the catalogue begins with what is installed on this host");
        }
        let origins =
            Origins::new(base.config.cors_origins.iter().map(|o| o.as_str().to_owned()), Own::of(&base.config));
        let streams = Streams::new(
            shared.clone(),
            db.clone(),
            base.config.clone(),
            base.runtime.clone(),
            origins.clone(),
            on_open(&base, &shared),
        );
        let transports = Transports::new(transport::Parts {
            services: services::routes(&Gate::new(shared.clone()), &base, started),
            pages: pages(metrics, db.clone()).merge(transport::kiosk::router(db.clone(), shared.clone())),
            streams: Some(streams.clone()),
            origins,
            hardening: Hardening::new(&base.config),
            request_timeout: base.config.request_timeout,
            about: About { name: "chorus", version: VERSION, id: random.uuid(), commit: COMMIT },
            random,
        })
        .await?;
        let reconciler = Reconciler::new(db.clone(), base.runtime.clone(), shared.clone(), &*holder);
        let upkeep = Upkeep::new(db.clone(), clock, holder, services::jobs(&shared, &base)).start(upkeep::TICK);
        let serving = tokio::spawn({
            let (stop, deadline) = (stop.clone(), base.config.shutdown_timeout);
            transport::listen::serve(listeners, transports.http, transports.grpc, stop, deadline)
        });
        Ok(Self {
            http,
            grpc,
            first_admin,
            shared,
            base,
            stop,
            serving,
            upkeep,
            reconcile: (!by_hand).then(|| reconciler.start()),
            streams: streams.start(),
            operator,
            metrics: counting,
            health: transports.health,
        })
    }

    /// Waits until a part has ended that never ends by itself.
    async fn broken(&mut self) {
        match &mut self.operator {
            Some(operator) => operator.broken().await,
            None => std::future::pending().await,
        }
    }

    /// The address of the HTTP listener.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The address of the gRPC listener.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// The administrator whom this start created.
    pub fn first_admin(&self) -> Option<&users::FirstAdmin> {
        self.first_admin.as_ref()
    }

    /// What its services stand on.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// What calls share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The streams of desktops.
    pub fn streams(&self) -> &Streams {
        self.streams.streams()
    }

    /// Stops: takes nothing new, finishes what runs within the deadline, writes what is to be written.
    pub async fn stop(self) {
        // probes learn first that nothing new is taken
        self.health.set_service_status("", ServingStatus::NotServing).await;
        self.stop.cancel();
        // what is open there has no end of its own
        self.streams.close().await;
        if self.serving.await.is_err() {
            tracing::error!(target: "chorus", "the listeners failed");
        }
        self.streams.stop().await;
        self.upkeep.stop().await;
        if let Some(reconcile) = self.reconcile {
            reconcile.stop().await;
        }
        if let Some(operator) = self.operator {
            operator.stop().await;
        }
        if let Some(metrics) = self.metrics {
            metrics.abort();
        }
        self.shared.audit.stop().await;
        self.base.db.close().await;
    }
}

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, if the build knew (`CHORUS_COMMIT`).
pub const COMMIT: Option<&str> = option_env!("CHORUS_COMMIT");

/// The apps with which the catalogue begins: where desktops are processes of this host, what is installed here.
fn starters(runtime: &dyn Runtime) -> Vec<Starter> {
    match runtime.name() {
        #[cfg(target_os = "linux")]
        "local" => {
            let starter = |app: runtime::local::apps::Known| Starter {
                image: app.image,
                name: app.name,
                description: app.description,
            };
            runtime::local::apps::installed().into_iter().map(starter).collect()
        }
        _ => Vec::new(),
    }
}

async fn open(config: &Config) -> Result<Db> {
    let options = db::Options { max_connections: config.database_max_connections, ..db::Options::default() };
    let db = Db::open(config.database_url.expose(), &options).await.context("the database cannot be opened")?;
    if config.migrate {
        db.migrate().await.context("the database cannot be migrated")?;
    } else if !db.pending_migrations().await?.is_empty() {
        bail!("the database is not current and `migrate` is off; run `chorus migrate`");
    }
    Ok(db)
}

/// Opening the page of a desktop counts as use, and starts one that was stopped for idleness.
fn on_open(base: &Base, shared: &Arc<Shared>) -> stream::OnOpen {
    let (base, shared) = (base.clone(), shared.clone());
    Arc::new(move |by, id| {
        let (base, shared) = (base.clone(), shared.clone());
        Box::pin(async move {
            let call = by.call();
            let visit =
                Visit { caller: by.caller(), request_id: &call.request_id, address: call.address, now: call.now };
            workbenches::opened(&base, &shared, &visit, id).await
        })
    })
}

/// Pages that are not of the API.
fn pages(metrics: Option<Metrics>, db: Db) -> axum::Router {
    let Some(metrics) = metrics else { return axum::Router::new() };
    let render = move || {
        let stats = db.pool_stats();
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let connections =
            Connections { used: number(stats.connections.saturating_sub(stats.idle)), idle: number(stats.idle) };
        let text = metrics.render(connections);
        async move { ([(http::header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    };
    axum::Router::new().route("/metrics", axum::routing::get(render))
}
