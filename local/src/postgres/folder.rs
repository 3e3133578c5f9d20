//! The folder of a server: kept to one instance, and set up when it is new.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use uuid::Uuid;

use super::account::Account;
use super::programs::Programs;
use super::{PostgresError, SUPERUSER};

/// Makes the folder and keeps other instances out of it.
pub fn take(home: &Path, account: Option<&Account>) -> Result<File, PostgresError> {
    let cannot = |what: &str| PostgresError::system(format!("{} {what}", home.display()));
    if !home.exists() {
        fs::create_dir_all(home).map_err(cannot("cannot be made"))?;
        fs::set_permissions(home, fs::Permissions::from_mode(0o700))
            .map_err(cannot("cannot be made private"))?;
        if let Some(account) = account {
            account.own(home)?;
        }
    }
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(home.join("lock"))
        .map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => PostgresError::Foreign(home.to_owned()),
            _ => cannot("cannot be written to")(error),
        })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(PostgresError::InUse(home.to_owned())),
        Err(TryLockError::Error(error)) => Err(cannot("cannot be locked")(error)),
    }
}

/// The major version that made the data; `None` where there is none yet.
pub fn major_of(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The password that was set when the data was made.
pub fn read_password(home: &Path) -> Result<String, PostgresError> {
    let path = home.join("password");
    let password = fs::read_to_string(&path).map_err(PostgresError::system(format!(
        "{} cannot be read",
        path.display()
    )))?;
    Ok(password.trim().to_owned())
}

/// Runs `initdb`; its result takes its place only when it is whole.
pub async fn set_up(
    home: &Path,
    programs: &Programs,
    account: Option<&Account>,
) -> Result<String, PostgresError> {
    let (partial, password_file) = (home.join("data.partial"), home.join("password"));
    let password = Uuid::new_v4().simple().to_string();
    write_secret(&password_file, &password)?;
    if let Some(account) = account {
        account.own(&password_file)?;
    }
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(PostgresError::system(format!(
            "{} cannot be removed",
            partial.display()
        )))?;
    }

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
        .args(["--locale", "C", "--no-sync"])
        .current_dir(home);
    if let Some(account) = account {
        account.run(&mut command);
    }
    let initdb = tokio::task::spawn_blocking(move || command.output()).await;
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
    fs::rename(&partial, home.join("data")).map_err(PostgresError::system(
        "the data folder cannot be put in place",
    ))?;
    Ok(password)
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, secret: &str) -> Result<(), PostgresError> {
    let cannot = || PostgresError::system(format!("{} cannot be written", path.display()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).map_err(cannot())?;
    file.write_all(secret.as_bytes()).map_err(cannot())
}
