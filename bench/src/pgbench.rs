//! pgbench, which comes with PostgreSQL: many clients that send the same statements.

use std::io::Write;
use std::process::Stdio;

use rig::programs;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::database::BenchDatabase;
use crate::load::Until;

/// The table with a session for each client.
pub const CLIENTS: &str = "bench_clients";

/// The most clients of a run.
pub const MOST_CLIENTS: usize = 64;

/// The session of a client, in a script.
pub const SESSION: &str = ":session_id::uuid";

/// A run.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The database, whose table [`CLIENTS`] has the sessions.
    pub database: &'a str,
    /// The statements, separated by semicolons. They can use [`SESSION`], `:turn`, a number of 16 digits
    /// that grows, `:random` and `:other`, of as many digits.
    pub statements: &'a str,
    /// How many clients send them.
    pub clients: usize,
    /// When it ends.
    pub until: Until,
    /// Whether a commit waits for the disk.
    pub durable: bool,
}

/// What came of a run.
pub struct Outcome {
    /// Scripts per second.
    pub per_second: f64,
    /// How many scripts were run.
    pub count: f64,
    /// CPU time that the server used for each, in milliseconds.
    pub server_ms: f64,
}

/// Creates the table [`CLIENTS`] with these sessions.
pub async fn create_clients(server: &BenchDatabase, database: &str, sessions: &[String]) {
    let rows = sessions.iter().enumerate();
    let rows: Vec<_> = rows.map(|(n, id)| format!("({n}, '{id}')")).collect();
    let statements = format!(
        "create table {CLIENTS} (n int primary key, session_id uuid);
         insert into {CLIENTS} values {};
         grant select on {CLIENTS} to public",
        rows.join(", ")
    );
    server.run(database, &statements).await;
}

impl Run<'_> {
    /// Runs it. The statements go in the extended protocol and without names, as those of the product do:
    /// a pooler in transaction mode allows nothing faster.
    pub async fn start(self, server: &BenchDatabase) -> Outcome {
        let statements = self.statements.trim_end();
        let mut script = NamedTempFile::new().unwrap();
        write!(
            script,
            "\\if :ready\n\\else\n\
             select session_id from {CLIENTS} where n = :client_id \\gset\n\
             \\set turn random(1000000000000000, 1900000000000000)\n\
             \\set ready 1\n\\endif\n\
             \\set turn :turn + 1\n\
             \\set random random(1000000000000000, 9999999999999999)\n\
             \\set other random(1000000000000000, 9999999999999999)\n\
             {statements};\n"
        )
        .unwrap();

        let program = programs::pgbench();
        let mut command = Command::new(&program.path);
        command
            .envs(program.environment.iter().cloned())
            .args(["--no-vacuum", "--protocol=extended", "--define=ready=0"])
            .arg(format!("--client={}", self.clients))
            .arg("--file")
            .arg(script.path());
        match self.until {
            Until::Time(time) => command.arg(format!("--time={}", time.as_secs())),
            Until::Times(times) => command.arg(format!("--transactions={times}")),
        };
        if !self.durable {
            command.env("PGOPTIONS", "-c synchronous_commit=off");
        }
        command
            .arg(server.url(self.database))
            .stdin(Stdio::null())
            .kill_on_drop(true);

        let before = server.cpu_seconds();
        let output = command.output().await.expect("pgbench runs");
        let server_seconds = server.cpu_seconds() - before;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbench failed: {complaint}");
        let number = |name: &str| {
            let rest = text.lines().find_map(|line| line.trim().strip_prefix(name));
            let word = rest.and_then(|rest| rest.split([' ', '/']).find(|word| !word.is_empty()));
            let number = word.and_then(|word| word.parse::<f64>().ok());
            number.unwrap_or_else(|| panic!("pgbench prints no {name} {text} {complaint}"))
        };
        let count = number("number of transactions actually processed:");
        Outcome {
            per_second: number("tps ="),
            count,
            server_ms: server_seconds * 1e3 / count,
        }
    }
}
