//! `/api/rest/v1/workbenches/{id}/stream/…`: a desktop in the browser, through this server.
//!
//! ```text
//! browser ──► route ──► caller (bearer, cookie, ticket) ──► streamWorkbench? ──► books ──► row ──► Runtime::connect
//!    ▲                                                                            │                     │
//!    └─────────── confined answer, or a tunnel for the WebSocket ◄────────────────┴──── one exchange ◄──┘
//! ```
//!
//! What always holds:
//! - the desktop is not trusted: it learns no credential, and its pages reach nothing of ours but their own stream;
//! - an exchange or tunnel ends within a second of the session, the role or the desktop, see [`open`];
//! - no body is collected, no request is sent twice, and whoever does not read slows the other side down;
//! - nothing logs an address with its query, which may hold a ticket.

mod forward;
mod frames;
mod headers;
mod input;
mod notice;
pub mod open;
mod route;
mod row;
mod tunnel;
pub mod usage;

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    forward::{Answer, Metered},
    headers::{Confinement, Place},
    notice::{Notice, is_navigation},
    open::{Lease, Open},
    row::Workbench,
    usage::{Meter, Usage},
};
use super::{
    cors::{Origins, opens_socket},
    edge::Trail,
    headers::Framed,
    origin::Origin,
};
use crate::server::{
    access::{caller::Caller, stream_pass, token},
    config::Config,
    db::Db,
    error::{Error, Kind, Result},
    pipeline::{Authorized, Call, Shared, desktop},
    runtime::{PodStatus, RuntimeError, SharedRuntime},
    telemetry,
};
pub use route::Route;

/// How long the runtime may take to reach a desktop.
const CONNECT: Duration = Duration::from_secs(5);
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const DNS_PREFETCH: HeaderName = HeaderName::from_static("x-dns-prefetch-control");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// What is done when somebody opens the page of a desktop, besides showing it.
pub type OnOpen = Arc<dyn Fn(Authorized, i64) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// The proxy. Clones are the same one.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    db: Db,
    config: Arc<Config>,
    runtime: SharedRuntime,
    origins: Origins,
    confinement: Confinement,
    open: Arc<Open>,
    usage: Usage,
    pool: Arc<tunnel::Pool>,
    on_open: OnOpen,
}

/// What of a request decides how it is answered.
struct Asked {
    route: Route,
    place: Place,
    as_page: bool,
    socket: bool,
    /// It comes from a page of this server, as that of a desktop is.
    own: bool,
}

impl Streams {
    /// A proxy to the desktops of this runtime.
    pub fn new(
        shared: Arc<Shared>,
        db: Db,
        config: Arc<Config>,
        runtime: SharedRuntime,
        origins: Origins,
        on_open: OnOpen,
    ) -> Self {
        let (open, usage) = (Open::new(shared.clone(), db.clone()), Usage::new(db.clone()));
        let confinement = Confinement::new(&config);
        let pool = Arc::default();
        Self(Arc::new(Inner { shared, db, config, runtime, origins, confinement, open, usage, pool, on_open }))
    }

    /// Watches the open streams and stores what is counted, until it is stopped.
    pub fn start(&self) -> Running {
        let (this, stop) = (self.0.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let storing = tokio::spawn(async move {
            let mut tick = interval_at(Instant::now() + usage::EVERY, usage::EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stopped.run_until_cancelled(tick.tick()).await.is_some() {
                this.store().await;
            }
        });
        Running { streams: self.clone(), stop, storing, watching: tokio::spawn(self.0.open.clone().watch()) }
    }

    /// Stores what was counted, now.
    pub async fn store(&self) {
        self.0.store().await;
    }

    /// How many exchanges and tunnels are open.
    pub fn open(&self) -> usize {
        self.0.open.count()
    }

    /// Answers a request for this route.
    pub async fn answer(&self, route: Route, request: Request<Body>) -> Response {
        let this = &self.0;
        let started = Instant::now();
        let trail = Trail::of(request.extensions());
        let call =
            desktop::call(&this.shared, request.headers(), request.extensions().get::<Origin>(), route.workbench);
        let asked = Asked {
            place: Place::of(&request, &this.shared, &this.config),
            as_page: is_navigation(&request),
            socket: opens_socket(&request),
            own: this.origins.is_own(&request),
            route,
        };
        let outcome = this.clone().serve(&call, &asked, request).await;
        let reason = outcome.as_ref().err().map(|notice| notice.error.reason());
        let response = outcome.unwrap_or_else(|notice| notice.answer(&call.instance, asked.as_page, &this.confinement));
        let kind = if asked.socket { "websocket" } else { "http" };
        telemetry::stream_request(kind, response.status());
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "chorus::stream", request_id = &*call.request_id, workbench = asked.route.workbench, kind,
            status = response.status().as_u16(), ms, reason, "answered"
        );
        trail.passed_the_gate();
        response
    }
}

impl Inner {
    async fn store(&self) {
        if let Err(error) = self.usage.store().await {
            tracing::warn!(target: "chorus::stream", %error, "the use of workbenches was not stored, is tried again");
        }
    }

