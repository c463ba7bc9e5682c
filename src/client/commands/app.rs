//! `chorus app`: the catalogue of apps.
//!
//! An app is one version of an image. An update replaces the whole app at the server, so it is read first and only what the
//! flags name is changed.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};

use super::{app_import::Import, moment, user::shown};
use crate::{
    client::{
        Context, connect,
        error::{Error, Result},
        output::{Column, Resource, say},
        paging::Paging,
        prompt,
        resolve::{self, Reference, Version},
    },
    proto::v1::{App, DeleteAppRequest, GetAppRequest, ListAppsRequest},
};

/// `chorus app`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the apps, the versions of one image as one
    List(List),
    /// Show one app; of a name, the newest version
    Get(One),
    /// Add an app
    Create(Create),
    /// Change an app; instances that run keep what they were started with
    Update(Update),
    /// Remove an app; instances that run go on
    Delete(Delete),
    /// Add all apps of a file, or none of them
    Import(Import),
}

/// The app to act on.
#[derive(Debug, Args)]
pub struct One {
    /// Id or name
    app: Reference,
}

/// `chorus app list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus app list --sort name
  chorus app list --versions -o yaml > apps.yaml
  chorus app list -o json | jq -r '.[] | [.id, .name, .dockerImageTag] | @tsv'")]
pub struct List {
    /// Show every version of an image on a line of its own
    #[arg(long)]
    versions: bool,
    /// Field to sort by
    #[arg(long, default_value = "id", value_name = "FIELD", ignore_case = true, value_parser = PossibleValuesParser::new(
        ["id", "name", "status", "dockerimageregistry", "dockerimagename", "createdat"]
    ))]
    sort: String,
    #[command(flatten)]
    paging: Paging,
}

/// `chorus app create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus app create RStudio --image apps/rstudio:4.4.1 --max-cpu 2 --max-memory 4Gi --category Statistics
  chorus app create Wiki --image registry.example.org:5000/apps/browser:1.2 --url https://wiki.example.org")]
pub struct Create {
    /// Name as people see it
    name: String,
    /// The image: [REGISTRY/]NAME:TAG
    #[arg(long, value_name = "IMAGE")]
    image: Image,
    #[command(flatten)]
    settings: Settings,
}

/// `chorus app update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus app update 12 --image apps/rstudio:4.4.2
  chorus app update Wiki --max-memory '' --status inactive")]
pub struct Update {
    /// Id or name
    app: Reference,
    /// New name
    #[arg(long)]
    name: Option<String>,
    /// The image: [REGISTRY/]NAME:TAG
    #[arg(long, value_name = "IMAGE")]
    image: Option<Image>,
    #[command(flatten)]
    settings: Settings,
}

/// What can be set of an app; what is not given stays as it is, and an empty text empties it.
#[derive(Debug, Clone, Default, PartialEq, Args)]
struct Settings {
    /// What the app is good for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whether the app can be started
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Heading under which the catalogue shows the app
    #[arg(long, value_name = "TEXT")]
    category: Option<String>,
    /// How mature the app is
    #[arg(long, value_enum)]
    stability: Option<Stability>,
    /// CPU that is set aside, in cores (2, 0.5) or thousandths (500m)
    #[arg(long, value_name = "CPU")]
    min_cpu: Option<String>,
    /// The most CPU
    #[arg(long, value_name = "CPU")]
    max_cpu: Option<String>,
    /// Memory that is set aside, such as 512Mi
    #[arg(long, value_name = "SIZE")]
    min_memory: Option<String>,
    /// The most memory, such as 4Gi
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
    /// Scratch space that is set aside, such as 1Gi
    #[arg(long, value_name = "SIZE")]
    min_ephemeral_storage: Option<String>,
    /// The most scratch space, such as 10Gi
    #[arg(long, value_name = "SIZE")]
    max_ephemeral_storage: Option<String>,
    /// Size of the shared memory, such as 2Gi
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// For a web app: the page that the browser in the image opens
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// For a web app that signs the user in: the page that takes the token of the instance
    #[arg(long, value_name = "URL")]
    jwt_url: Option<String>,
    /// For a web app that signs the user in: the OpenID Connect client that the token is made for
    #[arg(long, value_name = "CLIENT")]
    jwt_client: Option<String>,
    /// Address of the icon, or the picture itself as data:image/png;base64,…
    #[arg(long, value_name = "URL")]
    icon: Option<String>,
    /// Colour behind the icon, such as #336699
    #[arg(long, value_name = "COLOUR")]
    icon_background: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    Active,
    Inactive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stability {
    Ready,
    Beta,
    Alpha,
    Off,
}

/// An image as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Image {
    registry: String,
    name: String,
    tag: String,
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('@') {
            return Err("an image is named by its tag, not by a digest".to_owned());
        }
        // a colon in front of a slash belongs to the port of the registry
        let (path, tag) = match text.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !tag.is_empty() && !path.is_empty() => (path, tag),
            _ => return Err("the tag is missing: write [REGISTRY/]NAME:TAG".to_owned()),
        };
        let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (registry, name) = match path.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => ("", path),
        };
        Ok(Self { registry: registry.to_owned(), name: name.to_owned(), tag: tag.to_owned() })
    }
}

