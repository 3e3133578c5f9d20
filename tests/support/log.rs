//! The log of a test's thread.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::{DefaultGuard, NoSubscriber, set_default, set_global_default};

/// The log of a thread, as a Lambda function writes it.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures the log of this thread while the guard lives.
    pub fn capture(directives: &str) -> (Self, DefaultGuard) {
        // With only one subscriber, tracing asks just the first thread that reaches an event whether the
        // event is wanted, and caches the answer. In another test's thread it would be no. A second
        // subscriber prevents that.
        let _ = set_global_default(NoSubscriber::new());
        let log = Self::default();
        let writer = log.clone();
        let table = local::endpoints::table();
        let functions = table.iter().map(|endpoint| endpoint.name);
        let packages: Vec<&str> = functions.chain(["migrate", "maintain", "local"]).collect();
        let subscriber =
            shared::logging::json_subscriber(directives, &packages, move || writer.clone());
        (log, set_default(subscriber))
    }

    /// The log so far.
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
