//! The gRPC side: the router of all services and what stands in front of it.
//!
//! [`Core`] is what every call passes, REST calls included: a deadline, a guard against panics, and a detail for statuses
//! that have none. [`Native`] adds what calls from the wire need: the method paths of older clients, and the size limit.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Result;
use axum::{Router, body::Body, response::Response};
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Uri};
use tonic::{Code, Status, service::Routes};
use tonic_health::server::HealthReporter;
use tower::{Service, ServiceExt};

use super::{deadline, edge::Trail, limit, origin::Origin, rest::errors};
use crate::{
    proto,
    server::{
        error::{Error, Kind},
        pipeline::rpc,
    },
};

/// Adds reflection and the standard health service; both are public. The reporter says when the server stops serving.
pub async fn with_infrastructure(services: Routes) -> Result<(Routes, HealthReporter)> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let services =
        services.add_service(health).add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
    Ok((services, reporter))
}

/// What every call passes on its way to a service.
#[derive(Debug, Clone)]
pub struct Core {
    router: Router,
    request_timeout: Duration,
}

impl Core {
    /// In front of these services; unary calls may take this long.
    pub fn new(services: Routes, request_timeout: Duration) -> Self {
        Self { router: services.prepare().into_axum_router(), request_timeout }
    }

    /// Calls the service that the path names.
    pub async fn call(&self, request: Request<Body>) -> Response {
        let trail = Trail::of(request.extensions());
        let rpc = rpc::find(request.uri().path());
        if let Some(rpc) = rpc {
            trail.leads_to(rpc);
        }
        // what the contract does not know (reflection, health watches) may stream for ever
        let streaming = rpc.is_none_or(|rpc| rpc.streaming);
        let limit = deadline::of(request.headers(), streaming, self.request_timeout);
        let instance = instance(&request);
        let call = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        let outcome = match limit {
            Some(limit) => tokio::time::timeout(limit, call).await.map_err(|_| too_late(limit)),
            None => Ok(call.await),
        };
        match outcome {
            Ok(Ok(Ok(response))) => completed(response, &instance, &trail),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => panicked(&instance).into_status(&instance).into_http(),
            Err(error) => error.into_status(&instance).into_http(),
        }
    }
}

/// The error of a call that panicked. The panic hook has logged the text.
pub fn panicked(instance: &str) -> Error {
    tracing::error!(target: "chorus::transport", instance, "a call panicked");
    Error::internal("panic")
}

fn too_late(limit: Duration) -> Error {
    let text = format!("The call did not finish within {limit:?}. It may still have taken effect.");
    Error::new(Kind::DeadlineExceeded, "DEADLINE_EXCEEDED", text)
}

fn instance(request: &Request<Body>) -> std::sync::Arc<str> {
    match request.extensions().get::<Origin>() {
        Some(origin) => origin.instance.clone(),
        None => request.uri().path().into(),
    }
}

/// The response, with a detail if it is a failure without one.
fn completed(response: Response, instance: &str, trail: &Trail) -> Response {
    let Some(status) = Status::from_header_map(response.headers()).filter(|s| s.code() != Code::Ok) else {
        return response;
    };
    match crate::server::error::detail(&status) {
        // the size limit fails before the gate; every other failure with a detail comes from there
        Some(detail) => {
            if detail.reason != limit::TOO_LARGE {
                trail.passed_the_gate();
            }
            response
        }
        None => errors::complete(status, instance).into_http(),
    }
}

/// gRPC as it comes from the wire, gRPC-web included once it is unwrapped.
#[derive(Debug, Clone)]
pub struct Native(Core);

impl Native {
    /// In front of this core.
    pub fn new(core: Core) -> Self {
        Self(core)
    }

    async fn answer(self, request: Request<Body>) -> Response {
        let request = canonical(request);
        let max = rpc::find(request.uri().path()).map_or(limit::DEFAULT_MAX_BYTES, |rpc| rpc.max_bytes);
        let instance = instance(&request);
        let request = request.map(|body| limit::limited(body, max, &instance));
        self.0.call(request).await
    }
}

impl<B> Service<Request<B>> for Native
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.clone().answer(request.map(Body::new)).map(Ok).boxed()
    }
}

/// Older clients call `/chorus.<Service>/<Rpc>`; the messages are the same.
fn canonical(mut request: Request<Body>) -> Request<Body> {
    const PACKAGE: &str = "/chorus.v1.";
    let path = request.uri().path();
    if !path.starts_with(PACKAGE)
        && let Some(rest) = path.strip_prefix("/chorus.")
        && let Ok(uri) = format!("{PACKAGE}{rest}").parse::<Uri>()
    {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_method_paths_are_rewritten() {
        let table = [
            ("/chorus.UserService/GetUser", "/chorus.v1.UserService/GetUser"),
            ("http://localhost:5555/chorus.UserService/GetUser", "/chorus.v1.UserService/GetUser"),
            ("/chorus.v1.UserService/GetUser", "/chorus.v1.UserService/GetUser"),
            ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Check"),
        ];
        for (from, to) in table {
            let request = Request::builder().uri(from).body(Body::empty()).unwrap();
            assert_eq!(canonical(request).uri().path(), to);
        }
    }
}
