//! The source of the password: a secret, which may be rotated, or an IAM token.

use std::process::Command;
use std::time::Duration;

use migrate::{MigrateConfig, handle};
use serde_json::{Value, json};
use uuid::Uuid;

use support::api::Answer;
use support::certificates::Authority;
use support::https::Tunnels;
use support::iam_gate::IamGate;
use support::local_run::{LocalRun, run};
use support::tls_server::TlsServer;
use support::{aws, https, postgres};

/// A role with this password and the rights of the functions.
async fn role(password: &str) -> String {
    let role = format!("rotated_{}", Uuid::new_v4().simple());
    let statements = format!("create role {role} login password '{password}' in role daissy_app");
    postgres::run("postgres", &statements).await;
    role
}

/// A secret in the format that RDS writes.
fn of_rds(role: &str, password: &str, database: &str) -> String {
    json!({
        "engine": "postgres",
        "host": "127.0.0.1",
        "port": postgres::app_port(),
        "username": role,
        "password": password,
        "dbname": database,
        "dbInstanceIdentifier": "an-instance",
    })
    .to_string()
}

async fn chat(server: &LocalRun) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(format!("{}/chat", server.address))
        .json(&json!({ "query": "Hello" }));
    let answer = Answer::over_http(request).await.unwrap();
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_secret_names_the_database_in_either_form() {
    let database = postgres::migrated_database().await;
    let role = role("first").await;
    let credentials_only = json!({ "username": role, "password": "first" }).to_string();
    let host_and_database = format!("postgresql://127.0.0.1:{}/{database}", postgres::app_port());
    let cases = [
        (of_rds(&role, "first", &database), None),
        (postgres::url_as(&role, "first", &database), None),
        (credentials_only, Some(host_and_database)),
    ];
    for (text, url) in cases {
        let arn = aws::create_secret(&text).await;
        let mut settings = aws::settings().to_vec();
        settings.push(("DATABASE_SECRET_ARN", &arn));
        settings.extend(url.as_deref().map(|url| ("DATABASE_URL", url)));
        let folder = tempfile::tempdir().unwrap();

        let checked = run(&["check"], folder.path(), &settings).await;

        assert!(checked.success, "{url:?}: {}", checked.complained);
        let connected = format!("connected as {role} to {database}");
        assert!(checked.printed.contains(&connected), "{}", checked.printed);
    }
}

