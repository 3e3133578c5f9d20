//! A connection target: parameters, parsed and validated.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use postgres_native_tls::MakeTlsConnector;
use tokio_postgres::Config;
use tokio_postgres::config::{
    ChannelBinding, LoadBalanceHosts, SslMode as PostgresSslMode, SslNegotiation,
    TargetSessionAttrs,
};

use super::error::DatabaseError;
use super::iam;
use super::limits::Limits;
use super::parameters::Parameters;
use super::tls::{SslMode, TlsSettings, Transport};
use crate::settings::SettingsError;

/// The port of PostgreSQL.
pub(super) const DEFAULT_PORT: u16 = 5432;

/// How we authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// A password, a certificate, or the server's trust.
    Password,
    /// An AWS IAM token, a new one for each connection.
    Iam,
}

/// A connection target.
pub struct Target {
    config: Config,
    hosts: Vec<String>,
    auth: Auth,
    tls: TlsSettings,
    /// Built on first use.
    connector: OnceLock<MakeTlsConnector>,
}

impl Target {
    /// Parses and validates parameters.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(
        parameters: &Parameters,
        auth: Auth,
        limits: &Limits,
    ) -> Result<Self, SettingsError> {
        let mut config = Config::new();
        config
            .application_name("daissy")
            .keepalives_idle(limits.keepalive)
            .tcp_user_timeout(limits.tcp_user);
        let hosts: Vec<String> = parameters
            .list("host")
            .into_iter()
            .map(Into::into)
            .collect();
        set_addresses(&mut config, parameters, &hosts)?;
        for (name, value) in parameters.iter() {
            set(&mut config, name, value)?;
        }
        // Otherwise a host that swallows packets would use up the time of those after it.
        let attempts = u32::try_from(hosts.len().max(1)).unwrap_or(u32::MAX);
        config.connect_timeout(limits.connect / attempts);

        let tls = TlsSettings::read(parameters, &hosts, is_this_machine(parameters))?;
        if tls.direct {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        if auth == Auth::Iam {
            check_iam(&config, &hosts, tls.mode)?;
        }
        Ok(Self {
            config,
            hosts,
            auth,
            tls,
            connector: OnceLock::new(),
        })
    }

    /// How the connection is protected.
    #[must_use]
    pub fn ssl_mode(&self) -> SslMode {
        self.tls.mode
    }

    /// The attempts to make, in order. As in libpq, TLS is never used over a Unix socket.
    pub(super) fn attempts(&self) -> &'static [Transport] {
        if self.hosts.iter().any(|host| is_socket(host)) {
            return SslMode::Disable.attempts();
        }
        self.tls.mode.attempts()
    }

    /// Whether both targets would present the same credentials to the server.
    pub(super) fn has_credentials_of(&self, other: &Self) -> bool {
        let credentials = |target: &Self| {
            let password = target.config.get_password().map(<[u8]>::to_vec);
            (target.config.get_user().map(str::to_owned), password)
        };
        credentials(self) == credentials(other)
    }

    /// Whether verifying the server needs the system's root certificates.
    #[must_use]
    pub fn uses_system_roots(&self) -> bool {
        self.tls.uses_system_roots()
    }

    /// The hosts and the database, for people to recognise; no user, no password.
    #[must_use]
    pub fn display_name(&self) -> String {
        let database = self.config.get_dbname().unwrap_or("the user's database");
        format!("{database} on {}", self.hosts.join(", "))
    }

    /// The configuration for connecting by `transport`, with a fresh token if one is needed.
    ///
    /// # Errors
    /// [`DatabaseError`] when a token is needed and cannot be made.
    pub(super) async fn config(&self, transport: Transport) -> Result<Config, DatabaseError> {
        let mut config = self.config.clone();
        config.ssl_mode(match transport {
            Transport::Plain => PostgresSslMode::Disable,
            Transport::Tls => PostgresSslMode::Require,
        });
        if self.auth == Auth::Iam {
            let host = self.hosts.first().map_or("", String::as_str);
            let port = self
                .config
                .get_ports()
                .first()
                .copied()
                .unwrap_or(DEFAULT_PORT);
            let user = self.config.get_user().unwrap_or_default();
            let token = iam::token(host, port, user).await;
            config.password(token.map_err(|sentence| DatabaseError::credentials(&sentence))?);
        }
        Ok(config)
    }

    /// The connector for TLS.
    ///
    /// # Errors
    /// [`DatabaseError`] when a certificate file cannot be used.
    pub(super) fn connector(&self) -> Result<MakeTlsConnector, DatabaseError> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector.clone());
        }
        let connector = self.tls.connector().map_err(DatabaseError::config)?;
        Ok(self.connector.get_or_init(|| connector).clone())
    }
}

