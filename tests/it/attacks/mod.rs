//! What must not work, tried on the running server: each test is somebody who wants more than is his.

mod accounts;
mod cross_site;
mod requests;
mod rights;
mod roles;
mod sessions;
mod tokens;
mod traces;

use chorus::server::db::{Db, sql};
use serde_json::Value;
use tonic::Code;

use crate::support::server::Failure;

const ME: &str = "UserService/GetUserMe";

#[track_caller]
fn refused(result: &Result<Value, Failure>, code: Code, reason: &str) {
    match result {
        Err(failure) if failure.code == code && failure.reason == reason => {}
        other => panic!("expected {code:?} {reason}, got {other:?}"),
    }
}

async fn texts(db: &Db, query: &'static str) -> Vec<String> {
    let rows: Vec<(String,)> = sql(query).all(db).await.unwrap();
    rows.into_iter().map(|(text,)| text).collect()
}
