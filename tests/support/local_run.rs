//! `cargo run` in its own process.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

pub use rig::local_run::Complaints;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::postgres;
use rig::programs::build_folder;

/// Timeout for a command, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A running local server; it is killed when dropped.
pub struct LocalRun(rig::local_run::LocalRun);

/// The result of a command.
#[derive(Debug)]
pub struct Ended {
    /// Whether the exit code was 0.
    pub success: bool,
    /// Standard output.
    pub printed: String,
    /// Standard error.
    pub complained: String,
}

/// A command of `cargo run`, without variables of our own environment that would affect it.
pub fn command(arguments: &[&str], folder: &Path, settings: &[(&str, &str)]) -> Command {
    let program = build_folder().join("local-under-test");
    let mut command = rig::local_run::command(&program, arguments, folder, settings);
    // Downloading the programs for each test would take a while.
    command.envs(postgres::downloaded_programs().map(|folder| ("POSTGRES_BIN_DIR", folder)));
    // A test may name others.
    command.envs(settings.iter().copied());
    command
}

/// Runs a command to its end.
pub async fn run(arguments: &[&str], folder: &Path, settings: &[(&str, &str)]) -> Ended {
    ended(command(arguments, folder, settings)).await
}

/// Runs a command, and kills it after this time if it has not ended.
pub async fn run_and_kill(
    arguments: &[&str],
    folder: &Path,
    settings: &[(&str, &str)],
    after: Duration,
) {
    let mut child = command(arguments, folder, settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = timeout(after, child.wait()).await;
    let _ = child.kill().await;
}

/// Begins a command, which is killed when dropped.
pub fn begin(arguments: &[&str], folder: &Path, settings: &[(&str, &str)]) -> Child {
    let mut command = command(arguments, folder, settings);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Runs a command to its end in the folder `current`.
pub async fn run_in(current: &Path, arguments: &[&str], folder: &Path) -> Ended {
    let mut command = command(arguments, folder, &[]);
    command.current_dir(current);
    ended(command).await
}

async fn ended(mut command: Command) -> Ended {
    let output = command.output();
    let output = timeout(LIMIT, output).await.expect("it ends").unwrap();
    Ended {
        success: output.status.success(),
        printed: String::from_utf8(output.stdout).unwrap(),
        complained: String::from_utf8(output.stderr).unwrap(),
    }
}

impl LocalRun {
    /// Starts a server with its data in `folder` and waits until it listens.
    pub async fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self(rig::local_run::LocalRun::start(command(&[], folder, settings)).await)
    }

    /// Waits until it has ended; returns whether the exit code was 0.
    pub async fn ended(self) -> bool {
        self.0.ended().await
    }

    /// Stops it as a process manager does.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

impl Deref for LocalRun {
    type Target = rig::local_run::LocalRun;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for LocalRun {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
