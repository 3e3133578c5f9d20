//! Logging: JSON on Lambda, plain lines elsewhere; never content or secrets.

use std::io::IsTerminal;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// The crates whose `debug` and `trace` may be enabled in every program, in addition to its own.
/// All others stop at `info`, whatever is configured: below that, tokio-postgres logs statements
/// with their parameters, and the Lambda runtime logs whole events.
const OURS: [&str; 2] = ["shared", "assistant"];

/// The crate that is never heard, because at every level it quotes conversations: what it cannot read of
/// an answer as errors, prompts and keys below. What fails in it is returned, and logged here.
const NEVER: &str = "genai";

/// Starts logging for a Lambda function: JSON lines, filtered by `AWS_LAMBDA_LOG_LEVEL` or
/// `RUST_LOG` (default `info`). `name` is its package. Calling it again does nothing.
pub fn init_json(name: &str) {
    let subscriber = json_subscriber(&wanted_filter("info"), &[name], std::io::stdout);
    let _ = tracing::subscriber::set_global_default(subscriber);
    // The default hook prints the panic's message, which may have anything formatted into it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a handler panicked");
    }));
}

/// A subscriber that logs as a Lambda function made of these packages does, to any writer.
pub fn json_subscriber<W>(
    directives: &str,
    packages: &[&str],
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_writer(writer);
    filtered(directives, packages).with(layer)
}

/// Starts logging for a person at a terminal, to standard error, filtered by `RUST_LOG` (default
/// `default_level`). `packages` are the program's own. Calling it again does nothing.
pub fn init_plain(default_level: &str, packages: &[&str]) {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let subscriber = filtered(&wanted_filter(default_level), packages).with(layer);
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

/// What is logged, for all layers alike. Filters of single layers depend on what other subscribers of the process
/// want, as tests have them.
fn filtered(
    directives: &str,
    packages: &[&str],
) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + use<> {
    let crates = packages.iter().map(|name| name.replace('-', "_"));
    let ours: Vec<String> = crates.chain(OURS.map(str::to_owned)).collect();
    let is_allowed = filter_fn(move |metadata| {
        let crate_name = metadata.target().split("::").next().unwrap_or_default();
        crate_name != NEVER
            && (*metadata.level() <= Level::INFO || ours.iter().any(|ours| ours == crate_name))
    });
    tracing_subscriber::registry()
        .with(is_allowed)
        .with(wanted(directives))
}

/// Reads levels such as `info` or `warn,shared=debug`, without those that are invalid; only errors if
/// none is left. `EnvFilter` reads the same and more, but with regular expressions.
fn wanted(directives: &str) -> Targets {
    let mut default = None;
    let mut targets = Vec::new();
    let directives = directives.split(',').map(str::trim);
    for directive in directives.filter(|directive| !directive.is_empty()) {
        if let Ok(read) = directive.parse::<Targets>() {
            default = read.default_level().or(default);
            targets.extend(read);
        }
    }
    if targets.is_empty() {
        default = default.or(Some(LevelFilter::ERROR));
    }
    Targets::new()
        .with_default(default.unwrap_or(LevelFilter::OFF))
        .with_targets(targets)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_crate_that_quotes_conversations_is_never_heard() {
        let written = Written::default();
        let writer = written.clone();
        let directives = "trace,genai=trace";
        let subscriber = json_subscriber(directives, &["genai"], move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "genai::adapter::streamer", "canary");
            tracing::debug!(target: "genai", "canary");
            tracing::error!(target: "reqwest", "heard");
        });
        let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("heard") && !log.contains("canary"), "{log}");
    }

    #[test]
    fn levels_are_read_for_all_and_for_single_targets() {
        let debug_in =
            |directives: &str, target: &str| wanted(directives).would_enable(target, &Level::DEBUG);
        assert!(debug_in("debug", "shared"));
        assert!(debug_in("warn, shared=debug", "shared::database"));
        assert!(!debug_in("warn,shared=debug", "chat"));
        assert!(debug_in("TRACE", "chat"));
        for (directives, expected) in [("", true), (" , ", true), ("shared=off", false)] {
            let errors = wanted(directives).would_enable("chat", &Level::ERROR);
            assert_eq!(errors, expected, "{directives}");
            assert!(!wanted(directives).would_enable("chat", &Level::WARN));
        }
    }
}
