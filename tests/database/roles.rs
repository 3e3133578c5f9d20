//! The roles: one owns the tables, the others have only the rights that the functions and `maintain` need.

use migrate::{MigrateConfig, RoleLogin, known_migrations, migrate};
use shared::caller::REQUEST_TIMEOUT;
use shared::database::DatabaseConfig;
use uuid::Uuid;

use support::local_run::run;
use support::{TestApi, postgres};

#[tokio::test]
async fn the_role_of_the_functions_has_no_other_rights_than_they_need() {
    let api = TestApi::start().await;
    api.session(&["Hi"]).await;
    let functions = postgres::connect(&postgres::app_url(&api.database)).await;

    for statement in [
        "delete from chat_messages",
        "update chat_messages set content = 'something else'",
        "truncate chat_messages",
        "delete from chat_sessions",
        "drop table chat_messages",
        "alter table chat_sessions add column x int",
        "create table other (x int)",
        "insert into refinery_schema_history values (99, 'x', 'x', 'x')",
        "set role daissy_owner",
    ] {
        let refused = functions
            .client()
            .batch_execute(statement)
            .await
            .unwrap_err();
        let state = refused.code().map(tokio_postgres::error::SqlState::code);
        assert_eq!(state, Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn the_role_of_maintain_deletes_and_has_no_other_rights_than_it_needs() {
    let api = TestApi::start().await;
    api.session(&["Hi"]).await;
    let maintain = postgres::connect(&postgres::maintain_url(&api.database)).await;

    for statement in [
        "insert into chat_sessions (session_id) values (gen_random_uuid())",
        "update chat_messages set content = 'something else'",
        "insert into chat_events (session_id, event_id, kind)
         values (gen_random_uuid(), gen_random_uuid(), 'reset')",
        "delete from chat_erasures",
        "truncate chat_messages",
        "drop table chat_messages",
        "alter table chat_sessions add column x int",
        "create table other (x int)",
        "set role daissy_owner",
        "set role daissy_app",
    ] {
        let refused = maintain
            .client()
            .batch_execute(statement)
            .await
            .unwrap_err();
        let state = refused.code().map(tokio_postgres::error::SqlState::code);
        assert_eq!(state, Some("42501"), "{statement}");
    }
    let deletion = "delete from chat_messages; delete from chat_events; delete from chat_sessions";
    maintain.client().batch_execute(deletion).await.unwrap();
}

#[tokio::test]
async fn the_limits_of_the_functions_end_a_statement_before_those_of_their_role() {
    let api = TestApi::start().await;
    let url = postgres::server().url(&api.database);
    let statement = "select extract(epoch from split_part(setting, '=', 2)::interval)::int8
        from pg_db_role_setting s
        join pg_roles r on r.oid = s.setrole
        cross join unnest(setconfig) setting
        where rolname = 'daissy_app' and setting like 'statement_timeout=%'";
    let connection = postgres::connect(&url).await;
    let row = connection.client().query_typed_one(statement, &[]).await;
    let seconds: i64 = row.unwrap().get(0);
    assert!(u64::try_from(seconds).unwrap() > REQUEST_TIMEOUT.as_secs());
}

#[tokio::test]
async fn the_tables_belong_to_their_owner_no_matter_which_role_migrates() {
    let database = postgres::empty_database().await;
    let url = postgres::server().url(&database);
    let config = MigrateConfig {
        database: DatabaseConfig::parse(&url).unwrap(),
        create_roles: Some(RoleLogin::Password),
        legacy: None,
    };
    let connection = postgres::connect(&url).await;
    let owners =
        "select string_agg(distinct tableowner, ',') from pg_tables where schemaname = 'public'";
    // Twice, because a deployment does it each time.
    for _ in 0..2 {
        migrate(&config).await.unwrap();
        let row = connection.client().query_typed_one(owners, &[]).await;
        assert_eq!(row.unwrap().get::<_, &str>(0), "daissy_owner");
    }
    let api = TestApi::on(database.clone(), &postgres::app_url(&database), &[]).await;
    api.session(&["Hi"]).await;
}

#[tokio::test]
async fn roles_that_come_later_take_the_tables_over() {
    let database = postgres::empty_database().await;
    let url = postgres::server().url(&database);
    let without: MigrateConfig = DatabaseConfig::parse(&url).unwrap().into();
    migrate(&without).await.unwrap();
    postgres::run(&database, include_str!("../../migrations/roles.sql")).await;

    let report = migrate(&without).await.unwrap();

    assert!(report.applied.is_empty());
    let api = TestApi::on(database.clone(), &postgres::app_url(&database), &[]).await;
    api.session(&["Hi"]).await;
}

#[tokio::test]
async fn an_administrator_without_superuser_rights_can_set_everything_up() {
    let administrator = format!("administrator_{}", Uuid::new_v4().simple());
    let database = postgres::empty_database().await;
    // As on managed servers: may create roles, owns the database, is a member of the existing roles.
    let statements = format!(
        "create role {administrator} login createrole password 'p';
         grant daissy_owner, daissy_app, daissy_maintain to {administrator} with admin option;
         alter database {database} owner to {administrator}"
    );
    postgres::run("postgres", &statements).await;
    let url = postgres::server()
        .url(&database)
        .replace(&credentials(), &format!("{administrator}:p@"));
    let config = MigrateConfig {
        database: DatabaseConfig::parse(&url).unwrap(),
        create_roles: Some(RoleLogin::Password),
        legacy: None,
    };

    let report = migrate(&config).await.unwrap();

    assert_eq!(report.applied, known_migrations());
    let api = TestApi::on(database.clone(), &postgres::app_url(&database), &[]).await;
    api.session(&["Hi"]).await;
}

/// The user and password in the server's own connection string, up to the `@`.
fn credentials() -> String {
    let url = postgres::server().url("postgres");
    let (credentials, _) = url.split_once("//").unwrap().1.split_once('@').unwrap();
    format!("{credentials}@")
}

#[tokio::test]
async fn the_role_of_the_functions_can_check_and_migrate_an_up_to_date_database() {
    let database = postgres::migrated_database().await;
    let url = postgres::app_url(&database);
    let folder = tempfile::tempdir().unwrap();

    let checked = run(&["check"], folder.path(), &[("DATABASE_URL", &url)]).await;
    assert!(checked.success, "{}", checked.complained);
    let migrated = run(&["migrate"], folder.path(), &[("DATABASE_URL", &url)]).await;
    assert!(migrated.success, "{}", migrated.complained);
    assert!(
        migrated.printed.contains("up to date"),
        "{}",
        migrated.printed
    );

    let missing = "revoke insert on chat_messages from daissy_app; revoke update on chat_sessions from daissy_app";
    postgres::run(&database, missing).await;
    let checked = run(&["check"], folder.path(), &[("DATABASE_URL", &url)]).await;
    assert!(!checked.success);
    let named = "INSERT on chat_messages, UPDATE on chat_sessions";
    assert!(checked.printed.contains(named), "{}", checked.printed);
}