/// `chorus app delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Id or name
    app: Reference,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Get(One { app }) => {
                let app = get(context, &app, Version::Newest).await?;
                context.printer.item(&app, &columns())
            }
            Self::Create(create) => create.run(context).await,
            Self::Update(update) => update.run(context).await,
            Self::Delete(delete) => delete.run(context).await,
            Self::Import(import) => import.run(context).await,
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let fetch = async |pagination| {
            let request = ListAppsRequest { pagination: Some(pagination), disable_grouping: self.versions };
            let call = context.session.call("list apps", "AppService/ListApps", request, async |channel, request| {
                connect::apps(channel).list_apps(request).await
            });
            Ok(call.await?.result.unwrap_or_default().apps)
        };
        let apps = self.paging.collect(&self.sort, fetch).await?;
        context.printer.list(&apps, &columns())
    }
}

async fn get(context: &Context, reference: &Reference, version: Version) -> Result<App> {
    let id = resolve::app(&context.session, reference, version).await?;
    let what = format!("get app {reference}");
    let call = context.session.call(&what, "AppService/GetApp", GetAppRequest { id }, async |channel, request| {
        connect::apps(channel).get_app(request).await
    });
    let app = call.await?.result.and_then(|result| result.app);
    app.ok_or_else(|| resolve::empty_reply("AppService/GetApp"))
}

impl Create {
    async fn run(self, context: &mut Context) -> Result<()> {
        let new = App { name: self.name, status: "active".to_owned(), ..App::default() };
        let app = self.settings.apply(self.image.apply(new));
        let what = format!("create app {:?}", app.name);
        let call = context.session.call(&what, "AppService/CreateApp", app, async |channel, request| {
            connect::apps(channel).create_app(request).await
        });
        let app = call.await?.result.and_then(|result| result.app);
        let app = app.ok_or_else(|| resolve::empty_reply("AppService/CreateApp"))?;
        context.printer.item(&app, &columns())
    }
}

impl Update {
    async fn run(self, context: &mut Context) -> Result<()> {
        if self.name.is_none() && self.image.is_none() && self.settings == Settings::default() {
            return Err(Error::usage("nothing to change").hint("`chorus app update --help` lists what can be changed"));
        }
        let old = get(context, &self.app, Version::Only).await?;
        let what = format!("update app {}", shown(&self.app, old.id));
        let name = self.name.unwrap_or_else(|| old.name.clone());
        let app = App { name, ..old };
        let app = match self.image {
            Some(image) => image.apply(app),
            None => app,
        };
        let app = self.settings.apply(app);
        let call = context.session.call(&what, "AppService/UpdateApp", app, async |channel, request| {
            connect::apps(channel).update_app(request).await
        });
        let app = call.await?.result.and_then(|result| result.app);
        let app = app.ok_or_else(|| resolve::empty_reply("AppService/UpdateApp"))?;
        context.printer.item(&app, &columns())
    }
}

impl Image {
    fn apply(self, app: App) -> App {
        App { docker_image_registry: self.registry, docker_image_name: self.name, docker_image_tag: self.tag, ..app }
    }
}

