//! Workbenches that nobody uses, and old ones: jobs of the upkeep.
//!
//! ```text
//! active_at ──► idle_timeout − idle_warning: the owner is warned ──► idle_timeout: stopped; its files stay
//! created_at ──► max_age − idle_warning: the owner is warned ──► max_age: deleted, if so configured
//! ```
//!
//! What always holds: an owner is warned once of each idle period, and once of the age; nothing is deleted for its age unless
//! the owner was warned that long before. Each step takes some hundreds of rows, in one transaction with their audit records,
//! and asks again in it whether they are still due; so a use in between wins, and two replicas at once do no harm. Idle
//! desktops are never deleted, only stopped.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    delete_all,
    store::{self, Due, Workbench},
};
use crate::server::{
    access::{
        audit::{self, Deed, Record},
        sessions,
    },
    config::{self, duration},
    db::Tx,
    desktops::{self, Touched},
    error::Result,
    pipeline::Shared,
    services::{
        Base,
        notifications::{Content, Recipient, notify_each},
        roles,
    },
    upkeep::Job,
};

/// Rows of one step.
const STEP: usize = 200;

/// What is done every so often about workbenches.
pub fn jobs(shared: &Arc<Shared>, base: &Base) -> Vec<Job> {
    let policy = Policy::of(&base.config.workbench);
    let job = |then: Then| {
        let (shared, base) = (shared.clone(), base.clone());
        Job::new(then.name(), TimeDelta::minutes(1), move |now| {
            let round = Round { shared: shared.clone(), base: base.clone(), policy, now };
            async move {
                match policy.due(then, now) {
                    Some(due) => round.run(due, then).await,
                    None => Ok(0),
                }
            }
        })
    };
    [Then::WarnIdle, Then::Stop, Then::WarnAge, Then::Delete].map(job).into()
}

/// A length of time as people say it: hours up to three days.
pub(super) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match (seconds / 3600, seconds % 3600) {
        (hours @ 1..=72, 0) => format!("{hours}h"),
        _ => duration::format(length),
    }
}

/// What the configuration says; none where it says never.
#[derive(Debug, Clone, Copy)]
struct Policy {
    idle: Option<TimeDelta>,
    max_age: Option<TimeDelta>,
    warning: Option<TimeDelta>,
}

impl Policy {
    fn of(config: &config::Workbench) -> Self {
        let some = |length: Duration| TimeDelta::from_std(length).ok().filter(|length| *length > TimeDelta::zero());
        Self { idle: some(config.idle_timeout), max_age: some(config.max_age), warning: some(config.idle_warning) }
    }

    /// How long before the end somebody is warned: never as soon as the time begins.
    fn ahead(&self, of: TimeDelta) -> Option<TimeDelta> {
        self.warning.map(|warning| warning.min(of / 2))
    }

    /// What is due; nothing where the configuration says never, or reaches back before the calendar began.
    fn due(&self, then: Then, now: DateTime<Utc>) -> Option<Due> {
        let of = if matches!(then, Then::WarnIdle | Then::Stop) { self.idle? } else { self.max_age? };
        let (end, ahead) = (now.checked_sub_signed(of)?, self.ahead(of));
        Some(match then {
            Then::WarnIdle => Due::IdleWarning(end + ahead?, end),
            Then::Stop => Due::Idle(end),
            Then::WarnAge => Due::AgeWarning(end + ahead?),
            Then::Delete => Due::Old(end, ahead.map(|ahead| now - ahead)),
        })
    }
}

/// What is done with what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    WarnIdle,
    Stop,
    WarnAge,
    Delete,
}

impl Then {
    /// What the log calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::WarnIdle => "warn of idle workbenches",
            Self::Stop => "stop idle workbenches",
            Self::WarnAge => "warn of old workbenches",
            Self::Delete => "delete old workbenches",
        }
    }
}

struct Round {
    shared: Arc<Shared>,
    base: Base,
    policy: Policy,
    now: DateTime<Utc>,
}

impl Round {
    /// Step by step, until nothing is due; how many rows changed.
    async fn run(&self, due: Due, then: Then) -> Result<u64> {
        let mut changed = 0;
        loop {
            let found = store::due(&self.base.db, due, i64::try_from(STEP).unwrap_or_default()).await?;
            if !found.is_empty() {
                changed += self.step(due, then, &found).await?;
            }
            if found.len() < STEP {
                return Ok(changed);
            }
        }
    }

    async fn step(&self, due: Due, then: Then, found: &[(i64, i64)]) -> Result<u64> {
        let ids: Vec<i64> = found.iter().map(|row| row.0).collect();
        let mut tx = self.base.db.transaction().await?;
        let (rows, touched) = match then {
            Then::WarnIdle | Then::WarnAge => {
                let rows = store::warned(&mut tx, due, &ids, self.now).await?;
                self.warn(&mut tx, then, &rows).await?;
                (rows, Touched::default())
            }
            Then::Stop => {
                let rows = store::stop_idle(&mut tx, due, &ids, self.now).await?;
                self.record(&mut tx, "StopWorkbench", "idle_cleanup", &rows).await?;
                let workbenches = rows.iter().map(|row| row.id).collect();
                (rows, Touched { workbenches, ..Touched::default() })
            }
            Then::Delete => self.delete(&mut tx, due, found).await?,
        };
        let apps_ended = desktops::stamp(&mut tx, &touched).await?;
        tx.commit().await?;
        if apps_ended || then == Then::Delete {
            self.shared.sessions.forget();
        }
        if !touched.is_empty() {
            self.shared.desktops.tell();
        }
        Ok(u64::try_from(rows.len()).unwrap_or_default())
    }

