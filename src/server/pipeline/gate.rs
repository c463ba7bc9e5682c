//! The gate in front of every handler.
//!
//! [`Gate::unary`] and its siblings take the request and the RPC's [`Plan`] and do, in this order: find the caller, check
//! the access rule, clear ignored fields, check the request, call the handler (which checks a `custom` rule itself). Around it all: the audit record of a
//! refusal or failure, the log line, the metrics, and the guard against panics.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt;
use http::{HeaderMap, header};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

use super::{
    Items, Replies,
    call::{Authorized, Call, Pending, Subjects},
    rpc::{Rpc, When},
    rules::Violations,
};
use crate::server::{
    access::{
        address, audit,
        caller::Caller,
        catalogue::Permission,
        decide::{Roles, Visible, denied},
        password::Hasher,
        sessions::Sessions,
        token,
    },
    clock::Clock,
    config::Network,
    error::{Error, Kind, Result},
    random::Random,
    transport::origin::Origin,
};

/// What every call shares.
pub struct Shared {
    /// The roles and what they grant.
    pub roles: Roles,
    /// Tokens, sessions and callers.
    pub sessions: Sessions,
    /// Records of refused and failed calls.
    pub audit: audit::Writer,
    /// Password hashing on a bounded pool.
    pub hasher: Hasher,
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
        log(self.call, self.caller.id(), Some(&error), self.started);
    }
}

/// What the contract says of one RPC, as functions over its request.
pub struct Plan<Q> {
    /// What is called.
    pub rpc: &'static Rpc,
    /// Clears the fields that the request must not carry.
    pub clear: fn(&mut Q),
    /// Checks the fields that the request must carry.
    pub required: fn(&Q, &mut Violations),
    /// Checks the shape of the values.
    pub check: fn(&Q, &mut Violations),
    /// What the request says it acts upon.
    pub subjects: fn(&Q, &mut Subjects),
}

/// Who may call.
pub enum Rule<Q: 'static> {
    /// Everybody.
    Anyone,
    /// Everybody who is signed in.
    SignedIn,
    /// Holders of every one of these.
    All(&'static [Need<Q>]),
    /// The ids of the request must each be allowed; without any, the handler is told what is.
    List {
        /// What makes an entry visible.
        permission: Permission,
        /// The ids that the request asks for.
        ids: fn(&Q) -> &[u64],
        /// What the list itself needs.
        also: Option<Permission>,
    },
    /// The handler asks for some of these.
    Custom(&'static [Permission]),
}

/// A permission and the place of its context in the request.
pub struct Need<Q> {
    /// The permission.
    pub permission: Permission,
    /// The place of its context.
    pub target: TargetOf<Q>,
}

/// Where the context of a permission comes from.
pub enum TargetOf<Q> {
    /// It needs none.
    None,
    /// The caller.
    Caller,
    /// A field of the request.
    Field(fn(&Q) -> u64),
}

/// The context of a permission, found.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// None needed.
    Nothing,
    /// The caller.
    Caller,
    /// This id.
    Id(i64),
}

/// The id in a request field; an id that no row can have is none.
pub fn id(field: Option<&u64>) -> Option<i64> {
    field.and_then(|n| i64::try_from(*n).ok()).filter(|n| *n > 0)
}

