use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{live, seen, settings, workspace};
use crate::server::operator::{
    api::{
        self, Workspace, WorkspaceStatus,
        workspace::{
            Chart,
            NetworkMode::{self, Airgapped, FqdnAllowlist, Open},
            PolicyState, PolicyStatus, Service, ServiceHealth, ServiceStatus,
        },
    },
    contains::contains,
    live::{Body, Child, Kind},
    plan::{Object, Plan, Step, Target},
    settings::Settings,
    workspace::{Enforcement, Reach, Seen, cilium, enforcement, plain, plan},
};

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(1)
}

/// The status of a workspace that had a pass before.
fn known() -> WorkspaceStatus {
    WorkspaceStatus { network_policy: Some(PolicyStatus::default()), ..WorkspaceStatus::default() }
}

fn planned(workspace: &Workspace, seen: &Seen) -> Plan<WorkspaceStatus> {
    plan(workspace, seen, &Settings::default(), now())
}

/// State, condition and reason of the network.
fn network(status: &WorkspaceStatus) -> (PolicyState, &str, &str) {
    let condition = &status.conditions[0];
    assert_eq!(condition.type_, "NetworkPolicyReady");
    let policy = status.network_policy.as_ref().unwrap();
    assert_eq!(policy.message.as_ref(), Some(&condition.message));
    (policy.status.unwrap(), &condition.status, &condition.reason)
}

fn message(plan: &Plan<WorkspaceStatus>) -> &str {
    &plan.status.as_ref().unwrap().conditions[0].message
}

/// The steps, in short: what, kind, name.
fn short(steps: &[Step]) -> Vec<String> {
    let object = |verb: &str, object: &Object| format!("{verb} {} {}", object.kind.names().1, object.name());
    let step = |step: &Step| match step {
        Step::Apply(it) => object("apply", it),
        Step::TakeOver(it) => object("take over", it),
        Step::Patch { target, .. } => format!("patch {} {}", target.kind.names().1, target.name),
        Step::Delete(target) => format!("delete {} {}", target.kind.names().1, target.name),
        other => panic!("{other:?}"),
    };
    steps.iter().map(step).collect()
}

