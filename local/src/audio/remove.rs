//! `audio remove`: deletes recordings. Answers that recommended them stay as they are; links to them end.

use shared::store::recordings;
use uuid::Uuid;

use super::place::{Place, deadline, failed};
use crate::error::LocalError;

/// Deletes the recordings with these ids.
pub(super) async fn remove(ids: &[Uuid]) -> Result<(), LocalError> {
    let place = Place::open().await?;
    println!("database  {}", place.description());
    let removed = recordings::remove(&place.store_of_maintain(), deadline(), ids).await;
    let what = if place.knows_maintain() {
        "the recordings cannot be removed"
    } else {
        "the recordings cannot be removed; that needs a role that may delete, which MAINTAIN_DATABASE_URL names"
    };
    place.close().await;
    let removed = removed.map_err(failed(what))?;
    println!("removed   {removed} of {}", ids.len());
    Ok(())
}
