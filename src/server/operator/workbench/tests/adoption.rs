//! Children of the former operator, and of others.

use super::{super::super::api::rfc3339, *};

/// A Deployment as the former operator made it, with one app that runs.
fn former() -> World {
    let mut world = World::new();
    world.workbench.spec.server.get_or_insert_default().version = Some("6".to_owned());
    world.workbench.spec.apps.insert("a".to_owned(), app("term"));
    world.ready();
    world.deployment(|live| {
        live.meta.ours = false;
        live.body = Body::new(&json!({
            "metadata": { "labels": { "workbench": "workbench1" } },
            "spec": {
                "replicas": 1,
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%" } },
                "template": { "spec": { "containers": [
                    { "name": "xpra-server", "image": "elsewhere:5000/apps/xpra-server:6" }
                ] } }
            }
        }));
    });
    let meta = Meta {
        name: "workbench1-a-old-name".to_owned(),
        namespace: "workspace1".to_owned(),
        uid: "former".to_owned(),
        controller: Some(UID.to_owned()),
        ..Meta::default()
    };
    let body =
        Body::new(&json!({ "metadata": { "labels": { "workbench": "workbench1" } }, "spec": { "suspend": false } }));
    let status = JobStatus { active: 1, ready: 1, ..JobStatus::default() };
    world.seen.jobs.push(Arc::new(Child { meta, body, status }));
    world.workbench.status = None;
    world
}

#[test]
fn a_desktop_that_runs_is_left_alone() {
    let mut world = former();
    let plan = world.pass();
    // its apps may draw
    assert_eq!(short(&plan.steps), ["apply NetworkPolicy workbench1-netpol-server"]);
    let policy = made(&plan, Kind::NetworkPolicy).to_string();
    assert!(policy.contains("workbench1-a-old-name"), "{policy}");
    let status = world.settle();
    is(&status.apps["a"], AppHealth::Running, "Running");
    assert_eq!(world.condition("Outdated"), ("True".to_owned(), "FormerOperator".to_owned()));
    assert_eq!(world.condition("Ready").0, "True");

    // its apps stop, and are killed without being seen
    world.ask(AppState::Killed);
    assert_eq!(
        short(&world.pass().steps),
        [
            r#"patch Job workbench1-a-old-name {"spec":{"suspend":true}}"#,
            "kill batch.kubernetes.io/job-name=workbench1-a-old-name"
        ]
    );
    world.job(|job| job.status = JobStatus::default());
    is(&world.settle().apps["a"], AppHealth::Killed, "Killed");
}

#[test]
fn when_it_is_taken_over() {
    let stopped =
        |world: &mut World| world.deployment(|live| merge(&mut live.body, &json!({ "spec": { "replicas": 0 } })));
    let suspended = |world: &mut World| {
        world.workbench.spec.suspended = Some(true);
        world.job(|job| job.status.active = 0);
    };
    let versioned =
        |world: &mut World| world.workbench.spec.server.get_or_insert_default().version = Some("7".to_owned());
    let ordered = |world: &mut World| {
        let at = rfc3339(world.now);
        world.workbench.metadata.annotations = Some(super::super::pass::text_map(&[(labels::ADOPT, &at)]));
    };
    let unreadable = |world: &mut World| {
        world.workbench.metadata.annotations = Some(super::super::pass::text_map(&[(labels::ADOPT, "now")]));
    };
    let cases: [&dyn Fn(&mut World); 5] = [&stopped, &suspended, &versioned, &ordered, &unreadable];
    for (case, change) in cases.into_iter().enumerate() {
        let mut world = former();
        change(&mut world);
        let plan = world.pass();
        let steps = short(&plan.steps);
        assert!(steps.contains(&"take over Deployment workbench1-server".to_owned()), "{case}: {steps:?}");
        let strategy = &made(&plan, Kind::Deployment)["spec"]["strategy"];
        assert_eq!(*strategy, json!({ "type": "Recreate", "rollingUpdate": null }));
        assert!(plan.notices.iter().any(|notice| notice.reason == "TakenOver"));
        world.settle();
        assert_eq!(world.condition("Outdated"), ("False".to_owned(), "Current".to_owned()));
    }
}

