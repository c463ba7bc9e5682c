//! Tickets: addresses that open a desktop once, for a browser that is not signed in.

use secrecy::ExposeSecret as _;

use super::{Workbenches, not_found, record, store};
use crate::{
    proto::v1::CreateStreamTicketResult,
    server::{access::stream_pass, config::Config, error::Result, pipeline::Authorized, services::timestamp},
};

impl Workbenches {
    pub(super) async fn create_ticket(&self, by: &Authorized, id: i64) -> Result<CreateStreamTicketResult> {
        let mut change = self.base.db.begin(by).await?;
        let workbench = store::get(&mut change, by.tenant(), id).await?.ok_or_else(not_found)?;
        let random = by.call().shared().random.clone();
        let fresh = stream_pass::ticket(&mut change, by, id, &*random, by.now()).await?;
        record(by, &workbench);
        change.commit().await?;
        let path = format!("/api/rest/v1/workbenches/{id}/stream/?ticket={}", fresh.secret.expose_secret());
        let url = front(&self.base.config).map(|front| format!("{front}{path}")).unwrap_or_default();
        Ok(CreateStreamTicketResult { path, expires_at: Some(timestamp(fresh.expires_at)), url })
    }
}

/// Where browsers find this server, if that is known: nobody opens a page at "every address", or at "any port".
fn front(config: &Config) -> Option<String> {
    match &config.public_url {
        Some(url) => Some(url.url().as_str().trim_end_matches('/').to_owned()),
        None if config.listen.ip().is_unspecified() || config.listen.port() == 0 => None,
        None => Some(format!("http://{}", config.listen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Sources, keys::Key, load};

    #[test]
    fn the_address_is_that_of_browsers() {
        for (settings, want) in [
            (&[("listen", "127.0.0.1:5000")][..], Some("http://127.0.0.1:5000")),
            (&[("listen", "[::1]:5000")], Some("http://[::1]:5000")),
            (&[("listen", "0.0.0.0:5000")], None),
            (&[("listen", "127.0.0.1:0")], None),
            (&[("public_url", "https://chorus.example.org")], Some("https://chorus.example.org")),
            (&[("public_url", "https://example.org/chorus/")], Some("https://example.org/chorus")),
        ] {
            let flags = settings.iter().map(|(name, value)| (Key::find(name).unwrap(), vec![(*value).to_owned()]));
            let config = load(&Sources { flags: flags.collect(), ..Sources::default() }).unwrap().config;
            assert_eq!(front(&config).as_deref(), want, "{settings:?}");
        }
    }
}
