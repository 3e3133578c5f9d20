//! Bootstrap of the function; its logic is in the library beside it.

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use maintain::MaintainConfig;
use shared::caller::time_until;

/// Timeout for an invocation without a Lambda deadline, which only an emulator leaves out.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(240);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::logging::init_json(env!("CARGO_PKG_NAME"));
    let config = MaintainConfig::from_env();
    let config = &config;
    lambda_runtime::run(service_fn(
        |event: LambdaEvent<serde_json::Value>| async move {
            let limit = time_until(event.context.deadline).unwrap_or(DEFAULT_TIMEOUT);
            maintain::handle(config.as_ref().map_err(Clone::clone), event.payload, limit).await
        },
    ))
    .await
}
