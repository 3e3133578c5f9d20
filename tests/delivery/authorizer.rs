//! The function `authorizer`: whom it lets through to the REST API, and that everybody is the same owner there
//! as at the HTTP API.

use std::sync::{Arc, Mutex};

use authorizer::{Authorizer, Refusal};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use rig::lambda::http_event;
use serde_json::{Value, json};
use shared::caller::Permissions;
use shared::database::{Database, DatabaseConfig};
use shared::http::reporter::Reporter;
use shared::lambda::respond_to_event;
use shared::store::Store;
use status::Status;

use support::certificates::Authority;
use support::emulator::Emulator;
use support::issuer::{Issuer, SigningKey};
use support::postgres;

/// An authorizer with these settings.
fn with_settings(settings: &[(&str, &str)]) -> Authorizer {
    Authorizer::read(|asked| {
        let setting = settings.iter().find(|(name, _)| *name == asked);
        setting.map(|(_, value)| (*value).to_owned())
    })
}

fn authorizer(issuer: &Issuer) -> Authorizer {
    with_settings(&issuer.settings())
}

/// An event as API Gateway sends it.
fn event(authorization: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../events/authorizer.json")).unwrap();
    event["authorizationToken"] = json!(authorization);
    event
}

/// What API Gateway learns of a refusal.
fn message(refusal: Refusal) -> String {
    Diagnostic::from(refusal).error_message
}

/// The `requestContext` of the function behind: what the authorizer said, flat.
fn request_context(answer: &Value) -> Value {
    let mut authorizer = answer["context"].clone();
    authorizer["principalId"] = answer["principalId"].clone();
    authorizer["integrationLatency"] = json!(42);
    json!({ "authorizer": authorizer, "identity": {}, "stage": "api" })
}

/// What is logged while this runs.
async fn logged<T>(work: impl Future<Output = T>) -> (T, String) {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        shared::logging::json_subscriber("trace", &["authorizer"], move || writer.clone());
    let guard = tracing::subscriber::set_default(subscriber);
    let done = work.await;
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (done, text)
}

#[tokio::test]
async fn a_valid_token_opens_every_route_of_the_stage() {
    let issuer = Issuer::start().await;
    let authorizer = authorizer(&issuer);
    let token = issuer.token("alice");
    for authorization in [format!("Bearer {token}"), format!("bearer {token}"), token] {
        let answer = authorizer.handle(&event(&authorization)).await.unwrap();
        assert_eq!(answer["principalId"], "alice");
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Action": "execute-api:Invoke",
                "Resource": "arn:aws:execute-api:eu-central-1:123456789012:klmnopqrst/api/*",
            }],
        });
        assert_eq!(answer["policyDocument"], policy);
        // API Gateway takes texts, numbers and booleans, and fails for everything else.
        let context = answer["context"].as_object().unwrap();
        assert!(context.values().all(Value::is_string), "{context:?}");
    }
}

