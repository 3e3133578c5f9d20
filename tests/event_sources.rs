//! Requests as API Gateway and function URLs hand them to the functions, and whose sessions they see.

use std::sync::Arc;

use ::chat::{Chat, ChatConfig};
use ::history::History;
use ::load_session::LoadSession;
use ::reset::Reset;
use ::status::Status;
use serde_json::{Value, json};
use shared::database::{Database, DatabaseConfig};
use shared::endpoint::{Endpoint, respond};
use shared::monitor::Monitor;
use uuid::Uuid;

use crate::support::postgres;

/// The five functions, as Lambda calls them.
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
        let database = Arc::new(Database::new(DatabaseConfig::parse(&url).unwrap()));
        let config = ChatConfig::read(|_| None).await.unwrap();
        Self {
            chat: Chat::new(Arc::clone(&database), config),
            history: History::new(Arc::clone(&database)),
            load_session: LoadSession::new(Arc::clone(&database)),
            status: Status::new(Arc::clone(&database)),
            reset: Reset::new(database),
            database: name,
        }
    }
}

async fn invoke<E: Endpoint>(function: &E, event: &Value) -> (u16, Value) {
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    let response = respond(function, &Monitor::to_log(), request).await;
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-request-id"));
    let lambda_http::Body::Text(body) = response.into_body() else {
        panic!("a body of text")
    };
    (status, serde_json::from_str(&body).unwrap())
}

/// An event of an HTTP API (payload format 2.0), with the members the functions read.
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
    let event = http_api("POST", "/chat/load-session", &query, None, None);
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
    // `{"query": "` and two bytes that no character begins with.
    event["body"] = json!("eyJxdWVyeSI6ICL//iJ9");
    event["isBase64Encoded"] = json!(true);
    let (status, problem) = invoke(&functions.chat, &event).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_json")));
}

/// An event of the folder `events`, which shows what AWS sends.
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
                &http_api("POST", "/chat/load-session", &query, None, stranger),
            )
            .await,
            invoke(
                &functions.load_session,
                &http_api("POST", "/chat/load-session", &fork, None, stranger),
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

/// What an HTTP API or a function URL says of a caller who signed with credentials of IAM.
fn iam(user_id: &str, cognito_identity: &Value) -> Value {
    json!({ "iam": {
        "accessKey": "ASIA1", "accountId": "1", "callerId": user_id,
        "cognitoIdentity": cognito_identity, "principalOrgId": null,
        "userArn": "arn:aws:sts::1:assumed-role/pool/CognitoIdentityCredentials",
        "userId": user_id,
    } })
}

/// What a REST API says of one.
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
    // All of them with the same ARN, and two with the same name.
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
    // The same message id without a session, too: nobody finds another's.
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

    // A REST API tells of the same callers in other words.
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
async fn an_authorizer_that_names_nobody_lets_nobody_in() {
    let functions = Functions::start().await;
    for authorizer in [
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
