//! The database configuration, read from the environment once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::connection_string;
use super::error::DatabaseError;
use super::limits::{self, Limits};
use super::parameters::Parameters;
use super::secret;
use super::target::{Auth, Target};
use super::tls::SslMode;
use crate::aws;
use crate::settings::{self, SettingsError};

/// How we authenticate: `password` or `iam`.
const DATABASE_AUTH: &str = "DATABASE_AUTH";

/// The pause after fetching a secret that had nothing new: otherwise a wrong password would cost
/// one call for each request.
const SECRET_PAUSE: Duration = Duration::from_secs(5);

/// A database to connect to. Clones share what the secret said.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// The parameters of the connection string, which take precedence.
    given: Parameters,
    /// The parameters from libpq's variables, which come after the secret's.
    fallback: Parameters,
    secret: Option<Secret>,
    auth: Auth,
    limits: Limits,
    /// The target made from the secret as last fetched; without a secret, set from the start.
    target: Arc<Mutex<Option<Arc<Target>>>>,
}

#[derive(Clone)]
struct Secret {
    arn: String,
    /// When it was last fetched without finding anything new.
    unchanged: Arc<Mutex<Option<Instant>>>,
}

impl DatabaseConfig {
    /// The variable with the connection string.
    pub const URL: &str = "DATABASE_URL";

    /// The variable with the ARN of a secret that holds the credentials or the connection string.
    pub const SECRET_ARN: &str = "DATABASE_SECRET_ARN";

    /// The variable with the number of connections.
    pub const CONNECTIONS: &str = limits::CONNECTIONS;

