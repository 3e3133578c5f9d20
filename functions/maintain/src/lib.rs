//! `maintain`: retention, and erasing what was deleted. It has no route.
//!
//! An event is `{"action": "run"}` (the default, and what any other event of a schedule means),
//! `{"action": "run", "everything": true}`, or `{"action": "erase", "owner": "jwt:alice", "dry_run": false}`.
//! The result says in counts what was done. As in `migrate`, a failure is a failed invocation.

mod config;
mod error;
mod event;
mod work;

use std::time::Duration;

use serde_json::Value;
use shared::settings::SettingsError;
use tokio::time::Instant;

pub use config::MaintainConfig;
pub use error::MaintainError;
pub use event::Action;
pub use work::{Report, Work};

/// The part of an invocation's time in which nothing new is begun: a statement may take a while.
const RESERVE: Duration = Duration::from_secs(15);

/// Handles one invocation, within `limit`. What there is no time for is left for the next one, and the
/// result says so.
///
/// # Errors
/// [`MaintainError`].
pub async fn handle(
    config: Result<&MaintainConfig, SettingsError>,
    event: Value,
    limit: Duration,
) -> Result<Value, MaintainError> {
    let until = Instant::now() + limit.saturating_sub(RESERVE);
    let action = Action::read(&event)?;
    let mut work = Work::new(config?, action);
    let worked = work.until(until).await;
    let report = work.end().await;
    worked?;
    tracing::info!(
        action = report.action,
        dry_run = report.dry_run,
        expired = report.expired,
        erased_sessions = report.erased.sessions,
        indexed = report.indexed,
        complete = report.complete,
        "maintained"
    );
    report.to_json()
}
