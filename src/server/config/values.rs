//! The types of configuration values that have rules of their own.
//!
//! Each reads itself from text ([`FromStr`]); its error completes the sentence "the value …" and never repeats the value.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    str::FromStr,
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, de::Error as _};
use url::{Host, Url};

/// Checks that a text is a `T`.
pub(super) fn check<T: FromStr<Err = String>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop)
}

/// For `#[serde(deserialize_with)]`.
pub(super) fn one<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// For `#[serde(deserialize_with)]`.
pub(super) fn maybe<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::<String>::deserialize(from)?.map(|text| text.parse()).transpose().map_err(D::Error::custom)
}

/// For `#[serde(deserialize_with)]`.
pub(super) fn many<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// An address to listen on. `localhost` counts as 127.0.0.1, so that no name server decides who can connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        }
        let shape = "is not an address to listen on: write IP:PORT, such as 127.0.0.1:5000, 0.0.0.0:5000 or [::1]:5000";
        text.parse().map(Self).map_err(|_| shape.to_owned())
    }
}

/// The URL of the server as browsers see it, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether browsers come over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = web_url(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must have neither query nor fragment".to_owned());
        }
        Ok(Self(url))
    }
}

/// An origin (RFC 6454) in the form in which browsers send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsOrigin(String);

impl CorsOrigin {
    /// As in the `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CorsOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('*') {
            return Err("has a wildcard: list each origin, since its pages act with the user's cookie".to_owned());
        }
        let url = web_url(text)?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || text.ends_with('/') {
            return Err(
                "is more than an origin: write only scheme, host and port, such as https://ui.example.org".to_owned()
            );
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
}

/// Which command an app runs in the local runtime: `IMAGE=COMMAND`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppCommand {
    /// The name of the app's image, without registry and tag.
    pub image: String,
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
}

impl FromStr for AppCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "is not IMAGE=COMMAND, such as apps/editor=mousepad";
        let (image, command) = text.split_once('=').ok_or(shape)?;
        let (image, command): (_, Vec<_>) = (image.trim(), command.split_whitespace().map(str::to_owned).collect());
        if image.is_empty() || image.contains(char::is_whitespace) || command.is_empty() {
            return Err(shape.to_owned());
        }
        Ok(Self { image: image.to_owned(), command })
    }
}

