//! Ctrl-C while no line is edited.

use futures_util::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::LocalError;

/// Interrupts, which do not end the process any more.
pub(super) struct Interrupts(Signal);

impl Interrupts {
    /// Catches them from now on.
    pub(super) fn catch() -> Result<Self, LocalError> {
        signal(SignalKind::interrupt())
            .map(Self)
            .map_err(|error| LocalError::new(format!("cannot catch signals: {error}")))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }

    /// Forgets those that came while nothing could be interrupted.
    pub(super) fn forget(&mut self) {
        while self.0.recv().now_or_never().is_some() {}
    }
}
