//! What is logged, and how: JSON on Lambda, plain lines elsewhere; never content or secrets.

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Crates that are kept at `info`, whatever is configured: below it tokio-postgres logs statements
/// with their parameters, and genai and its HTTP client log prompts and keys.
const QUIET: &[&str] = &[
    "tokio_postgres",
    "postgres",
    "genai",
    "hyper",
    "reqwest",
    "h2",
];

/// Starts logging for a Lambda function: JSON lines, filtered by `AWS_LAMBDA_LOG_LEVEL` or
/// `RUST_LOG` (default `info`). Calling it again does nothing.
pub fn init_json() {
    let subscriber = json_subscriber(&wanted_filter("info"), std::io::stdout);
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// What logs as a Lambda function does, to any writer.
pub fn json_subscriber<W>(directives: &str, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_writer(writer)
        .with_env_filter(filter(directives))
        .finish()
}

/// Starts logging for a person at a terminal, to standard error, filtered by `RUST_LOG` (default
/// `default_level`). Calling it again does nothing.
pub fn init_plain(default_level: &str) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_env_filter(filter(&wanted_filter(default_level)))
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn wanted_filter(default_level: &str) -> String {
    ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"]
        .iter()
        .find_map(|name| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        })
        .unwrap_or_else(|| default_level.to_owned())
}

fn filter(directives: &str) -> EnvFilter {
    let kept: Vec<&str> = directives
        .split(',')
        .filter(|directive| !QUIET.iter().any(|name| directive.trim().starts_with(name)))
        .collect();
    QUIET.iter().fold(
        EnvFilter::builder().parse_lossy(kept.join(",")),
        |filter, name| match format!("{name}=info").parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        },
    )
}
