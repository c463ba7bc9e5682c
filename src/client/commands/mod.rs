//! The commands, one file per noun.
//!
//! Each noun parses its own arguments, calls, and hands messages with their columns to the printer.

use clap::Subcommand;
use prost_types::Timestamp;

use super::{Context, Globals, error::Result};

mod app;
mod app_import;
mod audit;
mod audit_export;
mod login;
mod member;
mod notification;
mod open;
mod password;
mod role;
mod server;
mod session;
mod token;
mod totp;
mod user;
mod wait;
mod workbench;
mod workspace;

/// What the client can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign in to a server, and remember it
    ///
    /// The server and the user name are kept in the current profile (or the one that --profile names), the token in a file
    /// that only you can read. A program signs in with --password-stdin, or uses an API token (`chorus token`) in CHORUS_TOKEN
    /// or --token-file without signing in.
    Login(login::Login),
    /// End the session at the server, and forget it
    Logout(login::Logout),
    /// Show who is signed in
    Whoami,
    /// Change your own password
    ///
    /// All your other sessions end. A password has 12 characters or more and must be hard to guess; a few unrelated words
    /// do well.
    Password(password::Password),
    /// Set up your second factor: one-time codes of an authenticator app
    #[command(subcommand)]
    Totp(totp::Command),
    /// Manage user accounts
    ///
    /// A USER is an id, a user name, or @me. Digits only are an id; name:12 is the user named 12.
    #[command(subcommand)]
    User(user::Command),
    /// Manage API tokens for programs
    #[command(subcommand)]
    Token(token::Command),
    /// See roles, grant and revoke them, define roles of your own
    #[command(subcommand)]
    Role(role::Command),
    /// Manage workspaces and their members
    ///
    /// A WORKSPACE is an id, a name or a short name. Digits only are an id; name:12 is the workspace named 12.
    #[command(subcommand)]
    Workspace(workspace::Command),
    /// Manage workbenches (remote desktops), their members and what runs in them
    ///
    /// A WORKBENCH is an id, a name, a short name, or WORKSPACE/NAME. Digits only are an id; name:12 is the workbench named
    /// 12. Looking at workbenches does not start those that were stopped for idleness.
    #[command(subcommand)]
    Workbench(Box<workbench::Command>),
    /// Open the desktop of a workbench in a browser, like `chorus workbench open`
    Open(open::Open),
    /// Manage the catalogue of apps
    ///
    /// An APP is an id or a name. Of a name that several versions of one image share, the newest is meant where that is not
    /// wrong.
    #[command(subcommand)]
    App(Box<app::Command>),
    /// Wait until a workbench or an app instance is as it should be
    Wait(wait::Wait),
    /// See where you are signed in, and end sessions
    ///
    /// A session begins with a sign-in and ends with `chorus logout`, when it is not used, or here. Administrators see and
    /// end those of others.
    #[command(subcommand)]
    Session(session::Command),
    /// Read your notifications
    #[command(subcommand)]
    Notification(notification::Command),
    /// Read the audit trail: who did what, and how it ended
    #[command(subcommand)]
    Audit(Box<audit::Command>),
    /// Ask how the server is
    #[command(subcommand)]
    Server(server::Command),
}

impl Command {
    /// Runs the command.
    pub(super) async fn run(self, globals: &Globals) -> Result<()> {
        match self {
            Self::Login(command) => command.run(globals).await,
            Self::Logout(command) => command.run(globals).await,
            Self::Whoami => login::whoami(&mut Context::open(globals)?).await,
            Self::Password(command) => command.run(&Context::open(globals)?).await,
            Self::Totp(command) => command.run(&mut Context::open(globals)?).await,
            Self::User(command) => command.run(&mut Context::open(globals)?).await,
            Self::Token(command) => command.run(&mut Context::open(globals)?).await,
            Self::Role(command) => command.run(&mut Context::open(globals)?).await,
            Self::Workspace(command) => command.run(&mut Context::open(globals)?).await,
            Self::Workbench(command) => command.run(&mut Context::open(globals)?).await,
            Self::Open(command) => command.run(&mut Context::open(globals)?).await,
            Self::App(command) => command.run(&mut Context::open(globals)?).await,
            Self::Wait(command) => command.run(&mut Context::open(globals)?).await,
            Self::Session(command) => command.run(&mut Context::open(globals)?).await,
            Self::Notification(command) => command.run(&mut Context::open(globals)?).await,
            Self::Audit(command) => command.run(&mut Context::open(globals)?).await,
            Self::Server(command) => command.run(&mut Context::open(globals)?).await,
        }
    }
}