impl Settings {
    /// The app with these settings; everything else stays.
    fn apply(self, app: App) -> App {
        App {
            description: self.description.unwrap_or(app.description),
            status: self.status.map_or(app.status, |status| status.text().to_owned()),
            category: self.category.unwrap_or(app.category),
            stability_status: self.stability.map_or(app.stability_status, |s| s.text().to_owned()),
            min_cpu: self.min_cpu.unwrap_or(app.min_cpu),
            max_cpu: self.max_cpu.unwrap_or(app.max_cpu),
            min_memory: self.min_memory.unwrap_or(app.min_memory),
            max_memory: self.max_memory.unwrap_or(app.max_memory),
            min_ephemeral_storage: self.min_ephemeral_storage.unwrap_or(app.min_ephemeral_storage),
            max_ephemeral_storage: self.max_ephemeral_storage.unwrap_or(app.max_ephemeral_storage),
            shm_size: self.shm_size.unwrap_or(app.shm_size),
            browser_config_url: self.url.unwrap_or(app.browser_config_url),
            browser_config_jwt_url: self.jwt_url.unwrap_or(app.browser_config_jwt_url),
            browser_config_jwt_oidc_client_id: self.jwt_client.unwrap_or(app.browser_config_jwt_oidc_client_id),
            icon_url: self.icon.unwrap_or(app.icon_url),
            icon_background_color: self.icon_background.unwrap_or(app.icon_background_color),
            ..app
        }
    }
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}

impl Stability {
    fn text(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Beta => "beta",
            Self::Alpha => "alpha",
            Self::Off => "off",
        }
    }
}

impl Delete {
    async fn run(self, context: &mut Context) -> Result<()> {
        let id = resolve::app(&context.session, &self.app, Version::Only).await?;
        let name = shown(&self.app, id);
        prompt::confirm(&format!("Remove app {name} from the catalogue?"), self.yes).await?;
        let what = format!("delete app {name}");
        let call =
            context.session.call(&what, "AppService/DeleteApp", DeleteAppRequest { id }, async |channel, request| {
                connect::apps(channel).delete_app(request).await
            });
        call.await?;
        say(&format!("deleted app {name}"));
        Ok(())
    }
}

