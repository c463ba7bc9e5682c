//! Scopes: what an API token may do, as permissions in contexts.
//!
//! A scope is written like a permission in a message: `createWorkspace`, `getWorkspace@workspace=5`,
//! `getWorkspace@workspace=*`. Scopes take away and never give: a call by a token may do what its scopes name *and* its
//! owner may do at that moment. What always holds:
//!
//! - a scope binds exactly the dimension that its permission needs, and an unbound one is an error, never "any";
//! - more scopes never take a right away;
//! - nobody makes a token that may do more than its maker ([`Scopes::within`]).

use std::{fmt, sync::Arc};

use super::{
    catalogue::Permission,
    context::{Bound, Context, ContextError},
    decide::{Target, Visible},
};

/// A permission where it is confined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    permission: Permission,
    bound: Option<Bound>,
}

/// Why a scope cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No such permission.
    #[error("there is no permission {0:?}")]
    UnknownPermission(String),
    /// The context cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The permission is confined to something that is not named.
    #[error("{name} must name a {dimension}: write {name}@{dimension}=<id>, or {name}@{dimension}=* for all")]
    Unbound {
        /// The permission.
        name: &'static str,
        /// What it is confined to.
        dimension: &'static str,
    },
    /// The permission is not confined to this.
    #[error("{name} is not confined to a {dimension}: leave it out")]
    Stray {
        /// The permission.
        name: &'static str,
        /// What it cannot be confined to.
        dimension: &'static str,
    },
}

impl Scope {
    /// A permission in a context, which must bind what the permission needs and nothing else.
    pub fn new(permission: Permission, context: &Context) -> Result<Self, ScopeError> {
        let needed = permission.requires();
        if let Some((stray, _)) = context.bindings().find(|(dimension, _)| Some(*dimension) != needed) {
            return Err(ScopeError::Stray { name: permission.name(), dimension: stray.as_str() });
        }
        match needed {
            None => Ok(Self { permission, bound: None }),
            Some(dimension) => match context.get(dimension) {
                Some(bound) => Ok(Self { permission, bound: Some(bound) }),
                None => Err(ScopeError::Unbound { name: permission.name(), dimension: dimension.as_str() }),
            },
        }
    }

    /// Reads a scope from the name of the permission and the pairs of its context.
    pub fn from_pairs<'a>(
        name: &str,
        context: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ScopeError> {
        let unknown = || ScopeError::UnknownPermission(name.chars().take(80).collect());
        Self::new(Permission::parse(name).ok_or_else(unknown)?, &Context::parse(context)?)
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let (name, pairs) = text.split_once('@').unwrap_or((text, ""));
        let pairs = pairs.split('&').filter(|pair| !pair.is_empty());
        Self::from_pairs(name, pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))))
    }

    /// The permission.
    pub fn permission(self) -> Permission {
        self.permission
    }

    /// Where it is confined to.
    pub fn context(self) -> Context {
        match (self.permission.requires(), self.bound) {
            (Some(dimension), Some(bound)) => Context::NONE.with(dimension, bound),
            _ => Context::NONE,
        }
    }

    /// What a caller must be allowed, to hold all of this scope: nothing in particular means all things.
    pub fn target(self) -> Target {
        match (self.permission.requires(), self.bound) {
            (Some(dimension), Some(Bound::Id(id))) => Some((dimension, id)),
            _ => None,
        }
    }

    fn allows(self, permission: Permission, target: Target) -> bool {
        self.permission == permission
            && match self.bound {
                None | Some(Bound::Any) => true,
                Some(Bound::Id(id)) => target.is_some_and(|(_, wanted)| wanted == id),
            }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.permission.name())?;
        match (self.permission.requires(), self.bound) {
            (Some(dimension), Some(bound)) => write!(f, "@{}={bound}", dimension.as_str()),
            _ => Ok(()),
        }
    }
}

/// The scopes of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Arc<[Scope]>);

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut all: Vec<_> = scopes.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }
}

impl Scopes {
    /// The scopes, each once, in the order of the catalogue.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    /// Whether some scope names this. As for roles, a target of another dimension than the permission needs is refused, and
    /// so is a missing one unless the scope is for all.
    pub fn allow(&self, permission: Permission, target: Target) -> bool {
        target.is_none_or(|(dimension, _)| permission.requires() == Some(dimension))
            && self.iter().any(|scope| scope.allows(permission, target))
    }

