//! `chorus workspace`: the closed spaces in which people work.
//!
//! An update replaces the whole workspace at the server, so it is read first and only what the flags name is changed.

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};

use super::{member, moment, user::shown};
use crate::{
    client::{
        Context, connect,
        error::Result,
        output::{Column, Resource, say},
        paging::Paging,
        prompt,
        resolve::{self, Reference},
    },
    proto::v1::{
        DeleteWorkspaceRequest, GetWorkspaceRequest, ListPublicWorkspacesRequest, ListWorkspacesRequest,
        PublicWorkspace, Workspace, WorkspaceFilter, WorkspaceStatus, WorkspaceVisibility,
    },
};

/// `chorus workspace`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the workspaces that you may see
    List(List),
    /// Show one workspace
    Get(One),
    /// Create a workspace; you become its administrator
    Create(Create),
    /// Change a workspace
    Update(Update),
    /// Delete a workspace with its workbenches and memberships
    Delete(Delete),
    /// List the public workspaces, with the person to ask for access
    Public(Public),
    /// Manage who belongs to a workspace
    #[command(subcommand)]
    Member(member::Command<member::InWorkspace>),
}

/// The workspace to act on.
#[derive(Debug, Args)]
pub struct One {
    /// Id, name or short name
    workspace: Reference,
}

/// What a list of workspaces is sorted by, and how much of it is shown.
#[derive(Debug, Args)]
struct Listing {
    /// Only workspaces with this text in name, short name or description
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Field to sort by
    #[arg(long, default_value = "id", value_name = "FIELD", ignore_case = true, value_parser = PossibleValuesParser::new(
        ["id", "name", "shortname", "description", "status", "ismain", "createdat"]
    ))]
    sort: String,
    #[command(flatten)]
    paging: Paging,
}

impl Listing {
    /// The server has no search over workspaces, so the limit counts what is left after ours.
    fn paging(&self) -> Paging {
        let limit = self.paging.limit.filter(|_| self.search.is_none());
        Paging { limit, ..self.paging.clone() }
    }

    fn select<T>(&self, mut items: Vec<T>, texts: impl Fn(&T) -> [&str; 3]) -> Vec<T> {
        if let Some(search) = self.search.as_ref().map(|text| text.to_lowercase()) {
            items.retain(|item| texts(item).iter().any(|text| text.to_lowercase().contains(&search)));
            items.truncate(self.paging.limit.map_or(usize::MAX, |limit| limit as usize));
        }
        items
    }
}

/// `chorus workspace list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workspace list --sort name
  chorus workspace list --search genom -o wide
  chorus workspace list -o json | jq -r '.[] | [.id, .name] | @tsv'")]
pub struct List {
    /// Only the workspace with this id; may be repeated
    #[arg(long, value_name = "ID")]
    id: Vec<u64>,
    #[command(flatten)]
    listing: Listing,
}

/// `chorus workspace public`.
#[derive(Debug, Args)]
pub struct Public {
    #[command(flatten)]
    listing: Listing,
}

/// `chorus workspace create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workspace create Genomics --short-name gen --description 'Rare variants'
  chorus workspace create Genomics --network-policy allowlist --allowed-fqdn '*.example.org'
  id=$(chorus workspace create Genomics -o json | jq -r .id)")]
pub struct Create {
    /// Name of the new workspace
    name: String,
    #[command(flatten)]
    settings: Settings,
}

/// `chorus workspace update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus workspace update genomics --visibility public --contact ada
  chorus workspace update 12 --name 'Genomics 2' --clipboard to-server")]
