//! `chorus user`: accounts.
//!
//! An update replaces the whole account at the server, so it is read first and only what the flags name is changed.

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};
use rand::{TryRng, rngs::SysRng};
use secrecy::{ExposeSecret as _, SecretString};

use super::moment;
use crate::{
    client::{
        Context, connect,
        error::{Error, Result},
        output::{Column, Format, Resource, say},
        paging::Paging,
        prompt,
        resolve::{self, Reference},
    },
    proto::v1::{
        CreateServiceAccountRequest, DeleteUserRequest, GetUserRequest, ListUsersRequest, ResetPasswordRequest,
        ResetPasswordResult, Role, User, UserFilter,
    },
};

/// `chorus user`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List users
    List(List),
    /// Show one user
    Get(One),
    /// Create a user
    ///
    /// The password is asked for on a terminal. Programs give it on standard input, or have one made.
    Create(Create),
    /// Create a service account, for programs
    ///
    /// It has no password and nobody signs in as it. It gets roles like any user, and acts through API tokens: see
    /// `chorus token create --user`.
    CreateService(CreateService),
    /// Change names, e-mail address or status of a user
    Update(Update),
    /// Delete a user: sessions end, roles are taken away, the account cannot come back
    Delete(Delete),
    /// Lock a user out; sessions end at once
    Disable(One),
    /// Let a disabled user sign in again
    Enable(One),
    /// Give a user a temporary password, and turn the second factor off
    ResetPassword(One),
}

/// The user to act on.
#[derive(Debug, Args)]
pub struct One {
    /// Id, user name, or @me
    user: Reference,
}

/// `chorus user list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus user list --search ada
  chorus user list --workspace genomics --sort username
  chorus user list --sort createdat --desc --limit 10
  chorus user list -o json | jq -r '.[].username'")]
pub struct List {
    /// Only users whose names contain this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only members of this workspace; may be repeated
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Vec<Reference>,
    /// Only members of this workbench: id, name, or WORKSPACE/NAME; may be repeated
    #[arg(long, value_name = "WORKBENCH")]
    workbench: Vec<Reference>,
    /// Only the user with this id; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<u64>,
    /// Field to sort by
    #[arg(long, default_value = "id", value_name = "FIELD", ignore_case = true, value_parser = PossibleValuesParser::new(
        ["id", "username", "firstname", "lastname", "email", "status", "createdat"]
    ))]
    sort: String,
    #[command(flatten)]
    paging: Paging,
}

/// `chorus user create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus user create ada --first-name Ada --last-name Lovelace --email ada@example.org
  chorus user create ada --first-name Ada --last-name Lovelace --password-stdin < password.txt
  chorus user create ada --first-name Ada --last-name Lovelace --generate-password -o json")]
pub struct Create {
    /// User name to sign in with
    username: String,
    /// Given name
    #[arg(long, value_name = "NAME")]
    first_name: String,
    /// Family name
    #[arg(long, value_name = "NAME")]
    last_name: String,
    /// E-mail address
    #[arg(long)]
    email: Option<String>,
    /// Whether the user can sign in
    #[arg(long, value_enum, default_value_t)]
    status: Status,
    #[command(flatten)]
    password: PasswordSource,
}

/// `chorus user create-service`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus user create-service ci-bot
  chorus role grant ci-bot WorkspaceMaintainer --workspace genomics
  chorus token create nightly --user ci-bot --scope getWorkspace@workspace=genomics --expires 90d > token.txt")]
pub struct CreateService {
    /// Its user name
    username: String,
    /// What people read in lists; the user name when not stated
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
}

/// Where the password of a new user comes from; at most one of them.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct PasswordSource {
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Make a strong password and show it once, with the new user
    #[arg(long)]
    generate_password: bool,
}

/// `chorus user update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus user update ada --email ada@example.org
  chorus user update @me --last-name King")]
pub struct Update {
    /// Id, user name, or @me
    user: Reference,
    #[command(flatten)]
    changes: Changes,
}

/// What to change; at least one of them.
#[derive(Debug, Default, PartialEq, Args)]
struct Changes {
    /// New user name
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// New given name
    #[arg(long, value_name = "NAME")]
    first_name: Option<String>,
    /// New family name
    #[arg(long, value_name = "NAME")]
    last_name: Option<String>,
    /// New e-mail address; empty to remove it
    #[arg(long)]
    email: Option<String>,
    /// Whether the user can sign in
    #[arg(long, value_enum)]
    status: Option<Status>,
}

