//! Running the operator: as a process of its own (`chorus operator`), or beside the server (`chorus serve --operator`).
//!
//! What always holds: the API server is reached with the configured account and no other; both forms take the same lease, so
//! of all replicas of both one acts.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, anyhow};
use axum::{Router, http::header, routing::get};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    clock::Clock,
    config::{Config, operator::Bind},
    operator::cluster::{self, Operator, Options, Running},
    random::Random,
    run::Told,
    telemetry::{Connections, Metrics},
};

/// Where a pod finds the name of its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Runs the operator until SIGTERM or SIGINT, then stops gracefully.
///
/// # Errors
/// When it cannot start; the text says what to change.
pub async fn run(config: Config, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<()> {
    let told = Told::listen()?;
    let metrics = Metrics::install(clock.now())?;
    let counting = tokio::spawn(metrics.clone().upkeep());
    let mut operator = start(&config, clock, &*random).await?;
    let stop = CancellationToken::new();
    let pages = [
        serve(config.operator.health_probe_bind_address, cluster::router(operator.health()), &stop).await?,
        serve(config.operator.metrics_bind_address, metrics_page(metrics), &stop).await?,
    ];
    tracing::info!(target: "chorus", "the operator runs");
    let broken = tokio::select! {
        () = told.wait() => false,
        () = operator.broken() => true,
    };
    tracing::info!(target: "chorus", "stopping");
    operator.stop().await;
    stop.cancel();
    for page in pages.into_iter().flatten() {
        let _ = page.await;
    }
    counting.abort();
    tracing::info!(target: "chorus", "stopped");
    // whoever started the process starts it anew
    if broken { Err(anyhow!("a part of the operator has ended, which is a bug: its log says which")) } else { Ok(()) }
}

/// Starts the operator.
///
/// # Errors
/// When the configuration, or the way to the API server, cannot be used.
pub(super) async fn start(config: &Config, clock: Arc<dyn Clock>, random: &dyn Random) -> Result<Running> {
    let settings = config.operator.settings().map_err(|conflict| anyhow!("`{}`: {}", conflict.key, conflict.reason))?;
    warn(&settings);
    let client = client(config).await?;
    let options = Options {
        namespace: namespace(config),
        identity: random.uuid().to_string(),
        leader_elect: config.operator.leader_elect,
        concurrency: usize::try_from(config.operator.concurrency)?,
        ..Options::default()
    };
    Ok(Operator::new(client, settings, options, clock).start())
}

/// A client of the configured API server.
///
/// # Errors
/// When there is no way to it, or it cannot be used.
pub async fn client(config: &Config) -> Result<kube::Client> {
    let kubeconfig: Option<PathBuf> = config.operator.kubeconfig.clone();
    let client = cluster::client::connect(kubeconfig.as_deref()).await;
    client.context("no way to a Kubernetes cluster; name a kubeconfig with --kubeconfig (`operator.kubeconfig`)")
}

/// The namespace of the operator: the configured one, else that of the pod, else `chorus`.
pub fn namespace(config: &Config) -> String {
    let of_pod = || std::fs::read_to_string(NAMESPACE_FILE).ok().map(|text| text.trim().to_owned());
    let configured = config.operator.namespace.clone();
    configured.or_else(of_pod).filter(|name| !name.is_empty()).unwrap_or_else(|| "chorus".to_owned())
}

/// What takes away from the isolation of desktops is said at each start.
fn warn(settings: &super::operator::settings::Settings) {
    let warnings = [
        (
            !settings.require_network_policy,
            "`operator.require_network_policy` is off: sessions start although nothing limits what they reach",
        ),
        (settings.debug_mode, "`operator.debug_mode_enabled` is on: desktops are privileged root containers"),
        (
            settings.local_storage.is_some(),
            "`operator.local_storage_enabled` is on: workbenches may mount folders of nodes",
        ),
    ];
    for (_, text) in warnings.into_iter().filter(|(on, _)| *on) {
        tracing::warn!(target: "chorus", "{text}");
    }
}

fn metrics_page(metrics: Metrics) -> Router {
    let render = move || {
        let text = metrics.render(Connections { used: 0, idle: 0 });
        std::future::ready(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
    };
    Router::new().route("/metrics", get(render))
}

/// Serves pages there until told to stop; nothing where there is no address.
async fn serve(bind: Bind, pages: Router, stop: &CancellationToken) -> Result<Option<JoinHandle<()>>> {
    let Bind(Some(address)) = bind else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| in_use(address))?;
    let stop = stop.clone().cancelled_owned();
    let serving = async move {
        if let Err(error) = axum::serve(listener, pages).with_graceful_shutdown(stop).await {
            tracing::error!(target: "chorus", %error, "the listener failed");
        }
    };
    Ok(Some(tokio::spawn(serving)))
}

fn in_use(address: SocketAddr) -> String {
    format!(
        "cannot listen on {address}; choose another address with --health-probe-bind-address or --metrics-bind-address"
    )
}
