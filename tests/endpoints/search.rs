//! `GET /chat/search`: messages of a caller, found by their words.

use serde_json::{Value, json};
use uuid::Uuid;

use support::TestApi;
use support::api::Answer;

/// The questions that were found, in the order of the results; the answers of the built-in model are left out.
fn questions(answer: &Answer) -> Vec<Uuid> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let results = answer.body["results"].as_array().unwrap().iter();
    let questions = results.filter(|result| result["role"] == "user");
    questions
        .map(|result| result["message_id"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Says something in a session; returns the id of the message.
async fn say(api: &TestApi, session_id: Uuid, query: &str) -> Uuid {
    let message_id = Uuid::now_v7();
    let body = json!({ "query": query, "session_id": session_id, "message_id": message_id });
    let answer = api.chat(body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    message_id
}

/// The highlighted parts of a result.
fn highlighted(result: &Value) -> Vec<String> {
    let snippet: Vec<char> = result["snippet"].as_str().unwrap().chars().collect();
    let place = |place: &Value| usize::try_from(place.as_u64().unwrap()).unwrap();
    let highlights = result["highlights"].as_array().unwrap().iter();
    highlights
        .map(|highlight| {
            snippet[place(&highlight[0])..place(&highlight[1])]
                .iter()
                .collect()
        })
        .collect()
}

#[tokio::test]
async fn a_result_has_every_field_of_the_contract() {
    let api = TestApi::start().await;
    let session_id = Uuid::now_v7();
    let message_id = say(&api, session_id, "What helps with\nFALLING asleep?").await;
    let history = api.history(session_id, "").await;
    let result = json!({
        "session_id": session_id,
        "title": "What helps with FALLING asleep?",
        "message_id": message_id,
        "role": "user",
        "timestamp": history.body["history"][0]["timestamp"],
        "snippet": "What helps with FALLING asleep?",
        "highlights": [[16, 23], [24, 30]],
    });
    let expected =
        json!({ "success": true, "results": [result], "has_more": false, "next_cursor": null });

    assert_eq!(api.search("falling asl", "&role=user").await.body, expected);
    // In the index as before it was there.
    api.fill().await;
    assert_eq!(api.search("falling asl", "&role=user").await.body, expected);
}

#[tokio::test]
async fn words_phrases_exclusions_and_alternatives_find_what_they_say() {
    let api = TestApi::start().await;
    let session_id = Uuid::now_v7();
    let texts = [
        "I sleep badly when it rains",
        "When it snows, I fall asleep",
        "Die Grüße aus Łódź – naïve",
        "今日は東京タワーに行く",
        "ฉันนอนไม่หลับ",
        "Don’t use iPhone手机 (example.com/sleep-better)",
        "ПЛОХО сплю",
    ];
    let mut said = Vec::new();
    for text in texts {
        said.push(say(&api, session_id, text).await);
    }
    let cases: &[(&str, &[usize])] = &[
        ("sleep", &[5, 0]),
        ("SLEEP badly", &[0]),
        ("badly sleep", &[0]),
        ("\"badly sleep\"", &[]),
        ("\"fall asleep\"", &[1]),
        ("\"fall asl\"", &[]),
        ("\"fall asl", &[1]),
        ("fal", &[1]),
        ("fal i", &[]),
        ("sleep -rains", &[5]),
        ("it -\"fall asleep\"", &[0]),
        ("rains or snows", &[1, 0]),
        ("rains or snows fall", &[1, 0]),
        ("grusse", &[2]),
        ("gru\u{308}ße łódź", &[2]),
        ("naive", &[2]),
        ("東京", &[3]),
        ("京東", &[]),
        ("東京 行く", &[3]),
        ("東京 -タワー", &[]),
        ("นอน", &[4]),
        ("หลับ", &[4]),
        ("don't", &[5]),
        ("手机", &[5]),
        ("iphone手机", &[5]),
        ("better", &[5]),
        ("example.com", &[5]),
        ("плохо", &[6]),
        ("nothing", &[]),
    ];
    for filled in [false, true] {
        if filled {
            api.fill().await;
        }
        for (query, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|index| said[*index]).collect();
            let found = questions(&api.search(query, "&role=user").await);
            assert_eq!(found, expected, "{query}, filled: {filled}");
        }
    }
    let found = api.search("東京", "&role=user").await;
    assert_eq!(highlighted(&found.body["results"][0]), ["東京"]);
    let found = api.search("don't", "&role=user").await;
    assert_eq!(highlighted(&found.body["results"][0]), ["Don’t"]);
}

#[tokio::test]
async fn what_is_no_search_is_refused() {
    let api = TestApi::start().await;
    let session_id = api.session(&["Hi"]).await;
    let long = "a".repeat(201);
    let cases = [
        ("", "no query"),
        ("?q=", "an empty one"),
        ("?q=%20", "a blank one"),
        (&format!("?q={long}"), "a long one"),
        ("?q=a%00b", "NUL"),
        ("?q=a&q=b", "two"),
        ("?q=%3F!", "only punctuation"),
        ("?q=-a", "only what to leave out"),
        (
            "?q=a+or+-b",
            "an alternative that says only what to leave out",
        ),
        ("?q=a&limit=0", "a limit of nothing"),
        ("?q=a&limit=51", "a great limit"),
        ("?q=a&role=system", "another role"),
        ("?q=a&from=yesterday", "no time"),
        ("?q=a&to=2026-01-31", "a day"),
        ("?q=a&session_id=x", "no id"),
    ];
    for (query, reason) in cases {
        let path = format!("/chat/search{query}");
        let answer = api.request(axum::http::Method::GET, &path).await;
        assert_eq!((answer.status, reason), (400, reason), "{}", answer.body);
        answer.assert_problem(400, "invalid_request");
    }
    let list = api.sessions("?limit=1").await;
    assert_eq!(list.status, 200);
    for cursor in ["x", "", &shared::http::cursor::encode(session_id, 1)] {
        let answer = api.search("hi", &format!("&after={cursor}")).await;
        answer.assert_problem(400, "invalid_cursor");
    }
    let longest = "a".repeat(200);
    assert_eq!(api.search(&longest, "&limit=50").await.status, 200);
}

#[tokio::test]
async fn role_times_and_session_narrow_a_search() {
    let api = TestApi::start().await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let old = say(&api, first, "sleep").await;
    let new = say(&api, second, "sleep").await;
    api.sql(&format!(
        "update chat_messages set timestamp = '2026-01-01 12:00:00Z' where message_id = '{old}'"
    ))
    .await;
    for filled in [false, true] {
        if filled {
            api.fill().await;
        }
        for (more, expected) in [
            ("", vec![new, old]),
            ("&to=2026-01-01T12:00:00.000001Z", vec![old]),
            ("&to=2026-01-01T12:00:00Z", vec![]),
            (
                "&from=2026-01-01T12:00:00Z&to=2026-01-02T00:00:00%2B01:00",
                vec![old],
            ),
            ("&from=2026-01-01T12:00:00.000001Z", vec![new]),
            ("&role=assistant", vec![]),
            (&format!("&session_id={first}"), vec![old]),
            (&format!("&session_id={second}&role=user"), vec![new]),
        ] {
            let found = questions(&api.search("sleep", more).await);
            assert_eq!(found, expected, "{more}, filled: {filled}");
        }
    }
}

#[tokio::test]
async fn sessions_of_others_and_erased_ones_are_never_found() {
    let api = TestApi::start().await;
    let (own, foreign, erased) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let said = say(&api, own, "the same words").await;
    say(&api, foreign, "the same words").await;
    say(&api, erased, "the same words").await;
    let give_away =
        format!("update chat_sessions set owner = 'jwt:bob' where session_id = '{foreign}'");
    api.sql(&give_away).await;

    for filled in [false, true] {
        if filled {
            api.fill().await;
            assert_eq!(api.erase(erased).await.status, 200);
        } else {
            let hidden =
                format!("update chat_sessions set erased_at = now() where session_id = '{erased}'");
            api.sql(&hidden).await;
        }
        assert_eq!(questions(&api.search("the same words", "").await), [said]);
        assert_eq!(
            questions(&api.search("the or words -same", "").await),
            [said]
        );
        for session_id in [foreign, erased, Uuid::now_v7()] {
            let answer = api
                .search("same", &format!("&session_id={session_id}"))
                .await;
            answer.assert_problem(404, "session_not_found");
        }
        let shown =
            format!("update chat_sessions set erased_at = null where session_id = '{erased}'");
        if !filled {
            api.sql(&shown).await;
        }
    }
}

#[tokio::test]
async fn pages_skip_and_repeat_nothing_while_turns_go_on_and_the_index_is_filled() {
    let api = TestApi::start().await;
    let sessions = [Uuid::now_v7(), Uuid::now_v7()];
    let mut said = Vec::new();
    for n in 0..11 {
        said.push(say(&api, sessions[n % 2], &format!("sleep {n}")).await);
    }
    // Some in the same moment.
    api.sql(
        "update chat_messages set timestamp = '2026-01-01Z' where seq <= 4;
         update chat_messages set timestamp = '2026-01-02Z' where seq = 5",
    )
    .await;

    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = api
            .search("sleep", &format!("&role=user&limit=2{cursor}"))
            .await;
        found.extend(questions(&page));
        let Some(next) = page.body["next_cursor"].as_str() else {
            assert_eq!(page.body["has_more"], false);
            break;
        };
        assert_eq!(
            (&page.body["has_more"], questions(&page).len()),
            (&json!(true), 2)
        );
        cursor = format!("&after={next}");
        pages += 1;
        say(&api, sessions[0], "sleep meanwhile").await;
        if pages == 2 {
            api.fill().await;
        }
    }
    let mut sorted = found.clone();
    sorted.sort_unstable();
    said.sort_unstable();
    assert_eq!(sorted, said);
}

#[tokio::test]
async fn callers_who_cannot_be_told_apart_search_only_what_they_can_name() {
    let api = TestApi::with_settings(&[("ANONYMOUS_SEES_ALL", "false")]).await;
    let session_id = Uuid::now_v7();
    let said = say(&api, session_id, "sleep").await;

    api.search("sleep", "")
        .await
        .assert_problem(403, "forbidden");
    let found = api
        .search("sleep", &format!("&session_id={session_id}"))
        .await;
    assert_eq!(questions(&found), [said]);
}
