//! Bootstrap of the `load-session` function; what it does is in the library beside it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let database = shared::lambda::init().await?;
    shared::lambda::serve(load_session::LoadSession::new(database)).await
}
