//! Reading a growing table from where one stopped.
//!
//! Rows get their ids in one order and their transactions commit in another. Who reads up to id 7 while the transaction of
//! row 6 is still open, and goes on after 7, never sees 6. So such a reader asks first how far the table is settled.

use std::{collections::HashSet, time::Duration};

use super::{Db, Result, engine::Pools, sql};

/// How often it is asked whether those who were writing are done. They insert and commit, which takes milliseconds.
const ASK_AGAIN: Duration = Duration::from_millis(5);

impl Db {
    /// The highest id of the table below which no row will turn up any more; 0 while it is empty.
    ///
    /// On PostgreSQL this waits for the transactions that are writing to the table, and for no others; nobody waits for it.
    /// On SQLite one writes after the other, so whatever can be read is settled.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn settled_id(&self, table: &'static str) -> Result<i64> {
        let (newest,): (i64,) = sql("SELECT coalesce(max(id), 0) FROM ").push(table).one(self).await?;
        if let Pools::Postgres(_) = &self.0 {
            // whoever draws an id has this lock before and until it can be seen what he did; so a lower id than the newest
            // is either there by now, or will never be, or belongs to one of these
            let mut waiting = self.writers(table).await?;
            while !waiting.is_empty() {
                tokio::time::sleep(ASK_AGAIN).await;
                let writers = self.writers(table).await?;
                waiting.retain(|writer| writers.contains(writer));
            }
        }
        Ok(newest)
    }

    /// The transactions of PostgreSQL that have written to the table or are about to.
    async fn writers(&self, table: &'static str) -> Result<HashSet<String>> {
        let rows: Vec<(String,)> = sql("SELECT DISTINCT virtualtransaction FROM pg_locks \
             WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = to_regclass($1) \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
        .bind(table)
        .all(self)
        .await?;
        Ok(rows.into_iter().map(|(transaction,)| transaction).collect())
    }
}
