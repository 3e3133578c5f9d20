//! `cargo run -- chat` as the person who types: lines go in, answers come out.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::local_run::{Ended, command};

/// How long a test waits for what is to be said, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A conversation whose input is a pipe; it is killed when dropped.
pub struct Conversation {
    child: Child,
    input: ChildStdin,
    printed: Output,
    complained: Output,
}

/// What came out so far.
struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Conversation {
    /// Begins one with these arguments after `chat`.
    pub fn begin(arguments: &[&str], folder: &Path, settings: &[(&str, &str)]) -> Self {
        let arguments = [&["chat"], arguments].concat();
        let mut child = command(&arguments, folder, settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            printed: Output::of(child.stdout.take().unwrap()),
            complained: Output::of(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Types a line.
    pub async fn types(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    /// Waits until these words were printed on standard output; returns all of it so far.
    pub async fn prints(&self, words: &str) -> String {
        self.printed.has(words).await
    }

    /// Waits until these words are on standard error; returns all of it so far.
    pub async fn complains(&self, words: &str) -> String {
        self.complained.has(words).await
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    }

    /// Ends the input, and waits for the end of the conversation.
    pub async fn end(self) -> Ended {
        let Self {
            mut child,
            input,
            printed,
            complained,
        } = self;
        drop(input);
        let status = timeout(LIMIT, child.wait()).await.expect("it ends");
        Ended {
            success: status.unwrap().success(),
            printed: printed.whole().await,
            complained: complained.whole().await,
        }
    }
}

impl Output {
    fn of(mut pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let reading = tokio::spawn(async move {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut part).await {
                kept.lock().unwrap().extend_from_slice(&part[..length]);
            }
        });
        Self { text, reading }
    }

    /// As text; a character that has not arrived whole is replaced.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    async fn has(&self, words: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let text = self.text();
            if text.contains(words) {
                return text;
            }
            let is_over = self.reading.is_finished() || Instant::now() > deadline;
            assert!(!is_over, "{words}: {text}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn whole(self) -> String {
        self.reading.await.unwrap();
        String::from_utf8(Arc::try_unwrap(self.text).unwrap().into_inner().unwrap()).unwrap()
    }
}
