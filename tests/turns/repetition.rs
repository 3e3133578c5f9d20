//! Repeated calls, one turn at a time, and the lease.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;
use support::model_server::{ModelServer, Reply};

fn turn(session_id: Uuid, message_id: Uuid, query: &str) -> Value {
    json!({ "query": query, "session_id": session_id, "message_id": message_id })
}

#[tokio::test]
async fn a_repeated_call_gets_the_stored_answer() {
    let api = TestApi::start().await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let first = api
        .chat(turn(session_id, message_id, "An audio about sleep"))
        .await;
    assert!(!first.headers.contains_key("idempotent-replayed"));
    api.chat(json!({ "query": "Another turn", "session_id": session_id }))
        .await;

    let repeated = api
        .chat(turn(session_id, message_id, "An audio about sleep"))
        .await;

    assert_eq!(repeated.status, 200);
    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!(repeated.body, first.body);
    assert_eq!(api.history(session_id, "").await.body["message_count"], 4);
}

#[tokio::test]
async fn a_call_that_names_no_session_is_repeated_in_the_one_it_opened() {
    let failure = Reply::Raw(401, "application/json", "{}".into());
    let model = ModelServer::start([failure, Reply::Text("Hello".into())]).await;
    let api = TestApi::with_settings(&model.settings()).await;
    let body = json!({ "query": "Hi", "message_id": Uuid::now_v7() });

    let failed = api.chat(body.clone()).await;
    failed.assert_problem(502, "model_error");
    let answered = api.chat(body.clone()).await;
    let replayed = api.chat(body).await;

    assert_eq!(
        (answered.status, answered.id("session_id")),
        (200, failed.id("session_id"))
    );
    assert_eq!(replayed.headers["idempotent-replayed"], "true");
    assert_eq!(replayed.body, answered.body);
    assert_eq!(api.number("select count(*) from chat_sessions").await, 1);
    api.verify().await;
}

#[tokio::test]
async fn a_turn_whose_answer_could_not_be_stored_can_be_repeated_immediately() {
    let model = ModelServer::start([Reply::Held("Hello".into())]).await;
    let api = Arc::new(TestApi::with_settings(&model.settings()).await);
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let running = api.chat_meanwhile(turn(session_id, message_id, "Hi"));
    model.asked().await;
    api.sql("alter table chat_messages add constraint none check (role <> 'assistant')")
        .await;
    model.release();
    let failed = running.await.unwrap();
    failed.assert_problem(500, "internal_error");
    assert_eq!(
        (failed.id("session_id"), failed.id("message_id")),
        (session_id, message_id)
    );
    api.sql("alter table chat_messages drop constraint none")
        .await;

    model.release();
    let repeated = api.chat(turn(session_id, message_id, "Hi")).await;
    assert_eq!(
        (repeated.status, &repeated.body["conversation_length"]),
        (200, &json!(2))
    );
}

#[tokio::test]
async fn an_answered_call_is_replayed_even_after_a_reset() {
    let api = TestApi::start().await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let first = api.chat(turn(session_id, message_id, "Hi")).await;
    api.reset(session_id).await;

    let repeated = api.chat(turn(session_id, message_id, "Hi")).await;

    assert_eq!((repeated.status, repeated.body), (200, first.body));
}

#[tokio::test]
async fn a_message_id_means_one_message_of_its_session() {
    let api = TestApi::start().await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let first = api.chat(turn(session_id, message_id, "Hi")).await;
    let cases = [
        (turn(session_id, message_id, "Hi!"), "another query"),
        (
            turn(session_id, first.id("response_id"), "Hi"),
            "an assistant's message",
        ),
    ];
    for (body, reason) in cases {
        let answer = api.chat(body).await;
        let detail = answer.assert_problem(409, "message_id_reused");
        assert!(detail.contains("message_id"), "{reason}");
    }
    assert_eq!(api.number("select count(*) from chat_messages").await, 2);

    // In another session, or without one, it is a different message.
    let elsewhere = api.chat(turn(Uuid::now_v7(), message_id, "Hi!")).await;
    assert_eq!(elsewhere.body["conversation_length"], 2);
    let alone = json!({ "query": "Alone", "message_id": message_id });
    let opened = api.chat(alone).await;
    assert_eq!(opened.body["conversation_length"], 2);
    let other = json!({ "query": "Not alone", "message_id": message_id });
    api.chat(other)
        .await
        .assert_problem(409, "message_id_reused");
    assert_eq!(api.number("select count(*) from chat_sessions").await, 3);
    api.verify().await;
}

