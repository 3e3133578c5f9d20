//! Where the programs are: installed ones first, otherwise downloaded.

use std::env;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::PostgresError;
use super::packages;
use super::programs::{Programs, output};

/// Folders with a subfolder for each version, and the path of the programs inside it.
const VERSION_FOLDERS: [(&str, &str); 6] = [
    ("/usr/lib/postgresql", "bin"), // Debian, Ubuntu
    ("/usr", "bin"),                // pgsql-17 of the PostgreSQL project's RPMs
    ("/opt/homebrew/opt", "bin"),   // Homebrew on Apple silicon
    ("/usr/local/opt", "bin"),      // Homebrew on Intel
    ("/Applications/Postgres.app/Contents/Versions", "bin"),
    ("/usr/libexec", ""), // Alpine: postgresql17
];

/// Finds the programs, those of `wanted_major` if there are any. Downloads them to a folder below
/// `downloads` if none are installed.
///
/// When we are root, none of them runs as root, not even to print its version.
pub async fn find(
    downloads: &Path,
    wanted_major: Option<u32>,
    account: Option<&Account>,
) -> Result<Programs, PostgresError> {
    if let Some(folder) = env::var_os("POSTGRES_BIN_DIR").filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        return Programs::inspect(&folder, account).ok_or(PostgresError::WrongFolder(folder));
    }
    let mut found: Vec<Programs> = folders(downloads, account)
        .iter()
        .filter_map(|folder| Programs::inspect(folder, account))
        .collect();
    // The wanted version first, then the newest.
    found.sort_by_key(|programs| {
        std::cmp::Reverse((Some(programs.major) == wanted_major, programs.major))
    });
    match found.into_iter().next() {
        Some(programs) => Ok(programs),
        None => packages::download(downloads, account).await,
    }
}

fn folders(downloads: &Path, account: Option<&Account>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    if let Some(folder) = output("pg_config".as_ref(), "--bindir", account) {
        folders.push(folder.trim().into());
    }
    for (parent, bin) in VERSION_FOLDERS {
        folders.extend(children(Path::new(parent)).map(|child| child.join(bin)));
    }
    folders.extend(children(downloads).map(|child| child.join("bin")));
    folders
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}
