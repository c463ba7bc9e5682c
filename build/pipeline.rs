//! Emits the pipeline of every RPC: a table of all RPCs, per service the trait that its handlers implement, and the gRPC
//! service that reaches a handler only through `Gate`.

use std::fmt::Write;

use prost_reflect::Kind;

use crate::contract::{Access, Contract, FieldPath, Grant, Result, Rpc, Service, Target, function, ident, rust_type};

pub fn emit(contract: &Contract) -> Result<String> {
    let mut table = String::new();
    let mut code = String::new();
    let mut index = 0;
    for service in &contract.services {
        for rpc in &service.rpcs {
            table += &table_row(service, rpc);
            code += &plan(service, rpc, index)?;
            index += 1;
        }
        code += &handlers(service)?;
        code += &guard(service)?;
    }
    Ok(format!("/// Every RPC of the contract.\npub static RPCS: [Rpc; {index}] = [\n{table}];\n\n{code}"))
}

fn table_row(service: &Service, rpc: &Rpc) -> String {
    let name = format!("{}/{}", service.descriptor.name(), rpc.descriptor.name());
    format!(
        "    Rpc {{ name: {name:?}, path: \"/{}/{}\", public: {}, planned: {}, restricted: {}, session_only: {}, signs_out: {}, \
         streaming: {}, max_bytes: {}, \
         audit: When::{}, action: {:?} }},\n",
        service.descriptor.full_name(),
        rpc.descriptor.name(),
        rpc.public,
        rpc.planned,
        rpc.restricted,
        rpc.session_only,
        rpc.signs_out,
        rpc.descriptor.is_server_streaming(),
        rpc.max_bytes,
        rpc.audit.when,
        rpc.audit.action,
    )
}

/// What the pipeline needs to know of one RPC, as plain functions over its request.
fn plan(service: &Service, rpc: &Rpc, index: usize) -> Result<String> {
    let input = rust_type(rpc.descriptor.input().full_name());
    let mut clear = String::new();
    for path in &rpc.ignored {
        clear += &clear_field(path);
    }
    let mut required = String::new();
    for path in &rpc.required {
        writeln!(required, "        if {} {{ v.add({:?}, \"required\"); }}", is_empty(path)?, path.json())?;
    }
    let mut subjects = String::new();
    for (name, path) in
        [("workspace", &rpc.audit.workspace), ("workbench", &rpc.audit.workbench), ("user", &rpc.audit.user)]
    {
        if let Some(path) = path {
            writeln!(subjects, "        s.{name} = id({});", path.reference())?;
        }
    }
    for (key, path) in &rpc.audit.details {
        writeln!(subjects, "        if let Some(x) = {} {{ s.{}; }}", path.reference(), detail(key, path)?)?;
    }
    Ok(format!(
        "static {}: Plan<{input}> = Plan {{\n    rpc: &RPCS[{index}],\n    clear: |q| {{\n{clear}    }},\n    required: |q, v| {{\n{required}    \
         }},\n    check: {},\n    subjects: |q, s| {{\n{subjects}    }},\n}};\n",
        constant(service, rpc),
        if input == "()" { "|_, _| {}" } else { "Check::check" },
    ))
}

fn clear_field(path: &FieldPath) -> String {
    let (last, outer) = (path.last(), &path.0[..path.0.len() - 1]);
    let mut open = String::new();
    let mut place = "q".to_owned();
    for (depth, field) in outer.iter().enumerate() {
        write!(open, "if let Some(m{depth}) = {place}.{}.as_mut() {{ ", ident(field)).ok();
        place = format!("m{depth}");
    }
    format!("        {open}{place}.{} = Default::default();{}\n", ident(last), " }".repeat(outer.len()))
}

/// An expression that is true when the field is empty.
fn is_empty(path: &FieldPath) -> Result<String> {
    let last = path.last();
    let reference = path.reference();
    Ok(match last.kind() {
        _ if last.is_list() || last.is_map() => format!("{reference}.is_none_or(|x| x.is_empty())"),
        Kind::Message(_) => format!("{reference}.is_none()"),
        Kind::String | Kind::Bytes => format!("{reference}.is_none_or(|x| x.is_empty())"),
        Kind::Uint64 | Kind::Uint32 | Kind::Enum(_) => format!("{reference}.is_none_or(|x| *x == 0)"),
        other => return Err(format!("a field of type {other:?} cannot be required").into()),
    })
}

