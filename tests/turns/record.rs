//! What is kept beside the messages: events, titles, digests, the record of erasures.

use serde_json::json;
use uuid::Uuid;

use support::TestApi;
use support::model_server::{ModelServer, Reply};

/// The kinds of events in the order they happened, each with the question it concerns.
async fn events(api: &TestApi) -> Vec<(String, Option<i64>)> {
    let connection = api.connection().await;
    let rows = connection
        .client()
        .query_typed(
            "select kind, question_seq from chat_events order by created_at",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn what_is_no_message_is_recorded_as_an_event() {
    let failure = Reply::Raw(401, "application/json", "{}".into());
    let model = ModelServer::start([
        Reply::Text("Hello".into()),
        failure,
        Reply::Held("too late".into()),
        Reply::Text("Here I am".into()),
    ])
    .await;
    let mut settings = model.settings().to_vec();
    settings.push(("MODEL_TIMEOUT_SECONDS", "1"));
    let api = TestApi::with_settings(&settings).await;
    let session_id = api.session(&["Hi"]).await;
    let turn = json!({ "query": "Are you there?", "session_id": session_id, "message_id": Uuid::now_v7() });

    api.chat(turn.clone())
        .await
        .assert_problem(502, "model_error");
    api.chat(turn.clone())
        .await
        .assert_problem(504, "model_timeout");
    assert_eq!(api.chat(turn.clone()).await.status, 200);
    assert_eq!(api.chat(turn).await.status, 200);
    assert_eq!(api.reset(session_id).await.status, 200);
    // Of a session that is not there, nothing is recorded.
    api.reset(Uuid::now_v7())
        .await
        .assert_problem(404, "session_not_found");

    let expected = [
        ("model_error", Some(3)),
        ("model_timeout", Some(3)),
        ("replay", Some(3)),
        ("reset", None),
    ];
    let expected = expected.map(|(kind, seq)| (kind.to_owned(), seq));
    assert_eq!(events(&api).await, expected);
    api.verify().await;
}

#[tokio::test]
async fn a_session_is_titled_by_its_first_question_and_a_copy_by_its_source() {
    let api = TestApi::start().await;
    let question = "  What helps  me to fall asleep after a long day at work and a late dinner?";
    let session_id = api.session(&[question, "And then?"]).await;
    let history = api.history(session_id, "").await;
    let second = history.body["history"][1]["message_id"].as_str().unwrap();
    assert_eq!(api.fork(session_id, second).await.status, 200);

    let connection = api.connection().await;
    let titles = "select title, forked_seq from chat_sessions order by id";
    let rows = connection.client().query_typed(titles, &[]).await.unwrap();
    let title = "What helps me to fall asleep after a long day at work and a";
    let found: Vec<(String, Option<i64>)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(
        found,
        [(title.to_owned(), None), (title.to_owned(), Some(2))]
    );

    // The copy's messages name those they were copied from, in a copy of the copy as well.
    let copied = "select count(*) from chat_messages copy
        join chat_messages origin on origin.message_id = copy.origin_message_id
        where origin.origin_message_id is null and origin.content = copy.content";
    assert_eq!(api.number(copied).await, 2);
    let copy_id = "select session_id from chat_sessions where forked_seq is not null";
    let row = connection.client().query_typed_one(copy_id, &[]).await;
    let copy_id: Uuid = row.unwrap().get(0);
    let history = api.history(copy_id, "").await;
    let second = history.body["history"][1]["message_id"].as_str().unwrap();
    assert_eq!(api.fork(copy_id, second).await.status, 200);
    assert_eq!(api.number(copied).await, 4);
    api.verify().await;
}

#[tokio::test]
async fn an_answer_that_another_turn_got_ahead_of_is_found_again() {
    let failure = Reply::Raw(401, "application/json", "{}".into());
    let model = ModelServer::start([failure, Reply::Echo]).await;
    let api = TestApi::with_settings(&model.settings()).await;
    let session_id = Uuid::now_v7();
    let first = json!({ "query": "one", "session_id": session_id, "message_id": Uuid::now_v7() });
    api.chat(first.clone())
        .await
        .assert_problem(502, "model_error");
    let second = json!({ "query": "two", "session_id": session_id });
    assert_eq!(api.chat(second).await.status, 200);

    let answered = api.chat(first.clone()).await;
    assert_eq!(answered.body["conversation_length"], 4);
    let repeated = api.chat(first).await;

    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!(repeated.body, answered.body);
    assert_eq!(api.number("select count(*) from chat_messages").await, 4);
    let late = "select pg_relation_size('chat_messages_session_id_reply_to_seq_key')";
    assert!(api.number(late).await > 8192, "only late answers are in it");
    api.verify().await;
}

#[tokio::test]
async fn a_repeated_message_is_compared_by_the_digest_of_its_text() {
    let api = TestApi::start().await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let turn =
        |query: &str| json!({ "query": query, "session_id": session_id, "message_id": message_id });
    let answered = api.chat(turn("Grüße")).await;

    // The text itself is not looked at, as it is not where content is encrypted.
    api.sql("update chat_messages set content = 'unreadable' where seq = 1")
        .await;

    assert_eq!(api.chat(turn("Grüße")).await.body, answered.body);
    for other in ["Grüsse", "unreadable", "Grüße "] {
        api.chat(turn(other))
            .await
            .assert_problem(409, "message_id_reused");
    }
}

#[tokio::test]
async fn an_erased_session_does_not_exist_and_is_never_opened_again() {
    let model = ModelServer::start([Reply::Text("Hello".into()), Reply::Held("Late".into())]).await;
    let api = std::sync::Arc::new(TestApi::with_settings(&model.settings()).await);
    let session_id = api.session(&["Hi"]).await;
    let history = api.history(session_id, "").await;
    let first = history.body["history"][0]["message_id"].clone();
    let first = first.as_str().unwrap().to_owned();
    model.asked().await;

    // A turn is in progress when the session is erased.
    let turn = tokio::spawn({
        let api = std::sync::Arc::clone(&api);
        async move {
            api.chat(json!({ "query": "Still there?", "session_id": session_id }))
                .await
        }
    });
    model.asked().await;
    let erase = format!(
        "insert into chat_erasures (session_id, message_count, on_behalf_of)
         values ('{session_id}', 3, 'caller');
         update chat_sessions set erased_at = now() where session_id = '{session_id}'"
    );
    api.sql(&erase).await;
    model.release();
    turn.await.unwrap().assert_problem(404, "session_not_found");

    for step in ["marked", "erased"] {
        if step == "erased" {
            api.sql("delete from chat_messages; delete from chat_sessions")
                .await;
        }
        let chat = json!({ "query": "Hi", "session_id": session_id, "message_id": first });
        for answer in [
            api.history(session_id, "").await,
            api.status(session_id).await,
            api.load(session_id).await,
            api.fork(session_id, &first).await,
            api.reset(session_id).await,
            api.chat(chat).await,
        ] {
            let detail = answer.assert_problem(404, "session_not_found");
            assert!(!detail.contains("erased"), "{step}: {detail}");
        }
    }
    assert_eq!(api.number("select count(*) from chat_messages").await, 0);
    assert_eq!(api.number("select count(*) from chat_events").await, 0);
    assert_eq!(
        api.number("select message_count from chat_erasures").await,
        3
    );
}
