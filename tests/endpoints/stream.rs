//! `POST /chat/stream`, `GET /chat/stream/{session_id}` and `POST /chat/stop`.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;
use support::stream::{Read, Stream};

/// The question of a turn in a session.
fn question(session_id: Uuid, message_id: Uuid) -> Value {
    json!({ "query": "What helps against stress?", "session_id": session_id, "message_id": message_id })
}

/// Reads so many pieces of text, and leaves.
async fn read_some(mut stream: Stream, pieces: usize) -> Read {
    assert_eq!(stream.status, 200);
    let mut read = Read::default();
    for _ in 0..pieces {
        let event = loop {
            let event = stream.next().await.unwrap();
            if event.id.is_some() {
                break event;
            }
        };
        read.take(&event);
    }
    read
}

/// The content of the session's last message, and the number of messages.
async fn last_said(api: &TestApi, session_id: Uuid) -> (String, usize) {
    let said = api.history(session_id, "").await.said();
    (said.last().unwrap().1.clone(), said.len())
}

/// Waits until the session has this many messages.
async fn wait_for_messages(api: &TestApi, session_id: Uuid, count: usize) {
    for _ in 0..200 {
        let history = api.history(session_id, "").await;
        if history.status == 200 && history.said().len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the answer was never stored");
}

#[tokio::test]
async fn an_answer_arrives_word_by_word_and_is_stored_as_it_was_read() {
    let api = TestApi::start().await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let body = json!({
        "query": "A recording about sleep", "session_id": session_id, "message_id": message_id,
        "metadata": { "page": 1 },
    });

    let stream = api.stream(body).await;

    assert_eq!(stream.status, 200);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    let events = stream.all().await;
    let mut read = Read::default();
    events.iter().for_each(|event| read.take(event));
    let done = read.done();
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names[..3], ["started", "function_call", "delta"]);
    assert_eq!(names.iter().filter(|name| **name == "done").count(), 1);
    let started = json!({
        "session_id": session_id, "message_id": message_id,
        "response_id": done["response_id"], "model": "built-in",
    });
    assert_eq!(events[0].data, started);
    assert_eq!(events[1].data, done["function_calls"][0]);
    // It takes 20 ms for each word.
    let (first, last) = (&events[2], &events[events.len() - 2]);
    assert!(last.at - first.at > Duration::from_millis(400));
    let history = api.history(session_id, "").await;
    let answer = &history.body["history"][1];
    assert_eq!(answer["content"], read.text.as_str());
    assert_eq!(answer["message_id"], done["response_id"]);
    assert_eq!(history.body["history"][0]["metadata"], json!({ "page": 1 }));
    assert_eq!(done["conversation_length"], 2);
    assert_eq!(done["audio_provided"], true);
    api.verify().await;
}

#[tokio::test]
async fn two_answers_arrive_at_once() {
    let api = TestApi::start().await;
    let streams = [Uuid::now_v7(), Uuid::now_v7()].map(|session_id| {
        let question = question(session_id, Uuid::now_v7());
        let api = &api;
        async move {
            let texts = api.stream(question).await.all().await;
            let mut texts = texts.iter().filter(|event| event.name == "delta");
            (texts.next().unwrap().at, texts.next_back().unwrap().at)
        }
    });
    let [one, other] = streams;
    let (one, other) = tokio::join!(one, other);
    assert!(one.0 < other.1 && other.0 < one.1, "{one:?} {other:?}");
}

#[tokio::test]
async fn a_streamed_answer_is_the_one_that_a_plain_call_gets() {
    let api = TestApi::start().await;
    let plain = api.chat(question(Uuid::now_v7(), Uuid::now_v7())).await;
    let stream = api.stream(question(Uuid::now_v7(), Uuid::now_v7())).await;
    let mut read = Read::default();
    read.follow(stream).await;
    let (mut plain, mut done) = (plain.body, read.done().clone());
    for id in ["session_id", "message_id", "response_id"] {
        plain[id] = Value::Null;
        done[id] = Value::Null;
    }
    assert_eq!(done, plain);
}

#[tokio::test]
async fn an_answered_turn_is_replayed_whichever_way_it_was_answered() {
    let api = TestApi::start().await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let mut first = Read::default();
    first
        .follow(api.stream(question(session_id, message_id)).await)
        .await;
    let plain = api.chat(question(session_id, message_id)).await;
    assert_eq!(plain.headers["idempotent-replayed"], "true");
    assert_eq!(&plain.body, first.done());

    let again = api.stream(question(session_id, message_id)).await;

    assert_eq!(again.headers["idempotent-replayed"], "true");
    let mut read = Read::default();
    read.follow(again).await;
    assert_eq!(read.done(), first.done());
    let mut other = question(session_id, message_id);
    other["query"] = json!("Something else");
    let refused = api.refused(api.stream(other).await).await;
    refused.assert_problem(409, "message_id_reused");
}

