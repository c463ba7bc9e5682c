//! `chorus operator`: the Kubernetes operator by itself, and the tools to install, review and check it.
//!
//! `crds`, `rbac`, `manifests` and `render` need no cluster; `doctor` only reads; `adopt --restart` is the only one that writes.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};

use super::{
    config_args::OperatorArgs,
    load, print, say,
    serve::{install_tls, until_the_end},
};
use crate::server::{
    clock::{Clock as _, SystemClock},
    config::Config,
    operate,
    operator::{
        adopt, doctor, manifests,
        render::{self, Input, Observed},
        settings::Settings,
    },
    random::SystemRandom,
};

/// `chorus operator`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct OperatorCommand {
    /// One of its tools; without, it runs.
    #[command(subcommand)]
    tool: Option<Tool>,
    /// The configuration
    #[command(flatten)]
    config: OperatorArgs,
}

/// `chorus operator …`
#[derive(Debug, Subcommand)]
enum Tool {
    /// Print the CustomResourceDefinitions
    Crds,
    /// Print the namespace, the service account and the roles of the operator
    Rbac(Install),
    /// Print everything that has to be installed: `chorus operator manifests --image IMAGE | kubectl apply -f -`
    Manifests(Install),
    /// Print what resources become, without a cluster: `chorus operator render -f workbench.yaml -f workspace.yaml`
    ///
    /// As if the server were ready, the policy in force and the storage there, unless --as-observed says otherwise. What keeps
    /// an app or a policy from coming up is said on standard error.
    Render(Render),
    /// Say what a cluster lacks, and what to do about it
    ///
    /// Only reads. Exit code 1 when the operator could not do its work.
    Doctor {
        /// As a table for people, or as JSON
        #[arg(long, short, value_enum, default_value_t = Shape::Table)]
        output: Shape,
        /// The configuration that the operator runs with
        #[command(flatten)]
        config: OperatorArgs,
    },
    /// List the servers that a former operator started; with --restart, let them be started anew
    Adopt(Adopt),
}

/// What is to be rendered.
#[derive(Debug, Args)]
struct Render {
    /// File with Workbench and Workspace resources, YAML or JSON; may be repeated; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// File that says what is there already (docs/operator.md)
    #[arg(long, value_name = "FILE")]
    as_observed: Option<PathBuf>,
    /// Show tokens instead of a word in their place
    #[arg(long)]
    show_secrets: bool,
    /// The configuration that the operator runs with
    #[command(flatten)]
    config: OperatorArgs,
}

/// How findings are shown.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Which servers are started anew.
#[derive(Debug, Args)]
struct Adopt {
    /// Start their servers anew: who works in one loses what is not saved
    #[arg(long)]
    restart: bool,
    /// Workbenches, as NAMESPACE/NAME
    #[arg(value_name = "NAMESPACE/NAME", requires = "restart")]
    workbenches: Vec<adopt::Name>,
    /// All that are listed
    #[arg(long, requires = "restart", conflicts_with = "workbenches")]
    all: bool,
    /// The configuration
    #[command(flatten)]
    config: OperatorArgs,
}

/// How the operator is installed.
#[derive(Debug, Args)]
struct Install {
    /// The image of this program, with tag
    #[arg(long)]
    image: Option<String>,
    /// Pull secret for that image; may be repeated
    #[arg(long = "pull-secret", value_name = "NAME")]
    pull_secrets: Vec<String>,
    /// How many run; one of them leads
    #[arg(long, default_value_t = 2)]
    replicas: u32,
    /// Ask the Prometheus operator to collect the metrics
    #[arg(long)]
    service_monitor: bool,
    /// Leave out the PriorityClasses that are used
    #[arg(long)]
    without_priority_classes: bool,
    /// Leave out the CustomResourceDefinitions, which hold all workbenches
    #[arg(long)]
    without_crds: bool,
    /// The configuration that it shall run with
    #[command(flatten)]
    config: OperatorArgs,
}

