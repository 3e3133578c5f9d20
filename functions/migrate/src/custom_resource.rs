//! A CloudFormation custom resource: the same migration, with its result sent to a URL.
//!
//! CloudFormation waits for the result for up to an hour, so one is sent whatever the event
//! contains and however the migration ends, before the invocation times out. Deleting the resource
//! never touches data. Members of event and answer: AWS CloudFormation, "Custom resource request
//! types" and "Custom resource response objects".

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use shared::settings::SettingsError;
use tokio::time::timeout;

use crate::config::MigrateConfig;
use crate::error::MigrateError;
use crate::schema::{self, Report};

/// The id of the one schema this resource stands for. If it changed, CloudFormation would delete
/// the old one.
const PHYSICAL_RESOURCE_ID: &str = "daissy-schema";

/// The longest reason sent to CloudFormation; the whole answer may have 4 KB.
const MAX_REASON_CHARACTERS: usize = 1000;

/// How long to wait for a database that the same deployment has just created or woken.
const PATIENCE: Duration = Duration::from_secs(120);

/// Timeout for each attempt to send the answer.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of attempts to send the answer.
const NOTIFICATION_ATTEMPTS: usize = 3;

/// The part of the invocation's time reserved for sending the answer.
const NOTIFICATION_RESERVE: Duration = Duration::from_secs(12);

/// The members of an event that are used. They are read one by one, because CloudFormation waits
/// for an answer whatever else is odd about the event.
struct Event {
    request_type: String,
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
}

impl Event {
    /// # Errors
    /// [`MigrateError::InvalidEvent`] if it does not say where to send the answer.
    fn read(event: &Value) -> Result<Self, MigrateError> {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let event = Self {
            request_type: text("RequestType"),
            response_url: text("ResponseURL"),
            stack_id: text("StackId"),
            request_id: text("RequestId"),
            logical_resource_id: text("LogicalResourceId"),
        };
        if event.response_url.is_empty() {
            return Err(MigrateError::InvalidEvent("it has no ResponseURL"));
        }
        Ok(event)
    }
}

/// Whether an event comes, or claims to come, from CloudFormation.
pub(crate) fn is_custom_resource(event: &Value) -> bool {
    event.get("RequestType").is_some() || event.get("ResponseURL").is_some()
}

pub(crate) async fn handle(
    config: Result<&MigrateConfig, SettingsError>,
    event: &Value,
    limit: Duration,
) -> Result<Value, MigrateError> {
    let event = Event::read(event)?;
    let limit = limit.saturating_sub(NOTIFICATION_RESERVE);
    let applied = AssertUnwindSafe(timeout(limit, apply(config, &event)))
        .catch_unwind()
        .await;
    let result = match applied {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(MigrateError::TookTooLong(limit)),
        Err(_) => Err(MigrateError::Failed {
            step: "migrating".into(),
            cause: "it panicked; the log says where".into(),
        }),
    };
    if let Err(error) = &result {
        tracing::error!(cause = %error, "the migration failed");
    }
    notify(&event, &result).await?;
    match result? {
        Some(report) => report.to_json(),
        None => Ok(Value::Null),
    }
}

async fn apply(
    config: Result<&MigrateConfig, SettingsError>,
    event: &Event,
) -> Result<Option<Report>, MigrateError> {
    match event.request_type.as_str() {
        "Create" => schema::migrate_patiently(config?, PATIENCE).await.map(Some),
        "Update" => {
            let config = config?;
            match schema::migrate_patiently(config, PATIENCE).await {
                // A stack that rolls back sends the update to the old version of this function. The
                // schema stays: migrations tolerate the code that was live before them.
                Err(MigrateError::Unknown(name)) => {
                    tracing::warn!(migration = name, "the database is newer than this version");
                    schema::status(config).await.map(Some)
                }
                result => result.map(Some),
            }
        }
        // Deleting the resource leaves the data alone.
        "Delete" => Ok(None),
        _ => Err(MigrateError::InvalidEvent(
            "its RequestType is not Create, Update or Delete",
        )),
    }
}

async fn notify(
    event: &Event,
    result: &Result<Option<Report>, MigrateError>,
) -> Result<(), MigrateError> {
    let (status, reason) = match result {
        Ok(_) => ("SUCCESS", String::new()),
        Err(error) => ("FAILED", error.to_string()),
    };
    let mut answer = json!({
        "Status": status,
        "Reason": reason.chars().take(MAX_REASON_CHARACTERS).collect::<String>(),
        "PhysicalResourceId": PHYSICAL_RESOURCE_ID,
        "StackId": event.stack_id,
        "RequestId": event.request_id,
        "LogicalResourceId": event.logical_resource_id,
    });
    if let Ok(Some(report)) = result {
        answer["Data"] = json!({ "SchemaVersion": report.schema_version.to_string() });
    }

    let body = answer.to_string();
    // CloudFormation waits for a missing answer and then treats it as a failure, so retrying is
    // worthwhile.
    let mut sent = send(&event.response_url, &body).await;
    for _ in 1..NOTIFICATION_ATTEMPTS {
        if sent.is_ok() {
            break;
        }
        sent = send(&event.response_url, &body).await;
    }
    sent
}

async fn send(url: &str, body: &str) -> Result<(), MigrateError> {
    // The URL is signed: an error must not carry it into the log.
    let failed =
        |error: reqwest::Error| MigrateError::Notification(error.without_url().to_string());
    reqwest::Client::builder()
        .timeout(NOTIFICATION_TIMEOUT)
        .build()
        .map_err(failed)?
        .put(url)
        // The signature covers an empty content type.
        .header("content-type", "")
        .body(body.to_owned())
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?;
    Ok(())
}
