//! Bootstrap of the `migrate` function; what it does is in the library beside it.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::database::DatabaseConfig;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::logging::init_json();
    let config = DatabaseConfig::from_env()?;
    let config = &config;
    lambda_runtime::run(service_fn(|event: LambdaEvent<serde_json::Value>| {
        migrate::handle(config, event.payload)
    }))
    .await
}
