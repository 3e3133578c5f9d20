//! The parameters of a connection under libpq's names, from every source: a connection string, a
//! secret, the `PG…` variables.

use std::collections::BTreeMap;

use crate::settings::SettingsError;

/// The supported parameters (libpq documentation, "Parameter Key Words").
const KNOWN: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Parameters for other clients (Prisma, SQLAlchemy, JDBC, node-postgres), and those of libpq that
/// have no effect here. Ignoring them removes no protection.
const IGNORED: &[&str] = &[
    "client_encoding",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "pgbouncer",
    "pool_timeout",
    "prepareThreshold",
    "prepared_statements",
    "schema",
    "sslcompression",
    "sslsni",
    "statement_cache_size",
    "supa",
    "uselibpqcompat",
];

/// Parameters of libpq that are not supported here; errors may name them.
const UNSUPPORTED: &[&str] = &[
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "max_protocol_version",
    "min_protocol_version",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
];

/// The variables that libpq reads, and the parameter each maps to.
const VARIABLES: &[(&str, &str)] = &[
    ("PGAPPNAME", "application_name"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGDATABASE", "dbname"),
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGOPTIONS", "options"),
    ("PGPASSWORD", "password"),
    ("PGPORT", "port"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGUSER", "user"),
];

/// Parameters with their values. No `Debug`: one of them is the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// Reads the parameters from libpq's variables.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut parameters = Self::default();
        for (name, parameter) in VARIABLES {
            if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
                parameters.0.insert(parameter, value);
            }
        }
        parameters
    }

    /// Whether such a parameter exists, supported or not.
    #[must_use]
    pub fn is_known(name: &str) -> bool {
        [KNOWN, IGNORED, UNSUPPORTED].concat().contains(&name)
    }

    /// Sets a parameter of a connection string; the last value for a name wins.
    ///
    /// # Errors
    /// [`SettingsError`] for an unsupported parameter: it may be there to protect something.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingsError> {
        if let Some(known) = KNOWN.iter().find(|known| **known == name) {
            self.insert(known, value);
            return Ok(());
        }
        if IGNORED.contains(&name) {
            tracing::warn!(
                parameter = name,
                "ignoring a connection parameter for other clients"
            );
            return Ok(());
        }
        let nameable = |character: char| character.is_ascii_alphabetic() || character == '_';
        Err(SettingsError::new(if name.chars().all(nameable) {
            format!("the parameter {name} is not supported")
        } else {
            "has a parameter with an invalid name; percent-encode special characters in the \
             password"
                .into()
        }))
    }

    /// Takes the parameters that are not set here from `others`.
    pub fn fill_from(&mut self, others: &Self) {
        for (name, value) in &others.0 {
            self.0.entry(name).or_insert_with(|| value.clone());
        }
    }

    /// The value of a parameter, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All parameters, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The values of a parameter that holds one for each host.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.get(name)
            .map(|values| values.split(',').map(str::trim).collect())
            .unwrap_or_default()
    }

    /// As in libpq, an empty value counts as unset.
    pub(super) fn insert(&mut self, name: &'static str, value: &str) {
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name, value.to_owned());
        }
    }
}
