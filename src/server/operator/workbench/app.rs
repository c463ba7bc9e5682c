//! One app: the Job that runs it.
//!
//! Its pod draws on the display of the server pod, as a user that a first container makes. Images depend on the names of the
//! containers and variables, and on the paths.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Capabilities, Container, EmptyDirVolumeSource, EnvVar, PodSecurityContext, PodSpec, PodTemplateSpec,
            ResourceRequirements, SecurityContext, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    super::{
        api::{self, labels, workbench::App},
        live::Kind,
        plan::Object,
    },
    check::Amounts,
    images,
    licence::Licences,
    names,
    pass::{Pass, object, text_map},
    server::{debug_rights, seccomp, variable},
    storage::Storage,
};
use crate::server::quantity::Quantity;

/// The container that makes the user and the folders.
pub const INIT: &str = "app-init";
/// The group of all users, and of the folders of a workspace.
pub const GROUP: i64 = 1001;

/// What an app may use where it says nothing.
const LIMITS: [(&str, &str); 3] = [("cpu", "150m"), ("memory", "192Mi"), ("ephemeral-storage", "10Gi")];
/// What is set aside for an app where it says nothing.
const REQUESTS: [(&str, &str); 3] = [("cpu", "50m"), ("memory", "96Mi"), ("ephemeral-storage", "1Gi")];
const INIT_LIMITS: [(&str, &str); 3] = [("cpu", "100m"), ("memory", "64Mi"), ("ephemeral-storage", "1Gi")];
const INIT_REQUESTS: [(&str, &str); 3] = [("cpu", "10m"), ("memory", "16Mi"), ("ephemeral-storage", "100Mi")];
/// What making users and folders takes.
const INIT_RIGHTS: [&str; 5] = ["CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE", "FOWNER"];

/// The Job of an app, which `check::app` let through.
pub fn job(pass: &Pass<'_>, id: &str, app: &App, storage: &Storage, licences: &Licences) -> Object {
    let mut metadata =
        pass.child(names::job(pass.name(), id, &app.name), &[(labels::POD_OF, pass.name()), (labels::APP, id)]);
    metadata.annotations = Some(annotations(pass, app));
    let pod_labels = text_map(&[(labels::POD_OF, pass.name()), (labels::APP, id)]);
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: pass.debug_annotations(),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(pass, app, storage, licences)),
    };
    // no time to live: the finished Job stays as long as the app is asked for
    let spec = JobSpec { suspend: Some(false), template, ..JobSpec::default() };
    object(Kind::Job, &Job { metadata, spec: Some(spec), status: None })
}

fn annotations(pass: &Pass<'_>, app: &App) -> BTreeMap<String, String> {
    let mut annotations = text_map(&[(labels::NOT_READY_SINCE, &api::rfc3339(pass.now))]);
    if let Some(generation) = app.restart_generation {
        annotations.insert(labels::RESTART_GENERATION.to_owned(), generation.to_string());
    }
    annotations
}

fn pod(pass: &Pass<'_>, app: &App, storage: &Storage, licences: &Licences) -> PodSpec {
    let shm = app.shm_size.as_ref().map(|size| Volume {
        name: "shm".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: Some(size.clone()) }),
        ..Volume::default()
    });
    let home =
        Volume { name: "home".to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
    PodSpec {
        hostname: Some(names::hostname(&app.name)),
        restart_policy: Some("OnFailure".to_owned()),
        service_account_name: pass.service_account(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        priority_class_name: pass.settings().application_priority_class.clone(),
        image_pull_secrets: pass.pull_secrets(),
        security_context: Some(PodSecurityContext {
            fs_group: Some(GROUP),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: seccomp(),
            ..PodSecurityContext::default()
        }),
        volumes: Some(shm.into_iter().chain([home]).chain(storage.volumes(pass)).collect()),
        init_containers: Some(vec![init(pass, app, storage)]),
        containers: vec![main(pass, app, storage, licences)],
        ..PodSpec::default()
    }
}

fn init(pass: &Pass<'_>, app: &App, storage: &Storage) -> Container {
    let image = images::init(&pass.workbench.spec, pass.settings());
    let mut env = user(pass);
    env.push(variable("APP_NAME", images::base(&app.image).unwrap_or_default()));
    Container {
        name: INIT.to_owned(),
        image_pull_policy: Some(images::pull_policy(&image)),
        image: Some(image),
        command: Some(vec!["/docker-entrypoint.sh".to_owned()]),
        env: Some(env),
        security_context: Some(SecurityContext {
            run_as_user: Some(0),
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: Some(INIT_RIGHTS.map(str::to_owned).to_vec()),
            }),
            ..SecurityContext::default()
        }),
        resources: Some(ResourceRequirements {
            limits: Some(amounts(&INIT_LIMITS)),
            requests: Some(amounts(&INIT_REQUESTS)),
            claims: None,
        }),
        volume_mounts: Some([mount("home", "/home")].into_iter().chain(storage.mounts(pass)).collect()),
        ..Container::default()
    }
}

