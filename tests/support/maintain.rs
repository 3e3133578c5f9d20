//! `maintain`, run in this process on the database of an API.

use std::time::Duration;

use maintain::{MaintainConfig, MaintainError};
use serde_json::Value;

use crate::{TestApi, postgres};

/// The time that an invocation has.
const LIMIT: Duration = Duration::from_secs(120);

/// The settings of `maintain`, as from the environment, for the database of an API.
pub fn config(api: &TestApi, settings: &[(&str, &str)]) -> MaintainConfig {
    let url = postgres::maintain_url(&api.database);
    let read = MaintainConfig::read(|name| match name {
        "MAINTAIN_DATABASE_URL" => Some(url.clone()),
        name => {
            let setting = settings.iter().find(|(known, _)| *known == name);
            setting.map(|(_, value)| (*value).to_owned())
        }
    });
    read.unwrap()
}

/// Handles an event.
///
/// # Errors
/// [`MaintainError`].
pub async fn try_maintain(
    api: &TestApi,
    settings: &[(&str, &str)],
    event: Value,
) -> Result<Value, MaintainError> {
    maintain::handle(Ok(&config(api, settings)), event, LIMIT).await
}

/// Handles an event, which must succeed; returns the report.
pub async fn maintain(api: &TestApi, settings: &[(&str, &str)], event: Value) -> Value {
    try_maintain(api, settings, event).await.unwrap()
}
