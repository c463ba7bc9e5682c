//! What the options of the contract say, checked: every name resolves, every RPC is complete.

use std::{collections::BTreeSet, error::Error};

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ReflectMessage, ServiceDescriptor, Value,
};

use crate::catalogue::Permission;

/// The package whose services are served.
pub const PACKAGE: &str = "chorus.v1";
const DEFAULT_MAX_BYTES: u32 = 4 << 20;

pub type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Every service with its RPCs.
pub struct Contract {
    pub services: Vec<Service>,
    pool: DescriptorPool,
}

pub struct Service {
    pub descriptor: ServiceDescriptor,
    pub rpcs: Vec<Rpc>,
}

pub struct Rpc {
    pub descriptor: MethodDescriptor,
    pub public: bool,
    pub planned: bool,
    pub restricted: bool,
    pub session_only: bool,
    pub signs_out: bool,
    pub access: Access,
    pub audit: Audit,
    pub required: Vec<FieldPath>,
    pub ignored: Vec<FieldPath>,
    pub max_bytes: u32,
}

pub enum Access {
    Anyone,
    SignedIn,
    All(Vec<Grant>),
    List { permission: Permission, field: FieldPath, also: Option<Permission> },
    Custom(Vec<Permission>),
}

pub struct Grant {
    pub permission: Permission,
    pub target: Target,
}

pub enum Target {
    None,
    Caller,
    Field(FieldPath),
    Resolver(String),
}

pub struct Audit {
    /// The variant of `When`: `Never`, `Failure` or `Always`.
    pub when: &'static str,
    pub action: String,
    pub workspace: Option<FieldPath>,
    pub workbench: Option<FieldPath>,
    pub user: Option<FieldPath>,
    pub details: Vec<(String, FieldPath)>,
}

/// A dotted path of request fields, resolved.
pub struct FieldPath(pub Vec<FieldDescriptor>);

impl Contract {
    pub fn read(pool: &DescriptorPool) -> Result<Self> {
        let services = pool
            .services()
            .filter(|s| s.package_name() == PACKAGE)
            .map(|descriptor| {
                let rpcs = descriptor
                    .methods()
                    .map(|rpc| Rpc::read(pool, &rpc).map_err(|e| format!("{}: {e}", rpc.full_name()).into()))
                    .collect::<Result<_>>()?;
                Ok(Service { descriptor, rpcs })
            })
            .collect::<Result<_>>()?;
        Ok(Self { services, pool: pool.clone() })
    }

    /// Full names of the messages that hold a field of class SECRET themselves.
    pub fn messages_with_secrets(&self) -> Vec<String> {
        let secret = |f: &FieldDescriptor| {
            let class = self.pool.get_extension_by_name("chorus.v1.field_class");
            class.is_some_and(|c| f.options().get_extension(&c).as_enum_number() == Some(1))
        };
        let messages = self.pool.all_messages().filter(|m| m.package_name() == PACKAGE);
        messages.filter(|m| m.fields().any(|f| secret(&f))).map(|m| m.full_name().to_owned()).collect()
    }

    /// Every message that a request can hold, the requests included.
    pub fn request_messages(&self) -> Vec<MessageDescriptor> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        let mut open: Vec<_> = self.services.iter().flat_map(|s| &s.rpcs).map(|r| r.descriptor.input()).collect();
        while let Some(message) = open.pop() {
            if message.package_name() != PACKAGE || !seen.insert(message.full_name().to_owned()) {
                continue;
            }
            open.extend(message.fields().filter_map(|f| f.kind().as_message().cloned()));
            if !message.is_map_entry() {
                all.push(message);
            }
        }
        all.sort_by(|a, b| a.full_name().cmp(b.full_name()));
        all
    }

    /// The rules of a field, if it has any.
    pub fn rules(&self, field: &FieldDescriptor) -> Result<Option<DynamicMessage>> {
        let extension = self.pool.get_extension_by_name("buf.validate.field").ok_or("buf.validate is not imported")?;
        let options = field.options();
        Ok(options.has_extension(&extension).then(|| options.get_extension(&extension).as_message().cloned()).flatten())
    }
}

impl Rpc {
    fn read(pool: &DescriptorPool, rpc: &MethodDescriptor) -> Result<Self> {
        let options = rpc.options();
        let option = |name: &str| -> Result<Option<Value>> {
            let extension = pool.get_extension_by_name(name).ok_or(format!("{name} is not declared"))?;
            Ok(options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned()))
        };
        let flag = |name: &str| Ok::<_, Box<dyn Error>>(option(name)?.and_then(|v| v.as_bool()).unwrap_or_default());
        let message = |name: &str| Ok::<_, Box<dyn Error>>(option(name)?.and_then(|v| v.as_message().cloned()));

