//! Child processes that end with this process, however it ends.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Runs a program and interrupts it when standard input closes, which happens when we end, even by
/// `kill -9`. The first argument is a folder to remove afterwards, or empty. The subshell that waits for
/// the end of the input is killed when the program ends: later it could interrupt another process that
/// has the same id.
const SUPERVISOR: &str = r#"
exec 3<&0
remove=$1
shift
"$@" </dev/null 3<&- &
server=$!
(while read -r _; do :; done <&3; kill -INT $server 2>/dev/null) &
killer=$!
wait $server
status=$?
kill $killer 2>/dev/null
[ -z "$remove" ] || rm -rf "$remove"
exit $status
"#;

/// Removes a folder when its standard input ends.
const REMOVER: &str = r#"cat >/dev/null; exec rm -rf "$1""#;

/// A command that runs `program` for as long as the command's standard input is open: give it a pipe.
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

/// A command that removes a folder which a program's account may not remove: give it a pipe as its
/// standard input, and give the program the other end.
pub(crate) fn remover(folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(REMOVER).arg("remover").arg(folder);
    command
}
