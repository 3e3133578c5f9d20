//! One PostgreSQL for the whole run, one database for each test.
//!
//! The server is started by the code behind `cargo run`. It stops, and its folder goes, when this
//! process ends, however it ends.

use std::sync::OnceLock;

use local::postgres::{Durability, PostgresServer};
use shared::database::{Connection, DatabaseConfig};
use uuid::Uuid;

/// The migrated database that the others are copies of.
const TEMPLATE: &str = "daissy";

static SERVER: OnceLock<PostgresServer> = OnceLock::new();

/// The server of this run.
pub fn server() -> &'static PostgresServer {
    SERVER.get_or_init(|| {
        // A test has a runtime already, which ends with it.
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let name = format!("daissy-tests-{}", Uuid::new_v4().simple());
                let folder = std::env::temp_dir().join(name);
                let server = PostgresServer::start(&folder, Durability::Throwaway)
                    .await
                    .unwrap_or_else(|error| panic!("the tests need PostgreSQL: {error}"));
                let config = DatabaseConfig::parse(&server.url(TEMPLATE)).unwrap();
                migrate::migrate(&config).await.unwrap();
                server
            })
        })
        .join()
        .expect("a PostgreSQL for the tests")
    })
}

/// A new database with the schema in it; gives its name.
pub async fn migrated_database() -> String {
    create(&format!("template {TEMPLATE}")).await
}

/// A new database with nothing in it; gives its name.
pub async fn empty_database() -> String {
    create("").await
}

/// The connection string of a database for another role.
pub fn url_as(role: &str, password: &str, database: &str) -> String {
    let port = server().port();
    format!("postgresql://{role}:{password}@127.0.0.1:{port}/{database}")
}

/// Runs statements in a database as its owner.
pub async fn run(database: &str, statements: &str) {
    let connection = connect(&server().url(database)).await;
    connection.client().batch_execute(statements).await.unwrap();
}

/// A connection by a connection string.
pub async fn connect(url: &str) -> Connection {
    Connection::open(&DatabaseConfig::parse(url).unwrap())
        .await
        .unwrap()
}

async fn create(options: &str) -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    run("postgres", &format!("create database {name} {options}")).await;
    name
}
