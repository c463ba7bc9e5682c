//! The way to the server.
//!
//! A [`Session`] knows the server, the token and the time limit. Every call passes [`Session::call`], which adds the token,
//! measures, turns a failed status into an [`Error`], and with `-v` says what goes on. What always holds: the token leaves
//! this process only in the `authorization` metadata of calls to its own server, and is never printed.

use std::{error::Error as _, io, path::Path, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::OnceCell, time};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{
    Globals,
    credentials::{self, Credentials},
    error::{Error, Exit, Result},
    profile::{self, Profiles, Target},
    trace,
};
use crate::proto::v1::{
    ChorusErrorCode, app_instance_service_client::AppInstanceServiceClient, app_service_client::AppServiceClient,
    audit_service_client::AuditServiceClient, authentication_service_client::AuthenticationServiceClient,
    authorization_service_client::AuthorizationServiceClient, health_service_client::HealthServiceClient,
    notification_service_client::NotificationServiceClient, token_service_client::TokenServiceClient,
    user_service_client::UserServiceClient, workbench_service_client::WorkbenchServiceClient,
    workspace_service_client::WorkspaceServiceClient,
};

/// The largest reply that is read: a page of 500 users with hundreds of roles each.
const MAX_REPLY: usize = 64 << 20;
/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one call may take unless the command line says otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Tells the server that a call only looks, and is no reason to start a desktop that was stopped for idleness.
const NO_WAKE: &str = "x-chorus-no-wake";

/// A server to call, and as whom.
pub struct Session {
    target: Target,
    token: Option<SecretString>,
    source: TokenSource,
    timeout: Duration,
    verbose: u8,
    channel: OnceCell<Channel>,
}

/// The environment variable with a token that goes before the stored one.
pub const TOKEN_VARIABLE: &str = "CHORUS_TOKEN";

/// Where the token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A sign-in that this account remembers.
    SignIn,
    /// The environment.
    Variable,
    /// A file that the command line names.
    File,
}

impl TokenSource {
    /// What states the token, if that is not a sign-in.
    pub fn stated_by(&self) -> Option<&'static str> {
        match self {
            Self::SignIn => None,
            Self::Variable => Some(TOKEN_VARIABLE),
            Self::File => Some("--token-file"),
        }
    }
}

