//! `/chat/sessions`: the list of a caller's sessions, one session, and feedback.

use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;
use support::api::Answer;

/// The ids in a list, in its order.
fn ids(list: &Answer) -> Vec<Uuid> {
    assert_eq!(list.status, 200, "{}", list.body);
    let sessions = list.body["sessions"].as_array().unwrap();
    let id = |session: &Value| session["session_id"].as_str().unwrap().parse().unwrap();
    sessions.iter().map(id).collect()
}

/// Sessions of one turn each, the one used last first.
async fn used_in_turn(api: &TestApi, count: usize) -> Vec<Uuid> {
    let mut sessions = Vec::new();
    for n in 0..count {
        sessions.push(api.session(&[&format!("Question {n}")]).await);
    }
    sessions.reverse();
    sessions
}

#[tokio::test]
async fn a_session_has_every_field_of_the_contract() {
    let api = TestApi::start().await;
    let session_id = api
        .session(&["  What helps me\nto sleep?", "And then?"])
        .await;
    let history = api.history(session_id, "").await.body["history"].clone();

    let found = api.find(session_id).await;

    let session = json!({
        "session_id": session_id,
        "title": "What helps me to sleep?",
        "status": "active",
        "pinned": false,
        "archived": false,
        "metadata": null,
        "created_at": found.body["created_at"],
        "updated_at": history[3]["timestamp"],
        "last_message_time": history[3]["timestamp"],
        "message_count": 4,
        "forked_from": null,
    });
    assert_eq!((found.status, &found.body), (200, &session));
    let list = api.sessions("").await;
    let expected =
        json!({ "success": true, "sessions": [session], "has_more": false, "next_cursor": null });
    assert_eq!(list.body, expected);
}

#[tokio::test]
async fn sessions_are_listed_by_their_last_message_and_nothing_else() {
    let api = TestApi::start().await;
    let sessions = used_in_turn(&api, 3).await;
    assert_eq!(ids(&api.sessions("").await), sessions);

    // None of this is use.
    let oldest = sessions[2];
    assert_eq!(api.load(oldest).await.status, 200);
    assert_eq!(api.status(oldest).await.status, 200);
    assert_eq!(
        api.change(oldest, json!({ "title": "A" })).await.status,
        200
    );
    api.request(Method::POST, "/chat/reset").await;
    assert_eq!(ids(&api.sessions("").await), sessions);

    api.chat(json!({ "query": "Again", "session_id": oldest }))
        .await;
    assert_eq!(
        ids(&api.sessions("").await),
        [oldest, sessions[0], sessions[1]]
    );

    // A copy was used when it was made.
    let message = api.history(sessions[1], "").await.body["history"][1]["message_id"].clone();
    let copy = api
        .fork(sessions[1], message.as_str().unwrap())
        .await
        .id("session_id");
    let list = api.sessions("").await;
    assert_eq!(ids(&list), [copy, oldest, sessions[0], sessions[1]]);
    let origin = json!({ "session_id": sessions[1], "message_id": message });
    assert_eq!(list.body["sessions"][0]["forked_from"], origin);

    // One that was reset stays in the list.
    assert_eq!(api.reset(copy).await.status, 200);
    assert_eq!(
        api.sessions("").await.body["sessions"][0]["status"],
        "inactive"
    );
    api.verify().await;
}

#[tokio::test]
async fn pages_skip_and_repeat_nothing_whatever_is_used_meanwhile() {
    let api = TestApi::start().await;
    let sessions = used_in_turn(&api, 7).await;
    // Some in the same microsecond, some in another hour.
    api.sql(
        "update chat_sessions set last_message_time = timestamptz '2026-01-01 00:59:59.999999Z' where id in (2, 3, 4);
         update chat_sessions set last_message_time = timestamptz '2026-01-01 01:00:00Z' where id = 5",
    )
    .await;

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.sessions(&format!("?limit=2{cursor}")).await;
        seen.extend(ids(&page));
        let Some(next) = page.body["next_cursor"].as_str() else {
            assert_eq!(page.body["has_more"], false);
            break;
        };
        assert_eq!(
            (&page.body["has_more"], ids(&page).len()),
            (&json!(true), 2)
        );
        cursor = format!("&after={next}");
        api.session(&["Meanwhile"]).await;
    }

    assert_eq!(seen[..2], sessions[..2]);
    assert_eq!(seen[2], sessions[6], "used today");
    assert_eq!(seen[3], sessions[2], "the hour after the others");
    let mut equal = sessions[3..6].to_vec();
    equal.sort_unstable();
    equal.reverse();
    assert_eq!(seen[4..], equal);
}

