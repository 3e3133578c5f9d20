//! `docs/openapi.yaml` agrees with the code and with `docs/api.md`. That it agrees with what is answered is
//! checked wherever a test receives an answer (`support/contract.rs`).

use std::collections::BTreeSet;
use std::path::Path;

use axum::http::{HeaderMap, HeaderValue};
use local::endpoints;
use regex::Regex;
use serde_json::{Value, json};

use support::contract::{self, DOCUMENT};
use support::local_run::LocalRun;

#[test]
fn its_paths_are_those_of_the_table_of_endpoints() {
    let documented: BTreeSet<_> = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, operations)| {
            let methods = operations.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let table = endpoints::table();
    let served = table.iter().flat_map(|endpoint| endpoint.routes);
    let served: BTreeSet<_> = served
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    assert_eq!(documented, served);
}

#[test]
fn every_endpoint_has_its_tests_among_those_that_run_in_every_mode() {
    for endpoint in endpoints::table() {
        let file = format!("endpoints/{}.rs", endpoint.name.replace('-', "_"));
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert!(file.exists(), "{} is missing", file.display());
    }
}

#[test]
fn its_problems_are_those_of_the_written_contract() {
    let contract = include_str!("../../docs/api.md");
    let (_, errors) = contract.split_once("## Errors").unwrap();
    let (table, _) = errors.split_once("\n## ").unwrap();
    let code = Regex::new(r"`([a-z]+_[a-z_]+|unauthorized|forbidden)`").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let written: BTreeSet<_> = rows
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(|cell| code.captures_iter(cell))
        .map(|found| found[1].to_owned())
        .collect();
    let listed = &DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let listed: BTreeSet<String> = serde_json::from_value(listed.clone()).unwrap();
    assert_eq!(listed, written);
}

#[tokio::test]
async fn the_local_server_serves_it() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalRun::start(folder.path(), &[]).await;
    let url = format!("{}{}", local.address, local::openapi::PATH);
    let client = reqwest::Client::new();

    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/yaml");
    assert!(answer.headers().contains_key("x-request-id"));
    let text = answer.text().await.unwrap();
    assert_eq!(text, include_str!("../../docs/openapi.yaml"));

    let answer = client.head(&url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer = client.post(&url).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["allow"]),
        (405, &HeaderValue::from_static("GET, HEAD"))
    );
    local.stop().await;
}

/// An answer to `POST /chat/reset`, with a change.
fn reset(change: impl FnOnce(&mut Value, &mut HeaderMap)) {
    let id = "01980000-0000-7000-8000-000000000000";
    let mut body =
        json!({ "success": true, "message": "", "session_id": null, "new_session_id": id });
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", HeaderValue::from_static("id"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    change(&mut body, &mut headers);
    let body = body.to_string();
    contract::check("POST", "/chat/reset?a=b", 200, &headers, body.as_bytes());
}

#[test]
fn an_answer_is_as_documented() {
    reset(|_, _| ());
}

#[test]
#[should_panic = "'extra' was unexpected"]
fn an_undocumented_member_is_noticed() {
    reset(|body, _| body["extra"] = json!(1));
}

#[test]
#[should_panic = "/new_session_id: "]
fn an_id_of_another_form_is_noticed() {
    reset(|body, _| body["new_session_id"] = json!("7"));
}

#[test]
#[should_panic = "retry-after is not in the document"]
fn an_undocumented_header_is_noticed() {
    reset(|_, headers| {
        headers.insert("retry-after", HeaderValue::from_static("1"));
    });
}
