//! The local server in its own process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::memory::peak_memory_mb;

/// Timeout for a start with a database to set up, or for a stop, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A running local server; it is killed when dropped.
pub struct LocalRun {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    complaints: Complaints,
    /// Where it listens.
    pub address: String,
    /// The lines it printed before it listened.
    pub printed: Vec<String>,
}

/// The command, without variables of our own environment that would affect it.
pub fn command(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    settings: &[(&str, &str)],
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LOCAL_DIR", folder)
        .env("PORT", "0")
        .envs(settings.iter().copied())
        // This folder has no .env file.
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The standard error of a process, readable even after its end.
pub struct Complaints(File);

impl Complaints {
    /// All of it so far.
    pub fn text(&self) -> String {
        let length = self.0.metadata().unwrap().len();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

impl LocalRun {
    /// Starts a server from a [`command`] without arguments, and waits until it listens.
    pub async fn start(mut command: Command) -> Self {
        let complaints = Complaints(tempfile::tempfile().unwrap());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(complaints.0.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = Vec::new();
        let address = timeout(LIMIT, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                printed.push(line.clone());
                if let Some(address) = line.strip_prefix("listening ") {
                    return address.to_owned();
                }
            }
            let complained = complaints.text();
            panic!("it ended without listening: {printed:?} {complained}");
        })
        .await
        .expect("it listens");
        Self {
            child,
            lines,
            complaints,
            address,
            printed,
        }
    }

    /// Its standard error.
    pub fn complaints(&self) -> Complaints {
        Complaints(self.complaints.0.try_clone().unwrap())
    }

    /// Waits until it prints a line that contains `words`; returns the line.
    pub async fn prints(&mut self, words: &str) -> String {
        timeout(LIMIT, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(words) {
                    return line;
                }
            }
            panic!(
                "it ended without printing {words}: {}",
                self.complaints.text()
            );
        })
        .await
        .expect("it prints")
    }

    /// The most memory that the process has used so far, in MB; Linux only.
    pub fn peak_memory_mb(&self) -> f64 {
        peak_memory_mb(self.child.id().unwrap())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended; returns whether the exit code was 0.
    pub async fn ended(mut self) -> bool {
        // Its output must not block it.
        let rest =
            tokio::spawn(async move { while let Ok(Some(_)) = self.lines.next_line().await {} });
        let status = timeout(LIMIT, self.child.wait())
            .await
            .expect("it ends")
            .unwrap();
        rest.abort();
        status.success()
    }

    /// Stops it as a process manager does.
    pub async fn stop(self) {
        self.signal(Signal::TERM);
        assert!(self.ended().await, "it stops with exit code 0");
    }
}
