//! An app as it was when an instance of it was created: what keeps running, whatever the catalogue says by now.
//!
//! It is the column `app` of `app_instances`. What always holds: it has no secret (the token of a web app is made from the
//! row each time, see `access::kiosk`); fields that a later version adds read as empty from older
//! rows.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::server::runtime::{AppSpec, AppState, Browser, Limits};

/// An app, frozen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSnapshot {
    /// The name, as people see it.
    pub name: String,
    /// The registry of the image; the runtime's own when empty.
    pub registry: String,
    /// The name of the image, such as `apps/rstudio`.
    pub image: String,
    /// Its tag.
    pub tag: String,
    /// What an instance may use.
    pub limits: Limits,
    /// For a web app: the page that its browser opens; else empty.
    pub url: String,
    /// The page that takes the token of the instance; may be empty.
    pub jwt_url: String,
    /// The client for which that token is made; no token when empty.
    pub jwt_oidc_client_id: String,
}

impl AppSnapshot {
    /// The client for which the instance gets a token.
    pub fn client(&self) -> Option<&str> {
        (!self.jwt_oidc_client_id.is_empty()).then_some(&self.jwt_oidc_client_id)
    }

    /// What is wanted of the runtime for this instance. `token` is the one for [`AppSnapshot::client`], when there is one.
    pub fn spec(self, id: i64, state: AppState, incarnation: i64, token: Option<SecretString>) -> AppSpec {
        let is_web = !(self.url.is_empty() && self.jwt_url.is_empty());
        let browser = is_web.then_some(Browser { url: self.url, jwt_url: self.jwt_url, jwt_token: token });
        AppSpec {
            id,
            name: self.name,
            state,
            incarnation,
            registry: self.registry,
            image: self.image,
            tag: self.tag,
            limits: self.limits,
            browser,
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        let limits = Limits { max_memory: "4Gi".to_owned(), ..Limits::default() };
        let app = AppSnapshot { name: "R".to_owned(), image: "apps/r".to_owned(), limits, ..AppSnapshot::default() };
        let text = serde_json::to_string(&app).unwrap();
        assert_eq!(serde_json::from_str::<AppSnapshot>(&text).unwrap(), app);
        assert_eq!(serde_json::from_str::<AppSnapshot>("{}").unwrap(), AppSnapshot::default());
    }

    #[test]
    fn only_web_apps_have_a_browser() {
        let plain = AppSnapshot { image: "apps/r".to_owned(), ..AppSnapshot::default() };
        let spec = plain.clone().spec(7, AppState::Stopped, 3, None);
        assert_eq!((spec.id, spec.state, spec.incarnation, &*spec.image), (7, AppState::Stopped, 3, "apps/r"));
        assert!(spec.browser.is_none() && plain.client().is_none());

        let web = AppSnapshot {
            url: "https://app.example.org".to_owned(),
            jwt_oidc_client_id: "jupyter".to_owned(),
            ..plain
        };
        assert_eq!(web.client(), Some("jupyter"));
        let browser = web.spec(7, AppState::Running, 1, Some("t".into())).browser.unwrap();
        assert_eq!((&*browser.url, browser.jwt_token.unwrap().expose_secret()), ("https://app.example.org", "t"));
    }
}
