//! Where the data of a server is, and which account runs it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::PostgresError;

/// The folder for a server's data, and the account to run it as. If that account cannot reach `folder`,
/// another folder is used that it can reach.
pub fn home_for(folder: &Path) -> Result<(PathBuf, Option<Account>), PostgresError> {
    let home = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let Some(account) = Account::for_server(&home)? else {
        return Ok((home, None));
    };
    if account.can_reach(&home) {
        return Ok((home, Some(account)));
    }
    let home = Path::new("/var/lib/daissy").join(name_of(&home));
    let account = Account::for_server(&home)?;
    Ok((home, account))
}

/// Turns a path into the name of a folder; different paths have different names.
fn name_of(path: &Path) -> String {
    let mut name = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' => name.push('-'),
            b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => name.push(char::from(*byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_paths_have_different_names() {
        let paths = ["/a/b-c", "/a-b/c", "/a/b/c", "/a%2db/c", "/a b/c"];
        let names: std::collections::BTreeSet<_> =
            paths.iter().map(|path| name_of(Path::new(path))).collect();
        assert_eq!(names.len(), paths.len(), "{names:?}");
    }
}
