//! `chorus token`: API tokens, for programs.
//!
//! The token is the only thing that `create` writes to standard output, so that it can go straight into a file or another
//! program's standard input.

use std::{collections::BTreeMap, str::FromStr};

use clap::{Args, Subcommand};

use super::moment;
use crate::{
    client::{
        Context, connect,
        error::{Error, Result},
        moment::{Moment, now},
        output::{Column, Format, Resource, say},
        paging::Paging,
        resolve::{self, Reference},
    },
    proto::v1::{ApiToken, CreateTokenRequest, CreateTokenResult, ListTokensRequest, RevokeTokenRequest, TokenScope},
};

/// `chorus token`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token; it is shown once
    ///
    /// A SCOPE is a permission and where it holds: createWorkspace, getWorkspace@workspace=5, getWorkspace@workspace=*.
    /// Names do as well as ids. `chorus role permissions` lists the permissions. A token may do what its scopes name and
    /// its owner may do at that moment.
    Create(Create),
    /// List tokens: your own, or those of a user whom you administer
    List(List),
    /// End a token; it is refused at once
    Revoke(Revoke),
}

/// `chorus token create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chorus token create nightly --scope getWorkspace@workspace=genomics --expires 90d > token.txt
  chorus token create deploy --user ci-bot --scope createWorkspace --scope 'getWorkspace@workspace=*' \\
      --cidr 192.0.2.0/24 --expires 2027-01-31
  chorus token create me --scope getMyOwnUser --expires 30d -o json")]
pub struct Create {
    /// What the token is for
    name: String,
    /// What it may be used for; may be repeated
    #[arg(long, value_name = "SCOPE", required = true)]
    scope: Vec<Scope>,
    /// When it ends: so long from now, such as 90d or 12h, or a day, such as 2027-01-31
    #[arg(long, value_name = "WHEN")]
    expires: Moment,
    /// From where it may be used, such as 192.0.2.0/24; may be repeated; from everywhere when not stated
    #[arg(long, value_name = "NETWORK")]
    cidr: Vec<String>,
    /// The service account for which it speaks; yourself when not stated
    #[arg(long, value_name = "USER")]
    user: Option<Reference>,
}

/// A permission and where it holds, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    permission: String,
    /// Dimension and value.
    places: Vec<(String, Place)>,
}

/// What a permission is confined to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Everywhere,
    Named(Reference),
}

/// `chorus token list`.
#[derive(Debug, Args)]
pub struct List {
    /// Whose tokens; your own when not stated
    #[arg(long, value_name = "USER")]
    user: Option<Reference>,
    /// Also tokens that have expired or were revoked lately
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    paging: Paging,
}

/// `chorus token revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Id or name of the token
    token: Reference,
    /// Whose token, if it is named; your own when not stated
    #[arg(long, value_name = "USER")]
    user: Option<Reference>,
}

impl Command {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::List(list) => list.run(context).await,
            Self::Revoke(revoke) => revoke.run(context).await,
        }
    }
}

impl Create {
    async fn run(self, context: &mut Context) -> Result<()> {
        let mut scopes = Vec::new();
        for scope in self.scope {
            scopes.push(scope.resolve(context).await?);
        }
        let request = CreateTokenRequest {
            user_id: owner(context, self.user.as_ref()).await?,
            name: self.name,
            scopes,
            networks: self.cidr,
            expires_at: Some(self.expires.ahead(now())),
        };
        let what = format!("create the token {:?}", request.name);
        let call = context.session.call(&what, "TokenService/CreateToken", request, async |channel, request| {
            connect::tokens(channel).create_token(request).await
        });
        let result = call.await?.result.ok_or_else(|| resolve::empty_reply("TokenService/CreateToken"))?;
        if context.printer.is_data() {
            return context.printer.item(&result, &[]);
        }
        let info = result.info.clone().unwrap_or_default();
        let until = moment(info.expires_at.as_ref());
        say(&format!(
            "token {} ({:?}) of user {}, valid until {until}, shown this once:",
            info.id, info.name, info.user_id
        ));
        match context.printer.format() {
            Format::Name => {
                say(&result.token);
                context.printer.item(&result, &[])
            }
            _ => context.printer.text(&result.token),
        }
    }
}

impl List {
    async fn run(self, context: &mut Context) -> Result<()> {
        let user_id = owner(context, self.user.as_ref()).await?;
        let tokens = list(context, &self.paging, user_id, self.all).await?;
        context.printer.list(&tokens, &columns())
    }
}

impl Revoke {
    async fn run(self, context: &mut Context) -> Result<()> {
        let id = match &self.token {
            Reference::Id(id) => *id,
            Reference::Me => return Err(Error::usage("@me is a user, not a token")),
            Reference::Name(name) => {
                let user_id = owner(context, self.user.as_ref()).await?;
                let tokens = list(context, &Paging::default(), user_id, false).await?;
                let fitting: Vec<_> = tokens.iter().filter(|t| t.name.to_lowercase() == name.to_lowercase()).collect();
                resolve::pick("token", name, &fitting, |t| t.id, |t| format!("{} {:?}", t.id, t.name))?
            }
        };
        let what = format!("revoke the token {}", self.token);
        let request = RevokeTokenRequest { id };
        let call = context.session.call(&what, "TokenService/RevokeToken", request, async |channel, request| {
            connect::tokens(channel).revoke_token(request).await
        });
        call.await?;
        say(&format!("revoked token {}", super::user::shown(&self.token, id)));
        Ok(())
    }
}

