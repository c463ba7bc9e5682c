use serde_json::json;

use super::*;

const WORKBENCH: &str = r#"
apiVersion: default.chorus-tre.ch/v1alpha1
kind: Workbench
metadata: {name: workbench7, namespace: workspace1}
spec:
  server: {user: ada, userid: 1234}
  storage: {s3: true, nfs: true}
  apps:
    app-instance-1: {name: rstudio-1, image: {repository: apps/rstudio, tag: "1.2"}}
    app-instance-2:
      name: kiosk-2
      image: {repository: apps/kiosk}
      kioskConfig: {url: "https://x.example", jwtUrl: "https://j.example", jwtToken: top-secret}
"#;

fn input(name: &str, text: &str) -> Input {
    Input { name: name.to_owned(), text: text.to_owned() }
}

fn rendered(texts: &[&str], observed: &str) -> Rendered {
    let inputs: Vec<_> = texts.iter().map(|text| input("file.yaml", text)).collect();
    render(&inputs, &Observed::parse(observed).unwrap(), &Settings::default(), false).unwrap()
}

fn objects(rendered: &Rendered) -> Vec<Value> {
    serde_saphyr::from_multiple(&rendered.yaml).unwrap()
}

fn kinds(rendered: &Rendered) -> Vec<String> {
    let id = |object: &Value| {
        format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
    };
    objects(rendered).iter().map(id).collect()
}

const JOBS: [&str; 2] = ["Job workbench7-app-instance-1-rstudio-1", "Job workbench7-app-instance-2-kiosk-2"];

#[test]
fn a_desktop_with_all_its_children() {
    let rendered = rendered(&[WORKBENCH], "");
    let kinds = kinds(&rendered);
    let wanted = [
        "NetworkPolicy workbench7-netpol-server",
        "Service workbench7",
        "Deployment workbench7-server",
        "PersistentVolume workspace1-archive-pv",
        "PersistentVolumeClaim workspace1-archive-pvc",
        "Job nfs-mkdir-workspace1",
        "PersistentVolume workspace1-scratch-pv",
        "PersistentVolumeClaim workspace1-scratch-pvc",
    ];
    for wanted in wanted.iter().chain(&JOBS) {
        assert_eq!(kinds.iter().filter(|kind| kind == wanted).count(), 1, "{wanted} in {kinds:?}");
    }
    assert_eq!(kinds.len(), wanted.len() + JOBS.len());
    assert_eq!(kinds[8..], JOBS, "apps come last");
    assert_eq!(kinds[0], wanted[0], "nothing runs before it is isolated");
    assert_eq!(rendered.remarks, Vec::<String>::new());
}

#[test]
fn the_same_input_gives_the_same_text() {
    assert_eq!(rendered(&[WORKBENCH], ""), rendered(&[WORKBENCH], ""));
}

#[test]
fn tokens_are_shown_only_when_asked_for() {
    assert!(!rendered(&[WORKBENCH], "").yaml.contains("top-secret"));
    assert!(rendered(&[WORKBENCH], "").yaml.contains("KIOSK_JWT_TOKEN"));
    let open = render(&[input("w.yaml", WORKBENCH)], &Observed::default(), &Settings::default(), true).unwrap();
    assert!(open.yaml.contains("top-secret"));
}

#[test]
fn no_part_of_a_longer_token_remains() {
    let mut value = json!({ "a": ["x abcdef y abc"], "b": 1 });
    redact(&mut value, &["abcdef", "abc"]);
    assert_eq!(value, json!({ "a": ["x (redacted) y (redacted)"], "b": 1 }));
}

