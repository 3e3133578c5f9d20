//! Programs that the tests and the benchmark need in addition to PostgreSQL's server: installed ones, otherwise those of Debian
//! packages, which apt-get downloads without root and which are unpacked next to the build folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A program, and the environment that it needs.
pub struct Program {
    /// Its path, or its name in `PATH`.
    pub path: PathBuf,
    /// Variables to start it with.
    pub environment: Vec<(&'static str, OsString)>,
}

impl Program {
    fn here(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            environment: Vec::new(),
        }
    }
}

/// Cargo's build folder for this profile: the one the running program is in, or, for a test, the one above.
pub fn build_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let program = std::env::current_exe().unwrap();
        let folder = program.parent().unwrap();
        let is_test = folder.ends_with("deps");
        let folder = if is_test {
            folder.parent()
        } else {
            Some(folder)
        };
        folder.unwrap().to_owned()
    })
}

/// PgBouncer.
pub fn pgbouncer() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        installed("pgbouncer", &["/usr/sbin", "/opt/homebrew/bin"])
            .map(Program::here)
            .unwrap_or_else(|| {
                unpacked("pgbouncer", "usr/sbin/pgbouncer", "PgBouncer", "pgbouncer")
            })
    })
}

/// The client that serves as the reference for libpq's behaviour.
pub fn psql() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| postgresql("psql", "postgresql-client"))
}

/// The load generator that comes with PostgreSQL.
pub fn pgbench() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| postgresql("pgbench", "postgresql"))
}

/// A client program of PostgreSQL, from the Debian package on which `package` depends first: that of
/// Debian's version. The newest of several installed ones is taken.
fn postgresql(name: &str, package: &str) -> Program {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut folders: Vec<_> = versions.flatten().map(|version| version.path()).collect();
    folders.sort();
    let mut folders: Vec<_> = folders
        .iter()
        .rev()
        .map(|folder| folder.join("bin"))
        .collect();
    folders.push("/opt/homebrew/opt/libpq/bin".into());
    installed(name, &folders)
        .map(Program::here)
        .unwrap_or_else(|| {
            // The package of that name is empty and depends on the one with the version.
            let package = first_dependency(package);
            let version = package.rsplit('-').next().unwrap_or_default();
            let path = format!("usr/lib/postgresql/{version}/bin/{name}");
            unpacked(&package, &path, name, "libpq")
        })
}

/// A Python that has pip.
pub fn python() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let pip = Command::new("python3")
            .args(["-m", "pip", "--version"])
            .output();
        if pip.is_ok_and(|pip| pip.status.success()) {
            return Program::here("python3");
        }
        let mut program = unpacked(
            "python3-pip",
            "usr/lib/python3/dist-packages/pip",
            "Python with pip",
            "python",
        );
        let packages = program.path.parent().unwrap().to_owned();
        program.environment.push(("PYTHONPATH", packages.into()));
        // If Python itself is missing, it was downloaded as a dependency.
        let own = root("python3-pip").join("usr/bin/python3");
        program.path = if own.exists() { own } else { "python3".into() };
        program
    })
}

/// A program in `PATH` or in one of these folders.
fn installed(name: &str, folders: &[impl AsRef<Path>]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(folders.iter().map(|folder| folder.as_ref().to_owned()))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A file of a Debian package, as a program; `brew` is Homebrew's name for the package.
fn unpacked(package: &str, path: &str, what: &str, brew: &str) -> Program {
    let root = root(package);
    if !root.join(path).exists() {
        let fetched = unpack(package, &root);
        let install = format!("apt-get install {package}, or brew install {brew}");
        assert!(
            fetched.is_ok(),
            "{what} is needed ({install}): {}",
            fetched.unwrap_err()
        );
    }
    assert!(root.join(path).exists(), "{package} holds {path}");
    let libraries = ["usr/lib", "lib"].map(|folder| std::fs::read_dir(root.join(folder)));
    let libraries = libraries.into_iter().flatten().flatten().flatten();
    let libraries = libraries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    Program {
        path: root.join(path),
        environment: vec![("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap())],
    }
}

fn root(package: &str) -> PathBuf {
    debian().join("unpacked").join(package)
}

fn debian() -> PathBuf {
    build_folder().with_file_name("debian")
}

/// Downloads a package with all dependencies that this machine lacks, and unpacks it.
fn unpack(package: &str, root: &Path) -> Result<(), String> {
    let archives = debian().join("archives").join(package);
    std::fs::create_dir_all(archives.join("partial")).map_err(|error| error.to_string())?;
    let mut fetch = apt("apt-get")?;
    fetch
        .arg("-o")
        .arg(format!("Dir::Cache::archives={}", archives.display()))
        .args([
            "--yes",
            "--download-only",
            "--reinstall",
            "--no-install-recommends",
        ])
        .args(["install", package]);
    run(&mut fetch)?;
    let partial = root.with_extension("partial");
    std::fs::create_dir_all(&partial).map_err(|error| error.to_string())?;
    for archive in std::fs::read_dir(archives).map_err(|error| error.to_string())? {
        let archive = archive.map_err(|error| error.to_string())?.path();
        if archive
            .extension()
            .is_some_and(|extension| extension == "deb")
        {
            run(Command::new("dpkg-deb")
                .arg("-x")
                .arg(archive)
                .arg(&partial))?;
        }
    }
    std::fs::rename(partial, root).map_err(|error| error.to_string())
}

fn first_dependency(package: &str) -> String {
    let depends = apt("apt-cache").and_then(|mut apt| run(apt.args(["depends", package])));
    let depends = depends.unwrap_or_default();
    let mut names = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.next().unwrap_or(package).to_owned()
}

/// An apt command that uses our own package lists.
fn apt(name: &str) -> Result<Command, String> {
    static UPDATED: Mutex<bool> = Mutex::new(false);
    let folder = debian();
    let command = |name: &str| {
        let mut command = Command::new(name);
        for (setting, below) in [("Dir::State", "state"), ("Dir::Cache", "cache")] {
            let below = folder.join(below);
            command
                .arg("-o")
                .arg(format!("{setting}={}", below.display()));
        }
        for setting in [
            "Dir::State::status=/var/lib/dpkg/status",
            "Debug::NoLocking=true",
            "APT::Sandbox::User=",
            "Acquire::Languages=none",
        ] {
            command.args(["-o", setting]);
        }
        command
    };
    let mut updated = UPDATED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*updated {
        for below in ["state/lists/partial", "cache"] {
            std::fs::create_dir_all(folder.join(below)).map_err(|error| error.to_string())?;
        }
        run(command("apt-get").args(["-qq", "update"]))?;
        *updated = true;
    }
    Ok(command(name))
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