/// Whether a user can sign in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Status {
    #[default]
    Active,
    Disabled,
}

impl Status {
    fn text(self) -> String {
        match self {
            Self::Active => "active".to_owned(),
            Self::Disabled => "disabled".to_owned(),
        }
    }
}

/// `chorus user delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Id or user name
    user: Reference,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Get(One { user }) => {
                let user = get(context, &user).await?;
                context.printer.item(&user, &columns())
            }
            Self::Create(create) => create.run(context).await,
            Self::CreateService(create) => create.run(context).await,
            Self::Update(update) => {
                if update.changes == Changes::default() {
                    return Err(
                        Error::usage("nothing to change").hint("`chorus user update --help` lists what can be changed")
                    );
                }
                let user = get(context, &update.user).await?;
                let user = put(context, update.changes.apply(user)).await?;
                context.printer.item(&user, &columns())
            }
            Self::Delete(delete) => delete.run(context).await,
            Self::Disable(One { user }) => set_status(context, &user, Status::Disabled).await,
            Self::Enable(One { user }) => set_status(context, &user, Status::Active).await,
            Self::ResetPassword(One { user }) => reset_password(context, &user).await,
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let session = &context.session;
        let mut workspace_ids = Vec::new();
        for workspace in &self.workspace {
            workspace_ids.push(resolve::workspace(session, workspace).await?);
        }
        let mut workbench_ids = Vec::new();
        for workbench in &self.workbench {
            workbench_ids.push(resolve::workbench_id(session, workbench, None).await?);
        }
        let filter = UserFilter {
            ids_in: self.id,
            workspace_ids,
            workbench_ids,
            search: self.search.filter(|text| !text.is_empty()),
            ..UserFilter::default()
        };
        let users = list(context, &self.paging, &self.sort, filter).await?;
        context.printer.list(&users, &columns())
    }
}

/// The users that fit the filter.
pub(super) async fn list(context: &Context, paging: &Paging, sort: &str, filter: UserFilter) -> Result<Vec<User>> {
    // no condition at all is something else than an empty filter: it asks for everybody
    let filter = Some(filter).filter(|filter| *filter != UserFilter::default());
    paging
        .collect(sort, async |pagination| {
            let request = ListUsersRequest { pagination: Some(pagination), filter: filter.clone() };
            let call =
                context.session.call("list users", "UserService/ListUsers", request, async |channel, request| {
                    connect::users(channel).list_users(request).await
                });
            Ok(call.await?.result.unwrap_or_default().users)
        })
        .await
}

/// The whole user.
pub(super) async fn get(context: &Context, reference: &Reference) -> Result<User> {
    if *reference == Reference::Me {
        return resolve::me(&context.session).await;
    }
    let id = resolve::user(&context.session, reference).await?;
    let what = format!("get user {reference}");
    let request = GetUserRequest { id };
    let call = context.session.call(&what, "UserService/GetUser", request, async |channel, request| {
        connect::users(channel).get_user(request).await
    });
    let reply = call.await?;
    reply.result.and_then(|result| result.user).ok_or_else(|| resolve::empty_reply("UserService/GetUser"))
}

async fn put(context: &Context, user: User) -> Result<User> {
    let what = format!("update user {} ({:?})", user.id, user.username);
    let call = context.session.call(&what, "UserService/UpdateUser", user, async |channel, request| {
        connect::users(channel).update_user(request).await
    });
    let reply = call.await?;
    reply.result.and_then(|result| result.user).ok_or_else(|| resolve::empty_reply("UserService/UpdateUser"))
}

async fn set_status(context: &mut Context, reference: &Reference, status: Status) -> Result<()> {
    let user = get(context, reference).await?;
    let user = put(context, User { status: status.text(), ..user }).await?;
    context.printer.changed(&user, &format!("user {} ({:?}) is {} now", user.id, user.username, user.status))
}

impl Changes {
    /// The user with the changes; everything else stays.
    fn apply(self, user: User) -> User {
        User {
            username: self.username.unwrap_or(user.username),
            first_name: self.first_name.unwrap_or(user.first_name),
            last_name: self.last_name.unwrap_or(user.last_name),
            email: self.email.unwrap_or(user.email),
            status: self.status.map_or(user.status, Status::text),
            ..user
        }
    }
}