pub struct Update {
    /// Id, name or short name
    workspace: Reference,
    /// New name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What can be set of a workspace; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Args)]
struct Settings {
    /// Short form of the name
    #[arg(long, value_name = "NAME")]
    short_name: Option<String>,
    /// What the workspace is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whether the workspace is in use
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Who can find the workspace: its members, or everybody who is signed in
    #[arg(long, value_enum)]
    visibility: Option<Visibility>,
    /// What programs in it may reach: nothing outside, the hosts of --allowed-fqdn, or the Internet
    #[arg(long, value_enum)]
    network_policy: Option<NetworkPolicy>,
    /// Host that may be reached with the network policy allowlist, such as *.example.org; may be repeated, replaces all
    #[arg(long, value_name = "HOST", conflicts_with = "no_allowed_fqdns")]
    allowed_fqdn: Vec<String>,
    /// Empty the list of hosts that may be reached
    #[arg(long)]
    no_allowed_fqdns: bool,
    /// Which way text may be copied through a desktop's clipboard
    #[arg(long, value_enum)]
    clipboard: Option<Clipboard>,
    /// User whom others may ask about the workspace, by id or name
    #[arg(long, value_name = "USER", conflicts_with = "no_contact")]
    contact: Option<Reference>,
    /// Nobody is there to be asked
    #[arg(long)]
    no_contact: bool,
    /// Whether this is the main workspace of its owner, who has at most one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    main: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    Active,
    Inactive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Visibility {
    Private,
    Public,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NetworkPolicy {
    Airgapped,
    Allowlist,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Clipboard {
    Disabled,
    ToServer,
    ToClient,
    Both,
}

/// `chorus workspace delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Id, name or short name
    workspace: Reference,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Get(One { workspace }) => {
                let workspace = get(context, &workspace).await?;
                context.printer.item(&workspace, &columns())
            }
            Self::Create(create) => create.run(context).await,
            Self::Update(update) => update.run(context).await,
            Self::Delete(delete) => delete.run(context).await,
            Self::Public(public) => public.run(context).await,
            Self::Member(command) => command.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let filter = Some(WorkspaceFilter { workspace_ids_in: self.id }).filter(|f| !f.workspace_ids_in.is_empty());
        let fetch = async |pagination| {
            let request = ListWorkspacesRequest { pagination: Some(pagination), filter: filter.clone() };
            let call = context.session.call(
                "list workspaces",
                "WorkspaceService/ListWorkspaces",
                request,
                async |channel, request| connect::workspaces(channel).list_workspaces(request).await,
            );
            Ok(call.await?.result.unwrap_or_default().workspaces)
        };
        let workspaces = self.listing.paging().collect(&self.listing.sort, fetch).await?;
        let workspaces = self.listing.select(workspaces, |w| [&w.name, &w.short_name, &w.description]);
        context.printer.list(&workspaces, &columns())
    }
}

impl Public {
    async fn run(self, context: &mut Context) -> Result<()> {
        let fetch = async |pagination| {
            let request = ListPublicWorkspacesRequest { pagination: Some(pagination) };
            let call = context.session.call(
                "list public workspaces",
                "WorkspaceService/ListPublicWorkspaces",
                request,
                async |channel, request| connect::workspaces(channel).list_public_workspaces(request).await,
            );
            Ok(call.await?.result.unwrap_or_default().public_workspaces)
        };
        let workspaces = self.listing.paging().collect(&self.listing.sort, fetch).await?;
        let workspaces = self.listing.select(workspaces, |w| [&w.name, &w.short_name, &w.description]);
        context.printer.list(&workspaces, &public_columns())
    }
}

async fn get(context: &Context, reference: &Reference) -> Result<Workspace> {
    let id = resolve::workspace(&context.session, reference).await?;
    let what = format!("get workspace {reference}");
    let request = GetWorkspaceRequest { id };
    let call = context.session.call(&what, "WorkspaceService/GetWorkspace", request, async |channel, request| {
        connect::workspaces(channel).get_workspace(request).await
    });
    let workspace = call.await?.result.and_then(|result| result.workspace);
    workspace.ok_or_else(|| resolve::empty_reply("WorkspaceService/GetWorkspace"))
}

impl Create {
    async fn run(self, context: &mut Context) -> Result<()> {
        let contact = contact(context, &self.settings).await?;
        let workspace = self.settings.apply(Workspace { name: self.name, ..Workspace::default() }, contact);
        let what = format!("create workspace {:?}", workspace.name);
        let call =
            context.session.call(&what, "WorkspaceService/CreateWorkspace", workspace, async |channel, request| {
                connect::workspaces(channel).create_workspace(request).await
            });
        let workspace = call.await?.result.and_then(|result| result.workspace);
        let workspace = workspace.ok_or_else(|| resolve::empty_reply("WorkspaceService/CreateWorkspace"))?;
        context.printer.item(&workspace, &columns())
    }
}

impl Update {
    async fn run(self, context: &mut Context) -> Result<()> {
        if self.name.is_none() && self.settings == Settings::default() {
            return Err(crate::client::error::Error::usage("nothing to change")
                .hint("`chorus workspace update --help` lists what can be changed"));
        }
        let old = get(context, &self.workspace).await?;
        let contact = contact(context, &self.settings).await?;
        let what = format!("update workspace {}", shown(&self.workspace, old.id));
        let name = self.name.unwrap_or_else(|| old.name.clone());
        let workspace = self.settings.apply(Workspace { name, ..old }, contact);
        let call =
            context.session.call(&what, "WorkspaceService/UpdateWorkspace", workspace, async |channel, request| {
                connect::workspaces(channel).update_workspace(request).await
            });
        let workspace = call.await?.result.and_then(|result| result.workspace);
        let workspace = workspace.ok_or_else(|| resolve::empty_reply("WorkspaceService/UpdateWorkspace"))?;
        context.printer.item(&workspace, &columns())
    }
}

/// The id of the contact that the flags name, if they name one.
async fn contact(context: &Context, settings: &Settings) -> Result<Option<u64>> {
    match &settings.contact {
        Some(user) => resolve::user(&context.session, user).await.map(Some),
        None if settings.no_contact => Ok(Some(0)),
        None => Ok(None),
    }
}

impl Settings {
    /// The workspace with these settings; everything else stays.
    fn apply(self, workspace: Workspace, contact: Option<u64>) -> Workspace {
        let allowed_fqdns = if self.no_allowed_fqdns || !self.allowed_fqdn.is_empty() {
            self.allowed_fqdn
        } else {
            workspace.allowed_fqdns
        };
        Workspace {
            short_name: self.short_name.unwrap_or(workspace.short_name),
            description: self.description.unwrap_or(workspace.description),
            status: self.status.map_or(workspace.status, |status| status.value().into()),
            visibility: self.visibility.map_or(workspace.visibility, |visibility| visibility.value().into()),
            network_policy: self.network_policy.map_or(workspace.network_policy, |p| p.text().to_owned()),
            allowed_fqdns,
            clipboard: self.clipboard.map_or(workspace.clipboard, |c| c.text().to_owned()),
            contact_user_id: contact.unwrap_or(workspace.contact_user_id),
            is_main: self.main.unwrap_or(workspace.is_main),
            ..workspace
        }
    }
}

impl Status {
    fn value(self) -> WorkspaceStatus {
        match self {
            Self::Active => WorkspaceStatus::Active,
            Self::Inactive => WorkspaceStatus::Inactive,
        }
    }
}

impl Visibility {
    fn value(self) -> WorkspaceVisibility {
        match self {
            Self::Private => WorkspaceVisibility::Private,
            Self::Public => WorkspaceVisibility::Public,
        }
    }
}

impl NetworkPolicy {
    fn text(self) -> &'static str {
        match self {
            Self::Airgapped => "Airgapped",
            Self::Allowlist => "FQDNAllowlist",
            Self::Open => "Open",
        }
    }
}

impl Clipboard {
    fn text(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::ToServer => "to-server",
            Self::ToClient => "to-client",
            Self::Both => "both",
        }
    }
}

