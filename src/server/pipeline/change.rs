//! A change and its audit record commit together.

use std::{ops::DerefMut, sync::atomic::Ordering};

use super::call::Authorized;
use crate::server::{
    access::{audit, sessions},
    db::{Db, On, Tx},
    desktops::{self, Touched},
    error::Result,
    pipeline::rpc::When,
};

/// A transaction of a call. At commit it writes the call's audit record (if the contract wants one) and, when sessions,
/// users, roles or memberships changed, tells every replica. Dropped without commit, nothing happened.
pub struct Change {
    tx: Tx,
    by: Authorized,
    access_changed: bool,
    touched: Touched,
}

impl Db {
    /// Opens a transaction for the call.
    pub async fn begin(&self, by: &Authorized) -> Result<Change> {
        Ok(Change { tx: self.transaction().await?, by: by.clone(), access_changed: false, touched: Touched::default() })
    }
}

impl Change {
    /// Says that a session, user, role or membership changes, so that no replica answers from memory for longer than a
    /// second.
    pub fn access_changed(&mut self) {
        self.access_changed = true;
    }

    /// The workspaces, workbenches and app instances that change: those who watch them, and the loop that reconciles them,
    /// learn of it when this commits.
    pub fn touched(&mut self) -> &mut Touched {
        &mut self.touched
    }

    /// Commits the change with its record.
    pub async fn commit(mut self) -> Result<()> {
        let call = self.by.call().clone();
        if self.access_changed {
            sessions::access_changed(&mut self.tx).await?;
        }
        if call.rpc.audit == When::Always {
            let record = audit::Record::of(&call, self.by.caller(), None);
            audit::insert(&mut self.tx, &record).await?;
        }
        let apps_ended = desktops::stamp(&mut self.tx, &self.touched).await?;
        self.tx.commit().await?;
        if !self.touched.is_empty() {
            call.shared().desktops.tell();
        }
        call.recorded.store(true, Ordering::Release);
        if self.access_changed || apps_ended {
            call.shared().sessions.forget();
        }
        Ok(())
    }
}

impl<'a> From<&'a mut Change> for On<'a> {
    fn from(change: &'a mut Change) -> Self {
        (&mut change.tx).into()
    }
}

impl std::ops::Deref for Change {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}