impl Create {
    async fn run(self, context: &mut Context) -> Result<()> {
        let password = self.password.get().await?;
        let text = password.expose_secret().to_owned();
        let user = User {
            username: self.username,
            first_name: self.first_name,
            last_name: self.last_name,
            email: self.email.unwrap_or_default(),
            status: self.status.text(),
            password: text.clone(),
            ..User::default()
        };
        let what = format!("create user {:?}", user.username);
        let call = context.session.call(&what, "UserService/CreateUser", user, async |channel, request| {
            connect::users(channel).create_user(request).await
        });
        let reply = call.await?;
        let user = reply.result.and_then(|result| result.user);
        let mut user = user.ok_or_else(|| resolve::empty_reply("UserService/CreateUser"))?;
        if self.password.generate_password {
            if context.printer.format() == Format::Name {
                say(&format!("password of {}: {text}", user.username));
            }
            user.password = text;
        }
        context.printer.item(&user, &columns())
    }
}

impl CreateService {
    async fn run(self, context: &mut Context) -> Result<()> {
        let what = format!("create the service account {:?}", self.username);
        let request = CreateServiceAccountRequest {
            username: self.username,
            display_name: self.display_name.unwrap_or_default(),
        };
        let rpc = "UserService/CreateServiceAccount";
        let call = context.session.call(&what, rpc, request, async |channel, request| {
            connect::users(channel).create_service_account(request).await
        });
        let user = call.await?.result.and_then(|result| result.user).ok_or_else(|| resolve::empty_reply(rpc))?;
        context.printer.item(&user, &columns())
    }
}

impl PasswordSource {
    async fn get(&self) -> Result<SecretString> {
        if self.password_stdin {
            prompt::stdin_secret()
        } else if self.generate_password {
            generate(&mut SysRng)
        } else {
            prompt::new_secret("Password of the new user", "--password-stdin or --generate-password").await
        }
    }
}

/// Twenty characters of 32 that cannot be mistaken for each other: 100 bits.
fn generate(random: &mut impl TryRng) -> Result<SecretString> {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789-";
    let mut bytes = [0; 20];
    random.try_fill_bytes(&mut bytes).map_err(|_| Error::failure("the system gives out no random numbers"))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect::<String>().into())
}

impl Delete {
    async fn run(self, context: &mut Context) -> Result<()> {
        let id = resolve::user(&context.session, &self.user).await?;
        prompt::confirm(&format!("Delete user {}?", shown(&self.user, id)), self.yes).await?;
        let what = format!("delete user {}", self.user);
        let request = DeleteUserRequest { id };
        let call = context.session.call(&what, "UserService/DeleteUser", request, async |channel, request| {
            connect::users(channel).delete_user(request).await
        });
        call.await?;
        say(&format!("deleted user {}", shown(&self.user, id)));
        Ok(())
    }
}

/// A thing with its id, however it was named.
pub(super) fn shown(reference: &Reference, id: u64) -> String {
    match reference {
        Reference::Id(id) => id.to_string(),
        named => format!("{named} ({id})"),
    }
}

async fn reset_password(context: &mut Context, reference: &Reference) -> Result<()> {
    let id = resolve::user(&context.session, reference).await?;
    let what = format!("reset the password of user {reference}");
    let request = ResetPasswordRequest { id };
    let call = context.session.call(&what, "UserService/ResetPassword", request, async |channel, request| {
        connect::users(channel).reset_password(request).await
    });
    let result = call.await?.result.unwrap_or_default();
    if context.printer.is_data() {
        return context.printer.item(&result, &[]);
    }
    if result.temporary_password.is_empty() {
        say("the temporary password was sent by e-mail");
        return Ok(());
    }
    say(&format!("temporary password of user {}, shown this once:", shown(reference, id)));
    context.printer.text(&result.temporary_password)
}

impl Resource for User {
    const KIND: &'static str = "user";
    const MESSAGE: &'static str = "chorus.v1.User";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Resource for ResetPasswordResult {
    const KIND: &'static str = "password";
    const MESSAGE: &'static str = "chorus.v1.ResetPasswordResult";

    fn id(&self) -> String {
        self.temporary_password.clone()
    }
}

