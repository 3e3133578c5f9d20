//! The API inside this process, for a command that speaks to it over HTTP like any other client.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};

use assistant::AssistantConfig;
use shared::buckets::Buckets;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::database::LocalDatabase;
use crate::error::LocalError;
use crate::server::start;

/// The API, served on a free port of the loopback address until it is closed.
pub(crate) struct InProcess {
    /// Where it listens, as a URL.
    pub(crate) address: String,
    /// Its database, which has to be kept up.
    pub(crate) database: LocalDatabase,
    serving: JoinHandle<()>,
}

impl InProcess {
    /// Starts it, on the database of an instance that is running if there is one.
    pub(crate) async fn start() -> Result<Self, LocalError> {
        let assistant_config = AssistantConfig::from_env().await.map_err(failed)?;
        let buckets = Buckets::from_env().map_err(failed)?;
        let access = Access::read(|name| env::var(name).ok())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.and_then(TcpListener::into_std).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = axum_server::from_tcp(listener).map_err(failed)?;

        let open = LocalDatabase::open_or_join();
        let tell = |line: &str| eprintln!("{line}");
        let (database, router) = start(open, assistant_config, buckets, access, tell).await?;
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move {
            if let Err(error) = server.http1_only().serve(service).await {
                tracing::error!(%error, "the API inside this process ended");
            }
        });
        Ok(Self {
            address: format!("http://{address}"),
            database,
            serving,
        })
    }

    /// Ends it, and its database.
    pub(crate) async fn close(self) {
        self.serving.abort();
        self.database.close().await;
    }
}

fn failed(error: impl std::fmt::Display) -> LocalError {
    LocalError::new(error.to_string())
}
