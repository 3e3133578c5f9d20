//! The Lambda bootstrap of an HTTP function: built once, lent to each invocation.

use std::convert::Infallible;
use std::sync::Arc;

use lambda_http::{Error, service_fn};

use crate::database::{Database, DatabaseConfig};
use crate::endpoint::{Endpoint, respond};
use crate::logging;

/// Starts logging and connects to the database, in the init phase: the processor is at its fastest
/// then. A database that is down does not keep the function from starting.
///
/// # Errors
/// When the configuration names no usable database; no request could be answered then.
pub async fn init() -> Result<Arc<Database>, Error> {
    logging::init_json();
    let database = Arc::new(Database::new(DatabaseConfig::from_env()?));
    database.warm().await;
    Ok(database)
}

/// Serves `endpoint` until the environment ends.
///
/// # Errors
/// When the runtime's API cannot be reached.
pub async fn serve<E: Endpoint>(endpoint: E) -> Result<(), Error> {
    let endpoint = &endpoint;
    lambda_http::run(service_fn(|request| async move {
        Ok::<_, Infallible>(respond(endpoint, request).await)
    }))
    .await
}
