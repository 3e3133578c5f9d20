//! What a run does: short transactions, each of which leaves everything as the next run needs it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use shared::database::{Database, DatabaseError};
use shared::store::Store;
use shared::store::erasures::{self, Batch, Erased, Retention};
use shared::store::search;
use tokio::time::{Instant, sleep};

use crate::config::MaintainConfig;
use crate::error::MaintainError;
use crate::event::Action;

/// How long to wait for a database that this run has woken.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between attempts to reach it.
const PAUSE: Duration = Duration::from_secs(1);

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `run` or `erase`.
    pub action: &'static str,
    /// Whether `erased` only says what would be erased.
    pub dry_run: bool,
    /// How many sessions were found to be past retention.
    pub expired: i64,
    /// How many rows were erased. Those of a statement whose answer was lost are not counted.
    pub erased: Erased,
    /// How many messages were taken into the index for searching.
    pub indexed: i64,
    /// Whether nothing is left to do.
    pub complete: bool,
}

impl Report {
    /// The report as the function's result.
    ///
    /// # Errors
    /// [`MaintainError::Report`] if it cannot be written as JSON.
    pub fn to_json(&self) -> Result<Value, MaintainError> {
        serde_json::to_value(self).map_err(MaintainError::Report)
    }
}

/// A run, which can be continued until it is complete.
pub struct Work {
    database: Arc<Database>,
    store: Store,
    action: Action,
    retention: Option<Retention>,
    batch_rows: i64,
    search_language: String,
    /// The walk over the sessions: the last one it looked at; `None` when it has ended.
    looked_at: Option<i64>,
    report: Report,
}

impl Work {
    /// A run that has not begun.
    #[must_use]
    pub fn new(config: &MaintainConfig, action: Action) -> Self {
        let database = Arc::new(Database::new(config.database.clone()));
        let (name, dry_run) = match action {
            Action::Run { .. } => ("run", false),
            Action::Erase { dry_run, .. } => ("erase", dry_run),
        };
        Self {
            store: Store::new(Arc::clone(&database)),
            database,
            action,
            retention: config.retention,
            batch_rows: config.batch_rows,
            search_language: config.search_language.clone(),
            looked_at: Some(0),
            report: Report {
                action: name,
                dry_run,
                expired: 0,
                erased: Erased::default(),
                indexed: 0,
                complete: false,
            },
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Goes on until everything is done, or until then.
    ///
    /// # Errors
    /// [`MaintainError`].
    pub async fn until(&mut self, until: Instant) -> Result<(), MaintainError> {
        self.reach(until).await?;
        match self.action.clone() {
            Action::Run { everything } => self.run(everything, until).await,
            Action::Erase {
                owner,
                dry_run: true,
            } => {
                self.report.erased = erasures::count_owner(&self.store, &owner).await?;
                self.report.complete = true;
                Ok(())
            }
            Action::Erase { owner, .. } => self.erase(&owner, until).await,
        }
    }

    /// Closes the connection, which would keep a cluster from pausing, and returns what was done.
    pub async fn end(self) -> Report {
        self.database.close().await;
        self.report
    }

    /// Waits for a database that may have been paused.
    async fn reach(&self, until: Instant) -> Result<(), DatabaseError> {
        let patient_until = until.min(Instant::now() + PATIENCE);
        loop {
            match erasures::is_unfinished(&self.store, None).await {
                Err(error) if error.is_transient() && Instant::now() + PAUSE < patient_until => {
                    tracing::info!(cause = %error, "waiting for the database");
                    sleep(PAUSE).await;
                }
                outcome => return outcome.map(|_| ()),
            }
        }
    }

    async fn run(&mut self, everything: bool, until: Instant) -> Result<(), MaintainError> {
        let mut done = self.erase_recorded(None, until).await?;
        while let (true, Some(retention), Some(after)) = (done, self.retention, self.looked_at) {
            if Instant::now() >= until {
                return Ok(());
            }
            let expired = erasures::expire(&self.store, retention, after, self.batch_rows).await?;
            self.report.expired += expired.sessions;
            self.looked_at = expired
                .last_id
                .filter(|_| everything || !expired.reached_recent);
            if expired.sessions > 0 {
                done = self.erase_recorded(None, until).await?;
            }
        }
        // Last: erasing does not wait for it, nor for a configuration that is not there.
        let filled = search::fill(&self.store, &self.search_language, until).await?;
        self.report.indexed += filled.messages;
        self.report.complete = done && filled.is_complete;
        Ok(())
    }

    async fn erase(&mut self, owner: &str, until: Instant) -> Result<(), MaintainError> {
        // Sessions that the owner opens meanwhile are found by the next round.
        loop {
            // All of them first, so that nothing of the owner is to be seen while the rows go.
            let mut found = false;
            loop {
                if Instant::now() >= until {
                    return Ok(());
                }
                let rows = erasures::record_owner(&self.store, owner, self.batch_rows).await?;
                found |= rows > 0;
                if rows < self.batch_rows {
                    break;
                }
            }
            let done = self.erase_recorded(Some(owner), until).await?;
            if !found {
                if done {
                    search::forget_owners(&self.store, until).await?;
                }
                self.report.complete = done;
                return Ok(());
            }
        }
    }

    /// Erases the recorded sessions of an owner, or of all. Returns whether none is left.
    async fn erase_recorded(
        &mut self,
        owner: Option<&str>,
        until: Instant,
    ) -> Result<bool, MaintainError> {
        let batch = Batch {
            owner,
            rows: self.batch_rows,
            until,
        };
        while erasures::is_unfinished(&self.store, owner).await? {
            let erased = &mut self.report.erased;
            let found = erasures::erase_next(&self.store, batch, erased).await?;
            if !found || Instant::now() >= until {
                return Ok(!erasures::is_unfinished(&self.store, owner).await?);
            }
        }
        Ok(true)
    }
}
