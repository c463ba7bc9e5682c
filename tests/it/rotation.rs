//! Rotating the keyring: under running servers, interrupted at every step, with copies of the file elsewhere.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use chorus::server::{
    access::{
        keyring::{Keyring, Purpose},
        seal::{self, Place, TOTP_SECRET},
    },
    clock::Clock as _,
    db::sql,
    random::SeededRandom,
    rotation::{self, Report, Rotation, State, Step, Wish},
};
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    server::{ADMIN_PASSWORD, Person, TestServer, on_each_engine},
    totp,
};

const WEEK: TimeDelta = TimeDelta::days(7);

/// Rotates the keyring of the server; fails after the given number of steps, as if the process were killed there.
async fn run(server: &TestServer, wish: Wish, seed: u64, killed_after: Option<(Step, u32)>) -> anyhow::Result<Report> {
    let left = Mutex::new(killed_after.map_or(0, |(_, nth)| nth));
    let after = |step| {
        let mut left = left.lock().unwrap();
        if killed_after.is_some_and(|(killed, _)| killed == step) {
            *left -= 1;
            anyhow::ensure!(*left > 0, "killed");
        }
        Ok(())
    };
    // far from the seeds of servers, whose keys would be the same
    let (path, random) = (server.keys(), SeededRandom::new(1_000_000 + seed));
    let rotation = Rotation {
        db: &server.db,
        path: &path,
        session_max_lifetime: WEEK,
        random: &random,
        clock: &*server.clock,
        after: &after,
    };
    rotation.run(wish).await
}

async fn rotate(server: &TestServer, seed: u64) -> Report {
    run(server, Wish::Rotate, seed, None).await.unwrap()
}

/// How many keys are in each state, and how many values each seals.
async fn states(server: &TestServer) -> (HashMap<State, usize>, HashMap<State, u64>) {
    let (mut keys, mut seals) = (HashMap::new(), HashMap::new());
    for key in rotation::status(&server.db, &server.keys()).await.unwrap() {
        *keys.entry(key.state).or_default() += 1;
        *seals.entry(key.state).or_default() += key.seals.unwrap_or_default();
    }
    (keys, seals)
}

/// Makes users whose secrets are sealed with the active key.
async fn secrets(server: &TestServer, count: u64) {
    let ring = Keyring::load(&server.keys()).unwrap().unwrap();
    let key = ring.newest(Purpose::Sealing).unwrap();
    for i in 0..count {
        let user = server.person(&format!("user-{i}"), &[]).await;
        let place = Place { column: &TOTP_SECRET, row: user.id };
        let sealed = seal::seal_with(key, place, format!("secret of number {i:03}").as_bytes(), &SeededRandom::new(i));
        sql("INSERT INTO totp_secrets (user_id, secret, created_at) VALUES ($1, $2, $3)")
            .bind(user.id)
            .bind(sealed.unwrap())
            .bind(server.clock.now())
            .run(&server.db)
            .await
            .unwrap();
    }
}

/// The administrator with a second factor; the secret.
async fn second_factor(server: &TestServer) -> String {
    let body = json!({"password": ADMIN_PASSWORD});
    let path = "/api/rest/v1/users/me/totp/reset";
    let reply = server.rest(Some(&server.admin), Method::POST, path, Some(body)).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let secret = reply.body["result"]["totpSecret"].as_str().unwrap().to_owned();
    let body = json!({"totp": totp::code(&secret, server.clock.now())});
    let path = "/api/rest/v1/users/me/totp/enable";
    assert_eq!(server.rest(Some(&server.admin), Method::POST, path, Some(body)).await.status, 200);
    secret
}

async fn sign_in(server: &TestServer, secret: &str) -> Person {
    server.clock.advance(TimeDelta::seconds(30));
    let code = totp::code(secret, server.clock.now());
    let body = json!({"username": "chorus", "password": ADMIN_PASSWORD, "totp": code});
    let reply = server.rest(None, Method::POST, "/api/rest/v1/authentication/login", Some(body)).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    Person { token: reply.body["result"]["token"].as_str().unwrap().to_owned(), ..server.admin.clone() }
}

async fn status_of(server: &TestServer, by: &Person) -> u16 {
    server.rest(Some(by), Method::GET, "/api/rest/v1/users/me", None).await.status
}

fn count<K: std::hash::Hash + Eq + Copy>(of: &HashMap<K, usize>, key: K) -> usize {
    of.get(&key).copied().unwrap_or_default()
}

#[tokio::test]
async fn running_servers_go_on() {
    on_each_engine(|server| async move {
        let secret = second_factor(&server).await;
        let before = sign_in(&server, &secret).await;
        let report = rotate(&server, 1).await;
        assert_eq!((report.made.len(), report.activated.len(), report.resealed), (2, 2, 1));
        assert!(report.broken.is_empty() && report.dropped.is_empty() && !report.resumed);

        let replica = server.replica().await;
        let (here, there) = (sign_in(&server, &secret).await, sign_in(&replica, &secret).await);
        for token in [&before, &here, &there] {
            assert_eq!((status_of(&server, token).await, status_of(&replica, token).await), (200, 200));
        }
        // a server that started before seals with the new key
        second_factor_again(&server, &here).await;
        let (keys, seals) = states(&server).await;
        assert_eq!((count(&keys, State::Active), count(&keys, State::Retired)), (2, 2));
        assert_eq!(seals, HashMap::from([(State::Active, 1), (State::Retired, 0)]));
    })
    .await;
}

async fn second_factor_again(server: &TestServer, by: &Person) {
    let path = "/api/rest/v1/users/me/totp/reset";
    let reply = server.rest(Some(by), Method::POST, path, Some(json!({"password": ADMIN_PASSWORD}))).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
}

