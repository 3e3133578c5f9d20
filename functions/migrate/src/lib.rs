//! `migrate`: brings the schema up to date. It has no route.
//!
//! An event is `{"action": "migrate"}` (the default), `{"action": "status"}`, which changes
//! nothing, or a CloudFormation custom-resource event. Unlike in the HTTP functions, a failure here
//! is a failed invocation, so that it fails the deployment.

mod config;
mod custom_resource;
mod error;
mod migrations;
mod schema;
mod takeover;

use std::time::Duration;

use serde_json::Value;
use shared::settings::SettingsError;
use tokio::time::timeout;

pub use config::{LegacyConfig, MigrateConfig, RoleLogin};
pub use error::MigrateError;
pub use schema::{Report, drop_legacy, known_migrations, migrate, migrate_up_to, status};
pub use takeover::{Dropped, LegacyState, TakenOver};

/// Handles one invocation, within `limit`. A database that is not configured fails the invocation,
/// so that CloudFormation also hears of it.
///
/// # Errors
/// [`MigrateError`]. For a custom resource, CloudFormation is told as well.
pub async fn handle(
    config: Result<&MigrateConfig, SettingsError>,
    event: Value,
    limit: Duration,
) -> Result<Value, MigrateError> {
    if custom_resource::is_custom_resource(&event) {
        return custom_resource::handle(config, &event, limit).await;
    }
    let work = by_hand(config?, &event);
    let report = timeout(limit, work).await;
    report.unwrap_or(Err(MigrateError::TookTooLong(limit)))
}

async fn by_hand(config: &MigrateConfig, event: &Value) -> Result<Value, MigrateError> {
    let action = match event {
        Value::Null => None,
        Value::Object(members) => members.get("action"),
        _ => return Err(MigrateError::UnknownAction),
    };
    let report = match action.unwrap_or(&Value::Null) {
        Value::Null => migrate(config).await?,
        Value::String(action) if action == "migrate" => migrate(config).await?,
        Value::String(action) if action == "status" => status(config).await?,
        _ => return Err(MigrateError::UnknownAction),
    };
    report.to_json()
}
