//! The display server: its Deployment and its Service.
//!
//! One pod holds the X server with its web page (8080) and a relay (6080) that takes the drawing of the apps from the network to
//! the X server's socket. Images and clients depend on the names of containers, ports and variables.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
        core::v1::{
            Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext, Service, ServicePort,
            ServiceSpec, TCPSocketAction, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    super::{
        api::{labels, workbench::Clipboard},
        live::Kind,
        plan::Object,
    },
    images, names,
    pass::{Pass, object, text_map},
};

/// The container with the desktop.
pub const SERVER: &str = "xpra-server";
/// The container that relays drawing; it starts first and stays.
pub const RELAY: &str = "xpra-server-bind";

const HTTP: &str = "http";
const HTTP_PORT: i32 = 8080;
const X11: &str = "x11-socket";
/// TCP port of display 80: 6000 + 80.
const X11_PORT: i32 = 6080;
const SOCKETS: &str = "x11-unix";
/// Seconds between probes.
const PROBE_PERIOD: i32 = 2;
/// How long a server may take to answer at first where no time-out is set, in seconds.
const PATIENCE: i32 = 600;

/// The Deployment, with so many replicas.
pub fn deployment(pass: &Pass<'_>, replicas: i32) -> Object {
    let selector = text_map(&[(labels::WORKBENCH, pass.name())]);
    let pod_labels = text_map(&[(labels::WORKBENCH, pass.name()), (labels::POD_OF, pass.name())]);
    let metadata =
        ObjectMeta { labels: Some(pod_labels), annotations: pass.debug_annotations(), ..ObjectMeta::default() };
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        // two X servers cannot share a session
        strategy: Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
        progress_deadline_seconds: startup_timeout(pass),
        selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
        template: PodTemplateSpec { metadata: Some(metadata), spec: Some(pod(pass)) },
        ..DeploymentSpec::default()
    };
    let metadata = pass.child(names::server(pass.name()), &[]);
    object(Kind::Deployment, &Deployment { metadata, spec: Some(spec), status: None })
}

/// The Service, by which apps and the proxy find the server.
pub fn service(pass: &Pass<'_>) -> Object {
    let port = |name: &str, port: i32, target: IntOrString| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(target),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(text_map(&[(labels::WORKBENCH, pass.name())])),
        ports: Some(vec![
            port(HTTP, HTTP_PORT, IntOrString::String(HTTP.to_owned())),
            // by number: the port belongs to a container that counts as an init container, whose names not all network plug-ins resolve
            port(X11, X11_PORT, IntOrString::Int(X11_PORT)),
        ]),
        ..ServiceSpec::default()
    };
    let metadata = pass.child(pass.name().to_owned(), &[]);
    object(Kind::Service, &Service { metadata, spec: Some(spec), status: None })
}

/// Rights that only development needs, where they are switched on.
pub fn debug_rights(pass: &Pass<'_>) -> Option<SecurityContext> {
    pass.settings().debug_mode.then(|| SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        allow_privilege_escalation: Some(true),
        privileged: Some(true),
        ..SecurityContext::default()
    })
}

/// The system calls that the container runtime lets through.
pub fn seccomp() -> Option<SeccompProfile> {
    Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None })
}

