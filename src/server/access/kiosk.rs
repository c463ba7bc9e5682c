//! The token with which an app instance signs in its user, at `/kiosk-jwt`.
//!
//! A web app runs in a browser inside the workbench. That browser is started with this token in the fragment of an address;
//! the page there posts it and gets the cookie of a session. The text is `choruskiosk1.KEY.INSTANCE.INCARNATION.EXPIRES.CLIENT.MAC`:
//! nothing in it is secret but the last part, an HMAC-SHA-256 over the rest under a key that is derived from one of the
//! keyring. What always holds:
//!
//! - it is bound to one start of one app instance and to the client of that app, and ends [`LIFETIME`] after that start;
//! - it is made from the row each time and stored nowhere; the same row and the same key make the same token, so a runtime that
//!   is told again is told the same;
//! - one that is wrong costs one HMAC and no query, as a session token does. Whether the instance still runs is for
//!   whoever exchanges it to look up;
//! - it is good for the exchange only: it is no session token and no API token.
//!
//! The session that it opens is worth less than one that a person opens: it ends with that start of the instance; its roles are
//! those bound to the workspace of the instance or to a workbench in it; and it has only the permissions that
//! [`allows`] names. It is shut out of whatever API tokens are shut out of.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::SecretString;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::{
    catalogue::Permission,
    keyring::{Key, Keys, Purpose},
};

/// How long after the start of an app instance its token, and any session opened by it, is good.
pub const LIFETIME: TimeDelta = TimeDelta::hours(12);

/// Begins every token; the number is that of the format.
const VERSION: &str = "choruskiosk1";
/// Separates what is signed here from what other uses of the same key sign.
const LABEL: &[u8] = b"chorus kiosk 1";
/// The longest text that is looked at; names of clients have at most 255 bytes.
const MOST_BYTES: usize = 1024;

/// Whether the session of an app instance has any use of this permission: to read what its workspace holds and to work on
/// its files. A list of what is, since whatever runs in the desktop may get hold of the token: it changes no rule of the
/// workspace (network, clipboard, who belongs to it), takes no file out, reads no trail, and begins nothing that outlives it.
pub fn allows(permission: Permission) -> bool {
    use Permission as P;
    matches!(
        permission,
        P::ListWorkspaces
            | P::GetWorkspace
            | P::ListFilesInWorkspace
            | P::UploadFilesToWorkspace
            | P::ModifyFilesInWorkspace
            | P::ListWorkspaceServiceInstances
            | P::GetWorkspaceServiceInstance
            | P::GetWorkspaceServiceInstanceSecret
            | P::ListWorkbenches
            | P::GetWorkbench
            | P::GetAppInstance
    )
}

/// When the token of an instance that was started at this time ends, to the second.
pub fn expires_at(started: DateTime<Utc>) -> DateTime<Utc> {
    let end = started + LIFETIME;
    DateTime::from_timestamp(end.timestamp(), 0).unwrap_or(end)
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The app instance.
    pub instance: i64,
    /// Which start of it.
    pub incarnation: i64,
    /// The client for which it was made.
    pub client: String,
    /// When it ends.
    pub expires: DateTime<Utc>,
}

/// Makes and checks the tokens of app instances.
pub struct Kiosk {
    keys: Arc<Keys>,
}

impl Kiosk {
    /// Over these keys. Tokens of a key that was retired are good as long as the keyring has it.
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// The token of an app instance in this incarnation, for this client; see [`expires_at`]. Nothing if the keyring has no
    /// key to sign with, which a running server's has.
    pub fn token(&self, instance: i64, incarnation: i64, client: &str, expires: DateTime<Utc>) -> Option<SecretString> {
        let key = self.keys.active(Purpose::TokenSigning)?;
        let (kid, client, expires) = (key.id(), BASE64.encode(client), expires.timestamp());
        let signed = format!("{VERSION}.{kid}.{instance}.{incarnation}.{expires}.{client}");
        let mac = BASE64.encode(mac(&key, &signed)?);
        Some(format!("{signed}.{mac}").into())
    }

    /// What a token says, if it is one of ours and its time is not over.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        if token.len() > MOST_BYTES {
            return None;
        }
        let (signed, shown) = token.rsplit_once('.')?;
        let mut parts = signed.split('.');
        let mut next = || parts.next();
        if next()? != VERSION {
            return None;
        }
        let key = self.keys.get(Purpose::TokenSigning, next()?)?;
        let shown = BASE64.decode(shown).ok()?;
        if !bool::from(mac(&key, signed)?.ct_eq(shown.as_slice())) {
            return None;
        }
        // signed by us, so what follows is as we wrote it
        let (instance, incarnation) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let expires = DateTime::from_timestamp(next()?.parse().ok()?, 0)?;
        let client = String::from_utf8(BASE64.decode(next()?).ok()?).ok()?;
        (now < expires).then_some(Claims { instance, incarnation, client, expires })
    }
}

