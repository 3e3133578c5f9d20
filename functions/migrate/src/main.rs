//! Bootstrap of the `migrate` function; what it does is in the library beside it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::database::DatabaseConfig;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::logging::init_json();
    let config = DatabaseConfig::from_env();
    let config = &config;
    lambda_runtime::run(service_fn(
        |event: LambdaEvent<serde_json::Value>| async move {
            let deadline = UNIX_EPOCH + Duration::from_millis(event.context.deadline);
            let limit = deadline
                .duration_since(SystemTime::now())
                .unwrap_or_default();
            migrate::handle(config.as_ref().map_err(Clone::clone), event.payload, limit).await
        },
    ))
    .await
}