/// Hosts, addresses and ports are lists of the same length; a single port applies to all hosts.
fn set_addresses(
    config: &mut Config,
    parameters: &Parameters,
    hosts: &[String],
) -> Result<(), SettingsError> {
    let (addresses, ports) = (parameters.list("hostaddr"), parameters.list("port"));
    if hosts.is_empty() && addresses.is_empty() {
        return refuse("names no host");
    }
    if hosts.is_empty() {
        return refuse("hostaddr needs host as well: the name in the server's certificate");
    }
    let sockets = hosts.iter().filter(|host| is_socket(host)).count();
    if sockets > 0 && sockets < hosts.len() {
        return refuse("Unix sockets and hosts cannot be combined");
    }
    if hosts.iter().any(String::is_empty) {
        return refuse("one of the hosts is empty");
    }
    if !addresses.is_empty() && addresses.len() != hosts.len() {
        return refuse("hostaddr must list one address for each host");
    }
    if ports.len() > 1 && ports.len() != hosts.len() {
        return refuse("port must be a single port, or one for each host");
    }
    for host in hosts {
        config.host(host);
    }
    for address in addresses {
        config.hostaddr(parse("hostaddr", "an IP address", address)?);
    }
    for port in ports {
        config.port(match port {
            "" => DEFAULT_PORT,
            port => parse("port", "a number from 1 to 65535", port)?,
        });
    }
    Ok(())
}

fn set(config: &mut Config, name: &str, value: &str) -> Result<(), SettingsError> {
    match name {
        "application_name" => {
            config.application_name(value);
        }
        "channel_binding" => {
            config.channel_binding(match value {
                "disable" => ChannelBinding::Disable,
                "prefer" => ChannelBinding::Prefer,
                "require" => ChannelBinding::Require,
                _ => return refuse("channel_binding must be disable, prefer or require"),
            });
        }
        "dbname" => {
            config.dbname(value);
        }
        "keepalives" => {
            config.keepalives(parse::<u8>(name, "0 or 1", value)? != 0);
        }
        "keepalives_count" => {
            config.keepalives_retries(parse(name, "a number", value)?);
        }
        "keepalives_idle" => {
            config.keepalives_idle(Duration::from_secs(parse(name, "seconds", value)?));
        }
        "keepalives_interval" => {
            config.keepalives_interval(Duration::from_secs(parse(name, "seconds", value)?));
        }
        "load_balance_hosts" => {
            config.load_balance_hosts(match value {
                "disable" => LoadBalanceHosts::Disable,
                "random" => LoadBalanceHosts::Random,
                _ => return refuse("load_balance_hosts must be disable or random"),
            });
        }
        "options" => {
            config.options(value);
        }
        "password" => {
            config.password(value);
        }
        "target_session_attrs" => {
            config.target_session_attrs(match value {
                "any" => TargetSessionAttrs::Any,
                // A read-only primary is of no use to us either.
                "primary" | "read-write" => TargetSessionAttrs::ReadWrite,
                "read-only" => TargetSessionAttrs::ReadOnly,
                _ => {
                    return refuse(
                        "target_session_attrs must be any, read-write, primary or read-only",
                    );
                }
            });
        }
        // Milliseconds in libpq, and in connection strings for it.
        "tcp_user_timeout" => {
            config.tcp_user_timeout(Duration::from_millis(parse(name, "milliseconds", value)?));
        }
        "user" => {
            config.user(value);
        }
        // Handled elsewhere: addresses, timeouts and TLS.
        _ => {}
    }
    Ok(())
}

/// A token is made for one host and replaces the password: it must not be sent to any other server.
fn check_iam(config: &Config, hosts: &[String], mode: SslMode) -> Result<(), SettingsError> {
    if hosts.len() != 1 {
        return refuse("DATABASE_AUTH=iam needs exactly one host, given by its name");
    }
    if config.get_user().is_none() {
        return refuse("DATABASE_AUTH=iam needs a user");
    }
    if mode < SslMode::VerifyCa {
        return refuse("DATABASE_AUTH=iam needs sslmode=verify-ca or verify-full");
    }
    if config.get_channel_binding() == ChannelBinding::Require {
        return refuse("DATABASE_AUTH=iam cannot be combined with channel_binding=require");
    }
    Ok(())
}

fn is_socket(host: &str) -> bool {
    host.starts_with('/')
}

/// Whether every host is this machine, so that no network lies in between.
fn is_this_machine(parameters: &Parameters) -> bool {
    let is_loopback = |text: &&str| text.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let is_local = |host: &&str| *host == "localhost" || is_socket(host) || is_loopback(host);
    parameters.list("host").iter().all(is_local)
        && parameters.list("hostaddr").iter().all(is_loopback)
}

fn parse<T: FromStr>(name: &str, what: &str, value: &str) -> Result<T, SettingsError> {
    value
        .parse()
        .map_err(|_| SettingsError::new(format!("{name} must be {what}")))
}

fn refuse<T>(sentence: &str) -> Result<T, SettingsError> {
    Err(SettingsError::new(sentence.to_owned()))
}
