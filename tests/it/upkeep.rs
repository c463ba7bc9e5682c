//! Upkeep: what is done every so often, by one replica, whatever fails.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use chorus::server::{
    clock::{Clock, ManualClock},
    db::{Db, sql},
    error::Error,
    upkeep::{Job, Upkeep},
};
use chrono::TimeDelta;
use tokio::sync::mpsc;

use crate::support::{each_engine, server::on_each_engine};

/// How often something was done.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU32>);

impl Count {
    fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new("2026-03-01T08:00:00Z".parse().unwrap()))
}

/// A job that counts.
fn counting(every: TimeDelta, count: &Count) -> Job {
    let count = count.clone();
    Job::new("count", every, move |_| {
        count.add();
        async { Ok(1) }
    })
}

async fn holder(db: &Db) -> Option<String> {
    let row: Option<(String,)> = sql("SELECT holder FROM leases WHERE name = 'upkeep'").maybe(db).await.unwrap();
    row.map(|row| row.0)
}

#[tokio::test]
async fn each_job_has_its_interval() {
    each_engine(|db| async move {
        db.migrate().await.unwrap();
        let (clock, often, seldom) = (clock(), Count::default(), Count::default());
        let jobs = vec![counting(TimeDelta::minutes(10), &often), counting(TimeDelta::hours(1), &seldom)];
        let mut upkeep = Upkeep::new(db.clone(), clock.clone(), "one", jobs);
        upkeep.round().await;
        upkeep.round().await;
        assert_eq!((often.get(), seldom.get()), (1, 1));
        for _ in 0..60 {
            clock.advance(TimeDelta::minutes(1));
            upkeep.round().await;
        }
        assert_eq!((often.get(), seldom.get()), (7, 2));
    })
    .await;
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_and_keeps_no_other() {
    each_engine(|db| async move {
        db.migrate().await.unwrap();
        let (clock, failing, panicking, fine) = (clock(), Count::default(), Count::default(), Count::default());
        let (fails, panics) = (failing.clone(), panicking.clone());
        let hourly = TimeDelta::hours(1);
        let jobs = vec![
            Job::new("fails twice", hourly, move |_| {
                let tries = fails.add();
                async move { if tries < 3 { Err(Error::internal("no")) } else { Ok(0) } }
            }),
            Job::new("panics once", hourly, move |_| {
                let tries = panics.add();
                async move { if tries < 2 { panic!("no") } else { Ok(0) } }
            }),
            counting(hourly, &fine),
        ];
        let mut upkeep = Upkeep::new(db.clone(), clock.clone(), "one", jobs);
        for tries in [(1, 1, 1), (2, 2, 1), (3, 2, 1), (3, 2, 1)] {
            upkeep.round().await;
            assert_eq!((failing.get(), panicking.get(), fine.get()), tries);
            clock.advance(TimeDelta::minutes(1));
        }
    })
    .await;
}

#[tokio::test]
async fn one_replica_at_a_time() {
    each_engine(|db| async move {
        db.migrate().await.unwrap();
        let (clock, by_one, by_two) = (clock(), Count::default(), Count::default());
        let minute = TimeDelta::minutes(1);
        let upkeep = |name: &str, count| Upkeep::new(db.clone(), clock.clone(), name, vec![counting(minute, count)]);
        let (mut one, mut two) = (upkeep("one", &by_one), upkeep("two", &by_two));
        for _ in 0..20 {
            one.round().await;
            two.round().await;
            clock.advance(minute);
        }
        assert_eq!((by_one.get(), by_two.get()), (20, 0));
        assert_eq!(holder(&db).await.as_deref(), Some("one"));
        // the first one died: after a while the other takes over
        for _ in 0..6 {
            two.round().await;
            clock.advance(minute);
        }
        assert_eq!(holder(&db).await.as_deref(), Some("two"));
        assert_eq!(by_two.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn it_runs_by_itself_and_gives_the_lease_back() {
    each_engine(|db| async move {
        db.migrate().await.unwrap();
        let (done, mut seen) = mpsc::unbounded_channel();
        let job = Job::new("tell", TimeDelta::zero(), move |now| {
            let done = done.clone();
            async move { done.send(now).map(|()| 1).map_err(|_| Error::internal("nobody listens")) }
        });
        let clock = clock();
        let upkeep = Upkeep::new(db.clone(), clock.clone(), "one", vec![job]);
        let running = upkeep.start(std::time::Duration::from_millis(1));
        for _ in 0..3 {
            assert_eq!(seen.recv().await, Some(clock.now()));
        }
        running.stop().await;
        assert_eq!(holder(&db).await, None);
    })
    .await;
}

#[tokio::test]
async fn sessions_that_ended_long_ago_are_removed() {
    on_each_engine(|server| async move {
        let now = server.clock.now();
        let other = server.person("other", &[]).await;
        // id, last use, end, sign-out: hours from now
        for (id, user, used, end, out) in [
            ("expired", server.admin.id, -30, -25, None),
            ("signed out", server.admin.id, -30, 100, Some(-25)),
            ("idle", server.admin.id, -37, 100, None),
            ("expired lately", server.admin.id, -30, -23, None),
            ("signed out lately", server.admin.id, -30, 100, Some(-23)),
            ("idle lately", server.admin.id, -35, 100, None),
            ("of another", other.id, -90, -80, None),
        ] {
            let at = |hours| now + TimeDelta::hours(hours);
            sql("INSERT INTO sessions (id, user_id, tenant_id, created_at, last_seen_at, expires_at, revoked_at) \
                 VALUES ($1, $2, $3, $4, $4, $5, $6)")
            .bind(id)
            .bind(user)
            .bind(server.tenant)
            .bind(at(used))
            .bind(at(end))
            .bind(out.map(at))
            .run(&server.db)
            .await
            .unwrap();
        }
        server.upkeep().round().await;
        let left: Vec<(String,)> =
            sql("SELECT id FROM sessions WHERE length(id) < 36 ORDER BY id").all(&server.db).await.unwrap();
        let left: Vec<_> = left.iter().map(|(id,)| id.as_str()).collect();
        assert_eq!(left, ["expired lately", "idle lately", "signed out lately"]);
        let (open,): (i64,) = sql("SELECT count(*) FROM sessions WHERE length(id) = 36").one(&server.db).await.unwrap();
        assert_eq!(open, 2, "those that are open stay");
    })
    .await;
}
