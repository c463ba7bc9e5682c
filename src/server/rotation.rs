//! Rotating the keyring: new keys, every sealed value sealed anew, old keys dropped.
//!
//! ```text
//! file + new keys ─► database: they are active ─► sealed values, a batch at a time ─► database, then file − old keys
//! ```
//!
//! What always holds, whenever the process is killed: the file has every key that the database knows of, so a server
//! starts and opens everything; a value is sealed with the active key or waits for the next run, which finishes the work
//! instead of beginning anew. Once a key is retired no server seals with it (see `access::seal`), so a key that seals
//! nothing never will again. Running servers notice by themselves (see `access::keyring::Keys`).

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    access::{
        keyring::{Key, Keyring, Purpose, rows, rows::Known},
        seal::{self, Column, Place},
        sessions,
    },
    clock::Clock,
    db::{Db, On, sql},
    installation,
    random::Random,
};

/// Values that are sealed anew in one transaction.
const BATCH: i64 = 100;

/// What a rotation works on.
pub struct Rotation<'a> {
    /// The database.
    pub db: &'a Db,
    /// The keyring file.
    pub path: &'a Path,
    /// Tokens of a retired key are good for this long.
    pub session_max_lifetime: TimeDelta,
    /// For new keys.
    pub random: &'a dyn Random,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Called after each step, for tests that stop there.
    pub after: &'a (dyn Fn(Step) -> Result<()> + Sync),
}

/// The steps after which a crash would show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The file has the new keys.
    Written,
    /// The database says that they are active.
    Activated,
    /// A batch of values is sealed anew.
    Resealed,
    /// The database has forgotten keys.
    Forgotten,
    /// The file has lost them.
    Dropped,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// New keys in the file, to be copied to other servers before they are used.
    Prepare,
    /// New keys, or those that were prepared; or the rest of a rotation that was interrupted.
    Rotate,
    /// No new keys; retired ones go at once.
    DropOld,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// Keys that were made.
    pub made: Vec<Key>,
    /// Keys that became active.
    pub activated: Vec<Key>,
    /// An interrupted rotation was finished, and no other begun.
    pub resumed: bool,
    /// How many values were sealed anew.
    pub resealed: u64,
    /// Values that do not open: where, and why.
    pub broken: Vec<(Place, String)>,
    /// Ids of keys that were dropped.
    pub dropped: Vec<String>,
}

/// A key as `chorus secrets status` shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Status {
    /// The id.
    pub id: String,
    /// The name of its purpose.
    pub purpose: String,
    /// What it is used for at the moment.
    pub state: State,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How many values it seals; nothing for keys that do not seal.
    pub seals: Option<u64>,
}

/// What a key is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waits in the file for the next rotation.
    Prepared,
    /// New things are made with it.
    Active,
    /// What it made before is still good.
    Retired,
    /// In the file, and nothing is left of it in the database.
    Unused,
    /// In the database and not in the file.
    Missing,
}

