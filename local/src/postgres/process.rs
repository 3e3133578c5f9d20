//! Starts a server, and ensures that it ends when this process does.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use shared::database::{Connection, DatabaseConfig};
use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::account::Account;
use super::error::PostgresError;
use super::files;
use super::folder::{DATABASE_URL, Durability, SUPERUSER, major_of, read_password, set_up, take};
use super::home::home_for;
use super::programs::Programs;
use super::search;
use crate::progress::shown;
use crate::supervisor::{remover, supervised};

/// The database that our own server has from the start.
pub const DATABASE: &str = "daissy";

/// Timeout for a server to start; recovering from a crash takes a while.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Timeout for a server to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to check whether it has started or stopped.
const POLL: Duration = Duration::from_millis(20);

/// How often to check that a server is still running.
const WATCH: Duration = Duration::from_millis(200);

/// How many ports to try when another process takes the chosen one first.
const PORT_ATTEMPTS: usize = 5;

/// The file with the last port of the server.
const PORT: &str = "port";

/// A server that runs until it is dropped or stopped.
#[derive(Debug)]
pub struct PostgresServer {
    place: Place,
    version: String,
    port: u16,
    running: Running,
    /// Held for as long as we use the folder.
    _lock: File,
}

/// Everything that is needed to start a server.
#[derive(Debug)]
struct Place {
    home: PathBuf,
    programs: Programs,
    account: Option<Account>,
    password: String,
    durability: Durability,
}

/// The processes of a server.
#[derive(Debug)]
struct Running {
    child: Child,
    /// Closing it stops the server.
    keep_running: Option<ChildStdin>,
    /// Removes the folder of a throwaway server.
    remover: Option<Child>,
}

impl PostgresServer {
    /// Starts a server with its data in `folder`, setting it up if it is new. The folder is for the
    /// server alone: it must not exist yet, or a server was started in it before.
    ///
    /// # Errors
    /// [`PostgresError`], which says what to do.
    pub async fn start(folder: &Path, durability: Durability) -> Result<Self, PostgresError> {
        let (home, _) = home_for(folder)?;
        Self::start_with_downloads(&home.join("postgresql"), folder, durability).await
    }