    /// Reads the environment; see [`Self::read`].
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(Self::URL, |name| std::env::var(name).ok())
    }

    /// Reads the variable `url_name` with the connection string, `DATABASE_SECRET_ARN`,
    /// `DATABASE_AUTH`, the limits, and libpq's variables (`PGHOST`, …). The connection string
    /// takes precedence, then the secret, then the variables. A secret is fetched on first use.
    ///
    /// # Errors
    /// [`SettingsError`] when no database is named or a value is invalid.
    pub fn read(
        url_name: &'static str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let text = |name| settings::text(&variable, name);
        let given = match text(url_name) {
            None => Parameters::default(),
            Some(url) => connection_string::parse(&url).map_err(about(url_name))?,
        };
        let fallback = Parameters::from_variables(&variable);
        let secret = text(Self::SECRET_ARN).map(|arn| Secret {
            arn,
            unchanged: Arc::default(),
        });
        if secret.is_none() && given == Parameters::default() && fallback.get("host").is_none() {
            return Err(SettingsError::new(format!(
                "{url_name} is not set; set it to a connection string such as \
                 postgresql://user:password@host:5432/database, or {} to a secret \
                 that holds one",
                Self::SECRET_ARN
            )));
        }
        let auth = match text(DATABASE_AUTH).as_deref() {
            None | Some("password") => Auth::Password,
            Some("iam") => Auth::Iam,
            Some(_) => {
                return Err(SettingsError::new(format!(
                    "{DATABASE_AUTH} must be password or iam"
                )));
            }
        };
        let mut settled = given.clone();
        settled.fill_from(&fallback);
        let limits = Limits::read(&settled, &variable)?;
        let config = Self {
            given,
            fallback,
            secret,
            auth,
            limits,
            target: Arc::default(),
        };
        if config.secret.is_none() {
            config.resolve(None).map_err(about(url_name))?;
        }
        Ok(config)
    }

    /// Reads a connection string, as a URL or as `key=value` pairs, and no variables.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        Self::read(Self::URL, |name| {
            (name == Self::URL).then(|| text.to_owned())
        })
    }

    /// How many connections there may be, and their timeouts.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether users log in with an IAM token.
    #[must_use]
    pub fn logs_in_by_iam(&self) -> bool {
        self.auth == Auth::Iam
    }

    /// How the connection is protected; `None` while the secret that says so has not been fetched.
    #[must_use]
    pub fn ssl_mode(&self) -> Option<SslMode> {
        self.known_target().map(|target| target.ssl_mode())
    }

    /// The hosts and the database, for people to recognise; no user, no password.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.known_target().map_or_else(
            || "the database in the secret".to_owned(),
            |target| target.display_name(),
        )
    }

    /// Whether verifying the server needs the system's certificates; true while the secret that says so
    /// has not been fetched.
    #[must_use]
    pub fn uses_system_roots(&self) -> bool {
        self.known_target()
            .is_none_or(|target| target.uses_system_roots())
    }

    /// Builds the TLS connector now, if it is known which. One that cannot be built is an error when it
    /// is used.
    pub(crate) fn prepare_tls(&self) {
        if let Some(target) = self.known_target()
            && target.ssl_mode() != SslMode::Disable
        {
            let _ = target.connector();
        }
    }

    /// The target to connect to; fetches the secret if that has not been done yet.
    pub(super) async fn target(&self) -> Result<Arc<Target>, DatabaseError> {
        match (self.known_target(), &self.secret) {
            (Some(target), _) => Ok(target),
            (None, Some(secret)) => self.fetch(secret).await,
            (None, None) => self.resolve(None).map_err(DatabaseError::config),
        }
    }

    /// The target to connect to after the server rejected the password of `refused`: the one the
    /// secret describes now, if its credentials differ.
    pub(super) async fn renewed_target(
        &self,
        refused: &Arc<Target>,
    ) -> Result<Option<Arc<Target>>, DatabaseError> {
        let Some(secret) = &self.secret else {
            return Ok(None);
        };
        // Another caller has already fetched it.
        if let Some(known) = self
            .known_target()
            .filter(|known| !Arc::ptr_eq(known, refused))
        {
            return Ok(Some(known));
        }
        if locked(&secret.unchanged).is_some_and(|at| at.elapsed() < SECRET_PAUSE) {
            return Ok(None);
        }
        let fetched = self.fetch(secret).await;
        let is_new = |target: &Arc<Target>| !target.has_credentials_of(refused);
        let changed = fetched.as_ref().is_ok_and(is_new);
        *locked(&secret.unchanged) = (!changed).then(Instant::now);
        Ok(changed.then_some(fetched?))
    }

    async fn fetch(&self, secret: &Secret) -> Result<Arc<Target>, DatabaseError> {
        let text = aws::secret(&secret.arn).await.map_err(SettingsError::new);
        text.and_then(|text| self.resolve(Some(&text)))
            .map_err(about(Self::SECRET_ARN))
            .map_err(DatabaseError::config)
    }

    /// Builds the target from all sources and keeps it.
    fn resolve(&self, secret: Option<&str>) -> Result<Arc<Target>, SettingsError> {
        let mut parameters = self.given.clone();
        if let Some(secret) = secret {
            parameters.fill_from(&secret::parse(secret)?);
        }
        parameters.fill_from(&self.fallback);
        let target = Arc::new(Target::new(&parameters, self.auth, &self.limits)?);
        *locked(&self.target) = Some(Arc::clone(&target));
        Ok(target)
    }

    fn known_target(&self) -> Option<Arc<Target>> {
        locked(&self.target).clone()
    }
}

impl std::fmt::Debug for DatabaseConfig {
    /// Without the connection string: it holds the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DatabaseConfig")
            .field("ssl_mode", &self.ssl_mode())
            .finish_non_exhaustive()
    }
}

fn about(variable: &'static str) -> impl Fn(SettingsError) -> SettingsError {
    move |error| error.of(variable)
}

