//! The server process ends while people work: whatever it acknowledged is there afterwards, whole.

use std::collections::BTreeSet;

use chorus::{
    proto::v1::{
        Credentials, Workspace, authentication_service_client::AuthenticationServiceClient,
        workspace_service_client::WorkspaceServiceClient,
    },
    server::db::{Db, Options, sql},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};
use tonic::{Request, transport::Channel};

use crate::support::{
    binary::{ADMIN_PASSWORD, Server},
    postgres,
};

const WRITERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_it_acknowledged() {
    for mut server in servers().await {
        let token = sign_in(&server).await;
        let mut acknowledged = BTreeSet::new();
        for round in 0..4 {
            acknowledged.extend(interrupted(&mut server, &token, round, "KILL").await);
            server.start_again();
        }
        complete(&server, &acknowledged).await;
        // the session has outlived every one of them
        create(&connect(&server).await, &token, "afterwards").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_finishes_what_it_does() {
    for mut server in servers().await {
        let token = sign_in(&server).await;
        let acknowledged = interrupted(&mut server, &token, 0, "TERM").await;
        server.start_again();
        complete(&server, &acknowledged).await;
    }
}

/// A server on each engine.
async fn servers() -> Vec<Server> {
    let postgres = postgres::database(postgres::Content::Empty).await;
    [Some(Server::start()), postgres.as_deref().map(Server::on_database)].into_iter().flatten().collect()
}

/// Several people create workspaces until the server gets the signal; the names of those that were acknowledged.
async fn interrupted(server: &mut Server, token: &str, round: usize, signal: &str) -> BTreeSet<String> {
    let (tell, mut told) = unbounded_channel();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let channel = connect(server).await;
        writers.spawn(write(channel, token.to_owned(), format!("{round}-{writer}"), tell.clone()));
    }
    drop(tell);
    let mut acknowledged = BTreeSet::new();
    while acknowledged.len() < 20 {
        acknowledged.insert(told.recv().await.expect("the server refused everybody"));
    }
    let status = server.stop(signal);
    assert_eq!(status.success(), signal == "TERM", "{status}");
    acknowledged.extend(rest(told).await);
    writers.join_all().await;
    acknowledged
}

async fn rest(mut told: UnboundedReceiver<String>) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(name) = told.recv().await {
        names.push(name);
    }
    names
}

/// Creates workspaces until nobody answers.
async fn write(channel: Channel, token: String, prefix: String, tell: UnboundedSender<String>) {
    for number in 0.. {
        let name = format!("{prefix}-{number}");
        if create(&channel, &token, &name).await.is_err() || tell.send(name).is_err() {
            return;
        }
    }
}

async fn create(channel: &Channel, token: &str, name: &str) -> Result<(), tonic::Status> {
    let mut request = Request::new(Workspace { name: name.to_owned(), ..Default::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    WorkspaceServiceClient::new(channel.clone()).create_workspace(request).await.map(drop)
}

/// Everything acknowledged is stored; everything stored has its roles and its record.
async fn complete(server: &Server, acknowledged: &BTreeSet<String>) {
    let db = Db::open(&server.database, &Options::default()).await.unwrap();
    let names: Vec<(String,)> = sql("SELECT name FROM workspaces").all(&db).await.unwrap();
    let names: BTreeSet<_> = names.into_iter().map(|(name,)| name).collect();
    let lost: Vec<_> = acknowledged.difference(&names).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let (partial,): (i64,) = sql("SELECT count(*) FROM workspaces w WHERE \
         (SELECT count(*) FROM role_assignments r WHERE r.workspace = CAST(w.id AS TEXT)) <> 2 \
         OR (SELECT count(*) FROM audit_log a WHERE a.action = 'CreateWorkspace' AND a.workspace_id = w.id) <> 1")
    .one(&db)
    .await
    .unwrap();
    assert_eq!(partial, 0, "workspaces without roles or record");
    let (records,): (i64,) = sql("SELECT count(*) FROM audit_log WHERE action = 'CreateWorkspace' AND outcome = 'ok'")
        .one(&db)
        .await
        .unwrap();
    assert_eq!(records, i64::try_from(names.len()).unwrap(), "records without workspaces");
    db.close().await;
}

async fn connect(server: &Server) -> Channel {
    Channel::from_shared(server.grpc.clone()).unwrap().connect().await.unwrap()
}

async fn sign_in(server: &Server) -> String {
    let request =
        Credentials { username: "chorus".to_owned(), password: ADMIN_PASSWORD.to_owned(), totp: String::new() };
    let reply = AuthenticationServiceClient::new(connect(server).await).authenticate(request).await.unwrap();
    reply.into_inner().result.unwrap().token
}