#[tokio::test]
async fn a_turn_that_may_have_begun_can_be_repeated_immediately() {
    let (api, proxy) = TestApi::behind_proxy(&[]).await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    api.session(&["Hi"]).await;

    // The statement is executed twice, and neither answer arrives.
    proxy.cut_before_next_answers(2);
    let failed = api.chat(turn(session_id, message_id, "Hi")).await;
    failed.assert_problem(503, "database_unavailable");

    let repeated = api.chat(turn(session_id, message_id, "Hi")).await;
    assert_eq!(
        (repeated.status, &repeated.body["conversation_length"]),
        (200, &json!(2)),
        "{}",
        repeated.body
    );
}

#[tokio::test]
async fn the_ids_that_a_problem_names_are_those_to_repeat_the_call_with() {
    let api = TestApi::start().await;
    let body = json!({ "query": "Hi", "message_id": Uuid::now_v7() });
    let answered = api.chat(body.clone()).await;

    // In this process, wherever the rest runs: `cargo run` does not start without its database.
    let nowhere = "postgresql://u:p@127.0.0.1:1/d";
    let (down, _lines) = TestApi::on_lambda(String::new(), nowhere, &[]).await;
    let failed = down.chat(body).await;
    failed.assert_problem(503, "database_unavailable");

    let repeat = turn(failed.id("session_id"), failed.id("message_id"), "Hi");
    let repeated = api.chat(repeat).await;
    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!(repeated.body, answered.body);
    assert_eq!(api.number("select count(*) from chat_messages").await, 2);
}

#[tokio::test]
async fn a_model_that_fails_loses_nothing_and_the_turn_can_be_repeated() {
    let failure = Reply::Raw(401, "application/json", "{}".into());
    let model = ModelServer::start([failure, Reply::Text("Here I am".into())]).await;
    let api = TestApi::with_settings(&model.settings()).await;

    let failed = api.chat(json!({ "query": "Hi" })).await;

    failed.assert_problem(502, "model_error");
    let (session_id, message_id) = (failed.id("session_id"), failed.id("message_id"));
    let history = api.history(session_id, "").await;
    assert_eq!(history.said(), [("user".into(), "Hi".into())]);

    let repeated = api.chat(turn(session_id, message_id, "Hi")).await;
    assert_eq!(repeated.status, 200, "{}", repeated.body);
    assert!(
        !repeated.headers.contains_key("idempotent-replayed"),
        "the model was asked"
    );
    assert_eq!(repeated.body["conversation_length"], 2);
    let history = api.history(session_id, "").await;
    assert_eq!(
        history.said(),
        [
            ("user".into(), "Hi".into()),
            ("assistant".into(), "Here I am".into())
        ]
    );
}

