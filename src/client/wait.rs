//! Waiting until something is as it should be.
//!
//! ```text
//! Feed ──► each state ──► Goal::judge ──► Reached · Waiting · Hopeless
//!                              └──► Progress (standard error)
//! ```
//!
//! What always holds: nothing is asked again and again, each state comes from a stream; a state that gets no better by
//! itself ends the waiting at once (exit code 1), since a build should not stand still for minutes to learn that; the time
//! limit ends it with exit code 8 and the last state that was seen.

use std::time::Duration;

use tokio::time;

use super::{
    Context,
    error::{Error, Exit, Result},
    progress::Progress,
    watch::{Event, Feed, Watched},
};
use crate::proto::v1::{AppInstance, Workbench};

/// How long is waited unless the command line says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What one state means for the waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Reached,
    /// It may still come.
    Waiting,
    /// It does not come by itself; the text says why.
    Hopeless(String),
}

/// What is waited for.
pub trait Goal<T>: Copy {
    /// What the thing then is, as in "is ready".
    fn name(self) -> &'static str;
    /// What this state means.
    fn judge(self, item: &T) -> Verdict;
    /// What it means that there is no such thing (any more).
    fn judge_gone(self) -> Verdict;
    /// The state in a few words.
    fn describe(item: &T) -> String;
}

/// What is waited for, of a workbench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkbenchGoal {
    /// Its desktop answers.
    Ready,
    /// Its desktop has ended.
    Stopped,
    /// It is gone.
    Deleted,
}

/// What is waited for, of an app instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppGoal {
    /// It runs, or has done so and ended well.
    Running,
    /// It has ended.
    Ended,
}

/// Waits until the thing with this id is as it should be, and returns it as it was seen last; none if it is gone, and should
/// be. `name` is what people call it: `workbench "desk" (3)`.
pub async fn until<T: Watched, G: Goal<T>>(
    context: &Context,
    name: &str,
    id: u64,
    filter: T::Filter,
    goal: G,
) -> Result<Option<T>> {
    let mut progress = Progress::begin(context.printer.is_data());
    let mut last = state("", "");
    let limit = context.patience;
    let reached = watch_until(context, name, id, filter, goal, |text| {
        text.clone_into(&mut last);
        progress.show(&format!("{name}: {text}"));
    });
    match time::timeout(limit, reached).await {
        Ok(reached) => reached,
        Err(_) => {
            let text = format!("{name} is not {} after {limit:?}; its last state is {last}", goal.name());
            Err(Error::new(Exit::Timeout, text).hint("wait longer with `--timeout`"))
        }
    }
}

async fn watch_until<T: Watched, G: Goal<T>>(
    context: &Context,
    name: &str,
    id: u64,
    filter: T::Filter,
    goal: G,
    mut show: impl FnMut(&str),
) -> Result<Option<T>> {
    let what = format!("wait for {name}");
    let id = id.to_string();
    let mut feed = Feed::<T>::open(&context.session, &what, filter).await?;
    let mut seen = None;
    loop {
        let verdict = match feed.next().await? {
            Event::Seen(item) if item.id() == id => {
                show(&G::describe(&item));
                let verdict = goal.judge(&item);
                seen = Some(item);
                verdict
            }
            Event::Gone(item) if item.id() == id => {
                seen = None;
                goal.judge_gone()
            }
            Event::Current if seen.is_none() => goal.judge_gone(),
            _ => continue,
        };
        match verdict {
            Verdict::Reached => return Ok(seen),
            Verdict::Waiting => {}
            Verdict::Hopeless(why) if seen.is_none() => return Err(Error::not_found(format!("{name} {why}"))),
            Verdict::Hopeless(why) => return Err(Error::failure(format!("{name} {why}"))),
        }
    }
}

impl Goal<Workbench> for WorkbenchGoal {
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stopped => "stopped",
            Self::Deleted => "deleted",
        }
    }

    fn judge(self, workbench: &Workbench) -> Verdict {
        let stopped = workbench.status == "inactive";
        match self {
            Self::Ready if stopped => {
                Verdict::Hopeless("is stopped; start it with `chorus workbench start`".to_owned())
            }
            Self::Ready if workbench.server_pod_status == "Ready" => Verdict::Reached,
            // the server has given up for now: somebody has to do something
            Self::Ready if workbench.k8s_status == "Failed" => {
                Verdict::Hopeless(because("cannot get ready", &workbench.server_pod_message))
            }
            Self::Stopped if stopped && matches!(workbench.server_pod_status.as_str(), "Terminated" | "") => {
                Verdict::Reached
            }
            Self::Ready | Self::Stopped | Self::Deleted => Verdict::Waiting,
        }
    }

    fn judge_gone(self) -> Verdict {
        match self {
            Self::Deleted => Verdict::Reached,
            Self::Ready | Self::Stopped => Verdict::Hopeless("is deleted".to_owned()),
        }
    }

    fn describe(workbench: &Workbench) -> String {
        state(&workbench.server_pod_status, &workbench.server_pod_message)
    }
}

