//! Who may call an RPC, and with which request: what the contract says, checked.
//!
//! A request that reached the gate is [`Arrived`]. One of its functions, which the build chose by the RPC's access option,
//! turns it into what the handler is given. What always holds: who is not admitted learns nothing of the request's other
//! mistakes; what a handler gets keeps the contract's rules.

use std::sync::Arc;

use super::{
    call::{Authorized, Call, Pending, Subjects},
    rpc::Rpc,
    validation::Violations,
};
use crate::server::{
    access::{
        caller::{Caller, Credential},
        catalogue::Permission,
        decide::Visible,
        token,
    },
    error::{Error, Kind, Result},
};

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
    /// Everybody who is signed in. Not API tokens: there is no permission that a scope could name.
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

/// A request whose caller is found and not admitted yet.
pub struct Arrived<Q: 'static> {
    pub(super) plan: &'static Plan<Q>,
    pub(super) call: Arc<Call>,
    pub(super) caller: Arc<Caller>,
    pub(super) request: Q,
}

impl<Q> Arrived<Q> {
    /// Who calls.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// The request, as it came.
    pub fn request(&self) -> &Q {
        &self.request
    }

    /// Admits by any rule but those of lists and `custom` ones.
    pub fn admit(self, rule: &Rule<Q>) -> Result<(Authorized, Q)> {
        let needs = match rule {
            Rule::Anyone => Vec::new(),
            Rule::SignedIn => {
                self.in_session()?;
                Vec::new()
            }
            Rule::All(needs) => needs.iter().map(|need| (need.permission, need.target.of(&self.request))).collect(),
            Rule::List { .. } | Rule::Custom(_) => return Err(Error::internal("the rule takes another way")),
        };
        self.admit_by(needs)
    }

    /// Admits holders of all of these, whose contexts are known by now.
    pub fn admit_by(self, needs: Vec<(Permission, Wanted)>) -> Result<(Authorized, Q)> {
        for (permission, wanted) in &needs {
            hold(*permission, *wanted, &self.caller)?;
        }
        // a stream asks again for the same
        self.call.admitted_by(needs);
        let q = self.checked()?;
        Ok((Authorized { call: q.call, caller: q.caller }, q.request))
    }

    /// Admits by the rule of a list: ids that are asked for must all be allowed; without any, the reply is cut to what is.
    pub fn admit_list(self, rule: &Rule<Q>) -> Result<(Authorized, Visible, Q)> {
        let visible = self.visible(rule)?;
        let q = self.checked()?;
        Ok((Authorized { call: q.call, caller: q.caller }, visible, q.request))
    }

    /// Leaves the decision to the handler, which can only ask for these.
    pub fn pending(self, allowed: &'static [Permission]) -> Result<(Pending, Q)> {
        self.signed_in()?;
        let q = self.checked()?;
        Ok((Pending { call: q.call, caller: q.caller, allowed }, q.request))
    }

    /// Answers an RPC without a room, to those whom its rule admits as far as the request alone tells.
    pub fn not_built<R>(self, rule: &Rule<Q>) -> Result<R> {
        match rule {
            Rule::List { .. } => drop(self.visible(rule)?),
            Rule::Custom(_) => self.signed_in()?,
            Rule::All(needs) => {
                needs.iter().try_for_each(|need| hold(need.permission, need.target.of(&self.request), &self.caller))?
            }
            Rule::SignedIn => self.in_session()?,
            Rule::Anyone => {}
        }
        let text = format!("{} is part of the contract but not built yet.", self.plan.rpc.name);
        Err(Error::new(Kind::Unimplemented, "NOT_BUILT", text))
    }

    fn signed_in(&self) -> Result<()> {
        match self.caller.is_visitor() && !self.plan.rpc.public {
            true => Err(token::missing()),
            false => Ok(()),
        }
    }

    fn in_session(&self) -> Result<()> {
        self.signed_in()?;
        refuse_tokens(&self.caller)
    }

    fn visible(&self, rule: &Rule<Q>) -> Result<Visible> {
        let Rule::List { permission, ids, also } = rule else { return Err(Error::internal("not the rule of a list")) };
        if let Some(also) = also {
            hold(*also, Wanted::Nothing, &self.caller)?;
        }
        let allowed = self.caller.visible(*permission);
        let asked = ids(&self.request);
        if asked.is_empty() {
            return Ok(allowed);
        }
        let asked: Vec<i64> = asked.iter().map(|n| i64::try_from(*n).unwrap_or_default()).collect();
        match asked.iter().find(|id| !allowed.contains(**id)) {
            Some(id) => Err(self.caller.denied(*permission, permission.requires().map(|dimension| (dimension, *id)))),
            None => Ok(Visible::Ids(asked.into_iter().collect())),
        }
    }

    /// Clears what the request must not carry, and checks the rest.
    fn checked(mut self) -> Result<Self> {
        (self.plan.clear)(&mut self.request);
        let mut violations = Violations::default();
        (self.plan.required)(&self.request, &mut violations);
        (self.plan.check)(&self.request, &mut violations);
        match violations.into_list() {
            list if list.is_empty() => Ok(self),
            list => Err(Error::validation(list)),
        }
    }
}

/// Refuses API tokens and app instances where only a person who signed in is good enough.
pub(super) fn refuse_tokens(caller: &Caller) -> Result<()> {
    let text = match caller.credential() {
        Credential::Visitor | Credential::Session { .. } => return Ok(()),
        Credential::Token(_) => "An API token is not enough for this, whatever its scopes. Sign in, then repeat it.",
        Credential::Kiosk(_) => "The session of an app is not enough for this. Sign in yourself, then repeat it.",
    };
    Err(Error::denied("SESSION_REQUIRED", text))
}

/// Whether the caller holds one permission.
pub(super) fn hold(permission: Permission, wanted: Wanted, caller: &Caller) -> Result<()> {
    let target = match wanted {
        Wanted::Nothing => None,
        Wanted::Caller => permission.requires().map(|dimension| (dimension, caller.id())),
        Wanted::Id(id) => permission.requires().map(|dimension| (dimension, id)),
    };
    match caller.may(permission, target) {
        true => Ok(()),
        false => Err(caller.denied(permission, target)),
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
