//! The account that runs the server where we are root: PostgreSQL refuses to.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::PostgresError;

/// Accounts to run the server as, best first. Every Unix has the last one.
const NAMES: [&str; 2] = ["postgres", "nobody"];

/// An account without privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    user_id: u32,
    group_id: u32,
}

impl Account {
    /// The account to use; `None` where we are not root and need no other. What is in `home` already
    /// stays with its owner.
    pub fn for_server(home: &Path) -> Result<Option<Self>, PostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        if let Ok(metadata) = home.metadata()
            && metadata.uid() != 0
        {
            return Ok(Some(Self {
                user_id: metadata.uid(),
                group_id: metadata.gid(),
            }));
        }
        let passwd = std::fs::read_to_string("/etc/passwd")
            .map_err(PostgresError::system("/etc/passwd cannot be read"))?;
        NAMES
            .iter()
            .find_map(|name| find(&passwd, name))
            .map(Some)
            .ok_or_else(|| PostgresError::System {
                what: "PostgreSQL does not run as root".into(),
                cause: format!("none of the accounts {} exists", NAMES.join(", ")),
            })
    }

    /// Whether the account can get to a folder that is, or would be, at `path`.
    pub fn can_reach(&self, path: &Path) -> bool {
        path.ancestors()
            .skip(1)
            .all(|folder| match folder.metadata() {
                Ok(metadata) => {
                    let mode = metadata.permissions().mode();
                    let bit = if metadata.uid() == self.user_id {
                        0o100
                    } else if metadata.gid() == self.group_id {
                        0o010
                    } else {
                        0o001
                    };
                    mode & bit != 0
                }
                // A folder that is made later is made accessible.
                Err(_) => true,
            })
    }

    /// Gives a file or folder to the account.
    pub fn own(&self, path: &Path) -> Result<(), PostgresError> {
        chown(path, Some(self.user_id), Some(self.group_id)).map_err(PostgresError::system(
            format!("{} cannot be given away", path.display()),
        ))
    }

    /// Makes a command run as the account.
    pub fn run(&self, command: &mut Command) {
        command.uid(self.user_id).gid(self.group_id);
    }
}

fn find(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let mut ids = fields.skip(1).map(str::parse);
        Some(Account {
            user_id: ids.next()?.ok()?,
            group_id: ids.next()?.ok()?,
        })
    })
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
}
