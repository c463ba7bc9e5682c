//! Where desktops keep what they need.
//!
//! ```text
//! <files>/workspaces/<w>/shared             what the workbenches of a workspace share          desktops' user, 0700
//! <files>/workspaces/<w>/workbenches/<b>    home, and which apps ended; stays when it stops    desktops' user, 0700
//! /tmp/chorus-<uid>-<digest of <files>>/<w>-<b>   sockets, X cookie, logs; while it runs       desktops' user, 0700
//! ```
//!
//! What always holds:
//! - folders above those of the desktops' user belong to the server, so no desktop can put something else in their place;
//! - nothing of this is in the data directory when the server runs as root, since desktops, which run as somebody else, must
//!   not enter it;
//! - folders are made when they are needed and go with the last one in them;
//! - paths of sockets fit into the 107 bytes that the system allows, however deep `<files>` is, hence the folder in `/tmp`.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::{Context as _, bail};
use rustix::fs::Access;
use sha2::{Digest as _, Sha256};

use super::account::Account;
use crate::server::runtime::WorkbenchRef;

/// The socket of the supervisor.
pub const CONTROL: &str = "control";
/// The socket on which the desktop's page answers.
pub const PAGE: &str = "page";

/// The longest path of a socket (`sun_path` without its end).
#[cfg(test)]
const MAX_SOCKET_PATH: usize = 107;

/// The folders of all desktops.
#[derive(Debug, Clone)]
pub struct Folders {
    files: PathBuf,
    run: PathBuf,
    account: Account,
    /// Held by whoever makes a folder in a shared one, or removes a shared one that became empty.
    changing: Arc<Mutex<()>>,
}

impl Folders {
    /// The folders of desktops whose files are below `files`. They need not be there yet.
    ///
    /// # Errors
    /// When they cannot be used; the text says what to do.
    pub fn open(files: &Path, account: Account) -> anyhow::Result<Self> {
        let failed = || {
            let files = files.display();
            format!("the folder {files} for the files of desktops cannot be used; name another with --local-dir")
        };
        let whole = std::path::absolute(files).with_context(failed)?;
        let there = whole.ancestors().find(|folder| folder.exists()).with_context(failed)?;
        // by components, since a slash at the end would be another name, and lead to other sockets
        let files: PathBuf =
            there.canonicalize().with_context(failed)?.join(whole.strip_prefix(there)?).components().collect();
        rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK).with_context(failed)?;
        if account.foreign {
            enterable(&there.canonicalize().with_context(failed)?)?;
        }
        let run = run_folder(&files);
        if fs::symlink_metadata(&run).is_ok() {
            trusted(&run)?;
        }
        Ok(Self { files, run, account, changing: Arc::default() })
    }

    /// The folder with the sockets of a desktop.
    pub fn run_of(&self, of: WorkbenchRef) -> PathBuf {
        self.run.join(format!("{}-{}", of.workspace, of.workbench))
    }

    /// The folder with the files of a workbench.
    pub fn files_of(&self, of: WorkbenchRef) -> PathBuf {
        self.workspace(of.workspace).join("workbenches").join(of.workbench.to_string())
    }

    /// The folder that the workbenches of a workspace share.
    pub fn shared_of(&self, workspace: i64) -> PathBuf {
        self.workspace(workspace).join("shared")
    }

    fn workspace(&self, id: i64) -> PathBuf {
        self.files.join("workspaces").join(id.to_string())
    }

    /// The desktops that have a folder for sockets: they run, or ended without tidying up.
    pub fn running(&self) -> io::Result<Vec<WorkbenchRef>> {
        let of = |name: &str| {
            let (workspace, workbench) = name.split_once('-')?;
            Some(WorkbenchRef { workspace: workspace.parse().ok()?, workbench: workbench.parse().ok()? })
        };
        let entries = match fs::read_dir(&self.run) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        names.filter_map(|name| name.map(|name| name.to_str().and_then(of)).transpose()).collect()
    }

    /// Makes the folders of a workspace.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn make_workspace(&self, id: i64) -> io::Result<()> {
        let _changing = self.change();
        shared(&self.files, self.account)?;
        shared(&self.files.join("workspaces"), self.account)?;
        shared(&self.workspace(id), self.account)?;
        shared(&self.workspace(id).join("workbenches"), self.account)?;
        self.own(&self.shared_of(id))
    }

    /// Makes the folders of a desktop that is about to start; that for sockets is empty then.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn make_workbench(&self, of: WorkbenchRef) -> io::Result<()> {
        self.make_workspace(of.workspace)?;
        self.own(&self.files_of(of))?;
        self.remove_run(of)?;
        let _changing = self.change();
        // before its mode is set: whoever could write there may have left something
        if fs::symlink_metadata(&self.run).is_ok() {
            trusted(&self.run)?;
        }
        shared(&self.run, self.account)?;
        trusted(&self.run)?;
        self.own(&self.run_of(of))
    }

    /// Removes the sockets and logs of a desktop that ended.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove_run(&self, of: WorkbenchRef) -> io::Result<()> {
        gone(&self.run_of(of))?;
        self.remove_empty(&[&self.run]);
        Ok(())
    }

    /// Removes the files of a workbench.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove_files(&self, of: WorkbenchRef) -> io::Result<()> {
        gone(&self.files_of(of))
    }

    /// Removes a workspace with all its files.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove_workspace(&self, id: i64) -> io::Result<()> {
        gone(&self.workspace(id))?;
        self.remove_empty(&[&self.files.join("workspaces"), &self.files]);
        Ok(())
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn remove_empty(&self, folders: &[&Path]) {
        let _changing = self.change();
        for folder in folders {
            // one that is not empty stays, and so does one that is not ours to remove
            let _ = fs::remove_dir(folder);
        }
    }

    /// A folder of the desktops' user.
    fn own(&self, folder: &Path) -> io::Result<()> {
        make(folder, 0o700)?;
        if self.account.foreign {
            chown(folder, Some(self.account.uid), Some(self.account.gid))?;
        }
        Ok(())
    }
}