/// The id of the user; 0 stands for the caller.
async fn owner(context: &Context, user: Option<&Reference>) -> Result<u64> {
    match user {
        None | Some(Reference::Me) => Ok(0),
        Some(user) => resolve::user(&context.session, user).await,
    }
}

async fn list(context: &Context, paging: &Paging, user_id: u64, with_ended: bool) -> Result<Vec<ApiToken>> {
    paging
        .collect("id", async |pagination| {
            let request = ListTokensRequest { pagination: Some(pagination), user_id, with_ended };
            let call =
                context.session.call("list tokens", "TokenService/ListTokens", request, async |channel, request| {
                    connect::tokens(channel).list_tokens(request).await
                });
            Ok(call.await?.result.unwrap_or_default().tokens)
        })
        .await
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (permission, places) = text.split_once('@').unwrap_or((text, ""));
        if permission.is_empty() {
            return Err("write a permission, such as createWorkspace or getWorkspace@workspace=5".to_owned());
        }
        let places = places.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (dimension, value) =
                pair.split_once('=').ok_or_else(|| format!("{pair} names no {pair}: write {pair}=5"))?;
            let place = match value {
                "*" => Place::Everywhere,
                named => Place::Named(named.parse()?),
            };
            Ok((dimension.to_owned(), place))
        });
        Ok(Self { permission: permission.to_owned(), places: places.collect::<Result<_, String>>()? })
    }
}

impl Scope {
    /// The scope with ids for names.
    async fn resolve(self, context: &Context) -> Result<TokenScope> {
        let session = &context.session;
        let mut resolved = BTreeMap::new();
        for (dimension, place) in self.places {
            let value = match (&*dimension, &place) {
                (_, Place::Everywhere) => "*".to_owned(),
                ("workspace", Place::Named(workspace)) => resolve::workspace(session, workspace).await?.to_string(),
                ("user", Place::Named(user)) => resolve::user(session, user).await?.to_string(),
                ("workbench", Place::Named(workbench)) => {
                    resolve::workbench_id(session, workbench, None).await?.to_string()
                }
                (_, Place::Named(Reference::Id(id))) => id.to_string(),
                (other, Place::Named(_)) => {
                    let text = format!("a permission is not confined to a {other}: use workspace, workbench or user");
                    return Err(Error::usage(text));
                }
            };
            if resolved.insert(dimension.clone(), value).is_some() {
                return Err(Error::usage(format!("{}: the {dimension} is named twice", self.permission))
                    .hint("state the scope once for each"));
            }
        }
        Ok(TokenScope { permission: self.permission, context: resolved })
    }
}

impl Resource for ApiToken {
    const KIND: &'static str = "token";
    const MESSAGE: &'static str = "chorus.v1.ApiToken";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Resource for CreateTokenResult {
    const KIND: &'static str = "token";
    const MESSAGE: &'static str = "chorus.v1.CreateTokenResult";

    fn id(&self) -> String {
        self.info.as_ref().map_or(0, |info| info.id).to_string()
    }
}

/// What people want to know of a token.
fn columns() -> Vec<Column<ApiToken>> {
    vec![
        Column::new("id", |t: &ApiToken| t.id),
        Column::new("name", |t: &ApiToken| t.name.clone()),
        Column::new("begins with", |t: &ApiToken| t.prefix.clone()),
        Column::new("status", |t: &ApiToken| t.status.clone()),
        Column::new("scopes", |t: &ApiToken| t.scopes.iter().map(scope).collect::<Vec<_>>()).wide(),
        Column::new("networks", |t: &ApiToken| t.networks.clone()).wide(),
        Column::new("created", |t: &ApiToken| moment(t.created_at.as_ref())).wide(),
        Column::new("expires", |t: &ApiToken| moment(t.expires_at.as_ref())),
        Column::new("last used", |t: &ApiToken| moment(t.last_used_at.as_ref())),
        Column::new("from", |t: &ApiToken| t.last_used_address.clone()).wide(),
    ]
}

fn scope(scope: &TokenScope) -> String {
    let context: Vec<_> = scope.context.iter().map(|(dimension, value)| format!("{dimension}={value}")).collect();
    match context.is_empty() {
        true => scope.permission.clone(),
        false => format!("{}@{}", scope.permission, context.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_as_they_are_typed() {
        let at = |dimension: &str, place| vec![(dimension.to_owned(), place)];
        let named = |text: &str| Place::Named(text.parse().unwrap());
        for (text, permission, places) in [
            ("createWorkspace", "createWorkspace", vec![]),
            ("getWorkspace@workspace=5", "getWorkspace", at("workspace", named("5"))),
            ("getWorkspace@workspace=*", "getWorkspace", at("workspace", Place::Everywhere)),
            ("getWorkspace@workspace=a=b", "getWorkspace", at("workspace", named("a=b"))),
            ("getUser@user=@me", "getUser", at("user", Place::Named(Reference::Me))),
        ] {
            assert_eq!(text.parse(), Ok(Scope { permission: permission.to_owned(), places }), "{text}");
        }
        for bad in ["", "@workspace=5", "getWorkspace@workspace", "getWorkspace@workspace=", "getWorkspace@workspace=0"]
        {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_as_they_are_shown() {
        let plain = TokenScope { permission: "createWorkspace".to_owned(), context: BTreeMap::new() };
        assert_eq!(scope(&plain), "createWorkspace");
        let context = BTreeMap::from([("workspace".to_owned(), "*".to_owned())]);
        assert_eq!(scope(&TokenScope { permission: "getWorkspace".to_owned(), context }), "getWorkspace@workspace=*");
    }
}
