//! `template.yaml` agrees with the code, gives away no more than it has to, and keeps the data.

use std::collections::BTreeSet;

use axum::http::Method;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};
use shared::endpoint::Endpoint;
use shared::route::Route;
use uuid::Uuid;

use crate::support::TestApi;

/// The functions with a route, by package. What they answer to is the truth about routes.
const ROUTES: [(&str, Route); 5] = [
    ("chat", ::chat::Chat::ROUTE),
    ("history", ::history::History::ROUTE),
    ("load-session", ::load_session::LoadSession::ROUTE),
    ("reset", ::reset::Reset::ROUTE),
    ("status", ::status::Status::ROUTE),
];

/// How long an HTTP API waits for a function, in seconds.
const API_TIMEOUT: u64 = 30;

/// The statements that may name more than one thing by a `*`, and why.
const MANY_RESOURCES: [(&str, &str); 1] = [(
    "AnswerCloudFormation",
    "CloudFormation invents the name of the object its answer goes to; the bucket is its own",
)];

/// The template, with its short forms written out: `!Ref Api` is `{"Ref": "Api"}`.
fn template() -> Value {
    let documents = Yaml::load_from_str(include_str!("../template.yaml")).unwrap();
    plain(&documents[0])
}

fn plain(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.0),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(nodes) => nodes.iter().map(plain).collect(),
        Yaml::Mapping(nodes) => nodes
            .iter()
            .map(|(name, value)| (name.as_str().unwrap().to_owned(), plain(value)))
            .collect(),
        Yaml::Tagged(tag, value) => {
            let function = match &*tag.suffix {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            json!({ function: plain(value) })
        }
        other => panic!("{other:?} is nothing a template holds"),
    }
}

fn cargo_toml() -> Value {
    toml::from_str(include_str!("../Cargo.toml")).unwrap()
}

/// The members of an object.
fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().unwrap().iter();
    members.map(|(name, value)| (name.as_str(), value))
}

/// The functions, by name.
fn functions(template: &Value) -> Vec<(&str, &Value)> {
    members(&template["Resources"])
        .filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function")
        .collect()
}

/// The package a function is built from.
fn package(function: &Value) -> &str {
    let binary = &function["Metadata"]["BuildProperties"]["Binary"];
    binary.as_str().unwrap()
}

/// A property of a function, or what all functions have in its place.
fn property<'a>(template: &'a Value, function: &'a Value, pointer: &str) -> &'a Value {
    let own = function["Properties"].pointer(pointer);
    own.or_else(|| template["Globals"]["Function"].pointer(pointer))
        .unwrap_or(&Value::Null)
}

/// Every object within that has this member, at any depth.
fn objects_with<'a>(value: &'a Value, member: &str) -> Vec<&'a Value> {
    let within: Vec<&Value> = match value {
        Value::Array(values) => values.iter().collect(),
        Value::Object(values) => values.values().collect(),
        _ => return Vec::new(),
    };
    let itself = value.get(member).map(|_| value);
    let within = within
        .into_iter()
        .flat_map(|value| objects_with(value, member));
    itself.into_iter().chain(within).collect()
}

/// Every statement of a policy within.
fn statements(value: &Value) -> Vec<&Value> {
    objects_with(value, "Effect")
}

/// Every text within, at any depth: what is named, and what is referred to.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text.as_str()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(values) => values.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The resources with a statement in which this occurs.
fn who_may<'a>(template: &'a Value, what: &str) -> Vec<&'a str> {
    members(&template["Resources"])
        .filter(|(_, resource)| {
            let mut named = statements(resource).into_iter().flat_map(texts);
            named.any(|text| text.contains(what))
        })
        .map(|(name, _)| name)
        .collect()
}

/// The routes of the functions, as (package, method, path).
fn routes() -> BTreeSet<(String, String, String)> {
    ROUTES
        .iter()
        .map(|(package, route)| {
            (
                (*package).to_owned(),
                route.method.to_owned(),
                route.path.to_owned(),
            )
        })
        .collect()
}

