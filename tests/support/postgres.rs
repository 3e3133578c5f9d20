//! One PostgreSQL for the whole run, one database for each test.
//!
//! The server is started by the code of `cargo run`. It stops, and its folder is removed, when this
//! process ends, however it ends. The API connects as the role that has only the rights it needs, and
//! with `TESTS_THROUGH=pgbouncer` through a pooler.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use local::postgres::{Durability, PostgresServer};
use migrate::MigrateConfig;
use shared::database::{Connection, DatabaseConfig};
use uuid::Uuid;

use crate::pgbouncer;
use rig::programs::build_folder;

/// The migrated database that the others are copies of.
const TEMPLATE: &str = "daissy";

/// The role of the API, and its password.
const APP: (&str, &str) = ("daissy_app", "app's password");

/// The role that may delete, and its password.
const MAINTAIN: (&str, &str) = ("daissy_maintain", "maintain's password");

/// The role of the migrations, and its password.
const OWNER: (&str, &str) = ("daissy_owner", "owner's password");

/// The script that an administrator runs once.
const ROLES: &str = include_str!("../../migrations/roles.sql");

static SERVER: OnceLock<PostgresServer> = OnceLock::new();

/// The server of this run.
pub fn server() -> &'static PostgresServer {
    SERVER.get_or_init(|| {
        // In its own runtime: that of a test ends with the test.
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let name = format!("daissy-tests-{}", Uuid::new_v4().simple());
                let folder = std::env::temp_dir().join(name);
                // A test may run in a process of its own, and two must not download the programs.
                let lock = File::create(downloads().with_extension("lock")).unwrap();
                lock.lock().unwrap();
                let server = start(&folder, Durability::Throwaway).await;
                drop(lock);
                set_up(&server).await;
                server
            })
        })
        .join()
        .expect("a PostgreSQL for the tests")
    })
}

/// Another server, with the programs of this run's server.
pub async fn another_server(folder: &Path, durability: Durability) -> PostgresServer {
    // Its start downloads them if necessary.
    server();
    start(folder, durability).await
}

async fn start(folder: &Path, durability: Durability) -> PostgresServer {
    let server = PostgresServer::start_with_downloads(&downloads(), folder, durability).await;
    server.unwrap_or_else(|error| panic!("the tests need PostgreSQL: {error}"))
}

/// The folder of the programs, if they had to be downloaded.
pub fn downloaded_programs() -> Option<&'static Path> {
    let folder = server().bin_dir();
    folder.starts_with(downloads()).then_some(folder)
}

fn downloads() -> PathBuf {
    build_folder().with_file_name("postgresql")
}

/// Creates the roles and the template, as the documentation says.
async fn set_up(server: &PostgresServer) {
    let administrator = connect(&server.url(TEMPLATE)).await;
    let mut statements = ROLES.to_owned();
    for (role, password) in [APP, MAINTAIN, OWNER] {
        let password = password.replace('\'', "''");
        statements.push_str(&format!("alter role {role} password '{password}';"));
    }
    administrator
        .client()
        .batch_execute(&statements)
        .await
        .unwrap();
    let (role, password) = OWNER;
    migrate(&url(server.port(), role, password, TEMPLATE)).await;
}

/// Migrates the database of a connection string.
pub async fn migrate(url: &str) {
    let config: MigrateConfig = DatabaseConfig::parse(url).unwrap().into();
    migrate::migrate(&config).await.unwrap();
}

/// A new database with the schema; returns its name.
pub async fn migrated_database() -> String {
    create(&format!("template {TEMPLATE}")).await
}

/// A new, empty database; returns its name.
pub async fn empty_database() -> String {
    create("").await
}

/// The connection string of the API for a database.
pub fn app_url(database: &str) -> String {
    let (role, password) = APP;
    url_as(role, password, database)
}

/// The connection string of `maintain` for a database.
pub fn maintain_url(database: &str) -> String {
    let (role, password) = MAINTAIN;
    url_as(role, password, database)
}

/// The connection string of the role that owns the tables, for a database.
pub fn owner_url(database: &str) -> String {
    let (role, password) = OWNER;
    url(server().port(), role, password, database)
}

/// The connection string of a database for another role.
pub fn url_as(role: &str, password: &str, database: &str) -> String {
    url(app_port(), role, password, database)
}

/// The port that the API connects to.
pub fn app_port() -> u16 {
    match std::env::var("TESTS_THROUGH").as_deref() {
        Err(_) | Ok("") => server().port(),
        Ok("pgbouncer") => pgbouncer::port(server()),
        Ok(other) => panic!("TESTS_THROUGH={other}: must be pgbouncer"),
    }
}

fn url(port: u16, role: &str, password: &str, database: &str) -> String {
    let password = password.replace(' ', "%20");
    format!("postgresql://{role}:{password}@127.0.0.1:{port}/{database}")
}

/// Runs statements in a database as its owner.
pub async fn run(database: &str, statements: &str) {
    let connection = connect(&server().url(database)).await;
    connection.client().batch_execute(statements).await.unwrap();
}

/// Ends all connections to a database, as a failover does.
pub async fn cut_connections(database: &str) {
    let statement = format!(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity
         where datname = '{database}' and pid <> pg_backend_pid()"
    );
    run("postgres", &statement).await;
}

/// Connects with a connection string.
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