impl Rotation<'_> {
    /// Does what is asked for.
    ///
    /// # Errors
    /// When the keyring is another one or is being rotated, or a step fails. A second run goes on from there.
    pub async fn run(&self, wish: Wish) -> Result<Report> {
        let _lock = lock(self.path)?;
        let mut ring = load(self.path)?;
        let known = rows::all(self.db).await?;
        installation::fits(&ring, &known, self.path)?;
        let mut report = Report::default();
        let prepared: Vec<_> = Purpose::ALL.into_iter().filter_map(|p| prepared(&ring, &known, p)).collect();
        if wish == Wish::Rotate && prepared.is_empty() {
            // servers seal with the active key only, so another one means that a rotation was interrupted
            self.reseal(&ring, &mut report).await?;
            report.resumed = report.resealed > 0;
        }
        if wish != Wish::DropOld && !report.resumed {
            report.made = self.prepare(&mut ring, &prepared)?;
            if wish == Wish::Prepare {
                return Ok(report);
            }
            report.activated = Purpose::ALL.into_iter().filter_map(|p| ring.newest(p).cloned()).collect();
            self.activate(&ring, &report.activated).await?;
        }
        self.reseal(&ring, &mut report).await?;
        report.dropped = self.drop_retired(ring, wish == Wish::DropOld).await?;
        Ok(report)
    }

    /// Puts the keys into the file that are not prepared yet.
    fn prepare(&self, ring: &mut Keyring, prepared: &[Key]) -> Result<Vec<Key>> {
        let missing = Purpose::ALL.into_iter().filter(|p| prepared.iter().all(|key| key.purpose() != *p));
        // no older than the one before, even if the clock was set back
        let age = |p| ring.newest(p).map_or(self.clock.now(), |key| key.created().max(self.clock.now()));
        let made: Vec<_> = missing.map(|p| Key::generate(p, self.random, age(p))).collect();
        if !made.is_empty() {
            made.iter().for_each(|key| ring.add(key.clone()));
            write(ring, self.path)?;
        }
        (self.after)(Step::Written)?;
        Ok(made)
    }

    async fn activate(&self, ring: &Keyring, keys: &[Key]) -> Result<()> {
        let mut tx = self.db.transaction().await?;
        rows::lock(&mut tx).await?;
        // somebody may have rotated a copy of this keyring meanwhile
        installation::fits(ring, &rows::all(&mut tx).await?, self.path)?;
        for key in keys {
            rows::activate(&mut tx, key, self.clock.now()).await?;
        }
        sessions::access_changed(&mut tx).await?;
        tx.commit().await?;
        (self.after)(Step::Activated)
    }

    /// Seals with the active key what is sealed with another one.
    async fn reseal(&self, ring: &Keyring, report: &mut Report) -> Result<()> {
        let active = rows::active(self.db).await?.remove(&Purpose::Sealing);
        let active = active.and_then(|id| ring.get(Purpose::Sealing, &id)).context("there is no active sealing key")?;
        report.broken.clear();
        for column in seal::COLUMNS {
            let mut last = i64::MIN;
            loop {
                let batch = stale(self.db, column, active, last).await?;
                let Some((row, _)) = batch.last() else { break };
                last = *row;
                let mut tx = self.db.transaction().await?;
                for (row, old) in &batch {
                    let place = Place { column, row: *row };
                    match self.sealed_anew(ring, active, place, old) {
                        Ok(new) => report.resealed += replace(&mut tx, place, old, &new).await?,
                        Err(error) => report.broken.push((place, error.to_string())),
                    }
                }
                tx.commit().await?;
                (self.after)(Step::Resealed)?;
            }
        }
        Ok(())
    }

    fn sealed_anew(&self, ring: &Keyring, active: &Key, place: Place, old: &str) -> Result<String, seal::SealError> {
        let secret = seal::open(|id| ring.get(Purpose::Sealing, id).cloned(), place, old)?;
        seal::seal_with(active, place, &secret, self.random)
    }

    /// Drops retired keys of which nothing is left: nothing is sealed with them, and the last token has expired, unless
    /// they are to go at once.
    async fn drop_retired(&self, mut ring: Keyring, at_once: bool) -> Result<Vec<String>> {
        let (known, sealed) = (rows::all(self.db).await?, sealed(self.db).await?);
        let now = self.clock.now();
        let over = |key: &&Known| key.retired_at.is_some_and(|at| at_once || now - at > self.session_max_lifetime);
        let mut gone: Vec<_> = known.iter().filter(over).map(|key| key.id.clone()).collect();
        gone.retain(|id| !sealed.contains_key(id));
        // what an interrupted run left in the file only
        let unused = |key: &&Key| state(key, &known, &ring) == State::Unused && !sealed.contains_key(key.id());
        gone.extend(ring.keys().filter(unused).map(|key| key.id().to_owned()));
        if gone.is_empty() {
            return Ok(gone);
        }
        let mut tx = self.db.transaction().await?;
        for id in &gone {
            rows::forget(&mut tx, id).await?;
        }
        tx.commit().await?;
        (self.after)(Step::Forgotten)?;
        gone.retain(|id| ring.remove(id));
        write(&ring, self.path)?;
        (self.after)(Step::Dropped)?;
        // only now: running servers read the file again
        sessions::access_changed(self.db).await?;
        Ok(gone)
    }
}

