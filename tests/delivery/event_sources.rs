//! Requests as API Gateway and function URLs pass them to the functions, and which sessions their
//! callers see.

use std::sync::Arc;

use assistant::{Assistant, AssistantConfig};
use axum::http::HeaderName;
use chat::Chat;
use history::History;
use lambda_runtime::{Context, LambdaEvent};
use load_session::LoadSession;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reset::Reset;
use serde_json::{Value, json};
use shared::buckets::Buckets;
use shared::caller::Permissions;
use shared::database::{Database, DatabaseConfig};
use shared::http::endpoint::Endpoint;
use shared::http::reporter::Reporter;
use shared::lambda::respond_to_event;
use shared::store::Store;
use shared::store::links::Links;
use status::Status;
use uuid::Uuid;

use support::{contract, postgres};

/// The five functions, called as Lambda calls them.
struct Functions {
    chat: Chat,
    history: History,
    load_session: LoadSession,
    status: Status,
    reset: Reset,
    /// The name of their database.
    database: String,
}

impl Functions {
    async fn start() -> Self {
        let name = postgres::migrated_database().await;
        let url = postgres::app_url(&name);
        let database = Database::new(DatabaseConfig::parse(&url).unwrap());
        let store = Store::new(Arc::new(database));
        let config = AssistantConfig::read(|_| None).await.unwrap();
        let links = Links::new(store.clone(), Buckets::default());
        let assistant = Arc::new(Assistant::new(store.clone(), config));
        Self {
            chat: Chat::new(assistant, links.clone()),
            history: History::new(store.clone(), links.clone()),
            load_session: LoadSession::new(store.clone(), links),
            status: Status::new(store.clone()),
            reset: Reset::new(store),
            database: name,
        }
    }
}

async fn invoke<E: Endpoint>(function: &E, event: &Value) -> (u16, Value) {
    let event = LambdaEvent::new(event.clone(), Context::default());
    let reporter = Arc::new(Reporter::to_log());
    let response = respond_to_event(function, &reporter, Permissions::default(), event).await;
    let headers = response.headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().unwrap();
        (name, value.parse().unwrap())
    });
    let [route, ..] = E::ROUTES else {
        panic!("a function with a route")
    };
    let status = response.status_code;
    let body = response.body.as_bytes();
    let body = contract::check(route.method, route.path, status, &headers.collect(), body);
    (status, body)
}

/// An event of an HTTP API (payload format 2.0), with the members that the functions read.
fn http_api(
    method: &str,
    path: &str,
    query: &str,
    body: Option<&Value>,
    subject: Option<&str>,
) -> Value {
    let authorizer = subject.map(|subject| json!({ "jwt": { "claims": { "sub": subject } } }));
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": { "content-type": "application/json", "host": "api.example" },
        "requestContext": {
            "accountId": "1", "apiId": "api", "domainName": "api.example", "stage": "$default",
            "requestId": "id", "routeKey": "$default", "timeEpoch": 0,
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "test",
            },
            "authorizer": authorizer,
        },
        "body": body.map(Value::to_string),
        "isBase64Encoded": false,
    })
}

