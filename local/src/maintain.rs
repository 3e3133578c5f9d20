//! `maintain` and `erase`, and the run that the server does from time to time.

use std::env;
use std::io::{IsTerminal, stdin};
use std::time::Duration;

use maintain::{Action, MaintainConfig, MaintainError, Report, Work};
use shared::settings::{self, SettingsError};
use tokio::time::{Instant, sleep};

use crate::database::LocalDatabase;
use crate::error::LocalError;

/// The minutes between two runs of the server; 0 is never.
const MAINTAIN_EVERY_MINUTES: &str = "MAINTAIN_EVERY_MINUTES";

/// The minutes between two runs, unless the setting says otherwise.
const DEFAULT_MINUTES: u64 = 60;

/// The time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Whose sessions `erase` erases, and whether it asks first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Erase {
    owner: String,
    dry_run: bool,
    is_confirmed: bool,
}

impl Erase {
    /// Reads the arguments after the command; `None` if they do not name an owner.
    pub(crate) fn read(arguments: &[&str]) -> Option<Self> {
        let mut owner = None;
        let (mut dry_run, mut is_confirmed) = (false, false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--owner" if owner.is_none() => owner = rest.next().map(ToString::to_string),
                "--dry-run" => dry_run = true,
                "--yes" => is_confirmed = true,
                _ => return None,
            }
        }
        let owner = owner.filter(|owner| !owner.trim().is_empty())?;
        Some(Self {
            owner,
            dry_run,
            is_confirmed,
        })
    }
}

/// Does one run, to its end.
pub(crate) async fn maintain() -> Result<(), LocalError> {
    let database = LocalDatabase::open_or_join().await?;
    println!("database  {}", database.description);
    let action = Action::Run { everything: true };
    let retention = database.maintain_config.retention;
    let done = finish(&database.maintain_config, action).await;
    database.close().await;
    let report = done?;
    match retention {
        Some(_) => println!("expired   {}", quantity(report.expired, "sessions")),
        None => println!("expired   nothing; RETENTION_DAYS is not set"),
    }
    println!("erased    {}", counts(&report));
    println!("indexed   {}", quantity(report.indexed, "messages"));
    Ok(())
}

/// Erases everything of an owner.
pub(crate) async fn erase(erase: Erase) -> Result<(), LocalError> {
    let database = LocalDatabase::open_or_join().await?;
    println!("database  {}", database.description);
    let done = erase_in(&database.maintain_config, erase).await;
    database.close().await;
    done
}

async fn erase_in(config: &MaintainConfig, erase: Erase) -> Result<(), LocalError> {
    let Erase {
        owner,
        dry_run,
        is_confirmed,
    } = erase;
    let action = |dry_run| Action::Erase {
        owner: owner.clone(),
        dry_run,
    };
    let counted = finish(config, action(true)).await?;
    if counted.erased.sessions == 0 {
        println!("found     no session of {owner}");
        println!("          an owner is stored with its kind, as in jwt:alice");
        return Ok(());
    }
    println!("found     {} of {owner}", counts(&counted));
    if dry_run {
        return Ok(());
    }
    if !is_confirmed && !is_confirmed_by_hand(&owner)? {
        return Err(LocalError::new("nothing was erased"));
    }
    let report = finish(config, action(false)).await?;
    println!("erased    {}", counts(&report));
    Ok(())
}

/// Asks the person at the terminal.
fn is_confirmed_by_hand(owner: &str) -> Result<bool, LocalError> {
    if !stdin().is_terminal() {
        return Err(LocalError::new(
            "nothing was erased: nobody can be asked; add --yes if you mean it",
        ));
    }
    println!("erase     all of it, for good? Type {owner} to go on:");
    let mut line = String::new();
    let read = stdin().read_line(&mut line);
    read.map_err(|error| LocalError::new(format!("cannot read the answer: {error}")))?;
    Ok(line.trim() == owner)
}

/// Works until nothing is left to do, and says how far it is from time to time.
async fn finish(config: &MaintainConfig, action: Action) -> Result<Report, LocalError> {
    let mut work = Work::new(config, action);
    loop {
        let worked = work.until(Instant::now() + PROGRESS).await;
        if worked.is_err() || work.report().complete {
            let report = work.end().await;
            worked.map_err(|error| LocalError::new(error.to_string()))?;
            return Ok(report);
        }
        println!("… erased {} so far", counts(work.report()));
    }
}

/// The counts of a report in words.
fn counts(report: &Report) -> String {
    let sessions = quantity(report.erased.sessions, "sessions");
    let parts = report.erased.parts.iter();
    let parts = parts.map(|(rows, count)| quantity(*count, &rows.replace('_', " ")));
    let words: Vec<String> = std::iter::once(sessions).chain(parts).collect();
    words.join(", ")
}

fn quantity(count: i64, rows: &str) -> String {
    match rows.strip_suffix('s') {
        Some(row) if count == 1 => format!("1 {row}"),
        _ => format!("{count} {rows}"),
    }
}

/// The minutes between two runs of the server; `None` if it does none.
pub(crate) fn interval() -> Result<Option<Duration>, SettingsError> {
    let variable = |name: &str| env::var(name).ok();
    let minutes = settings::number(variable, MAINTAIN_EVERY_MINUTES, 0..=10_080)?;
    let minutes = minutes.unwrap_or(DEFAULT_MINUTES);
    Ok((minutes > 0).then(|| Duration::from_secs(minutes * 60)))
}

/// Does a run from time to time, for ever. A failure is logged when it first happens, and again only after
/// a run that succeeded.
pub(crate) async fn keep_running(config: MaintainConfig, interval: Option<Duration>) {
    let Some(interval) = interval else {
        return std::future::pending().await;
    };
    let mut has_failed = false;
    loop {
        match run_once(&config, Instant::now() + interval).await {
            Ok(()) => has_failed = false,
            Err(_) if has_failed => {}
            Err(error) => {
                has_failed = true;
                tracing::warn!(cause = %error, "sessions are not erased");
            }
        }
        sleep(interval).await;
    }
}

async fn run_once(config: &MaintainConfig, until: Instant) -> Result<(), MaintainError> {
    let mut work = Work::new(config, Action::Run { everything: false });
    let worked = work.until(until).await;
    work.end().await;
    worked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_named_once_and_nothing_else_is_understood() {
        let erase = |dry_run, is_confirmed| Erase {
            owner: "jwt:alice".into(),
            dry_run,
            is_confirmed,
        };
        for (arguments, expected) in [
            (&["--owner", "jwt:alice"][..], Some(erase(false, false))),
            (&["--yes", "--owner", "jwt:alice"], Some(erase(false, true))),
            (
                &["--owner", "jwt:alice", "--dry-run"],
                Some(erase(true, false)),
            ),
            (&[], None),
            (&["--owner"], None),
            (&["--owner", ""], None),
            (&["jwt:alice"], None),
            (&["--owner", "jwt:alice", "--owner", "jwt:bob"], None),
            (&["--owner", "jwt:alice", "--yess"], None),
        ] {
            assert_eq!(Erase::read(arguments), expected, "{arguments:?}");
        }
    }
}
