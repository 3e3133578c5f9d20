//! Starting a server, and taking care that it ends when we do.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use shared::database::{Connection, DatabaseConfig};
use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::account::Account;
use super::folder::{major_of, read_password, set_up, take, write_secret};
use super::programs::Programs;
use super::{DATABASE, PostgresError, SUPERUSER, home_for};
use crate::progress::shown;
use crate::supervisor::supervised;

/// How long a server may take to start; recovering from a crash takes a while.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a server may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How often it is looked whether it has started or stopped.
const POLL: Duration = Duration::from_millis(20);

/// How often another port is tried when somebody else was faster.
const PORT_ATTEMPTS: usize = 5;

/// What happens to the data when the machine goes down, and when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is kept.
    Durable,
    /// For tests: nothing is forced to the disk, and the folder is removed when the server stops.
    Throwaway,
}

/// A server that runs until it is dropped or stopped.
#[derive(Debug)]
pub struct PostgresServer {
    home: PathBuf,
    version: String,
    port: u16,
    password: String,
    child: Child,
    /// Closing it stops the server.
    keep_running: Option<ChildStdin>,
    /// Held for as long as we use the folder.
    _lock: File,
}

impl PostgresServer {
    /// Starts a server with its data in `folder`, setting it up if it is new. The folder is the
    /// server's alone: give one that does not exist, or that a server was started in before.
    ///
    /// # Errors
    /// [`PostgresError`], which says what to do.
    pub async fn start(folder: &Path, durability: Durability) -> Result<Self, PostgresError> {
        let (home, account) = home_for(folder)?;
        let lock = take(&home, account.as_ref())?;
        let data = home.join("data");

        let made_by = major_of(&data);
        let programs = Programs::find(&home, made_by).await?;
        let password = match made_by {
            Some(made_by) if made_by != programs.major => {
                return Err(PostgresError::OtherVersion {
                    data,
                    made_by,
                    found: programs.major,
                });
            }
            Some(_) => read_password(&home)?,
            None => {
                let set_up = set_up(&home, &programs, account.as_ref());
                shown("setting up a database for the first time", set_up).await?
            }
        };

        let (child, keep_running, port) =
            launch(&home, &programs, account.as_ref(), &password, durability).await?;
        let server = Self {
            home,
            version: programs.version,
            port,
            password,
            child,
            keep_running,
            _lock: lock,
        };
        server.create_database().await?;
        write_secret(&server.home.join("database-url"), &server.url(DATABASE))?;
        Ok(server)
    }

    /// The connection string of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url(self.port, &self.password, database)
    }

    /// The port it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The version, as `15.18`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The folder of its data.
    #[must_use]
    pub fn home(&self) -> std::path::Display<'_> {
        self.home.display()
    }

    /// Stops the server and waits for its end.
    pub async fn stop(mut self) {
        self.keep_running = None;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            sleep(POLL).await;
        }
    }

    async fn create_database(&self) -> Result<(), PostgresError> {
        let failed = |cause: String| PostgresError::System {
            what: "the database cannot be created".into(),
            cause,
        };
        let config = DatabaseConfig::parse(&self.url("postgres"))
            .map_err(|error| failed(error.to_string()))?;
        let connection = Connection::open(&config)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let exists = connection
            .client()
            .query_typed(
                "select from pg_database where datname = $1",
                &[(&DATABASE, Type::TEXT)],
            )
            .await
            .map_err(|error| failed(error.to_string()))?;
        if exists.is_empty() {
            connection
                .client()
                .batch_execute(&format!("create database {DATABASE}"))
                .await
                .map_err(|error| failed(error.to_string()))?;
        }
        Ok(())
    }
}

fn url(port: u16, password: &str, database: &str) -> String {
    format!("postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}")
}

/// Starts the server on a free port and waits until it takes connections.
async fn launch(
    home: &Path,
    programs: &Programs,
    account: Option<&Account>,
    password: &str,
    durability: Durability,
) -> Result<(Child, Option<ChildStdin>, u16), PostgresError> {
    // An instance that was killed a moment ago may still be stopping its server.
    let left_over = home.join("data/postmaster.pid");
    let deadline = Instant::now() + STOP_LIMIT;
    let gone = async {
        while left_over.exists() && is_running(&left_over) && Instant::now() < deadline {
            sleep(POLL).await;
        }
    };
    shown("waiting for the last server to stop", gone).await;

    let mut last_words = String::new();
    for _ in 0..PORT_ATTEMPTS {
        let port = free_port()?;
        let mut child = spawn(home, programs, account, port, durability)?;
        let keep_running = child.stdin.take();
        let ready = ready(&mut child, port, password);
        if shown("starting PostgreSQL", ready).await {
            return Ok((child, keep_running, port));
        }
        drop(keep_running);
        last_words = tail(&home.join("server.log"));
        if !last_words.contains("could not bind") {
            break;
        }
    }
    Err(PostgresError::System {
        what: format!(
            "PostgreSQL did not start; {} says",
            home.join("server.log").display()
        ),
        cause: last_words,
    })
}

fn spawn(
    home: &Path,
    programs: &Programs,
    account: Option<&Account>,
    port: u16,
    durability: Durability,
) -> Result<Child, PostgresError> {
    let log_path = home.join("server.log");
    let log = File::create(&log_path).map_err(PostgresError::system(format!(
        "{} cannot be written",
        log_path.display()
    )))?;
    let log_again = log
        .try_clone()
        .map_err(PostgresError::system("the log cannot be shared"))?;

    let remove = (durability == Durability::Throwaway).then_some(home);
    let mut command = supervised(&programs.path("postgres"), remove);
    command.arg("-D").arg(home.join("data"));
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".into(),
        "unix_socket_directories=".into(),
    ];
    if durability == Durability::Throwaway {
        settings.extend(
            [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "max_connections=500",
            ]
            .map(str::to_owned),
        );
    }
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    // A group of its own: Ctrl-C at the terminal is for us; we stop the server when all is done.
    command
        .current_dir(home)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(log_again);
    if let Some(account) = account {
        account.run(&mut command);
    }
    command
        .spawn()
        .map_err(PostgresError::system("PostgreSQL cannot be started"))
}

/// Waits until the server answers; says whether it did.
async fn ready(child: &mut Child, port: u16, password: &str) -> bool {
    let Ok(config) = DatabaseConfig::parse(&url(port, password, "postgres")) else {
        return false;
    };
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        if Connection::open(&config).await.is_ok() {
            return true;
        }
        sleep(POLL).await;
    }
    false
}

pub(crate) fn free_port() -> Result<u16, PostgresError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(PostgresError::system("no port can be had on 127.0.0.1"))?;
    let address = listener
        .local_addr()
        .map_err(PostgresError::system("the port is unknown"))?;
    Ok(address.port())
}

/// Whether the process that a `postmaster.pid` names is there.
fn is_running(postmaster_pid: &Path) -> bool {
    let text = fs::read_to_string(postmaster_pid).unwrap_or_default();
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    pid.and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// The last lines of the log.
fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
