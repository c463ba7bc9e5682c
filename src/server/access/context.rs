//! What a role is bound to: for each dimension one id, all of them, or nothing.
//!
//! Contexts come from requests and from rows, hence from text. What always holds: an empty or malformed value is an
//! error and never means "any".

use std::fmt;

use super::catalogue::Dimension;

/// What a dimension is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bound {
    /// Every id, written `*`.
    Any,
    /// One id.
    Id(i64),
}

impl Bound {
    /// Reads `*` or a positive decimal id, in the one spelling that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let id: i64 = text.parse().ok()?;
        // a second spelling of an id ("+7", "007") would get past comparisons of text
        (id > 0 && text.starts_with(|c: char| ('1'..='9').contains(&c))).then_some(Self::Id(id))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// What a role is bound to, by dimension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Context([Option<Bound>; Dimension::ALL.len()]);

/// Why a context cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// A key that is no dimension.
    #[error("{0:?} is not a dimension: use workspace, workbench or user")]
    UnknownDimension(String),
    /// A value that is neither an id nor `*`.
    #[error("the {} is neither an id nor \"*\"", .0.as_str())]
    BadValue(Dimension),
    /// A dimension that is bound twice.
    #[error("the {} is bound twice", .0.as_str())]
    Repeated(Dimension),
}

impl Context {
    /// Binds nothing.
    pub const NONE: Self = Self([None; Dimension::ALL.len()]);

    /// The same context with this dimension bound.
    pub const fn with(mut self, dimension: Dimension, bound: Bound) -> Self {
        self.0[dimension as usize] = Some(bound);
        self
    }

    /// Binds one workspace.
    pub const fn workspace(id: i64) -> Self {
        Self::NONE.with(Dimension::Workspace, Bound::Id(id))
    }

    /// Binds one workbench.
    pub const fn workbench(id: i64) -> Self {
        Self::NONE.with(Dimension::Workbench, Bound::Id(id))
    }

    /// Binds one user.
    pub const fn user(id: i64) -> Self {
        Self::NONE.with(Dimension::User, Bound::Id(id))
    }

    /// What this dimension is bound to.
    pub const fn get(&self, dimension: Dimension) -> Option<Bound> {
        self.0[dimension as usize]
    }

    /// The dimensions that are bound, by name.
    pub fn bindings(&self) -> impl Iterator<Item = (Dimension, Bound)> + '_ {
        [Dimension::User, Dimension::Workbench, Dimension::Workspace]
            .into_iter()
            .filter_map(|dimension| self.get(dimension).map(|bound| (dimension, bound)))
    }

    /// Reads the pairs of a request or of a row.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ContextError> {
        let mut context = Self::NONE;
        for (name, value) in pairs {
            let dimension = Dimension::parse(name)
                .ok_or_else(|| ContextError::UnknownDimension(name.chars().take(40).collect()))?;
            if context.get(dimension).is_some() {
                return Err(ContextError::Repeated(dimension));
            }
            context = context.with(dimension, Bound::parse(value).ok_or(ContextError::BadValue(dimension))?);
        }
        Ok(context)
    }

    /// `name`, or `name@dimension=value&…` sorted by dimension: how a role or a permission in a context is written in
    /// messages and notifications.
    pub fn label(&self, name: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (dimension, bound) in self.bindings() {
            query.append_pair(dimension.as_str(), &bound.to_string());
        }
        match query.finish() {
            query if query.is_empty() => name.to_owned(),
            query => format!("{name}@{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_read_in_one_spelling() {
        assert_eq!(Bound::parse("*"), Some(Bound::Any));
        assert_eq!(Bound::parse("1"), Some(Bound::Id(1)));
        assert_eq!(Bound::parse("9223372036854775807"), Some(Bound::Id(i64::MAX)));
        for bad in ["", " ", "0", "-1", "+1", "007", "1 ", " 1", "**", "1.0", "0x1", "9223372036854775808", "١", "%2A"]
        {
            assert_eq!(Bound::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn contexts_read_from_pairs() {
        assert_eq!(Context::parse([]), Ok(Context::NONE));
        assert_eq!(Context::parse([("workspace", "5")]), Ok(Context::workspace(5)));
        assert_eq!(Context::parse([("workspace", "")]), Err(ContextError::BadValue(Dimension::Workspace)));
        assert_eq!(Context::parse([("request", "5")]), Err(ContextError::UnknownDimension("request".into())));
        assert_eq!(Context::parse([("user", "5"), ("user", "*")]), Err(ContextError::Repeated(Dimension::User)));
    }

    #[test]
    fn labels_are_sorted() {
        assert_eq!(Context::NONE.label("createUser"), "createUser");
        assert_eq!(Context::workspace(5).label("getWorkspace"), "getWorkspace@workspace=5");
        let all = Dimension::ALL.into_iter().fold(Context::NONE, |c, d| c.with(d, Bound::Any));
        assert_eq!(all.label("SuperAdmin"), "SuperAdmin@user=*&workbench=*&workspace=*");
    }

    proptest! {
        #[test]
        fn bounds_read_back(id in 1i64..) {
            prop_assert_eq!(Bound::parse(&Bound::Id(id).to_string()), Some(Bound::Id(id)));
        }

        #[test]
        fn whatever_reads_writes_the_same(text in "[*0-9+ -]{0,20}") {
            if let Some(bound) = Bound::parse(&text) {
                prop_assert_eq!(bound.to_string(), text);
            }
        }
    }
}
