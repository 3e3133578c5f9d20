//! The settings of the migration: the database it connects to, and whether it creates the roles.

use shared::database::DatabaseConfig;
use shared::settings::{self, SettingsError};

/// The connection string of the migration, if it differs from the functions'.
const MIGRATE_DATABASE_URL: &str = "MIGRATE_DATABASE_URL";

/// Whether to create the roles, and how those of the functions log in.
const MIGRATE_CREATE_ROLES: &str = "MIGRATE_CREATE_ROLES";

/// How the roles of the functions log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleLogin {
    /// With a password, which still has to be set.
    Password,
    /// With an AWS IAM token, and nothing else.
    Iam,
}

/// The settings of the migration.
#[derive(Debug, Clone)]
pub struct MigrateConfig {
    /// The database, without a transaction pooler in between.
    pub database: DatabaseConfig,
    /// Whether the roles of `migrations/roles.sql` are created first.
    pub create_roles: Option<RoleLogin>,
}

impl MigrateConfig {
    /// Reads the environment; see [`Self::read`].
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads `MIGRATE_DATABASE_URL`, else `DATABASE_URL`; `MIGRATE_CREATE_ROLES` (`password` or
    /// `iam`); and everything else that [`DatabaseConfig::read`] reads.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let own = settings::text(&variable, MIGRATE_DATABASE_URL).is_some();
        let database = if own {
            DatabaseConfig::read(MIGRATE_DATABASE_URL, &variable)
        } else {
            DatabaseConfig::read(DatabaseConfig::URL, &variable)
        };
        let create_roles = match settings::text(&variable, MIGRATE_CREATE_ROLES).as_deref() {
            None => None,
            Some("password") => Some(RoleLogin::Password),
            Some("iam") => Some(RoleLogin::Iam),
            Some(_) => {
                return Err(SettingsError::new(format!(
                    "{MIGRATE_CREATE_ROLES} must be password or iam"
                )));
            }
        };
        Ok(Self {
            database: database?,
            create_roles,
        })
    }
}

impl From<DatabaseConfig> for MigrateConfig {
    /// Migrates this database and does nothing else.
    fn from(database: DatabaseConfig) -> Self {
        Self {
            database,
            create_roles: None,
        }
    }
}