impl Goal<AppInstance> for AppGoal {
    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }

    fn judge(self, app: &AppInstance) -> Verdict {
        match (app.k8s_status.as_str(), self) {
            ("Failed", _) => Verdict::Hopeless(because("failed", &app.k8s_message)),
            ("Complete", _) | ("Running", Self::Running) | ("Stopped" | "Killed", Self::Ended) => Verdict::Reached,
            ("Stopped" | "Killed", Self::Running) => Verdict::Hopeless(because("was stopped", &app.k8s_message)),
            _ => Verdict::Waiting,
        }
    }

    fn judge_gone(self) -> Verdict {
        match self {
            Self::Ended => Verdict::Reached,
            Self::Running => Verdict::Hopeless("is gone".to_owned()),
        }
    }

    fn describe(app: &AppInstance) -> String {
        state(&app.k8s_status, &app.k8s_message)
    }
}

fn state(status: &str, message: &str) -> String {
    match (status, message.trim()) {
        ("", "") => "no state yet".to_owned(),
        (status, "") => status.to_owned(),
        ("", message) => message.to_owned(),
        (status, message) => format!("{status}: {message}"),
    }
}

fn because(what: &str, message: &str) -> String {
    match message.trim() {
        "" => what.to_owned(),
        message => format!("{what}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workbench(status: &str, pod: &str, k8s: &str) -> Workbench {
        Workbench {
            status: status.to_owned(),
            server_pod_status: pod.to_owned(),
            k8s_status: k8s.to_owned(),
            server_pod_message: "xpra is missing".to_owned(),
            ..Workbench::default()
        }
    }

    fn word(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Reached => "reached",
            Verdict::Waiting => "waiting",
            Verdict::Hopeless(_) => "hopeless",
        }
    }

    #[test]
    fn workbenches() {
        use WorkbenchGoal::{Deleted, Ready, Stopped};
        let table = [
            ("active", "Waiting", "Progressing", "waiting", "waiting"),
            ("active", "Starting", "Progressing", "waiting", "waiting"),
            ("active", "Ready", "Running", "reached", "waiting"),
            ("active", "Restarting", "Progressing", "waiting", "waiting"),
            ("active", "Failing", "Progressing", "waiting", "waiting"),
            ("active", "Failing", "Failed", "hopeless", "waiting"),
            ("active", "", "", "waiting", "waiting"),
            ("active", "Unknown", "Running", "waiting", "waiting"),
            ("inactive", "Terminating", "", "hopeless", "waiting"),
            ("inactive", "Terminated", "", "hopeless", "reached"),
            ("inactive", "", "", "hopeless", "reached"),
        ];
        for (status, pod, k8s, ready, stopped) in table {
            let workbench = workbench(status, pod, k8s);
            assert_eq!(word(&Ready.judge(&workbench)), ready, "{status} {pod} {k8s}");
            assert_eq!(word(&Stopped.judge(&workbench)), stopped, "{status} {pod} {k8s}");
            assert_eq!(word(&Deleted.judge(&workbench)), "waiting", "{status} {pod} {k8s}");
        }
        assert_eq!([Ready, Stopped, Deleted].map(|goal| word(&goal.judge_gone()).len()), [8, 8, 7]);
        let why = Verdict::Hopeless("cannot get ready: xpra is missing".to_owned());
        assert_eq!(Ready.judge(&workbench("active", "Failing", "Failed")), why);
    }

    #[test]
    fn app_instances() {
        let table = [
            ("Unknown", "waiting", "waiting"),
            ("", "waiting", "waiting"),
            ("Progressing", "waiting", "waiting"),
            ("Running", "reached", "waiting"),
            ("Stopping", "waiting", "waiting"),
            ("Killing", "waiting", "waiting"),
            ("Complete", "reached", "reached"),
            ("Failed", "hopeless", "hopeless"),
            ("Stopped", "hopeless", "reached"),
            ("Killed", "hopeless", "reached"),
        ];
        for (status, running, ended) in table {
            let app = AppInstance { k8s_status: status.to_owned(), ..AppInstance::default() };
            assert_eq!(word(&AppGoal::Running.judge(&app)), running, "{status}");
            assert_eq!(word(&AppGoal::Ended.judge(&app)), ended, "{status}");
        }
    }

    #[test]
    fn states_in_words() {
        assert_eq!(state("", ""), "no state yet");
        assert_eq!(state("Ready", ""), "Ready");
        assert_eq!(state("", "stopped"), "stopped");
        assert_eq!(state("Starting", "pulling "), "Starting: pulling");
    }
}
