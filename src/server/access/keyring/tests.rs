//! Keyrings: made once, read back, refused when they are not whole or not private.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Barrier},
};

use proptest::prelude::*;

use super::*;
use crate::server::{clock::ManualClock, random::SeededRandom};

fn clock() -> ManualClock {
    ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

fn fingerprints(ring: &Keyring) -> BTreeSet<String> {
    ring.keys().map(Key::fingerprint).collect()
}

fn key(seed: u64) -> Key {
    Key::generate(Purpose::Sealing, &SeededRandom::new(seed), clock().now())
}

fn made(seed: u64) -> Keyring {
    Keyring::generate(&SeededRandom::new(seed), &clock())
}

#[test]
fn a_keyring_is_made_once_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    assert!(Keyring::load(&path).unwrap().is_none());
    let first = Keyring::load_or_create(&path, &SeededRandom::new(1), &clock()).unwrap();
    let second = Keyring::load_or_create(&path, &SeededRandom::new(2), &clock()).unwrap();
    assert_eq!(fingerprints(&first), fingerprints(&second));
    assert_eq!(*first.to_text(), *second.to_text());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!made(3).write_new(&path).unwrap(), "an existing keyring stays");
    assert_eq!(fingerprints(&Keyring::load(&path).unwrap().unwrap()), fingerprints(&first));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn processes_that_start_at_once_end_with_one_keyring() {
    let folder = tempfile::tempdir().unwrap();
    let path = Arc::new(folder.path().join("keys"));
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|seed| {
            let (path, start) = (path.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                fingerprints(&Keyring::load_or_create(&path, &SeededRandom::new(seed), &clock()).unwrap())
            })
        })
        .collect();
    let fingerprints: BTreeSet<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(fingerprints.len(), 1);
}

#[test]
fn a_keyring_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    made(1).write_new(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Keyring::load(&path).unwrap_err();
        assert!(matches!(error, KeyringError::Exposed { mode: found, .. } if found == mode), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(Keyring::load(&path).unwrap().is_some());
    }
}

#[test]
fn a_missing_folder_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nowhere/keys");
    let error = Keyring::load_or_create(&path, &SeededRandom::new(1), &clock()).unwrap_err();
    assert!(error.to_string().contains("nowhere/keys"), "{error}");
}

#[test]
fn damage_is_told_without_the_content() {
    let good = made(1).to_text().to_string();
    let lines: Vec<_> = good.lines().collect();
    let (token, sealing) = (lines[2], lines[3]);
    for (text, expected) in [
        (String::new(), Damage::Header),
        (good.replace("keyring 1", "keyring 2"), Damage::Header),
        (format!("{HEADER}\n"), Damage::Missing(Purpose::TokenSigning)),
        (format!("{HEADER}\n{token}\n"), Damage::Missing(Purpose::Sealing)),
        (format!("{HEADER}\n{token}\n{token}\n{sealing}\n"), Damage::Repeated(3)),
        (format!("{HEADER}\n\n{token} x\n{sealing}\n"), Damage::Line(3)),
        (format!("{HEADER}\n{}\n{sealing}\n", &token[..token.len() - 1]), Damage::Line(2)),
        (format!("{HEADER}\n{token}AAAA\n{sealing}\n"), Damage::Line(2)),
        (format!("{HEADER}\n{}\n", token.replace("token-signing", "signing")), Damage::Line(2)),
    ] {
        assert_eq!(Keyring::parse(&text).unwrap_err(), expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    made(1).write_new(&path).unwrap();
    let secret = token.rsplit(' ').next().unwrap();
    fs::write(&path, good.replace("sealing", "other")).unwrap();
    let error = Keyring::load(&path).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(secret));
    fs::write(&path, vec![b'x'; 2 * MAX_FILE_BYTES as usize]).unwrap();
    assert!(matches!(Keyring::load(&path), Err(KeyringError::Damaged { what: Damage::Text, .. })));
}

#[test]
fn the_newest_key_is_used_and_every_key_is_known() {
    let time = clock();
    let mut ring = Keyring::generate(&SeededRandom::new(1), &time);
    let first = ring.newest(Purpose::TokenSigning).unwrap().id().to_owned();
    let same = Key::generate(Purpose::TokenSigning, &SeededRandom::new(8), time.now());
    ring.keys.push(same.clone());
    assert_eq!(ring.newest(Purpose::TokenSigning).unwrap().id(), same.id());
    time.advance(chrono::TimeDelta::days(1));
    let later = Key::generate(Purpose::TokenSigning, &SeededRandom::new(9), time.now());
    ring.keys.insert(0, later.clone());
    assert_eq!(ring.newest(Purpose::TokenSigning).unwrap().id(), later.id());
    assert!(ring.get(Purpose::TokenSigning, &first).is_some());
    assert!(ring.get(Purpose::Sealing, &first).is_none(), "a key serves one purpose");
    assert_eq!(ring.all(Purpose::TokenSigning).count(), 3);
}

#[test]
fn fingerprints_tell_keys_apart() {
    let ring = made(1);
    let mut all = fingerprints(&ring);
    assert!(all.len() == 2 && all.iter().all(|fingerprint| fingerprint.len() == 64));
    let mut other = ring.clone();
    other.keys[0].secret[0] ^= 1;
    all.extend(fingerprints(&other));
    assert_eq!(all.len(), 3);
}

#[test]
fn a_keyring_is_replaced_whole_and_stays_private() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("keys"), folder.path().join("link"));
    let mut ring = made(1);
    ring.write_new(&path).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    ring.add(key(2));
    ring.replace(&link).unwrap();
    assert_eq!(*Keyring::load(&path).unwrap().unwrap().to_text(), *ring.to_text());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left behind");
    assert!(ring.replace(&folder.path().join("nowhere")).is_err(), "only a keyring that is there");
}

