//! The account that runs the server when we are root: PostgreSQL refuses to run as root.

use std::fs::{File, Metadata};
use std::os::unix::fs::{MetadataExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::error::PostgresError;

/// Accounts to run the server as, best first. Every Unix has the last one.
const NAMES: [&str; 2] = ["postgres", "nobody"];

/// The variables that its commands get.
const PASSED_ON: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];

/// The sticky bit: in such a folder only the owner of a file may remove or rename it.
const STICKY: u32 = 0o1000;

/// An unprivileged account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    user_id: u32,
    group_id: u32,
}

impl Account {
    /// The account to use; `None` if we are not root and need no other. Data that is already in `home`
    /// stays with its owner.
    pub fn for_server(home: &Path) -> Result<Option<Self>, PostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        if let Ok(data) = home.join("data").symlink_metadata()
            && data.is_dir()
            && data.uid() != 0
        {
            return Ok(Some(Self {
                user_id: data.uid(),
                group_id: data.gid(),
            }));
        }
        let passwd = std::fs::read_to_string("/etc/passwd")
            .map_err(PostgresError::system("cannot read /etc/passwd"))?;
        NAMES
            .iter()
            .find_map(|name| find(&passwd, name))
            .map(Some)
            .ok_or_else(|| PostgresError::System {
                what: "PostgreSQL does not run as root".into(),
                cause: format!("none of the accounts {} exists", NAMES.join(", ")),
            })
    }

    /// Whether the account can reach a folder at `path`, which need not exist yet.
    pub fn can_reach(&self, path: &Path) -> bool {
        path.ancestors()
            .skip(1)
            .all(|folder| match folder.metadata() {
                Ok(metadata) => self.may(&metadata, 0o1),
                // Folders that are created later are made accessible.
                Err(_) => true,
            })
    }

    /// Whether the account can replace the file or folder at `path`.
    pub fn can_replace(&self, path: &Path) -> bool {
        path.ancestors()
            .filter_map(|folder| folder.metadata().ok())
            .any(|metadata| {
                let sticky = metadata.is_dir() && metadata.mode() & STICKY != 0;
                metadata.uid() == self.user_id || (self.may(&metadata, 0o2) && !sticky)
            })
    }

    /// Makes the account the owner of a file or folder.
    pub fn own(&self, file: &File) -> std::io::Result<()> {
        fchown(file, Some(self.user_id), Some(self.group_id))
    }

    /// Makes a command run as the account, without our own groups, and without our environment: the
    /// account can read that of its processes, and ours holds keys.
    pub fn run(&self, command: &mut Command) {
        command.uid(self.user_id).gid(self.group_id).env_clear();
        let passed_on = PASSED_ON.iter();
        command.envs(passed_on.filter_map(|name| Some((name, std::env::var_os(name)?))));
    }

    /// Whether the account may read (4), write (2), or execute (1).
    fn may(&self, metadata: &Metadata, right: u32) -> bool {
        let right = if metadata.uid() == self.user_id {
            right << 6
        } else if metadata.gid() == self.group_id {
            right << 3
        } else {
            right
        };
        metadata.mode() & right != 0
    }
}

fn find(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let mut ids = fields.skip(1).map(id);
        Some(Account {
            user_id: ids.next()??,
            group_id: ids.next()??,
        })
    })
}

/// Parses the id of a user or group. macOS writes the one of `nobody` as `-2`.
fn id(text: &str) -> Option<u32> {
    let number = text.parse::<i32>().map(i32::cast_unsigned);
    text.parse().or(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        let nobody = Account {
            user_id: 65534,
            group_id: 65533,
        };
        assert_eq!(find(passwd, "nobody"), Some(nobody));
        assert_eq!(find(passwd, "postgres"), None);
    }

    #[test]
    fn the_negative_ids_of_macos_are_read() {
        let passwd = "nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n";
        let nobody = Account {
            user_id: 4_294_967_294,
            group_id: 4_294_967_294,
        };
        assert_eq!(find(passwd, "nobody"), Some(nobody));
    }
}
