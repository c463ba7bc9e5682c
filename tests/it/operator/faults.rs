//! Whatever goes wrong on the way, it ends where it would have ended anyway, and nothing is written after that.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::cluster::{Call, Fault};

use super::world::{ENDS, RUNS, World, in_memory};

/// A day in the life of two desktops.
async fn day(world: &World) {
    world.create(world.workspace_object("Airgapped")).await;
    world.workbench("wb", &[("a1", RUNS), ("a2", ENDS), ("a3", RUNS)]).await;
    world.workbench("gone", &[("a1", RUNS)]).await;
    world.until_app("wb", "a1", "Running").await;
    world.until_app("wb", "a2", "Complete").await;
    world.until_app("gone", "a1", "Running").await;
    world.set_app("wb", "a1", json!({ "state": "Stopped" })).await;
    world.set_app("wb", "a2", json!({ "restartGeneration": 1 })).await;
    world.set_app("wb", "a3", Value::Null).await;
    world.delete("Workbench", "gone").await;
    world.until_app("wb", "a1", "Stopped").await;
    let again = |wb: &Value| {
        wb["status"]["apps"]["a2"]["restartGeneration"] == 1 && wb["status"]["apps"]["a2"]["status"] == "Complete"
    };
    world.until("Workbench", "wb", "a2 again", again).await;
    world.until("Workbench", "wb", "without a3", |wb| wb["status"]["apps"]["a3"].is_null()).await;
    world.until("Workbench", "gone", "gone", Value::is_null).await;
    world.until_ready("wb").await;
}

/// How the day ends when nothing goes wrong, and how many writes of the operator that takes.
fn undisturbed() -> (BTreeMap<String, Value>, usize) {
    let mut end = Default::default();
    let taken = std::sync::Mutex::new(&mut end);
    in_memory(async |world| {
        world.start();
        day(world).await;
        world.quiet().await;
        **taken.lock().unwrap() = (world.picture(), world.memory().session.writes());
    });
    end
}

/// The same end as ever, and no app was started more often than it was asked for.
fn assert_ends(what: &str, world: &World, wanted: &BTreeMap<String, Value>) {
    let found = &world.picture();
    let names = |picture: &BTreeMap<String, Value>| picture.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(wanted), "{what}");
    for (name, object) in wanted {
        assert_eq!(&found[name], object, "{what}: {name}");
    }
    // a1 of both workbenches; a2, and a2 again; a3 may be taken away before it has begun
    let births = ["a1", "a2", "a3"].map(|app| world.memory().cluster.births("Job", "chorus-tre.ch/app", app));
    assert!(births[0] == 2 && births[1] == 2 && births[2] <= 1, "{what}: {births:?}");
}

/// Every so many calls of the operator, from this one on.
fn each(nth: usize, first: usize) -> impl Fn(&Call) -> bool + Send + 'static {
    let count = AtomicUsize::new(0);
    move |call| {
        call.client == "operator" && call.kind != "Event" && count.fetch_add(1, Ordering::Relaxed) % nth == first
    }
}

#[test]
fn faults_on_the_way_change_nothing() {
    let (wanted, _) = undisturbed();
    let faults = [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "ServiceUnavailable"),
        Fault::Answer(429, "TooManyRequests"),
        Fault::Answer(409, "Conflict"),
        Fault::Reset,
        Fault::Lost,
        Fault::Compaction,
        Fault::BreakWatches,
        Fault::Delay(Duration::from_secs(3)),
    ];
    for fault in faults {
        for (nth, first) in [(2, 1), (3, 1)] {
            in_memory(async |world| {
                world.memory().cluster.fault(each(nth, first), 0, 60, fault.clone());
                world.start();
                day(world).await;
                world.memory().cluster.calm();
                world.quiet().await;
                let struck =
                    world.memory().cluster.calls().iter().filter(|call| call.code == 0 || call.code >= 400).count();
                let silent = matches!(fault, Fault::Compaction | Fault::BreakWatches | Fault::Delay(_) | Fault::Lost);
                assert!(silent || struck > 5, "{fault:?} struck {struck} times");
                assert_ends(&format!("{fault:?} each {nth} from {first}"), world, &wanted);
            });
        }
    }
}

#[test]
fn the_operator_dies_at_every_write() {
    let (wanted, writes) = undisturbed();
    assert!(writes > 20, "{writes}");
    for write in 0..writes {
        for after in [false, true] {
            in_memory(async |world| {
                world.start();
                let session = world.memory().session.clone();
                session.kill_at(write, after);
                {
                    let mut day = std::pin::pin!(day(world));
                    tokio::select! {
                        () = session.dead() => {}
                        () = &mut day => {}
                    }
                    if session.is_dead() {
                        // the new one is there while people go on
                        let _successor = world.successor();
                        day.await;
                        world.quiet().await;
                        assert_ends(&format!("killed at {write}, after: {after}"), world, &wanted);
                    }
                }
            });
        }
    }
}

#[test]
fn the_operator_dies_again_and_again() {
    let (wanted, _) = undisturbed();
    for pace in [1, 2, 3] {
        in_memory(async |world| {
            let mut day = std::pin::pin!(day(world));
            let mut lives = 0;
            loop {
                let (session, _running) = world.mortal();
                session.kill_at(pace, lives % 2 == 0);
                lives += 1;
                tokio::select! {
                    () = session.dead() => {}
                    () = &mut day => break,
                }
                assert!(lives < 200, "it makes no progress");
            }
            let _last = world.successor();
            world.quiet().await;
            assert_ends(&format!("{pace} writes in each life"), world, &wanted);
        });
    }
}

#[test]
fn what_happens_while_nobody_looks() {
    in_memory(async |world| {
        world.start();
        world.workspace("Airgapped").await;
        world.workbench("wb", &[("a1", RUNS), ("a2", RUNS)]).await;
        world.workbench("gone", &[("a1", RUNS)]).await;
        world.until_app("wb", "a2", "Running").await;
        world.until_app("gone", "a1", "Running").await;
        world.kill();
        world.delete("Workbench", "gone").await;
        world.set_app("wb", "a1", Value::Null).await;
        world.set_app("wb", "a2", json!({ "state": "Killed" })).await;
        world.set_app("wb", "a3", super::world::app(ENDS)).await;
        world.memory().cluster.compact();
        world.start();
        world.until("Workbench", "gone", "gone", Value::is_null).await;
        world.until_app("wb", "a2", "Killed").await;
        world.until_app("wb", "a3", "Complete").await;
        world.until_none("Job", "chorus-tre.ch/app=a1").await;
        world.quiet().await;
        // and nothing at all
        let before = world.written();
        world.start();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(world.written(), before, "a restart over what has converged");
    });
}

#[test]
fn the_clock_jumps() {
    for (jump, days) in [("forward", 30), ("back", -30)] {
        in_memory(async |world| {
            world.start();
            world.workspace("Airgapped").await;
            world.workbench("wb", &[("a1", RUNS), ("a2", ENDS)]).await;
            world.until_app("wb", "a1", "Running").await;
            world.until_app("wb", "a2", "Complete").await;
            world.until_ready("wb").await;
            let before = world.written();
            world.memory().clock.jump(TimeDelta::days(days));
            world.memory().kubelet.look_again();
            tokio::time::sleep(Duration::from_secs(600)).await;
            assert_eq!(world.written(), before, "{jump}");
            world.set_app("wb", "a3", super::world::app(RUNS)).await;
            world.until_app("wb", "a3", "Running").await;
            world.until_app("wb", "a1", "Running").await;
            world.quiet().await;
        });
    }
}
