//! The settings of the migration: the database it connects to, whether it creates the roles, and whose the
//! sessions of the Python server become.

use shared::caller::{Kind, Owner};
use shared::database::DatabaseConfig;
use shared::settings::{self, SettingsError};

/// The connection string of the migration, if it differs from the functions'.
const MIGRATE_DATABASE_URL: &str = "MIGRATE_DATABASE_URL";

/// Whether to create the roles, and how those of the functions log in.
const MIGRATE_CREATE_ROLES: &str = "MIGRATE_CREATE_ROLES";

/// What vouches for the users that the Python server's tables name.
const LEGACY_OWNER_KIND: &str = "LEGACY_OWNER_KIND";

/// The owner of its sessions that name no user.
const LEGACY_OWNER: &str = "LEGACY_OWNER";

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
    /// How the Python server's tables are taken over; with `None` a database that has them is refused.
    pub legacy: Option<LegacyConfig>,
}

/// Whose the sessions of the Python server become.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyConfig {
    /// The kind of the users that its tables name, without which such tables are refused.
    pub owner_kind: Option<Kind>,
    /// The owner of the sessions that name no user; nobody if `None`.
    pub owner: Option<Owner>,
}

impl LegacyConfig {
    /// Reads `LEGACY_OWNER_KIND` and `LEGACY_OWNER`.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let owner_kind = match settings::text(&variable, LEGACY_OWNER_KIND) {
            None => None,
            Some(name) => Some(Kind::parse(&name).ok_or_else(|| {
                SettingsError::new(format!(
                    "{LEGACY_OWNER_KIND} must be jwt, lambda, cognito-identity or iam"
                ))
            })?),
        };
        let owner = match settings::text(&variable, LEGACY_OWNER) {
            None => None,
            Some(key) => Some(Owner::parse(&key).ok_or_else(|| {
                SettingsError::new(format!(
                    "{LEGACY_OWNER} must be an owner as the database stores it, such as jwt:alice"
                ))
            })?),
        };
        Ok(Self { owner_kind, owner })
    }
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
    /// `iam`); what [`LegacyConfig::read`] reads; and everything else that [`DatabaseConfig::read`] reads.
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
            legacy: Some(LegacyConfig::read(&variable)?),
        })
    }
}

impl From<DatabaseConfig> for MigrateConfig {
    /// Migrates this database and creates no roles.
    fn from(database: DatabaseConfig) -> Self {
        Self {
            database,
            create_roles: None,
            legacy: Some(LegacyConfig::default()),
        }
    }
}
