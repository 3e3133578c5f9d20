//! Bootstrap of the `chat` function; what it does is in the library beside it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let database = shared::lambda::init().await?;
    let config = chat::ChatConfig::from_env().await?;
    shared::lambda::serve(chat::Chat::new(database, config)).await
}