    /// The same, with the programs in `downloads`, which is filled if none are installed. Servers can
    /// share it, but must not fill it concurrently.
    ///
    /// # Errors
    /// [`PostgresError`], which says what to do.
    pub async fn start_with_downloads(
        downloads: &Path,
        folder: &Path,
        durability: Durability,
    ) -> Result<Self, PostgresError> {
        let (home, account) = home_for(folder)?;
        let lock = take(&home, account.as_ref())?;
        let data = home.join("data");

        let made_by = major_of(&home)?;
        let programs = search::find(downloads, made_by, account.as_ref()).await?;
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
                let set_up = set_up(&home, &programs, account.as_ref(), durability);
                shown("setting up a database for the first time", set_up).await?
            }
        };

        let place = Place {
            home,
            programs,
            account,
            password,
            durability,
        };
        let (running, port) = place.start().await?;
        let server = Self {
            version: place.programs.version.clone(),
            place,
            port,
            running,
            _lock: lock,
        };
        server.create_database().await?;
        let (home, url) = (&server.place.home, server.url(DATABASE));
        files::write(&home.join(PORT), &port.to_string())
            .and_then(|()| files::write(&home.join(DATABASE_URL), &url))
            .map_err(PostgresError::system(format!(
                "{} cannot be written to",
                home.display()
            )))?;
        Ok(server)
    }

    /// The connection string of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.place.url(self.port, database)
    }

    /// The port it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.place.programs.folder
    }

    /// The version, such as `15.18`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The folder of its data.
    #[must_use]
    pub fn home(&self) -> std::path::Display<'_> {
        self.place.home.display()
    }

    /// Waits until the server ends, by itself or because it was killed.
    pub async fn ended(&mut self) {
        while matches!(self.running.child.try_wait(), Ok(None)) {
            sleep(WATCH).await;
        }
    }

    /// Restarts a server that has ended, on the same port.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn start_again(&mut self) -> Result<(), PostgresError> {
        self.running.keep_running = None;
        // We watch its supervisor, which may have been killed without the server.
        self.place.last_server_gone().await?;
        self.running = self.place.start_on(self.port, true).await?;
        Ok(())
    }

    /// Stops the server and waits until it has ended.
    pub async fn stop(mut self) {
        self.running.keep_running = None;
        let _ = files::remove(&self.place.home.join(DATABASE_URL));
        let children = [Some(&mut self.running.child), self.running.remover.as_mut()];
        let deadline = Instant::now() + STOP_TIMEOUT;
        for child in children.into_iter().flatten() {
            while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                sleep(POLL).await;
            }
        }
    }

    async fn create_database(&self) -> Result<(), PostgresError> {
        let failed = |cause: String| PostgresError::System {
            what: "cannot create the database".into(),
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

impl Place {
    fn url(&self, port: u16, database: &str) -> String {
        let password = &self.password;
        format!("postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Starts the server on its last port, otherwise on a free one.
    async fn start(&self) -> Result<(Running, u16), PostgresError> {
        self.last_server_gone().await?;
        let mut port = self.last_port();
        for _ in 1..PORT_ATTEMPTS {
            let wanted = match port.take() {
                Some(port) => port,
                None => free_port()?,
            };
            match self.start_on(wanted, false).await {
                Err(error) if error.to_string().contains("could not bind") => {}
                started => return started.map(|running| (running, wanted)),
            }
        }
        let port = free_port()?;
        Ok((self.start_on(port, false).await?, port))
    }

    /// Starts the server and waits until it accepts connections.
    async fn start_on(&self, port: u16, again: bool) -> Result<Running, PostgresError> {
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            let mut running = self.spawn(port, again)?;
            if shown("starting PostgreSQL", self.ready(&mut running.child, port)).await {
                return Ok(running);
            }
            running.keep_running = None;
            let log = self.home.join("server.log");
            let last_words = tail(&log);
            // The processes of a killed server take a moment to notice.
            if last_words.contains("is still in use") && Instant::now() < deadline {
                sleep(WATCH).await;
                continue;
            }
            return Err(PostgresError::System {
                what: format!("PostgreSQL did not start; {} says", log.display()),
                cause: last_words,
            });
        }
    }

    fn spawn(&self, port: u16, again: bool) -> Result<Running, PostgresError> {
        let log_path = self.home.join("server.log");
        let mut options = OpenOptions::new();
        options.create(true).append(again);
        options.write(true).truncate(!again);
        let log = files::open(&mut options, &log_path).map_err(PostgresError::system(format!(
            "{} cannot be written",
            log_path.display()
        )))?;

        let mut command = supervised(&self.programs.path("postgres"), None);
        command.arg("-D").arg(self.home.join("data"));
        let mut settings = vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".into(),
            "unix_socket_directories=".into(),
        ];
        if self.durability == Durability::Throwaway {
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
        let cannot = || PostgresError::system("PostgreSQL cannot be started");
        let mut remover = match self.durability {
            Durability::Durable => None,
            // It runs under our own account: the server's account may not remove our files.
            Durability::Throwaway => Some(apart(&mut remover(&self.home)).map_err(cannot())?),
        };
        if let Some(account) = &self.account {
            account.run(&mut command);
        }
        command
            .current_dir(&self.home)
            .stdout(
                match remover.as_mut().and_then(|remover| remover.stdin.take()) {
                    Some(end_of_remover) => Stdio::from(end_of_remover),
                    None => Stdio::from(log.try_clone().map_err(cannot())?),
                },
            )
            .stderr(log);
        let mut child = apart(&mut command).map_err(cannot())?;
        Ok(Running {
            keep_running: child.stdin.take(),
            child,
            remover,
        })
    }

    /// Waits until the server answers; returns whether it did.
    async fn ready(&self, child: &mut Child, port: u16) -> bool {
        let Ok(config) = DatabaseConfig::parse(&self.url(port, "postgres")) else {
            return false;
        };
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            if Connection::open(&config).await.is_ok() {
                return true;
            }
            sleep(POLL).await;
        }
        false
    }

    /// The last port of the server, if it is free now.
    fn last_port(&self) -> Option<u16> {
        let text = files::read(&self.home.join(PORT)).ok()?;
        let port = text.trim().parse().ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some(port)
    }

    /// Waits until the server of an instance that was just killed has stopped. If its process id now
    /// belongs to another program, removes the pid file, which would keep PostgreSQL from starting.
    /// That is safe, because only we start a server here.
    async fn last_server_gone(&self) -> Result<(), PostgresError> {
        let data = self.home.join("data");
        let left_over = data.join("postmaster.pid");
        let deadline = Instant::now() + STOP_TIMEOUT;
        let gone = async {
            while let Some(pid) = running_pid(&left_over) {
                if !is_server_of(pid, &data) {
                    return files::remove(&left_over);
                }
                if Instant::now() > deadline {
                    break;
                }
                sleep(POLL).await;
            }
            Ok(())
        };
        let gone = shown("waiting for the previous server to stop", gone).await;
        gone.map_err(PostgresError::system(format!(
            "{} cannot be removed",
            left_over.display()
        )))
    }
}

/// Starts a command in its own process group, so that Ctrl-C at the terminal reaches only us. We stop
/// the command when everything else is done.
fn apart(command: &mut Command) -> std::io::Result<Child> {
    command.process_group(0).stdin(Stdio::piped()).spawn()
}

fn free_port() -> Result<u16, PostgresError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(PostgresError::system("cannot get a port on 127.0.0.1"))?;
    let address = listener
        .local_addr()
        .map_err(PostgresError::system("cannot read the port"))?;
    Ok(address.port())
}

/// The process that a `postmaster.pid` names, if it is running.
fn running_pid(postmaster_pid: &Path) -> Option<i32> {
    let text = files::read(postmaster_pid).ok()?;
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    let pid = rustix::process::Pid::from_raw(number.checked_abs()?)?;
    rustix::process::test_kill_process(pid).ok()?;
    Some(pid.as_raw_nonzero().get())
}

/// Whether a process is a server on `data`: that is its working directory, or one of its arguments.
fn is_server_of(pid: i32, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    if let Ok(folder) = fs::read_link(process.join("cwd")) {
        return data.canonicalize().is_ok_and(|data| data == folder);
    }
    let arguments = fs::read(process.join("cmdline")).or_else(|_| {
        let mut ps = Command::new("ps");
        let output = ps.args(["-ww", "-o", "command=", "-p", &pid.to_string()]);
        output.output().map(|output| output.stdout)
    });
    arguments.is_ok_and(|arguments| {
        let data = data.to_string_lossy();
        String::from_utf8_lossy(&arguments).contains(&*data)
    })
}

/// The last lines of the log.
fn tail(path: &Path) -> String {
    let text = files::read_end(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
