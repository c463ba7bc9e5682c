//! Reading a growing table from where one stopped.
//!
//! Rows get their ids in one order and their transactions commit in another. Who reads up to id 7 while the transaction of
//! row 6 is still open, and goes on after 7, never sees 6. So such a reader asks first how far the table is settled.

use super::{Db, Result, engine::Pools, sql};

impl Db {
    /// The highest id of the table below which no row will turn up any more; 0 while it is empty.
    ///
    /// On PostgreSQL this waits for the transactions that are writing to the table, and makes new ones wait as long. On
    /// SQLite one writes after the other, so whatever can be read is settled.
    ///
    /// # Errors
    /// Those of the database, also when the wait takes too long.
    pub async fn settled_id(&self, table: &'static str) -> Result<i64> {
        let newest = sql("SELECT coalesce(max(id), 0) FROM ").push(table);
        let (id,) = match &self.0 {
            Pools::Sqlite { .. } => newest.one::<(i64,)>(self).await?,
            Pools::Postgres(_) => {
                let mut tx = self.transaction().await?;
                // a writer takes its lock before it draws an id, and keeps it to its end
                sql("LOCK TABLE ").push(table).push(" IN SHARE MODE").run(&mut tx).await?;
                let newest = newest.one::<(i64,)>(&mut tx).await?;
                tx.commit().await?;
                newest
            }
        };
        Ok(id)
    }
}
