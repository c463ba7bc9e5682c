//! The children, field by field: images, clients and running clusters depend on them.

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::{
    super::super::api::{
        Quantity,
        workbench::{Browser, Clipboard, InitContainer, Server},
    },
    *,
};

fn env(container: &Value) -> Vec<(String, String)> {
    let pair = |variable: &Value| {
        let value = variable["value"].as_str().map_or_else(|| variable["valueFrom"].to_string(), str::to_owned);
        (variable["name"].as_str().unwrap().to_owned(), value)
    };
    container["env"].as_array().unwrap().iter().map(pair).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn job(world: &World) -> Value {
    made(&world.plan(), Kind::Job)
}

fn containers(job: &Value) -> (&Value, &Value) {
    let pod = &job["spec"]["template"]["spec"];
    (&pod["initContainers"][0], &pod["containers"][0])
}

fn quantities(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, Quantity>> {
    (!pairs.is_empty())
        .then(|| pairs.iter().map(|&(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).collect())
}

fn resources(limits: &[(&str, &str)], requests: &[(&str, &str)]) -> ResourceRequirements {
    ResourceRequirements { limits: quantities(limits), requests: quantities(requests), claims: None }
}

#[test]
fn the_deployment() {
    let mut world = World::new();
    world.workbench.spec.service_account_name = Some("desktop".to_owned());
    world.workbench.spec.image_pull_secrets = vec!["one".to_owned(), "two".to_owned()];
    world.settings.workbench_priority_class = Some("low".to_owned());
    let deployment = made(&world.plan(), Kind::Deployment);
    let metadata = &deployment["metadata"];
    assert_eq!((&metadata["name"], &metadata["namespace"]), (&json!("workbench1-server"), &json!("workspace1")));
    assert_eq!(
        metadata["labels"],
        json!({ "workbench": "workbench1", "app.kubernetes.io/managed-by": "chorus-operator" })
    );
    assert_eq!(
        metadata["ownerReferences"],
        json!([{
            "apiVersion": "default.chorus-tre.ch/v1alpha1", "kind": "Workbench", "name": "workbench1", "uid": UID,
            "controller": true, "blockOwnerDeletion": true
        }])
    );
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["strategy"], json!({ "type": "Recreate" }));
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(spec["selector"], json!({ "matchLabels": { "workbench": "workbench1" } }));
    assert_eq!(
        spec["template"]["metadata"],
        json!({ "labels": { "workbench": "workbench1", "chorus-tre.ch/workbench": "workbench1" } })
    );
    let pod = &spec["template"]["spec"];
    for (field, expected) in [
        ("serviceAccountName", json!("desktop")),
        ("automountServiceAccountToken", json!(false)),
        ("enableServiceLinks", json!(false)),
        ("priorityClassName", json!("low")),
        ("imagePullSecrets", json!([{ "name": "one" }, { "name": "two" }])),
        ("securityContext", json!({ "seccompProfile": { "type": "RuntimeDefault" } })),
        ("volumes", json!([{ "name": "x11-unix", "emptyDir": {} }])),
        ("terminationGracePeriodSeconds", json!(null)),
    ] {
        assert_eq!(pod[field], expected, "{field}");
    }
    world.settings.workbench_startup_timeout = None;
    assert!(made(&world.plan(), Kind::Deployment)["spec"]["progressDeadlineSeconds"].is_null());
}

#[test]
fn the_containers_of_the_server() {
    let world = World::new();
    let deployment = made(&world.plan(), Kind::Deployment);
    let pod = &deployment["spec"]["template"]["spec"];
    let probe = |port: &str, kind: &str, failures: i32| {
        let action = if kind == "httpGet" { json!({ "path": "/", "port": port }) } else { json!({ "port": port }) };
        json!({
            kind: action, "initialDelaySeconds": 1, "periodSeconds": 2, "timeoutSeconds": 2,
            "successThreshold": 1, "failureThreshold": failures
        })
    };
    let sockets = json!([{ "name": "x11-unix", "mountPath": "/tmp/.X11-unix" }]);
    assert_eq!(
        pod["initContainers"],
        json!([{
            "name": "xpra-server-bind",
            "image": "alpine/socat:1.8.0.0", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always",
            "args": ["TCP-LISTEN:6080,fork,bind=0.0.0.0", "UNIX-CONNECT:/tmp/.X11-unix/X80"],
            "ports": [{ "name": "x11-socket", "containerPort": 6080 }],
            "volumeMounts": sockets,
            "livenessProbe": probe("x11-socket", "tcpSocket", 10),
            "readinessProbe": probe("x11-socket", "tcpSocket", 10),
            "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true }
        }])
    );
    assert_eq!(
        pod["containers"],
        json!([{
            "name": "xpra-server",
            "image": "registry.example/apps/xpra-server:latest", "imagePullPolicy": "Always",
            "env": [{ "name": "CARD", "value": "" }, { "name": "XPRA_CLIPBOARD_DIRECTION", "value": "disabled" }],
            "ports": [{ "name": "http", "containerPort": 8080 }],
            "volumeMounts": sockets,
            // a slow start is no reason to be killed
            "startupProbe": probe("http", "httpGet", 300),
            "livenessProbe": probe("http", "httpGet", 10),
            "readinessProbe": probe("http", "httpGet", 10)
        }])
    );
}

#[test]
fn variables_of_the_server() {
    let server = |width: i64, height: i64, clipboard| Server {
        initial_resolution_width: Some(width),
        initial_resolution_height: Some(height),
        clipboard,
        ..Server::default()
    };
    for (server, resolution, clipboard) in [
        (Server::default(), None, "disabled"),
        (server(1920, 1080, Some(Clipboard::Both)), Some("1920x1080"), "both"),
        (server(0, 1080, Some(Clipboard::ToServer)), None, "to-server"),
        (server(1920, 0, Some(Clipboard::ToClient)), None, "to-client"),
        (server(-1, -1, Some(Clipboard::Disabled)), None, "disabled"),
    ] {
        let mut world = World::new();
        world.workbench.spec.server = Some(server);
        let deployment = made(&world.plan(), Kind::Deployment);
        let mut expected = vec![("CARD", "")];
        expected.extend(resolution.map(|resolution| ("INITIAL_RESOLUTION", resolution)));
        expected.push(("XPRA_CLIPBOARD_DIRECTION", clipboard));
        assert_eq!(env(&deployment["spec"]["template"]["spec"]["containers"][0]), pairs(&expected));
    }
}

#[test]
fn resources_of_the_server() {
    let (own, default) = (resources(&[("cpu", "2")], &[]), resources(&[("memory", "4Gi")], &[("cpu", "1")]));
    for (own, default, expected) in [
        (None, None, json!(null)),
        (None, Some(&default), json!({ "limits": { "memory": "4Gi" }, "requests": { "cpu": "1" } })),
        // as a whole
        (Some(&own), Some(&default), json!({ "limits": { "cpu": "2" } })),
    ] {
        let mut world = World::new();
        world.workbench.spec.server = Some(Server { resources: own.cloned(), ..Server::default() });
        world.settings.server_resources = default.cloned();
        let deployment = made(&world.plan(), Kind::Deployment);
        assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["resources"], expected);
    }
}

#[test]
fn the_service() {
    let service = made(&World::new().plan(), Kind::Service);
    assert_eq!(service["metadata"]["name"], "workbench1");
    assert_eq!(
        service["spec"],
        json!({
            "type": "ClusterIP",
            "selector": { "workbench": "workbench1" },
            "ports": [
                { "name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP" },
                { "name": "x11-socket", "port": 6080, "targetPort": 6080, "protocol": "TCP" }
            ]
        })
    );
}

#[test]
fn the_job() {
    let mut world = World::with_app();
    world.workbench.spec.service_account_name = Some("desktop".to_owned());
    world.workbench.spec.image_pull_secrets = vec!["one".to_owned()];
    world.settings.application_priority_class = Some("preemptible".to_owned());
    world.app(|app| {
        app.name = "R_Studio".to_owned();
        app.shm_size = Some(Quantity("1Gi".to_owned()));
    });
    let job = job(&world);
    let labels = json!({ "chorus-tre.ch/workbench": "workbench1", "chorus-tre.ch/app": "a" });
    let mut all = labels.clone();
    json_patch::merge(
        &mut all,
        &json!({ "workbench": "workbench1", "app.kubernetes.io/managed-by": "chorus-operator" }),
    );
    assert_eq!(job["metadata"]["labels"], all);
    assert_eq!(job["metadata"]["annotations"], json!({ "chorus-tre.ch/not-ready-since": "2027-01-15T08:00:00Z" }));
    assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], UID);
    let spec = &job["spec"];
    assert_eq!(spec["suspend"], false);
    for absent in ["ttlSecondsAfterFinished", "backoffLimit", "activeDeadlineSeconds", "completions", "parallelism"] {
        assert!(spec[absent].is_null(), "{absent}");
    }
    // never the label that selects server pods
    assert_eq!(spec["template"]["metadata"], json!({ "labels": labels }));
    let pod = &spec["template"]["spec"];
    for (field, expected) in [
        ("hostname", json!("r-studio")),
        ("restartPolicy", json!("OnFailure")),
        ("serviceAccountName", json!("desktop")),
        ("automountServiceAccountToken", json!(false)),
        ("enableServiceLinks", json!(false)),
        ("priorityClassName", json!("preemptible")),
        ("imagePullSecrets", json!([{ "name": "one" }])),
        (
            "securityContext",
            json!({
                "fsGroup": 1001, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": { "type": "RuntimeDefault" }
            }),
        ),
        (
            "volumes",
            json!([
                { "name": "shm", "emptyDir": { "medium": "Memory", "sizeLimit": "1Gi" } },
                { "name": "home", "emptyDir": {} }
            ]),
        ),
    ] {
        assert_eq!(pod[field], expected, "{field}");
    }
}