impl OperatorCommand {
    /// Runs the operator, or one of its tools.
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.tool {
            None => until_the_end(&self.config, |config| {
                operate::run(config, Arc::new(SystemClock), Arc::new(SystemRandom))
            }),
            Some(Tool::Crds) => print(&manifests::crds()?),
            Some(Tool::Rbac(install)) => print(&manifests::rbac(&install.options()?)?),
            Some(Tool::Manifests(install)) if install.without_crds => print(&manifests::operator(&install.options()?)?),
            Some(Tool::Manifests(install)) => print(&manifests::manifests(&install.options()?)?),
            Some(Tool::Render(render)) => render.run(),
            Some(Tool::Doctor { output, config }) => examine(output, &config),
            Some(Tool::Adopt(adopt)) => adopt.run(),
        }
    }
}

impl Install {
    fn options(&self) -> Result<manifests::Options> {
        let config = load(&self.config)?.config;
        let defaults = manifests::Options::default();
        let mut settings = settings(&config)?;
        // a pod without a class could not be told from one that matters
        let of_defaults = &defaults.settings;
        settings.workbench_priority_class =
            settings.workbench_priority_class.or_else(|| of_defaults.workbench_priority_class.clone());
        settings.application_priority_class =
            settings.application_priority_class.or_else(|| of_defaults.application_priority_class.clone());
        Ok(manifests::Options {
            namespace: config.operator.namespace.clone().unwrap_or(defaults.namespace),
            image: self.image.clone().unwrap_or(defaults.image),
            pull_secrets: self.pull_secrets.clone(),
            replicas: self.replicas,
            service_monitor: self.service_monitor,
            priority_classes: !self.without_priority_classes,
            settings,
        })
    }
}

fn settings(config: &Config) -> Result<Settings> {
    config.operator.settings().map_err(|conflict| anyhow!("`{}`: {}", conflict.key, conflict.reason))
}

impl Render {
    fn run(&self) -> Result<ExitCode> {
        let settings = settings(&load(&self.config)?.config)?;
        let inputs = self.files.iter().map(|path| input(path)).collect::<Result<Vec<_>>>()?;
        let observed: Observed = match &self.as_observed {
            Some(path) => Observed::parse(&input(path)?.text).with_context(|| path.display().to_string())?,
            None => Observed::default(),
        };
        let rendered = render::render(&inputs, &observed, &settings, self.show_secrets)?;
        rendered.remarks.iter().for_each(|remark| say(remark));
        print(&rendered.yaml)
    }
}

fn input(path: &Path) -> Result<Input> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let name = path.display().to_string();
    let text = text.with_context(|| format!("{name} cannot be read"))?;
    Ok(Input { name, text })
}

fn examine(output: Shape, args: &OperatorArgs) -> Result<ExitCode> {
    let config = load(args)?.config;
    let options = doctor::Options {
        namespace: operate::namespace(&config),
        settings: settings(&config)?,
        now: SystemClock.now(),
    };
    let rows = with_cluster(&config, async |client| doctor::examine(&client, &options).await)?;
    print(&match output {
        Shape::Table => doctor::table(&rows, terminal_size::terminal_size().map(|(width, _)| width.0)),
        Shape::Json => format!("{:#}\n", serde_json::to_value(&rows)?),
    })?;
    Ok(if doctor::is_healthy(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Adopt {
    fn run(self) -> Result<ExitCode> {
        let config = load(&self.config)?.config;
        if !self.restart {
            let outdated = with_cluster(&config, async |client| adopt::outdated(&client).await)??;
            let lines = outdated.iter().map(|one| format!("{}\t{}\t{}\n", one.workbench, one.reason, one.message));
            return print(&lines.collect::<String>());
        }
        let which = match self.all {
            true => adopt::Which::All,
            false if self.workbenches.is_empty() => {
                return Err(anyhow!("name workbenches as NAMESPACE/NAME, or give --all"));
            }
            false => adopt::Which::These(self.workbenches),
        };
        let now = SystemClock.now();
        let done = with_cluster(&config, async |client| adopt::restart(&client, which, now).await)??;
        let mut failed = false;
        for one in done {
            match one.outcome {
                Ok(()) => say(&format!("{} is going to be started anew", one.workbench)),
                Err(error) => {
                    failed = true;
                    say(&format!("chorus: {}: {error}", one.workbench));
                }
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Does something with the configured cluster.
fn with_cluster<T>(config: &Config, work: impl AsyncFnOnce(kube::Client) -> T) -> Result<T> {
    install_tls()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Ok(work(operate::client(config).await?).await) })
}
