//! A connection to PostgreSQL and the task that drives it.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Socket};

use super::cancel::Way;
use super::config::DatabaseConfig;
use super::error::DatabaseError;
use super::target::Target;
use super::tls::Transport;

/// Timeout for asking the server to cancel a statement.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout for closing. Lambda kills a function 500 ms after telling it to shut down.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(300);

/// A statement's parameter and its type. Knowing the type saves a round trip to ask the server for
/// it.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// An open connection. Dropping it aborts it.
pub struct Connection {
    client: Client,
    driver: Driver,
    way_to_cancel: Way,
}

/// The task that reads and writes; it is aborted when its owner is dropped.
struct Driver(JoinHandle<()>);

impl Connection {
    /// Connects, with or without TLS as configured. If the password of a secret is refused, the
    /// secret is fetched again: it may have been rotated.
    ///
    /// # Errors
    /// [`DatabaseError`], usually because the server cannot be reached or refuses the credentials.
    pub fn open(config: &DatabaseConfig) -> BoxFuture<'_, Result<Self, DatabaseError>> {
        // Boxed: AWS's futures nest too deeply for the compiler in the functions that await this
        // one.
        Self::open_as_configured(config).boxed()
    }

    async fn open_as_configured(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let target = config.target().await?;
        let refused = match Self::open_target(&target).await {
            Err(error) if error.is_wrong_password() => error,
            outcome => return outcome,
        };
        match config.renewed_target(&target).await? {
            Some(target) => Self::open_target(&target).await,
            None => Err(refused),
        }
    }

    async fn open_target(target: &Target) -> Result<Self, DatabaseError> {
        let mut attempts = target.attempts().iter().peekable();
        loop {
            let Some(transport) = attempts.next() else {
                return Err(DatabaseError::unexpected("no transport left to try"));
            };
            let config = target.config(*transport).await?;
            let opened = match transport {
                Transport::Plain => {
                    let way_to_cancel = Way::to(&config, None);
                    Self::start(config, NoTls, way_to_cancel).await
                }
                Transport::Tls => {
                    let tls = target.connector()?;
                    let way_to_cancel = Way::to(&config, Some(tls.clone()));
                    Self::start(config, tls, way_to_cancel).await
                }
            };
            match opened {
                Err(error) if error.refuses_transport() && attempts.peek().is_some() => {
                    tracing::warn!(
                        cause = %error,
                        ?transport,
                        "the server refused this transport; trying the other"
                    );
                }
                outcome => return outcome,
            }
        }
    }

    async fn start<T>(config: Config, tls: T, way_to_cancel: Way) -> Result<Self, DatabaseError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let connected = config.connect(tls).await;
        let (client, connection) = connected.map_err(|error| DatabaseError::connecting(&error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(cause = %DatabaseError::from(error), "the connection ended");
            }
        });
        Ok(Self {
            client,
            driver: Driver(driver),
            way_to_cancel,
        })
    }

    /// Asks the server to cancel the running statement, in the background and best-effort:
    /// cancelling needs a second connection, and some proxies drop the request. Without it, a
    /// statement that waits for a lock would keep waiting after its caller has left. Returns the task,
    /// which ends when the server has hung up, after 2 s at the latest.
    pub fn cancel(&self) -> JoinHandle<()> {
        let cancelled = self
            .way_to_cancel
            .clone()
            .cancel(self.client.cancel_token());
        tokio::spawn(timeout(CANCEL_TIMEOUT, cancelled).map(|_| ()))
    }

    /// The client that sends statements.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client that sends statements, for uses that need it exclusively, such as a transaction.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Closes the connection once the running statement has ended, and tells the server, which
    /// frees its slot immediately.
    pub async fn close(self) {
        let Self {
            client, mut driver, ..
        } = self;
        // The task sends Terminate when its last client is gone.
        drop(client);
        let _ = timeout(CLOSE_TIMEOUT, &mut driver.0).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}