#[test]
fn the_containers_of_an_app() {
    let mut world = World::with_app();
    world.workbench.spec.server =
        Some(Server { user: Some("ada".to_owned()), userid: Some(1042), ..Server::default() });
    world.workbench.spec.init_container = Some(InitContainer { version: Some("3".to_owned()) });
    let job = job(&world);
    let (init, main) = containers(&job);
    assert_eq!((&init["name"], &init["image"]), (&json!("app-init"), &json!("registry.example/apps/app-init:3")));
    assert_eq!(
        (&init["imagePullPolicy"], &init["command"]),
        (&json!("IfNotPresent"), &json!(["/docker-entrypoint.sh"]))
    );
    assert_eq!(
        init["securityContext"],
        json!({
            "runAsUser": 0, "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"], "add": ["CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE", "FOWNER"] }
        })
    );
    assert_eq!(
        init["resources"],
        json!({
            "limits": { "cpu": "100m", "memory": "64Mi", "ephemeral-storage": "1Gi" },
            "requests": { "cpu": "10m", "memory": "16Mi", "ephemeral-storage": "100Mi" }
        })
    );
    let user = [
        ("DISPLAY", "workbench1.workspace1:80"),
        ("CHORUS_USER", "ada"),
        ("CHORUS_UID", "1042"),
        ("CHORUS_GROUP", "chorus"),
        ("CHORUS_GID", "1001"),
    ];
    assert_eq!(env(init), pairs(&[&user[..], &[("APP_NAME", "term")]].concat()));
    assert_eq!((&main["name"], &main["image"]), (&json!("term"), &json!("registry.example/apps/term:1")));
    assert_eq!(main["imagePullPolicy"], "IfNotPresent");
    assert_eq!(
        main["securityContext"],
        json!({
            "runAsUser": 1042, "runAsGroup": 1001, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] }
        })
    );
    let own = [
        ("LD_PRELOAD", "libnss_wrapper.so"),
        ("NSS_WRAPPER_PASSWD", "/home/.chorus-auth/passwd"),
        ("NSS_WRAPPER_GROUP", "/home/.chorus-auth/group"),
        ("HOME", "/home/ada"),
        ("USER", "ada"),
        ("APP_NAME", "term"),
    ];
    assert_eq!(env(main), pairs(&[&user[..], &own[..]].concat()));
    for container in [init, main] {
        assert_eq!(container["volumeMounts"], json!([{ "name": "home", "mountPath": "/home" }]));
    }
    world.app(|app| app.shm_size = Some(Quantity("1Gi".to_owned())));
    let with_shm = made(&world.plan(), Kind::Job);
    assert_eq!(containers(&with_shm).1["volumeMounts"][0], json!({ "name": "shm", "mountPath": "/dev/shm" }));
}

