//! Leases: at most one holder does a job, on however many replicas.
//!
//! One statement takes or renews a lease, so two replicas cannot both win. A holder that dies simply stops renewing. The time
//! is the caller's: replicas whose clocks differ by more than the time to live could overlap, so jobs stay idempotent.

use chrono::{DateTime, TimeDelta, Utc};

use super::{On, Result, sql};

/// Takes or renews the lease `name` until `now + ttl`; true while this holder has it.
pub async fn acquire(
    on: impl Into<On<'_>>,
    name: &str,
    holder: &str,
    now: DateTime<Utc>,
    ttl: TimeDelta,
) -> Result<bool> {
    let taken = sql("INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
         WHERE leases.holder = excluded.holder OR leases.expires_at <= $4")
    .bind(name)
    .bind(holder)
    .bind(now + ttl)
    .bind(now)
    .run(on)
    .await?;
    Ok(taken > 0)
}

/// Gives the lease back, so that another holder need not wait; nothing happens when this holder lost it.
pub async fn release(on: impl Into<On<'_>>, name: &str, holder: &str) -> Result<()> {
    sql("DELETE FROM leases WHERE name = $1 AND holder = $2").bind(name).bind(holder).run(on).await?;
    Ok(())
}
