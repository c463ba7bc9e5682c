//! Names of workbenches, apps and app instances.
//!
//! Their names repeat more than those of users and workspaces, so there is more to say where a name is not enough: a
//! workbench is `workspace/name`, or stands after `--workspace`; an app is its newest version where that cannot be wrong.

use super::{Reference, all_workspaces, empty_reply, named, pick};
use crate::{
    client::{
        connect::{self, Session},
        error::{Error, Result},
        paging::Paging,
    },
    proto::v1::{
        App, AppInstance, AppInstanceFilter, GetWorkbenchRequest, ListAppInstancesRequest, ListAppsRequest,
        ListWorkbenchesRequest, Workbench, WorkbenchFilter, Workspace,
    },
};

/// The workbench that is meant; with `within`, only those of that workspace count.
pub async fn workbench(session: &Session, reference: &Reference, within: Option<&Reference>) -> Result<Workbench> {
    let name = match reference {
        Reference::Me => return Err(Error::usage("@me is a user, not a workbench")),
        Reference::Id(id) => return get(session, *id).await,
        Reference::Name(name) => name,
    };
    let workspaces = match within {
        Some(workspace) => vec![super::workspace(session, workspace).await?],
        None => Vec::new(),
    };
    let what = format!("find the workbench {name:?}");
    let all = workbenches(session, &what, &Paging::default(), "id", &workspaces).await?;
    let fitting = named(&all, name, |w| [&w.name, &w.short_name]);
    match fitting.as_slice() {
        [one] => Ok((*one).clone()),
        [] if within.is_some() || !name.contains('/') => choose(name, &fitting, &[]),
        // the names of the workspaces are needed from here on
        fitting => {
            let workspaces = all_workspaces(session, name).await?;
            match fitting {
                [] => choose(name, &in_workspace(&all, &workspaces, name), &workspaces),
                fitting => choose(name, fitting, &workspaces),
            }
        }
    }
}

/// The id of the workbench that is meant.
pub async fn workbench_id(session: &Session, reference: &Reference, within: Option<&Reference>) -> Result<u64> {
    match reference {
        Reference::Id(id) => Ok(*id),
        named => Ok(workbench(session, named, within).await?.id),
    }
}

async fn get(session: &Session, id: u64) -> Result<Workbench> {
    let what = format!("get workbench {id}");
    let request = GetWorkbenchRequest { id };
    let call = session.call(&what, "WorkbenchService/GetWorkbench", request, async |channel, request| {
        connect::workbenches(channel).get_workbench(request).await
    });
    let workbench = call.await?.result.and_then(|result| result.workbench);
    workbench.ok_or_else(|| empty_reply("WorkbenchService/GetWorkbench"))
}

/// All workbenches of these workspaces; of every one that the caller may see when none is named.
pub async fn workbenches(
    session: &Session,
    what: &str,
    paging: &Paging,
    sort: &str,
    workspaces: &[u64],
) -> Result<Vec<Workbench>> {
    let filter = Some(WorkbenchFilter { workspace_ids_in: workspaces.to_vec() }).filter(|_| !workspaces.is_empty());
    paging
        .collect(sort, async |pagination| {
            let request = ListWorkbenchesRequest { pagination: Some(pagination), filter: filter.clone() };
            let call = session.call(what, "WorkbenchService/ListWorkbenches", request, async |channel, request| {
                connect::workbenches(channel).list_workbenches(request).await
            });
            Ok(call.await?.result.unwrap_or_default().workbenches)
        })
        .await
}

/// What `workspace/name` means. Both may hold slashes themselves.
fn in_workspace<'a>(all: &'a [Workbench], workspaces: &[Workspace], path: &str) -> Vec<&'a Workbench> {
    let splits = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
    splits
        .flat_map(|(workspace, name)| {
            let within = named(workspaces, workspace, |w| [&w.name, &w.short_name]);
            let number = workspace.parse().ok();
            let is_within = move |id: u64| Some(id) == number || within.iter().any(|w| w.id == id);
            let named = named(all, name, |w| [&w.name, &w.short_name]);
            named.into_iter().filter(move |w| is_within(w.workspace_id))
        })
        .collect()
}