#[tokio::test]
async fn a_reader_who_comes_back_lacks_nothing_and_gets_nothing_twice() {
    let api = TestApi::in_environments(2).await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let early = read_some(api.stream(question(session_id, message_id)).await, 5).await;
    let mut read = early.clone();

    // In the middle; the second time, the answer is stored.
    for _ in 0..2 {
        read = early.clone();
        let resumed = api.resume(session_id, "", read.last_id.as_deref()).await;
        assert_eq!(resumed.status, 200);
        read.follow(resumed).await;
        read.done();
    }

    let stored = last_said(&api, session_id).await;
    assert_eq!(stored, (read.text.clone(), 2));
    // The id in the address, where an empty header is none; and from the beginning.
    let last_id = early.last_id.as_deref().unwrap();
    let mut by_address = early.clone();
    let resumed = api
        .resume(session_id, &format!("?after={last_id}"), None)
        .await;
    by_address.follow(resumed).await;
    by_address.done();
    let mut from_start = Read::default();
    let by_question = format!("?message_id={message_id}");
    from_start
        .follow(api.resume(session_id, &by_question, None).await)
        .await;
    assert_eq!(from_start.done(), read.done());
    api.verify().await;
}

#[tokio::test]
async fn the_turn_goes_on_without_its_reader_and_blocks_others_meanwhile() {
    let api = TestApi::start().await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let read = read_some(api.stream(question(session_id, message_id)).await, 2).await;

    let other = api.chat(question(session_id, Uuid::now_v7())).await;
    other.assert_problem(409, "session_busy");
    let plain = api.chat(question(session_id, message_id)).await;
    plain.assert_problem(409, "session_busy");
    let other = api.stream(question(session_id, Uuid::now_v7())).await;
    api.refused(other).await.assert_problem(409, "session_busy");
    // The same turn is taken up, and found by those who know only the session.
    let again = api.stream(question(session_id, message_id)).await;
    let by_session = api.resume(session_id, "", None).await;

    for stream in [again, by_session] {
        let mut whole = Read::default();
        whole.follow(stream).await;
        whole.done();
        assert!(whole.text.starts_with(&read.text));
        assert_eq!(last_said(&api, session_id).await, (whole.text, 2));
    }
    let left = Uuid::now_v7();
    read_some(api.stream(question(left, Uuid::now_v7())).await, 1).await;
    wait_for_messages(&api, left, 2).await;
    api.verify().await;
}