#[tokio::test]
async fn a_session_is_renamed_pinned_archived_and_labelled() {
    let api = TestApi::start().await;
    let sessions = used_in_turn(&api, 3).await;

    let changed = api
        .change(
            sessions[0],
            json!({ "title": "Über Schlaf", "pinned": true, "metadata": { "a": [1] } }),
        )
        .await;
    assert_eq!(changed.body["title"], "Über Schlaf");
    assert_eq!(changed.body["pinned"], true);
    assert_eq!(changed.body["metadata"], json!({ "a": [1] }));
    assert_eq!(changed.body, api.find(sessions[0]).await.body);
    let archived = api
        .change(sessions[1], json!({ "archived": true, "pinned": true }))
        .await;
    assert_eq!(archived.body["archived"], true);

    for (query, expected) in [
        ("", vec![sessions[0], sessions[2]]),
        ("?archived=false", vec![sessions[0], sessions[2]]),
        ("?archived=true", vec![sessions[1]]),
        ("?archived=all", sessions.clone()),
        ("?pinned=true", vec![sessions[0]]),
        ("?pinned=true&archived=true", vec![sessions[1]]),
        ("?pinned=true&archived=all", vec![sessions[0], sessions[1]]),
    ] {
        assert_eq!(ids(&api.sessions(query).await), expected, "{query}");
    }

    // What is left out stays; null in title and metadata takes them away.
    let same = api.change(sessions[0], json!({ "pinned": null })).await;
    assert_eq!(same.body["title"], "Über Schlaf");
    assert_eq!(same.body["metadata"], json!({ "a": [1] }));
    let back = api
        .change(
            sessions[0],
            json!({ "title": null, "metadata": null, "pinned": false }),
        )
        .await;
    assert_eq!(back.body["title"], "Question 2");
    assert_eq!(
        (&back.body["metadata"], &back.body["pinned"]),
        (&Value::Null, &json!(false))
    );

    // A copy begins with the title of its source.
    api.change(sessions[2], json!({ "title": "Mine" })).await;
    let history = api.history(sessions[2], "").await;
    let copy = api
        .fork(
            sessions[2],
            history.body["history"][1]["message_id"].as_str().unwrap(),
        )
        .await
        .id("session_id");
    assert_eq!(api.find(copy).await.body["title"], "Mine");
    let copy = api.change(copy, json!({ "title": null })).await;
    assert_eq!(copy.body["title"], "Question 0");
    api.verify().await;
}

#[tokio::test]
async fn invalid_requests_name_what_is_wrong() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let history = api.history(session_id, "?limit=1").await;
    let other_cursor = history.body["next_cursor"].as_str().unwrap();
    for (query, named) in [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?archived=yes", "archived"),
        ("?pinned=false", "pinned"),
    ] {
        let detail = api
            .sessions(query)
            .await
            .assert_problem(400, "invalid_request");
        assert!(detail.contains(named), "{query}: {detail}");
    }
    let far = shared::http::cursor::encode_timed(i64::MAX, session_id);
    for cursor in ["", "x", other_cursor, &far] {
        api.sessions(&format!("?after={cursor}"))
            .await
            .assert_problem(400, "invalid_cursor");
    }
    for (body, named) in [
        (json!({ "title": "" }), "title"),
        (json!({ "title": " \n" }), "title"),
        (json!({ "title": "a".repeat(201) }), "title"),
        (json!({ "title": "a\0" }), "title"),
        (json!({ "title": 7 }), "title"),
        (json!({ "pinned": "true" }), "pinned"),
        (json!({ "archived": 1 }), "archived"),
        (json!({ "metadata": [] }), "metadata"),
        (
            json!({ "metadata": { "a": "b".repeat(16 * 1024) } }),
            "metadata",
        ),
        (json!({ "metadata": { "a": "\0" } }), "metadata"),
    ] {
        let detail = api
            .change(session_id, body)
            .await
            .assert_problem(400, "invalid_request");
        assert!(detail.contains(named), "{detail}");
    }
    assert_eq!(
        api.change(session_id, json!({ "title": "😀".repeat(200) }))
            .await
            .status,
        200
    );
    api.find("7").await.assert_problem(400, "invalid_request");
    let unknown = Uuid::now_v7();
    for answer in [
        api.find(unknown).await,
        api.change(unknown, json!({ "pinned": true })).await,
        api.erase(unknown).await,
        api.feedback(unknown, unknown, json!({ "rating": "up" }))
            .await,
    ] {
        answer.assert_problem(404, "session_not_found");
    }
}

