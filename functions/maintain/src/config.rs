//! The settings of `maintain`: the database it connects to, and how long sessions are kept.

use shared::database::DatabaseConfig;
use shared::settings::{self, SettingsError};
use shared::store::erasures::Retention;
use shared::store::search;

/// The connection string of `maintain`, if it differs from the functions'.
const MAINTAIN_DATABASE_URL: &str = "MAINTAIN_DATABASE_URL";

/// For how many days a session is kept that nobody uses.
const RETENTION_DAYS: &str = "RETENTION_DAYS";

/// Whether pinned sessions are no exception.
const RETENTION_INCLUDES_PINNED: &str = "RETENTION_INCLUDES_PINNED";

/// The most rows that a transaction deletes.
const MAINTAIN_BATCH_ROWS: &str = "MAINTAIN_BATCH_ROWS";

/// Few enough for a transaction of some milliseconds, many enough that the round trips do not count.
const DEFAULT_BATCH_ROWS: i64 = 1000;

/// The settings of `maintain`.
#[derive(Debug, Clone)]
pub struct MaintainConfig {
    /// The database, as a role that may delete.
    pub database: DatabaseConfig,
    /// How long sessions are kept; `None` is for ever.
    pub retention: Option<Retention>,
    /// The most rows that a transaction deletes.
    pub batch_rows: i64,
    /// The text search configuration of the index for searching.
    pub search_language: String,
    /// Whether the database is one that only `maintain` is told of.
    pub has_own_database: bool,
}

impl MaintainConfig {
    /// Reads the environment; see [`Self::read`].
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads `MAINTAIN_DATABASE_URL`, else `DATABASE_URL`, with everything else that
    /// [`DatabaseConfig::read`] reads; and what [`Self::on`] reads.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let own = settings::text(&variable, MAINTAIN_DATABASE_URL).is_some();
        let name = if own {
            MAINTAIN_DATABASE_URL
        } else {
            DatabaseConfig::URL
        };
        let mut config = Self::on(DatabaseConfig::read(name, &variable)?, variable)?;
        config.has_own_database = own;
        Ok(config)
    }

    /// The settings for a database that is known: reads `RETENTION_DAYS`, `RETENTION_INCLUDES_PINNED`,
    /// `MAINTAIN_BATCH_ROWS` and `SEARCH_LANGUAGE`.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn on(
        database: DatabaseConfig,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let days = settings::number(&variable, RETENTION_DAYS, 1..=36_500)?;
        let includes_pinned = settings::switch(&variable, RETENTION_INCLUDES_PINNED)?;
        if days.is_none() && includes_pinned.is_some_and(|includes| includes) {
            return Err(SettingsError::new(format!(
                "{RETENTION_INCLUDES_PINNED} has no effect without {RETENTION_DAYS}; set both"
            )));
        }
        let rows = settings::number(&variable, MAINTAIN_BATCH_ROWS, 1..=10_000)?;
        Ok(Self {
            database,
            retention: days.map(|days| Retention {
                days,
                includes_pinned: includes_pinned.unwrap_or(false),
            }),
            batch_rows: rows.unwrap_or(DEFAULT_BATCH_ROWS),
            search_language: search::language(variable)?,
            has_own_database: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<MaintainConfig, SettingsError> {
        MaintainConfig::read(|name| {
            let variable = variables.iter().find(|(known, _)| *known == name);
            variable.map(|(_, value)| (*value).to_owned())
        })
    }

    const URL: (&str, &str) = ("DATABASE_URL", "postgresql://u@localhost/app");

    #[test]
    fn nothing_expires_unless_a_number_of_days_is_set() {
        assert_eq!(read(&[URL]).unwrap().retention, None);
        let retention = read(&[URL, (RETENTION_DAYS, "30")]).unwrap().retention;
        let expected = Retention {
            days: 30,
            includes_pinned: false,
        };
        assert_eq!(retention, Some(expected));
    }

    #[test]
    fn its_own_database_comes_before_that_of_the_functions() {
        let own = (MAINTAIN_DATABASE_URL, "postgresql://m@localhost/own");
        let config = read(&[URL, own]).unwrap();
        assert!(config.has_own_database);
        assert!(config.database.display_name().contains("own"));
        let config = read(&[URL]).unwrap();
        assert!(!config.has_own_database);
        assert!(config.database.display_name().contains("app"));
    }

    #[test]
    fn an_invalid_setting_is_named() {
        for (name, value) in [
            (RETENTION_DAYS, "0"),
            (RETENTION_DAYS, "a year"),
            (RETENTION_INCLUDES_PINNED, "yes"),
            // It would seem to be on.
            (RETENTION_INCLUDES_PINNED, "true"),
            (MAINTAIN_BATCH_ROWS, "0"),
        ] {
            let error = read(&[URL, (name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