impl Resource for App {
    const KIND: &'static str = "app";
    const MESSAGE: &'static str = "chorus.v1.App";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// What is shown of apps.
pub(super) fn columns() -> Vec<Column<App>> {
    vec![
        Column::new("id", |a: &App| a.id),
        Column::new("name", |a: &App| a.name.clone()),
        Column::new("image", |a: &App| a.docker_image_name.clone()),
        Column::new("version", |a: &App| a.docker_image_tag.clone()),
        Column::new("other versions", |a: &App| {
            let others = a.grouped_versions.iter();
            others.map(|version| format!("{} ({})", version.docker_image_tag, version.id)).collect::<Vec<_>>()
        })
        .wide(),
        Column::new("registry", |a: &App| a.docker_image_registry.clone()).wide(),
        Column::new("status", |a: &App| a.status.clone()),
        Column::new("stability", |a: &App| a.stability_status.clone()),
        Column::new("category", |a: &App| a.category.clone()),
        Column::new("cpu", |a: &App| range(&a.min_cpu, &a.max_cpu)).wide(),
        Column::new("memory", |a: &App| range(&a.min_memory, &a.max_memory)).wide(),
        Column::new("scratch", |a: &App| range(&a.min_ephemeral_storage, &a.max_ephemeral_storage)).wide(),
        Column::new("shared memory", |a: &App| a.shm_size.clone()).alone(),
        Column::new("url", |a: &App| a.browser_config_url.clone()).alone(),
        Column::new("token url", |a: &App| a.browser_config_jwt_url.clone()).alone(),
        Column::new("token client", |a: &App| a.browser_config_jwt_oidc_client_id.clone()).alone(),
        Column::new("icon", |a: &App| icon(&a.icon_url)).alone(),
        Column::new("icon background", |a: &App| a.icon_background_color.clone()).alone(),
        Column::new("description", |a: &App| a.description.clone()).wide(),
        Column::new("updated", |a: &App| moment(a.updated_at.as_ref())).alone(),
        Column::new("created", |a: &App| moment(a.created_at.as_ref())),
    ]
}

/// What is set aside, and the most.
fn range(least: &str, most: &str) -> String {
    match (least, most) {
        ("", "") => String::new(),
        (least, "") => format!("from {least}"),
        ("", most) => format!("up to {most}"),
        (least, most) => format!("{least} to {most}"),
    }
}

/// A picture of its own would fill the screen.
fn icon(url: &str) -> String {
    match url.split_once(',') {
        Some((kind, picture)) if kind.starts_with("data:") => format!("{kind},… ({} characters)", picture.len()),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        client::output::{Format, printed},
        proto::v1::AppVersion,
    };

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    fn rstudio() -> App {
        App {
            id: 5,
            tenant_id: 1,
            user_id: 7,
            name: "RStudio\n\u{202e}".to_owned(),
            description: "Statistics".to_owned(),
            status: "active".to_owned(),
            docker_image_name: "apps/rstudio".to_owned(),
            docker_image_tag: "4.4.1-2".to_owned(),
            grouped_versions: vec![AppVersion { id: 3, docker_image_tag: "4.3.0-1".to_owned() }],
            max_cpu: "2".to_owned(),
            min_memory: "512Mi".to_owned(),
            max_memory: "4Gi".to_owned(),
            icon_url: "data:image/png;base64,AAAA".to_owned(),
            stability_status: "beta".to_owned(),
            created_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
            ..App::default()
        }
    }

    fn print(format: Format, single: bool) -> String {
        printed(&rstudio(), &columns(), format, single)
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
        let update = |flags: &[&str]| match Cli::try_parse_from(["app", "update", "5"].iter().chain(flags)).unwrap() {
            Cli { command: Command::Update(update) } => update,
            other => panic!("{:?}", other.command),
        };
        let table: [(&[&str], App); 8] = [
            (&["--description", ""], App { description: String::new(), ..rstudio() }),
            (&["--status", "inactive"], App { status: "inactive".to_owned(), ..rstudio() }),
            (&["--stability", "ready"], App { stability_status: "ready".to_owned(), ..rstudio() }),
            (&["--max-cpu", "500m"], App { max_cpu: "500m".to_owned(), ..rstudio() }),
            (&["--min-memory", ""], App { min_memory: String::new(), ..rstudio() }),
            (&["--url", "http://a"], App { browser_config_url: "http://a".to_owned(), ..rstudio() }),
            (&["--jwt-client", "x"], App { browser_config_jwt_oidc_client_id: "x".to_owned(), ..rstudio() }),
            (&["--icon", ""], App { icon_url: String::new(), ..rstudio() }),
        ];
        for (flags, expected) in table {
            assert_eq!(update(flags).settings.apply(rstudio()), expected, "{flags:?}");
        }
        let image = update(&["--image", "r.example.org/a/b:2"]).image.unwrap().apply(rstudio());
        let image = (image.docker_image_registry, image.docker_image_name, image.docker_image_tag);
        assert_eq!(image, ("r.example.org".to_owned(), "a/b".to_owned(), "2".to_owned()));
    }

    #[test]
    fn images() {
        for (text, expected) in [
            ("xterm:1", Some(("", "xterm", "1"))),
            ("apps/rstudio:4.4.1-2", Some(("", "apps/rstudio", "4.4.1-2"))),
            ("registry.example.org/apps/rstudio:4", Some(("registry.example.org", "apps/rstudio", "4"))),
            ("registry:5000/rstudio:4", Some(("registry:5000", "rstudio", "4"))),
            ("localhost/rstudio:4", Some(("localhost", "rstudio", "4"))),
            ("rstudio", None),
            ("registry:5000/rstudio", None),
            ("rstudio:", None),
            (":4", None),
            ("rstudio@sha256:0", None),
        ] {
            let parsed = text.parse::<Image>();
            let parsed = parsed.as_ref().ok().map(|i| (i.registry.as_str(), i.name.as_str(), i.tag.as_str()));
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
