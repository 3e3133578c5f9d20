//! The Lambda bootstrap of an HTTP function: built once, lent to each invocation, closed politely.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use lambda_http::{BoxFuture, Error, SnapStartResource, service_fn};
use lambda_runtime::spawn_graceful_shutdown_handler;

use crate::database::{Database, DatabaseConfig};
use crate::endpoint::{Endpoint, respond};
use crate::logging;
use crate::monitor::Monitor;

/// Whom a function talks to by TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaches {
    /// The database and nobody else.
    Database,
    /// Other servers, too.
    OtherServers,
}

/// Runs a function until its environment ends. `build` makes the endpoint, once, in the init phase,
/// where the processor is at its fastest and the database is connected, too; one that is down does not
/// keep the function from starting.
///
/// Invocations that come at once, where the environment takes several, share the connection. It is
/// closed before a snapshot of SnapStart and made anew after it, and closed when the environment ends.
///
/// # Errors
/// When the configuration cannot be used, or the runtime's API cannot be reached.
pub fn run<E: Endpoint>(
    reaches: Reaches,
    build: impl AsyncFnOnce(Arc<Database>) -> Result<E, Error>,
) -> Result<(), Error> {
    logging::init_json();
    let config = DatabaseConfig::from_env()?;
    if reaches == Reaches::Database && !config.uses_system_roots() {
        leave_system_roots_alone();
    }
    // One thread: only then the first look at a connection after a freeze tells the truth.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let database = Arc::new(Database::new(config));
            let monitor = Arc::new(Monitor::on_lambda());
            let init = futures_util::future::join(build(Arc::clone(&database)), database.warm());
            let (endpoint, ()) = monitor.ahead(init).await;
            close_at_the_end(Arc::clone(&database)).await;
            serve(endpoint?, monitor, database).await
        })
}

async fn serve<E: Endpoint>(
    endpoint: E,
    monitor: Arc<Monitor>,
    database: Arc<Database>,
) -> Result<(), Error> {
    let endpoint = Arc::new(endpoint);
    let across_snapshots = AcrossSnapshots {
        monitor: Arc::clone(&monitor),
        database,
    };
    let answer = service_fn(move |request| {
        let (endpoint, monitor) = (Arc::clone(&endpoint), Arc::clone(&monitor));
        async move { Ok::<_, Infallible>(respond(&*endpoint, &monitor, request).await) }
    });
    lambda_http::runtime_concurrent(answer)
        .register_snapstart_resource(Arc::new(across_snapshots))
        .run_concurrent()
        .await
}

/// Sees to it that the connection's place at the server is free as soon as the environment ends. For
/// that the runtime's API has to know us as an extension; where it does not take us, the server finds
/// out by itself.
async fn close_at_the_end(database: Arc<Database>) {
    let close = move || async move { database.close().await };
    let registered = AssertUnwindSafe(spawn_graceful_shutdown_handler(close));
    if registered.catch_unwind().await.is_err() {
        tracing::warn!("the connection will not be closed when the environment ends");
    }
}

/// What SnapStart is told. It snapshots functions of this runtime that are container images and have
/// published versions; a zip, which is what the template makes of them, it does not take.
struct AcrossSnapshots {
    monitor: Arc<Monitor>,
    database: Arc<Database>,
}

impl SnapStartResource for AcrossSnapshots {
    fn before_snapshot(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.database.close().await;
            Ok(())
        })
    }

    fn after_restore(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            self.monitor.ahead(self.database.warm()).await;
            Ok(())
        })
    }
}

/// Keeps OpenSSL from reading the system's certificates, which it does for every connector, also for
/// one that is told not to use them, and which takes longer than all else in a cold start. It does as
/// the variable says, unless somebody has set it.
#[allow(unsafe_code)]
fn leave_system_roots_alone() {
    const CERTIFICATES: &str = "SSL_CERT_FILE";
    if std::env::var_os(CERTIFICATES).is_none() {
        // SAFETY: nobody reads the environment meanwhile. This runs before the runtime is built, so
        // there is no other thread.
        unsafe { std::env::set_var(CERTIFICATES, "/dev/null") };
    }
}
