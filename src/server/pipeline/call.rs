//! What a handler is given: the call with its caller, either authorized or still to be authorized.
//!
//! Store functions that read or write data take an [`Authorized`]. For a `custom` access rule the handler gets a
//! [`Pending`], from which only [`Pending::require`] leads to an [`Authorized`].

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{admission::Wanted, gate::Shared, rpc::Rpc};
use crate::server::{
    access::{
        address,
        caller::Caller,
        catalogue::Permission,
        decide::{Target, Visible},
        throttle::{Attempt, Device},
    },
    error::{Error, Result},
    transport::origin::Origin,
};

/// The header of clients that only look, such as scripts that poll.
pub static NO_WAKE: HeaderName = HeaderName::from_static("x-chorus-no-wake");

/// One call: what was called, from where, when, and what is going to be recorded and sent beside the reply.
pub struct Call {
    /// What is called.
    pub rpc: &'static Rpc,
    /// The id under which logs and audit know the call.
    pub request_id: Arc<str>,
    /// The path that errors name.
    pub instance: Arc<str>,
    /// The address of the client.
    pub address: Option<IpAddr>,
    /// The client's name for itself, cut to a sensible length.
    pub user_agent: String,
    /// The device that the client shows.
    pub device: Option<Device>,
    /// Whether the client is a browser, which keeps cookies.
    pub from_browser: bool,
    /// Whether the client only wants to look: nothing is counted as used, or started, because of this call.
    pub only_looks: bool,
    /// When the call arrived; every row that the call writes carries this time.
    pub now: DateTime<Utc>,
    pub(super) shared: Arc<Shared>,
    pub(super) record: Mutex<Subjects>,
    pub(super) recorded: AtomicBool,
    pub(super) bad_credential: AtomicBool,
    pub(super) cookie_session: OnceLock<Arc<str>>,
    pub(super) needs: OnceLock<Vec<(Permission, Wanted)>>,
    pub(super) headers: Mutex<Vec<(HeaderName, HeaderValue)>>,
}

/// What is known of the things that a call acts upon.
#[derive(Debug, Default, Clone)]
pub struct Subjects {
    /// The workspace.
    pub workspace: Option<i64>,
    /// The workbench.
    pub workbench: Option<i64>,
    /// The user who is acted upon.
    pub user: Option<i64>,
    /// Who acts, when that is not the caller: a sign-in has no caller yet. Tenant, id and user name.
    pub actor: Option<(i64, i64, String)>,
    /// The tenant of what is acted upon, where that is not the caller's: a failed sign-in belongs to the tenant of the
    /// account.
    pub tenant: Option<i64>,
    details: BTreeMap<&'static str, String>,
    /// The ids come from stored rows, not from the request alone.
    pub verified: bool,
}

/// So many characters of a fact are recorded, and so many items of a list.
const MOST_RECORDED: (usize, usize) = (256, 20);

impl Subjects {
    /// Notes a fact, unless it is empty. It may come from a request that nobody checked yet, so it is cut, and what a
    /// database or a terminal could trip over is replaced.
    pub fn detail(&mut self, key: &'static str, value: &str) {
        if !value.is_empty() {
            self.details.insert(key, plain(value));
        }
    }

    /// Notes the ids of a list: the first ones, and how many more there are.
    pub fn detail_list<T: ToString>(&mut self, key: &'static str, values: &[T]) {
        let mut text = values.iter().take(MOST_RECORDED.1).map(T::to_string).collect::<Vec<_>>().join(",");
        if let Some(more) = values.len().checked_sub(MOST_RECORDED.1).filter(|more| *more > 0) {
            text += &format!(" and {more} more");
        }
        self.detail(key, &text);
    }

    /// More facts, by name.
    pub fn details(&self) -> &BTreeMap<&'static str, String> {
        &self.details
    }
}