#[test]
fn keys_are_removed_but_never_the_last_one() {
    let mut ring = made(1);
    let first = ring.newest(Purpose::Sealing).unwrap().id().to_owned();
    assert!(!ring.remove(&first) && !ring.remove("nothing"));
    ring.add(key(2));
    assert!(ring.remove(&first) && !ring.remove(&first));
    assert_eq!(ring.all(Purpose::Sealing).count(), 1);
}

/// What a running server sees of a file that is replaced under it.
#[tokio::test]
async fn running_servers_see_new_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let db = crate::server::db::Db::memory().await.unwrap();
    let mut ring = made(1);
    ring.write_new(&path).unwrap();
    let mut tx = db.transaction().await.unwrap();
    rows::adopt(&mut tx, &ring, clock().now()).await.unwrap();
    tx.commit().await.unwrap();
    let keys = Keys::of_file(path.clone(), ring.clone());
    keys.follow(&db).await.unwrap();
    let (old, new) = (keys.active(Purpose::Sealing).unwrap(), key(2));
    assert!(keys.get(Purpose::Sealing, new.id()).is_none());

    ring.add(new.clone());
    ring.replace(&path).unwrap();
    assert_eq!(keys.get(Purpose::Sealing, new.id()).unwrap().fingerprint(), new.fingerprint());
    assert_eq!(keys.active(Purpose::Sealing).unwrap().id(), old.id(), "the database says when");
    let mut tx = db.transaction().await.unwrap();
    rows::activate(&mut tx, &new, clock().now()).await.unwrap();
    tx.commit().await.unwrap();
    keys.follow(&db).await.unwrap();
    assert_eq!(keys.active(Purpose::Sealing).unwrap().id(), new.id());
    // without the new file, the old key is good enough
    made(1).replace(&path).unwrap();
    keys.follow(&db).await.unwrap();
    assert_eq!(keys.active(Purpose::Sealing).unwrap().id(), old.id());
    // idle while everything that was known is dropped
    made(9).replace(&path).unwrap();
    let newest = made(9).newest(Purpose::Sealing).unwrap().id().to_owned();
    assert!(keys.get(Purpose::Sealing, &newest).is_some());
    assert_eq!(keys.active(Purpose::Sealing).unwrap().id(), newest);
}

#[test]
fn debug_shows_ids_only() {
    let ring = made(1);
    let shown = format!("{ring:?}");
    for key in &ring.keys {
        assert!(shown.contains(key.id()));
        assert!(!shown.contains(&BASE64.encode(key.expose())));
    }
    assert_eq!(shown.matches("secret withheld").count(), 2);
}

proptest! {
    #[test]
    fn any_text_reads_or_is_refused(text in "(chorus-keyring 1\n)?(.|\n){0,200}") {
        let _ = Keyring::parse(&text);
    }

    #[test]
    fn what_is_written_reads_back(seed: u64) {
        let text = made(seed).to_text();
        prop_assert_eq!(&*Keyring::parse(&text).unwrap().to_text(), &*text);
    }
}