/// Short, and the same for the same files after a restart.
fn run_folder(files: &Path) -> PathBuf {
    let digest = Sha256::digest(files.as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Path::new("/tmp").join(format!("chorus-{}-{digest}", rustix::process::geteuid().as_raw()))
}

/// A folder of the server, through which the desktops' user may go if it is another one.
fn shared(folder: &Path, account: Account) -> io::Result<()> {
    let mode = if account.foreign { 0o711 } else { 0o700 };
    let parents = folder.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists());
    parents.map_or(Ok(()), |parents| DirBuilder::new().recursive(true).mode(mode).create(parents))?;
    make(folder, mode)
}

fn make(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => return Ok(()),
        Ok(()) => {}
    }
    // the umask of the server may have taken something away
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}

/// Whether a folder in `/tmp`, where anybody can make one, is ours.
fn trusted(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    match found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => {
            let text = "belongs to somebody else or is open to others; remove it";
            Err(io::Error::other(format!("the folder {} {text}", folder.display())))
        }
    }
}

/// Whether other users come so far.
fn enterable(folder: &Path) -> anyhow::Result<()> {
    for part in folder.ancestors() {
        if fs::metadata(part)?.mode() & 0o001 == 0 {
            let (folder, part) = (folder.display(), part.display());
            bail!(
                "desktops cannot reach their files in {folder}, since {part} is closed to other users and they do not run as \
                 root; name another folder with --local-dir"
            );
        }
    }
    Ok(())
}

/// Removes a folder with everything in it. Links are removed, never followed, also if somebody exchanges them meanwhile.
fn gone(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: WorkbenchRef = WorkbenchRef { workspace: 3, workbench: 14 };

    fn own() -> Account {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Account { uid, gid, foreign: false }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn folders_come_and_go_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let folders = Folders::open(&place.path().join("a/b"), own()).unwrap();
        folders.make_workbench(OF).unwrap();
        fs::write(place.path().join("precious"), "x").unwrap();
        std::os::unix::fs::symlink(place.path(), folders.files_of(OF).join("link")).unwrap();
        for folder in [folders.files_of(OF), folders.run_of(OF), folders.shared_of(3)] {
            assert_eq!(mode(&folder), 0o700);
        }
        // again: files stay, sockets go
        fs::write(folders.run_of(OF).join("x"), "").unwrap();
        folders.make_workbench(OF).unwrap();
        assert!(folders.files_of(OF).join("link").exists() && !folders.run_of(OF).join("x").exists());
        assert_eq!(folders.running().unwrap(), [OF]);

        folders.remove_run(OF).unwrap();
        folders.remove_files(OF).unwrap();
        folders.remove_files(OF).unwrap();
        assert_eq!(folders.running().unwrap(), []);
        assert!(folders.shared_of(3).exists() && !folders.run.exists());
        folders.remove_workspace(3).unwrap();
        assert!(!folders.run.exists() && !place.path().join("a/b").exists());
        assert!(place.path().join("precious").exists());
    }

    #[test]
    fn paths_of_sockets_fit_however_deep_the_files_are() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("d".repeat(100)).join("e".repeat(100));
        let folders = Folders::open(&deep, own()).unwrap();
        let longest = folders.run_of(WorkbenchRef { workspace: i64::MAX, workbench: i64::MAX }).join(CONTROL);
        assert!(longest.as_os_str().len() + "4294967295".len() <= MAX_SOCKET_PATH, "{}", longest.display());
    }

    #[test]
    fn a_server_that_starts_again_looks_in_the_same_place() {
        let place = tempfile::tempdir().unwrap();
        let files = place.path().join("desktops");
        let first = Folders::open(&files, own()).unwrap();
        fs::create_dir(&files).unwrap();
        let again = Folders::open(&files.join(""), own()).unwrap();
        assert_eq!((first.run_of(OF), first.files_of(OF)), (again.run_of(OF), again.files_of(OF)));
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let run = run_folder(&place.path().canonicalize().unwrap());
        std::os::unix::fs::symlink(place.path(), &run).unwrap();
        let refused = Folders::open(place.path(), own()).unwrap_err().to_string();
        assert!(refused.contains("remove it"), "{refused}");
        fs::remove_file(&run).unwrap();
        make(&run, 0o777).unwrap();
        assert!(Folders::open(place.path(), own()).is_err());
        // also when it came after the start
        fs::remove_dir(&run).unwrap();
        let folders = Folders::open(place.path(), own()).unwrap();
        make(&run, 0o777).unwrap();
        fs::write(run.join("theirs"), "").unwrap();
        assert!(folders.make_workbench(OF).is_err());
        fs::remove_dir_all(&run).unwrap();
    }

    #[test]
    fn files_that_another_user_cannot_reach_are_refused() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let refused = enterable(place.path()).unwrap_err().to_string();
        assert!(refused.contains("--local-dir"), "{refused}");
    }
}
