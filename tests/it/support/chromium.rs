//! A real browser without a window, driven by the DevTools protocol over its WebSocket.

use std::{process::Stdio, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::websocket::{TEXT, WebSocket};

/// Names under which it is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// A running browser. It ends with this.
pub struct Browser {
    socket: WebSocket,
    session: String,
    last: u64,
    _child: Child,
    _profile: TempDir,
}

/// Whether there is a browser to test with. With `CHORUS_TEST_CHROMIUM=require` one that is missing is a failure.
pub fn find() -> Option<&'static str> {
    let in_path = |name: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    let found = NAMES.iter().find(in_path).copied();
    if found.is_none() {
        let text = "there is no Chromium (Debian: apt install chromium)";
        assert_ne!(std::env::var("CHORUS_TEST_CHROMIUM").as_deref(), Ok("require"), "{text}");
        println!("skipped: {text}");
    }
    found
}

impl Browser {
    /// Starts the program with an empty page.
    pub async fn start(program: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"])
            .args(["--window-size=1280,800", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the browser ended");
                if let Some(url) = line.strip_prefix("DevTools listening on ws://") {
                    return url.to_owned();
                }
            }
        };
        let url = tokio::time::timeout(Duration::from_secs(60), listening).await.expect("the browser does not start");
        // it blocks when nobody reads what it says
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (address, path) = url.split_once('/').unwrap();
        let socket = WebSocket::open(address.parse().unwrap(), &format!("/{path}"), &[]).await.unwrap();
        let mut this = Self { socket, session: String::new(), last: 0, _child: child, _profile: profile };
        let targets = this.call("Target.getTargets", json!({})).await;
        let page = targets["targetInfos"].as_array().unwrap().iter().find(|target| target["type"] == "page").unwrap();
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        this.session = this.call("Target.attachToTarget", attach).await["sessionId"].as_str().unwrap().to_owned();
        this.call("Page.enable", json!({})).await;
        this
    }

    /// Calls a function of the protocol.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(TEXT, message.to_string().as_bytes()).await;
        let answered = async {
            loop {
                let (_, payload) = self.socket.next().await.expect("the browser ended");
                let answer: Value = serde_json::from_slice(&payload).unwrap();
                if answer["id"] == self.last {
                    assert!(answer.get("error").is_none(), "{method}: {answer}");
                    return answer["result"].clone();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), answered).await.unwrap_or_else(|_| panic!("{method} hangs"))
    }

    /// Opens an address.
    pub async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
    }

    /// The value of an expression, or of the promise that it is.
    pub async fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        self.call("Runtime.evaluate", params).await["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str) {
        for _ in 0..300 {
            if self.value(expression).await == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never came true: {expression}; the page shows: {}", self.value("document.body.innerText").await);
    }

    /// Clicks with the pointer.
    pub async fn click(&mut self, x: u32, y: u32) {
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let params = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", params).await;
        }
    }

    /// Types on the keyboard: letters, digits, blanks, a few signs, and line ends.
    pub async fn type_text(&mut self, text: &str) {
        for character in text.chars() {
            let (key, code, number) = match character {
                '\n' => ("Enter".to_owned(), "Enter".to_owned(), 13),
                ' ' => (" ".to_owned(), "Space".to_owned(), 32),
                '.' => (".".to_owned(), "Period".to_owned(), 190),
                '/' => ("/".to_owned(), "Slash".to_owned(), 191),
                digit @ '0'..='9' => (digit.to_string(), format!("Digit{digit}"), digit as u32),
                other => {
                    (other.to_string(), format!("Key{}", other.to_ascii_uppercase()), other.to_ascii_uppercase() as u32)
                }
            };
            let text = if character == '\n' { "\r".to_owned() } else { key.clone() };
            for kind in ["keyDown", "keyUp"] {
                let mut params = json!({"type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number});
                if kind == "keyDown" {
                    params["text"] = json!(text);
                }
                self.call("Input.dispatchKeyEvent", params).await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}
