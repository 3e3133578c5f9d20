//! Connection strings as libpq users write them, of which tokio-postgres understands a part.
//!
//! `sslmode` and `sslrootcert` are read here, because tokio-postgres refuses the verifying modes;
//! what is left is handed on. Errors name the parameter and never quote a value.

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use super::config::DatabaseConfigError;
use super::tls::SslMode;

/// Parameters meant for other clients, which change nothing here.
const IGNORED: &[&str] = &["pgbouncer", "schema", "connection_limit", "pool_timeout"];

/// A connection string, understood.
#[derive(Debug)]
pub struct ConnectionString {
    /// Everything tokio-postgres understands.
    pub postgres: tokio_postgres::Config,
    /// The given mode, or the default for the host.
    pub ssl_mode: SslMode,
    /// The file of `sslrootcert`.
    pub root_certificates: Option<PathBuf>,
}

/// Reads a connection string in either form.
///
/// # Errors
/// [`DatabaseConfigError`].
pub fn parse(text: &str) -> Result<ConnectionString, DatabaseConfigError> {
    let text = text.trim();
    let mut ours = OurParameters::default();
    let rest = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        take_from_url(text, &mut ours)?
    } else {
        take_from_pairs(text, &mut ours)?
    };

    let postgres: tokio_postgres::Config =
        rest.parse().map_err(|error: tokio_postgres::Error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            DatabaseConfigError(if cause.is_empty() || cause == "unexpected EOF" {
                "not a connection string such as postgresql://user:password@host:5432/database"
                    .into()
            } else {
                cause
            })
        })?;
    let has_at_sign = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
    if postgres.get_hosts().iter().any(has_at_sign) {
        return Err(DatabaseConfigError(
            "the host has an @ in it; write an @ in the password as %40".into(),
        ));
    }
    if postgres.get_hosts().is_empty() && postgres.get_hostaddrs().is_empty() {
        return Err(DatabaseConfigError("names no host".into()));
    }
    let ssl_mode = ours.ssl_mode.unwrap_or(if is_this_machine(&postgres) {
        SslMode::Disable
    } else {
        SslMode::VerifyFull
    });
    Ok(ConnectionString {
        postgres,
        ssl_mode,
        root_certificates: ours.root_certificates,
    })
}

#[derive(Debug, Default)]
struct OurParameters {
    ssl_mode: Option<SslMode>,
    root_certificates: Option<PathBuf>,
}

impl OurParameters {
    /// Takes a parameter that is ours; says whether it was.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, DatabaseConfigError> {
        match name {
            "sslmode" => {
                self.ssl_mode = Some(SslMode::parse(value).ok_or_else(|| {
                    DatabaseConfigError(
                        "sslmode must be one of disable, allow, prefer, require, verify-ca, \
                         verify-full"
                            .into(),
                    )
                })?);
                Ok(true)
            }
            "sslrootcert" => {
                self.root_certificates = (value != "system").then(|| PathBuf::from(value));
                Ok(true)
            }
            _ if IGNORED.contains(&name) => {
                tracing::warn!(parameter = name, "a connection parameter for other clients");
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

fn take_from_url(url: &str, ours: &mut OurParameters) -> Result<String, DatabaseConfigError> {
    // A question mark before the last `@` is part of a password that was not percent-encoded.
    let credentials_end = url.rfind('@').unwrap_or_default();
    let Some(question_mark) = url[credentials_end..]
        .find('?')
        .map(|at| at + credentials_end)
    else {
        return Ok(url.to_owned());
    };
    let mut kept = Vec::new();
    for pair in url[question_mark + 1..]
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy();
        if !ours.take(name, &value)? {
            kept.push(pair);
        }
    }
    let base = &url[..question_mark];
    Ok(if kept.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", kept.join("&"))
    })
}

fn take_from_pairs(text: &str, ours: &mut OurParameters) -> Result<String, DatabaseConfigError> {
    let mut kept = String::new();
    for pair in split_pairs(text) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.trim().trim_matches('\'');
        if !ours.take(name.trim(), value)? {
            kept.push_str(pair);
            kept.push(' ');
        }
    }
    Ok(kept)
}