#[tokio::test]
async fn feedback_on_an_answer_is_shown_with_it() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi", "And?"]).await;
    let history = api.history(session_id, "").await.body["history"].clone();
    let id = |n: usize| history[n]["message_id"].as_str().unwrap().to_owned();
    assert!(
        history
            .as_array()
            .unwrap()
            .iter()
            .all(|message| message["feedback"].is_null())
    );

    let given = api
        .feedback(
            session_id,
            id(1),
            json!({ "rating": "up", "comment": "Danke 😀" }),
        )
        .await;
    let feedback = json!({ "rating": "up", "comment": "Danke 😀" });
    assert_eq!(
        given.body,
        json!({ "success": true, "session_id": session_id, "message_id": id(1), "feedback": feedback })
    );
    let shown = api.history(session_id, "").await.body["history"].clone();
    assert_eq!(shown[1]["feedback"], feedback);
    assert_eq!(
        (&shown[0]["feedback"], &shown[3]["feedback"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(api.load(session_id).await.body["history"], shown);
    let copy = api.fork(session_id, id(3)).await;
    assert_eq!(
        copy.body["history"][1]["feedback"],
        Value::Null,
        "of a copy there is none"
    );

    // It replaces the earlier one as a whole, and null takes it back.
    api.feedback(session_id, id(1), json!({ "rating": "down" }))
        .await;
    let shown = api.history(session_id, "?limit=2").await;
    let down = json!({ "rating": "down", "comment": null });
    assert_eq!(shown.body["history"][1]["feedback"], down);
    let back = api
        .feedback(
            session_id,
            id(1),
            json!({ "rating": null, "comment": "ignored" }),
        )
        .await;
    assert_eq!(back.body["feedback"], Value::Null);
    let shown = api.history(session_id, "").await;
    assert_eq!(shown.body["history"], history);
    assert_eq!(
        api.number("select count(*) from chat_feedback where comment is not null")
            .await,
        0
    );

    api.feedback(session_id, id(0), json!({ "rating": "up" }))
        .await
        .assert_problem(400, "invalid_request");
    api.feedback(session_id, Uuid::now_v7(), json!({ "rating": "up" }))
        .await
        .assert_problem(404, "message_not_found");
    for body in [
        json!({}),
        json!({ "rating": "great" }),
        json!({ "rating": 1 }),
        json!({ "rating": "up", "comment": "a".repeat(2001) }),
        json!({ "rating": "up", "comment": "" }),
        json!({ "rating": "up", "comment": "\0" }),
    ] {
        api.feedback(session_id, id(1), body)
            .await
            .assert_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn an_erased_session_is_gone_for_everyone() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Secret words"]).await;
    let message = api.history(session_id, "").await.body["history"][1]["message_id"].clone();
    let copy = api
        .fork(session_id, message.as_str().unwrap())
        .await
        .id("session_id");
    api.change(
        session_id,
        json!({ "title": "Secret", "metadata": { "secret": 1 } }),
    )
    .await;

    let erased = api.erase(session_id).await;

    let expected = json!({ "success": true, "session_id": session_id, "erased_messages": 2 });
    assert_eq!(erased.body, expected);
    assert_eq!(ids(&api.sessions("?archived=all").await), [copy]);
    for answer in [
        api.erase(session_id).await,
        api.find(session_id).await,
        api.change(session_id, json!({ "pinned": true })).await,
        api.feedback(
            session_id,
            message.as_str().unwrap(),
            json!({ "rating": "up" }),
        )
        .await,
        api.history(session_id, "").await,
        api.chat(json!({ "query": "Hi", "session_id": session_id }))
            .await,
    ] {
        answer.assert_problem(404, "session_not_found");
    }
    let left = "select count(*) from chat_sessions
        where session_id = $id and (title is not null or own_title is not null or metadata is not null)";
    let left = left.replace("$id", &format!("'{session_id}'"));
    assert_eq!(api.number(&left).await, 0);
    let record = "select message_count from chat_erasures where on_behalf_of = 'caller'";
    assert_eq!(api.number(record).await, 2);
    assert_eq!(api.history(copy, "").await.body["message_count"], 2);
}

#[tokio::test]
async fn an_installation_may_forbid_listing_and_erasing() {
    let settings = [
        ("ANONYMOUS_SEES_ALL", "false"),
        ("CALLERS_MAY_ERASE", "false"),
    ];
    let api = TestApi::with_settings(&settings).await;
    let session_id = api.session(&["Hi"]).await;

    let detail = api.sessions("").await.assert_problem(403, "forbidden");
    assert!(detail.contains("ANONYMOUS_SEES_ALL"), "{detail}");
    let detail = api.erase(session_id).await.assert_problem(403, "forbidden");
    assert!(detail.contains("CALLERS_MAY_ERASE"), "{detail}");

    // Who knows the id of a session may use it.
    assert_eq!(api.find(session_id).await.status, 200);
    assert_eq!(
        api.change(session_id, json!({ "title": "A" })).await.status,
        200
    );
}

#[tokio::test]
async fn a_session_of_another_owner_does_not_exist() {
    let api = TestApi::start().await;
    let (mine, foreign) = (api.session(&["Hi"]).await, api.session(&["Hi"]).await);
    let message = api.history(foreign, "").await.body["history"][1]["message_id"].clone();
    api.sql(&format!(
        "update chat_sessions set owner = 'jwt:alice' where session_id = '{foreign}'"
    ))
    .await;

    assert_eq!(ids(&api.sessions("?archived=all").await), [mine]);
    for answer in [
        api.find(foreign).await,
        api.change(foreign, json!({ "title": "Mine" })).await,
        api.erase(foreign).await,
        api.feedback(
            foreign,
            message.as_str().unwrap(),
            json!({ "rating": "up" }),
        )
        .await,
    ] {
        answer.assert_problem(404, "session_not_found");
    }
    let untouched =
        "select count(*) from chat_sessions where owner is not null and own_title is null
        and erased_at is null";
    assert_eq!(api.number(untouched).await, 1);
    assert_eq!(api.number("select count(*) from chat_feedback").await, 0);
    assert_eq!(api.number("select count(*) from chat_erasures").await, 0);
}
