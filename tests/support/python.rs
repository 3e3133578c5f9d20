//! Programs from Python's package index, installed beside what cargo builds when they are first needed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What cargo builds into: the folder of the profile.
pub fn build_folder() -> &'static Path {
    let program = Path::new(env!("CARGO_BIN_EXE_local-under-test"));
    program.parent().unwrap()
}

/// The folder with a package in it; the arguments are those of `pip install`.
pub fn installed(arguments: &[&str]) -> PathBuf {
    let plain = |character: char| {
        if character.is_alphanumeric() {
            character
        } else {
            '-'
        }
    };
    let name: String = arguments.concat().chars().map(plain).collect();
    let folder = build_folder().with_file_name("python").join(name);
    let complete = folder.join("complete");
    if !complete.exists() {
        let output = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
            .arg(&folder)
            .args(arguments)
            .output()
            .expect("the tests need python3");
        assert!(
            output.status.success(),
            "the tests need python3 with pip (apt-get install python3-pip) to install {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::write(&complete, "").unwrap();
    }
    folder
}