/// What people want to know of a user.
pub(super) fn columns() -> Vec<Column<User>> {
    vec![
        Column::new("id", |u: &User| u.id),
        Column::new("username", |u: &User| u.username.clone()),
        Column::new("name", |u: &User| format!("{} {}", u.first_name, u.last_name).trim().to_owned()),
        Column::new("status", |u: &User| u.status.clone()),
        Column::new("email", |u: &User| u.email.clone()).wide(),
        Column::new("source", |u: &User| u.source.clone()).wide(),
        Column::new("roles", |u: &User| u.roles_with_context.iter().map(role).collect::<Vec<_>>()).wide(),
        Column::new("second factor", |u: &User| u.totp_enabled).alone(),
        Column::new("own password", |u: &User| u.password_changed).alone(),
        Column::new("uid", |u: &User| u.uid).alone(),
        Column::new("updated", |u: &User| moment(u.updated_at.as_ref())).alone(),
        Column::new("created", |u: &User| moment(u.created_at.as_ref())),
        // only there when it was just made
        Column::new("password", |u: &User| u.password.clone()).alone(),
    ]
}

/// A granted role with where it applies and its id: `WorkspaceMember workspace=5 [12]`.
pub(super) fn role(role: &Role) -> String {
    let mut text = role.name.clone();
    for (dimension, value) in &role.context {
        text.push_str(&format!(" {dimension}={value}"));
    }
    format!("{text} [{}]", role.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::output::Printer;
    use clap::Parser;
    use std::collections::BTreeMap;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(std::iter::once("user").chain(line.split(' '))).map(|cli| cli.command)
    }

    pub(crate) fn ada() -> User {
        User {
            id: 7,
            username: "ada".to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Love\u{1b}[31mlace".to_owned(),
            status: "active".to_owned(),
            source: "internal".to_owned(),
            roles_with_context: vec![
                Role {
                    id: 1,
                    name: "Authenticated".to_owned(),
                    context: BTreeMap::from([("user".into(), "7".into())]),
                },
                Role {
                    id: 5,
                    name: "WorkspaceMember".to_owned(),
                    context: BTreeMap::from([("workspace".into(), "3".into())]),
                },
            ],
            created_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            gids: vec![3],
            ..User::default()
        }
    }

    fn print(format: Format, single: bool) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::to(format, &mut out);
        if single {
            printer.item(&ada(), &columns()).unwrap();
        } else {
            printer.list(&[ada(), User { id: 11, username: "bob".to_owned(), ..User::default() }], &columns()).unwrap();
        }
        drop(printer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lists_as_table() {
        insta::assert_snapshot!(print(Format::Table, false));
        insta::assert_snapshot!(print(Format::Wide, false));
        insta::assert_snapshot!(print(Format::Name, false));
    }

    #[test]
    fn shows_one() {
        insta::assert_snapshot!(print(Format::Table, true));
        insta::assert_snapshot!(print(Format::Name, true));
    }

    #[test]
    fn data_has_the_names_of_the_rest_api() {
        insta::assert_snapshot!(print(Format::Json, true));
        insta::assert_snapshot!(print(Format::Yaml, true));
        assert!(print(Format::Json, false).starts_with("[\n"));
    }

    #[test]
    fn an_update_changes_what_is_given_and_nothing_else() {
        let Ok(Command::Update(update)) = parse("update ada --email ada@example.org --status disabled") else {
            panic!("does not parse");
        };
        let changed = update.changes.apply(ada());
        assert_eq!(changed, User { email: "ada@example.org".to_owned(), status: "disabled".to_owned(), ..ada() });
    }

    #[test]
    fn at_most_one_source_of_the_password() {
        assert!(parse("create ada --first-name A --last-name L --password-stdin --generate-password").is_err());
        assert!(parse("create ada --first-name A").is_err());
        assert!(parse("create ada --first-name A --last-name L --generate-password").is_ok());
    }

    #[test]
    fn sorting_is_by_known_fields() {
        assert!(parse("list --sort Username --desc --limit 3").is_ok());
        assert!(parse("list --sort shoe-size").is_err());
    }

    #[test]
    fn a_generated_password_has_a_hundred_bits() {
        let a = generate(&mut SysRng).unwrap();
        let b = generate(&mut SysRng).unwrap();
        assert_eq!(a.expose_secret().len(), 20);
        assert_ne!(a.expose_secret(), b.expose_secret());
    }
}
