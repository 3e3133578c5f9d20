//! A PgBouncer in front of the tests' server, in transaction mode and without prepared statements: a
//! client that works with it works with every pooler.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use local::postgres::PostgresServer;
use local::supervisor::supervised;
use uuid::Uuid;

use rig::ports::free_port;
use rig::programs::{self, Program};

/// Timeout for starting.
const START_TIMEOUT: Duration = Duration::from_secs(20);

struct PgBouncer {
    port: u16,
    /// It ends when this process does.
    _child: Child,
}

static POOLER: OnceLock<PgBouncer> = OnceLock::new();

/// The port of the pooler of this run, which is in front of `server`.
pub fn port(server: &PostgresServer) -> u16 {
    POOLER.get_or_init(|| start(server)).port
}

fn start(server: &PostgresServer) -> PgBouncer {
    let program = programs::pgbouncer();
    let folder = std::env::temp_dir().join(format!("daissy-pgbouncer-{}", Uuid::new_v4().simple()));
    fs::create_dir(&folder).unwrap();
    // When we are root, it has to run as another account, which must be able to reach its files.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let port = free_port();
    let config = folder.join("pgbouncer.ini");
    fs::write(&config, configuration(program, server, port, &folder)).unwrap();
    let mut command = supervised(&program.path, Some(&folder));
    command.envs(program.environment.iter().cloned());
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "nobody"]);
    }
    let child = command
        .arg("-q")
        .arg(&config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();

    let deadline = Instant::now() + START_TIMEOUT;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "PgBouncer does not start: {}",
            log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    PgBouncer {
        port,
        _child: child,
    }
}

fn configuration(program: &Program, server: &PostgresServer, port: u16, folder: &Path) -> String {
    let url = server.url("postgres");
    let credentials = url.split("//").nth(1).unwrap().split('@').next().unwrap();
    let (user, password) = credentials.split_once(':').unwrap();
    let users = folder.join("users.txt");
    fs::write(&users, format!("\"{user}\" \"{password}\"\n")).unwrap();
    // Versions before 1.21 support neither prepared statements nor the setting.
    let version = Command::new(&program.path)
        .envs(program.environment.iter().cloned())
        .arg("--version")
        .output()
        .unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse::<u32>().ok());
    let prepared = match minor {
        Some(minor) if minor < 21 => "",
        _ => "max_prepared_statements = 0",
    };
    format!(
        "[databases]
         * = host=127.0.0.1 port={server_port}
         [pgbouncer]
         listen_addr = 127.0.0.1
         listen_port = {port}
         unix_socket_dir =
         logfile = {log}
         pool_mode = transaction
         {prepared}
         max_client_conn = 500
         default_pool_size = 10
         server_idle_timeout = 1
         server_login_retry = 1
         auth_type = scram-sha-256
         auth_file = {users}
         auth_user = {user}
         auth_query = select usename, passwd from pg_shadow where usename = $1
        ",
        server_port = server.port(),
        log = folder.join("log").display(),
        users = users.display(),
    )
    .lines()
    .map(|line| format!("{}\n", line.trim()))
    .collect()
}