/// A call that notes the detail in `x`.
fn detail(key: &str, path: &FieldPath) -> Result<String> {
    let last = path.last();
    Ok(match last.kind() {
        Kind::Message(_) => return Err("a message cannot be a detail; name its fields".into()),
        _ if last.is_list() => format!("detail_list({key:?}, x)"),
        Kind::String => format!("detail({key:?}, x)"),
        Kind::Uint64 | Kind::Uint32 | Kind::Bool => format!("detail({key:?}, &x.to_string())"),
        other => return Err(format!("a field of type {other:?} cannot be a detail").into()),
    })
}

/// The trait that the service's room implements: one function per RPC that is built.
fn handlers(service: &Service) -> Result<String> {
    let mut functions = String::new();
    let mut resolvers = std::collections::BTreeSet::new();
    for rpc in service.rpcs.iter().filter(|r| !r.planned) {
        let arguments = match rpc.access {
            Access::Custom(_) => "call: Pending",
            Access::List { .. } => "call: Authorized, visible: Visible",
            _ => "call: Authorized",
        };
        let output = rust_type(rpc.descriptor.output().full_name());
        let output = if rpc.descriptor.is_server_streaming() { format!("Items<{output}>") } else { output };
        writeln!(
            functions,
            "    /// {}\n    fn {}(&self, {arguments}, request: {}) -> impl Future<Output = Result<{output}>> + Send;",
            rpc.descriptor.full_name(),
            function(&rpc.descriptor),
            rust_type(rpc.descriptor.input().full_name()),
        )?;
        if let Access::All(grants) = &rpc.access {
            resolvers.extend(grants.iter().filter_map(|g| match &g.target {
                Target::Resolver(name) => Some(name.clone()),
                _ => None,
            }));
        }
    }
    for name in resolvers {
        writeln!(
            functions,
            "    /// Reads the id that the access rule needs from the stored row; a row of another tenant is not found.\n    \
             fn {name}(&self, caller: &Caller, id: u64) -> impl Future<Output = Result<i64>> + Send;"
        )?;
    }
    Ok(format!(
        "/// What answers the RPCs of {0}.\npub trait {1}: Send + Sync + 'static {{\n{functions}}}\n",
        service.descriptor.full_name(),
        trait_name(service)
    ))
}

fn guard(service: &Service) -> Result<String> {
    let name = service.descriptor.name();
    let module = format!("crate::proto::v1::{}_server", heck::ToSnakeCase::to_snake_case(name));
    let (handlers, guard) = (trait_name(service), format!("{name}Guard"));
    let mut methods = String::new();
    for rpc in &service.rpcs {
        methods += &method(service, rpc)?;
    }
    let max_bytes = service.rpcs.iter().map(|r| r.max_bytes).max().unwrap_or_default();
    Ok(format!(
        "/// {full}, reachable only through the gate.\npub struct {guard}<H> {{ gate: Arc<Gate>, handlers: Arc<H> }}\n\
         impl<H: {handlers}> {guard}<H> {{\n    /// The gRPC service.\n    pub fn server(gate: &Arc<Gate>, handlers: H) -> \
         {module}::{name}Server<Self> {{\n        \
         {module}::{name}Server::new(Self {{ gate: gate.clone(), handlers: Arc::new(handlers) }}).max_decoding_message_size({max_bytes})\n    }}\n}}\n\
         #[tonic::async_trait]\nimpl<H: {handlers}> {module}::{name} for {guard}<H> {{\n{methods}}}\n",
        full = service.descriptor.full_name(),
    ))
}

fn method(service: &Service, rpc: &Rpc) -> Result<String> {
    let function = function(&rpc.descriptor);
    let input = rust_type(rpc.descriptor.input().full_name());
    let output = rust_type(rpc.descriptor.output().full_name());
    let plan = constant(service, rpc);
    let stream = rpc.descriptor.is_server_streaming();
    let reply = if stream { format!("Replies<{output}>") } else { output.clone() };
    let rule = rule(rpc);
    let kind = if stream { "stream" } else { "unary" };
    // nothing stored is read for an RPC without a room
    let body = match &rpc.access {
        _ if rpc.planned => format!("arrived.not_built({rule})"),
        Access::Custom(_) => {
            format!("let (call, q) = arrived.pending({})?; h.{function}(call, q).await", permissions(rpc))
        }
        Access::List { .. } => {
            format!("let (call, visible, q) = arrived.admit_list({rule})?; h.{function}(call, visible, q).await")
        }
        _ if has_resolver(rpc) => format!(
            "let (caller, q) = (arrived.caller().clone(), arrived.request()); let needs = {}; \
             let (call, q) = arrived.admit_by(needs)?; h.{function}(call, q).await",
            resolved(rpc)
        ),
        _ => format!("let (call, q) = arrived.admit({rule})?; h.{function}(call, q).await"),
    };
    let call = format!(
        "let h = self.handlers.clone();\n        self.gate.{kind}(&{plan}, request, move |arrived| async move {{ {body} }}).await"
    );
    let associated = match stream {
        true => format!(
            "    type {}Stream = Replies<{output}>;\n",
            heck::ToUpperCamelCase::to_upper_camel_case(rpc.descriptor.name())
        ),
        false => String::new(),
    };
    Ok(format!(
        "{associated}    async fn {function}(&self, request: tonic::Request<{input}>) -> Result<tonic::Response<{reply}>, tonic::Status> {{\n        {call}\n    }}\n"
    ))
}

