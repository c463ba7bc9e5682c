//! Session tokens: how a caller shows which session he speaks for.
//!
//! A token is a JWT (RFC 7519), signed with HMAC-SHA-256 under a key of the keyring ([`Keys`]), that carries ids only: user,
//! tenant, session. Rights are looked up, never carried, so a token is short and says nothing that can grow old. It
//! comes in as `Authorization: Bearer` or in the cookie `jwttoken`. What always holds:
//!
//! - one algorithm, and a key that the token's `kid` names among ours;
//! - the time is the caller's `now`, never the machine's;
//! - the public text does not tell why a token is bad, except that it has expired.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{
    api_token,
    keyring::{Keys, Purpose},
};
use crate::server::{
    config::CookieSameSite,
    db::Db,
    error::{Error, Result},
};

/// The name of the cookie, which existing clients know.
pub const COOKIE_NAME: &str = "jwttoken";
/// The longest token that is looked at; browsers keep no longer cookies (RFC 6265, section 6.1).
const MAX_TOKEN_BYTES: usize = 4096;
/// How far the clocks of two replicas may be apart, in seconds.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// Whom a good token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user's id.
    pub user: i64,
    /// The tenant's id.
    pub tenant: i64,
    /// The session's id.
    pub session: Arc<str>,
}

/// The claims as they travel.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    sub: std::borrow::Cow<'a, str>,
    tid: i64,
    sid: std::borrow::Cow<'a, str>,
    iat: i64,
    exp: i64,
}

/// Why a token is refused; for logs and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT with our claims.
    #[error("the token is malformed")]
    Malformed,
    /// It is signed by another method.
    #[error("the token is not signed with HS256")]
    Algorithm,
    /// It names no key of ours.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It was issued in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
}

impl From<TokenError> for Error {
    fn from(why: TokenError) -> Self {
        let error = match why {
            TokenError::Expired => Self::unauthenticated("TOKEN_EXPIRED", "Your session has expired. Sign in again."),
            _ => Self::unauthenticated("TOKEN_INVALID", "The token is not valid. Sign in again."),
        };
        error.because(why)
    }
}

/// Signs and checks tokens with the keys of a keyring.
pub struct Tokens {
    keys: Arc<Keys>,
    validation: Validation,
}

impl Tokens {
    /// Signs with the active key and checks with every key.
    pub fn new(keys: Arc<Keys>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // the crate would ask the machine for the time; `check_time` asks the caller
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.required_spec_claims.clear();
        Self { keys, validation }
    }

    /// Learns from the database which key is active.
    pub async fn follow(&self, db: &Db) -> Result<()> {
        self.keys.follow(db).await
    }

    /// A token for a session.
    pub fn sign(
        &self,
        user: i64,
        tenant: i64,
        session: &str,
        now: DateTime<Utc>,
        expires: DateTime<Utc>,
    ) -> Result<String> {
        let none = || Error::internal("the keyring has no key to sign with");
        let key = self.keys.active(Purpose::TokenSigning).ok_or_else(none)?;
        let header = Header { kid: Some(key.id().to_owned()), ..Header::new(Algorithm::HS256) };
        let (iat, exp) = (now.timestamp(), expires.timestamp());
        let claims = Wire { sub: user.to_string().into(), tid: tenant, sid: session.into(), iat, exp };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key.expose())).map_err(Error::internal)
    }

    /// The claims of a good token.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims> {
        Ok(self.check(token, now)?)
    }

    fn check(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::HS256 {
            return Err(TokenError::Algorithm);
        }
        // RFC 7515, section 4.1.11: whoever does not know a critical extension refuses the token
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let key = header.kid.and_then(|id| self.keys.get(Purpose::TokenSigning, &id)).ok_or(TokenError::UnknownKey)?;
        let key = DecodingKey::from_secret(key.expose());
        let claims = jsonwebtoken::decode::<Wire<'static>>(token, &key, &self.validation).map_err(|error| {
            use jsonwebtoken::errors::ErrorKind;
            match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature,
                _ => TokenError::Malformed,
            }
        })?;
        let wire = claims.claims;
        check_time(&wire, now)?;
        let user = wire.sub.parse().map_err(|_| TokenError::Malformed)?;
        Ok(Claims { user, tenant: wire.tid, session: wire.sid.into() })
    }
}

