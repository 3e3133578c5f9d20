//! What is logged on the thread of a test.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::{DefaultGuard, NoSubscriber, set_default, set_global_default};

/// The log of a thread, as a Lambda function writes it.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps what is logged on this thread while the guard lives.
    pub fn capture(directives: &str) -> (Self, DefaultGuard) {
        // With one subscriber alone, tracing settles whether anybody wants an event by the thread that
        // comes upon it first. That may be another test's, where nobody does, and is kept.
        let _ = set_global_default(NoSubscriber::new());
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            shared::logging::json_subscriber(directives, &["chat", "local"], move || {
                writer.clone()
            });
        (log, set_default(subscriber))
    }

    /// What was logged so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