/// An event of a REST API (payload format 1.0).
fn rest_api(
    method: &str,
    path: &str,
    query: &Value,
    body: Option<&str>,
    authorizer: &Value,
) -> Value {
    json!({
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": { "content-type": "application/json", "Host": "api.example" },
        "multiValueHeaders": {},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {},
        "pathParameters": {},
        "stageVariables": {},
        "requestContext": {
            "accountId": "1", "apiId": "api", "stage": "prod", "requestId": "id",
            "httpMethod": method, "path": format!("/prod{path}"), "identity": {},
            "authorizer": authorizer,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

#[tokio::test]
async fn an_http_api_reaches_every_function() {
    let functions = Functions::start().await;
    let body = json!({ "query": "Hi" });
    let event = http_api("POST", "/chat", "", Some(&body), None);
    let (status, turn) = invoke(&functions.chat, &event).await;
    assert_eq!(status, 200, "{turn}");
    let session_id = turn["session_id"].as_str().unwrap();
    let query = format!("session_id={session_id}");

    let path = format!("/chat/history/{session_id}");
    let (status, history) = invoke(
        &functions.history,
        &http_api("GET", &path, "limit=1", None, None),
    )
    .await;
    assert_eq!(
        (status, &history["message_count"], &history["has_more"]),
        (200, &json!(2), &json!(true))
    );
    let event = http_api("GET", "/chat/status", &query, None, None);
    assert_eq!(invoke(&functions.status, &event).await.0, 200);
    let event = http_api("POST", "/chat/reset", &query, None, None);
    assert_eq!(invoke(&functions.reset, &event).await.0, 200);
    let event = http_api("POST", LoadSession::ROUTES[0].path, &query, None, None);
    assert_eq!(invoke(&functions.load_session, &event).await.0, 200);
    let event = http_api(
        "GET",
        "/chat/status",
        &format!("{query}&{query}"),
        None,
        None,
    );
    assert_eq!(
        invoke(&functions.status, &event).await.1["code"],
        "invalid_request"
    );
}

#[tokio::test]
async fn a_rest_api_a_stage_and_a_base64_body_make_no_difference() {
    let functions = Functions::start().await;
    let none = json!({});
    let event = rest_api("POST", "/chat", &none, Some("{\"query\": \"Hi\"}"), &none);
    let (status, turn) = invoke(&functions.chat, &event).await;
    assert_eq!(status, 200, "{turn}");

    let query = json!({ "session_id": turn["session_id"] });
    let event = rest_api("GET", "/chat/status", &query, None, &none);
    let (status, statistics) = invoke(&functions.status, &event).await;
    assert_eq!(
        (status, &statistics["conversation_length"]),
        (200, &json!(2))
    );

    let mut event = http_api("POST", "/prod/chat", "", None, None);
    event["requestContext"]["stage"] = json!("prod");
    event["body"] = json!("eyJxdWVyeSI6ICJIaSJ9");
    event["isBase64Encoded"] = json!(true);
    let (status, turn) = invoke(&functions.chat, &event).await;
    assert_eq!((status, &turn["query"]), (200, &json!("Hi")));
}

#[tokio::test]
async fn a_body_that_is_not_utf8_is_refused() {
    let functions = Functions::start().await;
    let mut event = http_api("POST", "/chat", "", None, None);
    // `{"query": "` and two bytes that cannot begin a character.
    event["body"] = json!("eyJxdWVyeSI6ICL//iJ9");
    event["isBase64Encoded"] = json!(true);
    let (status, problem) = invoke(&functions.chat, &event).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_json")));
}

/// An event from the folder `events`, as AWS sends it.
fn sample(name: &str) -> Value {
    let path = format!("{}/events/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn events_as_aws_documents_them_are_understood_and_tell_their_caller() {
    let functions = Functions::start().await;
    let chats = [
        ("http-api-chat.json", Some("jwt:alice")),
        ("rest-api-cognito.json", Some("jwt:alice")),
        ("http-api-base64.json", None),
        ("function-url.json", None),
        (
            "function-url-iam.json",
            Some("iam:AROAEXAMPLEEXAMPLE00:alice"),
        ),
    ];
    for (name, owner) in chats {
        let (status, turn) = invoke(&functions.chat, &sample(name)).await;
        assert_eq!(status, 200, "{name}: {turn}");
        let session_id: Uuid = turn["session_id"].as_str().unwrap().parse().unwrap();
        let connection = postgres::connect(&postgres::server().url(&functions.database)).await;
        let row = connection
            .client()
            .query_typed_one(
                "select owner from chat_sessions where session_id = $1",
                &[(&session_id, tokio_postgres::types::Type::UUID)],
            )
            .await
            .unwrap();
        assert_eq!(row.get::<_, Option<&str>>(0), owner, "{name}");
    }

    let (status, page) = invoke(&functions.history, &sample("http-api-history.json")).await;
    assert_eq!((status, &page["success"]), (200, &json!(true)), "{page}");
    let (status, statistics) = invoke(&functions.status, &sample("http-api-stage.json")).await;
    assert_eq!(
        (status, &statistics["status"]),
        (200, &json!("active")),
        "{statistics}"
    );
    // The alice of a Lambda authorizer is not the alice of a token.
    let event = sample("rest-api-lambda-authorizer.json");
    assert_eq!(invoke(&functions.status, &event).await.0, 404);
}

#[tokio::test]
async fn a_function_answers_its_own_route_only() {
    let functions = Functions::start().await;
    let event = http_api("GET", "/chat", "", None, None);
    assert_eq!(
        invoke(&functions.chat, &event).await.1["code"],
        "method_not_allowed"
    );
    let event = http_api("POST", "/elsewhere", "", None, None);
    assert_eq!(
        invoke(&functions.chat, &event).await.1["code"],
        "route_not_found"
    );
}

#[tokio::test]
async fn each_caller_sees_their_own_sessions_only() {
    let functions = Functions::start().await;
    let chat = async |subject, body: Value| {
        invoke(
            &functions.chat,
            &http_api("POST", "/chat", "", Some(&body), subject),
        )
        .await
    };
    let (alice, bob) = (Some("alice"), Some("bob"));
    let (_, turn) = chat(alice, json!({ "query": "My secret" })).await;
    let session_id = turn["session_id"].as_str().unwrap();
    let message_id = turn["message_id"].as_str().unwrap();
    let query = format!("session_id={session_id}");
    let path = format!("/chat/history/{session_id}");
    let fork = format!("{query}&at={message_id}");

    for stranger in [bob, None, Some("Alice"), Some("alice ")] {
        let unknown = Uuid::now_v7().to_string();
        let answers = [
            invoke(
                &functions.history,
                &http_api("GET", &path, "", None, stranger),
            )
            .await,
            invoke(
                &functions.status,
                &http_api("GET", "/chat/status", &query, None, stranger),
            )
            .await,
            invoke(
                &functions.reset,
                &http_api("POST", "/chat/reset", &query, None, stranger),
            )
            .await,
            invoke(
                &functions.load_session,
                &http_api("POST", LoadSession::ROUTES[0].path, &query, None, stranger),
            )
            .await,
            invoke(
                &functions.load_session,
                &http_api("POST", LoadSession::ROUTES[0].path, &fork, None, stranger),
            )
            .await,
            chat(stranger, json!({ "query": "Hi", "session_id": session_id })).await,
            chat(
                stranger,
                json!({ "query": "My secret", "session_id": session_id, "message_id": message_id }),
            )
            .await,
        ];
        for (status, body) in answers {
            assert_eq!(
                (status, &body["code"]),
                (404, &json!("session_not_found")),
                "{stranger:?}"
            );
            assert!(!body.to_string().contains("secret"), "{body}");
        }
        // The two look the same: only the id in the sentence differs.
        let path = format!("/chat/history/{unknown}");
        let event = http_api("GET", &path, "", None, stranger);
        let (status, body) = invoke(&functions.history, &event).await;
        assert_eq!((status, &body["code"]), (404, &json!("session_not_found")));
    }

    let (status, history) =
        invoke(&functions.history, &http_api("GET", &path, "", None, alice)).await;
    assert_eq!((status, &history["message_count"]), (200, &json!(2)));
    let event = http_api("POST", "/chat/reset", "", None, bob);
    let (_, opened) = invoke(&functions.reset, &event).await;
    let query = format!("session_id={}", opened["new_session_id"].as_str().unwrap());
    let event = http_api("GET", "/chat/status", &query, None, alice);
    assert_eq!(
        invoke(&functions.status, &event).await.0,
        404,
        "what bob opened is bob's"
    );
}

#[tokio::test]
async fn the_subject_is_found_wherever_an_authorizer_puts_it() {
    let functions = Functions::start().await;
    let none = json!({});
    let cognito = json!({ "claims": { "sub": "alice" } });
    let body = "{\"query\": \"Hi\"}";
    let (_, turn) = invoke(
        &functions.chat,
        &rest_api("POST", "/chat", &none, Some(body), &cognito),
    )
    .await;
    let query = format!("session_id={}", turn["session_id"].as_str().unwrap());

    let jwt = http_api("GET", "/chat/status", &query, None, Some("alice"));
    assert_eq!(invoke(&functions.status, &jwt).await.0, 200);

    let mut event = http_api("POST", "/chat", "", Some(&json!({ "query": "Hi" })), None);
    event["requestContext"]["authorizer"] = json!({ "lambda": { "sub": "alice" } });
    let (_, turn) = invoke(&functions.chat, &event).await;
    let query = json!({ "session_id": turn["session_id"] });
    let principal = rest_api(
        "GET",
        "/chat/status",
        &query,
        None,
        &json!({ "principalId": "alice" }),
    );
    assert_eq!(invoke(&functions.status, &principal).await.0, 200);
}

/// How an HTTP API or a function URL describes a caller who signed with IAM credentials.
fn iam(user_id: &str, cognito_identity: &Value) -> Value {
    json!({ "iam": {
        "accessKey": "ASIA1", "accountId": "1", "callerId": user_id,
        "cognitoIdentity": cognito_identity, "principalOrgId": null,
        "userArn": "arn:aws:sts::1:assumed-role/pool/CognitoIdentityCredentials",
        "userId": user_id,
    } })
}

/// How a REST API describes such a caller.
fn identity(user_id: &str, cognito_id: Option<&str>, pool: Option<&str>) -> Value {
    json!({
        "accountId": "1", "caller": user_id, "user": user_id,
        "cognitoIdentityId": cognito_id, "cognitoIdentityPoolId": pool,
        "userArn": "arn:aws:sts::1:assumed-role/pool/CognitoIdentityCredentials",
    })
}

#[tokio::test]
async fn two_identities_are_never_one_owner() {
    let functions = Functions::start().await;
    let pool_user = "AROA1:CognitoIdentityCredentials";
    let cognito =
        |id: &str| json!({ "amr": ["authenticated"], "identityId": id, "identityPoolId": "p" });
    // All IAM callers have the same ARN, and some callers share a name.
    let authorizers = [
        json!({ "jwt": { "claims": { "sub": "eu-1:alice" } } }),
        json!({ "lambda": { "sub": "eu-1:alice" } }),
        iam(pool_user, &cognito("eu-1:alice")),
        iam(pool_user, &cognito("eu-1:bob")),
        iam("AROA1:alice", &Value::Null),
        iam("AROA1:bob", &Value::Null),
        iam("eu-1:alice", &Value::Null),
    ];
    let with = |mut event: Value, authorizer: &Value| {
        event["requestContext"]["authorizer"] = authorizer.clone();
        event
    };
    // All send the same message id without a session: no caller finds the session of another.
    let message_id = Uuid::now_v7();
    let mut sessions = Vec::new();
    for (index, authorizer) in authorizers.iter().enumerate() {
        let body = json!({ "query": format!("secret {index}"), "message_id": message_id });
        let event = with(http_api("POST", "/chat", "", Some(&body), None), authorizer);
        let (status, turn) = invoke(&functions.chat, &event).await;
        assert_eq!(status, 200, "{authorizer}: {turn}");
        sessions.push(turn["session_id"].as_str().unwrap().to_owned());
    }
    for (owner, session_id) in sessions.iter().enumerate() {
        for (reader, authorizer) in authorizers.iter().enumerate() {
            let path = format!("/chat/history/{session_id}");
            let event = with(http_api("GET", &path, "", None, None), authorizer);
            let expected = if reader == owner { 200 } else { 404 };
            let (status, history) = invoke(&functions.history, &event).await;
            assert_eq!(status, expected, "{authorizer}: {history}");
        }
    }

    // A REST API describes the same callers differently.
    let rest = [
        (2, identity(pool_user, Some("eu-1:alice"), Some("p"))),
        (4, identity("AROA1:alice", None, None)),
    ];
    for (owner, identity) in rest {
        let query = json!({ "session_id": sessions[owner] });
        let mut event = rest_api("GET", "/chat/status", &query, None, &json!({}));
        event["requestContext"]["identity"] = identity;
        assert_eq!(invoke(&functions.status, &event).await.0, 200, "{event}");
    }
}

#[tokio::test]
async fn an_authorizer_that_identifies_no_caller_lets_no_one_in() {
    let functions = Functions::start().await;
    for authorizer in [
        json!({}),
        json!({ "jwt": { "claims": {} } }),
        json!({ "jwt": { "claims": { "sub": "" } } }),
        json!({ "lambda": { "role": "admin" } }),
        json!({ "lambda": {} }),
        json!({ "lambda": { "sub": 7 } }),
        iam("AROA1:CognitoIdentityCredentials", &Value::Null),
        iam(
            "AROA1:x",
            &json!({ "amr": [], "identityId": null, "identityPoolId": "p" }),
        ),
        json!({ "iam": { "userArn": "arn:aws:iam::1:user/alice" } }),
    ] {
        let mut event = http_api("GET", "/chat/status", "", None, None);
        event["requestContext"]["authorizer"] = authorizer.clone();
        let (status, body) = invoke(&functions.status, &event).await;
        assert_eq!(
            (status, &body["code"]),
            (401, &json!("unauthorized")),
            "{authorizer}"
        );
    }
    for identity in [
        identity("AROA1:CognitoIdentityCredentials", None, None),
        identity("AROA1:x", None, Some("pool")),
        json!({ "userArn": "arn:aws:iam::1:user/alice" }),
    ] {
        let none = json!({});
        let mut event = rest_api("GET", "/chat/status", &none, None, &none);
        event["requestContext"]["identity"] = identity.clone();
        assert_eq!(invoke(&functions.status, &event).await.0, 401, "{identity}");
    }
}

#[tokio::test]
async fn an_odd_address_is_read_or_refused() {
    let functions = Functions::start().await;
    let served = [
        // A function URL passes a `+` as a space.
        "limit=1&q=a b",
        "q=\"<>\u{7f}\u{1}#",
        "q=%zz&ü=é",
    ];
    for query in served {
        let mut event = http_api("GET", "/chat/status", query, None, None);
        event["headers"] = json!({ "host": "a b:c/", "x-forwarded-proto": "no scheme" });
        let (status, body) = invoke(&functions.status, &event).await;
        assert_eq!(status, 200, "{query}: {body}");
    }
    let long = "x".repeat(70_000);
    let refused = [
        http_api("GET", "/chat/status", &long, None, None),
        json!({ "source": "aws.events", "detail-type": "Scheduled Event", "detail": {} }),
        json!({
            "requestContext": { "elb": { "targetGroupArn": "arn" } },
            "httpMethod": "GET", "path": "/chat/status", "queryStringParameters": {},
            "headers": { "host": "lb.example" }, "body": "", "isBase64Encoded": false,
        }),
        json!([]),
        Value::Null,
    ];
    for event in refused {
        let (status, body) = invoke(&functions.status, &event).await;
        assert_eq!(
            (status, &body["code"]),
            (400, &json!("invalid_request")),
            "{event}"
        );
    }
    let path = "/chat/history/\u{0} {}<%zz>";
    let event = http_api("GET", path, "", None, None);
    assert_eq!(invoke(&functions.history, &event).await.0, 400);
}

/// A change to a value in an event.
#[derive(Debug, Clone)]
enum Change {
    Remove,
    Put(Value),
    /// Inserts text into a text, at this fraction of its length, in 255ths.
    Insert(u8, String),
}

fn change() -> impl Strategy<Value = Change> {
    let odd = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!([])),
        Just(json!([1, "a"])),
        Just(json!(7)),
        Just(json!(true)),
        Just(json!("2.0")),
        Just(json!("x".repeat(70_000))),
        ".*".prop_map(Value::String),
    ];
    let text = prop_oneof![
        ".*",
        "[ \"<>#%?/\\\\{}\u{0}-\u{20}]{1,4}",
        Just("://".to_owned())
    ];
    prop_oneof![
        1 => Just(Change::Remove),
        2 => odd.prop_map(Change::Put),
        3 => (any::<u8>(), text).prop_map(|(at, text)| Change::Insert(at, text)),
    ]
}

/// Pointers to everything in a value that can be changed, including the value itself.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let below = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &below(name), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &below(&index.to_string()), found);
            }
        }
        _ => {}
    }
}

