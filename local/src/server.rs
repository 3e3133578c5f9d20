//! The local HTTP server: where it listens, and how it stops.

use std::env;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use assistant::AssistantConfig;
use axum::Router;
use axum_server::Handle;
use shared::buckets::Buckets;
use shared::database::Database;
use shared::http::reporter::Reporter;
use shared::settings;
use shared::store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::access::Access;
use crate::database::LocalDatabase;
use crate::error::LocalError;
use crate::maintain;
use crate::router::router;

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 8000;

/// Timeout for the head of a request, and so for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Timeout for requests in progress once the server is told to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// The time that idle connections take to close then.
const CLOSING_TIME: Duration = Duration::from_millis(100);

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn serve() -> Result<(), LocalError> {
    let stop = StopSignals::catch()?;
    let assistant_config = AssistantConfig::from_env()
        .await
        .map_err(|error| LocalError::new(error.to_string()))?;
    let buckets = Buckets::from_env().map_err(|error| LocalError::new(error.to_string()))?;
    let access = Access::read(|name| env::var(name).ok())?;
    let interval = maintain::interval().map_err(|error| LocalError::new(error.to_string()))?;
    // The port first: if it is taken, no database is started for nothing.
    let listener = listen().await?;

    let open = LocalDatabase::open();
    let started = tokio::select! {
        started = start(open, assistant_config, buckets, access, |line| println!("{line}")) => started?,
        () = stop.clone().first() => return Ok(()),
    };
    let (mut database, router) = started;
    let maintenance = maintain::keep_running(database.maintain_config.clone(), interval);
    let address = listener
        .local_addr()
        .map_err(|error| LocalError::new(error.to_string()))?;
    println!("listening http://{address}");
    println!(
        "try       curl -s http://{address}/chat -H 'content-type: application/json' \
         -d '{{\"query\": \"Hello\"}}'"
    );
    println!("stop      Ctrl-C");

    let served = tokio::select! {
        served = answer_until(stop, listener, router) => {
            served.map_err(|error| LocalError::new(error.to_string()))
        }
        error = database.keep_up() => Err(error),
        () = maintenance => Ok(()),
    };
    println!("stopping");
    database.close().await;
    served
}

/// Answers requests until we are told to stop. Then waits until those in progress have ended, or until
/// we are told again.
async fn answer_until(
    stop: StopSignals,
    listener: TcpListener,
    router: Router,
) -> std::io::Result<()> {
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener.into_std()?)?
        .http1_only()
        .handle(handle.clone());
    server
        .http_builder()
        .http1()
        .header_read_timeout(HEAD_TIMEOUT);
    let stopping = async {
        stop.clone().first().await;
        handle.graceful_shutdown(Some(SHUTDOWN_TIMEOUT));
        sleep(CLOSING_TIME).await;
        let open = handle.connection_count();
        if open > 0 {
            println!(
                "waiting   for {open} open connection(s), at most {} s; Ctrl-C again closes them",
                SHUTDOWN_TIMEOUT.as_secs()
            );
        }
        stop.second().await;
        handle.shutdown();
        std::future::pending().await
    };
    tokio::select! {
        served = server.serve(router.into_make_service_with_connect_info::<SocketAddr>()) => served,
        never = stopping => never,
    }
}

/// Opens the database, brings its schema up to date and builds the API on it. `tell` gets a line about each.
pub(crate) async fn start(
    open: impl Future<Output = Result<LocalDatabase, LocalError>>,
    assistant_config: AssistantConfig,
    buckets: Buckets,
    access: Access,
    tell: impl Fn(&str),
) -> Result<(LocalDatabase, Router), LocalError> {
    tell(&format!("Daissy {}", shared::VERSION));
    let database = open.await?;
    tell(&format!("database  {}", database.description));
    let schema = match database.migrate().await {
        Ok(schema) => schema,
        Err(error) => {
            database.close().await;
            return Err(error);
        }
    };
    tell(&format!("schema    {schema}"));
    tell(&format!(
        "model     {}",
        assistant_config.agent.models().description()
    ));
    if let Some(tokens) = access.tokens().description() {
        tell(&format!("tokens    of {tokens}"));
    }
    let store = Store::new(Arc::new(Database::new(database.config.clone())));
    assistant_config.agent.prepare(&store).await;
    let router = router(store, assistant_config, buckets, Reporter::to_log(), access);
    Ok((database, router))
}

async fn listen() -> Result<TcpListener, LocalError> {
    let variable = |name: &str| env::var(name).ok();
    let host = settings::text(variable, "HOST").unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let port = match settings::text(variable, "PORT") {
        None => DEFAULT_PORT,
        Some(port) => port
            .parse()
            .map_err(|_| LocalError::new("PORT must be a number from 0 to 65535"))?,
    };
    TcpListener::bind((host.as_str(), port))
        .await
        .map_err(|error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another program listens there; stop it or set PORT to another port"
                }
                std::io::ErrorKind::PermissionDenied => "set PORT to 1024 or above",
                _ => "set HOST to an address of this machine",
            };
            LocalError::new(format!(
                "cannot listen on {host}:{port} ({error}): {remedy}"
            ))
        })
}

/// Ctrl-C and SIGTERM, caught and counted from the start, so that none is lost between two waits.
#[derive(Clone)]
struct StopSignals(watch::Receiver<usize>);

impl StopSignals {
    fn catch() -> Result<Self, LocalError> {
        let cannot = |error| LocalError::new(format!("cannot catch signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let (sender, receiver) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(receiver))
    }

    /// Returns when we are told to stop.
    async fn first(mut self) {
        let _ = self.0.wait_for(|count| *count >= 1).await;
    }

    /// Returns when we are told again.
    async fn second(mut self) {
        let _ = self.0.wait_for(|count| *count >= 2).await;
    }
}
