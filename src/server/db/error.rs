//! What can go wrong in the database, reduced to what a service can act on.
//!
//! The private text of a fault comes from the driver's `Display`, never from its `Debug`: the latter quotes the values of the
//! row, which may be personal. Where a service does not match on a variant, `?` turns it into an [`Error`] that fits any caller.

use std::time::Duration;

use sqlx::error::{DatabaseError, ErrorKind};
use thiserror::Error as ThisError;

use crate::server::error::{Error, Kind};

/// A result of the database layer.
pub type Result<T, E = DbError> = std::result::Result<T, E>;

/// Why a statement, a transaction or a connection failed.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum DbError {
    /// A row with these values exists already.
    #[error("the unique constraint {constraint} is violated")]
    Unique {
        /// `<table>_<columns>_key` or `<table>_pkey`, the same on both engines.
        constraint: String,
    },
    /// The row refers to one that does not exist, or others still refer to it.
    #[error("a foreign key is violated")]
    ForeignKey,
    /// The database is busy, unreachable or shutting down; trying again may help.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The schema is not the one this program was built with.
    #[error("{0}")]
    Schema(String),
    /// The URL, or the file it names, cannot be used.
    #[error("{0}")]
    Url(String),
    /// Anything else: a fault of this program or of the data.
    #[error("{0}")]
    Fault(String),
}

impl DbError {
    /// Whether the unique constraint of this name was violated.
    pub fn is_unique(&self, name: &str) -> bool {
        matches!(self, Self::Unique { constraint } if constraint == name)
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Unique { .. } => {
                Self::exists("ALREADY_EXISTS", "It exists already. Choose another name, or change the existing one.")
                    .because(error)
            }
            DbError::ForeignKey => Self::new(
                Kind::Conflict,
                "REFERENCE_BROKEN",
                "Something that this refers to, or that refers to it, was changed meanwhile. Read it again and retry.",
            )
            .because(error),
            DbError::Unavailable(_) => Self::new(
                Kind::Unavailable,
                "DATABASE_UNAVAILABLE",
                "The database does not answer. Try again in a moment.",
            )
            .retry_after(Duration::from_secs(1))
            .because(error),
            DbError::Schema(text) => Self::new(Kind::Unavailable, "DATABASE_SCHEMA", text.clone()),
            DbError::Url(text) => Self::invalid("DATABASE_URL_INVALID", text.clone()),
            DbError::Fault(_) => Self::internal(error),
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Database(inner) => database(inner.as_ref()),
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Fault(error.to_string()),
        }
    }
}

fn database(error: &dyn DatabaseError) -> DbError {
    match error.kind() {
        ErrorKind::UniqueViolation => DbError::Unique {
            constraint: match error.constraint() {
                Some(name) => name.to_owned(),
                None => {
                    sqlite_constraint(error.message(), error.code().as_deref() == Some(SQLITE_CONSTRAINT_PRIMARYKEY))
                }
            },
        },
        ErrorKind::ForeignKeyViolation => DbError::ForeignKey,
        _ if error.code().is_some_and(|code| is_transient(&code)) => DbError::Unavailable(error.to_string()),
        _ => DbError::Fault(error.to_string()),
    }
}

const SQLITE_CONSTRAINT_PRIMARYKEY: &str = "1555";

/// Codes after which the same statement may succeed later: SQLite's result codes are short numbers
/// (<https://www.sqlite.org/rescode.html>), PostgreSQL's SQLSTATEs have five characters.
fn is_transient(code: &str) -> bool {
    const SQLITE_BUSY: u32 = 5;
    const SQLITE_LOCKED: u32 = 6;
    if code.len() == 5 {
        // connection lost, out of resources, cancelled or shutting down, lock not available, serialization failure, deadlock
        return ["08", "53", "57"].contains(&&code[..2]) || ["55P03", "40001", "40P01"].contains(&code);
    }
    // the low byte is the primary code, the rest says more
    code.parse::<u32>().is_ok_and(|code| [SQLITE_BUSY, SQLITE_LOCKED].contains(&(code & 0xff)))
}

/// The name PostgreSQL would report. SQLite says `UNIQUE constraint failed: users.username_key, users.source`, or
/// `… failed: index 'name'` for an index over expressions.
fn sqlite_constraint(message: &str, primary: bool) -> String {
    let list = message.rsplit(": ").next().unwrap_or_default();
    if let Some(index) = list.strip_prefix("index '") {
        return index.trim_end_matches('\'').to_owned();
    }
    let mut parts = list.split(", ").filter_map(|column| column.split_once('.')).peekable();
    let table = parts.peek().map_or("", |(table, _)| table).to_owned();
    if primary {
        return format!("{table}_pkey");
    }
    let columns: Vec<_> = parts.map(|(_, column)| column).collect();
    format!("{table}_{}_key", columns.join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraint_names_are_those_of_postgresql() {
        for (message, primary, name) in [
            ("UNIQUE constraint failed: users.username_key, users.source", false, "users_username_key_source_key"),
            ("UNIQUE constraint failed: tenants.name", false, "tenants_name_key"),
            ("UNIQUE constraint failed: leases.name", true, "leases_pkey"),
            ("UNIQUE constraint failed: index 'role_assignments_once_key'", false, "role_assignments_once_key"),
        ] {
            assert_eq!(sqlite_constraint(message, primary), name);
        }
    }

    #[test]
    fn transient_codes() {
        for code in ["5", "517", "6", "08006", "53300", "57P01", "57014", "40P01", "55P03"] {
            assert!(is_transient(code), "{code}");
        }
        for code in ["1", "19", "787", "23505", "42601", "22P02", ""] {
            assert!(!is_transient(code), "{code}");
        }
    }

    #[test]
    fn what_callers_see() {
        for (error, kind, reason) in [
            (DbError::Unique { constraint: "x_key".into() }, Kind::AlreadyExists, "ALREADY_EXISTS"),
            (DbError::ForeignKey, Kind::Conflict, "REFERENCE_BROKEN"),
            (DbError::Unavailable("secret".into()), Kind::Unavailable, "DATABASE_UNAVAILABLE"),
            (DbError::Fault("secret".into()), Kind::Internal, "INTERNAL"),
            (sqlx::Error::PoolTimedOut.into(), Kind::Unavailable, "DATABASE_UNAVAILABLE"),
            (sqlx::Error::RowNotFound.into(), Kind::Internal, "INTERNAL"),
        ] {
            let error = Error::from(error);
            assert_eq!((error.kind(), error.reason()), (kind, reason));
            assert!(!error.message().contains("secret"));
        }
    }
}