        if rpc.is_client_streaming() {
            return Err("client streaming has no pipeline".into());
        }
        let input = rpc.input();
        let access = message("chorus.v1.access")?.ok_or("an RPC needs (chorus.v1.access)")?;
        let audit = message("chorus.v1.audit")?.ok_or("an RPC needs (chorus.v1.audit)")?;
        let request = message("chorus.v1.request")?;
        let paths = |name: &str| -> Result<Vec<FieldPath>> {
            let list = request.as_ref().map(|r| texts(r, name)).unwrap_or_default();
            list.iter().map(|p| FieldPath::parse(&input, p)).collect()
        };
        let public = flag("chorus.v1.public_endpoint")?;
        let rule = Access::read(&input, &access)?;
        if public != matches!(rule, Access::Anyone) && !(public && matches!(rule, Access::Custom(_))) {
            return Err(
                "public_endpoint goes with the access rule `anyone` or `custom`, and `anyone` only with it".into()
            );
        }
        let planned = flag("chorus.v1.planned")?;
        let option = |name: &str| access.get_field_by_name(name).and_then(|v| v.as_bool()).unwrap_or_default();
        let (restricted, session_only) = (option("restricted_session"), option("session_only"));
        if session_only && public {
            return Err("what visitors may call is open to API tokens too: `session_only` promises too much".into());
        }
        Ok(Self {
            public,
            planned,
            restricted,
            session_only,
            signs_out: option("signs_out"),
            access: rule,
            audit: Audit::read(pool, &input, &audit)?,
            required: paths("required")?,
            ignored: paths("ignored")?,
            max_bytes: match request.as_ref().map_or(0, |r| number(r, "max_bytes")) {
                0 => DEFAULT_MAX_BYTES,
                n => n,
            },
            descriptor: rpc.clone(),
        })
    }
}

impl Access {
    fn read(input: &MessageDescriptor, m: &DynamicMessage) -> Result<Self> {
        let set: Vec<_> =
            m.descriptor().oneofs().flat_map(|o| o.fields().collect::<Vec<_>>()).filter(|f| m.has_field(f)).collect();
        let [rule] = set.as_slice() else { return Err("(chorus.v1.access) needs exactly one rule".into()) };
        let value = m.get_field(rule);
        let inner = || value.as_message().ok_or("not a message");
        Ok(match rule.name() {
            "anyone" => Self::Anyone,
            "signed_in" => Self::SignedIn,
            "permission" => Self::All(vec![Grant::read(input, inner()?)?]),
            "all_of" => {
                let grants = inner()?.get_field_by_name("grants").ok_or("grants")?.into_owned();
                let grants = grants.as_list().unwrap_or_default().iter().filter_map(Value::as_message);
                Self::All(grants.map(|g| Grant::read(input, g)).collect::<Result<_>>()?)
            }
            "list" => Self::List {
                permission: permission(&text(inner()?, "permission"))?,
                field: FieldPath::parse(input, &text(inner()?, "field"))?,
                also: Some(text(inner()?, "also")).filter(|t| !t.is_empty()).map(|t| permission(&t)).transpose()?,
            },
            "custom" => {
                let list = texts(inner()?, "permissions");
                if list.is_empty() {
                    return Err("`custom` names the permissions that it may ask for".into());
                }
                Self::Custom(list.iter().map(|p| permission(p)).collect::<Result<_>>()?)
            }
            other => return Err(format!("access rule `{other}` has no pipeline").into()),
        })
    }
}

impl Grant {
    fn read(input: &MessageDescriptor, m: &DynamicMessage) -> Result<Self> {
        let permission = permission(&text(m, "permission"))?;
        let target = if m.has_field_by_name("field") {
            Target::Field(FieldPath::parse(input, &text(m, "field"))?)
        } else if m.has_field_by_name("self") {
            Target::Caller
        } else if m.has_field_by_name("resolver") {
            Target::Resolver(text(m, "resolver"))
        } else {
            Target::None
        };
        if permission.requires().is_some() == matches!(target, Target::None) {
            return Err(format!("permission `{}` and its context do not fit", permission.name()).into());
        }
        Ok(Self { permission, target })
    }
}

