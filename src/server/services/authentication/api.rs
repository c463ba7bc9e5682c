//! The RPCs of signing in and out. A session's token is in the reply, for programs, and in the cookie, for browsers.
//! A second cookie lets the throttle know the browser again; it opens nothing.

use http::header::SET_COOKIE;

use super::{Authentication, SignedIn};
use crate::{
    proto::v1,
    server::{
        access::{sessions::Opened, throttle, token::CookiePolicy},
        error::Result,
        pipeline::{Authorized, generated::AuthenticationHandlers},
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
            let cookie =
                self.cookie().set_other(throttle::DEVICE_COOKIE, &device.text(), throttle::DEVICE_PATH, expires)?;
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
        call.call().reply_header(SET_COOKIE, self.cookie().clear()?);
        Ok(v1::LogoutReply { redirect_url: None })
    }
}

impl Authentication {
    fn cookie(&self) -> CookiePolicy {
        let config = &self.base.config;
        CookiePolicy { same_site: config.cookie_same_site, secure: config.secure_cookie() }
    }

    /// The token for the reply; the cookie with it goes beside.
    fn hand_out(&self, call: &Authorized, opened: Opened) -> Result<String> {
        let cookie = self.cookie().set(&opened.token, opened.expires_at)?;
        call.call().reply_header(SET_COOKIE, cookie);
        Ok(opened.token)
    }
}