/// What the steps leave, as an API server would.
fn done(workspaces: &[&Workspace], before: &Seen, steps: &[Step]) -> Seen {
    let mut children: Vec<(Kind, Arc<Child<()>>)> = Vec::new();
    children.extend(before.policies.iter().map(|child| (Kind::NetworkPolicy, child.clone())));
    children.extend(before.cilium_policies.iter().flatten().map(|child| (Kind::CiliumNetworkPolicy, child.clone())));
    for step in steps {
        match step {
            Step::Apply(object) | Step::TakeOver(object) => {
                children.retain(|(kind, child)| *kind != object.kind || child.meta.name != object.name());
                children.push((object.kind, live(object, true)));
            }
            Step::Delete(target) => {
                children.retain(|(kind, child)| *kind != target.kind || child.meta.name != target.name)
            }
            Step::Patch { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    seen(workspaces, before.cilium_policies.is_some(), &children)
}

fn cilium_of(workspace: &Workspace, reach: &Reach, ours: bool) -> (Kind, Arc<Child<()>>) {
    (Kind::CiliumNetworkPolicy, live(&cilium::policy(workspace, reach, &Settings::default()), ours))
}

fn changed(child: &Child<()>, change: impl FnOnce(&mut Child<()>, &mut Value)) -> Arc<Child<()>> {
    let (mut child, mut body) = (child.clone(), child.body.value());
    change(&mut child, &mut body);
    child.body = Body::new(&body);
    Arc::new(child)
}

#[test]
fn every_mode_from_nothing_to_settled() {
    // mode, with Cilium, what is applied, state, condition, reason, in force
    let both = ["apply NetworkPolicy w1-netpol", "apply NetworkPolicy w1-netpol-ingress"];
    let one = ["apply CiliumNetworkPolicy w1-netpol"];
    type Row<'a> = (NetworkMode, bool, &'a [&'a str], (PolicyState, &'a str, &'a str), bool);
    let cases: [Row<'_>; 6] = [
        (Open, true, &one, (PolicyState::Open, "True", "Applied"), true),
        (Airgapped, true, &one, (PolicyState::Airgapped, "True", "Applied"), true),
        (FqdnAllowlist, true, &one, (PolicyState::FqdnAllowlist, "True", "Applied"), true),
        (Open, false, &both, (PolicyState::Open, "True", "Applied"), true),
        (Airgapped, false, &both, (PolicyState::Airgapped, "True", "Applied"), true),
        (FqdnAllowlist, false, &both, (PolicyState::Error, "False", "CiliumNotInstalled"), false),
    ];
    for (mode, with_cilium, applied, settled, in_force) in cases {
        let mut workspace = workspace(mode, &["a.example"]);
        let empty = seen(&[&workspace], with_cilium, &[]);
        assert!(matches!(enforcement(&empty, &Settings::default()), Enforcement::Missing { .. }), "{mode:?}");

        let first = planned(&workspace, &empty);
        assert_eq!(short(&first.steps), applied, "{mode:?}");
        let progressing = (PolicyState::Progressing, "False", "Progressing");
        let status = first.status.unwrap();
        assert_eq!(network(&status), if in_force { progressing } else { settled }, "{mode:?}");
        assert_eq!(first.wake, in_force.then(now), "the next pass follows at once");
        assert_eq!(status.observed_generation, if in_force { None } else { Some(3) });

        let after = done(&[&workspace], &empty, &first.steps);
        workspace.status = Some(status);
        let second = planned(&workspace, &after);
        assert_eq!(short(&second.steps), [""; 0], "{mode:?}");
        assert_eq!(network(second.status.as_ref().unwrap()), settled);
        assert_eq!(second.status.as_ref().unwrap().observed_generation, Some(3));
        assert_eq!((second.wake, enforcement(&after, &Settings::default()) == Enforcement::InForce), (None, in_force));

        workspace.status = second.status.clone();
        let third = plan(&workspace, &after, &Settings::default(), now() + TimeDelta::hours(1));
        assert_eq!(third.status, second.status, "an unchanged status keeps its times");
        assert_eq!((third.steps, third.notices), (vec![], vec![]));
    }
}

#[test]
fn what_is_applied_without_cilium_for_a_list_is_air_gapped() {
    let workspace = workspace(FqdnAllowlist, &["a.example"]);
    let plan = planned(&workspace, &seen(&[&workspace], false, &[]));
    let wanted = plain::policies(&workspace, false, &Settings::default());
    assert_eq!(plan.steps, wanted.into_iter().map(Step::Apply).collect::<Vec<_>>());
    assert!(message(&plan).starts_with("Not applied: Cilium is not installed"), "{}", message(&plan));
    assert_eq!(plan.notices[0].reason, "CiliumNotInstalled");
}

#[test]
fn messages() {
    let internal = settings(&[("git.int.example", &[443])]);
    let no_gateway = Settings { egress_namespaces: Vec::new(), ..internal.clone() };
    let plain = Settings::default();
    let cases = [
        (Open, true, &plain, "Policy applied: pods reach ports 80 and 443 of public addresses."),
        (Airgapped, true, &plain, "Policy applied: air-gapped."),
        (FqdnAllowlist, true, &plain, "Policy applied: pods reach A.example, *.b.example."),
        (Airgapped, true, &internal, "Policy applied: air-gapped."),
        (
            Airgapped,
            true,
            &no_gateway,
            "Policy applied: air-gapped. Internal services are not reached: no namespace of a gateway is configured.",
        ),
        (Airgapped, false, &plain, "Policy applied: air-gapped. Without Cilium, DNS answers for any name."),
        (
            Airgapped,
            false,
            &internal,
            "Policy applied: air-gapped. Without Cilium, DNS answers for any name. Without Cilium, internal services are not reached.",
        ),
    ];
    for (mode, with_cilium, settings, expected) in cases {
        let mut workspace = workspace(mode, &["A.example", "*.b.example"]);
        workspace.status = Some(known());
        let plan = plan(&workspace, &seen(&[&workspace], with_cilium, &[]), settings, now());
        assert_eq!(message(&plan), expected);
    }
}

#[test]
fn an_invalid_list() {
    let bad = ["a.example", "10.0.0.1"];
    let names = Reach::Names(vec!["a.example".to_owned()]);
    let of = |mode| workspace(mode, &bad);
    // mode, with Cilium, what is there, what is done, state, condition, in force
    type Row<'a> = (NetworkMode, bool, Option<Reach>, &'a [&'a str], PolicyState, bool);
    let cases: Vec<Row<'_>> = vec![
        (FqdnAllowlist, true, None, &["apply CiliumNetworkPolicy w1-netpol"], PolicyState::Error, false),
        (FqdnAllowlist, true, Some(names.clone()), &[], PolicyState::Error, false),
        (FqdnAllowlist, true, Some(Reach::Nothing), &[], PolicyState::Error, false),
        (FqdnAllowlist, true, Some(Reach::Web), &["apply CiliumNetworkPolicy w1-netpol"], PolicyState::Error, false),
        (Open, true, Some(Reach::Web), &[], PolicyState::Open, true),
        (Airgapped, true, Some(names), &["apply CiliumNetworkPolicy w1-netpol"], PolicyState::Airgapped, true),
    ];
    for (mode, with_cilium, there, steps, state, in_force) in cases {
        let mut workspace = of(mode);
        workspace.status = Some(known());
        let children: Vec<_> = there.iter().map(|reach| cilium_of(&workspace, reach, true)).collect();
        let before = seen(&[&workspace], with_cilium, &children);
        let plan = planned(&workspace, &before);
        assert_eq!(short(&plan.steps), steps, "{mode:?} over {there:?}");
        let status = plan.status.as_ref().unwrap();
        assert_eq!(network(status).0, state, "{mode:?} over {there:?}");
        assert!(status.conditions.iter().any(|condition| condition.reason == "InvalidFQDN"), "{mode:?}");
        assert_eq!(plan.notices[0].reason, "InvalidFQDN");
        assert!(plan.notices[0].note.contains("\"10.0.0.1\" is an address"), "{}", plan.notices[0].note);
        let after = done(&[&workspace], &before, &plan.steps);
        assert_eq!(
            enforcement(&after, &Settings::default()) == Enforcement::InForce,
            in_force,
            "{mode:?} over {there:?}"
        );
        if mode == FqdnAllowlist && !steps.is_empty() {
            let nothing = cilium::policy(&workspace, &Reach::Nothing, &Settings::default());
            assert_eq!(plan.steps, [Step::Apply(nothing)], "nothing outside is reached");
        }
    }
}

#[test]
fn an_unused_list_has_a_condition_of_its_own() {
    let workspace = workspace(Airgapped, &["*"]);
    let status = planned(&workspace, &seen(&[&workspace], true, &[cilium_of(&workspace, &Reach::Nothing, true)]))
        .status
        .unwrap();
    assert_eq!(network(&status), (PolicyState::Airgapped, "True", "Applied"));
    let list = &status.conditions[1];
    assert_eq!(
        (list.type_.as_str(), list.status.as_str(), list.reason.as_str()),
        ("AllowedFQDNsValid", "False", "InvalidFQDN")
    );
}

#[test]
fn drift_is_healed() {
    let workspace = workspace(Airgapped, &[]);
    let (kind, good) = cilium_of(&workspace, &Reach::Nothing, true);
    type Change = fn(&mut Child<()>, &mut Value);
    let cases: [(&str, Change, &[&str]); 8] = [
        ("nothing", |_, _| {}, &[]),
        ("labels of others", |_, body| body["metadata"]["labels"]["x"] = json!("y"), &[]),
        ("annotations", |_, body| body["metadata"]["annotations"] = json!({ "x": "y" }), &[]),
        (
            "a label",
            |_, body| body["metadata"]["labels"]["workspace"] = json!("w2"),
            &["apply CiliumNetworkPolicy w1-netpol"],
        ),
        ("a rule", |_, body| body["specs"][0]["egress"][0] = json!({}), &["apply CiliumNetworkPolicy w1-netpol"]),
        (
            "a spec beside ours",
            |_, body| body["spec"] = json!({ "endpointSelector": {}, "egress": [{ "toEntities": ["all"] }] }),
            &["patch CiliumNetworkPolicy w1-netpol", "apply CiliumNetworkPolicy w1-netpol"],
        ),
        (
            "no owner",
            |child, body| {
                child.meta.controller = None;
                body["metadata"]["ownerReferences"] = json!([]);
            },
            &["apply CiliumNetworkPolicy w1-netpol"],
        ),
        ("being deleted", |child, _| child.meta.deleting = true, &[]),
    ];
    for (why, change, steps) in cases {
        let child = changed(&good, change);
        let seen = seen(&[&workspace], true, &[(kind, child)]);
        let plan = planned(&workspace, &seen);
        assert_eq!(short(&plan.steps), steps, "{why}");
        let settled = steps.is_empty() && why != "being deleted";
        assert_eq!(enforcement(&seen, &Settings::default()) == Enforcement::InForce, settled, "{why}");
    }
}

#[test]
fn whose_policy_it_is() {
    let workspace = workspace(Airgapped, &[]);
    let (kind, good) = cilium_of(&workspace, &Reach::Nothing, false);
    let owned = |version: &'static str, of: &'static str, name: &'static str, uid: &'static str| {
        changed(&good, move |child, body| {
            child.meta.controller = Some(uid.to_owned());
            body["metadata"]["ownerReferences"] =
                json!([{ "apiVersion": version, "kind": of, "name": name, "uid": uid, "controller": true }]);
        })
    };
    let nobody = changed(&good, |child, body| {
        child.meta.controller = None;
        body["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    });
    const VERSION: &str = "default.chorus-tre.ch/v1alpha1";
    let take_over = "take over CiliumNetworkPolicy w1-netpol";
    type Row<'a> = (&'a str, Arc<Child<()>>, Vec<&'a str>, bool);
    let cases: Vec<Row<'_>> = vec![
        ("this workspace's, by the former operator", good.clone(), vec![take_over], true),
        ("nobody's", nobody, vec![take_over], true),
        (
            "an earlier workspace's of this name",
            owned(VERSION, "Workspace", "w1", "uid-0"),
            vec!["patch CiliumNetworkPolicy w1-netpol", take_over],
            true,
        ),
        ("another workspace's", owned(VERSION, "Workspace", "w2", "uid-2"), vec![], false),
        ("a workbench's", owned(VERSION, "Workbench", "w1", "uid-2"), vec![], false),
        ("of another group", owned("example.org/v1", "Workspace", "w1", "uid-0"), vec![], false),
    ];
    for (why, child, steps, good) in cases {
        let seen = seen(&[&workspace], true, &[(kind, child)]);
        let plan = planned(&workspace, &seen);
        assert_eq!(short(&plan.steps), steps, "{why}");
        let reason = network(plan.status.as_ref().unwrap()).2.to_owned();
        assert_eq!(reason, if good { "Progressing" } else { "ReconcileError" }, "{why}");
        assert!(matches!(enforcement(&seen, &Settings::default()), Enforcement::Missing { .. }), "{why}");
    }
}

/// The former operator wrote `spec`, which nobody owns after its entries are gone. The patch turns one into the other at once:
/// at no moment do both hold, or neither.
#[test]
fn the_policy_of_the_former_operator() {
    let workspace = workspace(Open, &[]);
    let wanted = cilium::policy(&workspace, &Reach::Web, &Settings::default());
    let former = changed(&live(&wanted, false), |_, body| {
        body.as_object_mut().unwrap().remove("specs");
        body["spec"] = json!({ "endpointSelector": { "matchLabels": {} }, "egress": [{ "toEntities": ["world"] }], "ingress": [] });
        body["metadata"]["labels"] = json!({ "workspace": "w1" });
    });
    let plan = planned(&workspace, &seen(&[&workspace], true, &[(Kind::CiliumNetworkPolicy, former.clone())]));
    let [Step::Patch { target, patch }, Step::TakeOver(object)] = plan.steps.as_slice() else {
        panic!("{:?}", plan.steps)
    };
    assert_eq!((target.name.as_str(), target.uid.as_deref()), ("w1-netpol", Some("uid-of-w1-netpol")));
    assert_eq!(*object, wanted);
    let mut body = former.body.value();
    json_patch::merge(&mut body, patch);
    assert_eq!(body.get("spec"), None);
    assert!(contains(&body, &wanted.value), "the patch alone makes it what it shall be");
}

#[test]
fn cilium_comes_and_goes() {
    let mut workspace = workspace(Airgapped, &[]);
    workspace.status = Some(known());
    let children: Vec<_> = plain::policies(&workspace, false, &Settings::default())
        .iter()
        .map(|object| (Kind::NetworkPolicy, live(object, true)))
        .collect();
    let before = seen(&[&workspace], true, &children);
    let plan = planned(&workspace, &before);
    let expected = [
        "apply CiliumNetworkPolicy w1-netpol",
        "delete NetworkPolicy w1-netpol",
        "delete NetworkPolicy w1-netpol-ingress",
    ];
    assert_eq!(short(&plan.steps), expected, "the new one first");
    assert!(matches!(enforcement(&before, &Settings::default()), Enforcement::Missing { .. }));
    let after = done(&[&workspace], &before, &plan.steps);
    assert_eq!(enforcement(&after, &Settings::default()), Enforcement::InForce);

    let gone = seen(&[&workspace], false, &[]);
    let expected = ["apply NetworkPolicy w1-netpol", "apply NetworkPolicy w1-netpol-ingress"];
    assert_eq!(short(&planned(&workspace, &gone).steps), expected);
}

#[test]
fn one_workspace_counts() {
    let first = workspace(Airgapped, &[]);
    let mut second = workspace(Open, &[]);
    second.metadata.name = Some("a0".to_owned());
    second.metadata.uid = Some("uid-2".to_owned());
    second.metadata.creation_timestamp = Some(api::time(now()));
    let both = [&first, &second];
    let children = [cilium_of(&first, &Reach::Nothing, true), cilium_of(&second, &Reach::Web, false)];
    let before = seen(&both, true, &children);

    let duplicate = planned(&second, &before);
    assert_eq!(short(&duplicate.steps), [""; 0]);
    assert_eq!(network(duplicate.status.as_ref().unwrap()), (PolicyState::Error, "False", "DuplicateWorkspace"));
    assert_eq!(duplicate.notices[0].reason, "DuplicateWorkspace");
    assert!(matches!(enforcement(&before, &Settings::default()), Enforcement::Missing { .. }), "the two add up");

    let plan = planned(&first, &before);
    assert_eq!(short(&plan.steps), ["delete CiliumNetworkPolicy a0-netpol"]);
    let after = done(&both, &before, &plan.steps);
    assert_eq!(enforcement(&after, &Settings::default()), Enforcement::InForce);

    second.metadata.creation_timestamp = first.metadata.creation_timestamp.clone();
    let same_age = seen(&[&first, &second], true, &[]);
    assert_eq!(network(planned(&first, &same_age).status.as_ref().unwrap()).2, "DuplicateWorkspace", "then by name");
}

#[test]
fn policies_of_others_stay() {
    let workspace = workspace(Airgapped, &[]);
    let (kind, own) = cilium_of(&workspace, &Reach::Nothing, true);
    let admins = changed(&own, |child, body| {
        (child.meta.name, child.meta.controller, child.meta.ours) = ("extra".to_owned(), None, false);
        body["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    });
    let renamed = changed(&own, |child, _| child.meta.name = "former-name".to_owned());
    let seen = seen(&[&workspace], true, &[(kind, own), (kind, admins), (kind, renamed)]);
    assert_eq!(short(&planned(&workspace, &seen).steps), ["delete CiliumNetworkPolicy former-name"]);
}

#[test]
fn a_workspace_that_goes_is_left_alone() {
    let mut workspace = workspace(Airgapped, &[]);
    workspace.metadata.deletion_timestamp = Some(api::time(now()));
    let seen = seen(&[&workspace], true, &[cilium_of(&workspace, &Reach::Nothing, true)]);
    let plan = planned(&workspace, &seen);
    assert_eq!((plan.steps, plan.status, plan.wake), (vec![], None, None));
    let Enforcement::Missing { reason, .. } = enforcement(&seen, &Settings::default()) else { panic!() };
    assert_eq!(reason, "WorkspaceDeleted");
    let Enforcement::Missing { reason, .. } = enforcement(&Seen::default(), &Settings::default()) else { panic!() };
    assert_eq!(reason, "NoWorkspace");
}

#[test]
fn services_are_reported() {
    let mut workspace = workspace(Airgapped, &[]);
    let chart = Chart { tag: "1".to_owned(), ..Chart::default() };
    workspace.spec.services.insert("db-1".to_owned(), Service { chart, ..Service::default() });
    let connection = Some("psql -h db".to_owned());
    let before = ServiceStatus {
        status: ServiceHealth::Running,
        connection_info: connection.clone(),
        ..ServiceStatus::default()
    };
    let mut status = WorkspaceStatus::default();
    status.services.insert("db-1".to_owned(), before.clone());
    status.services.insert("gone-2".to_owned(), before);
    workspace.status = Some(status);
    let plan = planned(&workspace, &seen(&[&workspace], true, &[cilium_of(&workspace, &Reach::Nothing, true)]));
    let status = plan.status.unwrap();
    assert_eq!(status.services.len(), 1, "what is no longer asked for leaves the status");
    let service = &status.services["db-1"];
    assert_eq!((service.status, &service.connection_info), (ServiceHealth::Failed, &connection));
    assert!(service.message.as_ref().unwrap().starts_with("NotSupported"));
    let condition = &status.conditions[1];
    assert_eq!(
        (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str()),
        ("ServicesReady", "False", "NotSupported")
    );
    assert_eq!(network(&status).1, "True", "the network does not wait for services");
    assert_eq!(plan.notices[0].reason, "NotSupported");
}

#[test]
fn what_the_api_server_refused_is_reported_and_not_sent_again() {
    let mut workspace = workspace(Airgapped, &[]);
    let target = |kind, name: &str| Target { kind, namespace: "w1".to_owned(), name: name.to_owned(), uid: None };
    let (kind, own) = cilium_of(&workspace, &Reach::Nothing, true);
    let old = changed(&own, |child, _| child.meta.name = "former-name".to_owned());
    let plain = ["apply NetworkPolicy w1-netpol", "apply NetworkPolicy w1-netpol-ingress"];
    // what is there, with Cilium, what was refused, what is sent
    type Row<'a> = (Vec<(Kind, Arc<Child<()>>)>, bool, Target, &'a [&'a str]);
    let cases: Vec<Row<'_>> = vec![
        (vec![(kind, old.clone())], true, target(kind, "w1-netpol"), &[]),
        (vec![(kind, own), (kind, old)], true, target(kind, "former-name"), &[]),
        (vec![], false, target(Kind::NetworkPolicy, "w1-netpol"), &[]),
        (vec![], false, target(Kind::NetworkPolicy, "w1-netpol-ingress"), &plain[..1]),
    ];
    for (children, with_cilium, refused, steps) in cases {
        let said = format!("Not applied: {} {} was refused: it is full", refused.kind.names().1, refused.name);
        let mut seen = seen(&[&workspace], with_cilium, &children);
        seen.refused.insert(refused, "it is full".to_owned());
        workspace.status = None;
        let plan = planned(&workspace, &seen);
        assert_eq!(short(&plan.steps), steps, "{said}");
        assert_eq!(network(plan.status.as_ref().unwrap()), (PolicyState::Error, "False", "ReconcileError"));
        assert_eq!(message(&plan), said);
        assert!(matches!(enforcement(&seen, &Settings::default()), Enforcement::Missing { .. }), "{said}");
    }
}
