//! The throttle over a database, with addresses and time as parameters: a simulation of who tries from where.

use std::{net::IpAddr, sync::Arc};

use chorus::server::{
    access::{
        keyring::{Keyring, Keys},
        throttle::{ACCOUNT_TRIES, Attempt, Device, Door, MOST_KNOWN, PLACE_TRIES, Throttle},
    },
    clock::ManualClock,
    db::{Db, sql},
    error::{Error, Kind},
    random::SeededRandom,
};
use chrono::{DateTime, Utc};

use crate::support::each_engine;

const DAY: i64 = 24 * 60 * 60;

struct World {
    throttle: Throttle,
    db: Db,
}

async fn in_each_world<F: Future<Output = ()>>(body: impl Fn(Arc<World>) -> F) {
    each_engine(async |db| {
        let keys = Keys::fixed(Keyring::generate(&SeededRandom::new(1), &ManualClock::new(at(0))));
        body(Arc::new(World { throttle: Throttle::new(db.clone(), keys), db })).await;
    })
    .await;
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn address(number: u32) -> Option<IpAddr> {
    Some(IpAddr::from((0x0a00_0000 + number).to_be_bytes()))
}

/// The seconds to wait.
fn wait_of(error: Error) -> u64 {
    assert_eq!((error.kind(), error.reason()), (Kind::Exhausted, "SIGN_IN_THROTTLED"));
    let status = error.into_status("/");
    status.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap()
}

impl World {
    /// Ada's door.
    fn door(&self, from: u32) -> Door {
        self.throttle.outside("ada", address(from), None)
    }

    async fn attempt(&self, door: Door, now: i64) -> Result<Attempt, u64> {
        self.throttle.look(&door, at(now)).await.map_err(wait_of)?;
        self.throttle.admit(door, at(now)).await.map_err(wait_of)
    }

    async fn wrong(&self, door: Door, now: i64) -> Result<(), u64> {
        self.attempt(door, now).await.map(drop)
    }

    async fn right(&self, door: Door, now: i64) -> Result<(), u64> {
        let attempt = self.attempt(door, now).await?;
        let mut tx = self.db.transaction().await.unwrap();
        attempt.succeeded(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        Ok(())
    }

    async fn right_in_browser(&self, door: Door, device: &Device) {
        let attempt = self.attempt(door, 0).await.unwrap();
        let mut tx = self.db.transaction().await.unwrap();
        attempt.succeeded_at(&self.throttle, &mut tx, Some(device)).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn is_known(&self, door: Door, now: i64) -> bool {
        self.throttle.look(&door, at(now)).await.unwrap()
    }

    async fn rows(&self) -> i64 {
        let (count,): (i64,) = sql("SELECT count(*) FROM sign_in_tries").one(&self.db).await.unwrap();
        count
    }
}

#[tokio::test]
async fn one_address_has_five_tries_and_a_growing_wait() {
    in_each_world(|world| async move {
        let mut now = 0;
        for wait in [60, 120, 240, 480, 900, 900] {
            for _ in 0..PLACE_TRIES {
                assert_eq!(world.wrong(world.door(1), now).await, Ok(()));
            }
            assert_eq!(world.wrong(world.door(1), now).await, Err(wait));
            assert_eq!(world.right(world.door(1), now).await, Err(wait), "the right password waits as well");
            now += wait as i64;
        }
        assert_eq!(world.wrong(world.throttle.outside("bob", address(1), None), 0).await, Ok(()), "another account");
    })
    .await;
}

#[tokio::test]
async fn a_thousand_addresses_have_thirty_tries_and_the_owner_gets_in() {
    in_each_world(|world| async move {
        let browser = Device::new(&SeededRandom::new(2));
        let abroad = |from| world.throttle.outside("ada", address(from), Some(&browser));
        world.right_in_browser(world.door(9999), &browser).await;
        let (mut admitted, mut in_first_minute, mut next) = (0, 0, 0);
        for second in (1..=600).step_by(6) {
            for _ in 0..40 {
                next = (next + 1) % 1000;
                admitted += i64::from(world.wrong(world.door(next), second).await.is_ok());
            }
            if second < 61 {
                in_first_minute = admitted;
            }
        }
        assert_eq!(in_first_minute, ACCOUNT_TRIES);
        assert_eq!(admitted, 4 * ACCOUNT_TRIES, "at 1, 61, 181 and 421 seconds");
        assert_eq!(world.wrong(world.door(5000), 600).await, Err(421 + 480 - 600));

        // the owner at home mistypes, and gets in; so does the browser elsewhere
        for _ in 0..PLACE_TRIES - 1 {
            assert_eq!(world.wrong(world.door(9999), 600).await, Ok(()));
        }
        assert_eq!(world.right(world.door(9999), 600).await, Ok(()));
        assert_eq!(world.right(abroad(7777), 600).await, Ok(()));
        assert_eq!(world.wrong(world.door(5000), 600).await, Err(301), "nobody else has another try for it");
        for _ in 0..PLACE_TRIES {
            assert_eq!(world.wrong(world.door(9999), 600).await, Ok(()));
        }
        assert_eq!(world.wrong(world.door(9999), 600).await, Err(60), "a known place has a limit, too");
    })
    .await;
}

#[tokio::test]
async fn a_success_takes_back_its_own_try_only() {
    in_each_world(|world| async move {
        for from in 0..ACCOUNT_TRIES as u32 - 1 {
            world.wrong(world.door(from), 0).await.unwrap();
        }
        world.right(world.door(1000), 0).await.unwrap();
        world.right(world.door(1001), 0).await.unwrap();
        assert_eq!(world.wrong(world.door(2000), 0).await, Ok(()));
        assert_eq!(world.wrong(world.door(2001), 0).await, Err(60));
    })
    .await;
}

#[tokio::test]
async fn a_place_is_known_for_thirty_days() {
    in_each_world(|world| async move {
        world.right(world.door(1), 0).await.unwrap();
        assert!(world.is_known(world.door(1), 30 * DAY - 1).await);
        assert!(!world.is_known(world.door(1), 30 * DAY).await);
        assert!(!world.is_known(world.door(2), 0).await);
        assert!(!world.is_known(world.throttle.outside("bob", address(1), None), 0).await, "for this account only");
    })
    .await;
}

#[tokio::test]
async fn the_latest_places_are_known() {
    in_each_world(|world| async move {
        for from in 0..=MOST_KNOWN as u32 {
            world.right(world.door(from), i64::from(from)).await.unwrap();
        }
        let known = sql("SELECT count(*) FROM sign_in_tries WHERE known_at IS NOT NULL").one(&world.db);
        assert_eq!(known.await, Ok((MOST_KNOWN,)));
        assert!(!world.is_known(world.door(0), 100).await);
        assert!(world.is_known(world.door(1), 100).await);
    })
    .await;
}

#[tokio::test]
async fn a_device_is_known_wherever_it_is() {
    in_each_world(|world| async move {
        let (mine, planted) = (Device::new(&SeededRandom::new(2)), Device::new(&SeededRandom::new(3)));
        let with = |number, device| world.throttle.outside("ada", address(number), Some(device));
        // what a client brings is not believed
        world.right_in_browser(with(1, &planted), &mine).await;
        assert!(!world.is_known(with(2, &planted), 0).await);
        assert!(world.is_known(with(2, &mine), 0).await);
        assert!(!world.is_known(world.throttle.outside("bob", address(2), Some(&mine)), 0).await);
        // somebody at the same address guesses: the device is not his
        for _ in 0..PLACE_TRIES {
            world.wrong(world.door(1), 0).await.unwrap();
        }
        assert_eq!(world.wrong(world.door(1), 0).await, Err(60));
        assert_eq!(world.right(with(1, &mine), 0).await, Ok(()));
        assert_eq!(world.wrong(world.door(1), 0).await, Err(60), "the owner's success does not open the address");
    })
    .await;
}

#[tokio::test]
async fn the_network_of_a_subscriber_counts() {
    in_each_world(|world| async move {
        let from = |text: &str| world.throttle.outside("ada", Some(text.parse().unwrap()), None);
        for host in 1..=PLACE_TRIES {
            world.wrong(from(&format!("2001:db8:1:2::{host}")), 0).await.unwrap();
            world.wrong(from("192.0.2.1"), 0).await.unwrap();
        }
        assert_eq!(world.wrong(from("2001:db8:1:2:ffff::1"), 0).await, Err(60));
        assert_eq!(world.wrong(from("2001:db8:1:3::1"), 0).await, Ok(()));
        assert_eq!(world.wrong(from("::ffff:192.0.2.1"), 0).await, Err(60));
        assert_eq!(world.wrong(from("192.0.2.2"), 0).await, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn a_session_is_a_place_of_its_own() {
    in_each_world(|world| async move {
        for from in 0..ACCOUNT_TRIES as u32 {
            world.wrong(world.door(from), 0).await.unwrap();
        }
        let session = || world.throttle.inside(7, "session-1");
        for _ in 0..PLACE_TRIES - 1 {
            world.wrong(session(), 0).await.unwrap();
        }
        // who knows the password must not buy tries for codes with it
        world.right(session(), 0).await.unwrap();
        world.wrong(session(), 0).await.unwrap();
        assert_eq!(world.right(session(), 0).await, Err(60));
        assert_eq!(world.wrong(world.throttle.inside(7, "session-2"), 0).await, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_decided_does_not_count() {
    in_each_world(|world| async move {
        for _ in 0..2 * ACCOUNT_TRIES {
            world.attempt(world.door(1), 0).await.unwrap().give_back(&world.db).await.unwrap();
        }
        assert!(!world.is_known(world.door(1), 0).await);
    })
    .await;
}

#[tokio::test]
async fn a_new_password_opens_what_was_closed() {
    in_each_world(|world| async move {
        world.right(world.door(1), 0).await.unwrap();
        for from in 100..100 + ACCOUNT_TRIES as u32 {
            world.wrong(world.door(from), 0).await.unwrap();
        }
        assert!(world.wrong(world.door(7), 0).await.is_err());
        let mut tx = world.db.transaction().await.unwrap();
        world.throttle.forgive(&mut tx, "ada", at(0)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.wrong(world.door(7), 0).await, Ok(()));
        assert!(world.is_known(world.door(1), 0).await);
    })
    .await;
}

/// Names that nobody has, from addresses without end: rows come and go.
#[tokio::test]
async fn rows_are_deleted_when_they_are_over() {
    in_each_world(|world| async move {
        world.right(world.door(1), 0).await.unwrap();
        for minute in 0..120_u32 {
            for number in 0..3 {
                let name = format!("nobody-{minute}-{number}");
                let door = world.throttle.outside(&name, address(minute * 10 + number), None);
                world.wrong(door, i64::from(minute) * 60).await.unwrap();
            }
            world.throttle.remove_quiet(at(i64::from(minute) * 60)).await.unwrap();
        }
        // two rows a try, for an hour and a minute, and what is known of ada
        let rows = world.rows().await;
        assert!(rows <= 2 * 3 * 61 + 1, "{rows} rows");
        assert!(world.is_known(world.door(1), 7200).await);
        world.wrong(world.throttle.outside("bob", None, None), 31 * DAY).await.unwrap();
        world.throttle.remove_quiet(at(31 * DAY)).await.unwrap();
        assert_eq!(world.rows().await, 2, "after a month only bob's are left");
    })
    .await;
}

#[tokio::test]
async fn nothing_that_was_typed_is_stored() {
    in_each_world(|world| async move {
        let door = || world.throttle.outside("my secret password", "198.51.100.7".parse().ok(), None);
        world.right(door(), 0).await.unwrap();
        let rows: Vec<(String, String)> = sql("SELECT account, place FROM sign_in_tries").all(&world.db).await.unwrap();
        assert_eq!(rows.len(), 2);
        for (account, place) in rows {
            assert!(account.len() == 22 && [0, 22].contains(&place.len()), "{account} {place}");
        }
        let shown = format!("{:?}", door());
        assert!(!shown.contains("secret") && !shown.contains("198"), "{shown}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_tries_are_counted_one_by_one() {
    in_each_world(|world| async move {
        let tries = (0..100).map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.wrong(world.door(1), 0).await.is_ok() })
        });
        let mut admitted = 0;
        for one in tries.collect::<Vec<_>>() {
            admitted += i64::from(one.await.unwrap());
        }
        assert_eq!(admitted, PLACE_TRIES);
    })
    .await;
}
