//! The gate in front of every handler.
//!
//! [`Gate::unary`] and [`Gate::stream`] find the caller and hand the request on as [`Arrived`], which admits it by the
//! RPC's rule and checks it. Around it all: the audit record of a refusal or failure, the log line, the metrics, and the
//! guard against panics.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use futures_util::FutureExt;
use http::{HeaderMap, header};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

use super::{
    Items, Replies,
    admission::{Arrived, Plan, refuse_tokens},
    call::Call,
    rpc::{Rpc, When},
};
use crate::server::{
    access::{
        audit,
        caller::Caller,
        kiosk::Kiosk,
        password::Hasher,
        seal::Sealer,
        sessions::Sessions,
        throttle::Throttle,
        token::{self, CookiePolicy},
    },
    clock::Clock,
    config::Network,
    desktops::Desktops,
    error::{Error, Kind, Result},
    random::Random,
    transport::origin::Origin,
};

/// What every call shares.
pub struct Shared {
    /// Tokens, sessions and callers.
    pub sessions: Sessions,
    /// How the cookie of a session is set and removed.
    pub cookie: CookiePolicy,
    /// Records of refused and failed calls.
    pub audit: audit::Writer,
    /// Password hashing on a bounded pool.
    pub hasher: Hasher,
    /// Wrong passwords and codes, counted.
    pub throttle: Throttle,
    /// Secrets that the database keeps.
    pub sealer: Sealer,
    /// Tokens with which app instances sign in their users.
    pub kiosk: Kiosk,
    /// Tells who waits for changes of desktops.
    pub desktops: Desktops,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids and secrets.
    pub random: Arc<dyn Random>,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: Vec<Network>,
}

/// The gate.
pub struct Gate(Arc<Shared>);

/// A call that is under way. Dropped before its end (the deadline passed, or the client went away) it is logged, counted
/// and recorded all the same.
struct Running<'a> {
    call: &'a Call,
    caller: &'a Caller,
    started: Instant,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let error = Error::new(Kind::DeadlineExceeded, "ABANDONED", "The deadline passed, or the client went away.");
        if self.call.rpc.audit != When::Never && !self.call.recorded.load(Ordering::Acquire) {
            self.call.shared.audit.write_later(audit::Record::of(self.call, self.caller, Some(&error)));
        }
        log(self.call, Some(self.caller), Some(&error), self.started);
    }
}

