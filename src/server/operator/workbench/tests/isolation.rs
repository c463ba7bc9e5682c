//! Nothing starts where the network is not closed.

use super::*;

fn open(world: &mut World) {
    let message = "The namespace has no Workspace.".to_owned();
    world.network = Enforcement::Missing { reason: "NoWorkspace", message };
}

#[test]
fn nothing_is_made() {
    let mut world = World::new();
    world.workbench.spec.apps.insert("a".to_owned(), app("term"));
    open(&mut world);
    let steps = short(&world.pass().steps);
    assert_eq!(steps, ["apply NetworkPolicy workbench1-netpol-server", "apply Service workbench1"]);
    world.settle();
    is(&world.record(), AppHealth::Progressing, "WaitingForPolicy");
    assert_eq!(world.condition("NetworkIsolated"), ("False".to_owned(), "NoWorkspace".to_owned()));
    assert_eq!(world.condition("Ready"), ("False".to_owned(), "NoWorkspace".to_owned()));
    assert_eq!(world.condition("ServerAvailable").1, "WaitingForPolicy");

    world.network = Enforcement::InForce;
    assert_eq!(short(&world.pass().steps), ["apply Deployment workbench1-server"]);
}

#[test]
fn what_runs_goes_on_and_nothing_new_starts() {
    let mut world = World::with_app();
    world.pass();
    world.app_runs();
    world.settle();
    open(&mut world);
    world.workbench.spec.apps.insert("b".to_owned(), app("other"));
    world.workbench.spec.server.get_or_insert_default().version = Some("9".to_owned());
    let status = world.settle();
    is(&status.apps["a"], AppHealth::Running, "Running");
    is(&status.apps["b"], AppHealth::Progressing, "WaitingForPolicy");
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.condition("NetworkIsolated").0, "False");
    assert_eq!(world.condition("Outdated"), ("True".to_owned(), "WaitingForPolicy".to_owned()));

    // a stop is a stop; going on waits
    world.ask(AppState::Stopped);
    world.pass();
    world.job(|job| job.status = JobStatus::default());
    world.seen.pods.retain(|pod| !pod.labels.contains_key(labels::APP));
    is(&world.settle().apps["a"], AppHealth::Stopped, "Stopped");
    world.ask(AppState::Running);
    is(&world.settle().apps["a"], AppHealth::Progressing, "WaitingForPolicy");

    // so is a suspension; its end waits
    world.workbench.spec.suspended = Some(true);
    world.settle();
    assert_eq!(world.seen.deployment.as_ref().unwrap().body.value()["spec"]["replicas"], 0);
    world.seen.pods.clear();
    world.workbench.spec.suspended = None;
    world.settle();
    assert_eq!(world.seen.deployment.as_ref().unwrap().body.value()["spec"]["replicas"], 0);
    world.network = Enforcement::InForce;
    assert_eq!(short(&world.pass().steps), ["apply Deployment workbench1-server"]);
}

#[test]
fn switched_off_and_said_so() {
    let mut world = World::new();
    world.settings.require_network_policy = false;
    world.workbench.spec.apps.insert("a".to_owned(), app("term"));
    open(&mut world);
    let plan = world.pass();
    assert!(short(&plan.steps).contains(&"apply Deployment workbench1-server".to_owned()));
    assert!(plan.notices.iter().any(|notice| notice.warning && notice.reason == "NotIsolated"));
    world.ready();
    assert_eq!(short(&world.pass().steps), ["create Job workbench1-a-term"]);
    assert_eq!(world.condition("NetworkIsolated"), ("False".to_owned(), "NoWorkspace".to_owned()));
    let conditions = world.workbench.status.unwrap().conditions;
    assert!(conditions.iter().any(|condition| condition.message.contains("require_network_policy is off")));
}

#[test]
fn without_its_own_policy_nothing_starts_either() {
    for (controller, deleting, reason) in
        [(Some("other"), false, "NotOurs"), (None, true, "PolicyLeaving"), (Some(UID), true, "PolicyLeaving")]
    {
        let mut world = World::new();
        let meta = Meta {
            name: "workbench1-netpol-server".to_owned(),
            controller: controller.map(str::to_owned),
            deleting,
            ..Meta::default()
        };
        world.seen.policy = Some(Arc::new(Child { meta, body: Body::new(&json!({})), status: () }));
        assert_eq!(short(&world.pass().steps), ["apply Service workbench1"]);
        assert_eq!(world.condition("NetworkIsolated"), ("False".to_owned(), reason.to_owned()));
    }
    let mut world = World::new();
    let name = "workbench1-netpol-server".to_owned();
    let target = Target { kind: Kind::NetworkPolicy, namespace: "workspace1".to_owned(), name, uid: None };
    world.seen.refused.insert(target, "no".to_owned());
    assert_eq!(short(&world.pass().steps), ["apply Service workbench1"]);
    assert_eq!(world.condition("NetworkIsolated"), ("False".to_owned(), "Refused".to_owned()));
}