/// Splits at white space outside quotes; a backslash keeps the next character from ending anything.
fn split_pairs(text: &str) -> Vec<&str> {
    let (mut pairs, mut start, mut quoted, mut escaped) = (Vec::new(), None, false, false);
    for (at, character) in text.char_indices() {
        if character.is_whitespace() && !quoted && !escaped {
            pairs.extend(start.take().map(|start| &text[start..at]));
            continue;
        }
        start.get_or_insert(at);
        quoted ^= character == '\'' && !escaped;
        escaped = character == '\\' && !escaped;
    }
    pairs.extend(start.map(|start| &text[start..]));
    pairs
}

/// Whether every host is this machine, where nobody listens in between.
fn is_this_machine(config: &tokio_postgres::Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
    }) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_elsewhere_is_verified_and_this_machine_may_be_plain() {
        let cases = [
            ("postgresql://u:p@db.example.com/chat", SslMode::VerifyFull),
            ("postgres://u:p@10.0.0.7/chat", SslMode::VerifyFull),
            ("host=db.example.com user=u", SslMode::VerifyFull),
            ("postgresql://u:p@localhost:5432/chat", SslMode::Disable),
            ("postgresql://u:p@127.0.0.1/chat", SslMode::Disable),
            ("host=/var/run/postgresql user=u", SslMode::Disable),
            (
                "postgresql://u:p@localhost,db.example.com/chat",
                SslMode::VerifyFull,
            ),
            (
                "host=localhost hostaddr=10.0.0.7 user=u",
                SslMode::VerifyFull,
            ),
            (
                "postgresql://u:p@localhost/chat?sslmode=verify-ca",
                SslMode::VerifyCa,
            ),
            (
                "postgresql://u:p@db.example.com/chat?sslmode=require",
                SslMode::Require,
            ),
            (
                "host=db.example.com user=u sslmode = 'disable'",
                SslMode::VerifyFull,
            ),
            (
                "host=db.example.com user=u sslmode='disable'",
                SslMode::Disable,
            ),
        ];
        for (text, expected) in cases {
            if text.contains(" = ") {
                assert!(parse(text).is_err(), "{text}");
            } else {
                assert_eq!(parse(text).unwrap().ssl_mode, expected, "{text}");
            }
        }
    }

    #[test]
    fn what_is_ours_is_taken_out_and_the_rest_is_kept() {
        let parsed = parse(
            " postgresql://u:p%40ss@db.example.com:6543/chat?pgbouncer=true&sslrootcert=%2Fca.pem\
             &sslmode=verify-full&application_name=me\n",
        )
        .unwrap();
        assert_eq!(parsed.root_certificates, Some(PathBuf::from("/ca.pem")));
        assert_eq!(parsed.postgres.get_application_name(), Some("me"));
        assert_eq!(parsed.postgres.get_password(), Some(b"p@ss".as_slice()));
        assert_eq!(parsed.postgres.get_dbname(), Some("chat"));
        assert_eq!(parsed.postgres.get_ports(), [6543]);
    }

    #[test]
    fn what_is_wrong_is_named_and_the_password_is_not() {
        let cases = [
            ("", "names no host"),
            ("mysql://u:secret@h/d", "not a connection string"),
            (
                "postgresql://u:secret@h/d?sslmode=secret",
                "sslmode must be one of",
            ),
            ("postgresql://u:secret@h/d?colour=blue", "colour"),
            ("postgresql://u:secret@h:port/d", "port"),
            ("user=u password=secret", "names no host"),
            ("postgresql://u:p@secret@h/d", "%40"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{text}: {error}");
        }
    }
}