    /// The ids for which some scope names the permission.
    pub fn visible(&self, permission: Permission) -> Visible {
        let named = || self.iter().filter(|scope| scope.permission == permission);
        match named().any(|scope| matches!(scope.bound, None | Some(Bound::Any))) {
            true => Visible::All,
            false => Visible::Ids(named().filter_map(|scope| scope.target()).map(|(_, id)| id).collect()),
        }
    }

    /// Whether somebody who holds what `holds` says holds all of these.
    ///
    /// # Errors
    /// The first scope that reaches further.
    pub fn within(&self, holds: impl Fn(Permission, Target) -> bool) -> Result<(), Scope> {
        match self.iter().find(|scope| !holds(scope.permission, scope.target())) {
            Some(scope) => Err(scope),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::{collection::vec, option, prelude::*, sample::select};

    use super::*;
    use crate::server::access::{
        catalogue::{Dimension, ROLES},
        decide::{Assignment, Roles, decide, visible},
    };

    const CALLER: i64 = 1;

    fn roles() -> &'static Roles {
        static BUILT_IN: LazyLock<Roles> = LazyLock::new(|| Roles::built_in(true));
        &BUILT_IN
    }

    fn bound() -> impl Strategy<Value = Bound> {
        prop_oneof![Just(Bound::Any), (1i64..4).prop_map(Bound::Id)]
    }

    fn scope() -> impl Strategy<Value = Scope> {
        (select(Permission::ALL), bound())
            .prop_map(|(permission, bound)| Scope { permission, bound: permission.requires().map(|_| bound) })
    }

    fn scopes() -> impl Strategy<Value = Scopes> {
        vec(scope(), 0..6).prop_map(|scopes| scopes.into_iter().collect())
    }

    /// A few permissions only, so that scopes meet.
    fn meeting() -> impl Strategy<Value = Scopes> {
        let few = [Permission::GetWorkspace, Permission::UpdateWorkspace, Permission::CreateWorkspace];
        let scope = (select(few.to_vec()), bound())
            .prop_map(|(permission, bound)| Scope { permission, bound: permission.requires().map(|_| bound) });
        vec(scope, 0..5).prop_map(|scopes| scopes.into_iter().collect())
    }

    fn assignment() -> impl Strategy<Value = Assignment> {
        (select(ROLES), [option::of(bound()), option::of(bound()), option::of(bound())]).prop_map(|(role, bounds)| {
            let context = Dimension::ALL.into_iter().zip(bounds).fold(Context::NONE, |context, (d, b)| match b {
                Some(b) => context.with(d, b),
                None => context,
            });
            Assignment { id: 1, role: role.name.into(), context }
        })
    }

    fn asked() -> impl Strategy<Value = (Permission, Target)> {
        (select(Permission::ALL), option::of((select(&Dimension::ALL[..]), 1i64..4)))
    }

    fn within(inner: &Scopes, outer: &Scopes) -> bool {
        inner.within(|permission, target| outer.allow(permission, target)).is_ok()
    }

    #[test]
    fn scopes_in_words() {
        for text in ["createWorkspace", "getWorkspace@workspace=5", "getWorkspace@workspace=*", "getUser@user=9"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        use ContextError::{BadValue, Repeated, UnknownDimension};
        use Dimension::Workspace;
        let unbound = || ScopeError::Unbound { name: "getWorkspace", dimension: "workspace" };
        let stray = |name, dimension| ScopeError::Stray { name, dimension };
        for (text, error) in [
            ("", ScopeError::UnknownPermission(String::new())),
            ("everything", ScopeError::UnknownPermission("everything".into())),
            ("GetWorkspace@workspace=5", ScopeError::UnknownPermission("GetWorkspace".into())),
            ("getWorkspace", unbound()),
            ("getWorkspace@", unbound()),
            ("getWorkspace@user=5", stray("getWorkspace", "user")),
            ("getWorkspace@user=5&workspace=5", stray("getWorkspace", "user")),
            ("createWorkspace@workspace=*", stray("createWorkspace", "workspace")),
            ("getWorkspace@workspace=", BadValue(Workspace).into()),
            ("getWorkspace@workspace", BadValue(Workspace).into()),
            ("getWorkspace@workspace=05", BadValue(Workspace).into()),
            ("getWorkspace@workspace=5,6", BadValue(Workspace).into()),
            ("getWorkspace@workspace=5&workspace=6", Repeated(Workspace).into()),
            ("getWorkspace@tenant=5", UnknownDimension("tenant".into()).into()),
        ] {
            assert_eq!(Scope::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_lists_may_show() {
        let scopes = |texts: &[&str]| texts.iter().map(|t| Scope::parse(t).unwrap()).collect::<Scopes>();
        let see = Permission::GetWorkspace;
        assert_eq!(scopes(&[]).visible(see), Visible::Ids([].into()));
        assert_eq!(scopes(&["createWorkspace"]).visible(see), Visible::Ids([].into()));
        let some = scopes(&["getWorkspace@workspace=5", "getWorkspace@workspace=7", "updateWorkspace@workspace=9"]);
        assert_eq!(some.visible(see), Visible::Ids([5, 7].into()));
        assert_eq!(scopes(&["getWorkspace@workspace=5", "getWorkspace@workspace=*"]).visible(see), Visible::All);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn scopes_read_back(scope in scope()) {
            prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
            prop_assert_eq!(Scope::new(scope.permission(), &scope.context()), Ok(scope));
        }

        #[test]
        fn whatever_reads_writes_the_same(text in "(getWorkspace|createWorkspace|x)?[@&=]?(workspace|user)?[=&]?[*0-9+]{0,3}") {
            if let Ok(scope) = Scope::parse(&text) {
                // "getWorkspace@" with nothing behind is the one thing that is read and not written
                prop_assert_eq!(scope.to_string(), text.trim_end_matches(['@', '&']));
            }
        }

        #[test]
        fn within_is_reflexive(a in scopes()) {
            prop_assert!(within(&a, &a));
        }

        #[test]
        fn within_is_transitive(a in meeting(), b in meeting(), c in meeting()) {
            prop_assert!(!(within(&a, &b) && within(&b, &c)) || within(&a, &c));
        }

        /// Whatever lies within allows no more, and lists no more.
        #[test]
        fn within_means_no_more(a in meeting(), b in meeting(), (p, t) in asked()) {
            if within(&a, &b) {
                prop_assert!(!a.allow(p, t) || b.allow(p, t));
                prop_assert_eq!(a.visible(p).and(b.visible(p)), a.visible(p));
            }
        }

        /// A scope for all lies within the same only, and holds every single one.
        #[test]
        fn any_includes_each(p in select(Permission::ALL), id in 1i64..4) {
            if p.requires().is_some() {
                let any: Scopes = [Scope { permission: p, bound: Some(Bound::Any) }].into_iter().collect();
                let one: Scopes = [Scope { permission: p, bound: Some(Bound::Id(id)) }].into_iter().collect();
                prop_assert!(within(&one, &any) && !within(&any, &one));
            }
        }

        #[test]
        fn more_scopes_never_take_a_right_away(a in scopes(), more in scope(), (p, t) in asked()) {
            let longer: Scopes = a.iter().chain([more]).collect();
            prop_assert!(within(&a, &longer));
            prop_assert!(!a.allow(p, t) || longer.allow(p, t));
        }

        /// Lists and single decisions agree.
        #[test]
        fn what_is_visible_is_allowed(a in scopes(), p in select(Permission::ALL), id in 1i64..4) {
            if let Some(dimension) = p.requires() {
                prop_assert_eq!(a.visible(p).contains(id), a.allow(p, Some((dimension, id))));
            }
        }

        /// Scopes within somebody's rights allow nothing that he may not do.
        #[test]
        fn within_the_rights_of_roles(held in vec(assignment(), 0..3), a in scopes(), (p, t) in asked()) {
            let holds = |p, t| decide(roles(), &held, CALLER, p, t);
            match a.within(holds) {
                Ok(()) => {
                    prop_assert!(!a.allow(p, t) || holds(p, t));
                    let seen = visible(roles(), &held, CALLER, p);
                    prop_assert!(p.requires().is_none() || a.visible(p).and(seen) == a.visible(p));
                }
                Err(beyond) => prop_assert!(!holds(beyond.permission(), beyond.target())),
            }
        }

        /// More roles never make scopes reach beyond them.
        #[test]
        fn within_is_monotone(held in vec(assignment(), 0..3), more in assignment(), a in scopes()) {
            let longer: Vec<_> = held.iter().cloned().chain([more]).collect();
            let fits = |held: &[Assignment]| a.within(|p, t| decide(roles(), held, CALLER, p, t)).is_ok();
            prop_assert!(!fits(&held) || fits(&longer));
        }
    }
}
