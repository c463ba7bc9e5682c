//! The catalogue of apps, workbenches and what runs in them, from the command line.

use std::fs;

use super::signed_in;
use crate::support::{binary::Server, golden::golden};

#[test]
fn apps() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    shell.run("app list -o name");
    shell.run("app create RStudio --image apps/rstudio:4.3.0 --max-cpu 2 --min-memory 512Mi --max-memory 4Gi");
    shell.run("app create RStudio --image apps/rstudio:4.4.1 --category Statistics --stability beta -o name");
    shell.run("app create Wiki --image browser:1.2 --url https://wiki.example.org -o json");
    shell.run("app list --sort name --limit 3");
    shell.run("app list --versions --desc --limit 3 -o wide");
    shell.run("app get rstudio");
    shell.run("app get nothing");
    shell.run("app update RStudio --max-memory 8Gi");
    shell.run("app update wiki --name Handbook --url https://handbook.example.org --status inactive");
    shell.run("app update wiki");
    shell.run("app update handbook");
    shell.run("app update handbook --max-cpu plenty");
    shell.run("app create Bad --image 'No Image'");
    shell.run("app create Bad --image 'UPPER:1'");
    shell.run("app delete handbook");
    shell.run("app delete handbook --yes");
    shell.run("app get handbook");
    golden("tests/it/data/cli/apps.txt", &shell.transcript());
}

#[test]
fn a_file_of_apps_is_imported_whole_or_not_at_all() {
    let server = Server::start();
    let mut shell = signed_in(&server);
    let good = "\
- name: RStudio
  dockerImageName: apps/rstudio
  dockerImageTag: \"4.10\"
  maxMemory: 4Gi
  status: active
- name: Jupyter
  dockerImageName: apps/jupyter
  dockerImageTag: 7.1-1
  status: active
";
    shell.run_with("app import -f -", good);
    shell.run_with("app import -f -", &good.replace("4Gi", "lots"));
    shell.run_with("app import -f - -o json", &good.replace("7.1-1", "''"));
    shell.run_with("app import -f -", &good.replace("\"4.10\"", "4.10"));
    shell.run_with("app import -f -", &good.replace("maxMemory", "maxRam"));
    shell.run_with("app import -f -", "name: RStudio");
    shell.run("app import -f nowhere.yaml");
    shell.run("app list --versions --sort name -o name");
    let exported = shell.run("app list --versions -o yaml").stdout;
    let file = server.data().join("apps.yaml");
    fs::write(&file, exported).unwrap();
    shell.run(&format!("app import -f {} -o name", file.display()));
    shell.hide(&file.display().to_string(), "<file>");
    golden("tests/it/data/cli/app-import.txt", &shell.transcript());
}
