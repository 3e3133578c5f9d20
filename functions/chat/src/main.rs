//! Bootstrap of the `chat` function; what it does is in the library beside it.

use shared::lambda::{SystemRoots, run};

fn main() -> Result<(), lambda_http::Error> {
    run(SystemRoots::Needed, |database| {
        Box::pin(async {
            let config = assistant::AssistantConfig::from_env().await?;
            Ok(chat::Chat::new(database, config))
        })
    })
}