fn web_url(text: &str) -> Result<Url, String> {
    let shape = "is not a web address: write http:// or https://, a host, and a port if it is not the usual one";
    let url = Url::parse(text).map_err(|_| shape)?;
    if !matches!(url.scheme(), "http" | "https") || !text.contains("://") {
        return Err(shape.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password".to_owned());
    }
    match url.host() {
        Some(Host::Domain("")) | None => Err(shape.to_owned()),
        Some(_) => Ok(url),
    }
}

/// A network: an address and how many of its leading bits count (CIDR, RFC 4632).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies in the network; an IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let ((network, width), (address, other)) = (bits(self.address), bits(address.to_canonical()));
        width == other && masked(network, width, self.prefix) == masked(address, width, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "is not a network: write ADDRESS/BITS, such as 10.0.0.0/8 or fd00::/8, or a single address";
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address = address.parse::<IpAddr>().map_err(|_| shape)?;
        let (value, width) = bits(address);
        let prefix = match prefix {
            None => width,
            Some(digits) => digits.parse::<u8>().ok().filter(|prefix| *prefix <= width).ok_or(shape)?,
        };
        if masked(value, width, prefix) != value {
            return Err(format!("has bits set behind the first {prefix}: write the first address of the network"));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    }
}

fn masked(value: u128, width: u8, prefix: u8) -> u128 {
    let drop = u32::from(width - prefix);
    value.checked_shr(drop).and_then(|kept| kept.checked_shl(drop)).unwrap_or(0)
}

/// Where the database is. It may hold a password, so `Debug` and `Display` leave that out.
#[derive(Clone)]
pub struct DatabaseUrl(SecretString);

impl DatabaseUrl {
    /// The SQLite file of this path.
    pub fn sqlite(path: &Path) -> Self {
        Self(format!("sqlite:{}", path.display()).into())
    }

    /// Whether it is an SQLite file, which has no password; otherwise it is PostgreSQL.
    pub fn is_sqlite(&self) -> bool {
        self.expose().starts_with("sqlite:")
    }

    /// The whole URL, password included: for the database driver only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "is not a database: write postgres://USER:PASSWORD@HOST/NAME or sqlite:FILE";
        if let Some(file) = text.strip_prefix("sqlite:") {
            return if file.is_empty() { Err(shape.to_owned()) } else { Ok(Self(text.into())) };
        }
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") && text.contains("://") => {
                Ok(Self(text.into()))
            }
            _ => Err(shape.to_owned()),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_sqlite() {
            return f.write_str(self.expose());
        }
        match redacted(self.expose()) {
            Some(url) => f.write_str(url.as_str()),
            None => f.write_str("<redacted>"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// The URL with stars for its password, which may stand in front of the host or among the parameters.
fn redacted(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    if url.password().is_some() {
        url.set_password(Some("***")).ok()?;
    }
    if url.query_pairs().any(|(name, _)| name.contains("password")) {
        let hide =
            |name: &str, value: &str| if name.contains("password") { "***".to_owned() } else { value.to_owned() };
        let pairs: Vec<_> = url.query_pairs().map(|(name, value)| (name.to_string(), hide(&name, &value))).collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    Some(url)
}

/// What is logged: a level, or directives per module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The directives.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape =
            "is not a log filter: write off, error, warn, info, debug or trace, or such as info,chorus::server=debug";
        // a bare word is taken for a module by the filter's own parser, which would silence everything else
        let known = |part: &str| {
            part.contains('=')
                || ["off", "error", "warn", "info", "debug", "trace"].iter().any(|l| l.eq_ignore_ascii_case(part))
        };
        let valid = text.split(',').all(known);
        match tracing_subscriber::EnvFilter::builder().parse(text) {
            Ok(_) if valid => Ok(Self(text.to_owned())),
            _ => Err(shape.to_owned()),
        }
    }
}

/// A user name as the first administrator may have it; the service for users has the full rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(String);

impl FromStr for UserName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |c: char| c.is_control() || c.is_whitespace();
        if text.is_empty() || text.chars().count() > 255 || text.contains(bad) {
            return Err("is not a user name: it needs 1 to 255 characters without spaces".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        for (text, address) in
            [("localhost:80", "127.0.0.1:80"), ("[::]:5000", "[::]:5000"), ("0.0.0.0:0", "0.0.0.0:0")]
        {
            assert_eq!(text.parse(), Ok(Listen(address.parse().unwrap())));
        }
        for text in ["", "5000", ":5000", "127.0.0.1", "example.org:80", "127.0.0.1:99999", "localhost:"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_exact() {
        for (text, origin) in [
            ("https://ui.example.org", "https://ui.example.org"),
            ("HTTPS://UI.example.org:443", "https://ui.example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<CorsOrigin>().map(|origin| origin.0), Ok(origin.to_owned()), "{text}");
        }
        for text in [
            "",
            "*",
            "null",
            "https://*.example.org",
            "example.org",
            "localhost:3000",
            "https://a.org/",
            "https://a.org/ui",
            "https://u:p@a.org",
            "ftp://a.org",
            "https:a.org",
        ] {
            assert!(text.parse::<CorsOrigin>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_contain_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::a00:1"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("::/0", "::1", "1.2.3.4"),
            ("fd00::/8", "fd12::1", "fe00::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "a/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_of_databases_stay_hidden() {
        for (url, shown) in [
            ("postgres://u:hunter2@h:5432/db", "postgres://u:***@h:5432/db"),
            ("postgres://h/db?user=u&password=hunter2", "postgres://h/db?user=u&password=***"),
            ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg"),
            ("sqlite:a b.db", "sqlite:a b.db"),
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("hunter2"));
        }
        for text in ["", "sqlite:", "mysql://h/db", "chorus.db", "postgres:h"] {
            assert!(text.parse::<DatabaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn log_filters() {
        for text in ["info", "off", "DEBUG", "info,chorus::server=debug", "warn,sqlx=off"] {
            assert!(text.parse::<LogFilter>().is_ok(), "{text}");
        }
        for text in ["", "loud", "info,", "chorus=loud", "infos"] {
            assert!(text.parse::<LogFilter>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_in_its_own_network(address in any::<u32>(), prefix in 0_u8..=32) {
            let start = masked(u128::from(address), 32, prefix);
            let start = Ipv4Addr::from(u32::try_from(start).unwrap());
            let network: Network = format!("{start}/{prefix}").parse().unwrap();
            prop_assert!(network.contains(IpAddr::V4(Ipv4Addr::from(address))));
        }
    }
}
