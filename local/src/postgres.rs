//! A real PostgreSQL as a child process: found on this machine or downloaded, set up, started, and
//! stopped with us, however we end.

mod account;
mod folder;
mod process;
mod programs;

use std::path::{Path, PathBuf};

use account::Account;
pub use process::{Durability, PostgresServer};

/// The superuser of our own server.
const SUPERUSER: &str = "daissy";

/// The database that a server of our own has from the start.
pub const DATABASE: &str = "daissy";

/// Why there is no server: a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No programs here, and none could be downloaded.
    #[error(
        "no PostgreSQL was found on this machine and none could be downloaded ({0}); install it \
         (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17), or set \
         DATABASE_URL to a server you have"
    )]
    NotFound(String),
    /// The folder that `POSTGRES_BIN_DIR` names holds no server.
    #[error("POSTGRES_BIN_DIR names {}, where there is no initdb and postgres", .0.display())]
    WrongFolder(PathBuf),
    /// The data was made by another major version.
    #[error(
        "the data in {} was made by PostgreSQL {made_by}, and only PostgreSQL {found} is here; \
         install version {made_by}, or move the folder away to start anew",
        .data.display()
    )]
    OtherVersion {
        /// The folder of the data.
        data: PathBuf,
        /// The major version that made it.
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
        "the data in {} belongs to another account, as after a run as root; give it to yours \
         (chown -R), run as that account, or set LOCAL_DIR to another folder",
        .0.display()
    )]
    Foreign(PathBuf),
    /// A file or process cannot be dealt with.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: String,
        /// What came of it.
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

/// The folder in which a server may keep its data, and the account to run it as. Where that account
/// cannot get to `folder`, one is taken that it can get to.
fn home_for(folder: &Path) -> Result<(PathBuf, Option<Account>), PostgresError> {
    let home = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let Some(account) = Account::for_server(&home)? else {
        return Ok((home, None));
    };
    if account.can_reach(&home) {
        return Ok((home, Some(account)));
    }
    let name = home.to_string_lossy().trim_matches('/').replace('/', "-");
    let home = Path::new("/var/lib/daissy").join(name);
    let account = Account::for_server(&home)?;
    Ok((home, account))
}