fn check_time(claims: &Wire<'_>, now: DateTime<Utc>) -> Result<(), TokenError> {
    let now = now.timestamp();
    if claims.exp <= now {
        return Err(TokenError::Expired);
    }
    if claims.iat > now.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// What a call presents to show who makes it. A secret, hence never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// The token of a session, or what is taken for one.
    Session(&'a str),
    /// An API token, or what begins like one.
    ApiToken(&'a str),
}

/// What a call presents: in the `Authorization` header if there is one, else in the cookie. An API token counts in the
/// header only: browsers send cookies by themselves, and no browser has a use for API tokens.
pub fn credential(headers: &HeaderMap) -> Result<Option<Presented<'_>>> {
    Ok(match bearer(headers)? {
        Some(token) if token.starts_with(api_token::PREFIX) => Some(Presented::ApiToken(token)),
        Some(token) => Some(Presented::Session(token)),
        None => cookie_token(headers).map(Presented::Session),
    })
}

/// Whether the [`credential`] is that of the cookie, as browsers show it.
pub fn is_from_cookie(headers: &HeaderMap) -> bool {
    !headers.contains_key(AUTHORIZATION) && cookie_token(headers).is_some()
}

/// The reason of [`missing`].
pub const MISSING: &str = "CREDENTIAL_MISSING";

/// The error of a call without a [`credential`] that needs one.
pub fn missing() -> Error {
    let text = "Sign in first: send `Authorization: Bearer <token>` or the session cookie.";
    Error::unauthenticated(MISSING, text)
}

/// The token of the `Authorization` header (RFC 6750, section 2.1). Another scheme is an error, since whoever sends one
/// believes to be signed in by it.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let refused = || {
        let text = "The Authorization header is not understood: send exactly one, `Authorization: Bearer <token>`.";
        Error::unauthenticated("AUTHORIZATION_HEADER_INVALID", text)
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')).ok_or_else(refused)?;
    let token = token.trim_start();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(refused());
    }
    Ok(Some(token))
}

/// The token of the cookie.
pub fn cookie_token(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, COOKIE_NAME)
}

/// The cookie of this name: the first one that is not empty, since a browser may send several for nested paths.
pub fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == wanted && !value.is_empty()).map(|(_, value)| value)
}

/// Whether a `Set-Cookie` removes the token from the browser.
pub fn removes_cookie(value: &HeaderValue) -> bool {
    let pair = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    pair.strip_prefix(COOKIE_NAME.as_bytes()) == Some(b"=")
}

/// How cookies are set: for this host only, out of reach of scripts.
#[derive(Debug, Clone, Copy)]
pub struct CookiePolicy {
    /// When other sites' pages cause it to be sent.
    pub same_site: CookieSameSite,
    /// Whether it travels over TLS only.
    pub secure: bool,
}

impl CookiePolicy {
    /// The `Set-Cookie` that keeps the token in the browser until it expires.
    pub fn set(&self, token: &str, expires: DateTime<Utc>) -> Result<HeaderValue> {
        self.header(COOKIE_NAME, token, "/", expires)
    }

    /// The `Set-Cookie` of another value, sent back to this path and those below.
    pub fn set_other(&self, name: &str, value: &str, path: &str, expires: DateTime<Utc>) -> Result<HeaderValue> {
        self.header(name, value, path, expires)
    }

    /// The `Set-Cookie` that removes the token from the browser.
    pub fn clear(&self) -> Result<HeaderValue> {
        self.header(COOKIE_NAME, "", "/", DateTime::UNIX_EPOCH)
    }

    fn header(&self, name: &str, value: &str, path: &str, expires: DateTime<Utc>) -> Result<HeaderValue> {
        let same_site = match self.same_site {
            CookieSameSite::Strict => "Strict",
            CookieSameSite::Lax => "Lax",
            CookieSameSite::None => "None",
        };
        let secure = if self.secure { "; Secure" } else { "" };
        let expires = expires.format("%a, %d %b %Y %H:%M:%S GMT");
        let text = format!("{name}={value}; Path={path}; HttpOnly; SameSite={same_site}{secure}; Expires={expires}");
        let mut value = HeaderValue::try_from(text).map_err(Error::internal)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::keyring::Keyring, *};
    use crate::server::{
        clock::{Clock as _, ManualClock},
        error::Kind,
        random::SeededRandom,
    };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn keyring(seed: u64) -> Keyring {
        Keyring::generate(&SeededRandom::new(seed), &ManualClock::new(now()))
    }

    fn tokens() -> Tokens {
        Tokens::new(Keys::fixed(keyring(1)))
    }

    fn signed(tokens: &Tokens) -> String {
        tokens.sign(7, 3, "session-1", now(), now() + TimeDelta::hours(1)).unwrap()
    }

