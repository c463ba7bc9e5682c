//! The cookie by which a browser is known again, so that its owner gets in while others guess.
//!
//! It opens nothing: it only chooses the bucket in which wrong tries count. Each sign-in from a browser that the account
//! does not know yet gives it a new random value, so that nobody can plant one; the database has a keyed hash of it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use http::HeaderMap;
use zeroize::Zeroizing;

use crate::server::{access::token, random::Random};

/// The name of the cookie.
pub const COOKIE: &str = "chorus_device";
/// Where the cookie is sent: to sign-ins over REST and to nothing else.
pub const PATH: &str = "/api/rest/v1/authentication";

const BYTES: usize = 32;

/// What a browser shows to be known again.
#[derive(Clone)]
pub struct Device(Zeroizing<[u8; BYTES]>);

impl Device {
    /// A device that nobody has seen.
    pub fn new(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; BYTES]);
        random.fill(&mut *bytes);
        Self(bytes)
    }

    /// The device that the cookie names; a cookie that we cannot have set names none.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = token::cookie(headers, COOKIE)?;
        let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
        Some(Self(Zeroizing::new(<[u8; BYTES]>::try_from(bytes.as_slice()).ok()?)))
    }

    /// The value of the cookie.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(*self.0))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &*self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::random::SeededRandom;

    #[test]
    fn only_what_we_could_have_set_is_a_device() {
        let device = Device::new(&SeededRandom::new(1));
        let good = device.text();
        let named = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", cookie.parse().unwrap());
            Device::of(&headers)
        };
        let found = named(&format!("a=b; chorus_device={}; jwttoken=x", &*good)).unwrap();
        assert_eq!(found.bytes(), device.bytes());
        let long = "A".repeat(4000);
        for bad in ["", "x", &good[1..], &format!("{}A", &*good), &long, "jwttoken"] {
            assert!(named(&format!("chorus_device={bad}")).is_none(), "{bad}");
        }
        assert!(Device::of(&HeaderMap::new()).is_none());
    }
}
