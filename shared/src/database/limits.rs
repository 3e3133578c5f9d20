//! How many database connections there may be, and their timeouts.

use std::time::Duration;

use super::parameters::Parameters;
use crate::caller::REQUEST_TIMEOUT;
use crate::settings::{self, SettingsError};

/// The time reserved for a statement that is sent again on a new connection.
const REPETITION: Duration = Duration::from_secs(2);

/// The variable with the number of connections.
pub(super) const CONNECTIONS: &str = "DATABASE_CONNECTIONS";

/// The variable in which Lambda says how many invocations an environment takes at once.
const INVOCATIONS: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// The most connections of an environment that takes several invocations. They need a connection
/// only while a statement runs, so they share.
const MOST_BY_DEFAULT: usize = 8;

/// The limits of the connections, each with its variable.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `DATABASE_CONNECTIONS`, else as many as an environment of Lambda takes invocations at once,
    /// 8 at most, else 1: how many connections there may be. They are opened as they are needed.
    pub connections: usize,
    /// `connect_timeout` (of `DATABASE_URL` or `PGCONNECT_TIMEOUT`, not of a secret), else
    /// `DATABASE_CONNECT_TIMEOUT_SECONDS`, else 3 s: from the DNS lookup to the end of
    /// authentication, including the time to fetch a secret.
    pub connect: Duration,
    /// `DATABASE_STATEMENT_TIMEOUT_SECONDS`, else 4 s: one statement. It is then cancelled, and its
    /// connection is kept only if the server confirms that the cancellation ended it.
    pub statement: Duration,
    /// `DATABASE_KEEPALIVE_SECONDS`, else 60 s: how long the connection is idle before the peer is
    /// probed. Below 350 s, after which NAT gateways on AWS forget a connection.
    pub keepalive: Duration,
    /// `DATABASE_TCP_USER_TIMEOUT_SECONDS`, else 5 s: how long sent data may stay unacknowledged
    /// before the path counts as dead.
    pub tcp_user: Duration,
    /// `DATABASE_IDLE_CHECK_SECONDS`, else 300 s: after this long without a statement the server is
    /// probed first, because a path that swallows packets shows no error.
    pub idle_check: Duration,
}

impl Limits {
    /// Reads the limits; those in the connection string take precedence.
    ///
    /// # Errors
    /// [`SettingsError`] for a number out of range, or for timeouts that together exceed a
    /// request's.
    pub fn read(
        parameters: &Parameters,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let seconds = |name: &str, range, default| {
            let seconds = settings::number(&variable, name, range)?;
            Ok(Duration::from_secs(seconds.unwrap_or(default)))
        };
        let connect = match parameters.get("connect_timeout") {
            None => seconds("DATABASE_CONNECT_TIMEOUT_SECONDS", 1..=20, 3)?,
            // As in libpq, 0 means no timeout of its own; the request's still applies.
            Some(text) => match text.parse() {
                Ok(0) => Duration::from_secs(20),
                Ok(given @ 1..=20) => Duration::from_secs(given),
                _ => {
                    return Err(SettingsError::new(
                        "connect_timeout must be a number of seconds from 0 to 20",
                    ));
                }
            },
        };
        let limits = Self {
            connections: settings::number(&variable, CONNECTIONS, 1..=100)?
                .unwrap_or_else(|| default_connections(&variable)),
            connect,
            statement: seconds("DATABASE_STATEMENT_TIMEOUT_SECONDS", 1..=20, 4)?,
            keepalive: seconds("DATABASE_KEEPALIVE_SECONDS", 1..=3600, 60)?,
            tcp_user: seconds("DATABASE_TCP_USER_TIMEOUT_SECONDS", 1..=60, 5)?,
            idle_check: seconds("DATABASE_IDLE_CHECK_SECONDS", 0..=86_400, 300)?,
        };
        if limits.operation() >= REQUEST_TIMEOUT {
            let most = (REQUEST_TIMEOUT - REPETITION).as_secs() - 1;
            return Err(SettingsError::new(format!(
                "the timeouts for connecting and for a statement must be {most} s at most together, \
                 because a request times out after {} s",
                REQUEST_TIMEOUT.as_secs()
            )));
        }
        Ok(limits)
    }

    /// Timeout for connecting, a statement and its retry together.
    #[must_use]
    pub fn operation(&self) -> Duration {
        self.connect + self.statement + REPETITION
    }
}

/// Lambda sets the variable, so there is no one to tell about an invalid value.
fn default_connections(variable: impl Fn(&str) -> Option<String>) -> usize {
    let invocations = settings::text(variable, INVOCATIONS);
    let invocations = invocations.and_then(|text| text.parse().ok()).unwrap_or(1);
    invocations.clamp(1, MOST_BY_DEFAULT)
}
