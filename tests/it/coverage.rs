//! `docs/api-coverage.md`: what of the contract is built, per RPC. Generated, so that it cannot promise too much.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use chorus::client::COVERAGE;

use crate::support::{
    contract::{Rpc, rpcs},
    golden::golden,
};

const HEAD: &str = "# API coverage

Every RPC of the contract (`proto/chorus/v1`): where REST reaches it, whether the server answers it, and the command that
calls it. A *planned* RPC is declared, so that clients can be generated; it authenticates and authorizes the caller and then
answers UNIMPLEMENTED (REST 501).

<!-- Generated from the descriptors by tests/it/coverage.rs; write it with: UPDATE_EXPECT=1 cargo test coverage -->
";

/// The commands by the label of the RPC that they call.
fn commands() -> BTreeMap<String, Vec<&'static str>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (rpc, command) in COVERAGE {
        all.entry((*rpc).to_owned()).or_default().push(*command);
    }
    all
}

#[test]
fn coverage_page_is_current() {
    let rpcs = rpcs();
    let commands = commands();
    let mut page = HEAD.to_owned();
    let count = |what: &dyn Fn(&Rpc) -> bool| rpcs.iter().filter(|r| what(r)).count();
    let services = rpcs.iter().map(|r| &r.service).collect::<BTreeSet<_>>().len();
    writeln!(
        page,
        "\n{} RPCs in {services} services: {} built, {} planned; {} have a command.",
        rpcs.len(),
        count(&|r| !r.planned),
        count(&|r| r.planned),
        count(&|r| commands.contains_key(&r.label())),
    )
    .unwrap();

    let mut service = "";
    for rpc in &rpcs {
        if rpc.service != service {
            service = &rpc.service;
            write!(page, "\n## {service}\n\n| RPC | REST | Service | Command |\n|---|---|---|---|\n").unwrap();
        }
        let rest: Vec<_> = rpc.http.iter().map(|b| format!("`{} {}`", b.verb, b.path)).collect();
        let built = if rpc.planned { "planned" } else { "built" };
        let command: Vec<_> =
            commands.get(&rpc.label()).into_iter().flatten().map(|c| format!("`chorus {c}`")).collect();
        writeln!(page, "| {} | {} | {built} | {} |", rpc.name, rest.join("<br>"), command.join("<br>")).unwrap();
    }
    golden("docs/api-coverage.md", &page);
}

/// A command cannot claim an RPC that does not exist.
#[test]
fn commands_call_rpcs_of_the_contract() {
    let known: Vec<_> = rpcs().iter().map(Rpc::label).collect();
    let unknown: Vec<_> = commands().into_keys().filter(|rpc| !known.contains(rpc)).collect();
    assert_eq!(unknown, Vec::<String>::new());
}