#[tokio::test]
async fn killed_anywhere_it_goes_on() {
    on_each_engine(|server| async move {
        let secret = second_factor(&server).await;
        secrets(&server, 230).await;
        let mut seed = 100;
        // the first rotation leaves keys that the later ones drop
        rotate(&server, seed).await;
        for killed in [
            (Step::Written, 1),
            (Step::Activated, 1),
            (Step::Resealed, 1),
            (Step::Resealed, 2),
            (Step::Resealed, 3),
            (Step::Forgotten, 1),
            (Step::Dropped, 1),
        ] {
            seed += 10;
            server.clock.advance(WEEK + TimeDelta::days(1));
            let error = run(&server, Wish::Rotate, seed, Some(killed)).await.unwrap_err();
            assert_eq!(error.to_string(), "killed", "{killed:?}");
            // a server starts and opens what there is
            let replica = server.replica().await;
            sign_in(&replica, &secret).await;

            let report = rotate(&server, seed + 1).await;
            let resumed = killed.0 == Step::Activated || killed == (Step::Resealed, 1) || killed == (Step::Resealed, 2);
            assert_eq!(report.resumed, resumed, "{killed:?}");
            assert!(report.broken.is_empty());
            let (keys, seals) = states(&server).await;
            assert_eq!((count(&keys, State::Active), count(&keys, State::Prepared)), (2, 0), "{killed:?}");
            assert_eq!((count(&keys, State::Unused), count(&keys, State::Missing)), (0, 0), "{killed:?}");
            assert_eq!(seals[&State::Active], 231, "{killed:?}");
            sign_in(&server, &secret).await;
        }
        server.clock.advance(WEEK + TimeDelta::days(1));
        rotate(&server, 999).await;
        let (keys, _) = states(&server).await;
        assert_eq!((count(&keys, State::Active), count(&keys, State::Retired)), (2, 2), "older ones are dropped");
    })
    .await;
}

#[tokio::test]
async fn other_servers_get_the_file_first() {
    on_each_engine(|server| async move {
        let secret = second_factor(&server).await;
        let old = tempfile::tempdir().unwrap();
        let copy = old.path().join("keys");
        fs::copy(server.keys(), &copy).unwrap();

        let prepared = run(&server, Wish::Prepare, 1, None).await.unwrap();
        assert_eq!((prepared.made.len(), prepared.activated.len()), (2, 0));
        assert!(run(&server, Wish::Prepare, 2, None).await.unwrap().made.is_empty(), "once");
        assert_eq!(count(&states(&server).await.0, State::Prepared), 2);
        let with = |keys: PathBuf| server.replica_with_keys(keys);
        drop(with(copy.clone()).await.unwrap());
        drop(with(server.keys()).await.unwrap());

        let report = rotate(&server, 3).await;
        assert!(report.made.is_empty(), "those that were prepared");
        assert_eq!(report.activated.len(), 2);
        let refused = with(copy.clone()).await.err().unwrap().to_string();
        assert!(refused.contains("it is an old copy"), "{refused}");
        fs::copy(server.keys(), &copy).unwrap();
        let there = with(copy).await.unwrap();
        sign_in(&there, &secret).await;
    })
    .await;
}

#[tokio::test]
async fn retired_keys_go_at_once_when_told_so() {
    on_each_engine(|server| async move {
        let before = server.admin.clone();
        rotate(&server, 1).await;
        let report = run(&server, Wish::DropOld, 2, None).await.unwrap();
        assert_eq!((report.made.len(), report.dropped.len()), (0, 2));
        assert!(run(&server, Wish::DropOld, 3, None).await.unwrap().dropped.is_empty());
        let replica = server.replica().await;
        assert_eq!(status_of(&replica, &before).await, 401, "its token was signed with a key that is gone");
        assert_eq!(count(&states(&server).await.0, State::Active), 2);
    })
    .await;
}

#[tokio::test]
async fn a_value_that_does_not_open_keeps_its_key() {
    on_each_engine(|server| async move {
        secrets(&server, 2).await;
        let (moved,): (i64,) = sql("SELECT max(user_id) FROM totp_secrets").one(&server.db).await.unwrap();
        sql(
            "UPDATE totp_secrets SET secret = (SELECT secret FROM totp_secrets WHERE user_id <> $1) WHERE user_id = $1",
        )
        .bind(moved)
        .run(&server.db)
        .await
        .unwrap();
        let report = rotate(&server, 1).await;
        assert_eq!((report.resealed, report.broken.len()), (1, 1));
        let (place, why) = &report.broken[0];
        assert_eq!(place.row, moved);
        assert!(why.contains("was changed, or sealed for another place"), "{why}");
        server.clock.advance(WEEK + TimeDelta::days(1));
        let dropped = run(&server, Wish::DropOld, 2, None).await.unwrap().dropped;
        assert_eq!(dropped.len(), 1, "the one that signed tokens");
    })
    .await;
}

#[tokio::test]
async fn one_at_a_time() {
    let server = TestServer::start().await;
    let path = server.keys();
    let tried = AtomicBool::new(false);
    let after = |_| {
        let again = futures_util::FutureExt::now_or_never(run(&server, Wish::Prepare, 2, None));
        assert!(again.unwrap().unwrap_err().to_string().contains("is being rotated right now"));
        tried.store(true, Ordering::Relaxed);
        Ok(())
    };
    let rotation = Rotation {
        db: &server.db,
        path: &path,
        session_max_lifetime: WEEK,
        random: &SeededRandom::new(1_000_001),
        clock: &*server.clock,
        after: &after,
    };
    rotation.run(Wish::Prepare).await.unwrap();
    assert!(tried.load(Ordering::Relaxed));
}
