//! Who calls, and the things that the calls are about.

use std::fmt;

use super::roles::{Binding, Matrix, Role};
use crate::support::server::{Person, TestServer};

/// Who calls.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// Nobody is signed in.
    Visitor,
    /// Signed in, without any role.
    NoRole,
    /// With one role, bound to what the calls are about, or to something else.
    Holder { role: &'a Role, right: bool },
    /// The SuperAdmin, with a temporary password.
    Restricted { role: &'a Role },
    /// The SuperAdmin of another tenant.
    Foreigner { role: &'a Role },
}

/// A subject in a scene of its own, so that calls of others cannot disturb it.
pub struct Scene<'a> {
    pub subject: Subject<'a>,
    /// None for a visitor.
    pub caller: Option<Person>,
    /// What the role is bound to.
    pub binding: Binding,
    /// The workspace that the calls are about.
    pub workspace: i64,
    /// The workbench that the calls are about.
    pub workbench: i64,
    /// The user whom the calls are about, unless it is the caller.
    pub other: Person,
    /// A role of the platform that somebody defined.
    pub platform_role: String,
    /// A role that somebody defined for the workspace that the calls are about.
    pub workspace_role: String,
    /// An API token of that user.
    pub token: i64,
    /// An app instance in the workbench.
    pub app_instance: i64,
}

impl<'a> Subject<'a> {
    /// Everybody there is.
    pub fn all(matrix: &'a Matrix) -> Vec<Self> {
        let admin = matrix.role("SuperAdmin");
        let holders = matrix.roles.iter().flat_map(|role| [true, false].map(|right| Self::Holder { role, right }));
        let others = [Self::Visitor, Self::NoRole, Self::Restricted { role: admin }, Self::Foreigner { role: admin }];
        others.into_iter().chain(holders).collect()
    }

    /// The role, if any.
    pub fn role(&self) -> Option<&'a Role> {
        match self {
            Self::Visitor | Self::NoRole => None,
            Self::Holder { role, .. } | Self::Restricted { role } | Self::Foreigner { role } => Some(role),
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Visitor => write!(f, "a visitor"),
            Self::NoRole => write!(f, "a user without role"),
            Self::Holder { role, right: true } => write!(f, "{}", role.name),
            Self::Holder { role, right: false } => write!(f, "{} of something else", role.name),
            Self::Restricted { .. } => write!(f, "SuperAdmin with a temporary password"),
            Self::Foreigner { .. } => write!(f, "SuperAdmin of another tenant"),
        }
    }
}

impl<'a> Scene<'a> {
    /// Sets the scene.
    pub async fn new(server: &TestServer, foreign: i64, subject: Subject<'a>) -> Self {
        let other = server.stranger(server.tenant, &[]).await;
        let token = server.api_token(&other, &[]).await.id;
        let workspace = server.workspace(&server.admin, "Atlas").await;
        let elsewhere = server.workspace(&server.admin, "Elsewhere").await;
        let workbench = server.workbench(&server.admin, workspace, "Desk").await;
        let other_workbench = server.workbench(&server.admin, elsewhere, "Desk").await;
        let app = server.app(&server.admin, "RStudio", "apps/rstudio", "4.4").await;
        let app_instance = server.app_instance(&server.admin, workbench, app).await;

        let (platform_role, workspace_role) = (format!("Inviter {workspace}"), format!("Reader {workspace}"));
        server.role(server.tenant, &platform_role, None, &["listUsers"]).await;
        server.role(server.tenant, &workspace_role, Some(workspace), &["getWorkspace", "listUsers"]).await;

        let bind = |right: bool, own: i64| -> Binding {
            let role = subject.role().into_iter();
            let bound = role.flat_map(|role| &role.context).map(|(dimension, quantifier)| {
                let id = match (dimension.as_str(), right) {
                    ("workspace", true) => workspace,
                    ("workspace", false) => elsewhere,
                    ("workbench", true) => workbench,
                    ("workbench", false) => other_workbench,
                    ("user", true) => own,
                    ("user", false) => server.admin.id,
                    (unknown, _) => panic!("no dimension {unknown}"),
                };
                let all = right && quantifier == "*";
                (dimension.clone(), if all { "*".to_owned() } else { id.to_string() })
            });
            bound.collect()
        };
        let (caller, binding) = match subject {
            Subject::Visitor => (None, Binding::new()),
            Subject::NoRole => (Some(server.stranger(server.tenant, &[]).await), Binding::new()),
            Subject::Holder { role, right } => {
                let person = server.stranger(server.tenant, &[]).await;
                let binding = bind(right, person.id);
                give(server, &person, role, &binding).await;
                (Some(person), binding)
            }
            Subject::Restricted { role } => {
                let person = server.restricted(&[]).await;
                let binding = bind(true, person.id);
                give(server, &person, role, &binding).await;
                (Some(person), binding)
            }
            Subject::Foreigner { role } => {
                let person = server.stranger(foreign, &[]).await;
                let binding = bind(true, person.id);
                give(server, &person, role, &binding).await;
                (Some(person), binding)
            }
        };
        Self {
            subject,
            caller,
            binding,
            workspace,
            workbench,
            other,
            platform_role,
            workspace_role,
            token,
            app_instance,
        }
    }

    /// The caller's id; 0 for a visitor.
    pub fn own_id(&self) -> i64 {
        self.caller.as_ref().map_or(0, |person| person.id)
    }

    /// The id of the thing of this dimension that the calls are about.
    pub fn target(&self, dimension: &str) -> i64 {
        match dimension {
            "workspace" => self.workspace,
            "workbench" => self.workbench,
            "user" => self.other.id,
            unknown => panic!("no dimension {unknown}"),
        }
    }
}

async fn give(server: &TestServer, person: &Person, role: &Role, binding: &Binding) {
    let context: Vec<_> = binding.iter().map(|(dimension, value)| (dimension.as_str(), value.as_str())).collect();
    server.give(person, &[(&role.name, &context)]).await;
}