/// Every key there is, by purpose and state, the oldest first.
///
/// # Errors
/// When file or database cannot be read.
pub async fn status(db: &Db, path: &Path) -> Result<Vec<Status>> {
    let (ring, known, sealed) = (load(path)?, rows::all(db).await?, sealed(db).await?);
    let seals = |purpose: &str, id: &str| {
        (purpose == Purpose::Sealing.as_str()).then(|| sealed.get(id).copied().unwrap_or_default())
    };
    let missing = known.iter().filter(|row| ring.keys().all(|key| key.id() != row.id)).map(|row| Status {
        id: row.id.clone(),
        purpose: row.purpose.clone(),
        state: State::Missing,
        since: row.activated_at,
        seals: seals(&row.purpose, &row.id),
    });
    let mut all: Vec<_> = missing.collect();
    all.extend(ring.keys().map(|key| {
        let row = known.iter().find(|row| row.id == key.id());
        let since = row.map_or(key.created(), |row| row.retired_at.unwrap_or(row.activated_at));
        let (id, purpose) = (key.id().to_owned(), key.purpose().as_str().to_owned());
        Status { state: state(key, &known, &ring), since, seals: seals(&purpose, &id), id, purpose }
    }));
    all.sort_by(|a, b| (&a.purpose, a.state, a.since, &a.id).cmp(&(&b.purpose, b.state, b.since, &b.id)));
    Ok(all)
}

fn state(key: &Key, known: &[Known], ring: &Keyring) -> State {
    match known.iter().find(|row| row.id == key.id()) {
        Some(row) if row.retired_at.is_none() => State::Active,
        Some(_) => State::Retired,
        None if prepared(ring, known, key.purpose()).is_some_and(|newest| newest.id() == key.id()) => State::Prepared,
        None => State::Unused,
    }
}

/// The newest key of a purpose, if the database does not know it yet.
fn prepared(ring: &Keyring, known: &[Known], purpose: Purpose) -> Option<Key> {
    let newest = ring.newest(purpose)?;
    known.iter().all(|row| row.id != newest.id()).then(|| newest.clone())
}

/// How many values each key seals.
async fn sealed(on: impl Into<On<'_>>) -> Result<HashMap<String, u64>> {
    let mut on = on.into();
    let mut all = HashMap::new();
    for column in seal::COLUMNS {
        // `v1.` and an id of 16 characters
        let rows: Vec<(String, i64)> = sql("SELECT substr(")
            .push(column.name)
            .push(", 4, 16), count(*) FROM ")
            .push(column.table)
            .push(" GROUP BY 1")
            .all(on.again())
            .await?;
        for (id, count) in rows {
            *all.entry(id).or_default() += u64::try_from(count).unwrap_or_default();
        }
    }
    Ok(all)
}

/// The next values of a column that are sealed with another key.
async fn stale(db: &Db, column: &'static Column, active: &Key, after: i64) -> Result<Vec<(i64, String)>> {
    let of_active = format!("{}%", seal::prefix(active));
    let rows = sql("SELECT ")
        .push(column.key)
        .push(", ")
        .push(column.name)
        .push(" FROM ")
        .push(column.table)
        .push(" WHERE ")
        .push(column.key)
        .push(" > ")
        .arg(after)
        .push(" AND ")
        .push(column.name)
        .push(" NOT LIKE ")
        .arg(of_active)
        .push(" ORDER BY ")
        .push(column.key)
        .push(" LIMIT ")
        .arg(BATCH);
    Ok(rows.all(db).await?)
}

/// Replaces a value unless somebody else did; how many were replaced.
async fn replace(on: impl Into<On<'_>>, Place { column, row }: Place, old: &str, new: &str) -> Result<u64> {
    let update = sql("UPDATE ").push(column.table).push(" SET ").push(column.name).push(" = ").arg(new);
    let update = update.push(" WHERE ").push(column.key).push(" = ").arg(row);
    Ok(update.push(" AND ").push(column.name).push(" = ").arg(old).run(on).await?)
}

fn load(path: &Path) -> Result<Keyring> {
    let none = || format!("there is no keyring at {}; name it with --keys", path.display());
    Keyring::load(path)?.with_context(none)
}

fn write(ring: &Keyring, path: &Path) -> Result<()> {
    let failed = || {
        format!("the keyring {} cannot be replaced; run this as the account that the server runs as", path.display())
    };
    ring.replace(path).with_context(failed)
}

/// Keeps other rotations of this file away while it lives: the folder is locked, since the file itself is replaced.
fn lock(path: &Path) -> Result<fs::File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = fs::File::open(folder).with_context(|| format!("the folder {} cannot be opened", folder.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => bail!("the keyring {} is being rotated right now", path.display()),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("the folder {} cannot be locked", folder.display()))
        }
    }
}
