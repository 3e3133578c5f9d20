//! TLS to the database: every `sslmode` on every kind of server, as in libpq. `psql` connects with the
//! same string and must have the same result.

use std::path::Path;
use std::process::Stdio;

use shared::database::{Connection, DatabaseConfig};
use tempfile::TempDir;
use tokio::process::Command;

use support::certificates::{Authority, Signed};
use support::programs;
use support::tls_server::{EVERYBODY, TlsServer};

const MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

/// Tells whether a connection uses TLS.
const USES_TLS: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// The result of an attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Tls,
    Plain,
    Refused(String),
}

impl Outcome {
    /// Its letter in the matrix.
    fn letter(&self) -> char {
        match self {
            Self::Tls => 'T',
            Self::Plain => 'P',
            Self::Refused(_) => '-',
        }
    }

    fn because(&self) -> &str {
        match self {
            Self::Refused(because) => because,
            _ => "",
        }
    }
}

/// A kind of server in the matrix.
struct Column<'a> {
    name: &'static str,
    tls: Option<&'a Signed>,
    /// The rules of `pg_hba.conf`.
    rules: &'a str,
    /// The outcomes in the order of the modes, with the authority in `sslrootcert` and without.
    with_roots: &'static str,
    without_roots: &'static str,
    /// Part of the error if `verify-full` with the authority is refused.
    because: &'static str,
}

async fn ours(string: &str) -> Outcome {
    let config = match DatabaseConfig::parse(string) {
        Ok(config) => config,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    match Connection::open(&config).await {
        Err(error) => Outcome::Refused(error.to_string()),
        Ok(connection) => {
            let row = connection.client().query_typed_one(USES_TLS, &[]).await;
            if row.unwrap().get(0) {
                Outcome::Tls
            } else {
                Outcome::Plain
            }
        }
    }
}

async fn psql(string: &str, home: &Path) -> Outcome {
    let program = programs::psql();
    let output = Command::new(&program.path)
        .args([string, "-X", "-A", "-t", "-c", USES_TLS])
        .env_clear()
        .envs(program.environment.iter().cloned())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // Ignores certificates in the user's home.
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    match String::from_utf8(output.stdout).unwrap().trim() {
        "t" => Outcome::Tls,
        "f" => Outcome::Plain,
        _ => Outcome::Refused(String::from_utf8(output.stderr).unwrap()),
    }
}

/// A folder with certificates in files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        // libpq rejects a key that others can read.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }
}

/// A server with a certificate for a name, and the file with the authority that signed it.
async fn server_for(name: &str) -> (TlsServer, Files, String) {
    let authority = Authority::new("known");
    let files = Files::new();
    let roots = files.write("roots.pem", &authority.certificate);
    let server = TlsServer::start().await;
    let signed = authority.sign(name);
    server.configure(Some(&signed), "", EVERYBODY).await;
    (server, files, roots)
}

