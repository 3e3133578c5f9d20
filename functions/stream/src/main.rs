//! Bootstrap of the function; its logic is in the library beside it.

use std::sync::Arc;

use assistant::{Assistant, AssistantConfig};
use shared::buckets::Buckets;
use shared::lambda::run_streaming;
use shared::store::links::Links;
use stream::Stream;

fn main() -> Result<(), lambda_http::Error> {
    run_streaming(|store| {
        Box::pin(async {
            let config = AssistantConfig::from_env().await?;
            let assistant = Assistant::new(store.clone(), config);
            assistant.prepare().await;
            let links = Links::new(store.clone(), Buckets::from_env()?);
            Ok(Stream::new(store, Arc::new(assistant), links))
        })
    })
}
