//! The API server: its version, our CRDs in it, and what is stored under them.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
};

use super::{
    super::api::{GROUP, VERSION, crds, structural},
    Findings, Row,
};

/// The name of the first check.
const SERVER: &str = "API server";
/// The oldest minor version with containers that stand beside others (`restartPolicy` of init containers).
const OLDEST: u32 = 29;
/// How many resources are read at a time.
const PAGE: u32 = 500;
/// How many are named.
const NAMED: usize = 3;

/// The version of the API server.
///
/// # Errors
/// It does not answer: there is nothing else to look at.
pub async fn version(client: &Client) -> Result<Row, Row> {
    let info = client
        .apiserver_version()
        .await
        .map_err(|error| Row::fail(SERVER, format!("no answer: {error}"), "check the kubeconfig and the network"))?;
    Ok(match (info.major.parse::<u32>(), digits(&info.minor).parse::<u32>()) {
        (Ok(1), Ok(minor)) if minor < OLDEST => {
            Row::fail(SERVER, info.git_version, format!("update Kubernetes to 1.{OLDEST} or later"))
        }
        (Ok(_), Ok(_)) => Row::ok(SERVER, info.git_version),
        _ => Row::warn(SERVER, format!("version {:?}", info.git_version), format!("it should be 1.{OLDEST} or later")),
    })
}

/// Some clusters write `29+`.
fn digits(minor: &str) -> &str {
    minor.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default()
}

/// Whether our CRDs are installed, as they are in this version.
pub async fn crds(client: &Client) -> Findings {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut rows = Vec::new();
    for wanted in crds::crds() {
        let name = wanted.metadata.name.clone().unwrap_or_default();
        rows.push(match api.get_opt(&name).await? {
            None => Row::fail(&check_of(&name), "not installed", "chorus operator crds | kubectl apply -f -"),
            Some(found) => compare(&check_of(&name), &wanted, &found),
        });
    }
    Ok(rows)
}

fn check_of(name: &str) -> String {
    format!("CRD {name}")
}

fn compare(check: &str, wanted: &CustomResourceDefinition, found: &CustomResourceDefinition) -> Row {
    let update = "chorus operator crds | kubectl apply -f -";
    let Some(version) = found.spec.versions.iter().find(|version| version.name == VERSION && version.served) else {
        return Row::fail(check, format!("does not serve {VERSION}"), update);
    };
    let established = found.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if established.into_iter().any(|condition| condition.type_ == "Established" && condition.status != "True") {
        return Row::fail(check, "not accepted by the API server", format!("kubectl describe crd {check}"));
    }
    if !version.storage {
        return Row::fail(check, format!("stores another version than {VERSION}"), update);
    }
    let wanted = wanted.spec.versions.first().map(says).unwrap_or_default();
    let has = says(version);
    let missing: Vec<_> = wanted.difference(&has).filter(|fact| !fact.contains(' ')).map(String::as_str).collect();
    if !missing.is_empty() {
        let found = format!("of another version; fields that are dropped: {}", missing.join(", "));
        return Row::fail(check, found, update);
    }
    if wanted == has {
        Row::ok(check, "as it should be")
    } else {
        Row::warn(check, "has all fields, with other bounds or defaults", update)
    }
}

/// What a schema says: each field on its own, and with what is said about it after a blank. Descriptions do not count.
fn says(version: &CustomResourceDefinitionVersion) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    if let Some(root) = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) {
        // What the API server says about every object is left out of some definitions.
        for name in ["spec", "status"] {
            if let Some(schema) = root.properties.as_ref().and_then(|properties| properties.get(name)) {
                collect(name, schema, &mut facts);
            }
        }
    }
    facts
}

fn collect(path: &str, schema: &JSONSchemaProps, facts: &mut BTreeSet<String>) {
    facts.insert(path.to_owned());
    let own = JSONSchemaProps {
        description: None,
        properties: None,
        items: None,
        additional_properties: None,
        required: schema.required.clone().map(|mut names| {
            names.sort();
            names
        }),
        ..schema.clone()
    };
    facts.insert(format!("{path} {}", serde_json::to_string(&own).unwrap_or_default()));
    for (name, property) in schema.properties.iter().flatten() {
        collect(&format!("{path}.{name}"), property, facts);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect(&format!("{path}[]"), items, facts);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        collect(&format!("{path}.*"), values, facts);
    }
}

/// Whether every stored resource fits our schema: one that does not, from before, cannot be changed on clusters that check
/// all fields with every change.
pub async fn stored(client: &Client) -> Findings {
    let mut rows = Vec::new();
    for crd in crds::crds() {
        let names = crd.spec.names;
        let schema = crd.spec.versions.into_iter().next().and_then(|version| version.schema?.open_api_v3_schema);
        let Some(schema) = schema else { continue };
        let check = format!("stored {}", names.plural);
        let resource = ApiResource {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            api_version: format!("{GROUP}/{VERSION}"),
            kind: names.kind,
            plural: names.plural,
        };
        let Some((count, misfits)) = misfits(client, &resource, &schema).await? else { continue };
        if misfits.is_empty() {
            rows.push(Row::ok(&check, format!("{count}, and all fit the schema")));
        } else {
            let named = misfits.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
            let found = format!("{} of {count} do not fit the schema: {named}", misfits.len());
            rows.push(Row::warn(&check, found, "correct them, or have them made anew"));
        }
    }
    Ok(rows)
}

/// How many resources there are, and what is wrong with them; none where the API server does not know the kind.
async fn misfits(
    client: &Client,
    resource: &ApiResource,
    schema: &JSONSchemaProps,
) -> Result<Option<(usize, Vec<String>)>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let (mut count, mut misfits, mut next) = (0_usize, Vec::new(), None);
    loop {
        let mut page = ListParams::default().limit(PAGE);
        page.continue_token = next;
        let list = match api.list(&page).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            list => list?,
        };
        count = count.saturating_add(list.items.len());
        for object in list.items {
            let mut value = object.data;
            // What an older schema let in is not pruned before it is written anew.
            structural::fill(schema, &mut value);
            let problems = structural::check(schema, &value);
            let of_spec =
                problems.into_iter().find(|problem| problem.path.starts_with("spec") && !problem.is_unknown_field());
            if let Some(problem) = of_spec {
                let (namespace, name) = (object.metadata.namespace, object.metadata.name);
                misfits.push(format!("{}/{}: {problem}", namespace.unwrap_or_default(), name.unwrap_or_default()));
            }
        }
        next = list.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(Some((count, misfits)));
        }
    }
}
