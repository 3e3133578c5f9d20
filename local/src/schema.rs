//! `migrate`: brings the schema up to date, and drops what it once took over.

use std::env;

use migrate::LegacyConfig;
use shared::caller::Owner;

use crate::database::LocalDatabase;
use crate::error::LocalError;

/// Migrates the database of a local run. Sessions of the Python server that name no user get `owner`.
pub(crate) async fn migrate(owner: Option<&str>) -> Result<(), LocalError> {
    let mut legacy = LegacyConfig::read(|name| env::var(name).ok())
        .map_err(|error| LocalError::new(error.to_string()))?;
    if let Some(key) = owner {
        let owner = Owner::parse(key).ok_or_else(|| {
            LocalError::new("--owner must be an owner as the database stores it, such as jwt:alice")
        })?;
        legacy.owner = Some(owner);
    }
    let mut database = LocalDatabase::open_or_join().await?;
    database.migrate_config.legacy = Some(legacy);
    let migrated = database.migrate().await;
    database.close().await;
    println!("schema    {}", migrated?);
    Ok(())
}

/// Drops the Python server's tables, and says which.
pub(crate) async fn drop_legacy() -> Result<(), LocalError> {
    let database = LocalDatabase::open_or_join().await?;
    let dropped = migrate::drop_legacy(&database.migrate_config).await;
    let dropped =
        dropped.map_err(|error| LocalError::new(format!("{error} ({})", database.description)));
    database.close().await;
    for table in dropped? {
        println!(
            "dropped   daissy_legacy.{}, {} rows",
            table.table, table.rows
        );
    }
    println!("dropped   the schema daissy_legacy");
    Ok(())
}
