//! Bootstrap of the function; its logic is in the library beside it.

use std::sync::Arc;

use assistant::{Assistant, AssistantConfig};
use chat::Chat;
use shared::buckets::Buckets;
use shared::lambda::run;
use shared::store::links::Links;

fn main() -> Result<(), lambda_http::Error> {
    run(|store| {
        Box::pin(async {
            let config = AssistantConfig::from_env().await?;
            let links = Links::new(store.clone(), Buckets::from_env()?);
            let assistant = Assistant::new(store, config);
            assistant.prepare().await;
            Ok(Chat::new(Arc::new(assistant), links))
        })
    })
}