fn mac(key: &Key, text: &str) -> Option<[u8; 32]> {
    // HMAC takes keys of any length
    let mut mac = Hmac::<Sha256>::new_from_slice(&*key.derive(LABEL)).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::{super::keyring::Keyring, *};
    use crate::server::{clock::ManualClock, random::SeededRandom};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn kiosk(seed: u64) -> Kiosk {
        Kiosk::new(Keys::fixed(Keyring::generate(&SeededRandom::new(seed), &ManualClock::new(now()))))
    }

    fn token(instance: i64, incarnation: i64, client: &str) -> String {
        kiosk(1).token(instance, incarnation, client, expires_at(now())).unwrap().expose_secret().to_owned()
    }

    #[test]
    fn a_token_says_what_it_is_for() {
        let expires = now() + TimeDelta::hours(12);
        let claims = Claims { instance: 7, incarnation: 2, client: "jupyter".to_owned(), expires };
        assert_eq!(kiosk(1).verify(&token(7, 2, "jupyter"), now()), Some(claims));
        assert_eq!(token(7, 2, "jupyter"), token(7, 2, "jupyter"), "told again, told the same");
    }

    #[test]
    fn a_session_of_an_app_is_for_work_in_its_workspace() {
        for permission in [Permission::GetWorkspace, Permission::ListFilesInWorkspace, Permission::GetWorkbench] {
            assert!(allows(permission), "{}", permission.name());
        }
        for permission in [
            Permission::UpdateUser,
            Permission::UpdatePassword,
            Permission::CreateWorkspace,
            Permission::ListUsers,
            Permission::ManageUsersInWorkspace,
            Permission::CreateAppInstance,
            Permission::UpdateAppInstance,
            Permission::UpdateWorkspace,
            Permission::AuditWorkspace,
            Permission::DownloadFilesFromWorkspace,
            Permission::CreateRequest,
            Permission::UpdateWorkbench,
            Permission::StreamWorkbench,
            Permission::InitializeTenant,
        ] {
            assert!(!allows(permission), "{}", permission.name());
        }
    }

    #[test]
    fn its_time_is_over_to_the_second() {
        let token = token(7, 1, "jupyter");
        let end = now() + LIFETIME;
        assert!(kiosk(1).verify(&token, end - TimeDelta::seconds(1)).is_some());
        assert!(kiosk(1).verify(&token, end).is_none());
    }

    #[test]
    fn what_differs_makes_another_token() {
        let all = [token(7, 1, "a"), token(8, 1, "a"), token(7, 2, "a"), token(7, 1, "b")];
        let macs: std::collections::BTreeSet<_> = all.iter().map(|t| t.rsplit_once('.').unwrap().1).collect();
        assert_eq!(macs.len(), all.len());
    }

    #[test]
    fn tokens_of_others_and_other_tokens_are_refused() {
        let good = token(7, 1, "jupyter");
        assert!(kiosk(2).verify(&good, now()).is_none(), "another installation");
        for bad in ["", ".", "choruskiosk1", "choruskiosk1......", &good[1..], &format!("{good}.")] {
            assert!(kiosk(1).verify(bad, now()).is_none(), "{bad}");
        }
        let long = format!("{}.{good}", "a".repeat(MOST_BYTES));
        assert!(kiosk(1).verify(&long, now()).is_none());
    }

    #[test]
    fn every_character_counts() {
        let good = token(7, 1, "jupyter");
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let text = String::from_utf8(bytes).unwrap();
            assert!(kiosk(1).verify(&text, now()).is_none(), "character {at}");
        }
    }

    proptest! {
        #[test]
        fn any_client_reads_back(instance in 1i64.., incarnation in 1i64.., client in "[!-~]{1,255}") {
            let claims = kiosk(1).verify(&token(instance, incarnation, &client), now()).unwrap();
            prop_assert_eq!((claims.instance, claims.incarnation, claims.client), (instance, incarnation, client));
        }

        #[test]
        fn no_text_trips_it(text in "\\PC{0,200}") {
            prop_assert!(kiosk(1).verify(&text, now()).is_none());
        }
    }
}