#[tokio::test]
async fn a_caller_is_the_same_owner_at_both_apis() {
    let issuer = Issuer::start().await;
    let authorizer = authorizer(&issuer);
    let database = postgres::migrated_database().await;
    let config = DatabaseConfig::parse(&postgres::app_url(&database)).unwrap();
    let status = Status::new(Store::new(Arc::new(Database::new(config))));
    let session_id = "019b76da-a800-7000-8000-000000000001";
    let session = format!(
        "insert into chat_sessions (session_id, owner) values ('{session_id}', 'jwt:alice')"
    );
    postgres::run(&database, &session).await;
    let ask = async |event: Value| {
        let event = LambdaEvent::new(event, Context::default());
        let reporter = Arc::new(Reporter::to_log());
        respond_to_event(&status, &reporter, Permissions::default(), event)
            .await
            .status_code
    };

    let path = format!("/chat/status?session_id={session_id}");
    let mut over_http_api = http_event("GET", &path, None);
    let claims = issuer.claims("alice");
    over_http_api["requestContext"]["authorizer"] = json!({ "jwt": { "claims": claims } });
    assert_eq!(ask(over_http_api).await, 200);

    let over_rest_api = |context: Value| {
        json!({
            "path": "/chat/status", "httpMethod": "GET", "headers": {},
            "queryStringParameters": { "session_id": session_id }, "requestContext": context,
        })
    };
    for (subject, expected) in [("alice", 200), ("bob", 404)] {
        let token = format!("Bearer {}", issuer.token(subject));
        let answer = authorizer.handle(&event(&token)).await.unwrap();
        let status = ask(over_rest_api(request_context(&answer))).await;
        assert_eq!(status, expected, "{subject}");
    }
    // Another authorizer's alice is somebody else.
    let other = json!({ "authorizer": { "principalId": "alice", "sub": "alice" } });
    assert_eq!(ask(over_rest_api(other)).await, 404);
    // API Gateway keeps the answer for minutes; a token may end before.
    let mut claims = issuer.claims("alice");
    claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 28);
    let token = format!("Bearer {}", issuer.key().sign(&claims));
    let answer = authorizer.handle(&event(&token)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(ask(over_rest_api(request_context(&answer))).await, 401);
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_unauthorized_and_the_log_says_why() {
    let issuer = Issuer::start().await;
    let authorizer = authorizer(&issuer);
    let mut long = issuer.claims("alice");
    long["sub"] = json!("x".repeat(5000));
    let long = (issuer.key().sign(&long), "subject");
    for (token, expected) in issuer.invalid_tokens().into_iter().chain([long]) {
        let event = event(&format!("Bearer {token}"));
        let (answer, log) = logged(authorizer.handle(&event)).await;
        // To the letter: for anything else API Gateway answers 500.
        assert_eq!(message(answer.unwrap_err()), "Unauthorized", "{expected}");
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains("refused"))
            .collect();
        let [line] = lines[..] else {
            panic!("one line for {expected}: {log}");
        };
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "INFO");
        let why = line["why"].as_str().unwrap();
        assert!(why.contains(expected), "{why}");
        assert!(token.is_empty() || !log.contains(&token), "{log}");
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_no_fault_of_the_caller() {
    let issuer = Issuer::start().await;
    issuer.fail(true);
    let authorizer = authorizer(&issuer);
    authorizer.prepare().await;
    assert_eq!(issuer.fetches(), 1);
    let token = issuer.token("alice");
    let good = event(&format!("Bearer {token}"));

    let (answer, log) = logged(authorizer.handle(&good)).await;
    let said = message(answer.unwrap_err());
    assert!(said != "Unauthorized" && said.contains("500"), "{said}");
    assert!(log.contains("\"ERROR\"") && !log.contains(&token), "{log}");
    assert_eq!(issuer.fetches(), 2, "what failed in advance is tried again");

    // An environment that starts later has its keys before its first event.
    issuer.fail(false);
    let authorizer = with_settings(&issuer.settings());
    authorizer.prepare().await;
    issuer.fail(true);
    assert!(authorizer.handle(&good).await.is_ok());
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test]
async fn a_new_key_is_used_and_the_old_one_no_longer() {
    let issuer = Issuer::start().await;
    let authorizer = authorizer(&issuer);
    authorizer.prepare().await;
    let old = event(&issuer.token("alice"));
    assert!(authorizer.handle(&old).await.is_ok());

    issuer.rotate(SigningKey::new("second"));
    let new = event(&issuer.token("alice"));

    assert!(authorizer.handle(&new).await.is_ok());
    let refused = authorizer.handle(&old).await.unwrap_err();
    assert_eq!(message(refused), "Unauthorized");
}

#[tokio::test]
async fn without_settings_or_with_another_event_nobody_is_let_through_or_blamed() {
    let issuer = Issuer::start().await;
    let good = event(&issuer.token("alice"));
    let [name, audience] = issuer.settings();
    for settings in [
        &[][..],
        &[name],
        &[audience],
        &[("JWT_ISSUER", "http://issuer.example"), audience],
    ] {
        let authorizer = with_settings(settings);
        authorizer.prepare().await;
        let (answer, log) = logged(authorizer.handle(&good)).await;
        let said = message(answer.unwrap_err());
        assert!(said.contains("not configured"), "{settings:?}: {said}");
        assert!(log.contains("JWT_"), "{settings:?}: {log}");
    }

    let authorizer = authorizer(&issuer);
    let without = |name: &str| {
        let mut event = good.clone();
        event.as_object_mut().unwrap().remove(name);
        event
    };
    let mut elsewhere = good.clone();
    elsewhere["methodArn"] = json!("*");
    for event in [
        without("authorizationToken"),
        without("methodArn"),
        elsewhere,
        json!({ "type": "REQUEST", "headers": { "authorization": "Bearer a.b.c" } }),
        Value::Null,
    ] {
        let said = message(authorizer.handle(&event).await.unwrap_err());
        assert!(said.contains("TOKEN authorizer"), "{event}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_itself_says_it_in_the_words_that_api_gateway_reads() {
    let issuer = Issuer::start().await;
    let emulator = Emulator::with_functions(&["authorizer"], &issuer.settings(), 1);
    let invoke = async |event: &Value| {
        let arguments = ["--data-ascii", &event.to_string()];
        emulator.invoke("authorizer", &arguments).await
    };

    let (well, printed) = invoke(&event(&issuer.token("alice"))).await;
    assert!(well, "{printed}");
    let answer: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(answer["principalId"], "alice");
    assert_eq!(issuer.fetches(), 1, "in the init phase");

    let sample: Value = serde_json::from_str(include_str!("../events/authorizer.json")).unwrap();
    let (well, printed) = invoke(&sample).await;
    assert!(!well, "{printed}");
    let says = regex::Regex::new(r"\bUnauthorized\b").unwrap();
    assert!(says.is_match(&printed), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_trusted_if_the_systems_authorities_vouch_for_it() {
    let authority = Authority::new("authority");
    let issuer = Issuer::behind_tls(&authority.sign("localhost")).await;
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), &authority.certificate).unwrap();
    let event = event(&issuer.token("alice")).to_string();
    let known = ("SSL_CERT_FILE", roots.path().to_str().unwrap());
    for (authorities, expected) in [(Some(known), true), (None, false)] {
        let mut settings = issuer.settings().to_vec();
        settings.extend(authorities);
        let emulator = Emulator::with_functions(&["authorizer"], &settings, 1);

        let arguments = ["--data-ascii", &event];
        let (well, printed) = emulator.invoke("authorizer", &arguments).await;

        assert_eq!(well, expected, "{printed}");
        let blamed = printed.contains("Unauthorized");
        assert!(!blamed, "{printed}");
    }
}