impl Gate {
    /// A gate over what calls share.
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self(shared))
    }

    /// Serves a unary RPC. `body` admits the caller by the rule of the RPC and calls the handler.
    pub async fn unary<Q, R, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        body: impl FnOnce(Arrived<Q>) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        Q: Send + 'static,
        F: Future<Output = Result<R>> + Send,
    {
        self.run(plan, request, body).await
    }

    /// Serves a streaming RPC. While the stream is open the rule is checked again whenever access changed somewhere; it
    /// ends within a second of the caller losing the right.
    pub async fn stream<Q, T, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        body: impl FnOnce(Arrived<Q>) -> F + Send,
    ) -> Result<Response<Replies<T>>, Status>
    where
        Q: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Result<Items<T>>> + Send,
    {
        let run = |arrived: Arrived<Q>| async move {
            let (call, caller) = (arrived.call.clone(), arrived.caller.clone());
            Ok(super::watch::guarded(body(arrived).await?, call, caller))
        };
        self.run(plan, request, run).await
    }

    async fn run<Q, R, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        body: impl FnOnce(Arrived<Q>) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        F: Future<Output = Result<R>> + Send,
    {
        let started = Instant::now();
        let (metadata, extensions, q) = request.into_parts();
        let headers = metadata.into_headers();
        let call = Arc::new(Call::new(self.0.clone(), plan.rpc, &headers, extensions.get::<Origin>()));
        (plan.subjects)(&q, &mut call.subjects());

        let caller = match self.find_caller(&call, &headers).await {
            Ok(caller) => caller,
            Err(error) => {
                // no valid credential: nobody to record
                log(&call, None, Some(&error), started);
                return Err(self.no_caller(&call, error));
            }
        };
        let run = async {
            closed_to_restricted(&caller, call.rpc)?;
            if call.rpc.session_only {
                refuse_tokens(&caller)?;
            }
            body(Arrived { plan, call: call.clone(), caller: caller.clone(), request: q }).await
        };
        let mut running = Running { call: &call, caller: &caller, started, ended: false };
        let result = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)));
        self.record(&call, &caller, result.as_ref().err()).await;
        running.ended = true;
        log(&call, Some(&caller), result.as_ref().err(), started);

        let mut response = Response::new(result.map_err(|error| error.into_status(&call.instance))?);
        let headers = std::mem::take(&mut *call.headers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name, value);
        }
        *response.metadata_mut() = MetadataMap::from_headers(all);
        Ok(response)
    }

    async fn find_caller(&self, call: &Call, headers: &HeaderMap) -> Result<Arc<Caller>> {
        let found = match token::credential(headers) {
            Ok(Some(presented)) => self.0.sessions.authenticate(presented, call.address, call.now).await,
            Ok(None) => Err(token::missing()),
            Err(error) => Err(error),
        };
        if let Ok(caller) = &found
            && let Some(session) = caller.session()
            && token::is_from_cookie(headers)
        {
            let _ = call.cookie_session.set(session.clone());
        }
        match found {
            // a bad credential, or one that opens less, does not close public doors; a missing database does
            Err(error) if call.rpc.public && error.kind() == Kind::Unauthenticated => {
                call.bad_credential.store(error.reason() != token::MISSING, Ordering::Release);
                Ok(self.0.sessions.visitor())
            }
            Ok(caller) if call.rpc.public && caller.is_restricted() => Ok(self.0.sessions.visitor()),
            found => found,
        }
    }

    /// The answer to a call without a caller. Who signs out of a session that has ended means to be rid of its cookie.
    fn no_caller(&self, call: &Call, error: Error) -> Status {
        let dead = error.kind() == Kind::Unauthenticated;
        let mut status = error.into_status(&call.instance);
        if dead
            && call.rpc.signs_out
            && let Ok(cookie) = self.0.cookie.clear()
        {
            let mut headers = std::mem::take(status.metadata_mut()).into_headers();
            headers.insert(header::SET_COOKIE, cookie);
            *status.metadata_mut() = MetadataMap::from_headers(headers);
        }
        status
    }

    /// Records the call unless its change did. The record of a refusal or failure is written before the reply leaves.
    async fn record(&self, call: &Call, caller: &Caller, error: Option<&Error>) {
        let due = match (call.rpc.audit, error) {
            (When::Never, _) | (When::Failure, None) => false,
            (_, Some(_)) => true,
            (When::Always, None) => !call.recorded.load(Ordering::Acquire),
        };
        if due {
            self.0.audit.write(audit::Record::of(call, caller, error)).await;
        }
    }
}

/// Refuses a session that can only change a temporary password, except where that is done.
pub(super) fn closed_to_restricted(caller: &Caller, rpc: &Rpc) -> Result<()> {
    match caller.is_restricted() && !rpc.restricted {
        true => Err(Error::denied(
            "PASSWORD_CHANGE_REQUIRED",
            "This session was opened with a temporary password. Change the password, then go on.",
        )),
        false => Ok(()),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text =
        panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    Error::internal(format!("panic: {}", text.unwrap_or_default()))
}

/// One line per call. Never a token, a query or a value of the request. An API token is named by its id.
fn log(call: &Call, caller: Option<&Caller>, error: Option<&Error>, started: Instant) {
    let code = error.map_or(Code::Ok, |e| e.kind().code());
    let took = started.elapsed();
    crate::server::telemetry::call_finished(call.rpc.name, code, took.as_secs_f64());
    let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
    let (rpc, request_id, code) = (call.rpc.name, &*call.request_id, code as i32);
    let token = caller.and_then(Caller::token).map(|token| token.id);
    let caller = caller.map_or(0, Caller::id);
    match error {
        None => tracing::info!(target: "chorus::call", rpc, request_id, caller, token, code, ms, "done"),
        Some(e) if e.kind() == Kind::Internal => {
            let cause = e.cause().map(tracing::field::display);
            tracing::error!(target: "chorus::call", rpc, request_id, caller, token, code, ms, reason = e.reason(), cause, "failed");
        }
        Some(e) => {
            let cause = e.cause().map(tracing::field::display);
            tracing::info!(target: "chorus::call", rpc, request_id, caller, token, code, ms, reason = e.reason(), cause, "refused");
        }
    }
}