/// Which RPC serves which command, for `docs/api-coverage.md`.
pub const COVERAGE: &[(&str, &str)] = &[
    ("AppInstanceService/CreateAppInstance", "workbench app start"),
    ("AppInstanceService/DeleteAppInstance", "workbench app stop"),
    ("AppInstanceService/GetAppInstance", "workbench app stop"),
    ("AppInstanceService/GetAppInstanceLogs", "workbench app logs"),
    ("AppInstanceService/ListAppInstances", "workbench app list"),
    ("AppInstanceService/RestartAppInstance", "workbench app restart"),
    ("AppInstanceService/UpdateAppInstance", "workbench app stop"),
    ("AppInstanceService/WatchAppInstances", "wait"),
    ("AppInstanceService/WatchAppInstances", "workbench app watch"),
    ("AppService/BulkCreateApps", "app import"),
    ("AppService/CreateApp", "app create"),
    ("AppService/DeleteApp", "app delete"),
    ("AppService/GetApp", "app get"),
    ("AppService/ListApps", "app list"),
    ("AppService/UpdateApp", "app update"),
    ("AuditService/ListActorAudit", "audit list"),
    ("AuditService/ListPlatformAudit", "audit list"),
    ("AuditService/ListUserAudit", "audit list"),
    ("AuditService/ListWorkbenchAudit", "audit list"),
    ("AuditService/ListWorkspaceAudit", "audit list"),
    ("AuthenticationService/Authenticate", "login"),
    ("AuthenticationService/ListSessions", "session list"),
    ("AuthenticationService/Logout", "logout"),
    ("AuthenticationService/RevokeSession", "session revoke"),
    ("AuthenticationService/RevokeSessions", "session revoke"),
    ("AuthorizationService/CreateDynamicRole", "role create"),
    ("AuthorizationService/DeleteDynamicRole", "role delete"),
    ("AuthorizationService/ListPermissions", "role permissions"),
    ("AuthorizationService/ListRoles", "role list"),
    ("AuthorizationService/UpdateDynamicRole", "role update"),
    ("HealthService/GetHealthCheck", "server status"),
    ("HealthService/GetServerStatus", "server status"),
    ("NotificationService/GetNotifications", "notification list"),
    ("NotificationService/MarkNotificationsAsRead", "notification read"),
    ("TokenService/CreateToken", "token create"),
    ("TokenService/ListTokens", "token list"),
    ("TokenService/RevokeToken", "token revoke"),
    ("UserService/CreateServiceAccount", "user create-service"),
    ("UserService/CreateUser", "user create"),
    ("UserService/CreateUserRole", "role grant"),
    ("UserService/DeleteUser", "user delete"),
    ("UserService/DeleteUserRole", "role revoke"),
    ("UserService/EnableTotp", "totp enable"),
    ("UserService/EnableTotp", "totp enroll"),
    ("UserService/GetUser", "user get"),
    ("UserService/GetUserMe", "whoami"),
    ("UserService/ListUsers", "user list"),
    ("UserService/ResetPassword", "user reset-password"),
    ("UserService/ResetTotp", "totp disable"),
    ("UserService/ResetTotp", "totp enroll"),
    ("UserService/UpdatePassword", "password"),
    ("UserService/UpdateUser", "user update"),
    ("WorkbenchService/AddUserRoleInWorkbench", "workbench member add"),
    ("WorkbenchService/CreateStreamTicket", "open"),
    ("WorkbenchService/CreateStreamTicket", "workbench open"),
    ("WorkbenchService/CreateWorkbench", "workbench create"),
    ("WorkbenchService/DeleteWorkbench", "workbench delete"),
    ("WorkbenchService/GetWorkbench", "workbench get"),
    ("WorkbenchService/ListWorkbenches", "workbench list"),
    ("WorkbenchService/RemoveUserFromWorkbench", "workbench member remove"),
    ("WorkbenchService/StartWorkbench", "workbench start"),
    ("WorkbenchService/StopWorkbench", "workbench stop"),
    ("WorkbenchService/UpdateWorkbench", "workbench update"),
    ("WorkbenchService/WatchWorkbenches", "wait"),
    ("WorkbenchService/WatchWorkbenches", "workbench watch"),
    ("WorkspaceService/AddUserRoleInWorkspace", "workspace member add"),
    ("WorkspaceService/CreateWorkspace", "workspace create"),
    ("WorkspaceService/DeleteWorkspace", "workspace delete"),
    ("WorkspaceService/GetWorkspace", "workspace get"),
    ("WorkspaceService/ListPublicWorkspaces", "workspace public"),
    ("WorkspaceService/ListWorkspaces", "workspace list"),
    ("WorkspaceService/RemoveUserFromWorkspace", "workspace member remove"),
    ("WorkspaceService/RemoveUserRoleInWorkspace", "workspace member remove"),
    ("WorkspaceService/UpdateWorkspace", "workspace update"),
];