#[test]
fn what_is_observed_decides() {
    let starting = rendered(&[WORKBENCH], "server: starting");
    assert!(!kinds(&starting).iter().any(|kind| JOBS.contains(&kind.as_str())));
    assert!(
        starting.remarks.iter().any(|line| line.contains("app-instance-1: Progressing (WaitingForServer)")),
        "{starting:?}"
    );

    let open = rendered(&[WORKBENCH], "policy: missing");
    assert!(!kinds(&open).iter().any(|kind| kind.starts_with("Deployment") || JOBS.contains(&kind.as_str())));
    assert!(open.remarks.iter().any(|line| line.contains("not NetworkIsolated")), "{open:?}");

    let pending = rendered(&[WORKBENCH], "storage: {archive: pending}");
    assert!(pending.remarks.iter().any(|line| line.contains("WaitingForStorage")), "{pending:?}");

    let none = rendered(&[WORKBENCH], "drivers: []\nsecrets: {}");
    assert!(!kinds(&none).iter().any(|kind| kind.starts_with("Persistent")));
    assert!(none.remarks.iter().any(|line| line.contains("not StorageReady")), "{none:?}");
}

#[test]
fn volumes_of_a_namespace_are_made_once() {
    let other = WORKBENCH.replace("workbench7", "workbench8");
    let kinds = kinds(&rendered(&[WORKBENCH, &other], ""));
    assert_eq!(kinds.iter().filter(|kind| kind.starts_with("PersistentVolume ")).count(), 2);
    assert!(kinds.contains(&"Deployment workbench8-server".to_owned()));
}

#[test]
fn apps_that_cannot_start_are_named() {
    let broken = WORKBENCH.replace("{repository: apps/rstudio, tag: \"1.2\"}", "{}");
    let remarks = rendered(&[&broken], "").remarks;
    assert!(
        remarks.iter().any(|line| line.contains("Workbench workbench7, app app-instance-1: Failed")),
        "{remarks:?}"
    );
}

#[test]
fn errors_name_the_place() {
    let broken = WORKBENCH.replace("userid: 1234", "userid: 12");
    let error = render(&[input("w.yaml", &broken)], &Observed::default(), &Settings::default(), false).unwrap_err();
    assert_eq!(error.to_string(), "w.yaml, document 1: spec.server.userid: must be at least 1001");
}

const WORKSPACE: &str = "
apiVersion: default.chorus-tre.ch/v1alpha1
kind: Workspace
metadata: {name: workspace1, namespace: workspace1}
spec: {networkPolicy: FQDNAllowlist, allowedFQDNs: [example.org]}
";

#[test]
fn the_policy_of_a_workspace_comes_first_and_decides() {
    let with = rendered(&[WORKBENCH, WORKSPACE], "");
    assert_eq!(kinds(&with)[0], "CiliumNetworkPolicy workspace1-netpol");
    assert_eq!((with.remarks.as_slice(), kinds(&with).len()), ([].as_slice(), 11));

    // Whatever is said to be observed: names cannot be enforced without Cilium, so nothing starts.
    let without = rendered(&[WORKBENCH, WORKSPACE], "cilium: false\npolicy: inForce");
    assert!(!kinds(&without).iter().any(|kind| kind.starts_with("Deployment") || JOBS.contains(&kind.as_str())));
    assert!(without.remarks[0].starts_with("Workspace workspace1: its policy is not in force"), "{without:?}");

    let closed = WORKSPACE.replace("FQDNAllowlist, allowedFQDNs: [example.org]", "Airgapped");
    let plain = rendered(&[WORKBENCH, &closed], "cilium: false");
    assert!(kinds(&plain)[0].starts_with("NetworkPolicy workspace1-netpol"), "{:?}", kinds(&plain));
    assert_eq!(plain.remarks, Vec::<String>::new());
}

#[test]
fn services_are_not_silently_left_out() {
    let text = WORKSPACE.replace("[example.org]", "[example.org], services: {db-1: {chart: {tag: \"1\"}}}");
    let remarks = rendered(&[&text], "").remarks;
    assert!(
        remarks.len() == 1 && remarks[0].starts_with("Workspace workspace1, service db-1: Failed: "),
        "{remarks:?}"
    );
}