#[test]
fn the_api_of_the_template_has_the_routes_of_the_functions() {
    let template = template();
    let of_events: BTreeSet<_> = functions(&template)
        .into_iter()
        .flat_map(|(_, function)| {
            objects_with(&function["Properties"]["Events"], "Path")
                .into_iter()
                .map(move |event| {
                    let text = |name: &str| event[name].as_str().unwrap().to_owned();
                    (package(function).to_owned(), text("Method"), text("Path"))
                })
        })
        .collect();
    assert_eq!(of_events, routes());

    let paths = &template["Resources"]["Api"]["Properties"]["DefinitionBody"]["paths"];
    let defined: BTreeSet<_> = members(paths)
        .flat_map(|(path, methods)| {
            members(methods).map(move |(method, _)| (method.to_uppercase(), path.to_owned()))
        })
        .collect();
    let expected: BTreeSet<_> = routes()
        .into_iter()
        .map(|(_, method, path)| (method, path))
        .collect();
    assert_eq!(defined, expected);
}

#[test]
fn cargo_lambda_watch_has_the_routes_of_the_functions() {
    let cargo = cargo_toml();
    let router = &cargo["workspace"]["metadata"]["lambda"]["watch"]["router"];
    let watched: BTreeSet<_> = members(router)
        .map(|(path, package)| (package.as_str().unwrap(), path))
        .collect();
    let expected: BTreeSet<_> = ROUTES
        .iter()
        .map(|(package, route)| (*package, route.path))
        .collect();
    assert_eq!(watched, expected);
}

#[tokio::test]
async fn the_local_server_has_the_routes_of_the_functions() {
    let api = TestApi::start().await;
    for (package, route) in ROUTES {
        let path = route
            .path
            .replace("{session_id}", &Uuid::now_v7().to_string());
        let answer = api.request(Method::PUT, &path).await;
        assert_eq!(answer.status, 405, "{package}");
        let allowed = answer.headers["allow"].to_str().unwrap();
        assert_eq!(allowed.split(", ").next(), Some(route.method), "{package}");
    }
}

#[test]
fn no_policy_of_ours_allows_everything() {
    let template = template();
    let statements = statements(&template["Resources"]);
    assert!(statements.len() >= 8, "they are found");
    for statement in statements {
        for action in texts(&statement["Action"]) {
            assert!(!action.contains('*'), "{statement}");
        }
        let excused = MANY_RESOURCES
            .iter()
            .any(|(sid, _)| statement["Sid"] == *sid);
        for resource in texts(&statement["Resource"]) {
            assert!(resource != "*", "{statement}");
            assert!(excused || !resource.contains('*'), "{statement}");
        }
    }
    for (name, function) in functions(&template) {
        let policies = function["Properties"]["Policies"].as_array().unwrap();
        let are_ours = policies.iter().all(Value::is_object);
        assert!(are_ours, "{name} has a policy of AWS's by its name");
    }
}

#[test]
fn only_chat_may_ask_the_model_and_only_migrate_may_change_the_schema() {
    let template = template();
    for what in ["bedrock:", "BedrockModelArns", "ModelKeySecretArn"] {
        assert_eq!(who_may(&template, what), ["ChatFunction"], "{what}");
    }
    for what in ["/daissy_admin", "MigrateSecretArn"] {
        assert_eq!(who_may(&template, what), ["MigrateFunction"], "{what}");
    }
}

