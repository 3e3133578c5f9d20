//! The whole API behind one port: the same handlers as the Lambda functions, with its own PostgreSQL
//! unless `DATABASE_URL` names another.
//!
//! `cargo run` serves; the other commands do their work and exit.

// Its output is its interface.
#![allow(clippy::print_stdout, clippy::print_stderr)]

pub mod access;
mod audio;
mod chat;
mod check;
mod database;
pub mod endpoints;
mod env_file;
mod error;
mod in_process;
mod maintain;
pub mod openapi;
pub mod postgres;
mod progress;
pub mod router;
mod schema;
mod server;
mod service;
pub mod supervisor;
mod tokens;
mod transfer;
pub mod verify;

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use audio::Audio;
use chat::Options;
pub use error::LocalError;
use maintain::Erase;

const USAGE: &str = "usage: cargo run [-- COMMAND]

  (none)    serve the API on http://127.0.0.1:8000
  chat [--session ID] [--url URL]
            hold a conversation in the terminal: a new one, or go on with a session. Ctrl-C stops an answer.
            URL is the address of a deployed API that streams; DAISSY_TOKEN is the token for it
  migrate [--owner OWNER]
            bring the schema of the database up to date; take over the tables of the Python server, if it
            has them. OWNER, such as jwt:alice, is for the sessions that name no user
  migrate --drop-legacy
            drop those tables, which are kept as the way back
  check     test the connection: server, TLS, schema, rights
  verify    check every session: order, counters, answers, leases; name some sessions for each kind
            of violation, or all of them with --all
  export FILE
            write all sessions, with their owners, to a new file in JSON Lines
  import FILE [--owner OWNER]
            read sessions from such a file, or conversations of ChatGPT, LibreChat, OpenAI or LangChain;
            those that are there already stay as they are. OWNER, such as jwt:alice, is for sessions whose
            lines name none
  audio import FILE
            read recordings that the assistant may recommend from a file: JSON Lines, a JSON array, or CSV.
            It can be repeated: what is there already is changed, not added
  audio list [--json]
            list the recordings; --json prints them as `audio import` reads them
  audio search WORDS… [--context TEXT] [--limit N]
            search as the assistant does, and say why each recording is found
  audio remove ID…
            delete recordings
  audio evaluate QUERIES [--recordings FILE] [--misses]
            judge the search, in the catalogue or in FILE, by queries whose right answers are known
  maintain  erase what was deleted, and what RETENTION_DAYS has expired; fill the index for searching
  erase     erase everything of --owner OWNER (such as jwt:alice); --dry-run only counts, --yes asks
            nothing
  help      show this

While the server runs, the other commands use its database.

Settings come from the environment or a .env file; .env.example explains each.";

/// Runs the command in the process's arguments; the exit code is 0 only on success.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(error) = env_file::load() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    // Retries of a download are not logged: its final error says enough.
    let endpoints = endpoints::table();
    let functions = endpoints.iter().map(|endpoint| endpoint.name);
    let packages: Vec<&str> = functions.chain(["migrate", "maintain", "local"]).collect();
    shared::logging::init_plain("warn,reqwest_retry=error", &packages);

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => run(server::serve()),
        ["chat", how @ ..] if let Some(options) = Options::read(how) => run(chat::chat(options)),
        ["migrate"] => run(schema::migrate(None)),
        ["migrate", "--owner", owner] => run(schema::migrate(Some(owner))),
        ["migrate", "--drop-legacy"] => run(schema::drop_legacy()),
        ["check"] => run(check::check()),
        ["verify"] => run(verify::verify(false)),
        ["verify", "--all"] => run(verify::verify(true)),
        ["export", file] => run(transfer::export::export(Path::new(file))),
        ["import", file] => run(transfer::import::import(Path::new(file), None)),
        ["import", file, "--owner", owner] => {
            run(transfer::import::import(Path::new(file), Some(owner)))
        }
        ["audio", what @ ..] if let Some(what) = Audio::read(what) => run(audio::audio(what)),
        ["maintain"] => run(maintain::maintain()),
        ["erase", whose @ ..] if let Some(erase) = Erase::read(whose) => {
            run(maintain::erase(erase))
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            let given = arguments.join(" ");
            eprintln!("error: not a command, or not with these arguments: {given}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(command: impl Future<Output = Result<(), LocalError>>) -> ExitCode {
    // One thread: waking another for every step of a request costs more than the step.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
