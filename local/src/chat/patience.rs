//! How often something that failed is tried again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The first pause; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long to go on without a sign of life, from the first failure on. A turn may be silent for longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Grows tired between two signs of life.
pub(super) struct Patience {
    first_failure: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            first_failure: None,
            pause: FIRST_PAUSE,
        }
    }

    /// There was a sign of life.
    pub(super) fn renew(&mut self) {
        *self = Self::new();
    }

    /// Waits after a failure, for as long as the other side wants if it said so. Returns `false` if it is time to
    /// give up.
    pub(super) async fn wait(&mut self, wanted: Option<Duration>) -> bool {
        let first_failure = *self.first_failure.get_or_insert_with(Instant::now);
        let pause = wanted.unwrap_or(self.pause);
        if first_failure.elapsed() + pause > LIMIT {
            return false;
        }
        sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end_until_there_is_a_sign_of_life() {
        let mut patience = Patience::new();
        let begun = Instant::now();
        let mut attempts = 0;
        while patience.wait(None).await {
            attempts += 1;
        }
        assert_eq!(attempts, 15);
        assert!(begun.elapsed() <= LIMIT && begun.elapsed() > LIMIT / 2);
        assert!(!patience.wait(Some(FIRST_PAUSE * 40)).await);

        patience.renew();
        sleep(LIMIT).await;
        assert!(
            patience.wait(Some(FIRST_PAUSE * 40)).await,
            "silence is no failure"
        );
        assert!(!patience.wait(Some(LIMIT)).await);
    }
}
