//! The programs `initdb` and `postgres` in a folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;

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
pub fn output(program: &Path, argument: &str, account: Option<&Account>) -> Option<String> {
    let mut command = Command::new(program);
    command.arg(argument).current_dir("/").stdin(Stdio::null());
    if let Some(account) = account {
        account.run(&mut command);
    }
    String::from_utf8(command.output().ok()?.stdout).ok()
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
