//! Sessions: who is behind a token, answered from memory where that is safe.
//!
//! A token names a row of `sessions`; user, status and roles are read from the store and kept in memory. One row,
//! `access_version`, is raised in the transaction of every change of a session, user, role or membership. Before memory
//! is trusted that row is read, at most once in `CHECK_EVERY`; when it moved, everything is forgotten. So sign-out,
//! disabling a user and revoking a role take effect within a second on every replica, and at once on the one that did it.
//! API tokens are kept in the same way, see [`super::api_tokens`].

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use tokio::{sync::Mutex, time::Instant};

use super::{
    api_token::Shown,
    api_tokens::{self, ApiTokens},
    caller::{Account, Caller, Credential, Kiosk},
    decide::{Assignment, Roles},
    kiosk,
    memory::Memory,
    rights::{self, Rights},
    stream_pass::Maker,
    token::{Presented, Tokens},
};
use crate::server::{
    access::catalogue::Dimension,
    access::context::{Bound, Context},
    db::{Db, DbError, On, Tx, sql},
    desktops::Touched,
    error::{Error, Result},
};

/// How long memory is trusted without asking the database.
const CHECK_EVERY: Duration = Duration::from_millis(700);
/// Use is noted with this precision, so that reading does not write.
pub(super) const TOUCH_EVERY: TimeDelta = TimeDelta::minutes(5);

/// How long the row of a session stays after its end.
const KEPT_AFTER_END: TimeDelta = TimeDelta::days(1);
/// How many rows are removed at a time.
const MOST_REMOVED: i64 = 1000;

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime {
    /// A session ends when it is not used for this long.
    pub idle: TimeDelta,
    /// A session ends this long after sign-in.
    pub absolute: TimeDelta,
}

/// The sessions of this installation.
pub struct Sessions {
    db: Db,
    tokens: Tokens,
    lifetime: Lifetime,
    built_in: Arc<Roles>,
    visitor: Arc<Caller>,
    kept: Memory<Kept>,
    api_tokens: ApiTokens,
    checked: Mutex<Checked>,
}

struct Checked {
    at: Option<Instant>,
    version: i64,
    /// Whether the database answered.
    answered: bool,
}

struct Kept {
    caller: Arc<Caller>,
    expires_at: DateTime<Utc>,
    last_seen_at: AtomicI64,
}

impl Kept {
    fn last_seen(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.last_seen_at.load(Ordering::Acquire)).unwrap_or_default()
    }
}

/// A session that was just opened or renewed.
pub struct Opened {
    /// The token that names the session.
    pub token: String,
    /// When the session ends at the latest.
    pub expires_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct SessionRow {
    #[sqlx(flatten)]
    account: Account,
    restricted: bool,
    expires_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    /// Of the session of an app instance: which, and its workspace.
    app_instance_id: Option<i64>,
    app_workspace: Option<i64>,
}

/// A row of `role_assignments`.
#[derive(Debug, FromRow)]
pub struct AssignmentRow {
    /// The id of the assignment.
    pub id: i64,
    /// The user who holds it.
    pub user_id: i64,
    role: String,
    workspace: Option<String>,
    workbench: Option<String>,
    user_context: Option<String>,
}

impl AssignmentRow {
    /// The assignment, for decisions. A value that cannot be read binds nothing, so it grants nothing.
    pub fn assignment(&self) -> Assignment {
        let mut context = Context::NONE;
        for (dimension, value) in [
            (Dimension::Workspace, &self.workspace),
            (Dimension::Workbench, &self.workbench),
            (Dimension::User, &self.user_context),
        ] {
            if let Some(bound) = value.as_deref().and_then(Bound::parse) {
                context = context.with(dimension, bound);
            }
        }
        Assignment { id: self.id, role: self.role.as_str().into(), context }
    }
}

impl Sessions {
    /// The part of somebody's rights that an app in this workspace has: by roles that are bound to the workspace, or to a
    /// workbench in it, and to nothing else.
    async fn within(&self, rights: Rights, workspace: i64) -> Result<Rights> {
        let bound = |context: &Context, dimension| match context.get(dimension) {
            Some(Bound::Id(id)) => Some(id),
            Some(Bound::Any) | None => None,
        };
        let held = rights.assignments().iter().filter_map(|held| bound(&held.context, Dimension::Workbench));
        let workbenches: Vec<(i64,)> = sql("SELECT id FROM workbenches WHERE workspace_id = $1 AND deleted_at IS NULL")
            .bind(workspace)
            .and_in("id", Some(held))
            .all(&self.db)
            .await?;
        Ok(rights.only(|context| {
            let mut bindings = context.bindings().peekable();
            bindings.peek().is_some()
                && bindings.all(|(dimension, bound)| match (dimension, bound) {
                    (Dimension::Workspace, Bound::Id(id)) => id == workspace,
                    (Dimension::Workbench, Bound::Id(id)) => workbenches.contains(&(id,)),
                    _ => false,
                })
        }))
    }

