//! How often one may guess: wrong passwords and codes are counted, and those who go on wait.
//!
//! ```text
//! a sign-in ─► look (a read: closed?) ─► a place among the hashes ─► admit (counted before it is checked)
//!                │ closed                                              │
//!                └─► 429 with Retry-After              right: succeeded, or give_back ◄─┴─► wrong: nothing to do
//! ```
//!
//! Whoever checks a password or a code of a signed-in caller takes one call before, and one after if it was right:
//!
//! ```text
//! let attempt = call.attempt().await?;      // counted as wrong from here on, also when the caller goes away
//! if wrong { return Err(…) }                // stays counted
//! attempt.succeeded(&mut change).await?;    // within the transaction of what it was for …
//! attempt.give_back(&db).await?;            // … or nothing was decided: neither right nor wrong
//! ```
//!
//! Tries count in buckets; `bucket.rs` says how long a full one is closed:
//!
//! - one for each place of an account, which takes [`PLACE_TRIES`]: an address (of IPv6 the /64 network), a device, or a session,
//! - one for all unknown places of an account together, which takes [`ACCOUNT_TRIES`]; both must be open.
//!
//! A place from which the account signed in during the last [`KNOWN_FOR`] is *known*, as are the caller's own sessions. Known
//! places are left out of the common bucket, so that a flood from elsewhere does not keep the owner out. The latest
//! [`MOST_KNOWN`] count. A known device goes before the address, which may be shared with whoever guesses.
//!
//! What always holds:
//!
//! - the state is in the database, and is read and written under a lock of the account: replicas agree, and parallel
//!   tries are counted one by one;
//! - names of no account are counted in the same way, so that no answer tells who has one;
//! - a closed bucket refuses the right password too, and costs no hash and no write;
//! - a sign-in empties the bucket of its place, and takes back its own try from the common one, no other's. Within a session
//!   a success takes back its own try only: passwords and codes share that bucket, and who knows the one must not buy tries
//!   for the other;
//! - names, addresses and devices are stored as hashes under a key of the keyring;
//! - what nobody touched for an hour is deleted, once a minute, by upkeep. A row is written per admitted try, of which each costs a
//!   hash, so there are at most two rows for each hash that the replicas compute in an hour, some ten megabytes
//!   per busy core.

mod bucket;
mod device;
mod store;

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use self::device::{COOKIE as DEVICE_COOKIE, Device, PATH as DEVICE_PATH};
use self::{
    bucket::{Bucket, QUIET},
    store::Row,
};
use super::keyring::{KEY_BYTES, Keys, Purpose};
use crate::server::{
    db::{Db, Tx},
    error::{Error, Kind, Result},
};

/// Wrong tries from one place until it is closed.
pub const PLACE_TRIES: i64 = 5;
/// Wrong tries from all unknown places of an account together until they are closed.
pub const ACCOUNT_TRIES: i64 = 30;
/// How long a place stays known after a sign-in.
pub const KNOWN_FOR: TimeDelta = TimeDelta::days(30);
/// So many known places an account has at most.
pub const MOST_KNOWN: i64 = 20;
/// The place that stands for all unknown ones.
const EVERYWHERE: &str = "";
/// Bytes of a keyed hash that are kept; two that meet would share a bucket.
const HASH_BYTES: usize = 16;

/// Counts wrong tries.
pub struct Throttle {
    db: Db,
    keys: Arc<Keys>,
}

/// An account and where somebody who wants in comes from.
#[derive(Debug, Clone)]
pub struct Door {
    account: String,
    from: Side,
}

#[derive(Debug, Clone)]
enum Side {
    Session(String),
    Outside { address: String, device: Option<String> },
}

/// In which buckets a try counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    place: String,
    known: bool,
}

/// A try that was admitted and counts as wrong until it is said to be right. To be dropped when it was wrong.
#[derive(Debug)]
#[must_use = "a right try is taken back with `succeeded` or `give_back`"]
pub struct Attempt {
    door: Door,
    route: Route,
    now: DateTime<Utc>,
}

impl Throttle {
    /// The throttle over this database. Its key is derived from the one that signs tokens; a rotation begins it anew.
    pub fn new(db: Db, keys: Arc<Keys>) -> Self {
        Self { db, keys }
    }

    /// Somebody who wants to sign in to the account of this folded user name, which may not exist.
    pub fn outside(&self, username_key: &str, address: Option<IpAddr>, device: Option<&Device>) -> Door {
        let account = self.account(username_key);
        let network = address.map(network).unwrap_or_default();
        let address = self.place("address", &account, &network);
        let device = device.map(|device| self.device(&account, device));
        Door { account, from: Side::Outside { address, device } }
    }

