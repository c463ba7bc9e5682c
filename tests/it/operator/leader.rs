//! Two operators: one acts, and the other takes over. In real time, since the lease goes by the clock of the machine.

use std::{sync::Arc, time::Duration};

use chorus::server::{
    clock::SystemClock,
    operator::cluster::{Operator, Options, Running},
};

use crate::support::cluster::Session;

use super::world::{RUNS, World, settings};

fn replica(world: &World, name: &str) -> (Session, Running) {
    let options = Options { identity: name.to_owned(), lease_seconds: 3, ..Options::default() };
    let session = world.memory().cluster.session(name);
    let running = Operator::new(session.client(), settings(), options, Arc::new(SystemClock)).start();
    (session, running)
}

async fn until_leading(running: &Running) {
    let leading = async {
        while !(running.leading() && running.ready()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), leading).await.expect("a leader");
}

#[tokio::test]
async fn one_acts_and_the_other_takes_over() {
    let world = World::in_memory();
    let (session, first) = replica(&world, "first");
    until_leading(&first).await;
    let (_, second) = replica(&world, "second");
    world.workspace("Airgapped").await;
    world.workbench("wb", &[("a1", RUNS)]).await;
    world.until_app("wb", "a1", "Running").await;
    let wrote = |name: &str| {
        let calls = world.memory().cluster.calls();
        calls.iter().filter(|call| call.client == name && call.writes() && call.kind != "Lease").count()
    };
    assert!(!second.leading() && wrote("second") == 0 && wrote("first") > 0);
    // it dies: the lease runs out
    session.kill();
    drop(first);
    until_leading(&second).await;
    world.set_app("wb", "a2", super::world::app(RUNS)).await;
    world.until_app("wb", "a2", "Running").await;
    // it stops: the lease is given back
    let (_, third) = replica(&world, "third");
    second.stop().await;
    until_leading(&third).await;
    world.workbench("wb2", &[("a1", RUNS)]).await;
    world.until_app("wb2", "a1", "Running").await;
    assert_eq!(world.memory().cluster.births("Job", "chorus-tre.ch/workbench", "wb"), 2);
    third.stop().await;
}
