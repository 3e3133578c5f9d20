//! Signs of life while something takes longer than a person waits without asking.

use std::future::Future;
use std::time::Duration;

/// After this the person is told what is being waited for, and again each time it has passed.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many further signs there are at most between two lines.
const QUIET_SIGNS: u64 = 5;

/// Waits for `work`, telling what it is if it takes longer than a second.
pub async fn shown<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut seconds = 0;
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(PATIENCE) => {
                seconds += PATIENCE.as_secs();
                if seconds == 1 {
                    println!("… {what}");
                } else if seconds % QUIET_SIGNS == 0 {
                    println!("… {what} ({seconds} s)");
                }
            }
        }
    }
}