/// A moment to the second, in UTC.
fn moment(time: Option<&Timestamp>) -> String {
    time.map(|time| Timestamp { nanos: 0, ..*time }.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        _globals: Globals,
        #[command(subcommand)]
        _command: Command,
    }

    const SOURCES: [&str; 23] = [
        include_str!("app.rs"),
        include_str!("app_import.rs"),
        include_str!("audit.rs"),
        include_str!("login.rs"),
        include_str!("member.rs"),
        include_str!("notification.rs"),
        include_str!("open.rs"),
        include_str!("password.rs"),
        include_str!("role/define.rs"),
        include_str!("role/grant.rs"),
        include_str!("role/mod.rs"),
        include_str!("server.rs"),
        include_str!("session.rs"),
        include_str!("token.rs"),
        include_str!("totp.rs"),
        include_str!("user.rs"),
        include_str!("workbench/app.rs"),
        include_str!("workbench/members.rs"),
        include_str!("workbench/mod.rs"),
        include_str!("workbench/watching.rs"),
        include_str!("workspace.rs"),
        include_str!("../resolve/desktops.rs"),
        include_str!("../resolve/mod.rs"),
    ];

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn coverage_names_what_is_called_and_nothing_else() {
        let rpc = regex::Regex::new(r#""([A-Za-z]+Service/[A-Za-z]+)""#).unwrap();
        let called: BTreeSet<_> =
            SOURCES.iter().flat_map(|source| rpc.captures_iter(source).map(|found| found[1].to_owned())).collect();
        let covered: BTreeSet<_> = COVERAGE.iter().map(|(rpc, _)| (*rpc).to_owned()).collect();
        assert_eq!(called, covered);
    }

    #[test]
    fn coverage_names_rpcs_and_commands_that_exist() {
        for (rpc, path) in COVERAGE {
            let (service, method) = rpc.split_once('/').unwrap();
            let service = crate::proto::pool().get_service_by_name(&format!("chorus.v1.{service}")).unwrap();
            assert!(service.methods().any(|m| m.name() == method), "{rpc}");
            let mut command = &Cli::command();
            for name in path.split(' ') {
                command = command.find_subcommand(name).unwrap_or_else(|| panic!("{path}"));
            }
        }
    }

    #[test]
    fn moments_are_to_the_second() {
        let time = Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 };
        assert_eq!(moment(Some(&time)), "2023-11-14T22:13:20Z");
        assert_eq!(moment(None), "");
    }
}