    async fn delete(&self, tx: &mut Tx, due: Due, found: &[(i64, i64)]) -> Result<(Vec<Workbench>, Touched)> {
        // in the order of their ids, so that no two wait for each other
        let mut workspaces: Vec<i64> = found.iter().map(|row| row.1).collect();
        workspaces.dedup();
        for workspace in workspaces {
            roles::lock_workspace(tx, workspace).await?;
        }
        let still: Vec<i64> = store::due(&mut *tx, due, i64::try_from(STEP).unwrap_or_default())
            .await?
            .into_iter()
            .filter(|row| found.contains(row))
            .map(|row| row.0)
            .collect();
        let (rows, touched) = delete_all(tx, &still, self.now).await?;
        sessions::access_changed(&mut *tx).await?;
        self.record(tx, "DeleteWorkbench", "auto_cleanup_timeout", &rows).await?;
        Ok((rows, touched))
    }

    async fn record(&self, tx: &mut Tx, action: &'static str, trigger: &'static str, rows: &[Workbench]) -> Result<()> {
        let request_id: Arc<str> = self.shared.random.uuid().to_string().into();
        let record = |row: &Workbench| {
            Record::of_deed(Deed {
                action,
                actor: None,
                tenant: row.tenant_id,
                request_id: request_id.clone(),
                address: None,
                workspace: Some(row.workspace_id),
                workbench: Some(row.id),
                details: row.details(trigger),
                at: self.now,
            })
        };
        audit::insert_all(&mut *tx, &rows.iter().map(record).collect::<Vec<_>>()).await
    }

    async fn warn(&self, tx: &mut Tx, then: Then, rows: &[Workbench]) -> Result<()> {
        let message = |row: &Workbench| {
            let to = Recipient { tenant_id: row.tenant_id, user_id: row.user_id };
            (to, if then == Then::WarnAge { self.too_old(row) } else { self.unused(row) })
        };
        let messages: Vec<_> = rows.iter().map(message).collect();
        notify_each(&mut *tx, &messages, self.shared.random.uuid(), Content::Plain, self.now).await
    }

    fn unused(&self, row: &Workbench) -> String {
        let at = self.policy.idle.map(|idle| row.active_at + idle).unwrap_or(self.now);
        format!(
            "Nobody has used your workbench {:?} since {}. It stops at {}, and its files stay. Open it to keep it \
             running.",
            row.name,
            minute(row.active_at),
            minute(at)
        )
    }

    fn too_old(&self, row: &Workbench) -> String {
        let due = self.policy.max_age.map(|age| row.created_at + age).unwrap_or(self.now);
        // the server may have been off
        let ahead = self.policy.max_age.and_then(|age| self.policy.ahead(age)).unwrap_or_default();
        let at = due.max(self.now + ahead);
        format!(
            "Your workbench {:?} of {} is too old. It is deleted with its files at {}. Save what you need in the workspace.",
            row.name,
            minute(row.created_at),
            minute(at)
        )
    }
}

fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_said_as_hours() {
        for (seconds, text) in [(24 * 3600, "24h"), (3600, "1h"), (1800, "30m"), (5400, "1h30m"), (14 * 86_400, "14d")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn zero_is_never_and_a_warning_comes_in_time() {
        let now = "2026-03-02T08:00:00Z".parse().unwrap();
        let policy = |idle, warning, age| {
            let of = |hours: u64| Duration::from_secs(hours * 3600);
            let config = config::Workbench {
                idle_timeout: of(idle),
                idle_warning: of(warning),
                max_age: of(age),
                wake_on_open: true,
            };
            Policy::of(&config)
        };
        let never = policy(0, 1, 0);
        for then in [Then::WarnIdle, Then::Stop, Then::WarnAge, Then::Delete] {
            assert!(never.due(then, now).is_none(), "{then:?}");
        }
        assert!(policy(24, 0, 24).due(Then::WarnIdle, now).is_none(), "nobody is warned");
        assert!(
            matches!(policy(24, 0, 24).due(Then::Delete, now), Some(Due::Old(_, None))),
            "so nobody need have been"
        );

        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let Some(Due::IdleWarning(before, after)) = policy(24, 1, 0).due(Then::WarnIdle, now) else { panic!() };
        assert_eq!((before, after), (at("2026-03-01T09:00:00Z"), at("2026-03-01T08:00:00Z")));
        let Some(Due::IdleWarning(before, _)) = policy(2, 5, 0).due(Then::WarnIdle, now) else { panic!() };
        assert_eq!(before, at("2026-03-02T07:00:00Z"), "after half the time at the earliest");
    }
}
