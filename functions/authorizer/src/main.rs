//! Bootstrap of the function; its logic is in the library beside it.

use authorizer::Authorizer;
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::logging::init_json(env!("CARGO_PKG_NAME"));
    let authorizer = Authorizer::read(|name| std::env::var(name).ok());
    authorizer.prepare().await;
    let authorizer = &authorizer;
    lambda_runtime::run(service_fn(
        |event: LambdaEvent<serde_json::Value>| async move { authorizer.handle(&event.payload).await },
    ))
    .await
}