    /// Somebody who is signed in as this user and shows a secret of the account again. A stolen session is a place of its
    /// own, whatever the account is renamed to meanwhile.
    pub fn inside(&self, user: i64, session: &str) -> Door {
        // no user name has a blank
        let account = self.account(&format!("user {user}"));
        let session = self.place("session", &account, session.as_bytes());
        Door { account, from: Side::Session(session) }
    }

    /// Whether the place is known. Nothing is written or counted.
    ///
    /// # Errors
    /// `SIGN_IN_THROTTLED` when the door is closed: most of a flood ends here.
    pub async fn look(&self, door: &Door, now: DateTime<Utc>) -> Result<bool> {
        let rows = store::load(&self.db, &door.account, &door.places()).await?;
        Ok(door.admit(&rows, now)?.0.known)
    }

    /// Counts a try. Only then may it be checked.
    ///
    /// # Errors
    /// `SIGN_IN_THROTTLED` when the door is closed.
    pub async fn admit(&self, door: Door, now: DateTime<Utc>) -> Result<Attempt> {
        let mut tx = self.db.transaction().await?;
        store::lock(&mut tx, &door.account).await?;
        let rows = store::load(&mut tx, &door.account, &door.places()).await?;
        let (route, counted) = door.admit(&rows, now)?;
        store::save(&mut tx, &door.account, &counted).await?;
        tx.commit().await?;
        Ok(Attempt { door, route, now })
    }

    /// Forgets the wrong tries for an account: its password is another one now. Known places stay known.
    pub async fn forgive(&self, tx: &mut Tx, username_key: &str, now: DateTime<Utc>) -> Result<()> {
        let account = self.account(username_key);
        store::lock(tx, &account).await?;
        Ok(store::forgive(tx, &account, now).await?)
    }

    /// Deletes what is over; returns how many rows that were.
    pub async fn remove_quiet(&self, now: DateTime<Utc>) -> Result<u64> {
        Ok(store::remove_quiet(&self.db, now - QUIET, now - KNOWN_FOR).await?)
    }

    /// The key of names, addresses and devices.
    fn key(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        let signing = self.keys.active(Purpose::TokenSigning);
        // a keyring has a key for each purpose
        signing.map(|key| key.derive(b"chorus throttle 1")).unwrap_or_default()
    }

    fn account(&self, username_key: &str) -> String {
        self.hash("account", [&[], username_key.as_bytes()])
    }

    fn device(&self, account: &str, device: &Device) -> String {
        self.place("device", account, device.bytes())
    }

    /// Each account has places of its own, so that the table does not tell who shares one.
    fn place(&self, kind: &str, account: &str, place: &[u8]) -> String {
        self.hash(kind, [account.as_bytes(), place])
    }

    /// What stands for a name or a place in the database. Only the last part varies in length.
    fn hash(&self, kind: &str, [first, last]: [&[u8]; 2]) -> String {
        // HMAC takes keys of any length
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.key()) else { return String::new() };
        for part in [kind.as_bytes(), &[0], first, last] {
            mac.update(part);
        }
        BASE64.encode(&mac.finalize().into_bytes()[..HASH_BYTES])
    }
}

impl Attempt {
    /// The password or code was right: this place may go on, and an address or a device becomes known. Other places keep
    /// what they have.
    pub async fn succeeded(self, tx: &mut Tx) -> Result<()> {
        let device = self.known_device().cloned();
        self.settle(tx, device).await
    }

    /// The same for somebody whose browser is to be known as this device from now on.
    pub async fn succeeded_at(self, throttle: &Throttle, tx: &mut Tx, device: Option<&Device>) -> Result<()> {
        let device = device.map(|device| throttle.device(&self.door.account, device));
        let device = device.or_else(|| self.known_device().cloned());
        self.settle(tx, device).await
    }