#[test]
fn defaults_of_the_user() {
    for server in [None, Some(Server::default()), Some(Server { user: Some(String::new()), ..Server::default() })] {
        let mut world = World::with_app();
        world.workbench.spec.server = server;
        let job = job(&world);
        let (_, main) = containers(&job);
        assert!(env(main).contains(&("HOME".to_owned(), "/home/chorus".to_owned())));
        assert_eq!(main["securityContext"]["runAsUser"], 1001);
    }
}

#[test]
fn resources_of_an_app() {
    let defaults = json!({
        "limits": { "cpu": "150m", "memory": "192Mi", "ephemeral-storage": "10Gi" },
        "requests": { "cpu": "50m", "memory": "96Mi", "ephemeral-storage": "1Gi" }
    });
    for (given, expected) in [
        (None, defaults.clone()),
        (Some(resources(&[], &[])), defaults),
        (
            Some(resources(&[("cpu", "2"), ("memory", "1Gi")], &[])),
            json!({
                "limits": { "cpu": "2", "memory": "1Gi" },
                "requests": { "cpu": "50m", "memory": "96Mi", "ephemeral-storage": "1Gi" }
            }),
        ),
        // never more set aside than may be used
        (
            Some(resources(&[("cpu", "0.02"), ("memory", "64Mi")], &[])),
            json!({
                "limits": { "cpu": "0.02", "memory": "64Mi" },
                "requests": { "cpu": "0.02", "memory": "64Mi", "ephemeral-storage": "1Gi" }
            }),
        ),
        (
            Some(resources(&[], &[("memory", "1Gi")])),
            json!({ "limits": { "memory": "1Gi" }, "requests": { "memory": "1Gi" } }),
        ),
        (
            Some(resources(&[("cpu", "2")], &[("cpu", "1")])),
            json!({ "limits": { "cpu": "2" }, "requests": { "cpu": "1" } }),
        ),
    ] {
        let mut world = World::with_app();
        world.app(|app| app.resources.clone_from(&given));
        assert_eq!(containers(&job(&world)).1["resources"], expected, "{given:?}");
    }
}