impl Audit {
    fn read(pool: &DescriptorPool, input: &MessageDescriptor, m: &DynamicMessage) -> Result<Self> {
        let number = m.get_field_by_name("when").and_then(|v| v.as_enum_number()).unwrap_or_default();
        let when = match number {
            1 => "Never",
            2 => "Failure",
            3 => "Always",
            _ => return Err("(chorus.v1.audit) needs `when`".into()),
        };
        let action = text(m, "action");
        if (when == "Never") != action.is_empty() {
            return Err("an audited RPC names its action, another has none".into());
        }
        let path = |name: &str| -> Result<Option<FieldPath>> {
            Some(text(m, name)).filter(|t| !t.is_empty()).map(|t| FieldPath::parse(input, &t)).transpose()
        };
        let class = pool.get_extension_by_name("chorus.v1.field_class").ok_or("field_class is not declared")?;
        let mut details = Vec::new();
        let list = m.get_field_by_name("details").map(|v| v.into_owned());
        for detail in list.as_ref().and_then(|v| v.as_list()).unwrap_or_default().iter().filter_map(Value::as_message) {
            let path = FieldPath::parse(input, &text(detail, "field"))?;
            if path.0.iter().any(|f| f.options().get_extension(&class).as_enum_number() == Some(1)) {
                return Err(format!("`{}` is secret and cannot be audited", text(detail, "field")).into());
            }
            details.push((text(detail, "key"), path));
        }
        Ok(Self {
            when,
            action,
            workspace: path("workspace")?,
            workbench: path("workbench")?,
            user: path("user")?,
            details,
        })
    }
}

impl FieldPath {
    fn parse(input: &MessageDescriptor, path: &str) -> Result<Self> {
        let mut message = Some(input.clone());
        let mut fields = Vec::new();
        for name in path.split('.') {
            let field = message.and_then(|m| m.get_field_by_name(name)).ok_or(format!("no request field `{path}`"))?;
            message = field.kind().as_message().filter(|_| !field.is_list() && !field.is_map()).cloned();
            fields.push(field);
        }
        Ok(Self(fields))
    }

    /// The path in JSON names, as errors show it.
    pub fn json(&self) -> String {
        self.0.iter().map(|f| f.json_name().to_owned()).collect::<Vec<_>>().join(".")
    }

    /// The last field of the path.
    pub fn last(&self) -> &FieldDescriptor {
        &self.0[self.0.len() - 1]
    }

    /// An expression of type `Option<&T>` for the field in `q`, where T is the field's Rust type without `Option`.
    pub fn reference(&self) -> String {
        let mut expression = "Some(q)".to_owned();
        for field in &self.0 {
            let ident = ident(field);
            expression = if is_option(field) {
                format!("{expression}.and_then(|m| m.{ident}.as_ref())")
            } else {
                format!("{expression}.map(|m| &m.{ident})")
            };
        }
        expression
    }
}

/// Whether the field is an `Option` in Rust.
pub fn is_option(field: &FieldDescriptor) -> bool {
    let plain_message = matches!(field.kind(), Kind::Message(_)) && field.cardinality() != Cardinality::Repeated;
    plain_message || (field.supports_presence() && field.cardinality() != Cardinality::Repeated)
}

/// The Rust name of the field.
pub fn ident(field: &FieldDescriptor) -> String {
    match field.name().to_snake_case().as_str() {
        word @ ("type" | "move" | "ref" | "match" | "use" | "in" | "as") => format!("r#{word}"),
        name => name.to_owned(),
    }
}

/// The Rust name of an RPC's function.
pub fn function(rpc: &MethodDescriptor) -> String {
    rpc.name().to_snake_case()
}

/// The Rust path of a message or enum.
pub fn rust_type(full_name: &str) -> String {
    match full_name {
        "google.protobuf.Empty" => "()".to_owned(),
        "google.api.HttpBody" => "crate::proto::google::api::HttpBody".to_owned(),
        name => {
            let local = name.strip_prefix("chorus.v1.").unwrap_or(name);
            let parts: Vec<_> = local.split('.').collect();
            let (last, outer) = (parts[parts.len() - 1], &parts[..parts.len() - 1]);
            let outer: String = outer.iter().map(|p| format!("{}::", p.to_snake_case())).collect();
            format!("crate::proto::v1::{outer}{}", last.to_upper_camel_case())
        }
    }
}

fn permission(name: &str) -> Result<Permission> {
    Permission::parse(name).ok_or_else(|| format!("no permission `{name}`").into())
}

/// A string field of an option; empty when absent.
pub fn text(m: &DynamicMessage, name: &str) -> String {
    m.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn texts(m: &DynamicMessage, name: &str) -> Vec<String> {
    let list = m.get_field_by_name(name).map(|v| v.into_owned());
    let list = list.as_ref().and_then(|v| v.as_list()).unwrap_or_default();
    list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn number(m: &DynamicMessage, name: &str) -> u32 {
    m.get_field_by_name(name).and_then(|v| v.as_u32()).unwrap_or_default()
}
