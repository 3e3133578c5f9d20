//! The PostgreSQL of a run: the one that the local server starts, with TLS turned on, and two databases
//! in it, one with today's schema and one with that of the first version.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rig::certificates::Authority;
use rig::local_run::{LocalRun, command};
use rig::tls;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::build::program;
use crate::progress;

/// The database with today's schema.
pub const TODAY: &str = "bench";

/// Another one with today's schema, which gets nothing but the turns that are compared with those of the
/// first version.
pub const TODAYS_TURNS: &str = "todays_turns";

/// Another one, with the messages that are searched.
pub const SEARCHED: &str = "searched";

/// Another one, with the recordings that are searched.
pub const RECORDINGS: &str = "recordings";

/// The database with the schema of the first version.
pub const FIRST_VERSION: &str = "first_version";

/// The role of the functions, and its password here.
const APP: &str = "daissy_app";
const PASSWORD: &str = "bench";

/// Timeout for the server to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

const ROLES: &str = include_str!("../../migrations/roles.sql");
const FIRST_SCHEMA: &str = include_str!("../first_version/schema.sql");

/// A server, which stops when it is dropped. It writes to disk as one in production does.
pub struct BenchDatabase {
    /// The local server whose PostgreSQL it is.
    local: LocalRun,
    /// The connection string of its superuser, for the database `daissy`.
    superuser: String,
    port: u16,
    /// The process that started all its others.
    postmaster: i32,
    /// The certificate of the authority that signed the server's.
    roots: PathBuf,
    _folder: TempDir,
}

