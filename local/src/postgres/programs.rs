//! The programs `initdb` and `postgres`: installed ones first, otherwise downloaded.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::{PostgresError, packages};

/// Folders with a subfolder for each version, and the path of the programs inside it.
const VERSION_FOLDERS: [(&str, &str); 6] = [
    ("/usr/lib/postgresql", "bin"), // Debian, Ubuntu
    ("/usr", "bin"),                // pgsql-17 of the PostgreSQL project's RPMs
    ("/opt/homebrew/opt", "bin"),   // Homebrew on Apple silicon
    ("/usr/local/opt", "bin"),      // Homebrew on Intel
    ("/Applications/Postgres.app/Contents/Versions", "bin"),
    ("/usr/libexec", ""), // Alpine: postgresql17
];

/// The oldest version that supports our SQL.
const OLDEST_VERSION: u32 = 14;

/// A folder with `initdb` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder.
    pub folder: PathBuf,
    /// The major version.
    pub major: u32,
    /// The full version, such as `15.18`.
    pub version: String,
}

impl Programs {
    /// Finds the programs, those of `wanted_major` if there are any. Downloads them to a folder below
    /// `downloads` if none are installed.
    ///
    /// When we are root, none of them runs as root, not even to print its version.
    pub async fn find(
        downloads: &Path,
        wanted_major: Option<u32>,
        account: Option<&Account>,
    ) -> Result<Self, PostgresError> {
        if let Some(folder) = env::var_os("POSTGRES_BIN_DIR").filter(|folder| !folder.is_empty()) {
            let folder = PathBuf::from(folder);
            return Self::inspect(&folder, account).ok_or(PostgresError::WrongFolder(folder));
        }
        let mut found: Vec<Self> = folders(downloads, account)
            .iter()
            .filter_map(|folder| Self::inspect(folder, account))
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

    /// The path of one of the programs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The programs in a folder, if they run on this machine.
    pub fn inspect(folder: &Path, account: Option<&Account>) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let text = output(&folder.join("postgres"), "--version", account)?;
        let (major, version) = parse_version(&text)?;
        (major >= OLDEST_VERSION).then(|| Self {
            folder: folder.to_owned(),
            major,
            version,
        })
    }
}

/// Parses `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(text: &str) -> Option<(u32, String)> {
    let version = text.split_whitespace().nth(2)?;
    let digits = version
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    Some((digits.parse().ok()?, version.to_owned()))
}

/// The output of a program that runs as the account.
fn output(program: &Path, argument: &str, account: Option<&Account>) -> Option<String> {
    let mut command = Command::new(program);
    command.arg(argument).current_dir("/").stdin(Stdio::null());
    if let Some(account) = account {
        account.run(&mut command);
    }
    String::from_utf8(command.output().ok()?.stdout).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_as_the_program_prints_it() {
        let cases = [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                15,
                "15.18",
            ),
            ("postgres (PostgreSQL) 17.2\n", 17, "17.2"),
            ("postgres (PostgreSQL) 18beta1\n", 18, "18beta1"),
        ];
        for (text, major, version) in cases {
            assert_eq!(
                parse_version(text),
                Some((major, version.to_owned())),
                "{text}"
            );
        }
        assert_eq!(parse_version("postgres: could not start"), None);
    }
}
