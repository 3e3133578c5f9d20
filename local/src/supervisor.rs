//! Child processes that end with us, in whatever way we end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Runs a program and interrupts it when its standard input ends, which it does when we end, even by
/// `kill -9`. The first argument is a folder to remove afterwards, or nothing.
const SUPERVISOR: &str = r#"
exec 3<&0
remove=$1
shift
"$@" </dev/null &
server=$!
(cat <&3 >/dev/null; kill -INT $server 2>/dev/null) &
wait $server
status=$?
[ -z "$remove" ] || rm -rf "$remove"
exit $status
"#;

/// The command to run `program` for as long as the command's standard input is open: give it a pipe.
/// When the program has ended, the folder `remove` is removed.
#[must_use]
pub fn supervised(program: &Path, remove: Option<&Path>) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(SUPERVISOR)
        .arg("supervisor")
        .arg(remove.map_or_else(|| OsStr::new(""), Path::as_os_str))
        .arg(program);
    command
}
