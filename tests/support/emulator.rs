//! The functions themselves in cargo-lambda's Lambda emulator, behind the same routes as API Gateway.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use local::supervisor::supervised;

use crate::python;
use rig::ports::free_port;
use rig::programs::build_folder;

/// The emulator, which is installed on first use, without its cross compiler.
const EMULATOR: [&str; 2] = ["--no-deps", "cargo-lambda==1.9.2"];

/// Timeout for starting.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// An emulator with its functions; all end when it is dropped.
pub struct Emulator {
    /// Where it listens.
    pub port: u16,
    /// Their standard inputs keep them running.
    _processes: Vec<Child>,
}

impl Emulator {
    /// Starts the emulator and this many instances of each function.
    pub fn start(settings: &[(&str, &str)], instances: usize) -> Self {
        let table = local::endpoints::table();
        let functions: Vec<&str> = table.iter().map(|endpoint| endpoint.name).collect();
        Self::with_functions(&functions, settings, instances)
    }

    /// Starts the emulator and this many instances of each of these functions.
    pub fn with_functions(names: &[&str], settings: &[(&str, &str)], instances: usize) -> Self {
        let functions = built();
        let port = free_port();
        let mut emulator = supervised(&program(), None);
        emulator
            .args(["lambda", "watch", "--only-lambda-apis", "--disable-cors"])
            .args(["-A", "127.0.0.1", "-P", &port.to_string()])
            // The routes are in the workspace's Cargo.toml.
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let mut processes = vec![start(emulator)];
        let deadline = Instant::now() + START_TIMEOUT;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the emulator does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        for name in names {
            for _ in 0..instances {
                let mut function = supervised(&functions.join(name), None);
                function
                    .env_clear()
                    .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                    .env(
                        "AWS_LAMBDA_RUNTIME_API",
                        format!("http://127.0.0.1:{port}/.rt/{name}"),
                    )
                    .env("AWS_LAMBDA_FUNCTION_NAME", name)
                    .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
                    .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
                    .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
                    .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
                    .envs(settings.iter().copied());
                processes.push(start(function));
            }
        }
        Self {
            port,
            _processes: processes,
        }
    }

    /// `cargo lambda invoke`; returns whether it succeeded, and its output.
    pub async fn invoke(&self, function: &str, arguments: &[&str]) -> (bool, String) {
        let output = tokio::process::Command::new(program())
            .args(["lambda", "invoke", function])
            .args(["-A", "127.0.0.1", "-P", &self.port.to_string()])
            .args(arguments)
            .output()
            .await
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(printed).unwrap())
    }
}

fn start(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn program() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| python::installed(&EMULATOR));
    folder.join("bin/cargo-lambda")
}

/// The folder with the current build of the functions.
fn built() -> &'static std::path::Path {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            // With the tests, so that dependencies have the same features and are not built again.
            .args([
                "build",
                "--quiet",
                "--workspace",
                "--bins",
                "--tests",
                "--locked",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "the functions are built"
        );
    });
    build_folder()
}