#[tokio::test]
async fn a_password_that_was_rotated_is_fetched_again() {
    let database = postgres::migrated_database().await;
    let role = role("first").await;
    let arn = aws::create_secret(&of_rds(&role, "first", &database)).await;
    let mut settings = aws::settings().to_vec();
    settings.push(("DATABASE_SECRET_ARN", &arn));
    let folder = tempfile::tempdir().unwrap();
    let server = LocalRun::start(folder.path(), &settings).await;
    assert_eq!(chat(&server).await.0, 200);

    let rotate = format!(
        "alter role {role} password 'second';
         select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '{role}'"
    );
    postgres::run("postgres", &rotate).await;
    aws::put_secret(&arn, &of_rds(&role, "second", &database)).await;

    let (mut status, mut body) = chat(&server).await;
    // A pooler whose own login with the old password was refused waits before it retries.
    let patience = std::env::var("TESTS_THROUGH").map_or(0, |_| 10);
    for _ in 0..patience {
        if status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        (status, body) = chat(&server).await;
    }
    assert_eq!(status, 200, "{body}");

    // If the password in the secret is wrong as well, the caller gets an answer.
    postgres::run("postgres", &rotate.replace("second", "third")).await;
    for _ in 0..3 {
        let (status, body) = chat(&server).await;
        assert_eq!(
            (status, &body["code"]),
            (503, &json!("database_unavailable"))
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_explained_without_it() {
    let empty = aws::create_secret(r#"{"username": "hunter2", "host": "h"}"#).await;
    let broken = aws::create_secret("postgresql://u:hunter2@h/d?colour=blue").await;
    let missing = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:none-abcdef";
    let cases = [
        (empty.as_str(), "no password"),
        (broken.as_str(), "colour"),
        (missing, "ResourceNotFoundException"),
    ];
    for (arn, expected) in cases {
        let mut settings = aws::settings().to_vec();
        settings.push(("DATABASE_SECRET_ARN", arn));
        let folder = tempfile::tempdir().unwrap();

        let checked = run(&["check"], folder.path(), &settings).await;

        assert!(!checked.success);
        let complained = &checked.complained;
        assert!(complained.contains("DATABASE_SECRET_ARN"), "{complained}");
        assert!(complained.contains(expected), "{complained}");
        assert!(!complained.contains("hunter2"), "{complained}");
    }
}

#[tokio::test]
async fn aws_is_asked_over_tls_that_is_verified_and_through_the_proxy() {
    let database = postgres::migrated_database().await;
    let role = role("first").await;
    let arn = aws::create_secret(&of_rds(&role, "first", &database)).await;
    let folder = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let authority = Authority::new(name);
        let path = folder.path().join(name);
        std::fs::write(&path, &authority.certificate).unwrap();
        (authority, path.to_str().unwrap().to_owned())
    };
    let (known, known_file) = authority("known");
    let (_, other_file) = authority("other");
    let moto = aws::endpoint().trim_start_matches("http://");
    let right = https::in_front_of(moto, &known.sign("localhost")).await;
    let wrong = https::in_front_of(moto, &known.sign("example.com")).await;
    let proxy = Tunnels::start().await;
    let cases = [
        (right, &known_file, None, true),
        (right, &other_file, None, false),
        (wrong, &known_file, None, false),
        (right, &known_file, Some("HTTPS_PROXY"), true),
    ];
    for (port, roots, proxied, expected) in cases {
        let endpoint = format!("https://localhost:{port}");
        let mut settings = aws::settings()[1..].to_vec();
        settings.push(("AWS_ENDPOINT_URL", &endpoint));
        settings.push(("DATABASE_SECRET_ARN", &arn));
        settings.push(("SSL_CERT_FILE", roots));
        settings.extend(proxied.map(|variable| (variable, proxy.url.as_str())));

        let checked = run(&["check"], folder.path(), &settings).await;

        let complained = &checked.complained;
        assert_eq!(
            checked.success, expected,
            "{endpoint} {roots}: {complained}"
        );
        if !expected {
            assert!(
                complained.contains("certificate verify failed"),
                "{complained}"
            );
        }
    }
    let asked = proxy.asked();
    assert!(asked.contains(&format!("localhost:{right}")), "{asked:?}");
}

#[tokio::test]
async fn credentials_of_a_role_are_fetched() {
    let database = postgres::migrated_database().await;
    let role = role("first").await;
    let arn = aws::create_secret(&of_rds(&role, "first", &database)).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a token of the identity provider").unwrap();
    let settings = [
        ("AWS_ENDPOINT_URL", aws::endpoint()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/daissy"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("DATABASE_SECRET_ARN", &arn),
    ];

    let checked = run(&["check"], folder.path(), &settings).await;

    assert!(checked.success, "{}", checked.complained);
}

#[tokio::test]
async fn each_connection_shows_a_fresh_token_of_iam() {
    let authority = Authority::new("known");
    let signed = authority.sign("localhost");
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &authority.certificate).unwrap();
    let server = TlsServer::start().await;
    server
        .configure(None, "", "host all visitor all trust")
        .await;
    postgres::migrate(&server.administrator()).await;
    let allow = "grant select, insert, update on all tables in schema public to visitor;
        grant execute on all functions in schema public to visitor";
    let administrator = postgres::connect(&server.administrator()).await;
    administrator.client().batch_execute(allow).await.unwrap();
    let gate = IamGate::start(server.port(), &signed).await;
    let url = format!(
        "postgresql://visitor@localhost:{}/daissy?sslrootcert={}&sslmode=verify-full",
        gate.port,
        roots.display()
    );
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_AUTH", "iam"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "an example's key"),
        ("AWS_SESSION_TOKEN", "an example's session"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let api = LocalRun::start(folder.path(), &settings).await;
    assert_eq!(chat(&api).await.0, 200);

    // Tokens differ only from one second to the next.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let cut =
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'visitor'";
    administrator.client().batch_execute(cut).await.unwrap();
    let (status, body) = chat(&api).await;
    assert_eq!(status, 200, "{body}");

    let tokens = gate.passwords();
    let prefix = format!("localhost:{}/?Action=connect&DBUser=visitor&", gate.port);
    for token in &tokens {
        assert!(token.starts_with(&prefix), "{token}");
        for part in [
            "X-Amz-Credential=AKIDEXAMPLE%2F",
            "%2Feu-central-1%2Frds-db%2Faws4_request",
            "X-Amz-Expires=900",
            "X-Amz-Security-Token=an%20example%27s%20session",
            "X-Amz-Signature=",
        ] {
            assert!(token.contains(part), "{token}");
        }
    }
    let (first, last) = (tokens.first().unwrap(), tokens.last().unwrap());
    assert_ne!(first, last, "the token of a new connection is new");
    api.stop().await;

    // Without credentials there is no token, and the error says so.
    let checked = run(&["check"], folder.path(), &settings[..2]).await;
    assert!(!checked.success);
    assert!(
        checked.complained.contains("region"),
        "{}",
        checked.complained
    );
}

#[tokio::test]
async fn a_deployment_waits_for_a_right_of_iam_that_is_new() {
    // IAM credentials belong to a process, so this test runs in its own.
    const NAME: &str = "database::credentials::a_deployment_waits_for_a_right_of_iam_that_is_new";
    const INNER: &str = "TESTS_WITH_IAM";
    if std::env::var_os(INNER).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .envs(aws::settings().into_iter().skip(1))
            .env(INNER, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}{complained}");
        assert!(printed.contains("1 passed"), "{printed}");
        return;
    }

    let authority = Authority::new("known");
    let signed = authority.sign("localhost");
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &authority.certificate).unwrap();
    let server = TlsServer::start().await;
    server
        .configure(None, "", "host all visitor all trust")
        .await;
    let administrator = postgres::connect(&server.administrator()).await;
    let allow = "grant create on schema public to visitor";
    administrator.client().batch_execute(allow).await.unwrap();
    // Two logins are refused before one succeeds, and another one after that: a new right does not reach
    // all servers at the same time.
    let gate = IamGate::start_refusing(server.port(), &signed, [0, 1, 3]).await;
    let url = format!(
        "postgresql://visitor@localhost:{}/daissy?sslrootcert={}&sslmode=verify-full",
        gate.port,
        roots.display()
    );
    let config = MigrateConfig::read(|name| match name {
        "DATABASE_URL" => Some(url.clone()),
        "DATABASE_AUTH" => Some("iam".to_owned()),
        _ => std::env::var(name).ok(),
    })
    .unwrap();
    let event = json!({
        "RequestType": "Create",
        "ResponseURL": "http://127.0.0.1:1/nobody-listens",
        "StackId": "stack",
        "RequestId": "request",
        "ResourceType": "Custom::Migration",
        "LogicalResourceId": "Migration",
        "ServiceToken": "arn",
        "ResourceProperties": { "ServiceToken": "arn" },
    });
    let limit = Duration::from_secs(60);
    let status = json!({ "action": "status" });

    // An invocation by hand does not wait.
    let by_hand = handle(Ok(&config), status.clone(), limit).await;
    let error = by_hand.unwrap_err().to_string();
    assert!(error.contains("28000"), "{error}");
    // CloudFormation cannot be notified, which is a failure, but the migration is done.
    let told = handle(Ok(&config), event, limit).await;
    let error = told.unwrap_err().to_string();
    assert!(error.contains("CloudFormation"), "{error}");
    let report = handle(Ok(&config), status, limit).await.unwrap();
    assert_eq!(report["pending"], json!([]), "{report}");
    assert_eq!(gate.passwords().len(), 6);
}
