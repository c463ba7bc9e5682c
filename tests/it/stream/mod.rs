//! The stream proxy between a client that shows every byte and a desktop that does what a test wants.

mod access;
mod browser;
mod proxy;
mod tickets;
mod tunnels;

use std::{sync::Arc, time::Duration};

use chorus::server::runtime::{Clipboard, WorkbenchRef, WorkbenchSpec};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::{Mutex, mpsc::UnboundedReceiver},
};

use crate::support::{
    Database,
    runtime::Scripted,
    server::{Person, TestServer},
    websocket::{Refused, WebSocket, read_head},
};

/// A server with one workbench whose desktop is played by the test.
struct Stage {
    server: TestServer,
    runtime: Scripted,
    /// May stream, and nothing else.
    member: Person,
    of: WorkbenchRef,
    visits: Mutex<UnboundedReceiver<(WorkbenchRef, DuplexStream)>>,
    database: Database,
}

/// A connection that reached the desktop.
struct Visit {
    /// The request, up to its body.
    head: String,
    /// What came of the body with it.
    rest: Vec<u8>,
    stream: DuplexStream,
}

impl Stage {
    async fn new() -> Self {
        Self::configured(&[]).await
    }

    async fn configured(settings: &[(&str, &str)]) -> Self {
        let database = Database::sqlite();
        let db = database.open().await;
        db.migrate().await.unwrap();
        let runtime = Scripted::default();
        let server = TestServer::with_runtime(db, settings, Arc::new(runtime.clone())).await;
        let workspace = server.workspace(&server.admin, "lab").await;
        let workbench = server.workbench(&server.admin, workspace, "desk").await;
        let of = WorkbenchRef { workspace, workbench };
        let member = server.person("mia", &[("WorkbenchMember", &[("workbench", &workbench.to_string())])]).await;
        let visits = Mutex::new(runtime.listen());
        let stage = Self { server, runtime, member, of, visits, database };
        stage.start(of);
        stage
    }

    /// The desktop is there.
    fn start(&self, of: WorkbenchRef) {
        self.runtime.plant(&WorkbenchSpec {
            of,
            tenant: self.server.tenant,
            generation: 1,
            owner: (self.server.admin.id, "chorus".to_owned()),
            resolution: (0, 0),
            clipboard: Clipboard::Disabled,
            apps: Vec::new(),
        });
    }

    /// The next connection to a desktop.
    async fn visit(&self) -> Visit {
        let next = async { self.visits.lock().await.recv().await.unwrap().1 };
        let mut stream = tokio::time::timeout(Duration::from_secs(20), next).await.expect("nobody came to the desktop");
        let (head, rest) = read_head(&mut stream).await;
        Visit { head, rest, stream }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/rest/v1/workbenches/{}/stream{rest}", self.of.workbench)
    }

    fn get(&self, rest: &str) -> reqwest::RequestBuilder {
        self.server.request(reqwest::Method::GET, &self.path(rest)).bearer_auth(&self.member.token)
    }

    fn cookie(&self) -> String {
        format!("jwttoken={}", self.member.token)
    }

    /// Opens a WebSocket as a page of this server does.
    async fn socket(&self, cookie: &str) -> Result<WebSocket, Refused> {
        let origin = self.server.url();
        let headers = [("Cookie", cookie), ("Origin", &origin), ("Sec-WebSocket-Protocol", "binary")];
        WebSocket::open(self.server.http(), &self.path("/"), &headers).await
    }

    /// A WebSocket with both of its ends.
    async fn tunnel(&self) -> (WebSocket, Visit) {
        let cookie = self.cookie();
        let (socket, visit) = tokio::join!(self.socket(&cookie), async {
            let mut visit = self.visit().await;
            visit.upgrade().await;
            visit
        });
        (socket.unwrap(), visit)
    }
}

impl Visit {
    /// The value of a header of the request.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Sends an answer and ends the connection.
    async fn answer(&mut self, head: &str, body: &str) {
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Becomes a WebSocket.
    async fn upgrade(&mut self) {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: binary\r\n\r\n";
        self.stream.write_all(answer.as_bytes()).await.unwrap();
    }

    /// The next so many bytes.
    async fn read(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count {
            assert_ne!(self.stream.read_buf(&mut self.rest).await.unwrap(), 0, "the connection ended");
        }
        let rest = self.rest.split_off(count);
        std::mem::replace(&mut self.rest, rest)
    }
}

/// Asserts that something happens within the second that the contract gives it, and a little for a busy machine.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_millis(2500), what).await.expect("it took longer than it may")
}