/// A variable.
pub fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn pod(pass: &Pass<'_>) -> PodSpec {
    PodSpec {
        service_account_name: pass.service_account(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        priority_class_name: pass.settings().workbench_priority_class.clone(),
        image_pull_secrets: pass.pull_secrets(),
        security_context: Some(PodSecurityContext { seccomp_profile: seccomp(), ..PodSecurityContext::default() }),
        volumes: Some(vec![Volume {
            name: SOCKETS.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }]),
        init_containers: Some(vec![relay(pass)]),
        containers: vec![desktop(pass)],
        ..PodSpec::default()
    }
}

fn relay(pass: &Pass<'_>) -> Container {
    let image = pass.settings().socat_image.clone();
    let args = ["TCP-LISTEN:6080,fork,bind=0.0.0.0", "UNIX-CONNECT:/tmp/.X11-unix/X80"];
    let socket = TCPSocketAction { port: IntOrString::String(X11.to_owned()), host: None };
    let probe = Probe { tcp_socket: Some(socket), ..probe(10) };
    Container {
        name: RELAY.to_owned(),
        image_pull_policy: Some(images::pull_policy(&image)),
        image: Some(image),
        // stays beside the server (a native sidecar)
        restart_policy: Some("Always".to_owned()),
        args: Some(args.map(str::to_owned).to_vec()),
        ports: Some(vec![port(X11, X11_PORT)]),
        volume_mounts: Some(vec![sockets()]),
        liveness_probe: Some(probe.clone()),
        readiness_probe: Some(probe),
        // it writes nothing but to the socket
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn desktop(pass: &Pass<'_>) -> Container {
    let image = pass.server_image();
    let page = HTTPGetAction {
        path: Some("/".to_owned()),
        port: IntOrString::String(HTTP.to_owned()),
        ..HTTPGetAction::default()
    };
    let steady = Probe { http_get: Some(page.clone()), ..probe(10) };
    // a server that is slow at first is not killed for it
    let patience = startup_timeout(pass).unwrap_or(PATIENCE);
    let first = Probe { http_get: Some(page), ..probe(patience.div_euclid(PROBE_PERIOD).max(1)) };
    Container {
        name: SERVER.to_owned(),
        image_pull_policy: Some(images::pull_policy(&image)),
        image: Some(image),
        env: Some(variables(pass)),
        ports: Some(vec![port(HTTP, HTTP_PORT)]),
        volume_mounts: Some(vec![sockets()]),
        startup_probe: Some(first),
        liveness_probe: Some(steady.clone()),
        readiness_probe: Some(steady),
        resources: resources(pass),
        security_context: debug_rights(pass),
        ..Container::default()
    }
}

fn variables(pass: &Pass<'_>) -> Vec<EnvVar> {
    let server = pass.workbench.spec.server.as_ref();
    let width = server.and_then(|server| server.initial_resolution_width).filter(|&width| width > 0);
    let height = server.and_then(|server| server.initial_resolution_height).filter(|&height| height > 0);
    let clipboard = match server.and_then(|server| server.clipboard).unwrap_or_default() {
        Clipboard::Disabled => "disabled",
        Clipboard::ToServer => "to-server",
        Clipboard::ToClient => "to-client",
        Clipboard::Both => "both",
    };
    // a place for a graphics card, which images read
    let mut variables = vec![variable("CARD", "")];
    if let (Some(width), Some(height)) = (width, height) {
        variables.push(variable("INITIAL_RESOLUTION", &format!("{width}x{height}")));
    }
    variables.push(variable("XPRA_CLIPBOARD_DIRECTION", clipboard));
    variables
}

/// Those of the workbench replace those of the settings as a whole.
fn resources(pass: &Pass<'_>) -> Option<ResourceRequirements> {
    let own = pass.workbench.spec.server.as_ref().and_then(|server| server.resources.clone());
    own.or_else(|| pass.settings().server_resources.clone())
}

fn startup_timeout(pass: &Pass<'_>) -> Option<i32> {
    pass.settings().workbench_startup_timeout.and_then(|seconds| i32::try_from(seconds).ok()).filter(|&s| s > 0)
}

fn probe(failure: i32) -> Probe {
    Probe {
        initial_delay_seconds: Some(1),
        period_seconds: Some(PROBE_PERIOD),
        timeout_seconds: Some(2),
        success_threshold: Some(1),
        failure_threshold: Some(failure),
        ..Probe::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), container_port: number, ..ContainerPort::default() }
}

fn sockets() -> VolumeMount {
    VolumeMount { name: SOCKETS.to_owned(), mount_path: "/tmp/.X11-unix".to_owned(), ..VolumeMount::default() }
}
