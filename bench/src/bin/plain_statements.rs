//! A floor: a function that sends the statements of `STATEMENTS` (a JSON array), one after the other, to
//! the database of `DATABASE_URL`, reads their rows, and does nothing with them.

use std::env;

use lambda_http::{Body, Error, Request, Response, run, service_fn};
use tokio_postgres::NoTls;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let statements: Vec<String> = serde_json::from_str(&env::var("STATEMENTS")?)?;
    let (client, connection) = tokio_postgres::connect(&env::var("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection);
    let (client, statements) = (&client, &statements);
    run(service_fn(|_: Request| async move {
        for statement in statements {
            client.query_typed(statement, &[]).await?;
        }
        Ok::<_, Error>(Response::new(Body::Empty))
    }))
    .await
}
