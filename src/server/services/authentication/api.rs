//! The RPCs of signing in and out. A session's token is in the reply, for programs, and in the cookie, for browsers.
//! A second cookie lets the throttle know the browser again; it opens nothing.

use http::header::SET_COOKIE;

use super::{
    Authentication, SignedIn, device, sessions,
    store::{self, Row},
};
use crate::{
    proto::v1,
    server::{
        access::{caller::Account, sessions::Opened, throttle},
        db::PageQuery,
        error::Result,
        pipeline::{Authorized, Pending, generated::AuthenticationHandlers},
        services::{paged, timestamp, wire_id},
    },
};

impl AuthenticationHandlers for Authentication {
    async fn get_authentication_modes(
        &self,
        _: Authorized,
        _: v1::GetAuthenticationModesRequest,
    ) -> Result<v1::GetAuthenticationModesReply> {
        let internal = v1::AuthenticationMode {
            r#type: "internal".to_owned(),
            internal: Some(v1::Internal { public_registration_enabled: self.base.config.public_registration }),
            openid: None,
            button_text: "Sign in".to_owned(),
            icon_url: String::new(),
        };
        Ok(v1::GetAuthenticationModesReply { result: Some(v1::GetAuthenticationModesResult { modes: vec![internal] }) })
    }

    async fn authenticate(&self, call: Authorized, request: v1::Credentials) -> Result<v1::AuthenticationReply> {
        let v1::Credentials { username, password, totp } = request;
        let SignedIn { opened, device } = self.sign_in(&call, &username, password.into(), totp.into()).await?;
        let token = self.hand_out(&call, opened)?;
        if let Some(device) = device {
            let expires = call.now() + throttle::KNOWN_FOR;
            let cookie = call.call().shared().cookie.set_other(
                throttle::DEVICE_COOKIE,
                &device.text(),
                throttle::DEVICE_PATH,
                expires,
            )?;
            call.call().reply_header(SET_COOKIE, cookie);
        }
        Ok(v1::AuthenticationReply { result: Some(v1::AuthenticationResult { token }) })
    }

    async fn refresh_token(&self, call: Authorized, _: v1::RefreshTokenRequest) -> Result<v1::RefreshTokenReply> {
        let renewed = call.call().shared().sessions.renew(&call, call.now()).await?;
        let token = self.hand_out(&call, renewed)?;
        Ok(v1::RefreshTokenReply { result: Some(v1::RefreshTokenResult { token }) })
    }

    async fn logout(&self, call: Authorized, _: v1::LogoutRequest) -> Result<v1::LogoutReply> {
        if let Some(session) = call.session() {
            let mut change = self.base.db.begin(&call).await?;
            call.call().shared().sessions.revoke(&mut change, session, call.now()).await?;
            change.access_changed();
            change.commit().await?;
        }
        self.forget_cookie(&call)?;
        Ok(v1::LogoutReply { redirect_url: None })
    }

    async fn list_sessions(&self, call: Pending, request: v1::ListSessionsRequest) -> Result<v1::ListSessionsReply> {
        let page = PageQuery::parse(request.pagination.as_ref(), store::SORTABLE)?;
        let call = sessions::admit(&call, request.user_id)?;
        let account = sessions::account(&self.base.db, &call, request.user_id).await?;
        let listed = store::list(&self.base.db, &call, account.id, &page).await?;
        let pagination = Some(paged(&call, &page, &listed));
        let sessions = listed.rows.into_iter().map(|row| message(row, &account, &call)).collect();
        Ok(v1::ListSessionsReply { result: Some(v1::ListSessionsResult { sessions }), pagination })
    }

    async fn revoke_session(&self, call: Pending, request: v1::RevokeSessionRequest) -> Result<v1::RevokeSessionReply> {
        let by = self.end_session(&call, &request.id).await?;
        if is_current(&by, &request.id) {
            self.forget_cookie(&by)?;
        }
        Ok(v1::RevokeSessionReply { result: Some(v1::RevokeSessionResult {}) })
    }

    async fn revoke_sessions(
        &self,
        call: Pending,
        request: v1::RevokeSessionsRequest,
    ) -> Result<v1::RevokeSessionsReply> {
        let call = sessions::admit(&call, request.user_id)?;
        let (user, revoked) = self.end_sessions(&call, request.user_id, request.except_current).await?;
        if user == call.id() && !request.except_current {
            self.forget_cookie(&call)?;
        }
        let revoked = u32::try_from(revoked).unwrap_or(u32::MAX);
        Ok(v1::RevokeSessionsReply { result: Some(v1::RevokeSessionsResult { revoked }) })
    }
}

impl Authentication {
    /// Removes the cookie from the browser of the call.
    fn forget_cookie(&self, call: &Authorized) -> Result<()> {
        call.call().reply_header(SET_COOKIE, call.call().shared().cookie.clear()?);
        Ok(())
    }

    /// The token for the reply; the cookie with it goes beside.
    fn hand_out(&self, call: &Authorized, opened: Opened) -> Result<String> {
        let cookie = call.call().shared().cookie.set(&opened.token, opened.expires_at)?;
        call.call().reply_header(SET_COOKIE, cookie);
        Ok(opened.token)
    }
}

/// A session as clients see it.
fn message(row: Row, account: &Account, call: &Authorized) -> v1::Session {
    v1::Session {
        user_id: wire_id(account.id),
        username: account.username.clone(),
        created_at: Some(timestamp(row.created_at)),
        last_seen_at: Some(timestamp(row.last_seen_at)),
        expires_at: Some(timestamp(row.expires_at)),
        device: device::name(&row.user_agent),
        user_agent: row.user_agent,
        address: row.address,
        restricted: row.restricted,
        current: is_current(call, &row.id),
        id: row.id,
    }
}

fn is_current(call: &Authorized, session: &str) -> bool {
    call.session().is_some_and(|current| **current == *session)
}