#[tokio::test]
async fn a_turn_resumed_later_sees_only_the_messages_before_its_question() {
    let failure = Reply::Raw(401, "application/json", "{}".into());
    let model = ModelServer::start([failure, Reply::Text("fine".into())]).await;
    let api = TestApi::with_settings(&model.settings()).await;
    let failed = api.chat(json!({ "query": "first" })).await;
    let (session_id, message_id) = (failed.id("session_id"), failed.id("message_id"));
    api.chat(json!({ "query": "second", "session_id": session_id }))
        .await;

    let repeated = api.chat(turn(session_id, message_id, "first")).await;

    assert_eq!(repeated.body["conversation_length"], 4);
    let requests = model.requests();
    let seen = requests[2]["messages"].as_array().unwrap();
    assert_eq!(seen.last().unwrap()["content"], "first");
    assert!(
        seen.iter().all(|message| message["content"] != "second"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn while_a_turn_runs_another_is_told_to_wait() {
    let model = ModelServer::start([Reply::Held("done".into())]).await;
    let api = Arc::new(TestApi::with_settings(&model.settings()).await);
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let running = api.chat_meanwhile(turn(session_id, message_id, "Hi"));
    model.asked().await;

    let other = api
        .chat(json!({ "query": "Me too", "session_id": session_id }))
        .await;
    other.assert_problem(409, "session_busy");
    assert!(
        other.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    let same = api.chat(turn(session_id, message_id, "Hi")).await;
    same.assert_problem(409, "session_busy");
    assert_eq!(
        api.status(session_id).await.status,
        200,
        "reading is not blocked"
    );

    model.release();
    let finished = running.await.unwrap();
    assert_eq!(finished.body["conversation_length"], 2);
    model.release();
    let after = api
        .chat(json!({ "query": "Me too", "session_id": session_id }))
        .await;
    assert_eq!(after.body["conversation_length"], 4);
}

#[tokio::test]
async fn a_turn_whose_function_died_stops_blocking_when_its_lease_ends() {
    let model = ModelServer::start([Reply::Held("late".into())]).await;
    let api = Arc::new(TestApi::with_settings(&model.settings()).await);
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let stuck = api.chat_meanwhile(turn(session_id, message_id, "Hi"));
    model.asked().await;
    api.sql("update chat_sessions set lease_until = now() - interval '1 second'")
        .await;

    // The next caller takes the turn over; the late one stores nothing.
    let taken_over = api.chat_meanwhile(turn(session_id, message_id, "Hi"));
    model.asked().await;
    model.release();
    let late = stuck.await.unwrap();
    model.release();
    let taken_over = taken_over.await.unwrap();

    late.assert_problem(409, "session_busy");
    assert_eq!(
        (late.id("session_id"), late.id("message_id")),
        (session_id, message_id)
    );
    assert_eq!(taken_over.status, 200, "{}", taken_over.body);
    assert_eq!(api.history(session_id, "").await.body["message_count"], 2);
}

#[tokio::test]
async fn a_turn_that_outlives_a_reset_is_stored() {
    let model = ModelServer::start([Reply::Held("kept".into())]).await;
    let api = Arc::new(TestApi::with_settings(&model.settings()).await);
    let session_id = Uuid::now_v7();
    let running = api.chat_meanwhile(turn(session_id, Uuid::now_v7(), "Hi"));
    model.asked().await;
    api.reset(session_id).await;
    model.release();

    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(api.status(session_id).await.body["status"], "inactive");
    assert_eq!(api.history(session_id, "").await.body["message_count"], 2);
}

#[tokio::test]
async fn concurrent_callers_of_one_session_never_mix_their_turns() {
    let api = Arc::new(TestApi::in_environments(4).await);
    let session_id = Uuid::now_v7();
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let api = Arc::clone(&api);
            tokio::spawn(async move {
                let message_id = Uuid::now_v7();
                let query = format!("caller {caller}");
                loop {
                    let answer = api.chat(turn(session_id, message_id, &query)).await;
                    if answer.status == 200 {
                        return answer;
                    }
                    answer.assert_problem(409, "session_busy");
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }

    let said = api.history(session_id, "").await.said();
    assert_eq!(said.len(), 32);
    for pair in said.chunks(2) {
        assert_eq!(
            (pair[0].0.as_str(), pair[1].0.as_str()),
            ("user", "assistant")
        );
        assert!(
            pair[1].1.contains(&pair[0].1),
            "the answer follows its question: {pair:?}"
        );
    }
}

#[tokio::test]
async fn the_same_call_from_two_concurrent_callers_is_one_turn() {
    let api = Arc::new(TestApi::in_environments(2).await);
    for _ in 0..50 {
        let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
        let body = turn(session_id, message_id, "Hi");
        let (one, other) = tokio::join!(api.chat(body.clone()), api.chat(body));
        for answer in [&one, &other] {
            assert!(answer.status == 200 || answer.body["code"] == "session_busy");
        }
        assert!(one.status == 200 || other.status == 200);
        assert_eq!(api.history(session_id, "").await.body["message_count"], 2);
    }
}