/// Text that is fit for a record.
pub fn plain(text: &str) -> String {
    let kept = text.chars().take(MOST_RECORDED.0);
    kept.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl Call {
    /// A call that just arrived.
    pub(super) fn new(shared: Arc<Shared>, rpc: &'static Rpc, headers: &HeaderMap, origin: Option<&Origin>) -> Self {
        let user_agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Self {
            rpc,
            request_id: origin.map_or_else(|| shared.random.uuid().to_string().into(), |o| o.request_id.clone()),
            instance: origin.map_or_else(|| rpc.path.into(), |o| o.instance.clone()),
            address: address::client(origin.and_then(|o| o.peer), headers, &shared.trusted_proxies),
            user_agent: user_agent.chars().take(256).collect(),
            device: Device::of(headers),
            only_looks: headers.contains_key(&NO_WAKE),
            // browsers name the origin of every write, programs do not
            from_browser: headers.contains_key(header::ORIGIN),
            now: shared.clock.now(),
            shared,
            record: Mutex::new(Subjects::default()),
            recorded: AtomicBool::new(false),
            bad_credential: AtomicBool::new(false),
            cookie_session: OnceLock::new(),
            needs: OnceLock::new(),
            headers: Mutex::new(Vec::new()),
        }
    }

    /// What is going to be recorded of the call.
    pub fn subjects(&self) -> MutexGuard<'_, Subjects> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a header beside a successful reply; a failed call sends none of these.
    pub fn reply_header(&self, name: HeaderName, value: HeaderValue) {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).push((name, value));
    }

    /// Whether the call came with a credential that is no good. On a public RPC its caller counts as a visitor.
    pub fn bad_credential(&self) -> bool {
        self.bad_credential.load(Ordering::Acquire)
    }

    /// The session whose cookie came with the call: a browser holds it. On a public RPC its caller may count as a visitor
    /// all the same.
    pub fn cookie_session(&self) -> Option<&Arc<str>> {
        self.cookie_session.get()
    }

    /// Remembers by which permissions the caller was admitted.
    pub(super) fn admitted_by(&self, needs: Vec<(Permission, Wanted)>) {
        let _ = self.needs.set(needs);
    }

    /// The permissions by which the caller was admitted; nothing for rules that see more than permissions.
    pub(super) fn needs(&self) -> Option<&[(Permission, Wanted)]> {
        self.needs.get().map(Vec::as_slice)
    }

    /// What every call shares: sessions, audit, clock, randomness.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// A caller whom the access rule of the RPC admits. Dereferences to the [`Caller`], whose `may` is for parts of a reply,
/// never instead of an access rule.
#[derive(Clone)]
pub struct Authorized {
    pub(super) call: Arc<Call>,
    pub(super) caller: Arc<Caller>,
}

impl Authorized {
    /// The call.
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// Who calls.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// When the call arrived.
    pub fn now(&self) -> DateTime<Utc> {
        self.call.now
    }

    /// Counts a try of the caller to show a password or code of the own account: call it before that is checked, and
    /// [`Attempt::succeeded`] when it was right. Whoever stole the session must not guess the rest.
    ///
    /// # Errors
    /// `SIGN_IN_THROTTLED` when there were too many wrong ones.
    pub async fn attempt(&self) -> Result<Attempt> {
        let throttle = &self.call.shared.throttle;
        let session = self.session().map(|session| &**session).unwrap_or_default();
        throttle.admit(throttle.inside(self.id(), session), self.now()).await
    }
}

impl std::ops::Deref for Authorized {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// A caller whose right to call is still to be shown by the handler.
pub struct Pending {
    pub(super) call: Arc<Call>,
    pub(super) caller: Arc<Caller>,
    pub(super) allowed: &'static [Permission],
}

impl Pending {
    /// The call.
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// Who calls.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Whether the caller holds the permission, which the contract must list for this RPC.
    pub fn holds(&self, permission: Permission, target: Target) -> bool {
        self.allowed.contains(&permission) && self.caller.may(permission, target)
    }

    /// The ids for which the caller holds the permission, which the contract must list for this RPC.
    pub fn visible(&self, permission: Permission) -> Visible {
        match self.allowed.contains(&permission) {
            true => self.caller.visible(permission),
            false => Visible::Ids(Default::default()),
        }
    }

    /// Admits the caller if the permission is held.
    pub fn require(&self, permission: Permission, target: Target) -> Result<Authorized> {
        if !self.allowed.contains(&permission) {
            let text =
                format!("{} asks for {}, which its contract does not list", self.call.rpc.name, permission.name());
            return Err(Error::internal(text));
        }
        match self.holds(permission, target) {
            true => Ok(Authorized { call: self.call.clone(), caller: self.caller.clone() }),
            false => Err(self.caller.denied(permission, target)),
        }
    }
}
