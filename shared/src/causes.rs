//! Renders the causes behind an error. Every error type that gets here keeps content and secrets
//! out of its `Display`.

use std::error::Error;

/// The causes of an error, outermost first, without the error itself.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes.join(": ")
}

/// An error and its causes.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = causes(error);
    if causes.is_empty() {
        error.to_string()
    } else {
        format!("{error}: {causes}")
    }
}
