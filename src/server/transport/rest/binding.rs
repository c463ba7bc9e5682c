//! The REST bindings of the contract: which method and path reach which RPC, and where the request's fields come from.
//! They are read once at start; serving and OpenAPI use the same list.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use http::{Method, Uri};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, Value};

use super::{emit::Layout, template::Template};
use crate::server::pipeline::rpc::{self, Rpc};

/// One method and path of one RPC.
#[derive(Debug)]
pub struct Binding {
    /// The HTTP method.
    pub method: Method,
    /// The path.
    pub template: Template,
    /// The fields of the path's variables, outermost first, in the order of the template.
    pub variables: Vec<Vec<FieldDescriptor>>,
    /// What the body fills.
    pub body: Payload,
    /// The RPC in the descriptors.
    pub descriptor: MethodDescriptor,
    /// What the contract says of the RPC.
    pub rpc: &'static Rpc,
    /// The path of the RPC over gRPC.
    pub uri: Uri,
    /// How the reply is written.
    pub reply: Reply,
}

/// How the reply of an RPC is written.
#[derive(Debug, Clone)]
pub enum Reply {
    /// As JSON.
    Json(Arc<Layout>),
    /// As the bytes that it holds, with their media type (`google.api.HttpBody`).
    Raw,
}

/// What the body of a request fills.
#[derive(Debug)]
pub enum Payload {
    /// Nothing; a body is ignored.
    Nothing,
    /// The whole request message; the query is ignored.
    Everything,
    /// One field that is a message or a list of messages.
    Field(FieldDescriptor, MessageDescriptor),
}

/// Every binding of every RPC, in the order of the contract.
pub fn bindings(pool: &DescriptorPool) -> Result<Vec<Binding>> {
    let http = pool.get_extension_by_name("google.api.http").context("the contract has no google.api.http")?;
    let mut found = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        if !options.has_extension(&http) {
            continue;
        }
        let rule = options.get_extension(&http);
        let rule = rule.as_message().context("google.api.http is no message")?;
        for rule in std::iter::once(rule).chain(list(rule, "additional_bindings").iter().filter_map(Value::as_message))
        {
            found.push(Binding::new(rule, &method).with_context(|| format!("the binding of {}", method.full_name()))?);
        }
    }
    Ok(found)
}

impl Binding {
    fn new(rule: &DynamicMessage, method: &MethodDescriptor) -> Result<Self> {
        if method.is_client_streaming() {
            bail!("a client stream has no REST form");
        }
        if !text(rule, "response_body").is_empty() {
            bail!("response_body is not supported");
        }
        let (verb, path) = pattern(rule).context("there is no method")?;
        let template = Template::parse(&path).map_err(|error| anyhow!("{path}: {error}"))?;
        let input = method.input();
        let variables = template.fields().map(|field| resolve(&input, field)).collect::<Result<_>>()?;
        let grpc_path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        Ok(Self {
            method: Method::from_bytes(verb.as_bytes())?,
            variables,
            body: Payload::new(&text(rule, "body"), &input)?,
            reply: match method.output().full_name() {
                "google.api.HttpBody" => Reply::Raw,
                _ => Reply::Json(Arc::new(Layout::new(&method.output()))),
            },
            rpc: rpc::find(&grpc_path).context("the pipeline does not know this RPC")?,
            uri: grpc_path.parse()?,
            descriptor: method.clone(),
            template,
        })
    }
}

impl Payload {
    fn new(body: &str, input: &MessageDescriptor) -> Result<Self> {
        Ok(match body {
            "" => Self::Nothing,
            "*" => Self::Everything,
            name => {
                let field = field(input, name)?;
                let kind = field.kind();
                let message = kind.as_message().filter(|_| !field.is_map()).context("the body is no message")?.clone();
                Self::Field(field, message)
            }
        })
    }
}

/// The method and path of a rule.
fn pattern(rule: &DynamicMessage) -> Option<(String, String)> {
    let standard = ["get", "put", "post", "delete", "patch"].into_iter().find(|verb| rule.has_field_by_name(verb));
    if let Some(verb) = standard {
        return Some((verb.to_ascii_uppercase(), text(rule, verb)));
    }
    let custom = rule.get_field_by_name("custom")?;
    let custom = custom.as_message()?;
    Some((text(custom, "kind"), text(custom, "path")))
}

/// The fields along a dotted path of proto names.
fn resolve(message: &MessageDescriptor, path: &str) -> Result<Vec<FieldDescriptor>> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for name in path.split('.') {
        let next = match fields.last() {
            None => field(message, name)?,
            Some(parent) => field(parent.kind().as_message().context("a scalar has no fields")?, name)?,
        };
        fields.push(next);
    }
    Ok(fields)
}

fn field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor> {
    message.get_field_by_name(name).with_context(|| format!("{} has no field {name}", message.full_name()))
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn list(message: &DynamicMessage, field: &str) -> Vec<Value> {
    message.get_field_by_name(field).and_then(|value| value.as_list().map(<[_]>::to_vec)).unwrap_or_default()
}
