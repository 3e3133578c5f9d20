//! Progress messages for steps that take longer than a person waits without wondering.

use std::future::Future;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The time before the first message, and the resolution of the later ones.
const PATIENCE: Duration = Duration::from_secs(1);

/// The seconds between two later messages.
const QUIET_SIGNS: u64 = 5;

/// Waits for `work`, and says what it is if it takes longer than a second: on standard error, because it is no
/// part of what a command prints.
pub async fn shown<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut seconds = 0;
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(PATIENCE) => {
                seconds += PATIENCE.as_secs();
                if seconds == 1 {
                    eprintln!("… {what}");
                } else if seconds % QUIET_SIGNS == 0 {
                    eprintln!("… {what} ({seconds} s)");
                }
            }
        }
    }
}

/// A bar on the terminal; nothing where the output is not one.
pub(crate) fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
