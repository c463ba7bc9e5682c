//! The contract as the tests read it: from the descriptors by reflection, independently of what the build makes of them.

use chorus::proto;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, ReflectMessage, Value};

/// The package of the contract.
pub const PACKAGE: &str = "chorus.v1";

/// One RPC with its options.
#[derive(Debug, Clone)]
pub struct Rpc {
    /// `UserService`.
    pub service: String,
    /// `GetUser`.
    pub name: String,
    /// The descriptor.
    pub descriptor: MethodDescriptor,
    /// REST bindings, the main one first.
    pub http: Vec<Binding>,
    /// Open to visitors.
    pub public: bool,
    /// Declared, not built.
    pub planned: bool,
    /// Open to sessions that have to change a temporary password first.
    pub restricted: bool,
    /// Closed to API tokens.
    pub session_only: bool,
    /// Who may call; none when the option is missing or has not exactly one rule.
    pub access: Option<Access>,
    /// What is recorded; none when the option is missing.
    pub audit: Option<Audit>,
    /// Fields that must not be empty.
    pub required: Vec<String>,
    /// Fields that are cleared.
    pub ignored: Vec<String>,
}

/// A REST binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `GET`.
    pub verb: String,
    /// `/api/rest/v1/users/{id}`.
    pub path: String,
    /// `*`, a field, or nothing.
    pub body: String,
}

/// An access rule.
#[derive(Debug, Clone)]
pub enum Access {
    Anyone,
    SignedIn,
    /// All of these.
    Grants(Vec<Grant>),
    List {
        permission: String,
        field: String,
        also: Option<String>,
    },
    /// The handler may ask for these.
    Custom(Vec<String>),
}

/// A permission and where its context comes from.
#[derive(Debug, Clone)]
pub struct Grant {
    pub permission: String,
    pub context: Context,
}

/// Where the context of a permission comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    None,
    Caller,
    Field(String),
    Resolver(String),
}

/// What is recorded of a call.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The number of `When`: 1 never, 2 on failure, 3 always.
    pub when: i32,
    /// The name of the action.
    pub action: String,
    /// Key and field of each detail.
    pub details: Vec<(String, String)>,
    /// The fields of the subjects: workspace, workbench, user.
    pub subjects: Vec<String>,
}

/// Every RPC of the contract, by service and in the order of the files.
pub fn rpcs() -> Vec<Rpc> {
    let services = proto::pool().services().filter(|s| s.package_name() == PACKAGE);
    let mut all: Vec<Rpc> = services.flat_map(|s| s.methods().map(Rpc::read).collect::<Vec<_>>()).collect();
    all.sort_by(|a, b| a.service.cmp(&b.service));
    assert!(!all.is_empty(), "no service in the descriptors");
    all
}

/// The field at a dotted path, if every step of it exists and all but the last are single messages.
pub fn field_at(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let field = message.get_field_by_name(first)?;
    match rest {
        None => Some(field),
        Some(_) if field.is_list() || field.is_map() => None,
        Some(rest) => field_at(field.kind().as_message()?, rest),
    }
}

/// The class of a field: 0 nothing special, 1 secret, 2 personal.
pub fn class(field: &FieldDescriptor) -> i32 {
    let extension = proto::pool().get_extension_by_name("chorus.v1.field_class").unwrap();
    field.options().get_extension(&extension).as_enum_number().unwrap()
}