impl Session {
    /// A session as flags, environment and files say. Nothing is sent yet.
    pub fn open(globals: &Globals) -> Result<Self> {
        let folder = profile::folder()?;
        let target = Target::choose(globals, &Profiles::load(&folder)?)?;
        let variable = || std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).map(SecretString::from);
        let (token, source) = match &globals.token_file {
            Some(file) => (Some(credentials::token_file(file)?), TokenSource::File),
            None => match variable() {
                Some(token) => (Some(token), TokenSource::Variable),
                None => (Credentials::load(&folder)?.token(&target).cloned(), TokenSource::SignIn),
            },
        };
        Ok(Self { token, source, ..Self::anonymous(target, globals) })
    }

    /// A session without a token, for signing in.
    pub fn anonymous(target: Target, globals: &Globals) -> Self {
        Self {
            target,
            token: None,
            source: TokenSource::SignIn,
            timeout: globals.timeout.unwrap_or(CALL_TIMEOUT),
            verbose: globals.verbose,
            channel: OnceCell::new(),
        }
    }

    /// The same session with a new token.
    pub fn with_token(self, token: SecretString) -> Self {
        Self { token: Some(token), source: TokenSource::SignIn, ..self }
    }

    /// The server.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Where the token comes from.
    pub fn source(&self) -> &TokenSource {
        &self.source
    }

    /// Whether there is a token at all.
    pub fn is_signed_in(&self) -> bool {
        self.token.is_some()
    }

    /// Fails before anything is asked for when there is no token at all; `what` says what was going to be done.
    pub fn require_token(&self, what: &str) -> Result<()> {
        match self.is_signed_in() {
            true => Ok(()),
            false => Err(Error::new(Exit::SignedOut, format!("cannot {what}: you are not signed in"))
                .hint("sign in with `chorus login`")),
        }
    }

    /// Calls an RPC. `what` says what is tried, for the error; `rpc` names it, such as `UserService/GetUser`; `send` calls
    /// the stub over the channel that it is given.
    pub async fn call<Q, R>(
        &self,
        what: &str,
        rpc: &'static str,
        message: Q,
        send: impl AsyncFnOnce(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R>
    where
        Q: prost::Message,
    {
        let mut request = self.request(rpc, message)?;
        request.set_timeout(self.timeout);
        self.send(what, rpc, request, send).await
    }

    /// Opens a stream. The time limit is for its beginning; it may stay open for as long as it likes. What it brings is
    /// explained with [`Session::explain`] when it fails.
    pub async fn open_stream<Q, R>(
        &self,
        what: &str,
        rpc: &'static str,
        message: Q,
        send: impl AsyncFnOnce(Channel, Request<Q>) -> Result<Response<Streaming<R>>, Status>,
    ) -> Result<Streaming<R>>
    where
        Q: prost::Message,
    {
        self.send(what, rpc, self.request(rpc, message)?, send).await
    }

    fn request<Q: prost::Message>(&self, rpc: &'static str, message: Q) -> Result<Request<Q>> {
        trace::request(self.verbose, rpc, &message);
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", bearer(token)?);
        }
        if only_looks(rpc) {
            request.metadata_mut().insert(NO_WAKE, MetadataValue::from_static("1"));
        }
        Ok(request)
    }

    async fn send<Q, R>(
        &self,
        what: &str,
        rpc: &'static str,
        request: Request<Q>,
        send: impl AsyncFnOnce(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R> {
        let channel = self.channel().await?.clone();
        let start = time::Instant::now();
        let answer = match time::timeout(self.timeout, send(channel, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("")),
        };
        trace::response(self.verbose, rpc, &answer, start.elapsed());
        match answer {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(self.explain(what, &status)),
        }
    }

    async fn channel(&self) -> Result<&Channel> {
        let connect = async {
            let endpoint = endpoint(&self.target)?;
            match time::timeout(self.timeout.min(CONNECT_TIMEOUT), endpoint.connect()).await {
                Ok(Ok(channel)) => Ok(channel),
                Ok(Err(error)) => Err(unreachable_server(&self.target, &error)),
                Err(_) => {
                    Err(Error::new(Exit::Unreachable, format!("cannot reach {}: no answer", self.target.address()))
                        .hint("check the address and the network in between"))
                }
            }
        };
        self.channel.get_or_try_init(|| connect).await
    }

    /// The error for a failed call, with what only the session knows.
    pub fn explain(&self, what: &str, status: &Status) -> Error {
        let error = Error::from_status(what, status);
        match (status.code(), self.source.stated_by()) {
            (Code::Unauthenticated, Some(stated)) => {
                return error
                    .replace_hint(format!("{stated} is not valid here, or no longer; leave it out or renew it"));
            }
            (Code::PermissionDenied, Some(stated)) if error.reason() == Some("SESSION_REQUIRED") => {
                return error.replace_hint(format!("leave {stated} out, and sign in with `chorus login`"));
            }
            (Code::PermissionDenied, Some(stated)) => {
                return error.replace_hint(format!("the token of {stated} has scopes; `chorus token list` shows them"));
            }
            _ => {}
        }
        match (status.code(), error.exit()) {
            (Code::Unauthenticated, _)
                if self.token.is_none() && error.chorus_code() == ChorusErrorCode::Unauthenticated =>
            {
                error.reworded(format!("cannot {what}: you are not signed in"))
            }
            (_, Exit::Unreachable) => error.hint(format!("is the server at {} well?", self.target.address())),
            _ => error,
        }
    }
}

/// Whether an RPC changes nothing and opens nothing.
fn only_looks(rpc: &str) -> bool {
    let (_, method) = rpc.split_once('/').unwrap_or_default();
    ["Get", "List", "Watch"].iter().any(|verb| method.starts_with(verb))
}

/// The app catalogue.
pub fn apps(channel: Channel) -> AppServiceClient<Channel> {
    AppServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// The apps that run in workbenches.
pub fn app_instances(channel: Channel) -> AppInstanceServiceClient<Channel> {
    AppInstanceServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// The audit trail.
pub fn audit(channel: Channel) -> AuditServiceClient<Channel> {
    AuditServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// Signing in and out.
pub fn authentication(channel: Channel) -> AuthenticationServiceClient<Channel> {
    AuthenticationServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// Roles and permissions.
pub fn authorization(channel: Channel) -> AuthorizationServiceClient<Channel> {
    AuthorizationServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// The state of the server.
pub fn health(channel: Channel) -> HealthServiceClient<Channel> {
    HealthServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// Notifications of the caller.
pub fn notifications(channel: Channel) -> NotificationServiceClient<Channel> {
    NotificationServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// API tokens.
pub fn tokens(channel: Channel) -> TokenServiceClient<Channel> {
    TokenServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// User accounts.
pub fn users(channel: Channel) -> UserServiceClient<Channel> {
    UserServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// Workbenches and their members.
pub fn workbenches(channel: Channel) -> WorkbenchServiceClient<Channel> {
    WorkbenchServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

/// Workspaces and their members.
pub fn workspaces(channel: Channel) -> WorkspaceServiceClient<Channel> {
    WorkspaceServiceClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

fn bearer(token: &SecretString) -> Result<MetadataValue<tonic::metadata::Ascii>> {
    let mut value: MetadataValue<_> = format!("Bearer {}", token.expose_secret()).parse().map_err(|_| {
        Error::new(Exit::SignedOut, "the token holds characters that no token has").hint("sign in again")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn endpoint(target: &Target) -> Result<Endpoint> {
    let invalid = |error: tonic::transport::Error| Error::usage(format!("cannot use {}: {error}", target.address()));
    let endpoint = Endpoint::from_shared(target.server.to_string())
        .map_err(invalid)?
        .user_agent(concat!("chorus/", env!("CARGO_PKG_VERSION")))
        .map_err(invalid)?
        .tcp_nodelay(true);
    if target.server.scheme() != "https" {
        return Ok(endpoint);
    }
    let tls = match &target.ca_file {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read_certificates(path)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    endpoint.tls_config(tls).map_err(invalid)
}

fn read_certificates(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::usage(format!("cannot read --ca-file {}: {error}", path.display())))
}

fn unreachable_server(target: &Target, error: &tonic::transport::Error) -> Error {
    let mut why = error.to_string();
    let mut kind = None;
    let mut source = error.source();
    while let Some(inner) = source {
        // the number of the system error helps nobody
        why = inner.to_string().split(" (os error").next().unwrap_or_default().to_lowercase();
        kind = inner.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
        source = inner.source();
    }
    let address = target.address();
    let hint = if kind == Some(io::ErrorKind::ConnectionRefused) {
        format!("is `chorus serve` running at {address}? Its gRPC listener has port 5555 unless told otherwise")
    } else if target.server.scheme() == "https" {
        "check the address; a private certificate authority is named with --ca-file".to_owned()
    } else {
        "check the address; `--server` and CHORUS_SERVER go before the profile".to_owned()
    };
    Error::new(Exit::Unreachable, format!("cannot reach {address}: {why}")).hint(hint)
}
