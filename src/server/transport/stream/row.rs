//! What the proxy has to know of a workbench.

use sqlx::FromRow;

use crate::server::{
    access::caller::Caller,
    db::{Db, sql},
    error::{Error, Result},
    runtime::{Clipboard, WorkbenchRef},
};

/// A workbench that the tenant has.
#[derive(Debug, FromRow)]
pub struct Workbench {
    id: i64,
    pub workspace_id: i64,
    pub name: String,
    wanted: String,
    stopped_because: String,
    pub server_pod_status: String,
    pub server_pod_message: String,
    clipboard: String,
}

impl Workbench {
    /// The workbench of the caller's tenant.
    ///
    /// # Errors
    /// 404 `WORKBENCH_NOT_FOUND`.
    pub async fn find(db: &Db, by: &Caller, id: i64) -> Result<Self> {
        let row = sql("SELECT w.id, w.workspace_id, w.name, w.wanted, w.stopped_because, w.server_pod_status, \
             w.server_pod_message, s.clipboard FROM workbenches w JOIN workspaces s ON s.id = w.workspace_id \
             WHERE w.id = $1 AND w.tenant_id = $2 AND w.deleted_at IS NULL AND w.wanted <> 'deleted'")
        .bind(id)
        .bind(by.tenant())
        .maybe(db)
        .await?;
        let text = "There is no such workbench. List the workbenches to see which there are.";
        row.ok_or_else(|| Error::not_found("WORKBENCH_NOT_FOUND", text))
    }

    /// As runtimes know it.
    pub fn of(&self) -> WorkbenchRef {
        WorkbenchRef { workspace: self.workspace_id, workbench: self.id }
    }

    /// Why it is stopped, if it is, for a person.
    pub fn stopped(&self) -> Option<String> {
        (self.wanted == "stopped").then(|| match (self.server_pod_message.as_str(), self.stopped_because.as_str()) {
            ("", "idle") => "stopped: nobody used it for a while".to_owned(),
            ("", _) => "stopped: somebody stopped it".to_owned(),
            (message, _) => message.to_owned(),
        })
    }

    /// What pages may do with the browser's clipboard: what the workspace allows, and nothing of the device.
    pub fn permissions(&self) -> String {
        let clipboard = Clipboard::parse(&self.clipboard);
        let who = |allowed: bool| if allowed { "(self)" } else { "()" };
        let (read, write) = (
            matches!(clipboard, Clipboard::ToServer | Clipboard::Both),
            matches!(clipboard, Clipboard::ToClient | Clipboard::Both),
        );
        format!(
            "clipboard-read={}, clipboard-write={}, accelerometer=(), camera=(), display-capture=(), geolocation=(), \
             gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()",
            who(read),
            who(write)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workbench(wanted: &str, because: &str, message: &str) -> Workbench {
        Workbench {
            id: 7,
            workspace_id: 3,
            name: "w".to_owned(),
            wanted: wanted.to_owned(),
            stopped_because: because.to_owned(),
            server_pod_status: String::new(),
            server_pod_message: message.to_owned(),
            clipboard: "to-server".to_owned(),
        }
    }

    #[test]
    fn says_why_it_is_stopped() {
        for (wanted, because, message, want) in [
            ("running", "", "ready", None),
            ("stopped", "person", "stopped: by ada", Some("stopped: by ada")),
            ("stopped", "person", "", Some("stopped: somebody stopped it")),
            ("stopped", "idle", "", Some("stopped: nobody used it for a while")),
        ] {
            assert_eq!(workbench(wanted, because, message).stopped().as_deref(), want);
        }
    }

    #[test]
    fn the_clipboard_goes_where_the_workspace_says() {
        assert!(workbench("running", "", "").permissions().starts_with("clipboard-read=(self), clipboard-write=(), "));
    }
}