/// The access rule as an expression. As far as the request alone tells: a rule by a stored row leaves the decision for
/// later, as a custom one does.
fn rule(rpc: &Rpc) -> String {
    match &rpc.access {
        Access::Anyone => "&Rule::Anyone".to_owned(),
        Access::SignedIn => "&Rule::SignedIn".to_owned(),
        Access::All(_) if has_resolver(rpc) => format!("&Rule::Custom({})", permissions(rpc)),
        Access::All(grants) => format!("&Rule::All(&[{}])", grants.iter().map(need).collect::<String>()),
        Access::List { permission, field, also } => format!(
            "&Rule::List {{ permission: Permission::{}, ids: |q| {}.map(|x| x.as_slice()).unwrap_or_default(), also: {} }}",
            permission.variant_name(),
            field.reference(),
            also.map_or("None".to_owned(), |p| format!("Some(Permission::{})", p.variant_name())),
        ),
        Access::Custom(_) => format!("&Rule::Custom({})", permissions(rpc)),
    }
}

/// The permissions that a rule may ask for, as an expression.
fn permissions(rpc: &Rpc) -> String {
    let permissions: Vec<_> = match &rpc.access {
        Access::Custom(permissions) => permissions.clone(),
        Access::All(grants) => grants.iter().map(|grant| grant.permission).collect(),
        Access::Anyone | Access::SignedIn | Access::List { .. } => Vec::new(),
    };
    format!("&[{}]", permissions.iter().map(|p| format!("Permission::{}, ", p.variant_name())).collect::<String>())
}

fn need(grant: &Grant) -> String {
    let target = match &grant.target {
        Target::None => "TargetOf::None".to_owned(),
        Target::Caller => "TargetOf::Caller".to_owned(),
        Target::Field(path) => format!("TargetOf::Field(|q| {}.copied().unwrap_or_default())", path.reference()),
        Target::Resolver(name) => format!("TargetOf::{name}"), // never emitted: such rules go through `resolved`
    };
    format!("Need {{ permission: Permission::{}, target: {target} }}, ", grant.permission.variant_name())
}

/// The body that turns a rule with resolvers into needs with known ids.
fn resolved(rpc: &Rpc) -> String {
    let Access::All(grants) = &rpc.access else { return String::new() };
    let needs: String = grants
        .iter()
        .map(|g| {
            let permission = format!("Permission::{}", g.permission.variant_name());
            match &g.target {
                Target::None => format!("({permission}, Wanted::Nothing), "),
                Target::Caller => format!("({permission}, Wanted::Caller), "),
                Target::Field(path) => {
                    format!("({permission}, Wanted::Id(id({}).unwrap_or_default())), ", path.reference())
                }
                Target::Resolver(name) => format!("({permission}, Wanted::Id(h.{name}(&caller, q.id).await?)), "),
            }
        })
        .collect();
    format!("vec![{needs}]")
}

fn has_resolver(rpc: &Rpc) -> bool {
    matches!(&rpc.access, Access::All(grants) if grants.iter().any(|g| matches!(g.target, Target::Resolver(_))))
}

fn constant(service: &Service, rpc: &Rpc) -> String {
    use heck::ToShoutySnakeCase;
    format!("{}_{}", service.descriptor.name().to_shouty_snake_case(), rpc.descriptor.name().to_shouty_snake_case())
}

fn trait_name(service: &Service) -> String {
    let name = service.descriptor.name();
    format!("{}Handlers", name.strip_suffix("Service").unwrap_or(name))
}
