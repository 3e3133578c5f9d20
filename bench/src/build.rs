//! The programs to measure, built in the same profile as this one. Their building is not measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rig::programs::build_folder;

use crate::progress;

/// The functions that answer requests.
pub const FUNCTIONS: [&str; 5] = ["chat", "history", "load-session", "reset", "status"];

/// A program of this build.
pub fn program(name: &str) -> PathBuf {
    build_folder().join(name)
}

/// The folder of the results, which exists.
pub fn results() -> PathBuf {
    let folder = build_folder().with_file_name("bench");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Whether the functions are built as they are shipped: optimised and with OpenSSL linked in.
pub fn is_as_shipped() -> bool {
    !cfg!(debug_assertions) && can_build_openssl()
}

/// Builds the functions, the local server and the floors.
pub fn everything() {
    if cfg!(debug_assertions) {
        // With the features of all packages together, as the tests have built most of it already.
        return cargo("building everything", &["--workspace", "--bins"]);
    }
    // As `cargo lambda build` does; see the metadata in Cargo.toml.
    let vendored: &[&str] = if is_as_shipped() {
        &["--features", "shared/vendored"]
    } else {
        &[]
    };
    cargo("building the functions and the local server", vendored);
    let floors = [
        "--package=bench",
        "--bin=do-nothing",
        "--bin=plain-statements",
    ];
    cargo("building the floors", &floors);
}

/// Whether there is what OpenSSL is built with.
fn can_build_openssl() -> bool {
    let runs = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    runs("make", &["--version"]) && runs("perl", &["-MFindBin", "-MIPC::Cmd", "-e1"])
}

fn cargo(what: &str, arguments: &[&str]) {
    progress::step(what);
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--quiet", "--locked"])
        .args(arguments)
        .arg("--target-dir")
        .arg(build_folder().parent().unwrap())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status().expect("cargo runs");
    assert!(status.success(), "{what} failed");
}