impl Delete {
    async fn run(self, context: &mut Context) -> Result<()> {
        let id = resolve::workspace(&context.session, &self.workspace).await?;
        let name = shown(&self.workspace, id);
        prompt::confirm(&format!("Delete workspace {name} with its workbenches and memberships?"), self.yes).await?;
        let what = format!("delete workspace {name}");
        let request = DeleteWorkspaceRequest { id };
        let call =
            context.session.call(&what, "WorkspaceService/DeleteWorkspace", request, async |channel, request| {
                connect::workspaces(channel).delete_workspace(request).await
            });
        call.await?;
        say(&format!("deleted workspace {name}"));
        Ok(())
    }
}

impl Resource for Workspace {
    const KIND: &'static str = "workspace";
    const MESSAGE: &'static str = "chorus.v1.Workspace";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Resource for PublicWorkspace {
    const KIND: &'static str = "workspace";
    const MESSAGE: &'static str = "chorus.v1.PublicWorkspace";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// `WORKSPACE_STATUS_ACTIVE` as people say it: `active`.
fn short(name: &str) -> String {
    name.rsplit('_').next().unwrap_or(name).to_lowercase()
}

fn columns() -> Vec<Column<Workspace>> {
    vec![
        Column::new("id", |w: &Workspace| w.id),
        Column::new("name", |w: &Workspace| w.name.clone()),
        Column::new("short name", |w: &Workspace| w.short_name.clone()),
        Column::new("status", |w: &Workspace| short(w.status().as_str_name())),
        Column::new("visibility", |w: &Workspace| short(w.visibility().as_str_name())),
        Column::new("network", |w: &Workspace| w.network_policy.clone()),
        Column::new("allowed hosts", |w: &Workspace| w.allowed_fqdns.clone()).alone(),
        Column::new("network status", |w: &Workspace| w.network_policy_status.clone()).alone(),
        Column::new("network message", |w: &Workspace| w.network_policy_message.clone()).alone(),
        Column::new("clipboard", |w: &Workspace| w.clipboard.clone()).wide(),
        Column::new("main", |w: &Workspace| w.is_main).wide(),
        Column::new("owner", |w: &Workspace| w.user_id).wide(),
        Column::new("contact", |w: &Workspace| match w.contact_user_id {
            0 => String::new(),
            id => id.to_string(),
        })
        .wide(),
        Column::new("description", |w: &Workspace| w.description.clone()).wide(),
        Column::new("namespace", |w: &Workspace| w.namespace.clone()).alone(),
        Column::new("gid", |w: &Workspace| w.gid).alone(),
        Column::new("updated", |w: &Workspace| moment(w.updated_at.as_ref())).alone(),
        Column::new("created", |w: &Workspace| moment(w.created_at.as_ref())),
    ]
}

fn public_columns() -> Vec<Column<PublicWorkspace>> {
    vec![
        Column::new("id", |w: &PublicWorkspace| w.id),
        Column::new("name", |w: &PublicWorkspace| w.name.clone()),
        Column::new("short name", |w: &PublicWorkspace| w.short_name.clone()),
        Column::new("status", |w: &PublicWorkspace| short(w.status().as_str_name())).wide(),
        Column::new("contact", |w: &PublicWorkspace| {
            format!("{} {}", w.contact_first_name, w.contact_last_name).trim().to_owned()
        }),
        Column::new("email", |w: &PublicWorkspace| w.contact_email.clone()),
        Column::new("description", |w: &PublicWorkspace| w.description.clone()),
        Column::new("created", |w: &PublicWorkspace| moment(w.created_at.as_ref())).wide(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::output::{Format, printed};
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    fn settings(flags: &str) -> Settings {
        let line = format!("workspace update 12 {flags}");
        match Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command) {
            Ok(Command::Update(update)) => update.settings,
            other => panic!("{other:?}"),
        }
    }

    fn genomics() -> Workspace {
        Workspace {
            id: 12,
            tenant_id: 1,
            user_id: 7,
            name: "Genomics\n\u{202e}".to_owned(),
            short_name: "gen".to_owned(),
            description: "Rare variants".to_owned(),
            network_policy: "FQDNAllowlist".to_owned(),
            allowed_fqdns: vec!["a.example.org".to_owned(), "*.example.com".to_owned()],
            clipboard: "to-server".to_owned(),
            namespace: "workspace12".to_owned(),
            gid: 12,
            visibility: WorkspaceVisibility::Public.into(),
            contact_user_id: 7,
            created_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
            ..Workspace::default()
        }
    }

    fn print(format: Format, single: bool) -> String {
        printed(&genomics(), &columns(), format, single)
    }

    #[test]
    fn every_form_of_output() {
        insta::assert_snapshot!("table", print(Format::Table, false));
        insta::assert_snapshot!("wide", print(Format::Wide, false));
        insta::assert_snapshot!("one", print(Format::Table, true));
        insta::assert_snapshot!("json", print(Format::Json, false));
    }

    #[test]
    fn an_update_changes_what_is_given_and_nothing_else() {
        let table = [
            ("--short-name g", None, Workspace { short_name: "g".to_owned(), ..genomics() }),
            ("--no-allowed-fqdns", None, Workspace { allowed_fqdns: vec![], ..genomics() }),
            ("--allowed-fqdn x.org", None, Workspace { allowed_fqdns: vec!["x.org".to_owned()], ..genomics() }),
            ("--main", None, Workspace { is_main: true, ..genomics() }),
            ("--main false", None, genomics()),
            ("--no-contact", Some(0), Workspace { contact_user_id: 0, ..genomics() }),
            ("--network-policy open", None, Workspace { network_policy: "Open".to_owned(), ..genomics() }),
            ("--status inactive", None, Workspace { status: WorkspaceStatus::Inactive.into(), ..genomics() }),
            ("--visibility private", None, Workspace { visibility: 0, ..genomics() }),
            ("--clipboard to-client", None, Workspace { clipboard: "to-client".to_owned(), ..genomics() }),
        ];
        for (flags, contact, expected) in table {
            assert_eq!(settings(flags).apply(genomics(), contact), expected, "{flags}");
        }
    }

    #[test]
    fn a_search_is_done_here_and_the_limit_counts_what_it_finds() {
        let workspace = |id, name: &str| Workspace { id, name: name.to_owned(), ..Workspace::default() };
        let all = vec![workspace(1, "Alpha"), workspace(2, "beta"), workspace(3, "ALPINE"), workspace(4, "salp")];
        let listing = |search: Option<&str>, limit| Listing {
            search: search.map(str::to_owned),
            sort: "id".to_owned(),
            paging: Paging { desc: false, limit },
        };
        let ids = |l: Listing| {
            l.select(all.clone(), |w| [&w.name, &w.short_name, &w.description]).iter().map(|w| w.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(listing(Some("alp"), None)), [1, 3, 4]);
        assert_eq!(ids(listing(Some("alp"), Some(2))), [1, 3]);
        assert_eq!(listing(Some("alp"), Some(2)).paging().limit, None);
        assert_eq!(listing(None, Some(2)).paging().limit, Some(2));
    }
}