    async fn settle(self, tx: &mut Tx, device: Option<String>) -> Result<()> {
        let Self { door, route, now } = self;
        store::lock(tx, &door.account).await?;
        let rows = store::load(&mut *tx, &door.account, &door.places()).await?;
        let settled = |place: &str, known_at| {
            let bucket = if place == route.place { Bucket::empty(now) } else { bucket_of(&rows, place, now) };
            Row { place: place.to_owned(), bucket, known_at }
        };
        let Side::Outside { address, .. } = &door.from else {
            let bucket = bucket_of(&rows, &route.place, now).give_back(PLACE_TRIES, now);
            let row = Row { place: route.place, bucket, known_at: None };
            return Ok(store::save(tx, &door.account, &[row]).await?);
        };
        let places = [Some(address), device.as_ref()].into_iter().flatten();
        let mut changed: Vec<_> = places.map(|place| settled(place, Some(now))).collect();
        if !route.known {
            let bucket = bucket_of(&rows, EVERYWHERE, now).give_back(ACCOUNT_TRIES, now);
            changed.push(Row { place: EVERYWHERE.to_owned(), bucket, known_at: None });
        }
        store::save(tx, &door.account, &changed).await?;
        Ok(store::forget_oldest(tx, &door.account, MOST_KNOWN).await?)
    }

    /// Nothing was decided, such as when a second factor is still missing: the try does not count.
    pub async fn give_back(self, db: &Db) -> Result<()> {
        let Self { door, route, now } = self;
        let mut tx = db.transaction().await?;
        store::lock(&mut tx, &door.account).await?;
        let rows = store::load(&mut tx, &door.account, &door.places()).await?;
        let given_back = route.buckets().map(|(place, limit)| {
            let bucket = bucket_of(&rows, place, now).give_back(limit, now);
            Row { place: place.to_owned(), bucket, known_at: None }
        });
        store::save(&mut tx, &door.account, &given_back.collect::<Vec<_>>()).await?;
        Ok(tx.commit().await?)
    }

    /// Whether the device that was shown is one from which the account signed in.
    pub fn by_known_device(&self) -> bool {
        self.known_device().is_some()
    }

    fn known_device(&self) -> Option<&String> {
        match &self.door.from {
            Side::Outside { device: Some(device), .. } if *device == self.route.place => Some(device),
            _ => None,
        }
    }
}

impl Door {
    /// The places of which the state is needed.
    fn places(&self) -> Vec<&str> {
        match &self.from {
            Side::Session(session) => vec![session],
            Side::Outside { address, device } => {
                [Some(EVERYWHERE), Some(address), device.as_deref()].into_iter().flatten().collect()
            }
        }
    }

    /// The way of a try and the buckets that count it, or the refusal of a closed one.
    fn admit(&self, rows: &[Row], now: DateTime<Utc>) -> Result<(Route, Vec<Row>)> {
        let route = self.route(rows, now);
        let (mut counted, mut longest) = (Vec::new(), None);
        for (place, limit) in route.buckets() {
            match bucket_of(rows, place, now).admit(limit, now) {
                Ok(bucket) => counted.push(Row { place: place.to_owned(), bucket, known_at: None }),
                Err(wait) => longest = longest.max(Some(wait)),
            }
        }
        match longest {
            Some(wait) => Err(throttled(wait)),
            None => Ok((route, counted)),
        }
    }

    fn route(&self, rows: &[Row], now: DateTime<Utc>) -> Route {
        let is_known = |place: &str| {
            rows.iter().any(|row| row.place == place && row.known_at.is_some_and(|at| now - at < KNOWN_FOR))
        };
        match &self.from {
            Side::Session(session) => Route { place: session.clone(), known: true },
            Side::Outside { device: Some(device), .. } if is_known(device) => {
                Route { place: device.clone(), known: true }
            }
            Side::Outside { address, .. } => Route { place: address.clone(), known: is_known(address) },
        }
    }
}

impl Route {
    /// The buckets of the way, with their limits.
    fn buckets(&self) -> impl Iterator<Item = (&str, i64)> {
        let common = (!self.known).then_some((EVERYWHERE, ACCOUNT_TRIES));
        [Some((self.place.as_str(), PLACE_TRIES)), common].into_iter().flatten()
    }
}

/// What the database has of a place.
fn bucket_of(rows: &[Row], place: &str, now: DateTime<Utc>) -> Bucket {
    rows.iter().find(|row| row.place == place).map_or(Bucket::empty(now), |row| row.bucket)
}

/// The part of an address that one subscriber has: all of IPv4, 64 bits of IPv6.
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// The one answer of a closed door, whoever knocks.
fn throttled(wait: TimeDelta) -> Error {
    // rounded up: who comes after that many seconds is admitted
    let seconds = u64::try_from(wait.num_milliseconds()).unwrap_or_default().div_ceil(1000).max(1);
    let text = format!("There were too many wrong tries. Wait {seconds} seconds, then try again.");
    Error::new(Kind::Exhausted, "SIGN_IN_THROTTLED", text).retry_after(Duration::from_secs(seconds))
}