#[test]
fn an_order_for_later_waits() {
    let mut world = former();
    let at = world.now + TimeDelta::minutes(5);
    world.workbench.metadata.annotations = Some(super::super::pass::text_map(&[(labels::ADOPT, &rfc3339(at))]));
    world.settle();
    assert_eq!(world.plan().wake, Some(at));
    world.now = at;
    assert_eq!(short(&world.pass().steps), ["take over Deployment workbench1-server"]);
}

#[test]
fn nothing_is_taken_over_where_the_network_is_open() {
    let mut world = former();
    world.workbench.spec.server.get_or_insert_default().version = Some("7".to_owned());
    world.network = Enforcement::Missing { reason: "NoWorkspace", message: "none".to_owned() };
    world.settle();
    assert_eq!(world.condition("Outdated"), ("True".to_owned(), "FormerOperator".to_owned()));
}

#[test]
fn a_service_is_taken_over_at_once() {
    let mut world = World::new();
    world.pass();
    let service = world.seen.service.as_mut().unwrap();
    change(service, |live| live.meta.ours = false);
    assert_eq!(short(&world.pass().steps), ["take over Service workbench1"]);
    world.settle();
}

#[test]
fn what_belongs_to_something_else_is_never_touched() {
    let owned = |kind: &str, uid: &str| {
        let owner = json!({ "apiVersion": "v1", "kind": kind, "name": "workbench1", "uid": uid, "controller": true });
        Body::new(&json!({ "metadata": { "ownerReferences": [owner] } }))
    };
    for (kind, status, reason) in [("Release", "Failed", "NotOurs"), ("Workbench", "Progressing", "WaitingForRemoval")]
    {
        let meta = Meta { name: "x".to_owned(), controller: Some("other".to_owned()), ..Meta::default() };
        let mut world = World::new();
        let body = owned(kind, "other");
        let child = Child { meta: meta.clone(), body: body.clone(), status: DeploymentStatus::default() };
        world.seen.deployment = Some(Arc::new(child));
        world.pass();
        let settled = world.settle();
        assert_eq!(format!("{:?}", settled.server_deployment.status), status);
        assert_eq!(world.condition("ServerAvailable"), ("False".to_owned(), reason.to_owned()));
        assert_eq!(world.seen.deployment.as_ref().unwrap().meta, meta);

        let mut world = World::new();
        world.seen.service = Some(Arc::new(Child { meta: meta.clone(), body, status: () }));
        let plan = world.pass();
        assert_eq!(short(&plan.steps), ["apply NetworkPolicy workbench1-netpol-server"]);
        assert_eq!(world.condition("ServerAvailable").1, reason);
    }
}

#[test]
fn a_deployment_that_is_being_removed_is_waited_for() {
    let mut world = World::new();
    world.ready();
    world.settle();
    world.deployment(|live| live.meta.deleting = true);
    world.settle();
    assert_eq!(world.condition("ServerAvailable").1, "WaitingForRemoval");
    world.seen.deployment = None;
    assert_eq!(short(&world.pass().steps), ["apply Deployment workbench1-server"]);
}

#[test]
fn whose_job_is_told_by_the_longest_key() {
    let mut world = former();
    world.workbench.spec.apps.insert("a-old".to_owned(), app("name"));
    world.workbench.spec.apps.get_mut("a").unwrap().state = Some(AppState::Stopped);
    let status = world.settle();
    is(&status.apps["a-old"], AppHealth::Running, "Running");
    is(&status.apps["a"], AppHealth::Stopped, "Stopped");
}

#[test]
fn a_former_job_keeps_its_clock() {
    let mut world = former();
    let since = rfc3339(world.now - TimeDelta::seconds(100));
    world.job(|job| {
        merge(&mut job.body, &json!({ "metadata": { "annotations": { labels::NOT_READY_SINCE: since } } }));
        job.status.ready = 0;
    });
    world.settle();
    assert_eq!(world.plan().wake, Some(world.now + TimeDelta::seconds(500)));
    world.later(500);
    is(&world.settle().apps["a"], AppHealth::Failed, "StartupTimeout");
}

#[test]
fn jobs_that_set_up_folders_are_nobodys_apps() {
    let mut world = World::new();
    world.pass();
    let meta = Meta { name: "nfs-mkdir-workspace1".to_owned(), ..Meta::default() };
    let body = Body::new(&json!({ "metadata": { "labels": { "workbench": "workbench1" } } }));
    world.seen.jobs.push(Arc::new(Child { meta, body, status: JobStatus::default() }));
    world.settle();
    assert_eq!(world.seen.jobs.len(), 1);
}
