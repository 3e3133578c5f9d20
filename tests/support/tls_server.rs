//! A PostgreSQL for a single test, whose TLS and access rules can be changed while it runs.

use std::time::Duration;

use local::postgres::{Durability, PostgresServer};
use tempfile::TempDir;

use crate::certificates::Signed;
use crate::postgres;

/// The rule that admits every user with a password.
pub const EVERYBODY: &str = "host all all all scram-sha-256";

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
        let connection = postgres::connect(&self.administrator()).await;
        let run = async |statement: &str| {
            connection.client().batch_execute(statement).await.unwrap();
        };
        let write = async |name: &str, content: &str| {
            // The server's own account writes the file, so the key is as private as the server requires.
            run(&format!(
                "copy (select unnest(string_to_array('{content}', E'\\n')))
                 to program 'umask 077; cat > {name}'"
            ))
            .await;
        };
        if let Some(signed) = tls {
            write("server.crt", &signed.certificate).await;
            write("server.key", &signed.key).await;
        }
        write("clients.crt", client_authority).await;
        // The first line keeps access for the administrator, who changes these rules.
        let rules = format!("hostnossl all daissy 127.0.0.1/32 scram-sha-256\n{rules}");
        write("pg_hba.conf", &rules).await;
        let ca_file = if client_authority.is_empty() {
            ""
        } else {
            "clients.crt"
        };
        run(&format!("alter system set ssl_ca_file = '{ca_file}'")).await;
        let on = if tls.is_some() { "on" } else { "off" };
        run(&format!("alter system set ssl = {on}")).await;
        let loaded = self.settings_loaded_at().await;
        run("select pg_reload_conf()").await;
        // The server reloads in the background; it is done when a new connection shows the new time.
        for _ in 0..200 {
            if self.settings_loaded_at().await != loaded {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server does not take the new settings");
    }

    async fn settings_loaded_at(&self) -> String {
        let connection = postgres::connect(&self.administrator()).await;
        let row = connection
            .client()
            .query_typed_one("select pg_conf_load_time()::text", &[])
            .await;
        row.unwrap().get(0)
    }
}
