//! The catalogue of apps, workbenches and what runs in them, from the command line.

use std::fs;

use super::{create_user, signed_in};
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

#[test]
fn workbenches_and_members() {
    let server = Server::with_flags(None, &["--runtime", "none"]);
    let mut shell = signed_in(&server);
    create_user(&mut shell, "ada", "Ada", "Lovelace");
    shell.run("workspace create Genomics --short-name gen -o name");
    shell.run("workspace create Imaging -o name");
    shell.run("workbench list");
    shell.run("workbench create desk --workspace gen --description 'Rare variants' --resolution 1280x800");
    shell.run("workbench create desk --workspace imaging --short-name im -o json");
    shell.run("workbench create desk --workspace nowhere");
    shell.run("workbench create desk --workspace gen --resolution big");
    shell.run("workbench get desk");
    shell.run("workbench stop imaging/desk");
    shell.run("workbench stop desk --workspace gen --wait");
    shell.run("workbench list --workspace imaging");
    shell.run("workbench list --sort name --desc -o name");
    shell.run("workbench list -o wide --limit 1");
    shell.run("workbench get IM -o name");
    shell.run("workbench get gen/nothing");
    shell.run("workbench get 99");
    shell.run("workbench update im --name 'Reading room' --description Scans -o name");
    shell.run("workbench update im");
    shell.run("workbench get 'reading room'");
    shell.run("wait workbench/desk --for stopped");
    shell.run("wait workbench/desk --for ready");
    shell.run("wait workbench/desk --for running");
    shell.run("wait workbench/nothing --for deleted");
    shell.run("wait workbench/desk --for deleted --timeout 1s");
    shell.run("wait desk --for ready");
    shell.run("workbench member add desk ada");
    shell.run("workbench member add desk ada --role WorkbenchViewer");
    shell.run("workbench member add desk ada --role WorkspaceMember");
    shell.run("workbench member list desk");
    shell.run("workbench member remove desk ada");
    shell.run("workbench member list desk -o name");
    shell.run("workbench delete desk");
    shell.run("workbench delete desk --yes");
    shell.run("workbench delete desk --yes");
    golden("tests/it/data/cli/workbenches.txt", &shell.transcript());
}
