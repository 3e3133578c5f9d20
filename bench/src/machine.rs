//! What it was measured on, without names.

use serde::Serialize;

use crate::build::is_as_shipped;
use crate::database::BenchDatabase;

/// The machine of a run.
#[derive(Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    cores: usize,
    /// The kind of processor.
    processor: String,
    /// Its architecture.
    architecture: &'static str,
    /// Memory in GiB.
    memory_gib: u64,
    /// The operating system.
    system: String,
    /// The version of PostgreSQL.
    postgresql: String,
    /// Whether the functions are optimised and have OpenSSL linked in, as those that are shipped.
    built_as_shipped: bool,
}

impl Machine {
    /// One line for a person.
    pub fn text(&self) -> String {
        let Self {
            cores,
            processor,
            architecture,
            memory_gib,
            system,
            postgresql,
            built_as_shipped,
        } = self;
        let build = if *built_as_shipped {
            "functions built as shipped"
        } else {
            "functions NOT built as shipped"
        };
        format!(
            "{cores} cores ({processor}, {architecture}), {memory_gib} GiB of memory, {system}, \
             PostgreSQL {postgresql}, {build}"
        )
    }
}

/// Describes this machine.
pub async fn describe(database: &BenchDatabase) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line
            .unwrap_or_default()
            .trim_start_matches([' ', '\t', ':', '=']);
        value.trim_matches('"').to_owned()
    };
    let memory = after(&read("/proc/meminfo"), "MemTotal");
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        processor: after(&read("/proc/cpuinfo"), "model name"),
        architecture: std::env::consts::ARCH,
        memory_gib: kib.div_ceil(1024 * 1024),
        system: after(&read("/etc/os-release"), "PRETTY_NAME"),
        postgresql: database.value("show server_version").await,
        built_as_shipped: is_as_shipped(),
    }
}