#[test]
fn every_function_is_built_logged_traced_and_ends_before_its_caller_gives_up() {
    let (template, cargo) = (template(), cargo_toml());
    let functions = functions(&template);
    assert_eq!(functions.len(), ROUTES.len() + 1);
    for (name, function) in functions {
        let package = package(function);
        assert_eq!(
            function["Metadata"]["BuildMethod"], "rust-cargolambda",
            "{name}"
        );
        assert_eq!(
            cargo["workspace"]["dependencies"][package]["path"],
            format!("functions/{package}"),
            "{name}"
        );

        let property = |pointer| property(&template, function, pointer);
        assert_eq!(*property("/LoggingConfig/LogFormat"), "JSON", "{name}");
        assert_eq!(*property("/Tracing"), "Active", "{name}");
        let log_group = property("/LoggingConfig/LogGroup/Ref").as_str().unwrap();
        let log_group = &template["Resources"][log_group];
        assert_eq!(log_group["Type"], "AWS::Logs::LogGroup", "{name}");
        assert!(
            !log_group["Properties"]["RetentionInDays"].is_null(),
            "{name}"
        );

        let timeout = property("/Timeout").as_u64().unwrap();
        assert!(package == "migrate" || timeout < API_TIMEOUT, "{name}");
    }
}

#[test]
fn a_new_migration_is_applied_by_the_next_deployment_before_new_code_takes_a_request() {
    let template = template();
    let migration = &template["Resources"]["SchemaMigration"];
    assert_eq!(
        migration["Properties"]["Migrations"],
        json!(::migrate::known_migrations())
    );
    for (name, function) in functions(&template) {
        if package(function) != "migrate" {
            assert_eq!(function["DependsOn"], "SchemaMigration", "{name}");
        }
    }
}

#[test]
fn cloudformation_waits_for_the_migration_at_least_as_long_as_it_may_take() {
    let template = template();
    let resources = &template["Resources"];
    let waits = resources["SchemaMigration"]["Properties"]["ServiceTimeout"].as_u64();
    let takes = resources["MigrateFunction"]["Properties"]["Timeout"].as_u64();
    assert!(waits.unwrap() >= takes.unwrap());
}

#[test]
fn every_parameter_is_explained_and_none_holds_a_secret() {
    let template = template();
    let parameters = &template["Parameters"];
    for (name, parameter) in members(parameters) {
        assert!(
            parameter["Description"].as_str().unwrap().len() > 20,
            "{name}"
        );
        let about_secrets = ["Secret", "Key", "Password", "Token"]
            .iter()
            .any(|word| name.contains(word));
        if about_secrets {
            assert!(
                name.ends_with("Arn"),
                "{name} must name a secret, not be one"
            );
            assert_eq!(parameter["Default"], "", "{name}");
        }
        assert!(parameter["NoEcho"].is_null(), "{name}");
    }

    let groups = &template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"];
    let mut grouped: Vec<&str> = groups
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| texts(&group["Parameters"]))
        .collect();
    grouped.sort_unstable();
    let mut all: Vec<&str> = members(parameters).map(|(name, _)| name).collect();
    all.sort_unstable();
    assert_eq!(grouped, all);
}

#[test]
fn the_data_survives_the_stack() {
    let template = template();
    let clusters: Vec<_> = members(&template["Resources"])
        .filter(|(_, resource)| resource["Type"] == "AWS::RDS::DBCluster")
        .collect();
    assert!(!clusters.is_empty());
    for (name, cluster) in clusters {
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            let kept = ["Snapshot", "Retain"]
                .iter()
                .any(|keep| cluster[policy] == *keep);
            assert!(kept, "{name}: {policy}");
        }
        assert_eq!(cluster["Properties"]["DeletionProtection"], true, "{name}");
    }
}

#[test]
fn what_is_measured_is_told_apart_by_stack_and_function() {
    let template = template();
    let variables = &template["Globals"]["Function"]["Environment"]["Variables"];
    assert_eq!(variables["STACK_NAME"], json!({ "Ref": "AWS::StackName" }));

    let metrics = objects_with(&template["Resources"], "MetricName");
    let ours: Vec<_> = metrics
        .into_iter()
        .filter(|metric| metric["Namespace"] == "Daissy")
        .collect();
    assert!(!ours.is_empty());
    for metric in ours {
        let dimensions = metric["Dimensions"].as_array().unwrap().iter();
        let names: Vec<_> = dimensions.map(|dimension| &dimension["Name"]).collect();
        assert_eq!(names, ["Stack", "Function"], "{metric}");
    }
}
