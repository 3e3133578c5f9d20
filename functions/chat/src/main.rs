//! Bootstrap of the function; its logic is in the library beside it.

use std::sync::Arc;

use assistant::{Assistant, AssistantConfig};
use chat::Chat;
use shared::lambda::run;

fn main() -> Result<(), lambda_http::Error> {
    run(|store| {
        Box::pin(async {
            let config = AssistantConfig::from_env().await?;
            let assistant = Assistant::new(store, config);
            assistant.prepare().await;
            Ok(Chat::new(Arc::new(assistant)))
        })
    })
}