/// The value behind a lock that is never held across code that can fail.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE_URL: &str = DatabaseConfig::URL;
    const DATABASE_SECRET_ARN: &str = DatabaseConfig::SECRET_ARN;

    fn read(variables: &[(&str, &str)]) -> Result<DatabaseConfig, SettingsError> {
        DatabaseConfig::read(DATABASE_URL, |name| {
            let variable = variables.iter().find(|(known, _)| *known == name);
            variable.map(|(_, value)| (*value).to_owned())
        })
    }

    fn mode(text: &str) -> SslMode {
        let config = DatabaseConfig::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        config.ssl_mode().expect("there is no secret")
    }

    #[test]
    fn a_host_elsewhere_is_verified_and_this_machine_may_be_plain() {
        let cases = [
            ("postgresql://u:p@db.example.com/chat", SslMode::VerifyFull),
            ("postgres://u:p@10.0.0.7/chat", SslMode::VerifyFull),
            ("host=db.example.com user=u", SslMode::VerifyFull),
            ("postgresql://u:p@localhost:5432/chat", SslMode::Disable),
            ("postgresql://u:p@127.0.0.1/chat", SslMode::Disable),
            ("postgresql://u:p@[::1]:5432/chat", SslMode::Disable),
            ("postgresql://u:p@[2001:db8::1]/chat", SslMode::VerifyFull),
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
                "postgresql://u@localhost/chat?sslmode=verify-ca&sslrootcert=/ca.pem",
                SslMode::VerifyCa,
            ),
            (
                "postgresql://u@localhost/chat?sslrootcert=system",
                SslMode::VerifyFull,
            ),
            (
                "postgresql://u@db.example.com/chat?sslmode=require",
                SslMode::Require,
            ),
            (
                "postgresql://u@db.example.com/chat?ssl=true",
                SslMode::Require,
            ),
            (
                "host=db.example.com user=u sslmode = 'disable'",
                SslMode::Disable,
            ),
            ("host=db.example.com user=u sslmode=allow", SslMode::Allow),
            ("host=db.example.com user=u sslmode=prefer", SslMode::Prefer),
        ];
        for (text, expected) in cases {
            assert_eq!(mode(text), expected, "{text}");
        }
    }

    #[test]
    fn strings_as_the_providers_hand_them_out_are_taken() {
        let strings = [
            "postgresql://postgres:password@localhost:5432/daissy_ai",
            "postgres://user:password@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1",
            "postgresql://username:password@x.abc.eu-west-1.rds.amazonaws.com:5432/name",
            "postgresql://user%40server:password@server.postgres.database.azure.com:5432/name?sslmode=require",
            "postgresql://u:p@ep-x-1-pooler.eu-central-1.aws.neon.tech/db?sslmode=require&channel_binding=require",
            "postgresql://postgres.ref:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?pgbouncer=true&connection_limit=1",
            "postgresql://u:p@h1:5432,h2:5433/db?target_session_attrs=read-write&load_balance_hosts=random",
            "postgresql://u:p@a.b.eu-west-1.rds.amazonaws.com/d?sslmode=verify-ca",
            "postgresql://u@h/d?sslmode=verify-ca&sslrootcert=rds",
            "postgresql://u:p@h/db?options=-c%20search_path%3Dchat&application_name=me",
            "host=h port=6432 dbname=db user=u password='it\\'s' connect_timeout=10 keepalives_count=3",
            "postgresql:///db?host=/var/run/postgresql",
            "postgresql://u:p@h/db?sslnegotiation=direct&sslmode=require\n",
            "postgresql://u@h/db?sslcert=/c.pem&sslkey=/k.pem&ssl_min_protocol_version=TLSv1.3",
            "postgresql://u@h/db?tcp_user_timeout=5000&gssencmode=disable&sslrootcert=rds",
        ];
        for text in strings {
            assert!(DatabaseConfig::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_the_password_is_not() {
        let cases = [
            ("mysql://u:secret@h/d", "not a connection string"),
            (
                "postgresql+asyncpg://u:secret@h/d",
                "not a connection string",
            ),
            ("u:secret@h/d", "not a connection string"),
            (
                "postgresql://u:secret@h/d?sslmode=secret",
                "sslmode must be one of",
            ),
            ("postgresql://u:secret@h/d?sslmode=no-verify", "verify-full"),
            (
                "postgresql://u:secret@h/d?colour=blue",
                "the parameter colour",
            ),
            (
                "postgresql://u:secret@h/d?require_auth=scram-sha-256",
                "require_auth",
            ),
            ("postgresql://u:secret@h/d?x", "no ="),
            ("postgresql://u:secret@h:port/d", "port"),
            ("postgresql://u:secret@h:99999/d", "port"),
            ("postgresql://u:secret@[::1/d", "["),
            ("user=u password=secret", "names no host"),
            ("host=h password='secret", "no end"),
            ("postgresql://u:p@secret@h/d", "%40"),
            ("postgresql://u:secret%zz@h/d", "the password has a %"),
            ("postgresql://u:sec/ret@h/d", "port"),
            ("postgresql://u:pa/secret?secret=x@h", "port"),
            ("postgresql://u:123/secret@h.example/db", "%2F"),
            ("postgresql://u:123/abc?secret=2@h/db", "%2F"),
            ("postgresql://u:p@h/d?application_name=%zz", "value has a %"),
            ("host=h password=p secret=x", "white space"),
            ("host=h sslcrl=/crl.pem", "sslcrl"),
            ("hostaddr=10.0.0.1 password=secret", "host as well"),
            ("host=/run/postgresql,db.example.com user=u", "sockets"),
            (
                "postgresql://u:secret@a,b:1,c/d?hostaddr=10.0.0.1",
                "hostaddr",
            ),
            ("host=a,b,c port=1,2 password=secret", "port"),
            (
                "postgresql://u:secret@h/d?connect_timeout=soon",
                "connect_timeout",
            ),
            (
                "postgresql://u:secret@h/d?target_session_attrs=standby",
                "read-only",
            ),
            (
                "postgresql://u:secret@h/d?sslmode=require&sslrootcert=system",
                "verify-full",
            ),
            (
                "postgresql://u:secret@h/d?sslmode=prefer&sslnegotiation=direct",
                "sslnegotiation",
            ),
            ("postgresql://u:secret@h/d?sslcert=/c.pem", "sslkey"),
            ("postgresql://u:/secret@h/d", "%2F"),
            ("postgresql://u:1/secret@h/d", "%2F"),
            ("postgresql://u:a@b/secret@h/d", "%2F"),
            ("postgresql://u:1/a?secret=2@h/d", "%2F"),
            ("postgresql://u:a@b/c?secret=2@h/d", "%2F"),
            ("postgresql://u:secret@h/d?sslmode=verify-ca", "sslrootcert"),
            (
                "postgresql://u:secret@p.proxy-a.eu-west-1.rds.amazonaws.com/d?sslmode=verify-ca",
                "verify-full",
            ),
            (
                "postgresql://u:secret@p.proxy-a.eu-west-1.rds.amazonaws.com/d?sslmode=verify-ca&sslrootcert=rds",
                "verify-full",
            ),
            (
                "postgresql://u:secret@p.proxy-a.eu-west-1.rds.amazonaws.com/d?sslmode=require&sslrootcert=rds",
                "verify-full",
            ),
        ];
        for (text, expected) in cases {
            let error = DatabaseConfig::parse(text)
                .err()
                .map(|error| error.to_string());
            let error = error.unwrap_or_else(|| panic!("{text} is taken"));
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{text}: {error}");
            assert!(!error.contains("ret@"), "{text}: {error}");
        }
    }

    #[test]
    fn the_variables_of_libpq_fill_in_what_the_string_leaves_out() {
        let config = read(&[
            ("PGHOST", "db.example.com"),
            ("PGDATABASE", "chat"),
            ("PGSSLMODE", "require"),
        ])
        .unwrap();
        assert_eq!(config.display_name(), "chat on db.example.com");
        assert_eq!(config.ssl_mode(), Some(SslMode::Require));

        let config = read(&[
            (DATABASE_URL, "postgresql://one.example.com/"),
            ("PGHOST", "other.example.com"),
            ("PGDATABASE", "chat"),
        ])
        .unwrap();
        assert_eq!(config.display_name(), "chat on one.example.com");
    }

    #[test]
    fn a_database_that_is_not_named_is_an_error() {
        for variables in [&[][..], &[(DATABASE_URL, "  ")][..], &[("PGUSER", "u")][..]] {
            let error = read(variables).unwrap_err().to_string();
            assert!(error.contains("DATABASE_URL is not set"), "{error}");
        }
        assert!(read(&[(DATABASE_SECRET_ARN, "arn:aws:secretsmanager:x")]).is_ok());
    }

    #[test]
    fn iam_is_refused_where_the_token_would_not_be_safe() {
        let cases = [
            ("postgresql://u@h/d", None),
            ("postgresql://u@h/d?sslmode=require", Some("sslmode")),
            ("postgresql://u@h/d?sslmode=verify-ca", Some("sslrootcert")),
            (
                "postgresql://u@h/d?sslmode=verify-ca&sslrootcert=/ca.pem",
                None,
            ),
            ("postgresql://u@h/d?sslmode=prefer", Some("sslmode")),
            ("postgresql://u@localhost/d", Some("sslmode")),
            ("postgresql://u@h,i/d", Some("one host")),
            ("postgresql://h/d", Some("user")),
            (
                "postgresql://u@h/d?channel_binding=require",
                Some("channel_binding"),
            ),
        ];
        for (url, expected) in cases {
            let read = read(&[(DATABASE_URL, url), (DATABASE_AUTH, "iam")]);
            let error = read.err().map(|error| error.to_string());
            match (&error, expected) {
                (None, None) => {}
                (Some(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
                _ => panic!("{url}: {error:?}"),
            }
        }
        assert!(
            read(&[
                (DATABASE_URL, "postgresql://u@h/d"),
                (DATABASE_AUTH, "magic")
            ])
            .is_err()
        );
    }

    #[test]
    fn the_systems_certificates_are_read_only_where_they_are_needed() {
        let rds = "postgresql://u@db.abc.eu-west-1.rds.amazonaws.com/d";
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[(DATABASE_URL, rds)], false),
            (&[(DATABASE_URL, "postgresql://u@localhost/d")], false),
            (
                &[(DATABASE_URL, "postgresql://u@h/d?sslmode=require")],
                false,
            ),
            (
                &[(DATABASE_URL, "postgresql://u@h/d?sslrootcert=/ca.pem")],
                false,
            ),
            (&[(DATABASE_URL, "postgresql://u@h/d")], true),
            (&[(DATABASE_URL, rds), (DATABASE_SECRET_ARN, "arn")], true),
            (&[(DATABASE_URL, rds), (DATABASE_AUTH, "iam")], false),
            (&[(DATABASE_SECRET_ARN, "arn")], true),
        ];
        for (variables, expected) in cases {
            let config = read(variables).unwrap();
            assert_eq!(config.uses_system_roots(), *expected, "{variables:?}");
        }
    }

    #[test]
    fn a_process_has_one_connection_unless_it_serves_several_requests_at_once() {
        let connections = |variables: &[(&str, &str)]| {
            let config = read(&[&[(DATABASE_URL, "postgresql://u@h/d")], variables].concat());
            config.map(|config| config.limits().connections)
        };
        let cases: &[(&[(&str, &str)], usize)] = &[
            (&[], 1),
            (&[("AWS_LAMBDA_MAX_CONCURRENCY", "1")], 1),
            (&[("AWS_LAMBDA_MAX_CONCURRENCY", "4")], 4),
            (&[("AWS_LAMBDA_MAX_CONCURRENCY", "64")], 8),
            (&[("AWS_LAMBDA_MAX_CONCURRENCY", "many")], 1),
            (&[("DATABASE_CONNECTIONS", "20")], 20),
            (
                &[
                    ("AWS_LAMBDA_MAX_CONCURRENCY", "64"),
                    ("DATABASE_CONNECTIONS", "2"),
                ],
                2,
            ),
        ];
        for (variables, expected) in cases {
            assert_eq!(connections(variables).unwrap(), *expected, "{variables:?}");
        }
        for text in ["0", "101", "-1", "all"] {
            let error = connections(&[("DATABASE_CONNECTIONS", text)]).unwrap_err();
            let expected = "DATABASE_CONNECTIONS must be a whole number from 1 to 100";
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn limits_have_defaults_and_stay_below_the_time_of_a_request() {
        let seconds = |variables: &[(&str, &str)]| {
            let config = read(&[&[(DATABASE_URL, "postgresql://u@h/d")], variables].concat());
            config.map(|config| {
                let limits = config.limits();
                (limits.connect.as_secs(), limits.statement.as_secs())
            })
        };
        assert_eq!(seconds(&[]).unwrap(), (3, 4));
        let given = [
            ("DATABASE_CONNECT_TIMEOUT_SECONDS", "5"),
            ("DATABASE_STATEMENT_TIMEOUT_SECONDS", "10"),
        ];
        assert_eq!(seconds(&given).unwrap(), (5, 10));
        assert_eq!(seconds(&[("PGCONNECT_TIMEOUT", "7")]).unwrap(), (7, 4));
        assert!(seconds(&[("DATABASE_STATEMENT_TIMEOUT_SECONDS", "0")]).is_err());
        assert!(seconds(&[("DATABASE_IDLE_CHECK_SECONDS", "soon")]).is_err());
        let together = [
            ("DATABASE_CONNECT_TIMEOUT_SECONDS", "15"),
            ("DATABASE_STATEMENT_TIMEOUT_SECONDS", "15"),
        ];
        let error = seconds(&together).unwrap_err().to_string();
        assert!(error.contains("26 s at most together"), "{error}");
    }
}