fn apply(event: &mut Value, place: usize, change: Change) {
    let mut all = Vec::new();
    places(event, "", &mut all);
    let place = &all[place % all.len()];
    if let Change::Remove = change {
        remove(event, place);
        return;
    }
    let Some(value) = event.pointer_mut(place) else {
        return;
    };
    match (change, value) {
        (Change::Remove, _) => {}
        (Change::Insert(at, inserted), Value::String(text)) => {
            let at = text.len() * usize::from(at) / 255;
            text.insert_str(text.floor_char_boundary(at), &inserted);
        }
        (Change::Insert(_, text), value) => *value = Value::String(text),
        (Change::Put(new), value) => *value = new,
    }
}

fn remove(event: &mut Value, place: &str) {
    let Some((at, name)) = place.rsplit_once('/') else {
        *event = Value::Null;
        return;
    };
    match event.pointer_mut(at) {
        Some(Value::Object(members)) => {
            members.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            items.pop();
        }
        _ => {}
    }
}

/// A longer run: `PROPTEST_CASES=100000 cargo test --workspace events_that_are_changed`.
#[test]
fn events_that_are_changed_at_random_are_answered() {
    const EVENTS: [&str; 8] = [
        "function-url-iam.json",
        "function-url.json",
        "http-api-base64.json",
        "http-api-chat.json",
        "http-api-history.json",
        "http-api-stage.json",
        "rest-api-cognito.json",
        "rest-api-lambda-authorizer.json",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Nothing listens there: a request that reaches the database is answered with 503 immediately.
    let config = DatabaseConfig::parse("postgresql://u@127.0.0.1:1/d?connect_timeout=1");
    let store = Store::new(Arc::new(Database::new(config.unwrap())));
    let links = Links::new(store.clone(), Buckets::default());
    let (history, status) = (History::new(store.clone(), links), Status::new(store));
    let cases = std::env::var("PROPTEST_CASES").map_or(2000, |cases| cases.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let changes = proptest::collection::vec((any::<usize>(), change()), 1..4);
    let strategy = (0..EVENTS.len(), changes, any::<bool>());
    let result = TestRunner::new(config).run(&strategy, |(name, changes, reads_history)| {
        let mut event = sample(EVENTS[name]);
        // No request may reach the database, which would take time. One path is not a route of `status`;
        // the other has no id in it, which `history` notices only after reading everything else.
        let path = if reads_history {
            "/chat/history/none"
        } else {
            "/elsewhere"
        };
        for (member, value) in [
            ("/rawPath", path),
            ("/path", path),
            ("/requestContext/http/method", "GET"),
            ("/httpMethod", "GET"),
        ] {
            if let Some(place) = event.pointer_mut(member) {
                *place = json!(value);
            }
        }
        for (place, change) in changes {
            apply(&mut event, place, change);
        }
        let (status, body) = runtime.block_on(async {
            if reads_history {
                invoke(&history, &event).await
            } else {
                invoke(&status, &event).await
            }
        });
        prop_assert!((400..=503).contains(&status), "{status} {body}");
        prop_assert_ne!(&body["code"], "internal_error");
        prop_assert_eq!(&body["status"], status);
        Ok(())
    });
    result.unwrap();
}
