//! What sessions need beside the operator: drivers, Secrets, priority classes.

use k8s_openapi::api::{core::v1::Secret, scheduling::v1::PriorityClass, storage::v1::CSIDriver};
use kube::{Api, Client};

use super::{
    super::settings::{SecretRef, Settings},
    Findings, Row,
};

/// The drivers of the file systems of workspaces.
const DRIVERS: [(&str, &str); 2] =
    [("csi.juicefs.com", "the archive (storage.s3)"), ("nfs.csi.k8s.io", "the scratch space (storage.nfs)")];

/// Whether volumes can be mounted.
pub async fn drivers(client: &Client) -> Findings {
    let api: Api<CSIDriver> = Api::all(client.clone());
    let mut rows = Vec::new();
    for (name, what) in DRIVERS {
        let check = format!("CSI driver {name}");
        rows.push(match api.get_opt(name).await? {
            Some(_) => Row::ok(&check, "installed"),
            None => {
                Row::warn(&check, "not installed", format!("install it for {what}, or switch that off in workbenches"))
            }
        });
    }
    Ok(rows)
}

/// The Secret of the object storage.
pub async fn juicefs(client: &Client, settings: &Settings) -> Findings {
    secret(client, &settings.juicefs_secret, &["name"], "the archive").await
}

/// The Secret of the NFS server.
pub async fn nfs(client: &Client, settings: &Settings) -> Findings {
    secret(client, &settings.nfs_secret, &["server", "share"], "the scratch space").await
}

async fn secret(client: &Client, place: &SecretRef, keys: &[&str], what: &str) -> Findings {
    let check = format!("Secret {}/{}", place.namespace, place.name);
    let literals: Vec<_> = keys.iter().map(|key| format!("--from-literal={key}=…")).collect();
    let create = format!("kubectl -n {} create secret generic {} {}", place.namespace, place.name, literals.join(" "));
    let api: Api<Secret> = Api::namespaced(client.clone(), &place.namespace);
    let Some(secret) = api.get_opt(&place.name).await? else {
        return Ok(vec![Row::warn(&check, format!("missing, so {what} is not mounted"), create)]);
    };
    let data = secret.data.unwrap_or_default();
    let empty = |key: &&&str| data.get(**key).is_none_or(|value| value.0.is_empty());
    let missing: Vec<_> = keys.iter().filter(empty).copied().collect();
    Ok(vec![if missing.is_empty() {
        Row::ok(&check, format!("has {}", keys.join(", ")))
    } else {
        Row::fail(&check, format!("lacks {}, so {what} is not mounted", missing.join(", ")), "add what it lacks")
    }])
}

/// Whether the classes of sessions exist; a pod of one that does not is refused.
pub async fn priority_classes(client: &Client, settings: &Settings) -> Findings {
    let api: Api<PriorityClass> = Api::all(client.clone());
    let mut rows = Vec::new();
    let mut names: Vec<_> =
        [&settings.workbench_priority_class, &settings.application_priority_class].into_iter().flatten().collect();
    names.dedup();
    for name in names {
        let check = format!("priority class {name}");
        rows.push(match api.get_opt(name).await? {
            Some(class) => Row::ok(&check, class.value.to_string()),
            None => Row::fail(&check, "missing, so its pods are refused", "create it, or name another in the settings"),
        });
    }
    Ok(rows)
}
