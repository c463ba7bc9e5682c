//! How to reach the API server.

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest silence: a watch is quiet for up to five minutes, all other requests have shorter deadlines of their own.
const SILENCE: Duration = Duration::from_secs(305);

/// Why the API server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The service account cannot be used.
    #[error("the service account of this pod cannot be used: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    /// The client cannot be set up.
    #[error("the client of the API server cannot be set up: {0}")]
    Client(#[from] kube::Error),
}

/// A client for the cluster of this kubeconfig; without one that of the pod's service account; without that the one of
/// `$KUBECONFIG` or `~/.kube/config`.
///
/// # Errors
///
/// There is no configuration, or it cannot be used.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    let options = KubeConfigOptions::default();
    let mut config = match kubeconfig {
        Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => Config::incluster()?,
        None => Config::from_custom_kubeconfig(Kubeconfig::read()?, &options).await?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    Ok(Client::try_from(config)?)
}

/// A client that gives up on every request after this time.
pub(super) fn impatient(client: &Client, deadline: Duration) -> Client {
    let namespace = client.default_namespace().to_owned();
    let client = client.clone();
    let send = move |request: http::Request<kube::client::Body>| {
        let client = client.clone();
        async move {
            let answer = tokio::time::timeout(deadline, client.send(request)).await;
            answer.map_err(|elapsed| kube::Error::Service(elapsed.into()))?
        }
    };
    Client::new(tower::service_fn(send), namespace)
}
