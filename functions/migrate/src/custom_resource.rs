//! A CloudFormation custom resource: the same migration, with the result sent to a URL.
//!
//! CloudFormation waits for that answer, up to an hour, so one is sent whatever becomes of the
//! migration, and before the invocation's time is over. Deleting the resource never touches data.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use aws_lambda_events::cloudformation::{
    CloudFormationCustomResourceRequest as Event, CloudFormationCustomResourceResponse as Response,
    CloudFormationCustomResourceResponseStatus as Status,
};
use futures_util::FutureExt;
use serde_json::Value;
use shared::database::DatabaseConfigError;
use tokio::time::timeout;

use crate::config::MigrateConfig;
use crate::schema::{self, MigrateError, Report};

/// The id of the one schema this resource stands for. A changed id would make CloudFormation delete
/// the old one.
const PHYSICAL_RESOURCE_ID: &str = "daissy-schema";

/// The longest reason CloudFormation is sent; its answer may have 4 KB in all.
const MAX_REASON_CHARACTERS: usize = 1000;

/// How long to wait for a database that the same deployment has only just created or woken.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long sending the answer may take, each time.
const NOTIFICATION_LIMIT: Duration = Duration::from_secs(3);

/// How often it is tried.
const NOTIFICATION_ATTEMPTS: usize = 3;

/// What is kept back of the invocation's time to send the answer.
const NOTIFICATION_RESERVE: Duration = Duration::from_secs(12);

pub(crate) async fn handle(
    config: Result<&MigrateConfig, DatabaseConfigError>,
    event: Value,
    limit: Duration,
) -> Result<Value, MigrateError> {
    let event: Event = serde_json::from_value(event).map_err(MigrateError::InvalidEvent)?;
    let limit = limit.saturating_sub(NOTIFICATION_RESERVE);
    let applied = AssertUnwindSafe(timeout(limit, apply(config, &event)))
        .catch_unwind()
        .await;
    let result = match applied {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(MigrateError::TookTooLong(limit)),
        Err(_) => Err(MigrateError::Failed {
            step: "migrating".into(),
            cause: "it panicked; the log has the place".into(),
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
    config: Result<&MigrateConfig, DatabaseConfigError>,
    event: &Event,
) -> Result<Option<Report>, MigrateError> {
    match event {
        Event::Create(_) => schema::migrate_patiently(config?, PATIENCE).await.map(Some),
        Event::Update(_) => {
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
        // Deleting the resource leaves the data alone; so does what CloudFormation may add.
        _ => Ok(None),
    }
}

async fn notify(
    event: &Event,
    result: &Result<Option<Report>, MigrateError>,
) -> Result<(), MigrateError> {
    let (url, stack_id, request_id, logical_resource_id) = match event {
        Event::Create(create) => (
            &create.response_url,
            &create.stack_id,
            &create.request_id,
            &create.logical_resource_id,
        ),
        Event::Update(update) => (
            &update.response_url,
            &update.stack_id,
            &update.request_id,
            &update.logical_resource_id,
        ),
        Event::Delete(delete) => (
            &delete.response_url,
            &delete.stack_id,
            &delete.request_id,
            &delete.logical_resource_id,
        ),
        _ => {
            return Err(MigrateError::Notification(
                "an unknown kind of event".into(),
            ));
        }
    };

    let mut response = Response::default();
    response.physical_resource_id = PHYSICAL_RESOURCE_ID.into();
    response.stack_id = stack_id.clone();
    response.request_id = request_id.clone();
    response.logical_resource_id = logical_resource_id.clone();
    match result {
        Ok(report) => {
            response.status = Status::Success;
            if let Some(report) = report {
                response
                    .data
                    .insert("SchemaVersion".into(), report.schema_version.to_string());
            }
        }
        Err(error) => {
            response.status = Status::Failed;
            response.reason = Some(
                error
                    .to_string()
                    .chars()
                    .take(MAX_REASON_CHARACTERS)
                    .collect(),
            );
        }
    }

    let body = serde_json::to_string(&response).map_err(MigrateError::Report)?;
    // CloudFormation takes a missing answer for a failure, after waiting for it, so it is worth trying.
    let mut sent = send(url, &body).await;
    for _ in 1..NOTIFICATION_ATTEMPTS {
        if sent.is_ok() {
            break;
        }
        sent = send(url, &body).await;
    }
    sent
}

async fn send(url: &str, body: &str) -> Result<(), MigrateError> {
    // The URL is signed: an error must not carry it to the log.
    let failed =
        |error: reqwest::Error| MigrateError::Notification(error.without_url().to_string());
    reqwest::Client::builder()
        .timeout(NOTIFICATION_LIMIT)
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
