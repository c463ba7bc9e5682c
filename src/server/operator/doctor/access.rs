//! Whether the operator may do what it has to do. The API server is asked for whoever asks, so this says most when it runs
//! as the operator's service account.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};

use super::{
    super::manifests::permissions::{Limit, PERMISSIONS, Permission},
    Findings, Options, Row,
};

/// Questions that are under way at a time.
const CONCURRENCY: usize = 8;

/// A row for every permission that is missing, or one that says that none is.
pub async fn permissions(client: &Client, options: &Options) -> Findings {
    let me = whoami(client).await;
    let (mut rows, mut asked) = (Vec::new(), 0_usize);
    for permission in PERMISSIONS {
        let Some(limit) = permission.place.limit(&options.settings, &options.namespace) else { continue };
        let missing = missing(client, permission, limit).await?;
        asked = asked.saturating_add(permission.verbs.len());
        if !missing.is_empty() {
            let found =
                format!("{me} may not {} {} ({})", missing.join(", "), place(permission, limit), permission.why);
            let todo = "chorus operator rbac | kubectl apply -f -, and run doctor as the operator's service account";
            rows.push(Row::fail("permissions", found, todo));
        }
    }
    if rows.is_empty() {
        rows.push(Row::ok("permissions", format!("{me} has all {asked}")));
    }
    Ok(rows)
}

/// The name of who asks; older clusters do not say.
async fn whoami(client: &Client) -> String {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok();
    let user = review.and_then(|review| review.status?.user_info?.username);
    user.unwrap_or_else(|| "the user".to_owned())
}

/// The verbs of a permission that are not granted.
async fn missing(client: &Client, permission: &Permission, limit: Limit<'_>) -> Result<Vec<&'static str>, kube::Error> {
    let asked = stream::iter(permission.verbs).map(|&verb| async move {
        let granted = may(client, permission, verb, limit).await?;
        Ok::<_, kube::Error>((!granted).then_some(verb))
    });
    let answers: Vec<_> = asked.buffered(CONCURRENCY).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn may(client: &Client, permission: &Permission, verb: &str, limit: Limit<'_>) -> Result<bool, kube::Error> {
    let (resource, subresource) = permission.resource.split_once('/').unwrap_or((permission.resource, ""));
    let attributes = ResourceAttributes {
        group: Some(permission.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
        verb: Some(verb.to_owned()),
        namespace: limit.namespace.map(str::to_owned),
        name: limit.name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    Ok(api.create(&PostParams::default(), &review).await?.status.is_some_and(|status| status.allowed))
}

fn place(permission: &Permission, limit: Limit<'_>) -> String {
    let resource = match permission.group {
        "" => permission.resource.to_owned(),
        group => format!("{}.{group}", permission.resource),
    };
    let name = limit.name.map(|name| format!(" {name}")).unwrap_or_default();
    let namespace = limit.namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    format!("{resource}{name}{namespace}")
}