fn choose(name: &str, fitting: &[&Workbench], workspaces: &[Workspace]) -> Result<Workbench> {
    let describe = |w: &Workbench| match workspaces.iter().find(|workspace| workspace.id == w.workspace_id) {
        Some(workspace) => format!("{} {:?} in workspace {:?}", w.id, w.name, workspace.name),
        None => format!("{} {:?} in workspace {}", w.id, w.name, w.workspace_id),
    };
    let id = pick("workbench", name, fitting, |w| w.id, describe)?;
    let chosen = fitting.iter().find(|w| w.id == id);
    chosen.map(|w| (*w).clone()).ok_or_else(|| empty_reply("WorkbenchService/ListWorkbenches"))
}

/// Which version of an app is meant where its name stands for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The newest: to look at it, or to start it.
    Newest,
    /// None: there must be one only, since it is changed.
    Only,
}

/// The id of an app.
pub async fn app(session: &Session, reference: &Reference, version: Version) -> Result<u64> {
    let name = match reference {
        Reference::Me => return Err(Error::usage("@me is a user, not an app")),
        Reference::Id(id) => return Ok(*id),
        Reference::Name(name) => name,
    };
    let what = format!("find the app {name:?}");
    let fetch = async |pagination| {
        let request = ListAppsRequest { pagination: Some(pagination), disable_grouping: true };
        let call = session.call(&what, "AppService/ListApps", request, async |channel, request| {
            connect::apps(channel).list_apps(request).await
        });
        Ok(call.await?.result.unwrap_or_default().apps)
    };
    let all = Paging::default().collect("id", fetch).await?;
    choose_app(&all, name, version)
}

fn choose_app(all: &[App], name: &str, version: Version) -> Result<u64> {
    let mut fitting = named(all, name, |app| [&app.name]);
    let one_image = fitting.iter().all(|app| app.docker_image_name == fitting[0].docker_image_name);
    if version == Version::Newest && one_image {
        // ids grow with time
        fitting = fitting.into_iter().max_by_key(|app| app.id).into_iter().collect();
    }
    pick(
        "app",
        name,
        &fitting,
        |app| app.id,
        |app| format!("{} {:?} ({}:{})", app.id, app.name, app.docker_image_name, app.docker_image_tag),
    )
}

/// The id of an app instance. By the name of its app, what still runs goes before what has ended.
pub async fn app_instance(session: &Session, reference: &Reference, workbench: Option<u64>) -> Result<u64> {
    let name = match reference {
        Reference::Me => return Err(Error::usage("@me is a user, not an app instance")),
        Reference::Id(id) => return Ok(*id),
        Reference::Name(name) => name,
    };
    let what = format!("find the app instance {name:?}");
    let filter = workbench.map(|id| AppInstanceFilter { workbench_ids_in: vec![id] });
    let all = app_instances(session, &what, &Paging::default(), "id", filter).await?;
    choose_instance(&all, name)
}

/// All app instances that fit the filter.
pub async fn app_instances(
    session: &Session,
    what: &str,
    paging: &Paging,
    sort: &str,
    filter: Option<AppInstanceFilter>,
) -> Result<Vec<AppInstance>> {
    paging
        .collect(sort, async |pagination| {
            let request = ListAppInstancesRequest { pagination: Some(pagination), filter: filter.clone() };
            let rpc = "AppInstanceService/ListAppInstances";
            let call = session.call(what, rpc, request, async |channel, request| {
                connect::app_instances(channel).list_app_instances(request).await
            });
            Ok(call.await?.result.unwrap_or_default().app_instances)
        })
        .await
}

