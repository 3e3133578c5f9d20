//! Bootstrap of the `chat` function; what it does is in the library beside it.

use shared::lambda::{Reaches, run};

fn main() -> Result<(), lambda_http::Error> {
    run(Reaches::OtherServers, |database| {
        Box::pin(async {
            let config = chat::ChatConfig::from_env().await?;
            Ok(chat::Chat::new(database, config))
        })
    })
}
