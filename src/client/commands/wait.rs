//! `chorus wait`: until something is as it should be.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::workbench::{self, Target, app};
use crate::{
    client::{
        Context,
        error::{Error, Exit, Result},
        output::say,
        resolve::Reference,
        wait::{self, AppGoal, Goal, WorkbenchGoal},
    },
    proto::v1::{AppInstance, Workbench, WorkbenchFilter},
};

/// `chorus wait`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0: it is so. 1: it does not come about by itself, such as a desktop that cannot start. 3: it is gone.
8: not within --timeout (2m unless stated); the last state is told.

Examples:
  chorus wait workbench/desk --for ready --timeout 5m
  chorus wait workbench/genomics/desk --for deleted
  chorus wait app-instance/12 --for ended")]
pub struct Wait {
    /// KIND/NAME: workbench/ with an id, a name or WORKSPACE/NAME, or app-instance/ with an id
    thing: Thing,
    /// Workbench: ready, stopped or deleted. App instance: running or ended
    #[arg(long = "for", value_enum, value_name = "STATE")]
    state: State,
    /// The workspace that a workbench is in, by id or name, where its name alone is not enough
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<Reference>,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    Workbench(Reference),
    AppInstance(u64),
}

impl FromStr for Thing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some(("workbench", name)) => name.parse().map(Self::Workbench),
            Some(("app-instance", id)) => match id.parse()? {
                Reference::Id(id) => Ok(Self::AppInstance(id)),
                _ => Err("an app instance is named by its id".to_owned()),
            },
            _ => Err("write workbench/NAME or app-instance/ID".to_owned()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Ready,
    Stopped,
    Deleted,
    Running,
    Ended,
}

impl Wait {
    pub(super) async fn run(self, context: &mut Context) -> Result<()> {
        match (self.thing, self.state) {
            (Thing::Workbench(workbench), state) => {
                let goal = state.of_workbench()?;
                let target = Target { workbench, workspace: self.workspace };
                let done = wait_for_workbench(context, &target, goal).await?;
                report(context, done, &format!("workbench {}", target.workbench), goal)
            }
            (Thing::AppInstance(id), state) => {
                let goal = state.of_app()?;
                let done: Option<AppInstance> = app::wait_for(context, id, goal).await?;
                report(context, done, &format!("app instance {id}"), goal)
            }
        }
    }
}

impl State {
    fn of_workbench(self) -> Result<WorkbenchGoal> {
        match self {
            Self::Ready => Ok(WorkbenchGoal::Ready),
            Self::Stopped => Ok(WorkbenchGoal::Stopped),
            Self::Deleted => Ok(WorkbenchGoal::Deleted),
            Self::Running | Self::Ended => {
                Err(Error::usage("a workbench is waited for to be ready, stopped or deleted"))
            }
        }
    }

    fn of_app(self) -> Result<AppGoal> {
        match self {
            Self::Running => Ok(AppGoal::Running),
            Self::Ended => Ok(AppGoal::Ended),
            Self::Ready | Self::Stopped | Self::Deleted => {
                Err(Error::usage("an app instance is waited for to be running or ended"))
            }
        }
    }
}

async fn wait_for_workbench(context: &Context, target: &Target, goal: WorkbenchGoal) -> Result<Option<Workbench>> {
    let workbench = match target.get(&context.session).await {
        Ok(workbench) => workbench,
        Err(error) if goal == WorkbenchGoal::Deleted && error.exit() == Exit::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let filter = Some(WorkbenchFilter { workspace_ids_in: vec![workbench.workspace_id] });
    wait::until(context, &workbench::title(&workbench), workbench.id, filter, goal).await
}

fn report<T, G>(context: &mut Context, done: Option<T>, name: &str, goal: G) -> Result<()>
where
    T: crate::client::output::Resource,
    G: Goal<T>,
{
    let message = format!("{name} is {}", goal.name());
    match done {
        Some(item) => context.printer.changed(&item, &message),
        None => {
            say(&message);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things() {
        let name = |text: &str| Some(Thing::Workbench(Reference::Name(text.to_owned())));
        for (text, expected) in [
            ("workbench/desk", name("desk")),
            ("workbench/genomics/desk", name("genomics/desk")),
            ("workbench/name:12", name("12")),
            ("workbench/12", Some(Thing::Workbench(Reference::Id(12)))),
            ("app-instance/9", Some(Thing::AppInstance(9))),
            ("app-instance/xterm", None),
            ("workbench/", None),
            ("workbench", None),
            ("workspace/12", None),
        ] {
            assert_eq!(text.parse::<Thing>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn each_kind_has_its_states() {
        for (state, workbench, app) in [
            (State::Ready, true, false),
            (State::Stopped, true, false),
            (State::Deleted, true, false),
            (State::Running, false, true),
            (State::Ended, false, true),
        ] {
            assert_eq!(state.of_workbench().is_ok(), workbench, "{state:?}");
            assert_eq!(state.of_app().is_ok(), app, "{state:?}");
        }
    }
}
