//! Turns the contract (`proto/`) into code: messages, gRPC servers and clients, the checks of field rules, and the
//! pipeline that every call passes. No protoc, no network.
//!
//! What always holds: an RPC without access or audit option, an option that names a permission, field or rule that does
//! not exist, or a rule without a generated check stops the build and says where.

#[allow(dead_code, reason = "the server uses the rest of it")]
#[path = "../src/server/access/catalogue.rs"]
mod catalogue;
mod checks;
mod contract;
mod pipeline;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use contract::Contract;
use prost_reflect::DescriptorPool;

fn main() -> Result<(), Box<dyn Error>> {
    for input in ["proto", "build", "migrations", "src/server/access/catalogue.rs"] {
        println!("cargo:rerun-if-changed={input}");
    }
    println!("cargo:rerun-if-env-changed=CHORUS_COMMIT");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(contract_files(Path::new("proto/chorus/v1"))?)?;
    // the encoded set keeps custom options, the typed one drops them
    let encoded = compiler.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(encoded.as_slice())?;
    fs::write(out.join("descriptors.bin"), &encoded)?;

    let contract = Contract::read(&pool)?;
    let secrets = contract.messages_with_secrets();
    let mut messages = tonic_prost_build::configure().build_transport(true).btree_map(".");
    for name in &secrets {
        messages = messages.skip_debug([name]);
    }
    messages.compile_fds(compiler.file_descriptor_set())?;

    fs::write(out.join("secrets.rs"), redacted_debug(&secrets))?;
    fs::write(out.join("checks.rs"), checks::emit(&contract)?)?;
    fs::write(out.join("pipeline.rs"), pipeline::emit(&contract)?)?;
    Ok(())
}

/// The contract's files, relative to `proto/`, in a stable order.
fn contract_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "proto") {
            files.push(path.strip_prefix("proto")?.to_owned());
        }
    }
    files.sort();
    Ok(files)
}

/// `Debug` for messages that hold secrets: the name and nothing else.
fn redacted_debug(messages: &[String]) -> String {
    messages
        .iter()
        .map(|name| {
            let ty = contract::rust_type(name);
            let short = name.rsplit('.').next().unwrap_or(name);
            format!(
                "impl std::fmt::Debug for {ty} {{\n    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{\n        \
                 f.write_str(\"{short} {{ redacted }}\")\n    }}\n}}\n"
            )
        })
        .collect()
}
