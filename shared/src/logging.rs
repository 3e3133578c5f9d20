//! What is logged, and how: JSON on Lambda, plain lines elsewhere; never content or secrets.

use tracing_subscriber::EnvFilter;

/// Appended to whatever filter is configured. At `debug` tokio-postgres logs statements with their
/// parameters, genai and its HTTP client log prompts and keys; no setting may turn that on.
const NEVER_BELOW_INFO: &[&str] = &[
    "tokio_postgres=info",
    "genai=info",
    "hyper=info",
    "hyper_util=info",
    "reqwest=info",
];

/// Starts logging for a Lambda function: JSON lines, filtered by `AWS_LAMBDA_LOG_LEVEL` or
/// `RUST_LOG` (default `info`). Calling it again does nothing.
pub fn init_json() {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_target(false)
        .with_env_filter(filter("info"))
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Starts logging for a person at a terminal, to standard error, filtered by `RUST_LOG` (default
/// `default_level`). Calling it again does nothing.
pub fn init_plain(default_level: &str) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_env_filter(filter(default_level))
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn filter(default_level: &str) -> EnvFilter {
    let wanted = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"]
        .iter()
        .find_map(|name| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        })
        .unwrap_or_else(|| default_level.to_owned());
    let mut filter = EnvFilter::builder().parse_lossy(wanted);
    for directive in NEVER_BELOW_INFO {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    filter
}