impl Gate {
    /// A gate over what calls share.
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self(shared))
    }

    /// A handler whose access rule the gate checks alone.
    pub async fn unary<Q, R, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        rule: Rule<Q>,
        handler: impl FnOnce(Authorized, Q) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        Q: Send + 'static,
        F: Future<Output = Result<R>> + Send,
    {
        let run = |call, caller, mut q: Q| async move {
            let by = admit(&rule, &call, &caller, &q)?;
            validate(plan, &mut q)?;
            handler(by, q).await
        };
        self.run(plan, request, run).await
    }

    /// A handler of a list, which is told what the caller may see.
    pub async fn unary_list<Q, R, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        rule: Rule<Q>,
        handler: impl FnOnce(Authorized, Visible, Q) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        Q: Send + 'static,
        F: Future<Output = Result<R>> + Send,
    {
        let run = |call: Arc<Call>, caller: Arc<Caller>, mut q: Q| async move {
            let (by, visible) = admit_list(&rule, &call, &caller, &q)?;
            validate(plan, &mut q)?;
            handler(by, visible, q).await
        };
        self.run(plan, request, run).await
    }

    /// A handler that decides itself, through [`Pending`].
    pub async fn unary_pending<Q, R, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        rule: Rule<Q>,
        handler: impl FnOnce(Pending, Q) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        Q: Send + 'static,
        F: Future<Output = Result<R>> + Send,
    {
        let run = |call, caller, mut q: Q| async move {
            let Rule::Custom(allowed) = rule else { return Err(Error::internal("not a custom rule")) };
            validate(plan, &mut q)?;
            handler(Pending { call, caller, allowed }, q).await
        };
        self.run(plan, request, run).await
    }

    /// A handler whose access rule needs ids from stored rows: `resolve` reads them for the caller's tenant.
    pub async fn unary_resolved<Q, R, F, W>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        resolve: impl FnOnce(Arc<Caller>, Q) -> W + Send,
        handler: impl FnOnce(Authorized, Q) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        Q: Send + 'static,
        F: Future<Output = Result<R>> + Send,
        W: Future<Output = Result<(Vec<(Permission, Wanted)>, Q)>> + Send,
    {
        let run = |call: Arc<Call>, caller: Arc<Caller>, q: Q| async move {
            let (needs, mut q) = resolve(caller.clone(), q).await?;
            let by = hold(&needs, &call, &caller)?;
            validate(plan, &mut q)?;
            handler(by, q).await
        };
        self.run(plan, request, run).await
    }

    /// An RPC without a room: the caller is found and, as far as the request alone tells, authorized.
    pub async fn planned<Q, R>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        rule: Rule<Q>,
    ) -> Result<Response<R>, Status>
    where
        Q: Send + 'static,
    {
        let run = |call: Arc<Call>, caller: Arc<Caller>, q: Q| async move {
            match &rule {
                Rule::List { .. } => drop(admit_list(&rule, &call, &caller, &q)?),
                rule => drop(admit(rule, &call, &caller, &q)?),
            }
            Err::<R, _>(Error::new(
                Kind::Unimplemented,
                "NOT_BUILT",
                format!("{} is part of the contract but not built yet.", plan.rpc.name),
            ))
        };
        self.run(plan, request, run).await
    }

    /// A streaming handler whose access rule the gate checks alone. While the stream is open the rule is checked again
    /// whenever access changed somewhere; it ends within a second of the caller losing the right.
    pub async fn stream<Q, T, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        rule: Rule<Q>,
        handler: impl FnOnce(Authorized, Q) -> F + Send,
    ) -> Result<Response<Replies<T>>, Status>
    where
        Q: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Result<Items<T>>> + Send,
    {
        let run = |call: Arc<Call>, caller: Arc<Caller>, mut q: Q| async move {
            let needs = needs_of(&rule, &q);
            let by = admit(&rule, &call, &caller, &q)?;
            validate(plan, &mut q)?;
            let items = handler(by, q).await?;
            Ok(super::watch::guarded(items, call, caller, Some(needs)))
        };
        self.run(plan, request, run).await
    }

    /// A streaming list. The stream ends with ABORTED when the caller's roles change, since what is visible may differ.
    pub async fn stream_list<Q, T, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        rule: Rule<Q>,
        handler: impl FnOnce(Authorized, Visible, Q) -> F + Send,
    ) -> Result<Response<Replies<T>>, Status>
    where
        Q: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Result<Items<T>>> + Send,
    {
        let run = |call: Arc<Call>, caller: Arc<Caller>, mut q: Q| async move {
            let (by, visible) = admit_list(&rule, &call, &caller, &q)?;
            validate(plan, &mut q)?;
            let items = handler(by, visible, q).await?;
            Ok(super::watch::guarded(items, call, caller, None))
        };
        self.run(plan, request, run).await
    }

    /// A streaming handler that decides itself. The stream ends with ABORTED when the caller's roles change.
    pub async fn stream_pending<Q, T, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        rule: Rule<Q>,
        handler: impl FnOnce(Pending, Q) -> F + Send,
    ) -> Result<Response<Replies<T>>, Status>
    where
        Q: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Result<Items<T>>> + Send,
    {
        let run = |call: Arc<Call>, caller: Arc<Caller>, mut q: Q| async move {
            let Rule::Custom(allowed) = rule else { return Err(Error::internal("not a custom rule")) };
            validate(plan, &mut q)?;
            let items = handler(Pending { call: call.clone(), caller: caller.clone(), allowed }, q).await?;
            Ok(super::watch::guarded(items, call, caller, None))
        };
        self.run(plan, request, run).await
    }

    /// A streaming handler whose access rule needs ids from stored rows.
    pub async fn stream_resolved<Q, T, F, W>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        resolve: impl FnOnce(Arc<Caller>, Q) -> W + Send,
        handler: impl FnOnce(Authorized, Q) -> F + Send,
    ) -> Result<Response<Replies<T>>, Status>
    where
        Q: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Result<Items<T>>> + Send,
        W: Future<Output = Result<(Vec<(Permission, Wanted)>, Q)>> + Send,
    {
        let run = |call: Arc<Call>, caller: Arc<Caller>, q: Q| async move {
            let (needs, mut q) = resolve(caller.clone(), q).await?;
            let by = hold(&needs, &call, &caller)?;
            validate(plan, &mut q)?;
            let items = handler(by, q).await?;
            Ok(super::watch::guarded(items, call, caller, Some(needs)))
        };
        self.run(plan, request, run).await
    }

    async fn run<Q, R, F>(
        &self,
        plan: &'static Plan<Q>,
        request: Request<Q>,
        body: impl FnOnce(Arc<Call>, Arc<Caller>, Q) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        F: Future<Output = Result<R>> + Send,
    {
        let started = Instant::now();
        let (metadata, extensions, q) = request.into_parts();
        let headers = metadata.into_headers();
        let call = Arc::new(self.call(plan.rpc, &headers, extensions.get::<Origin>()));
        (plan.subjects)(&q, &mut call.subjects());

        let caller = match self.find_caller(&call, &headers).await {
            Ok(caller) => caller,
            Err(error) => {
                // no valid credential: nobody to record
                log(&call, 0, Some(&error), started);
                return Err(error.into_status(&call.instance));
            }
        };
        let run = async {
            if caller.is_restricted() && !call.rpc.restricted {
                return Err(Error::denied(
                    "PASSWORD_CHANGE_REQUIRED",
                    "This session was opened with a temporary password. Change the password, then go on.",
                ));
            }
            body(call.clone(), caller.clone(), q).await
        };
        let mut running = Running { call: &call, caller: &caller, started, ended: false };
        let result = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)));
        self.record(&call, &caller, result.as_ref().err()).await;
        running.ended = true;
        log(&call, caller.id(), result.as_ref().err(), started);

        let mut response = Response::new(result.map_err(|error| error.into_status(&call.instance))?);
        let headers = std::mem::take(&mut *call.headers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name, value);
        }
        *response.metadata_mut() = MetadataMap::from_headers(all);
        Ok(response)
    }

    fn call(&self, rpc: &'static Rpc, headers: &HeaderMap, origin: Option<&Origin>) -> Call {
        let user_agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Call {
            rpc,
            request_id: origin.map_or_else(|| self.0.random.uuid().to_string().into(), |o| o.request_id.clone()),
            instance: origin.map_or_else(|| rpc.path.into(), |o| o.instance.clone()),
            address: address::client(origin.and_then(|o| o.peer), headers, &self.0.trusted_proxies),
            user_agent: user_agent.chars().take(256).collect(),
            now: self.0.clock.now(),
            shared: self.0.clone(),
            record: Mutex::new(Subjects::default()),
            recorded: AtomicBool::new(false),
            bad_credential: AtomicBool::new(false),
            headers: Mutex::new(Vec::new()),
        }
    }

    async fn find_caller(&self, call: &Call, headers: &HeaderMap) -> Result<Arc<Caller>> {
        let found = match token::credential(headers) {
            Ok(Some(token)) => self.0.sessions.authenticate(token, call.now).await,
            Ok(None) => Err(token::missing()),
            Err(error) => Err(error),
        };
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

/// Checks every rule but those of lists.
fn admit<Q>(rule: &Rule<Q>, call: &Arc<Call>, caller: &Arc<Caller>, q: &Q) -> Result<Authorized> {
    match rule {
        Rule::Anyone => {}
        Rule::SignedIn | Rule::Custom(_) | Rule::List { .. } if caller.is_visitor() && !call.rpc.public => {
            return Err(token::missing());
        }
        Rule::SignedIn | Rule::Custom(_) | Rule::List { .. } => {}
        Rule::All(needs) => {
            for need in *needs {
                hold_one(need.permission, need.target.of(q), call, caller)?;
            }
        }
    }
    Ok(Authorized { call: call.clone(), caller: caller.clone() })
}

fn hold(needs: &[(Permission, Wanted)], call: &Arc<Call>, caller: &Arc<Caller>) -> Result<Authorized> {
    for (permission, wanted) in needs {
        hold_one(*permission, *wanted, call, caller)?;
    }
    Ok(Authorized { call: call.clone(), caller: caller.clone() })
}

/// Whether the caller holds one permission.
pub(super) fn hold_one(permission: Permission, wanted: Wanted, call: &Call, caller: &Caller) -> Result<()> {
    let target = match wanted {
        Wanted::Nothing => None,
        Wanted::Caller => permission.requires().map(|dimension| (dimension, caller.id())),
        Wanted::Id(id) => permission.requires().map(|dimension| (dimension, id)),
    };
    match caller.may(&call.shared.roles, permission, target) {
        true => Ok(()),
        false => Err(denied(permission, target)),
    }
}

/// Checks the rule of a list: ids that are asked for must all be allowed; without any, the reply is cut to what is.
fn admit_list<Q>(rule: &Rule<Q>, call: &Arc<Call>, caller: &Arc<Caller>, q: &Q) -> Result<(Authorized, Visible)> {
    let Rule::List { permission, ids, also } = rule else { return Err(Error::internal("not a list rule")) };
    if let Some(also) = also {
        hold_one(*also, Wanted::Nothing, call, caller)?;
    }
    let asked = ids(q);
    let allowed = caller.visible(&call.shared.roles, *permission);
    let visible = if asked.is_empty() {
        allowed
    } else {
        let asked: Vec<i64> = asked.iter().map(|n| i64::try_from(*n).unwrap_or_default()).collect();
        for id in &asked {
            if !allowed.contains(*id) {
                return Err(denied(*permission, permission.requires().map(|dimension| (dimension, *id))));
            }
        }
        Visible::Ids(asked.into_iter().collect())
    };
    Ok((Authorized { call: call.clone(), caller: caller.clone() }, visible))
}

/// The permissions that a rule wants for this request.
fn needs_of<Q>(rule: &Rule<Q>, q: &Q) -> Vec<(Permission, Wanted)> {
    match rule {
        Rule::All(needs) => needs.iter().map(|need| (need.permission, need.target.of(q))).collect(),
        _ => Vec::new(),
    }
}

impl<Q> TargetOf<Q> {
    fn of(&self, q: &Q) -> Wanted {
        match self {
            Self::None => Wanted::Nothing,
            Self::Caller => Wanted::Caller,
            // an id that no row can have is held by nobody but those who hold all
            Self::Field(field) => Wanted::Id(i64::try_from(field(q)).unwrap_or_default()),
        }
    }
}

fn validate<Q>(plan: &Plan<Q>, q: &mut Q) -> Result<()> {
    (plan.clear)(q);
    let mut violations = Violations::default();
    (plan.required)(q, &mut violations);
    (plan.check)(q, &mut violations);
    match violations.into_list() {
        list if list.is_empty() => Ok(()),
        list => Err(Error::validation(list)),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text =
        panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    Error::internal(format!("panic: {}", text.unwrap_or_default()))
}

/// One line per call. Never a token, a query or a value of the request.
fn log(call: &Call, caller: i64, error: Option<&Error>, started: Instant) {
    let code = error.map_or(Code::Ok, |e| e.kind().code());
    let took = started.elapsed();
    crate::server::telemetry::call_finished(call.rpc.name, code, took.as_secs_f64());
    let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
    let (rpc, request_id, code) = (call.rpc.name, &*call.request_id, code as i32);
    match error {
        None => tracing::info!(target: "chorus::call", rpc, request_id, caller, code, ms, "done"),
        Some(e) if e.kind() == Kind::Internal => {
            let cause = e.cause().map(tracing::field::display);
            tracing::error!(target: "chorus::call", rpc, request_id, caller, code, ms, reason = e.reason(), cause, "failed");
        }
        Some(e) => {
            let cause = e.cause().map(tracing::field::display);
            tracing::info!(target: "chorus::call", rpc, request_id, caller, code, ms, reason = e.reason(), cause, "refused");
        }
    }
}
