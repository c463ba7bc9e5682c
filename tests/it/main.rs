//! Integration tests. They need nothing but the toolchain; what needs more says what it skipped and how to get it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod app_instances;
mod apps;
mod attacks;
mod audit;
mod authentication;
mod canary;
mod cli;
mod completions;
mod contract;
mod coverage;
mod db;
mod deploy;
mod devstore;
mod faults;
mod kiosk;
mod local_runtime;
mod matrix;
mod notifications;
mod openapi;
mod operator;
mod pages;
mod reconcile;
mod replicas;
mod robustness;
mod roles;
mod rotation;
mod runtime_contract;
mod second_factor;
mod security;
mod sessions;
mod settings;
mod stream;
mod support;
mod throttle;
mod tokens;
mod upkeep;
mod users;
mod web_client;
mod workbenches;
mod workspaces;
