//! How fast and how dear Daissy is, as ratios to floors of the same run.
//!
//! `cargo run --release -p bench` measures every row of docs/performance.md, prints a table, and writes
//! JSON and an SVG chart for each row into `target/bench/`.

// Its output is its result, and a failed step ends it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod build;
mod chart;
mod database;
mod load;
mod machine;
mod model;
mod pgbench;
mod progress;
mod report;
mod rows;
mod sample;
// Its text is included: linking `shared` would bring everything along that the product stands on.
#[allow(dead_code)]
#[path = "../../shared/src/store/statements.rs"]
mod statements;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use load::Until;
use report::Report;
use rows::Stage;

/// Measures Daissy and prints each figure beside its floor. docs/performance.md explains the rows.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// The rows to measure; all of them if none is named.
    rows: Vec<Row>,

    /// Measure with millions of rows, too. Takes several minutes and gigabytes more.
    #[arg(long)]
    large: bool,

    /// Only try whether every row can be measured: the figures say nothing.
    #[arg(long)]
    quick: bool,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// From the start of a function to its first poll and its first answer; memory and size.
    ColdStart,
    /// One invocation of each function that is running.
    Warm,
    /// Requests per second of the local server.
    Throughput,
    /// What changes with the length of a session and the number of sessions.
    Growth,
    /// The work that PostgreSQL does, also against the statements of the first version.
    Database,
    /// Searches in the messages of many owners, and turns beside them.
    Search,
    /// Searches in a catalogue of recordings, and imports into it.
    Recordings,
    /// Many answers streamed at once.
    Streams,
    /// Dollars per million turns.
    Cost,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Starts of each function.
    pub starts: usize,
    /// Turns of each session before anything is measured: as many messages as a model is shown.
    pub earlier_turns: usize,
    /// Repetitions of anything else that is counted.
    pub times: usize,
    /// When each load ends.
    pub load: Until,
    /// Messages in the longest session.
    pub messages: usize,
    /// Messages to search in.
    pub searched: usize,
    /// Recordings in the catalogue.
    pub recordings: usize,
    /// Answers streamed at once.
    pub streams: usize,
    /// How long each takes.
    pub stream_time: Duration,
    /// Whether to measure with a million sessions.
    pub large: bool,
}

impl Effort {
    fn of(arguments: &Arguments) -> Self {
        if arguments.quick {
            return Self {
                starts: 2,
                earlier_turns: 1,
                times: 5,
                load: Until::Times(5),
                messages: 2_000,
                searched: 2_000,
                recordings: 500,
                streams: 5,
                stream_time: Duration::from_secs(1),
                large: false,
            };
        }
        Self {
            starts: 30,
            earlier_turns: 10,
            times: 400,
            load: Until::Time(Duration::from_secs(3)),
            messages: 100_000,
            recordings: 100_000,
            streams: 200,
            stream_time: Duration::from_secs(20),
            searched: if arguments.large {
                20_000_000
            } else {
                1_000_000
            },
            large: arguments.large,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let effort = Effort::of(&arguments);
    tokio::select! {
        () = measure(&arguments, effort) => ExitCode::SUCCESS,
        // Dropping what runs ends the processes and removes the files.
        _ = tokio::signal::ctrl_c() => ExitCode::FAILURE,
    }
}

async fn measure(arguments: &Arguments, effort: Effort) {
    build::everything();
    let started = Instant::now();
    let stage = Stage::set_up(effort).await;
    let machine = machine::describe(&stage.database).await;
    for row in Row::value_variants() {
        if !arguments.rows.is_empty() && !arguments.rows.contains(row) {
            continue;
        }
        let value = row.to_possible_value().unwrap();
        let mut report = Report::new(value.get_name());
        match row {
            Row::ColdStart => rows::cold_start::measure(&stage, &mut report).await,
            Row::Warm => rows::warm::measure(&stage, &mut report).await,
            Row::Throughput => rows::throughput::measure(&stage, &mut report).await,
            Row::Growth => rows::growth::measure(&stage, &mut report).await,
            Row::Database => rows::database::measure(&stage, &mut report).await,
            Row::Search => rows::search::measure(&stage, &mut report).await,
            Row::Recordings => rows::recordings::measure(&stage, &mut report).await,
            Row::Streams => rows::streams::measure(&stage, &mut report).await,
            Row::Cost => rows::cost::measure(&stage, &mut report).await,
        }
        progress::done();
        println!("\n{}", report.table());
        if !arguments.quick {
            report.write(&machine);
        }
    }
    println!("\n{}", machine.text());
    println!("measured in {} s", started.elapsed().as_secs());
}
