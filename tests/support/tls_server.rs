//! A PostgreSQL for a single test, whose TLS and access rules can be changed while it runs.

use local::postgres::{Durability, PostgresServer};
use rig::certificates::Signed;
pub use rig::tls::EVERYBODY;
use rig::tls::configure;
use tempfile::TempDir;
use tokio_postgres::SimpleQueryMessage;

use crate::postgres;

/// A server that stops when it is dropped.
pub struct TlsServer {
    server: PostgresServer,
    _folder: TempDir,
}

impl TlsServer {
    /// Starts one, without TLS.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("server");
        let server = Self {
            server: postgres::another_server(&home, Durability::Throwaway).await,
            _folder: folder,
        };
        let connection = postgres::connect(&server.administrator()).await;
        let visitor = "create role visitor login password 'welcome'";
        connection.client().batch_execute(visitor).await.unwrap();
        server
    }

    /// The connection string of its administrator, to whom the rules of [`Self::configure`] do not apply.
    pub fn administrator(&self) -> String {
        format!("{}?sslmode=disable", self.server.url("daissy"))
    }

    /// The parameters to connect to `localhost` as a user to whom the rules apply.
    pub fn parameters(&self) -> String {
        let port = self.server.port();
        format!("host=localhost port={port} dbname=daissy user=visitor password=welcome")
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        let major = self.server.version().split('.').next();
        major.and_then(|major| major.parse().ok()).unwrap()
    }

    /// Turns TLS on with a certificate, or off. Requests client certificates of this authority if one is
    /// given. Admits clients by these rules of `pg_hba.conf`.
    pub async fn configure(&self, tls: Option<&Signed>, client_authority: &str, rules: &str) {
        let query = async |statement: &str| {
            let connection = postgres::connect(&self.administrator()).await;
            let answer = connection.client().simple_query(statement).await.unwrap();
            answer.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
        };
        configure(query, "daissy", tls, client_authority, rules).await;
    }
}