fn main(pass: &Pass<'_>, app: &App, storage: &Storage, licences: &Licences) -> Container {
    let image = images::app(&app.image, pass.settings()).unwrap_or_default();
    let base = images::base(&app.image).unwrap_or_default();
    let shm = app.shm_size.as_ref().map(|_| mount("shm", "/dev/shm"));
    let rights = SecurityContext {
        run_as_user: Some(pass.user().1),
        run_as_group: Some(GROUP),
        run_as_non_root: Some(true),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    };
    Container {
        name: names::dns_label(base),
        image_pull_policy: Some(images::pull_policy(&image)),
        env: Some(variables(pass, app, &image, licences)),
        image: Some(image),
        security_context: debug_rights(pass).or(Some(rights)),
        resources: Some(resources(app.resources.as_ref())),
        volume_mounts: Some(shm.into_iter().chain([mount("home", "/home")]).chain(storage.mounts(pass)).collect()),
        ..Container::default()
    }
}

/// What both containers know of the display and the user.
fn user(pass: &Pass<'_>) -> Vec<EnvVar> {
    let (login, uid) = pass.user();
    vec![
        variable("DISPLAY", &format!("{}.{}:80", pass.name(), pass.namespace())),
        variable("CHORUS_USER", login),
        variable("CHORUS_UID", &uid.to_string()),
        variable("CHORUS_GROUP", "chorus"),
        variable("CHORUS_GID", &GROUP.to_string()),
    ]
}

fn variables(pass: &Pass<'_>, app: &App, image: &str, licences: &Licences) -> Vec<EnvVar> {
    let (login, _) = pass.user();
    let base = images::base(&app.image).unwrap_or_default();
    let mut variables = user(pass);
    variables.extend([
        // by its name alone the loader finds it on every architecture
        variable("LD_PRELOAD", "libnss_wrapper.so"),
        variable("NSS_WRAPPER_PASSWD", "/home/.chorus-auth/passwd"),
        variable("NSS_WRAPPER_GROUP", "/home/.chorus-auth/group"),
        variable("HOME", &format!("/home/{login}")),
        variable("USER", login),
        variable("APP_NAME", base),
    ]);
    let secret = pass.settings().license_secret.as_deref();
    let licence = secret.and_then(|secret| licences.variable(base, secret));
    let browser = browser(app, image);
    // the contract's own variables are not for licences to change
    let taken = |variables: &[EnvVar], name: &str| variables.iter().any(|variable| variable.name == name);
    variables.extend(licence.filter(|licence| !taken(&variables, &licence.name)));
    variables.extend(browser);
    variables
}

/// The page that a browser app opens, under the names that older and newer images read.
fn browser(app: &App, image: &str) -> Vec<EnvVar> {
    let config = app.browser_config.as_ref().or(app.kiosk_config.as_ref());
    let Some(config) = config.filter(|_| image.contains("apps/kiosk") || image.contains("apps/browser")) else {
        return Vec::new();
    };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut pairs = vec![("URL", config.url.clone())];
    if let (Some(url), Some(token)) = (given(&config.jwt_url), given(&config.jwt_token)) {
        pairs.extend([("JWT_URL", url), ("JWT_TOKEN", token)]);
    }
    let family = |prefix: &str| {
        pairs.iter().map(|(name, value)| variable(&format!("{prefix}_{name}"), value)).collect::<Vec<_>>()
    };
    [family("KIOSK"), family("BROWSER")].concat()
}

/// Maps are taken as a whole: those that are given, or the defaults.
fn resources(given: Option<&ResourceRequirements>) -> ResourceRequirements {
    let limits = given.and_then(|given| given.limits.clone()).filter(|limits| !limits.is_empty());
    let requests = given.and_then(|given| given.requests.clone()).filter(|requests| !requests.is_empty());
    let (limits, requests) = match (limits, requests) {
        (None, None) => (amounts(&LIMITS), amounts(&REQUESTS)),
        (Some(limits), None) => {
            let requests = capped(amounts(&REQUESTS), &limits);
            (limits, requests)
        }
        (None, Some(requests)) => (requests.clone(), requests),
        (Some(limits), Some(requests)) => (limits, requests),
    };
    ResourceRequirements { limits: Some(limits), requests: Some(requests), claims: None }
}

/// What is set aside, but never more than what may be used.
fn capped(requests: Amounts, limits: &Amounts) -> Amounts {
    let cap = |(name, request): (String, api::Quantity)| {
        let least = |limit: &&api::Quantity| Quantity::parse(&limit.0) < Quantity::parse(&request.0);
        let amount = limits.get(&name).filter(least).unwrap_or(&request).clone();
        (name, amount)
    };
    requests.into_iter().map(cap).collect()
}

fn amounts(pairs: &[(&str, &str)]) -> Amounts {
    pairs.iter().map(|&(name, amount)| (name.to_owned(), api::Quantity(amount.to_owned()))).collect()
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}