    async fn serve(
        self: Arc<Self>,
        call: &Arc<Call>,
        asked: &Asked,
        request: Request<Body>,
    ) -> Result<Response, Notice> {
        let Some(rest) = &asked.route.rest else { return Ok(asked.route.with_slash(request.uri().query())) };
        self.check(asked, &request)?;
        if let Some((ticket, query)) = route::ticket(request.uri().query()) {
            if request.method() != Method::GET || asked.socket {
                let text = "A ticket opens the page of a desktop, by GET; the page then has a cookie for the rest.";
                return Err(Error::invalid("TICKET_MISPLACED", text).into());
            }
            return self.redeem(call, asked, ticket, &query, request.headers()).await;
        }
        let caller = self.caller(call, asked.route.workbench, request.headers()).await?;
        let opens = asked.as_page || asked.socket && !asked.own;
        let outcome = self.clone().admitted(call, &caller, asked, rest, request).await;
        let error = outcome.as_ref().err().map(|notice| &notice.error);
        if opens || error.is_some_and(|error| error.kind() == Kind::PermissionDenied) {
            desktop::record(call, &caller, error).await;
        }
        outcome
    }

    /// Refuses what no page of a desktop needs and others could abuse.
    fn check(&self, asked: &Asked, request: &Request<Body>) -> Result<()> {
        self.origins.check(request)?;
        let headers = request.headers();
        let is = |name: &HeaderName, value: &str| headers.get(name).is_some_and(|v| v.as_bytes() == value.as_bytes());
        if [Method::CONNECT, Method::TRACE].contains(request.method()) {
            let text = "Desktops are opened by GET, and their pages send POST and the like.";
            return Err(Error::new(Kind::MethodNotAllowed, "METHOD_NOT_ALLOWED", text));
        }
        // it would outlive the page, and answer for the next desktop at this address
        if headers.contains_key(SERVICE_WORKER) {
            return Err(Error::denied("SERVICE_WORKER_REFUSED", "Pages of desktops cannot install service workers."));
        }
        // pictures and scripts for a page elsewhere; frames are the business of `frame-ancestors`
        let elsewhere = is(&SEC_FETCH_SITE, "cross-site") || is(&SEC_FETCH_SITE, "same-site");
        if elsewhere && !is(&SEC_FETCH_MODE, "navigate") && !headers.contains_key(header::ORIGIN) {
            let text = "What belongs to a desktop is for its own page only.";
            return Err(Error::denied("CROSS_SITE_REQUEST", text));
        }
        if asked.socket && request.version() != Version::HTTP_11 {
            let text = "WebSockets of desktops are opened over HTTP/1.1.";
            return Err(Error::new(Kind::InvalidRequest, "WEBSOCKET_VERSION", text));
        }
        Ok(())
    }

    /// Who asks: whoever the header or cookie of a session names, or else the cookie that a ticket was exchanged for. Two
    /// people may share a browser, so a session that may not do this does not hide a cookie that may.
    async fn caller(&self, call: &Arc<Call>, workbench: i64, headers: &HeaderMap) -> Result<Arc<Caller>> {
        let own = match token::credential(headers)? {
            Some(presented) => self.shared.sessions.authenticate(presented, call.address, call.now).await,
            None => Err(token::missing()),
        };
        let may = |caller: &Result<Arc<Caller>>| {
            caller.as_ref().is_ok_and(|caller| desktop::admit(call, caller, workbench).is_ok())
        };
        let pass = token::cookie(headers, stream_pass::COOKIE).filter(|_| !headers.contains_key(header::AUTHORIZATION));
        let Some(pass) = pass.filter(|_| !may(&own)) else { return own };
        let Some(maker) = stream_pass::maker(&self.db, pass, workbench, call.now).await? else { return own };
        let by_pass = self.shared.sessions.behind(&maker, call.address, call.now).await;
        if may(&by_pass) { by_pass } else { own }
    }

