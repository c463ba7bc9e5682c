//! The Unix user that desktops run as.
//!
//! What always holds: it is never root. A server that does not run as root cannot choose: its desktops run as itself.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

/// A Unix user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// Whether the server runs as another user (root), and so has to change over.
    pub foreign: bool,
}

impl Account {
    /// Who runs desktops: the user of this process, or the named one if that is root.
    ///
    /// # Errors
    /// When there is no such user, or when it is root.
    pub fn of_desktops(name: &str) -> anyhow::Result<Self> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !uid.is_root() {
            return Ok(Self { uid: uid.as_raw(), gid: gid.as_raw(), foreign: false });
        }
        let users = Path::new("/etc/passwd");
        let users = fs::read_to_string(users).with_context(|| format!("{} cannot be read", users.display()))?;
        find(&users, name)
    }

    /// Whether files of this user are meant.
    pub fn owns(&self, uid: u32) -> bool {
        self.uid == uid
    }
}

/// A user by name, or `UID:GID` for one that another service knows.
fn find(users: &str, name: &str) -> anyhow::Result<Account> {
    let number = |text: &str| text.parse::<u32>().ok();
    let by_number = || name.split_once(':').and_then(|(uid, gid)| Some((number(uid)?, number(gid)?)));
    let by_name = || {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let named = fields.next()? == name;
            let ids = (number(fields.nth(1)?)?, number(fields.next()?)?);
            named.then_some(ids)
        })
    };
    match by_name().or_else(by_number) {
        None => bail!(
            "there is no user `{name}` on this host, which desktops of the local runtime would run as; name one with --local-user"
        ),
        Some((0, _) | (_, 0)) => {
            bail!("desktops of the local runtime never run as root; name another user with --local-user")
        }
        Some((uid, gid)) => Ok(Account { uid, gid, foreign: true }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_and_root_is_not() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/no\ntoor:x:0:7::/:/bin/sh\nx:y\n";
        let found = |name| find(users, name).map(|account| (account.uid, account.gid)).map_err(|e| e.to_string());
        assert_eq!(found("nobody"), Ok((65534, 65534)));
        assert_eq!(found("1000:100"), Ok((1000, 100)));
        for root in ["root", "toor", "0:0", "5:0"] {
            assert!(found(root).unwrap_err().contains("never run as root"), "{root}");
        }
        for nobody in ["", "zoe", "12", "x", "-1:4", ":"] {
            assert!(found(nobody).unwrap_err().contains("--local-user"), "{nobody}");
        }
    }
}