    /// A token made by hand, signed with our key.
    fn forged(alg: Algorithm, kid: Option<&str>, claims: serde_json::Value) -> String {
        let ring = keyring(1);
        let key = ring.newest(Purpose::TokenSigning).unwrap();
        let kid = kid.map_or_else(|| key.id().to_owned(), str::to_owned);
        let header = Header { kid: Some(kid), ..Header::new(alg) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key.expose())).unwrap()
    }

    fn claims() -> serde_json::Value {
        let now = now().timestamp();
        json!({"sub": "7", "tid": 3, "sid": "session-1", "iat": now, "exp": now + 3600})
    }

    fn with(key: &str, value: serde_json::Value) -> serde_json::Value {
        let mut claims = claims();
        claims[key] = value;
        claims
    }

    #[test]
    fn tokens_carry_ids_only_and_read_back() {
        let tokens = tokens();
        let token = signed(&tokens);
        let expected = Claims { user: 7, tenant: 3, session: "session-1".into() };
        assert_eq!(tokens.verify(&token, now()).unwrap(), expected);
        assert!(token.len() < 512, "{} bytes", token.len());
        let payload = BASE64.decode(token.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&payload).unwrap(), claims());
        assert_eq!(tokens.check(&forged(Algorithm::HS256, None, claims()), now()), Ok(expected));
    }

    #[test]
    fn bad_tokens_are_told_apart() {
        let second = now().timestamp();
        let good = signed(&tokens());
        let (message, signature) = good.rsplit_once('.').unwrap();
        let unsigned =
            format!("{}.{}.", BASE64.encode(r#"{"typ":"JWT","alg":"none"}"#), message.split('.').nth(1).unwrap());
        let stranger = signed(&Tokens::new(Keys::fixed(keyring(2))));
        let sealing = keyring(1).newest(Purpose::Sealing).unwrap().id().to_owned();
        let critical = format!(
            "{}.{}.{signature}",
            BASE64.encode(r#"{"alg":"HS256","crit":["x"]}"#),
            message.split('.').nth(1).unwrap()
        );
        for (token, expected) in [
            (String::new(), TokenError::Malformed),
            ("x.y.z".into(), TokenError::Malformed),
            (unsigned, TokenError::Malformed),
            (critical, TokenError::Malformed),
            (format!("{good}{}", "A".repeat(MAX_TOKEN_BYTES)), TokenError::Malformed),
            (forged(Algorithm::HS512, None, claims()), TokenError::Algorithm),
            (forged(Algorithm::HS256, Some("other"), claims()), TokenError::UnknownKey),
            (forged(Algorithm::HS256, Some(&sealing), claims()), TokenError::UnknownKey),
            (stranger, TokenError::UnknownKey),
            (format!("{message}.{}", BASE64.encode([0; 32])), TokenError::Signature),
            (format!("{message}."), TokenError::Signature),
            (forged(Algorithm::HS256, None, with("exp", json!(second))), TokenError::Expired),
            (forged(Algorithm::HS256, None, with("iat", json!(second + 61))), TokenError::NotYetValid),
            (forged(Algorithm::HS256, None, with("exp", json!(null))), TokenError::Malformed),
            (forged(Algorithm::HS256, None, with("sub", json!("root"))), TokenError::Malformed),
            (forged(Algorithm::HS256, None, with("sub", json!(7))), TokenError::Malformed),
            (forged(Algorithm::HS256, None, json!({})), TokenError::Malformed),
        ] {
            assert_eq!(tokens().check(&token, now()), Err(expected), "{token}");
        }
    }

    #[test]
    fn time_is_the_callers() {
        let (tokens, clock) = (tokens(), ManualClock::new(now()));
        let token = signed(&tokens);
        assert_eq!(tokens.check(&token, now() - TimeDelta::seconds(60)).err(), None);
        assert_eq!(tokens.check(&token, now() - TimeDelta::seconds(61)), Err(TokenError::NotYetValid));
        clock.advance(TimeDelta::seconds(3599));
        assert!(tokens.verify(&token, clock.now()).is_ok());
        clock.advance(TimeDelta::seconds(1));
        let error = tokens.verify(&token, clock.now()).unwrap_err();
        assert_eq!((error.kind(), error.reason()), (Kind::Unauthenticated, "TOKEN_EXPIRED"));
    }

    #[test]
    fn the_public_text_does_not_tell_why() {
        let texts: std::collections::BTreeSet<_> = [
            TokenError::Malformed,
            TokenError::Algorithm,
            TokenError::UnknownKey,
            TokenError::Signature,
            TokenError::NotYetValid,
        ]
        .map(|why| Error::from(why).message().to_owned())
        .into();
        assert_eq!(texts.len(), 1);
    }

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn bearer_tokens_are_found() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER   abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("", None),
            ("abc", None),
            ("Basic abc", None),
            ("Bearer abc def", None),
        ] {
            let headers = headers(&[(AUTHORIZATION, value)]);
            let found = bearer(&headers);
            match expected {
                Some(token) => assert_eq!(found.unwrap(), Some(token), "{value:?}"),
                None => assert_eq!(found.unwrap_err().kind(), Kind::Unauthenticated, "{value:?}"),
            }
        }
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);
        assert!(bearer(&headers(&[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")])).is_err());
    }

    #[test]
    fn cookies_are_found() {
        for (lines, expected) in [
            (&["jwttoken=abc"][..], Some("abc")),
            (&["a=b; jwttoken=abc; c=d"], Some("abc")),
            (&["a=b;jwttoken=abc"], Some("abc")),
            (&["a=b", "jwttoken=abc"], Some("abc")),
            (&["jwttoken=; jwttoken=abc"], Some("abc")),
            (&["jwttoken=first; jwttoken=second"], Some("first")),
            (&["jwttoken="], None),
            (&["JWTTOKEN=abc"], None),
            (&["xjwttoken=abc"], None),
            (&["jwttoken"], None),
            (&[""], None),
            (&[], None),
        ] {
            let pairs: Vec<_> = lines.iter().map(|line| (COOKIE, *line)).collect();
            assert_eq!(cookie_token(&headers(&pairs)), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_header_wins_over_the_cookie() {
        let both = headers(&[(COOKIE, "jwttoken=cookie"), (AUTHORIZATION, "Bearer header")]);
        assert!(credential(&both).unwrap() == Some(Presented::Session("header")));
        let cookie = headers(&[(COOKIE, "jwttoken=cookie")]);
        assert!(credential(&cookie).unwrap() == Some(Presented::Session("cookie")));
        assert!(credential(&HeaderMap::new()).unwrap().is_none());
        let token = headers(&[(AUTHORIZATION, "Bearer chorus_x")]);
        assert!(credential(&token).unwrap() == Some(Presented::ApiToken("chorus_x")));
        let token = headers(&[(COOKIE, "jwttoken=chorus_x")]);
        assert!(credential(&token).unwrap() == Some(Presented::Session("chorus_x")), "no API token in a cookie");
        let broken = headers(&[(COOKIE, "jwttoken=cookie"), (AUTHORIZATION, "Basic x")]);
        assert!(credential(&broken).is_err(), "a bad header does not fall back to the cookie");
    }

    #[test]
    fn cookies_are_set_for_this_host() {
        let lax = CookiePolicy { same_site: CookieSameSite::Lax, secure: false };
        let header = lax.set("abc", now()).unwrap();
        assert_eq!(header, "jwttoken=abc; Path=/; HttpOnly; SameSite=Lax; Expires=Fri, 15 Jan 2027 08:00:00 GMT");
        assert!(header.is_sensitive());
        let none = CookiePolicy { same_site: CookieSameSite::None, secure: true };
        let cleared = "jwttoken=; Path=/; HttpOnly; SameSite=None; Secure; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(none.clear().unwrap(), cleared);
        assert!(removes_cookie(&none.clear().unwrap()) && !removes_cookie(&header));
        assert!(lax.set("a\nb", now()).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_panic(token in "[A-Za-z0-9_.-]{0,200}") {
            prop_assert!(tokens().check(&token, now()).is_err());
        }

        #[test]
        fn ids_read_back(user: i64, tenant: i64, session in "[a-z0-9-]{1,40}") {
            let tokens = tokens();
            let token = tokens.sign(user, tenant, &session, now(), now() + TimeDelta::days(7)).unwrap();
            prop_assert!(token.len() < 1024);
            prop_assert_eq!(tokens.verify(&token, now()).unwrap(), Claims { user, tenant, session: session.into() });
        }

        #[test]
        fn a_changed_token_is_refused(at in 0usize..400, to in "[A-Za-z0-9_-]") {
            let tokens = tokens();
            let token = signed(&tokens);
            let at = at % token.len();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            // the last character has bits that no byte takes
            prop_assume!(changed != token && at + 1 < token.len());
            prop_assert!(tokens.check(&changed, now()).is_err());
        }

        #[test]
        fn any_headers_are_read_without_panic(line in "[ -~]{0,80}") {
            let headers = headers(&[(COOKIE, &line), (AUTHORIZATION, &line)]);
            let _ = (bearer(&headers), cookie_token(&headers));
        }
    }
}