    /// Sessions over this database. `visitors` is the tenant whose public pages visitors see.
    pub fn new(db: Db, tokens: Tokens, lifetime: Lifetime, visitors: i64, built_in: Roles) -> Self {
        let built_in = Arc::new(built_in);
        Self {
            db,
            tokens,
            lifetime,
            visitor: Arc::new(Caller::visitor(visitors, built_in.clone())),
            api_tokens: ApiTokens::new(built_in.clone()),
            built_in,
            kept: Memory::default(),
            checked: Mutex::new(Checked { at: None, version: 0, answered: true }),
        }
    }

    /// Somebody who is not signed in.
    pub fn visitor(&self) -> Arc<Caller> {
        self.visitor.clone()
    }

    /// The roles that come with this server.
    pub fn built_in_roles(&self) -> &Arc<Roles> {
        &self.built_in
    }

    /// The caller behind what a call from this address presents.
    pub async fn authenticate(
        &self,
        presented: Presented<'_>,
        from: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Caller>> {
        match presented {
            Presented::Session(token) => self.authenticate_session(token, now).await,
            Presented::ApiToken(text) => {
                // what is no token at all costs no query
                let shown = Shown::parse(text).ok_or_else(api_tokens::invalid)?;
                self.check().await?;
                self.api_tokens.in_use(&self.db, shown, from, now).await
            }
        }
    }

    /// The same caller, as it is now: an error when the credential is no longer good. Does not count as its use.
    pub async fn again(&self, caller: &Arc<Caller>, now: DateTime<Utc>) -> Result<Arc<Caller>> {
        match caller.credential() {
            Credential::Visitor => Ok(caller.clone()),
            Credential::Session { id, .. } => Ok(self.alive(id, now).await?.caller.clone()),
            Credential::Kiosk(kiosk) => Ok(self.alive(&kiosk.session, now).await?.caller.clone()),
            Credential::Token(token) => {
                self.check().await?;
                self.api_tokens.caller(&self.db, token, now).await
            }
        }
    }

    /// The caller in whose name somebody at this address opens a desktop with what was made for it. Counts as use of the
    /// session or token.
    ///
    /// # Errors
    /// 401 when that session or token is no longer good, or may not be used from there.
    pub async fn behind(&self, maker: &Maker, from: Option<IpAddr>, now: DateTime<Utc>) -> Result<Arc<Caller>> {
        match maker {
            Maker::Session(id) => self.in_use(id, now).await,
            Maker::Token(public_id) => {
                self.check().await?;
                self.api_tokens.behind(&self.db, public_id, from, now).await
            }
        }
    }

    async fn authenticate_session(&self, token: &str, now: DateTime<Utc>) -> Result<Arc<Caller>> {
        let claims = self.tokens.verify(token, now)?;
        let caller = self.in_use(&claims.session, now).await?;
        // a token is signed by us, so a difference means that it was minted for another database
        match caller.id() == claims.user && caller.tenant() == claims.tenant {
            true => Ok(caller),
            false => Err(ended()),
        }
    }

    /// The caller behind a session that is being used.
    async fn in_use(&self, session: &str, now: DateTime<Utc>) -> Result<Arc<Caller>> {
        let kept = self.alive(session, now).await?;
        let seen = kept.last_seen_at.load(Ordering::Acquire);
        if now - kept.last_seen() >= TOUCH_EVERY.min(self.lifetime.idle / 4) {
            kept.last_seen_at.store(now.timestamp_micros(), Ordering::Release);
            // another replica may have seen it later
            let touch = sql("UPDATE sessions SET last_seen_at = $1 WHERE id = $2 AND last_seen_at < $1");
            let touch = touch.bind(now).bind(session);
            // the call does not fail for it; the next one tries again
            if let Err(error) = touch.run(&self.db).await {
                kept.last_seen_at.store(seen, Ordering::Release);
                tracing::warn!(target: "chorus::sessions", %error, "the use of a session was not stored");
            }
        }
        Ok(kept.caller.clone())
    }

    async fn alive(&self, session: &str, now: DateTime<Utc>) -> Result<Arc<Kept>> {
        self.check().await?;
        let kept = self.kept.get(session);
        let over = |kept: &Kept| now >= kept.expires_at || now - kept.last_seen() >= self.lifetime.idle;
        let kept = match kept {
            Some(kept) if !over(&kept) => kept,
            // not known here, or in use on another replica
            _ => self.load(session).await?,
        };
        if over(&kept) { Err(ended()) } else { Ok(kept) }
    }

    /// Sessions that were last used at this moment or before have ended.
    pub fn idle_since(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - self.lifetime.idle
    }

    /// Removes the rows of sessions that ended more than a day ago; returns how many. Until then they stay for whoever looks
    /// into an incident.
    pub async fn remove_ended(&self, now: DateTime<Utc>) -> Result<u64> {
        let ended = now - KEPT_AFTER_END;
        let mut removed = 0;
        loop {
            // in small steps, since others want to write too
            let step = sql("DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
                 WHERE expires_at < $1 OR revoked_at < $1 OR last_seen_at < $2 LIMIT $3)")
            .bind(ended)
            .bind(self.idle_since(ended))
            .bind(MOST_REMOVED)
            .run(&self.db)
            .await?;
            removed += step;
            if step == 0 {
                return Ok(removed);
            }
        }
    }

    /// Drops everything from memory.
    pub fn forget(&self) {
        self.kept.forget();
        self.api_tokens.forget();
    }

    /// Opens a session and returns its token. The caller's transaction decides whether it lasts.
    pub async fn open(
        &self,
        on: impl Into<On<'_>>,
        account: &Account,
        id: &str,
        from: (&str, &str),
        now: DateTime<Utc>,
    ) -> Result<Opened> {
        self.insert(on, account, id, from, None, now, now + self.lifetime.absolute).await
    }

    /// Opens the session of an app instance, in the same way: for this start of it, until this time at the latest.
    pub async fn open_kiosk(
        &self,
        on: impl Into<On<'_>>,
        account: &Account,
        id: &str,
        from: (&str, &str),
        claims: &kiosk::Claims,
        now: DateTime<Utc>,
    ) -> Result<Opened> {
        let start = Some((claims.instance, claims.incarnation));
        self.insert(on, account, id, from, start, now, claims.expires.min(now + self.lifetime.absolute)).await
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a row")]
    async fn insert(
        &self,
        on: impl Into<On<'_>>,
        account: &Account,
        id: &str,
        from: (&str, &str),
        app: Option<(i64, i64)>,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<Opened> {
        sql(
            "INSERT INTO sessions (id, user_id, tenant_id, created_at, last_seen_at, expires_at, user_agent, address, \
             restricted, app_instance_id, app_incarnation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(id)
        .bind(account.id)
        .bind(account.tenant_id)
        .bind(now)
        .bind(now)
        .bind(expires_at)
        .bind(from.0)
        .bind(from.1)
        // whoever has to choose a password does so in a session of his own
        .bind(!account.password_changed && app.is_none())
        .bind(app.map(|app| app.0))
        .bind(app.map(|app| app.1))
        .run(on)
        .await?;
        let token = self.tokens.sign(account.id, account.tenant_id, id, now, expires_at)?;
        Ok(Opened { token, expires_at })
    }

    /// A fresh token for a session that goes on.
    pub async fn renew(&self, caller: &Caller, now: DateTime<Utc>) -> Result<Opened> {
        let session = caller.session().ok_or_else(ended)?;
        let row: Option<(DateTime<Utc>,)> = sql("SELECT expires_at FROM sessions WHERE id = $1 AND revoked_at IS NULL")
            .bind(&**session)
            .maybe(&self.db)
            .await?;
        let (expires_at,) = row.ok_or_else(ended)?;
        let token = self.tokens.sign(caller.id(), caller.tenant(), session, now, expires_at)?;
        Ok(Opened { token, expires_at })
    }

    /// Refuses a caller whose session ended since the call was admitted.
    pub async fn require_open(&self, on: impl Into<On<'_>>, caller: &Caller) -> Result<()> {
        let session = caller.session().ok_or_else(ended)?;
        let row: Option<(String,)> =
            sql("SELECT id FROM sessions WHERE id = $1 AND revoked_at IS NULL").bind(&**session).maybe(on).await?;
        row.map(drop).ok_or_else(ended)
    }

    /// Ends sessions of a user: all, or all but one.
    pub async fn revoke_of_user(
        &self,
        on: impl Into<On<'_>>,
        user: i64,
        but: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        sql("UPDATE sessions SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL AND id <> $3")
            .bind(now)
            .bind(user)
            .bind(but.unwrap_or_default())
            .run(on)
            .await?;
        Ok(())
    }

    /// When the sign-in was that opened a session.
    pub async fn opened_at(&self, on: impl Into<On<'_>>, session: &str) -> Result<Option<DateTime<Utc>>> {
        let row: Option<(DateTime<Utc>,)> =
            sql("SELECT created_at FROM sessions WHERE id = $1").bind(session).maybe(on).await?;
        Ok(row.map(|row| row.0))
    }

    /// Makes a restricted session an ordinary one: the temporary password was replaced.
    pub async fn lift_restriction(&self, on: impl Into<On<'_>>, session: &str) -> Result<()> {
        sql("UPDATE sessions SET restricted = FALSE WHERE id = $1").bind(session).run(on).await?;
        Ok(())
    }

    /// Ends one session.
    pub async fn revoke(&self, on: impl Into<On<'_>>, session: &str, now: DateTime<Utc>) -> Result<()> {
        sql("UPDATE sessions SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
            .bind(now)
            .bind(session)
            .run(on)
            .await?;
        Ok(())
    }

    /// Forgets everything if access changed somewhere since the last look.
    async fn check(&self) -> Result<()> {
        let mut checked = self.checked.lock().await;
        if checked.at.is_some_and(|at| at.elapsed() < CHECK_EVERY) {
            // those who waited for a check that failed do not each wait for another one
            return if checked.answered {
                Ok(())
            } else {
                Err(DbError::Unavailable("it did not answer".into()).into())
            };
        }
        let asked = Instant::now();
        let found: Result<(i64,), DbError> = sql("SELECT version FROM access_version WHERE id = 1").one(&self.db).await;
        match found {
            Ok((version,)) => {
                if version != checked.version {
                    self.forget();
                    // a rotation of the keyring is such a change too
                    self.tokens.follow(&self.db).await?;
                }
                *checked = Checked { at: Some(asked), version, answered: true };
                Ok(())
            }
            Err(error) => {
                *checked = Checked { at: Some(Instant::now()), answered: false, ..*checked };
                Err(error.into())
            }
        }
    }

    async fn load(&self, session: &str) -> Result<Arc<Kept>> {
        let generation = self.kept.generation();
        let row: Option<SessionRow> = sql(
            "SELECT u.id, u.tenant_id, u.first_name, u.last_name, u.username, u.source, u.email, u.status, u.totp_enabled, \
             u.password_changed, u.created_at, u.updated_at, s.restricted, s.expires_at, s.last_seen_at, \
             s.app_instance_id, i.workspace_id AS app_workspace \
             FROM sessions s JOIN users u ON u.id = s.user_id \
             LEFT JOIN app_instances i ON i.id = s.app_instance_id LEFT JOIN workbenches w ON w.id = i.workbench_id \
             WHERE s.revoked_at IS NULL AND u.status = 'active' AND (s.app_instance_id IS NULL OR (",
        )
        .push(SAME_START)
        .push(APP_IS_WANTED)
        .push(")) AND s.id = $1")
        .bind(session)
        .maybe(&self.db)
        .await?;
        let row = row.ok_or_else(ended)?;
        let rights = rights::read(&self.db, &self.built_in, row.account.id).await?;
        let id: Arc<str> = session.into();
        let (credential, rights) = match row.app_instance_id {
            None => (Credential::Session { id: id.clone(), restricted: row.restricted }, rights),
            Some(app_instance) => {
                let kiosk = Kiosk { session: id.clone(), app_instance };
                let workspace = row.app_workspace.ok_or_else(ended)?;
                (Credential::Kiosk(Arc::new(kiosk)), self.within(rights, workspace).await?)
            }
        };
        let kept = Arc::new(Kept {
            last_seen_at: AtomicI64::new(row.last_seen_at.timestamp_micros()),
            expires_at: row.expires_at,
            caller: Arc::new(Caller::new(row.account, credential, rights)),
        });
        self.kept.keep(generation, id, kept.clone());
        Ok(kept)
    }
}

/// What holds of an app instance `i` in the workbench `w` that runs, or is about to.
pub const APP_IS_WANTED: &str = "i.deleted_at IS NULL AND i.k8s_state = 'Running' AND \
     i.k8s_status NOT IN ('Complete', 'Failed', 'Stopped', 'Killed') AND w.wanted = 'running'";

/// What holds of the session `s` that it opened, as long as that is good: it is the same start.
const SAME_START: &str = "i.incarnation = s.app_incarnation AND ";

/// Ends the sessions of these app instances, and of those in these workbenches, that are not good any more, and says whether
/// there were any. For whoever
/// changes such a row, in the same transaction; [`desktops::stamp`](crate::server::desktops::stamp) does it for all.
pub async fn end_of_apps(tx: &mut Tx, touched: &Touched) -> Result<bool> {
    let mut any = false;
    for (column, ids) in [("i.id", &touched.app_instances), ("i.workbench_id", &touched.workbenches)] {
        if ids.is_empty() {
            continue;
        }
        // a row says no time of its own, so a session counts as ended when it was last seen
        let ended = sql("UPDATE sessions SET revoked_at = last_seen_at WHERE revoked_at IS NULL AND id IN (\
             SELECT s.id FROM sessions s JOIN app_instances i ON i.id = s.app_instance_id \
             JOIN workbenches w ON w.id = i.workbench_id WHERE s.revoked_at IS NULL")
        .and_in(column, Some(ids.iter().copied()))
        .push(" AND NOT (")
        .push(SAME_START)
        .push(APP_IS_WANTED)
        .push("))")
        .run(&mut *tx)
        .await?;
        any |= ended > 0;
    }
    if any {
        access_changed(tx).await?;
    }
    Ok(any)
}

/// Tells every replica that a session, user, role, membership or key changes.
pub async fn access_changed(on: impl Into<On<'_>>) -> Result<()> {
    sql("UPDATE access_version SET version = version + 1 WHERE id = 1").run(on).await?;
    Ok(())
}

/// The role assignments of these users, by user and id.
pub async fn assignments(on: impl Into<On<'_>>, users: &[i64]) -> Result<Vec<AssignmentRow>> {
    Ok(sql("SELECT id, user_id, role, workspace, workbench, user_context FROM role_assignments WHERE 1 = 1")
        .and_in("user_id", Some(users.iter().copied()))
        .push(" ORDER BY user_id, id")
        .all(on)
        .await?)
}

fn ended() -> Error {
    Error::unauthenticated("SESSION_ENDED", "The session has ended. Sign in again.")
}