fn choose_instance(all: &[AppInstance], name: &str) -> Result<u64> {
    let named = named(all, name, |instance| [&instance.app_name]);
    let running: Vec<_> = named.iter().copied().filter(|instance| instance.status != "deleted").collect();
    let fitting = if running.is_empty() { named } else { running };
    pick(
        "app instance",
        name,
        &fitting,
        |instance| instance.id,
        |instance| format!("{} {:?} in workbench {}", instance.id, instance.app_name, instance.workbench_id),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workbench(id: u64, name: &str, workspace_id: u64) -> Workbench {
        Workbench { id, name: name.to_owned(), workspace_id, ..Workbench::default() }
    }

    fn workspace(id: u64, name: &str) -> Workspace {
        Workspace { id, name: name.to_owned(), ..Workspace::default() }
    }

    #[test]
    fn a_workbench_in_a_workspace() {
        let all = [workbench(1, "desk", 5), workbench(2, "desk", 6), workbench(3, "a/b", 6), workbench(4, "b", 7)];
        let workspaces = [workspace(5, "Genomics"), workspace(6, "Imaging"), workspace(7, "x/a")];
        let find = |path| in_workspace(&all, &workspaces, path).iter().map(|w| w.id).collect::<Vec<_>>();
        let table: [(&str, &[u64]); 8] = [
            ("Genomics/desk", &[1]),
            ("imaging/desk", &[2]),
            ("6/desk", &[2]),
            ("imaging/a/b", &[3]),
            ("x/a/b", &[4]),
            ("imaging/nothing", &[]),
            ("nowhere/desk", &[]),
            ("/", &[]),
        ];
        for (path, expected) in table {
            assert_eq!(find(path), expected, "{path}");
        }
    }

    #[test]
    fn workbenches_of_one_name_are_told_apart() {
        let all = [workbench(1, "desk", 5), workbench(2, "desk", 6)];
        let error = choose("desk", &all.iter().collect::<Vec<_>>(), &[workspace(5, "Genomics")]).unwrap_err();
        insta::assert_snapshot!(error, @r#"
        error: 2 workbenches are named "desk"
        hint: use the id of one: 1 "desk" in workspace "Genomics", 2 "desk" in workspace 6
        "#);
    }

    #[test]
    fn the_newest_version_of_one_image_only() {
        let app = |id, name: &str, image: &str| App {
            id,
            name: name.to_owned(),
            docker_image_name: image.to_owned(),
            docker_image_tag: format!("1.{id}"),
            ..App::default()
        };
        let all = [app(1, "RStudio", "rstudio"), app(4, "RStudio", "rstudio"), app(3, "Web", "a"), app(2, "Web", "b")];
        assert_eq!(choose_app(&all, "rstudio", Version::Newest).unwrap(), 4);
        let error = choose_app(&all, "RStudio", Version::Only).unwrap_err().to_string();
        assert!(error.contains(r#"1 "RStudio" (rstudio:1.1), 4 "RStudio" (rstudio:1.4)"#), "{error}");
        assert_eq!(choose_app(&all, "Web", Version::Newest).unwrap_err().exit() as u8, 2);
        assert_eq!(choose_app(&all, "vscode", Version::Newest).unwrap_err().exit() as u8, 3);
    }

    #[test]
    fn an_instance_that_runs_goes_before_one_that_ended() {
        let instance = |id, status: &str| AppInstance {
            id,
            app_name: "xterm".to_owned(),
            status: status.to_owned(),
            ..AppInstance::default()
        };
        let all = [instance(1, "deleted"), instance(2, "active"), instance(3, "deleted")];
        assert_eq!(choose_instance(&all, "xterm").unwrap(), 2);
        assert_eq!(choose_instance(&all[..1], "XTerm").unwrap(), 1);
        assert_eq!(choose_instance(&all[2..], "xclock").unwrap_err().exit() as u8, 3);
    }
}
