//! How a browser without a session cookie opens a desktop: with a ticket, which it exchanges for a cookie.
//!
//! ```text
//! CreateStreamTicket ──► ticket in an address, 30 s, one use ──► cookie for that desktop's path, 12 h at most
//! ```
//!
//! Both are 256 random bits, of which the database has the SHA-256. What always holds: a ticket opens one workbench, once;
//! neither gives more than the session or API token that made the ticket, which is asked again at each use; both are gone
//! with it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;
use zeroize::Zeroizing;

use super::caller::{Caller, Credential};
use crate::server::{
    db::{Db, On, sql},
    error::{Error, Result},
    random::Random,
};

/// The name of the cookie. It is sent to the paths of one desktop only.
pub const COOKIE: &str = "chorus_stream";
/// How long a ticket is good.
pub const TICKET_LASTS: TimeDelta = TimeDelta::seconds(30);
/// How long a cookie is good, unless its session ends before.
pub const COOKIE_LASTS: TimeDelta = TimeDelta::hours(12);

const BYTES: usize = 32;
/// How many rows are removed at a time.
const MOST_REMOVED: i64 = 1000;

/// What a pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ticket,
    Cookie,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Cookie => "cookie",
        }
    }
}

/// The credential in whose name a pass opens a desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// The id of a session.
    Session(String),
    /// The public id of an API token.
    Token(String),
}

#[derive(FromRow)]
struct MakerRow {
    session_id: Option<String>,
    api_token: Option<String>,
}

impl MakerRow {
    fn maker(self) -> Option<Maker> {
        self.session_id.map(Maker::Session).or(self.api_token.map(Maker::Token))
    }
}

/// A pass that was just made.
pub struct Fresh {
    /// What shows it. Told once.
    pub secret: SecretString,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Makes a ticket of the caller for a workbench.
///
/// # Errors
/// For a visitor, who has no credential to act for.
pub async fn ticket(
    on: impl Into<On<'_>>,
    by: &Caller,
    workbench: i64,
    random: &dyn Random,
    now: DateTime<Utc>,
) -> Result<Fresh> {
    let maker = match by.credential() {
        Credential::Session { id, .. } => Maker::Session(id.to_string()),
        Credential::Kiosk(kiosk) => Maker::Session(kiosk.session.to_string()),
        Credential::Token(token) => Maker::Token(token.public_id.to_string()),
        Credential::Visitor => return Err(Error::internal("a visitor makes no tickets")),
    };
    make(on.into(), Kind::Ticket, &maker, workbench, random, (now, now + TICKET_LASTS)).await
}

/// Exchanges a ticket for a cookie. Nothing when the ticket is not good: unknown, used, late, or for another workbench.
pub async fn redeem(
    db: &Db,
    ticket: &str,
    workbench: i64,
    random: &dyn Random,
    now: DateTime<Utc>,
) -> Result<Option<(Maker, Fresh)>> {
    let mut tx = db.transaction().await?;
    let row: Option<MakerRow> = sql("DELETE FROM stream_passes WHERE secret_hash = $1 AND kind = 'ticket' \
         AND workbench_id = $2 AND expires_at > $3 RETURNING session_id, api_token")
    .bind(hash(ticket))
    .bind(workbench)
    .bind(now)
    .maybe(&mut tx)
    .await?;
    let Some(maker) = row.and_then(MakerRow::maker) else { return Ok(None) };
    let fresh = make((&mut tx).into(), Kind::Cookie, &maker, workbench, random, (now, now + COOKIE_LASTS)).await?;
    tx.commit().await?;
    Ok(Some((maker, fresh)))
}

/// In whose name a cookie opens a workbench, if it does.
pub async fn maker(db: &Db, cookie: &str, workbench: i64, now: DateTime<Utc>) -> Result<Option<Maker>> {
    let row: Option<MakerRow> = sql("SELECT session_id, api_token FROM stream_passes WHERE secret_hash = $1 \
         AND kind = 'cookie' AND workbench_id = $2 AND expires_at > $3")
    .bind(hash(cookie))
    .bind(workbench)
    .bind(now)
    .maybe(db)
    .await?;
    Ok(row.and_then(MakerRow::maker))
}

/// Removes passes that ended; returns how many.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_ended(db: &Db, now: DateTime<Utc>) -> Result<u64> {
    let mut removed = 0;
    loop {
        let step =
            sql("DELETE FROM stream_passes WHERE id IN (SELECT id FROM stream_passes WHERE expires_at <= $1 LIMIT $2)")
                .bind(now)
                .bind(MOST_REMOVED)
                .run(db)
                .await?;
        removed += step;
        if step == 0 {
            return Ok(removed);
        }
    }
}

async fn make(
    on: On<'_>,
    kind: Kind,
    maker: &Maker,
    workbench: i64,
    random: &dyn Random,
    (now, expires_at): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Fresh> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    random.fill(&mut *bytes);
    let secret = SecretString::from(BASE64.encode(*bytes));
    let (session, token) = match maker {
        Maker::Session(id) => (Some(id.clone()), None),
        Maker::Token(id) => (None, Some(id.clone())),
    };
    sql("INSERT INTO stream_passes (secret_hash, kind, workbench_id, session_id, api_token, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)")
    .bind(hash(secret.expose_secret()))
    .bind(kind.as_str())
    .bind(workbench)
    .bind(session)
    .bind(token)
    .bind(now)
    .bind(expires_at)
    .run(on)
    .await?;
    Ok(Fresh { secret, expires_at })
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}
