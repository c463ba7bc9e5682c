//! What the server and the supervisor of a desktop tell each other: JSON, one object a line.
//!
//! The supervisor gets its [`Setup`] on standard input and says [`HELLO`] on standard output once its socket is open. After
//! that everything goes through the socket: one request, one reply; a watch is answered with a line per change.
//!
//! What always holds: a line has a bound, both ways; the start page of a browser, which holds a token, is in no `Debug`.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LinesCodec};
use zeroize::{Zeroize as _, Zeroizing};

use crate::server::runtime::{AppState, AppStatus, Clipboard, PodStatus};

/// The longest line.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// What a supervisor writes to standard output when it is there.
pub const HELLO: &str = "chorus-desktop 1";

/// What a supervisor needs to know when it starts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    /// The folder for sockets, cookie and logs; it is there, and empty.
    pub run: PathBuf,
    /// The folder for what stays when the desktop stops: the home, and which apps ended.
    pub files: PathBuf,
    /// The folder that the workbenches of the workspace share.
    pub shared: PathBuf,
    /// The Unix user of the server: nobody else is answered.
    pub server: u32,
    /// It ends when no server asked for it for this long.
    pub unattended: Duration,
    /// How long a process has between the request to end and the end.
    pub grace: Duration,
    /// Without: there is no screen, only processes. Tests of the supervision need no X server.
    pub screen: bool,
}

/// What a desktop is to look like.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// How often that changed.
    pub generation: i64,
    /// Width and height of the screen when it starts; 0 leaves it to the supervisor.
    pub resolution: (u32, u32),
    /// Where the clipboard may carry text.
    pub clipboard: Clipboard,
    /// The apps.
    pub apps: Vec<AppOrder>,
}

/// What an app is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppOrder {
    /// The id of the instance.
    pub id: i64,
    /// Which start.
    pub incarnation: i64,
    /// What is wanted.
    pub state: AppState,
    /// The program with its arguments, or why there is none.
    pub command: Result<Vec<String>, String>,
    /// The start page of a browser; its address is the last argument then.
    pub page: Option<Page>,
}

/// A page that may hold a token. It leaves memory when it is dropped.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Page(pub String);

impl Drop for Page {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page(…)")
    }
}

/// What the server asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// This is wanted from now on. [`Reply::Done`] comes as soon as that is taken.
    Apply(Order),
    /// How things are, now and whenever they change: a [`Reply::Status`] each.
    Watch,
    /// End everything. [`Reply::Done`] comes as soon as that is taken; the socket closes at the end.
    Stop,
    /// The last lines that an app wrote.
    Logs {
        /// The id of the instance.
        app: i64,
        /// The most bytes.
        most: usize,
    },
}

/// What the supervisor answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is taken.
    Done,
    /// It is not taken, since everything is about to end.
    Ending,
    /// How things are.
    Status(Status),
    /// What an app wrote.
    Text(String),
}

/// How things are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The generation of the last order; 0 before the first.
    pub generation: i64,
    /// The desktop.
    pub pod: PodStatus,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Its apps.
    pub apps: Vec<AppSeen>,
}

/// How an app is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSeen {
    /// The id of the instance.
    pub id: i64,
    /// Which start.
    pub incarnation: i64,
    /// How it is.
    pub status: AppStatus,
    /// A sentence for people.
    pub message: String,
}

/// One end of a conversation.
pub struct Line(Framed<UnixStream, LinesCodec>);

impl Line {
    /// A conversation on this connection.
    pub fn new(stream: UnixStream) -> Self {
        Self(Framed::new(stream, LinesCodec::new_with_max_length(MAX_LINE)))
    }

    /// Says something.
    ///
    /// # Errors
    /// When the other side is gone.
    pub async fn say<T: Serialize>(&mut self, what: &T) -> anyhow::Result<()> {
        let text = Zeroizing::new(serde_json::to_string(what)?);
        Ok(self.0.send(text.as_str()).await?)
    }

    /// What the other side says next; none when it hung up.
    ///
    /// # Errors
    /// When that is not in the protocol.
    pub async fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        let Some(line) = self.0.next().await else { return Ok(None) };
        let line = Zeroizing::new(line?);
        // the text of the error could repeat what is in the line
        Ok(Some(serde_json::from_str(&line).ok().context("a line that is not in the protocol")?))
    }

    /// Says something and waits for the answer.
    ///
    /// # Errors
    /// When the other side is gone.
    pub async fn ask(&mut self, request: &Request) -> anyhow::Result<Reply> {
        self.say(request).await?;
        match self.hear().await? {
            Some(reply) => Ok(reply),
            None => bail!("the other side hung up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_arrive_and_nonsense_and_endless_ones_do_not() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (Line::new(a), Line::new(b));
        a.say(&Request::Logs { app: 3, most: 9 }).await.unwrap();
        assert!(matches!(b.hear().await.unwrap(), Some(Request::Logs { app: 3, most: 9 })));
        b.0.send("{\"explode\":{}}").await.unwrap();
        assert!(a.hear::<Reply>().await.is_err());
        let (long, mut short) = (a.0.send("x".repeat(MAX_LINE + 1)), b);
        let (_, heard) = tokio::join!(long, short.hear::<Reply>());
        assert!(heard.is_err());
        drop(short);
        assert!(a.hear::<Reply>().await.is_err() || a.hear::<Reply>().await.unwrap().is_none());
    }

    #[test]
    fn a_start_page_is_not_printed() {
        let page = Page("token".to_owned());
        let order = AppOrder { id: 1, incarnation: 1, state: AppState::Running, command: Ok(vec![]), page: Some(page) };
        assert!(!format!("{order:?}").contains("token"));
        assert!(serde_json::to_string(&order).unwrap().contains("token"));
    }
}
