//! A connection to PostgreSQL and the task that drives it.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, NoTls, Socket};

use super::config::DatabaseConfig;
use super::error::DatabaseError;

/// How long the server may take to be told to cancel a statement.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// An open connection; dropping it closes it at once.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects, by TLS as the configuration says.
    ///
    /// # Errors
    /// [`DatabaseError`]; mostly that the server cannot be reached or refuses the credentials.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        match config.tls_connector()? {
            Some(tls) => Self::start(config, tls).await,
            None => Self::start(config, NoTls).await,
        }
    }

    async fn start<T>(config: &DatabaseConfig, tls: T) -> Result<Self, DatabaseError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let connected = config.postgres().connect(tls).await;
        let (client, connection) = connected.map_err(|error| DatabaseError::connecting(&error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(cause = %DatabaseError::from(error), "the connection ended");
            }
        });
        Ok(Self { client, driver })
    }

    /// Tells the server to cancel the statement under way, in the background and without promise: it
    /// takes a connection of its own, and some proxies do not pass it on. Without it a statement that
    /// waits for a lock would go on waiting after nobody waits for it.
    pub fn cancel(&self, config: &DatabaseConfig) {
        let (token, tls) = (self.client.cancel_token(), config.tls_connector());
        tokio::spawn(timeout(CANCEL_LIMIT, async move {
            let _ = match tls {
                Ok(Some(tls)) => token.cancel_query(tls).await,
                Ok(None) => token.cancel_query(NoTls).await,
                // It could not have been connected.
                Err(_) => Ok(()),
            };
        }));
    }

    /// The client to send statements by.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client to send statements by, for what needs it alone, such as a transaction.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Closes the connection without waiting for what is under way. Dropping the client alone would
    /// leave the task to finish outstanding work first.
    pub fn close(&self) {
        self.driver.abort();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}