#[test]
fn pages_of_browsers() {
    let config = |url: &str, token: Option<&str>| Browser {
        url: url.to_owned(),
        jwt_url: Some("https://jwt.example".to_owned()),
        jwt_token: token.map(str::to_owned),
    };
    let (kiosk, browser) = (config("https://kiosk.example", Some("hush")), config("https://browser.example", None));
    for (repository, kiosk, browser, expected) in [
        (
            "apps/kiosk",
            Some(&kiosk),
            None,
            vec![("URL", "https://kiosk.example"), ("JWT_URL", "https://jwt.example"), ("JWT_TOKEN", "hush")],
        ),
        // without a token its page is no use; the newer field wins
        ("apps/browser", Some(&kiosk), Some(&browser), vec![("URL", "https://browser.example")]),
        ("apps/kiosk", None, None, vec![]),
        ("apps/term", Some(&kiosk), Some(&browser), vec![]),
    ] {
        let mut world = World::with_app();
        world.app(|app| {
            app.image.repository = Some(repository.to_owned());
            (app.kiosk_config, app.browser_config) = (kiosk.cloned(), browser.cloned());
        });
        let job = job(&world);
        let found: Vec<_> = env(containers(&job).1).split_off(11);
        let family = |prefix: &str| {
            expected.iter().map(|(name, value)| (format!("{prefix}_{name}"), (*value).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(found, [family("KIOSK"), family("BROWSER")].concat());
        assert!(!format!("{:?}", world.plan()).contains("hush"));
    }
}

#[test]
fn licences() {
    let mut world = World::with_app();
    world.licences =
        Some("licenses: { term: { type: platform-file, envVar: TERM_LICENCE, secretKey: term } }".to_owned());
    assert_eq!(env(containers(&job(&world)).1).len(), 11, "switched off");
    world.settings.license_secret = Some("licences".to_owned());
    let key = json!({ "secretKeyRef": { "name": "licences", "key": "term", "optional": true } });
    assert_eq!(env(containers(&job(&world)).1)[11], ("TERM_LICENCE".to_owned(), key.to_string()));

    // nothing of the contract can be replaced
    world.licences = Some("licenses: { term: { type: user-provided, envVar: HOME, mountPath: /x } }".to_owned());
    assert_eq!(env(containers(&job(&world)).1).len(), 11);

    world.licences = Some("licenses: [".to_owned());
    let plan = world.pass();
    assert!(plan.notices.iter().any(|notice| notice.warning && notice.reason == "LicencesUnreadable"));
    is(&world.record(), AppHealth::Progressing, "Starting");
}

#[test]
fn debug_mode() {
    let mut world = World::with_app();
    world.settings.debug_mode = true;
    let rights = json!({
        "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": true, "privileged": true
    });
    let plan = world.plan();
    let (deployment, job) = (made(&plan, Kind::Deployment), made(&plan, Kind::Job));
    for object in [&deployment, &job] {
        let template = &object["spec"]["template"];
        assert_eq!(template["spec"]["containers"][0]["securityContext"], rights);
        assert_ne!(template["spec"]["initContainers"][0]["securityContext"], rights);
        assert_eq!(template["metadata"]["annotations"]["chorus-tre.ch/debug-mode"], "enabled");
        assert!(template["metadata"]["annotations"]["chorus-tre.ch/debug-warning"].is_string());
    }
}

#[test]
fn what_cannot_be_made() {
    type Change = fn(&mut World);
    let cases: [(Change, &str); 15] = [
        (|world| world.app(|app| app.name = String::new()), "InvalidName"),
        (|world| world.app(|app| app.name = "-x".to_owned()), "InvalidName"),
        (|world| world.app(|app| app.name = "a/b".to_owned()), "InvalidName"),
        (|world| world.app(|app| app.name = "x".repeat(31)), "InvalidName"),
        (|world| world.app(|app| app.image.repository = None), "ImageRequired"),
        (|world| world.app(|app| app.image.repository = Some("apps/".to_owned())), "ImageRequired"),
        (|world| world.app(|app| app.image.tag = Some("a b".to_owned())), "InvalidImage"),
        (|world| user(world, "..", 1001), "InvalidUser"),
        (|world| user(world, "a/../b", 1001), "InvalidUser"),
        (|world| user(world, &"u".repeat(256), 1001), "InvalidUser"),
        (|world| user(world, "ada", 1000), "InvalidUser"),
        (|world| user(world, "ada", 1 << 31), "InvalidUser"),
        (
            |world| world.app(|app| app.resources = Some(resources(&[("cpu", "1")], &[("cpu", "1001m")]))),
            "InvalidResources",
        ),
        (|world| world.app(|app| app.resources = Some(resources(&[("cpu", "much")], &[]))), "InvalidResources"),
        (|world| world.app(|app| app.shm_size = Some(Quantity("-1Gi".to_owned()))), "InvalidResources"),
    ];
    for (change, reason) in cases {
        let mut world = World::with_app();
        change(&mut world);
        let status = world.settle();
        is(&status.apps["a"], AppHealth::Failed, reason);
        assert!(world.seen.jobs.is_empty());
        assert_eq!(status.apps["a"].revision, -1);
    }
    let mut world = World::new();
    world.workbench.spec.apps.insert("no/key".to_owned(), app("term"));
    world.ready();
    is(&world.settle().apps["no/key"], AppHealth::Failed, "InvalidName");
}

fn user(world: &mut World, user: &str, id: i64) {
    let server = Server { user: Some(user.to_owned()), userid: Some(id), ..Server::default() };
    world.workbench.spec.server = Some(server);
}
