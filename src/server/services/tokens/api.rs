//! The RPCs of API tokens.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;

use super::{
    KEPT_AFTER_END, Tokens, admit, no_token,
    store::{self, TokenRow},
};
use crate::{
    proto::v1,
    server::{
        access::{api_token, caller::Caller, scope::Scope},
        db::PageQuery,
        error::Result,
        pipeline::{Authorized, Pending, generated::TokenHandlers},
        services::{paged, roles, row_id, timestamp, wire_id},
    },
};

impl TokenHandlers for Tokens {
    async fn create_token(&self, call: Pending, request: v1::CreateTokenRequest) -> Result<v1::CreateTokenReply> {
        let now = call.call().now;
        let (row, fresh) = self.create(call, request).await?;
        let result = v1::CreateTokenResult {
            info: Some(message(row, now)),
            // the one time that it is shown
            token: fresh.text.expose_secret().to_owned(),
        };
        Ok(v1::CreateTokenReply { result: Some(result) })
    }

    async fn list_tokens(&self, call: Pending, request: v1::ListTokensRequest) -> Result<v1::ListTokensReply> {
        let (call, owner) = admit(&call, request.user_id)?;
        let page = PageQuery::parse(request.pagination.as_ref(), store::SORTABLE)?;
        if owner != call.id() {
            let held = roles::of(&self.base.db, owner).await?;
            roles::may_administer(&call, owner, &held)?;
        }
        let ended_since = request.with_ended.then(|| call.now() - KEPT_AFTER_END);
        let listed = store::list(&self.base.db, &call, owner, ended_since, &page).await?;
        let pagination = paged(&call, &page, &listed);
        let tokens = listed.rows.into_iter().map(|row| message(row, call.now())).collect();
        Ok(v1::ListTokensReply { result: Some(v1::ListTokensResult { tokens }), pagination: Some(pagination) })
    }

    async fn revoke_token(&self, call: Authorized, request: v1::RevokeTokenRequest) -> Result<v1::RevokeTokenReply> {
        self.revoke(&call, row_id(request.id, "API token")?).await?;
        Ok(v1::RevokeTokenReply { result: Some(v1::RevokeTokenResult {}) })
    }

    async fn owner(&self, caller: &Caller, id: u64) -> Result<i64> {
        let id = row_id(id, "API token")?;
        let row = store::find(&self.base.db, caller.tenant(), id).await?;
        row.map(|row| row.user_id).ok_or_else(|| no_token(id))
    }
}

fn message(row: TokenRow, now: DateTime<Utc>) -> v1::ApiToken {
    let status = if row.revoked_at.is_some() {
        "revoked"
    } else if row.expires_at <= now {
        "expired"
    } else {
        "active"
    };
    v1::ApiToken {
        id: wire_id(row.id),
        user_id: wire_id(row.user_id),
        name: row.name,
        prefix: api_token::shown_part(&row.public_id),
        scopes: row.scopes.0.iter().map(|text| scope(text)).collect(),
        networks: row.networks.0,
        status: status.to_owned(),
        created_by: wire_id(row.created_by),
        created_at: Some(timestamp(row.created_at)),
        expires_at: Some(timestamp(row.expires_at)),
        last_used_at: row.last_used_at.map(timestamp),
        last_used_address: row.last_used_address,
        revoked_at: row.revoked_at.map(timestamp),
    }
}

/// A stored scope; one that cannot be read any more is shown as it is, and allows nothing.
fn scope(text: &str) -> v1::TokenScope {
    match Scope::parse(text) {
        Err(_) => v1::TokenScope { permission: text.to_owned(), ..Default::default() },
        Ok(scope) => v1::TokenScope {
            permission: scope.permission().name().to_owned(),
            context: scope.context().bindings().map(|(d, b)| (d.as_str().to_owned(), b.to_string())).collect(),
        },
    }
}