impl BenchDatabase {
    /// Starts the server and creates its databases.
    pub async fn start() -> Self {
        progress::step("starting PostgreSQL");
        let folder = tempfile::tempdir().unwrap();
        // If we are root, the server runs as another account, which must be able to reach its data.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let home = folder.path().join("local");
        let local = LocalRun::start(command(&program("local"), &[], &home, &[])).await;
        let mut lines = local.printed.iter();
        let home = lines.find_map(|line| line.split_once(", data in "));
        let (_, home) = home.expect("the local server says where its data is");
        let superuser = std::fs::read_to_string(Path::new(home).join("database-url")).unwrap();
        let port = superuser.rsplit(['@', ':', '/']).nth(1).unwrap();

        let authority = Authority::new("bench");
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, &authority.certificate).unwrap();
        let mut database = Self {
            local,
            port: port.parse().unwrap(),
            postmaster: 0,
            roots,
            _folder: folder,
            superuser,
        };
        database.postmaster = database.find_postmaster().await;
        let certificate = authority.sign("localhost");
        let query = async |statement: &str| database.query("daissy", statement).await;
        tls::configure(query, "daissy", Some(&certificate), "", tls::EVERYBODY).await;
        database.create_today(TODAY).await;
        database.create_today(TODAYS_TURNS).await;
        database.create_first_version().await;
        database
    }

    /// Creates a database with today's schema.
    pub async fn create_today(&self, name: &str) {
        self.run("daissy", &format!("create database {name}")).await;
        let password = format!("alter role {APP} password '{PASSWORD}';");
        self.run(name, &format!("{ROLES};{password}")).await;
        let url = self.superuser_url(name);
        let settings = [("DATABASE_URL", url.as_str())];
        let migrate = command(&program("local"), &["migrate"], Path::new("/"), &settings).output();
        let migrated = migrate.await.unwrap();
        let complaint = String::from_utf8_lossy(&migrated.stderr);
        assert!(migrated.status.success(), "migrate failed: {complaint}");
    }

    async fn create_first_version(&self) {
        let create = format!("create database {FIRST_VERSION}");
        self.run("daissy", &create).await;
        self.run(FIRST_VERSION, FIRST_SCHEMA).await;
        let grant = format!("grant select, insert, update on all tables in schema public to {APP}");
        self.run(FIRST_VERSION, &grant).await;
    }

    /// The connection string of the functions for a database, without TLS.
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgresql://{APP}:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// The connection string of the functions with TLS, whose certificate is verified. The password is
    /// proved by SCRAM.
    pub fn tls_url(&self, database: &str) -> String {
        format!(
            "host=localhost port={} dbname={database} user={APP} password={PASSWORD} \
             sslmode=verify-full sslrootcert={}",
            self.port,
            self.roots.display()
        )
    }

    /// Runs statements as the superuser.
    pub async fn run(&self, database: &str, statements: &str) {
        let client = self.connect(database).await;
        client.batch_execute(statements).await.unwrap();
    }

    /// Runs a statement as the superuser, on a new connection; returns the first value of its result.
    pub async fn query(&self, database: &str, statement: &str) -> Option<String> {
        let client = self.connect(database).await;
        let answer = client.simple_query(statement).await;
        let answer = answer.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    }

    /// The one value of a query in the database of today.
    pub async fn value(&self, query: &str) -> String {
        let value = self.query(TODAY, query).await;
        value.unwrap_or_else(|| panic!("no value: {query}"))
    }

    /// A number that a query finds in a database.
    pub async fn number(&self, database: &str, query: &str) -> f64 {
        let value = self.query(database, query).await;
        value.unwrap_or_default().parse().unwrap()
    }

    /// The first column of all rows of a query in the database of today.
    pub async fn column(&self, query: &str) -> Vec<String> {
        let answer = self.connect(TODAY).await.simple_query(query).await.unwrap();
        let rows = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        rows.collect()
    }

    /// Bytes of write-ahead log so far, of all databases.
    pub async fn wal_bytes(&self) -> f64 {
        let query = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
        self.number(TODAY, query).await
    }

    /// Turns on or off that the first change of a page after a checkpoint writes the whole page to the
    /// write-ahead log. How often that happens depends on when the server makes checkpoints, so bytes of
    /// log can only be compared without it.
    pub async fn full_page_writes(&self, on: bool) {
        let set = format!("alter system set full_page_writes = {on}");
        self.query("daissy", &set).await;
        tls::reload(async |statement: &str| self.query("daissy", statement).await).await;
    }

    /// The CPU time in seconds that all processes of the server have used so far.
    pub fn cpu_seconds(&self) -> f64 {
        let processes = std::fs::read_dir("/proc")
            .expect("this machine has /proc")
            .flatten();
        let ids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
        let mut ticks = 0;
        for id in ids {
            match Usage::of(id) {
                // It counts what its children that have ended used.
                Some(usage) if id == self.postmaster => ticks += usage.own + usage.of_children,
                Some(usage) if usage.parent == self.postmaster => ticks += usage.own,
                _ => {}
            }
        }
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// The connection string of the superuser for a database.
    pub fn superuser_url(&self, database: &str) -> String {
        let (server, _) = self.superuser.rsplit_once('/').unwrap();
        format!("{server}/{database}?sslmode=disable")
    }

    /// A connection of the superuser.
    pub async fn connect(&self, database: &str) -> Client {
        let url = self.superuser_url(database);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn find_postmaster(&self) -> i32 {
        let client = self.connect("daissy").await;
        let row = client.query_typed_one("select pg_backend_pid()", &[]).await;
        let backend: i32 = row.unwrap().get(0);
        Usage::of(backend).expect("the server runs here").parent
    }
}

impl Drop for BenchDatabase {
    /// Stops the server, and waits until it has ended, before its folder is removed.
    fn drop(&mut self) {
        self.local.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Usage::of(self.postmaster).is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a process is part of, and what it used, in clock ticks.
struct Usage {
    parent: i32,
    own: u64,
    of_children: u64,
}

impl Usage {
    /// Reads `/proc/<id>/stat` (proc(5)); `None` if the process has ended.
    fn of(id: i32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name before the last parenthesis may contain anything.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            of_children: number(13)? + number(14)?,
        })
    }
}
