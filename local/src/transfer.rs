//! `export` and `import`: sessions to a file in JSON Lines, and back.

mod export;
mod import;
mod line;
mod session;

pub(crate) use export::export;
pub(crate) use import::import;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on the terminal; nothing where the output is not one.
fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
