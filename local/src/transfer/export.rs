//! `export`: all sessions, with their owners, to a file. It reads page by page, so its memory is that of a
//! page.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shared::caller::{Caller, Owner, Permissions};
use shared::database::{Connection, Database, DatabaseError};
use shared::store::Store;
use shared::store::export::{Place, json_line, page};
use tokio::time::Instant;

use crate::database::LocalDatabase;
use crate::error::LocalError;
use crate::progress::bar;

/// Timeout for a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// All owners, and how many sessions and messages there are.
const OWNERS: &str = "
    select owner, count(*), coalesce(sum(message_count), 0)::bigint
    from public.chat_sessions
    where erased_at is null
    group by owner
    order by owner nulls first";

/// Writes all sessions to `file`, which must not exist yet.
pub(crate) async fn export(file: &Path) -> Result<(), LocalError> {
    if file.exists() {
        return Err(LocalError::new(format!(
            "{} exists; name another file, or remove it",
            file.display()
        )));
    }
    let database = LocalDatabase::open_or_join().await?;
    println!("database  {}", database.description);
    let written = write(&database, file).await;
    database.close().await;
    let (sessions, messages) = written?;
    println!(
        "exported  {sessions} sessions with {messages} messages to {}",
        file.display()
    );
    Ok(())
}

async fn write(database: &LocalDatabase, file: &Path) -> Result<(i64, i64), LocalError> {
    let owners = owners(database).await.map_err(unreadable)?;
    let (mut sessions, mut messages) = (0, 0);
    for (_, of_owner, said) in &owners {
        sessions += of_owner;
        messages += said;
    }
    let lines = u64::try_from(sessions + messages).unwrap_or(0);
    let progress = bar(lines, "{bar:40} {pos} of {len} lines, {eta} left");
    let store = Store::new(Arc::new(Database::new(database.config.clone())));

    // Under another name until it is complete.
    let unfinished = with_suffix(file, "part");
    let cannot = |error: std::io::Error| {
        LocalError::new(format!("cannot write {}: {error}", unfinished.display()))
    };
    let mut output = BufWriter::new(File::create(&unfinished).map_err(cannot)?);
    for (owner, ..) in &owners {
        let mut after: Option<Place> = None;
        loop {
            let caller = caller(owner.as_deref())?;
            let page = page(&store, &caller, None, after, |item| {
                json_line(item, Some(owner.as_deref()))
            })
            .await
            .map_err(|problem| LocalError::new(format!("cannot export: {problem}")))?;
            output.write_all(page.text.as_bytes()).map_err(cannot)?;
            let lines = page.text.bytes().filter(|byte| *byte == b'\n').count();
            progress.inc(u64::try_from(lines).unwrap_or(0));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    let output = output
        .into_inner()
        .map_err(|error| cannot(error.into_error()))?;
    output.sync_all().map_err(cannot)?;
    std::fs::rename(&unfinished, file).map_err(cannot)?;
    progress.finish_and_clear();
    Ok((sessions, messages))
}

async fn owners(
    database: &LocalDatabase,
) -> Result<Vec<(Option<String>, i64, i64)>, DatabaseError> {
    let connection = Connection::open(&database.config).await?;
    let rows = connection.client().query_typed(OWNERS, &[]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect()
}

fn caller(owner: Option<&str>) -> Result<Caller, LocalError> {
    let owner =
        match owner {
            None => None,
            Some(key) => Some(Owner::parse(key).ok_or_else(|| {
                LocalError::new(format!("{key:?} in the database is not an owner"))
            })?),
        };
    Ok(Caller {
        owner,
        permissions: Permissions::default(),
        deadline: Instant::now() + PAGE_TIMEOUT,
    })
}

fn unreadable(error: DatabaseError) -> LocalError {
    LocalError::new(format!("cannot read the sessions: {error}"))
}

/// The same path with something added to its name.
pub(super) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}
