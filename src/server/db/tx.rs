//! Transactions.
//!
//! What always holds: nothing is kept unless [`Tx::commit`] returned `Ok`; a transaction in which a statement failed cannot be
//! committed, on both engines (PostgreSQL would answer such a commit with a silent rollback, SQLite would keep the rest).

use std::fmt;

use sqlx::{Postgres, Sqlite, Transaction};

use super::{DbError, Result, sql};

/// An open transaction. Dropping it rolls back.
pub struct Tx {
    pub(super) inner: Inner,
    failed: bool,
    after: Vec<Box<dyn FnOnce() + Send>>,
}

pub(super) enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(super) fn sqlite(tx: Transaction<'static, Sqlite>) -> Self {
        Self { inner: Inner::Sqlite(tx), failed: false, after: Vec::new() }
    }

    pub(super) fn postgres(tx: Transaction<'static, Postgres>) -> Self {
        Self { inner: Inner::Postgres(tx), failed: false, after: Vec::new() }
    }

    /// Waits until no other transaction holds the lock of this name, and holds it to the end of this one.
    ///
    /// For rules over several rows, such as "the last SuperAdmin stays". On SQLite every transaction excludes all others.
    pub async fn lock(&mut self, name: &str) -> Result<()> {
        if let Inner::Postgres(_) = self.inner {
            sql("SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 0))) AS held")
                .bind(name)
                .run(self)
                .await?;
        }
        Ok(())
    }

    /// Calls this when the transaction is committed, and not otherwise: to wake a loop, or to drop what was cached.
    pub fn on_commit(&mut self, then: impl FnOnce() + Send + 'static) {
        self.after.push(Box::new(then));
    }

    /// Makes the changes last.
    ///
    /// # Errors
    /// Nothing was changed, save for [`DbError::Unavailable`]: then the connection was lost before the answer came.
    pub async fn commit(self) -> Result<()> {
        if self.failed {
            return Err(DbError::Fault("a statement of this transaction failed, so it cannot be committed".to_owned()));
        }
        match self.inner {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        self.after.into_iter().for_each(|then| then());
        Ok(())
    }

    /// Remembers that a statement failed.
    pub(super) fn note<T>(&mut self, done: sqlx::Result<T>) -> Result<T> {
        done.map_err(|error| {
            self.failed = true;
            error.into()
        })
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("failed", &self.failed).finish_non_exhaustive()
    }
}