    /// Exchanges a ticket for a cookie, and sends the browser to the same address without it.
    async fn redeem(
        &self,
        call: &Arc<Call>,
        asked: &Asked,
        ticket: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Notice> {
        let (workbench, now) = (asked.route.workbench, call.now);
        let redeemed = stream_pass::redeem(&self.db, ticket, workbench, &*self.shared.random, now).await?;
        let Some((maker, fresh)) = redeemed else {
            // it was used, but not in vain: somebody went back to its address, or reloads it
            let caller = self.caller(call, workbench, headers).await.ok();
            return match caller.filter(|caller| desktop::admit(call, caller, workbench).is_ok()) {
                Some(_) => Ok(asked.route.without_ticket(query)),
                None => {
                    let text = "The ticket was used already, has ended, or is for another workbench. Ask for a new one: \
                                chorus open, or open the desktop from the web client.";
                    Err(Error::unauthenticated("TICKET_INVALID", text).into())
                }
            };
        };
        // a ticket is worth what its maker is, who may be gone by now
        let caller = self.shared.sessions.behind(&maker, call.address, now).await?;
        desktop::admit(call, &caller, workbench)?;
        let path = format!("{}{}/", self.confinement.base(), asked.route.prefix());
        let cookie =
            self.shared.cookie.set_other(stream_pass::COOKIE, fresh.secret.expose_secret(), &path, fresh.expires_at)?;
        let mut response = asked.route.without_ticket(query);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    }

    async fn admitted(
        self: Arc<Self>,
        call: &Arc<Call>,
        caller: &Arc<Caller>,
        asked: &Asked,
        rest: &str,
        request: Request<Body>,
    ) -> Result<Response, Notice> {
        let id = asked.route.workbench;
        let authorized = desktop::admit(call, caller, id)?;
        if asked.as_page && !call.only_looks {
            (self.on_open)(authorized, id).await?;
        }
        // before anything is read, so that no end is missed
        let lease = self.open.enter(caller, id)?;
        let workbench = Workbench::find(&self.db, caller, id).await?;
        {
            let mut subjects = call.subjects();
            (subjects.workspace, subjects.verified) = (Some(workbench.workspace_id), true);
            subjects.detail("workbench_name", &workbench.name);
            subjects.detail("workspace_id", &workbench.workspace_id.to_string());
        }
        if let Some(why) = workbench.stopped() {
            let text = format!("{}: {why}. It can be started again; this page then shows it.", workbench.name);
            return Err(Notice::gone(Error::new(Kind::Conflict, "WORKBENCH_STOPPED", text)));
        }
        let meter = self.usage.meter(id);
        meter.request(call.now);
        self.exchange(asked, &workbench, rest, request, lease, meter).await
    }

    async fn exchange(
        self: Arc<Self>,
        asked: &Asked,
        workbench: &Workbench,
        rest: &str,
        mut request: Request<Body>,
        lease: Lease,
        meter: Arc<Meter>,
    ) -> Result<Response, Notice> {
        let connected = timeout(CONNECT, self.runtime.connect(workbench.of())).await;
        let stream = connected
            .unwrap_or_else(|_| Err(RuntimeError::transient("Timeout", "it does not answer")))
            .map_err(|error| not_ready(workbench, &error))?;
        let browser = asked.socket.then(|| hyper::upgrade::on(&mut request));
        let to_desktop = self.to_desktop(asked, rest, request, &lease, meter.clone())?;
        let end = lease.end().clone();
        let Answer { mut response, connection } = tokio::select! {
            answer = forward::exchange(stream, to_desktop) => answer.map_err(|error| broken(workbench, error))?,
            why = end.comes() => return Err(ended(why).into()),
        };
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = headers::from_desktop(response.headers(), upgraded);
        self.confine(&mut answer, asked, workbench, rest, response.headers())?;
        match (upgraded, browser) {
            (true, Some(browser)) => {
                let desktop = hyper::upgrade::on(&mut response);
                let context = tunnel::Context { pool: self.pool.clone(), meter, clock: self.shared.clock.clone() };
                let workbench = asked.route.workbench;
                tokio::spawn(async move {
                    let Ok((browser, desktop)) = tokio::try_join!(browser, desktop) else { return };
                    let (browser, desktop) = (TokioIo::new(browser), TokioIo::new(desktop));
                    let ended = tunnel::run(browser, desktop, &context, lease.end()).await;
                    tracing::debug!(target: "chorus::stream", workbench, ended = ended.name(), "a tunnel ended");
                    drop((lease, connection));
                });
            }
            (true, None) => return Err(broken(workbench, "it switched protocols unasked").into()),
            (false, _) => *answer.body_mut() = Metered::down(response.into_body(), meter, lease, connection),
        }
        Ok(answer)
    }

    fn to_desktop(
        &self,
        asked: &Asked,
        rest: &str,
        request: Request<Body>,
        lease: &Lease,
        meter: Arc<Meter>,
    ) -> Result<Request<Body>> {
        let (head, body) = request.into_parts();
        let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = Request::new(Metered::up(body, meter, lease));
        *request.method_mut() = head.method;
        *request.uri_mut() = format!("{rest}{query}").parse().map_err(Error::internal)?;
        let prefix = asked.route.prefix();
        *request.headers_mut() =
            headers::to_desktop(&head.headers, &asked.place, asked.route.workbench, &prefix, asked.socket);
        Ok(request)
    }

    /// Says what the browser may do with the answer of a desktop.
    fn confine(
        &self,
        answer: &mut Response,
        asked: &Asked,
        workbench: &Workbench,
        rest: &str,
        said: &HeaderMap,
    ) -> Result<()> {
        answer.extensions_mut().insert(Framed);
        let policy = self.confinement.desktop(&asked.place, &asked.route.prefix());
        let headers = answer.headers_mut();
        for (name, value) in [(header::CONTENT_SECURITY_POLICY, policy), (PERMISSIONS_POLICY, workbench.permissions())]
        {
            headers.insert(name, HeaderValue::try_from(value).map_err(Error::internal)?);
        }
        headers.insert(DNS_PREFETCH, HeaderValue::from_static("off"));
        if let Some(location) = said.get(header::LOCATION) {
            let location = headers::redirect(location, rest).ok_or_else(|| broken(workbench, "it leads elsewhere"))?;
            headers.insert(header::LOCATION, location);
        }
        Ok(())
    }
}

/// Nothing connects the server to the desktop (yet).
fn not_ready(workbench: &Workbench, why: &RuntimeError) -> Notice {
    let (status, message) = (&workbench.server_pod_status, &workbench.server_pod_message);
    // what was observed tells more than that nothing connects, unless that is for good, or news
    let text = match (why.transient && status != PodStatus::Ready.as_str(), message.trim_end_matches('.')) {
        (false, _) => format!("{}: {}", workbench.name, why.message),
        (true, "") => format!("{}: {status}.", workbench.name),
        (true, message) => format!("{}: {status}, {message}.", workbench.name),
    };
    let error = Error::new(Kind::Unavailable, "DESKTOP_NOT_READY", text).retry_after(Duration::from_secs(2));
    match why.transient {
        true => Notice::starting(error),
        false => error.into(),
    }
}

/// The desktop was reached, and did not keep to HTTP.
fn broken(workbench: &Workbench, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let text =
        format!("The desktop of {} answers, but not as it should. It may be starting or ending.", workbench.name);
    Error::new(Kind::Unavailable, "DESKTOP_BROKEN", text).retry_after(Duration::from_secs(2)).because(why)
}

/// The right to it, the desktop or the server ended before the desktop answered.
fn ended(why: open::Why) -> Error {
    let text = "Your session or your right to this desktop ended, or the desktop did.";
    let kind = if why == open::Why::Access { Kind::PermissionDenied } else { Kind::Unavailable };
    Error::new(kind, why.close().1, text)
}

/// The proxy at work.
pub struct Running {
    streams: Streams,
    stop: CancellationToken,
    storing: JoinHandle<()>,
    watching: JoinHandle<()>,
}

impl Running {
    /// The proxy.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Ends every stream. To be called first, since listeners wait for answers that are under way.
    pub async fn close(&self) {
        self.streams.0.open.stop().await;
    }

    /// Stores what was counted, and stops.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::try_join!(self.storing, self.watching).is_err() {
            tracing::error!(target: "chorus::stream", "the proxy failed");
        }
        self.streams.store().await;
    }
}