#[tokio::test]
async fn a_stopped_turn_ends_with_what_was_said() {
    let api = TestApi::in_environments(2).await;
    // What was said earlier is quoted, so that the answer takes more than two seconds.
    let long = "a ".repeat(40);
    let session_id = api.session(&[&long]).await;
    let message_id = Uuid::now_v7();
    let asked = json!({ "query": long, "session_id": session_id, "message_id": message_id });
    let mut stream = api.stream(asked.clone()).await;
    let mut read = Read::default();
    read.take(&stream.next().await.unwrap());

    let other = format!("&message_id={}", Uuid::now_v7());
    let refused = api.stop(session_id, &other).await;
    refused.assert_problem(404, "message_not_found");
    let this = format!("&message_id={message_id}");
    let stopped = api.stop(session_id, &this).await;
    assert_eq!(stopped.body, json!({ "success": true, "stopping": true }));

    read.follow(stream).await;
    let done = read.done();
    assert!(read.text.starts_with("I am ") && !read.text.contains("Before that"));
    assert_eq!(done["finish_reason"], "stopped");
    assert_eq!(
        done["usage"],
        json!({ "input_tokens": null, "output_tokens": null })
    );
    assert_eq!(last_said(&api, session_id).await, (read.text.clone(), 4));

    // It is an answer like any other: the conversation goes on, and a repeated call gets it.
    let replayed = api.stream(asked).await;
    assert_eq!(replayed.headers["idempotent-replayed"], "true");
    drop(replayed);
    let next = api.chat(question(session_id, Uuid::now_v7())).await;
    assert_eq!(next.body["conversation_length"], 6);
    // There is nothing to stop any more.
    for more in [String::new(), format!("&message_id={message_id}")] {
        let stopped = api.stop(session_id, &more).await;
        assert_eq!(stopped.body, json!({ "success": true, "stopping": false }));
    }
    api.verify().await;
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_in_an_ordinary_answer() {
    let api = TestApi::start().await;
    let unknown = Uuid::now_v7();
    for (body, status, code) in [
        (json!({ "query": " " }), 400, "invalid_request"),
        (
            json!({ "query": "Hi", "session_id": "7" }),
            400,
            "invalid_request",
        ),
        (json!([]), 400, "invalid_json"),
    ] {
        let refused = api.refused(api.stream(body).await).await;
        refused.assert_problem(status, code);
    }
    let session_id = api.session(&["Hello"]).await;
    let history = api.history(session_id, "").await;
    let answer_id = &history.body["history"][1]["message_id"];
    let answer_id = answer_id.as_str().unwrap();
    let place = |seq: usize, characters: &str| format!("{seq}.{answer_id}.{characters}");
    for (session, query, last_id, status, code) in [
        (unknown, String::new(), None, 404, "session_not_found"),
        (
            session_id,
            format!("?message_id={unknown}"),
            None,
            404,
            "message_not_found",
        ),
        (
            session_id,
            format!("?message_id={answer_id}"),
            None,
            404,
            "message_not_found",
        ),
        (
            session_id,
            "?message_id=7".into(),
            None,
            400,
            "invalid_request",
        ),
        (session_id, "?after=7".into(), None, 400, "invalid_cursor"),
        (
            session_id,
            String::new(),
            Some("x".to_owned()),
            400,
            "invalid_cursor",
        ),
        (
            session_id,
            String::new(),
            Some(place(0, "1")),
            400,
            "invalid_cursor",
        ),
        (
            session_id,
            String::new(),
            Some(place(1, "-1")),
            400,
            "invalid_cursor",
        ),
        (
            session_id,
            String::new(),
            Some(place(2, "1")),
            400,
            "invalid_cursor",
        ),
        (
            session_id,
            String::new(),
            Some(place(9, "1")),
            400,
            "invalid_cursor",
        ),
    ] {
        let stream = api.resume(session, &query, last_id.as_deref()).await;
        assert_eq!(stream.status, status, "{query} {last_id:?}");
        let body: Value = serde_json::from_slice(&stream.bytes().await).unwrap();
        assert_eq!(body["code"], code, "{query} {last_id:?}");
    }
    // Nothing is in progress.
    assert_eq!(api.resume(session_id, "", None).await.status, 204);
    let stopped = api.stop(unknown, "").await;
    stopped.assert_problem(404, "session_not_found");
    api.request(axum::http::Method::POST, "/chat/stop")
        .await
        .assert_problem(400, "invalid_request");
    // A place beyond what was said, and in another answer to the same question.
    let mut read = Read::default();
    read.follow(api.resume(session_id, "", Some(&place(1, "3"))).await)
        .await;
    assert_eq!(read.end.unwrap().0, "done");
    let mut read = Read::default();
    let elsewhere = format!("1.{unknown}.3");
    read.follow(api.resume(session_id, "", Some(&elsewhere)).await)
        .await;
    read.done();
}

#[tokio::test]
async fn a_turn_whose_function_died_is_noticed_and_taken_up() {
    let settings = [("STREAM_DEAD_AFTER_SECONDS", "2")];
    let api = TestApi::with_settings(&settings).await;
    let (session_id, message_id) = (Uuid::now_v7(), Uuid::now_v7());
    let mut read = Read::default();
    read.follow(api.stream(question(session_id, message_id)).await)
        .await;
    // As if the function had died after a part of the answer.
    let response_id = read.done()["response_id"].as_str().unwrap().to_owned();
    let dead = Uuid::now_v7();
    api.sql(&format!(
        "delete from chat_messages where message_id = '{response_id}';
         update chat_sessions set message_count = 1, assistant_messages = 0, lease_id = '{dead}',
             lease_until = clock_timestamp() + interval '1 minute', lease_is_streamed = true,
             output_tokens = 0, input_tokens = 0, json_bytes = (
                 select json_bytes_through from chat_messages where session_id = '{session_id}'
             ), last_message_time = first_message_time
         where session_id = '{session_id}';
         insert into chat_streams (session_id, lease_id, question_seq, pieces, characters_through)
         values ('{session_id}', '{dead}', 1, '{{I am not}}', '{{8}}')"
    ))
    .await;

    // Readers are told as soon as it counts as dead, and have what was said.
    let mut late = Read::default();
    late.follow(api.resume(session_id, "", None).await).await;
    assert_eq!(late.text, "I am not");
    let (name, problem) = late.end.clone().unwrap();
    assert_eq!(
        (name.as_str(), &problem["code"]),
        ("error", &json!("turn_interrupted"))
    );
    assert_eq!(problem["message_id"], json!(message_id));

    let repeated = api.stream(question(session_id, message_id)).await;
    assert_eq!(repeated.status, 200);
    let mut resumed = late.clone();
    let resuming = api.resume(session_id, "", late.last_id.as_deref()).await;
    let mut whole = Read::default();
    tokio::join!(whole.follow(repeated), resumed.follow(resuming));
    assert_eq!(whole.done(), resumed.done());
    assert_eq!(last_said(&api, session_id).await, (whole.text, 2));
    api.verify().await;
}
