//! Says what is being measured: on a terminal in a line that is overwritten, elsewhere line by line.

use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the line on the terminal changes.
const TICK: Duration = Duration::from_millis(100);

static LINE: LazyLock<ProgressBar> = LazyLock::new(|| {
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
    let line = ProgressBar::new_spinner().with_style(style.unwrap());
    line.enable_steady_tick(TICK);
    line
});

/// Shows a step.
pub fn step(what: impl Into<String>) {
    let what = what.into();
    if LINE.is_hidden() {
        eprintln!("… {what}");
    }
    LINE.set_message(what);
}

/// Clears the line, so that something else can be printed.
pub fn done() {
    LINE.set_message("");
    LINE.println("");
}