impl Rpc {
    /// `UserService/GetUser`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.service, self.name)
    }

    /// Whether a call can end the session that it was made with, so that whatever comes after is refused.
    pub fn signs_out(&self) -> bool {
        ["Logout", "RevokeSessions"].contains(&self.name.as_str())
    }

    fn read(descriptor: MethodDescriptor) -> Self {
        let flag = |name| option(&descriptor, name).and_then(|v| v.as_bool()).unwrap_or_default();
        let message = |name| option(&descriptor, name).and_then(|v| v.as_message().cloned());
        let access_flag =
            |name| message("chorus.v1.access").is_some_and(|m| m.get_field_by_name(name).unwrap().as_bool().unwrap());
        let request = message("chorus.v1.request");
        let paths = |name| request.as_ref().map(|r| texts(r, name)).unwrap_or_default();
        Self {
            service: descriptor.parent_service().name().to_owned(),
            name: descriptor.name().to_owned(),
            http: message("google.api.http").map(|rule| bindings(&rule)).unwrap_or_default(),
            public: flag("chorus.v1.public_endpoint"),
            planned: flag("chorus.v1.planned"),
            restricted: access_flag("restricted_session"),
            session_only: access_flag("session_only"),
            access: message("chorus.v1.access").and_then(|m| Access::read(&m)),
            audit: message("chorus.v1.audit").map(|m| Audit::read(&m)),
            required: paths("required"),
            ignored: paths("ignored"),
            descriptor,
        }
    }
}

impl Access {
    fn read(m: &DynamicMessage) -> Option<Self> {
        let rules = m.descriptor().oneofs().next()?;
        let rule = rules.fields().find(|f| m.has_field(f))?;
        let value = m.get_field(&rule);
        let inner = || value.as_message().unwrap();
        Some(match rule.name() {
            "anyone" => Self::Anyone,
            "signed_in" => Self::SignedIn,
            "permission" => Self::Grants(vec![Grant::read(inner())]),
            "all_of" => Self::Grants(messages(inner(), "grants").iter().map(Grant::read).collect()),
            "list" => Self::List {
                permission: text(inner(), "permission"),
                field: text(inner(), "field"),
                also: Some(text(inner(), "also")).filter(|also| !also.is_empty()),
            },
            "custom" => Self::Custom(texts(inner(), "permissions")),
            other => panic!("access rule `{other}` is not known to the tests"),
        })
    }
}

impl Grant {
    fn read(m: &DynamicMessage) -> Self {
        let context = match () {
            () if m.has_field_by_name("field") => Context::Field(text(m, "field")),
            () if m.has_field_by_name("self") => Context::Caller,
            () if m.has_field_by_name("resolver") => Context::Resolver(text(m, "resolver")),
            () => Context::None,
        };
        Self { permission: text(m, "permission"), context }
    }
}

impl Audit {
    fn read(m: &DynamicMessage) -> Self {
        Self {
            when: m.get_field_by_name("when").unwrap().as_enum_number().unwrap(),
            action: text(m, "action"),
            details: messages(m, "details").iter().map(|d| (text(d, "key"), text(d, "field"))).collect(),
            subjects: ["workspace", "workbench", "user"]
                .map(|name| text(m, name))
                .into_iter()
                .filter(|p| !p.is_empty())
                .collect(),
        }
    }
}

fn bindings(rule: &DynamicMessage) -> Vec<Binding> {
    let verb = ["get", "put", "post", "delete", "patch"].into_iter().find(|verb| rule.has_field_by_name(verb));
    let (verb, path) = match verb {
        Some(verb) => (verb.to_uppercase(), text(rule, verb)),
        None => {
            let custom = rule.get_field_by_name("custom").unwrap();
            (text(custom.as_message().unwrap(), "kind"), text(custom.as_message().unwrap(), "path"))
        }
    };
    let mut all = vec![Binding { verb, path, body: text(rule, "body") }];
    all.extend(messages(rule, "additional_bindings").iter().flat_map(bindings));
    all
}

fn option(rpc: &MethodDescriptor, name: &str) -> Option<Value> {
    let extension = proto::pool().get_extension_by_name(name).unwrap();
    let options = rpc.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn text(m: &DynamicMessage, name: &str) -> String {
    m.get_field_by_name(name).unwrap().as_str().unwrap().to_owned()
}

fn texts(m: &DynamicMessage, name: &str) -> Vec<String> {
    m.get_field_by_name(name).unwrap().as_list().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn messages(m: &DynamicMessage, name: &str) -> Vec<DynamicMessage> {
    m.get_field_by_name(name).unwrap().as_list().unwrap().iter().map(|v| v.as_message().unwrap().clone()).collect()
}
