//! The folder of a server: locked by one instance, and set up when it is new.
//!
//! It belongs to us, and no other account may write to it. When we are root, the server's account can
//! pass through it, and owns nothing but `data` in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use uuid::Uuid;

use super::account::Account;
use super::error::PostgresError;
use super::files;
use super::programs::Programs;

/// The file with the connection string; it exists while the server runs.
pub const DATABASE_URL: &str = "database-url";

/// The superuser of our own server.
pub const SUPERUSER: &str = "daissy";

/// What happens to the data when the machine crashes, and when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is kept.
    Durable,
    /// For tests: nothing is forced to the disk, and the folder is removed when the server stops.
    Throwaway,
}

/// Creates the folder and locks other instances out of it.
pub fn take(home: &Path, account: Option<&Account>) -> Result<File, PostgresError> {
    let cannot = |what: &str| PostgresError::system(format!("{} {what}", home.display()));
    make(home, account).map_err(cannot("cannot be created"))?;
    let folder = files::open_folder(home).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => PostgresError::Foreign(home.to_owned()),
        _ => cannot("cannot be opened")(error),
    })?;
    own(home, &folder, account)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let lock =
        files::open(&mut options, &home.join("lock")).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => PostgresError::Foreign(home.to_owned()),
            _ => cannot("cannot be written to")(error),
        })?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(PostgresError::InUse(home.to_owned())),
        Err(TryLockError::Error(error)) => return Err(cannot("cannot be locked")(error)),
    }
    // The file tells others that there is a server to connect to.
    files::remove(&home.join(DATABASE_URL)).map_err(cannot("cannot be cleaned up"))?;
    Ok(lock)
}

fn make(home: &Path, account: Option<&Account>) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    if let Some(parent) = home.parent() {
        // The account must be able to pass through, whatever the umask.
        let missing: Vec<&Path> = parent
            .ancestors()
            .take_while(|path| !path.exists())
            .collect();
        builder.create(parent)?;
        if account.is_some() {
            for folder in missing {
                fs::set_permissions(folder, Permissions::from_mode(0o755))?;
            }
        }
    }
    builder.mode(0o700).create(home)
}

/// Ensures that the folder is ours, and that no other account can write to it.
fn own(home: &Path, folder: &File, account: Option<&Account>) -> Result<(), PostgresError> {
    let cannot = || PostgresError::system(format!("{} cannot be made private", home.display()));
    let metadata = folder.metadata().map_err(cannot())?;
    let Some(account) = account else {
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(PostgresError::Foreign(home.to_owned()));
        }
        return folder
            .set_permissions(Permissions::from_mode(0o700))
            .map_err(cannot());
    };
    let is_roots = |metadata: &fs::Metadata| metadata.uid() == 0;
    let parent = home.parent().and_then(|parent| parent.metadata().ok());
    if !is_roots(&metadata)
        || metadata.mode() & 0o022 != 0
        || !parent.is_some_and(|parent| is_roots(&parent))
        || account.can_replace(home)
    {
        return Err(PostgresError::NotOfRoot(home.to_owned()));
    }
    folder
        .set_permissions(Permissions::from_mode(0o711))
        .map_err(cannot())
}

/// The major version that created the data; `None` if there is no data yet.
///
/// # Errors
/// [`PostgresError`] for data that we cannot read: it must not be taken for none and set up again.
pub fn major_of(home: &Path) -> Result<Option<u32>, PostgresError> {
    let data = home.join("data");
    let is_missing = |error: std::io::Error| error.kind() == ErrorKind::NotFound;
    if data.symlink_metadata().is_err_and(is_missing) {
        return Ok(None);
    }
    let version = files::read(&data.join("PG_VERSION")).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => PostgresError::Foreign(home.to_owned()),
        _ => PostgresError::system(format!("{} is not PostgreSQL's data", data.display()))(error),
    })?;
    version.trim().parse().map(Some).map_err(|_| {
        let cause = std::io::Error::from(ErrorKind::InvalidData);
        PostgresError::system(format!("{} is not PostgreSQL's data", data.display()))(cause)
    })
}

/// The connection string of the server that another instance runs in `home`; `None` if it has not
/// started yet.
pub(crate) fn url_in(home: &Path) -> Option<String> {
    files::read(&home.join(DATABASE_URL))
        .ok()
        .filter(|url| !url.is_empty())
}

/// The password that was set when the data was created.
pub fn read_password(home: &Path) -> Result<String, PostgresError> {
    let path = home.join("password");
    let password = files::read(&path).map_err(PostgresError::system(format!(
        "{} cannot be read",
        path.display()
    )))?;
    Ok(password.trim().to_owned())
}

/// Runs `initdb`, and moves its result into place only when it is complete.
pub async fn set_up(
    home: &Path,
    programs: &Programs,
    account: Option<&Account>,
    durability: Durability,
) -> Result<String, PostgresError> {
    let cannot = || PostgresError::system(format!("{} cannot be set up", home.display()));
    let (partial, password_file) = (home.join("data.partial"), home.join("password.initdb"));
    let password = Uuid::new_v4().simple().to_string();
    files::write(&home.join("password"), &password).map_err(cannot())?;
    prepare(&partial, &password_file, &password, account).map_err(cannot())?;

    let mut command = Command::new(programs.path("initdb"));
    command
        .arg("--pgdata")
        .arg(&partial)
        .arg("--pwfile")
        .arg(&password_file)
        .args([
            "--username",
            SUPERUSER,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
        ])
        .args(["--locale", "C"])
        .current_dir(home);
    if durability == Durability::Throwaway {
        command.arg("--no-sync");
    }
    if let Some(account) = account {
        account.run(&mut command);
    }
    let initdb = tokio::task::spawn_blocking(move || command.output()).await;
    files::remove(&password_file).map_err(cannot())?;
    let failed = |cause: String| PostgresError::System {
        what: "initdb failed".into(),
        cause,
    };
    let output = initdb
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    fs::rename(&partial, home.join("data"))
        .and_then(|()| files::open_folder(home)?.sync_all())
        .map_err(PostgresError::system(
            "cannot move the data folder into place",
        ))?;
    Ok(password)
}

/// Creates the folder and the file that `initdb` needs, owned by the account.
fn prepare(
    partial: &Path,
    password_file: &Path,
    password: &str,
    account: Option<&Account>,
) -> std::io::Result<()> {
    if partial.symlink_metadata().is_ok() {
        fs::remove_dir_all(partial)?;
    }
    files::remove(password_file)?;
    DirBuilder::new().mode(0o700).create(partial)?;
    let password_file = files::write_new(password_file, password)?;
    if let Some(account) = account {
        account.own(&files::open_folder(partial)?)?;
        account.own(&password_file)?;
    }
    Ok(())
}
