//! API tokens in use: who is behind one, and whether it may be used now, from there.
//!
//! Rows are read once and kept as sessions are, see [`super::sessions`]: revoking a token, disabling its owner or changing
//! the owner's roles takes effect within a second on every replica. What always holds: only who shows the right secret
//! learns why a token is refused; to anybody else an unknown token, a revoked one and a wrong secret look the same.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{
    api_token::{SecretHash, Shown},
    caller::{Account, ApiToken, Caller, Credential},
    decide::Roles,
    memory::Memory,
    rights::{self, Rights},
    scope::{Scope, Scopes},
    sessions::TOUCH_EVERY,
};
use crate::server::{
    config::Network,
    db::{Db, Json, On, sql},
    error::{Error, Result},
};

/// The API tokens that were used lately.
pub(super) struct ApiTokens {
    kept: Memory<Kept>,
    built_in: Arc<Roles>,
}

struct Kept {
    caller: Arc<Caller>,
    token: Arc<ApiToken>,
    secret_hash: SecretHash,
    networks: Networks,
    owner_is_fit: bool,
    expires_at: DateTime<Utc>,
    revoked: bool,
    /// In microseconds; 0 when it was never used.
    last_used_at: AtomicI64,
}

/// From where a token may be used.
struct Networks {
    confined: bool,
    list: Vec<Network>,
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    account: Account,
    token_id: i64,
    token_name: String,
    secret_hash: Vec<u8>,
    scopes: Json<Vec<String>>,
    networks: Json<Vec<String>>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl ApiTokens {
    pub(super) fn new(built_in: Arc<Roles>) -> Self {
        Self { kept: Memory::default(), built_in }
    }

    pub(super) fn forget(&self) {
        self.kept.forget();
    }

    /// The owner of the token that was shown from this address.
    pub(super) async fn in_use(
        &self,
        db: &Db,
        shown: Shown<'_>,
        from: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Caller>> {
        let kept = self.find(db, shown.public_id).await?;
        let stored = kept.as_ref().map_or([0; 32], |kept| kept.secret_hash);
        // an unknown token is compared as well, with what no secret has as its hash
        let kept = kept.filter(|_| shown.is(&stored)).ok_or_else(invalid)?;
        kept.used(db, from, now).await
    }

    /// The owner of the token in whose name somebody acts at this address.
    pub(super) async fn behind(
        &self,
        db: &Db,
        public_id: &str,
        from: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Caller>> {
        self.find(db, public_id).await?.ok_or_else(invalid)?.used(db, from, now).await
    }

    /// The owner of a token that was shown before, without counting as its use.
    pub(super) async fn caller(&self, db: &Db, token: &ApiToken, now: DateTime<Utc>) -> Result<Arc<Caller>> {
        let kept = self.find(db, &token.public_id).await?.ok_or_else(invalid)?;
        kept.usable(now)?;
        Ok(kept.caller.clone())
    }

    async fn find(&self, db: &Db, public_id: &str) -> Result<Option<Arc<Kept>>> {
        if let Some(kept) = self.kept.get(public_id) {
            return Ok(Some(kept));
        }
        let generation = self.kept.generation();
        let row: Option<Row> = sql(
            "SELECT u.id, u.tenant_id, u.first_name, u.last_name, u.username, u.source, u.email, u.status, u.totp_enabled, \
             u.password_changed, u.created_at, u.updated_at, t.id AS token_id, t.name AS token_name, t.secret_hash, \
             t.scopes, t.networks, t.expires_at, t.revoked_at, t.last_used_at \
             FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE t.public_id = $1",
        )
        .bind(public_id)
        .maybe(db)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let rights = rights::read(db, &self.built_in, row.account.id).await?;
        let public_id: Arc<str> = public_id.into();
        let kept = Arc::new(row.keep(public_id.clone(), rights)?);
        self.kept.keep(generation, public_id, kept.clone());
        Ok(Some(kept))
    }
}

impl Row {
    fn keep(self, public_id: Arc<str>, rights: Rights) -> Result<Kept> {
        let token = Arc::new(ApiToken {
            id: self.token_id,
            public_id,
            name: self.token_name,
            // a scope that cannot be read any more allows nothing
            scopes: self.scopes.0.iter().filter_map(|text| Scope::parse(text).ok()).collect::<Scopes>(),
        });
        Ok(Kept {
            secret_hash: self.secret_hash.try_into().map_err(|_| Error::internal("the hash of a token is damaged"))?,
            networks: Networks::read(&self.networks.0),
            // whoever has a temporary password can do nothing but replace it, by a token as well
            owner_is_fit: self.account.status == "active" && self.account.password_changed,
            expires_at: self.expires_at,
            revoked: self.revoked_at.is_some(),
            last_used_at: AtomicI64::new(self.last_used_at.map_or(0, |at| at.timestamp_micros())),
            caller: Arc::new(Caller::new(self.account, Credential::Token(token.clone()), rights)),
            token,
        })
    }
}

impl Kept {
    fn usable(&self, now: DateTime<Utc>) -> Result<()> {
        let (reason, text) = if self.revoked {
            ("TOKEN_REVOKED", "This API token was revoked. Make a new one.")
        } else if now >= self.expires_at {
            ("TOKEN_EXPIRED", "This API token has expired. Make a new one.")
        } else if !self.owner_is_fit {
            ("TOKEN_OWNER_INACTIVE", "The account of this API token is not in use.")
        } else {
            return Ok(());
        };
        Err(Error::unauthenticated(reason, text))
    }

    /// The owner, for whom the token is used from this address.
    async fn used(&self, db: &Db, from: Option<IpAddr>, now: DateTime<Utc>) -> Result<Arc<Caller>> {
        self.usable(now)?;
        if !self.networks.contain(from) {
            let text = "This API token may not be used from this address. Its networks were stated when it was made.";
            return Err(Error::unauthenticated("TOKEN_ADDRESS", text));
        }
        self.touch(db, from, now).await;
        Ok(self.caller.clone())
    }

    /// Notes the use, at most once in a while.
    async fn touch(&self, db: &Db, from: Option<IpAddr>, now: DateTime<Utc>) {
        let seen = self.last_used_at.load(Ordering::Acquire);
        if now.timestamp_micros() - seen < TOUCH_EVERY.num_microseconds().unwrap_or(i64::MAX) {
            return;
        }
        self.last_used_at.store(now.timestamp_micros(), Ordering::Release);
        let touch = sql("UPDATE api_tokens SET last_used_at = $1, last_used_address = $2 WHERE id = $3")
            .bind(now)
            .bind(from.map(|address| address.to_string()).unwrap_or_default())
            .bind(self.token.id);
        // the call does not fail for it; the next one tries again
        if let Err(error) = touch.run(db).await {
            self.last_used_at.store(seen, Ordering::Release);
            tracing::warn!(target: "chorus::tokens", token = self.token.id, %error, "the use of a token was not stored");
        }
    }
}

impl Networks {
    /// A network that cannot be read opens nothing, and a list of such ones is not an empty list.
    fn read(texts: &[String]) -> Self {
        Self { confined: !texts.is_empty(), list: texts.iter().filter_map(|text| text.parse().ok()).collect() }
    }

    fn contain(&self, from: Option<IpAddr>) -> bool {
        !self.confined || from.is_some_and(|address| self.list.iter().any(|network| network.contains(address)))
    }
}

/// Ends every token of a user. The caller's transaction decides whether it lasts, and says that access changed.
pub async fn revoke_of_user(on: impl Into<On<'_>>, user: i64, now: DateTime<Utc>) -> Result<()> {
    sql("UPDATE api_tokens SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL")
        .bind(now)
        .bind(user)
        .run(on)
        .await?;
    Ok(())
}

/// The one answer to whatever is wrong with the token itself.
pub(super) fn invalid() -> Error {
    Error::unauthenticated("TOKEN_INVALID", "The API token is not valid. Check that it is complete, or make a new one.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_confine() {
        let networks = |texts: &[&str]| Networks::read(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        let from = |text: &str| Some(text.parse().unwrap());
        for (texts, address, expected) in [
            (&[][..], None, true),
            (&[], from("192.0.2.1"), true),
            (&["192.0.2.0/24"], from("192.0.2.1"), true),
            (&["192.0.2.0/24"], from("::ffff:192.0.2.1"), true),
            (&["192.0.2.0/24"], from("198.51.100.1"), false),
            (&["192.0.2.0/24", "2001:db8::/32"], from("2001:db8::7"), true),
            (&["192.0.2.0/24"], None, false),
            (&["what is this"], from("192.0.2.1"), false),
        ] {
            assert_eq!(networks(texts).contain(address), expected, "{texts:?} {address:?}");
        }
    }
}