#[tokio::test]
async fn every_mode_on_every_server_does_as_libpq_does() {
    let (known, unknown) = (Authority::new("known"), Authority::new("unknown"));
    let files = Files::new();
    let roots = files.write("roots.pem", &known.certificate);
    let right = known.sign("localhost");
    let wrong_name = known.sign("db.example.com");
    let expired = known.sign_expired("localhost");
    let stranger = unknown.sign("localhost");
    let only_plain = EVERYBODY.replace("host ", "hostnossl ");
    let only_tls = EVERYBODY.replace("host ", "hostssl ");

    let columns = [
        Column {
            name: "no TLS",
            tls: None,
            rules: EVERYBODY,
            with_roots: "PPP---",
            without_roots: "PPP---",
            because: "server does not support TLS",
        },
        Column {
            name: "the right name",
            tls: Some(&right),
            rules: EVERYBODY,
            with_roots: "PPTTTT",
            without_roots: "PPTT--",
            because: "",
        },
        Column {
            name: "another name",
            tls: Some(&wrong_name),
            rules: EVERYBODY,
            with_roots: "PPTTT-",
            without_roots: "PPTT--",
            because: "ostname mismatch",
        },
        Column {
            name: "expired",
            tls: Some(&expired),
            rules: EVERYBODY,
            with_roots: "PPP---",
            without_roots: "PPTT--",
            because: "certificate has expired",
        },
        Column {
            name: "unknown authority",
            tls: Some(&stranger),
            rules: EVERYBODY,
            with_roots: "PPP---",
            without_roots: "PPTT--",
            because: "unable to get local issuer",
        },
        Column {
            name: "TLS refused",
            tls: Some(&right),
            rules: &only_plain,
            with_roots: "PPP---",
            without_roots: "PPP---",
            because: "no pg_hba.conf entry",
        },
        Column {
            name: "TLS demanded",
            tls: Some(&right),
            rules: &only_tls,
            with_roots: "-TTTTT",
            without_roots: "-TTT--",
            because: "",
        },
    ];
    let server = TlsServer::start().await;
    for column in columns {
        let Column { name, tls, .. } = column;
        server.configure(tls, "", column.rules).await;
        for (roots, expected) in [
            (Some(&roots), column.with_roots),
            (None, column.without_roots),
        ] {
            let mut found = String::new();
            for mode in MODES {
                let mut string = format!("{} sslmode={mode}", server.parameters());
                if let Some(roots) = roots {
                    string.push_str(&format!(" sslrootcert={roots}"));
                }
                let outcome = ours(&string).await;
                let reference = psql(&string, files.0.path()).await;
                assert_eq!(
                    outcome.letter(),
                    reference.letter(),
                    "{name}, {mode}, {roots:?}: {outcome:?}, but psql: {reference:?}"
                );
                if mode == "verify-full" && roots.is_some() {
                    let shown = outcome.because();
                    assert!(shown.contains(column.because), "{name}: {shown}");
                }
                assert!(!outcome.because().contains("welcome"), "{outcome:?}");
                found.push(outcome.letter());
            }
            assert_eq!(found, expected, "{name}, {roots:?}: {MODES:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_gets_one() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new();
    let roots = files.write("roots.pem", &servers.certificate);
    let visitor = clients.sign("visitor");
    let stranger = servers.sign("visitor");
    let certificate = files.write("visitor.crt", &visitor.certificate);
    let key = files.write("visitor.key", &visitor.key);
    let wrong_certificate = files.write("stranger.crt", &stranger.certificate);
    let wrong_key = files.write("stranger.key", &stranger.key);
    let rules = "hostssl all all all scram-sha-256 clientcert=verify-full";
    let server = TlsServer::start().await;
    server
        .configure(
            Some(&servers.sign("localhost")),
            &clients.certificate,
            rules,
        )
        .await;

    let string = format!(
        "{} sslmode=verify-full sslrootcert={roots}",
        server.parameters()
    );
    let cases = [
        (string.clone(), '-'),
        (format!("{string} sslcert={certificate} sslkey={key}"), 'T'),
        (
            format!("{string} sslcert={wrong_certificate} sslkey={wrong_key}"),
            '-',
        ),
    ];
    for (string, expected) in cases {
        let outcome = ours(&string).await;
        assert_eq!(outcome.letter(), expected, "{string}: {outcome:?}");
        assert_eq!(psql(&string, files.0.path()).await.letter(), expected);
    }

    let encrypted = files.write("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----");
    let outcome = ours(&format!(
        "{string} sslcert={certificate} sslkey={encrypted}"
    ))
    .await;
    assert!(outcome.because().contains("openssl pkcs8"), "{outcome:?}");
}

#[tokio::test]
async fn the_password_can_be_bound_to_the_channel() {
    let (server, files, roots) = server_for("localhost").await;

    let string = format!("{} channel_binding=require", server.parameters());
    for (mode, expected) in [("verify-full", 'T'), ("disable", '-')] {
        let string = format!("{string} sslmode={mode} sslrootcert={roots}");
        let outcome = ours(&string).await;
        assert_eq!(outcome.letter(), expected, "{mode}: {outcome:?}");
        assert_eq!(psql(&string, files.0.path()).await.letter(), expected);
    }
}

#[tokio::test]
async fn direct_tls_negotiation_works_from_version_17() {
    let (server, _files, roots) = server_for("localhost").await;

    let outcome = ours(&format!(
        "{} sslmode=verify-full sslrootcert={roots} sslnegotiation=direct",
        server.parameters()
    ))
    .await;

    let expected = if server.major() >= 17 { 'T' } else { '-' };
    assert_eq!(outcome.letter(), expected, "{outcome:?}");
}

#[tokio::test]
async fn a_host_elsewhere_is_verified_unless_the_string_says_otherwise() {
    let (server, _files, roots) = server_for("db.example.com").await;

    // A remote name with the address of this machine; the name need not be resolvable.
    let elsewhere = server
        .parameters()
        .replace("host=localhost", "host=db.example.com hostaddr=127.0.0.1");
    // Without `sslmode`, TLS is off only if both the name and the address are of this machine.
    let outcome = ours(&elsewhere).await;
    assert!(outcome.because().contains("certificate"), "{outcome:?}");
    let outcome = ours(&format!("{elsewhere} sslrootcert={roots}")).await;
    assert_eq!(outcome, Outcome::Tls);
    let outcome = ours(&format!("{elsewhere} sslrootcert=system")).await;
    assert!(outcome.because().contains("certificate"), "{outcome:?}");
    let outcome = ours(&format!("{elsewhere} sslmode=require")).await;
    assert_eq!(outcome, Outcome::Tls);
}
