//! Child processes that end with us, in whatever way we end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Runs a program and interrupts it when its standard input ends, which it does when we end, even by
/// `kill -9`. The first argument is a folder to remove afterwards, or nothing. What waits for the end of
/// the input ends with the program, so that it never interrupts whoever has its number then.
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

/// The command to remove a folder that a program's account may not remove: give it a pipe as its standard
/// input, and the program the other end.
pub(crate) fn remover(folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(REMOVER).arg("remover").arg(folder);
    command
}
