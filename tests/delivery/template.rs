//! `template.yaml` agrees with the code, grants no more than necessary, and keeps the data.

use std::collections::BTreeSet;

use axum::http::Method;
use local::endpoints;
use maintain::MaintainConfig;
use serde_json::{Value, json};
use shared::buckets::Buckets;
use shared::database::DatabaseConfig;
use shared::http::endpoint::Endpoint;
use uuid::Uuid;

use support::{TestApi, yaml};

/// Timeout of an HTTP API for a function, in seconds.
const API_TIMEOUT: u64 = 30;

/// The part of it that a cold start takes, in seconds; a function's own timeout begins after that.
const COLD_START: u64 = 2;

/// The time that Lambda may need to reactivate a function in a VPC that was not called for weeks, in
/// seconds.
const LAMBDA_WAKES: u64 = 90;

/// The functions without a route.
pub(super) const WITHOUT_A_ROUTE: [&str; 3] = ["authorizer", "maintain", "migrate"];

/// The routes whose answers stream, which only a REST API can, as (package, method, path).
pub(super) const STREAMED: [(&str, &str, &str); 3] = [
    ("stream", "GET", "/chat/stream/{session_id}"),
    ("stream", "POST", "/chat/stop"),
    ("stream", "POST", "/chat/stream"),
];

/// The functions that ask the model.
const ASK_THE_MODEL: [&str; 2] = ["chat", "stream"];

/// The statements that may use a `*` in a resource, and why.
const MANY_RESOURCES: [(&str, &str); 1] = [(
    "AnswerCloudFormation",
    "CloudFormation chooses the name of the object for the answer, in its own bucket",
)];

/// The types of resources, or their prefixes, through which a function could be called from outside. The APIs
/// and the functions themselves are checked more closely.
const DOORS: [&str; 6] = [
    "AWS::ApiGateway",
    "AWS::AppSync::",
    "AWS::ElasticLoadBalancing",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Url",
    "AWS::Serverless::",
];

/// The template, with its short forms written out: `!Ref Api` is `{"Ref": "Api"}`.
pub(super) fn template() -> Value {
    yaml::read(include_str!("../../template.yaml"))
}

fn cargo_toml() -> Value {
    toml::from_str(include_str!("../../Cargo.toml")).unwrap()
}

/// The members of an object.
pub(super) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().unwrap().iter();
    members.map(|(name, value)| (name.as_str(), value))
}

/// The functions, by name.
pub(super) fn functions(template: &Value) -> Vec<(&str, &Value)> {
    members(&template["Resources"])
        .filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function")
        .collect()
}

/// The package a function is built from.
pub(super) fn package(function: &Value) -> &str {
    let binary = &function["Metadata"]["BuildProperties"]["Binary"];
    binary.as_str().unwrap()
}

/// A property of a function, or the default for all functions.
pub(super) fn property<'a>(template: &'a Value, function: &'a Value, pointer: &str) -> &'a Value {
    let own = function["Properties"].pointer(pointer);
    own.or_else(|| template["Globals"]["Function"].pointer(pointer))
        .unwrap_or(&Value::Null)
}

/// Every object inside a value that has this member, at any depth.
pub(super) fn objects_with<'a>(value: &'a Value, member: &str) -> Vec<&'a Value> {
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

/// Every policy statement inside a value.
fn statements(value: &Value) -> Vec<&Value> {
    objects_with(value, "Effect")
}

/// Every text inside a value, at any depth, including the names in references.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text.as_str()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(values) => values.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The resources that have a policy statement in which `what` occurs.
fn who_may<'a>(template: &'a Value, what: &str) -> Vec<&'a str> {
    members(&template["Resources"])
        .filter(|(_, resource)| {
            let mut named = statements(resource).into_iter().flat_map(texts);
            named.any(|text| text.contains(what))
        })
        .map(|(name, _)| name)
        .collect()
}

/// The routes of the functions, as (package, method, path), from the table of endpoints.
fn routes() -> BTreeSet<(String, String, String)> {
    let table = endpoints::table();
    let routes = table.iter().flat_map(|endpoint| {
        let routes = endpoint.routes.iter();
        routes.map(|route| (endpoint.name, route.method, route.path))
    });
    routes
        .map(|(package, method, path)| (package.to_owned(), method.to_owned(), path.to_owned()))
        .collect()
}

#[test]
fn the_apis_of_the_template_have_the_routes_of_the_functions() {
    let template = template();
    let owned =
        |(package, method, path): (&str, &str, &str)| (package.into(), method.into(), path.into());
    let streamed: BTreeSet<(String, String, String)> = STREAMED.map(owned).into();
    let others: BTreeSet<_> = routes().difference(&streamed).cloned().collect();
    for (api, reference, expected) in [
        ("Api", "ApiId", others),
        ("StreamApi", "RestApiId", streamed),
    ] {
        let of_events: BTreeSet<_> = functions(&template)
            .into_iter()
            .flat_map(|(_, function)| {
                objects_with(&function["Properties"]["Events"], "Path")
                    .into_iter()
                    .filter(|event| event[reference]["Ref"] == api)
                    .map(move |event| {
                        let text = |name: &str| event[name].as_str().unwrap().to_owned();
                        (package(function).to_owned(), text("Method"), text("Path"))
                    })
            })
            .collect();
        assert_eq!(of_events, expected, "{api}");

        let paths = &template["Resources"][api]["Properties"]["DefinitionBody"]["paths"];
        let defined: BTreeSet<_> = members(paths)
            .flat_map(|(path, methods)| {
                let methods = members(methods).filter(|(method, _)| *method != "options");
                methods.map(move |(method, _)| (method.to_uppercase(), path.to_owned()))
            })
            .collect();
        let expected: BTreeSet<_> = expected
            .into_iter()
            .map(|(_, method, path)| (method, path))
            .collect();
        assert_eq!(defined, expected, "{api}");
    }
}

#[test]
fn cargo_lambda_watch_has_the_routes_of_the_functions() {
    let cargo = cargo_toml();
    let router = &cargo["workspace"]["metadata"]["lambda"]["watch"]["router"];
    let watched: BTreeSet<_> = members(router)
        .map(|(path, package)| (package.as_str().unwrap().to_owned(), path.to_owned()))
        .collect();
    let expected: BTreeSet<_> = routes()
        .into_iter()
        .map(|(package, _, path)| (package, path))
        .collect();
    assert_eq!(watched, expected);
}

#[tokio::test]
async fn the_local_server_has_the_routes_of_the_functions() {
    let api = TestApi::start().await;
    for (package, method, path) in routes() {
        let path = path.replace("{session_id}", &Uuid::now_v7().to_string());
        let answer = api.request(Method::TRACE, &path).await;
        assert_eq!(answer.status, 405, "{package}");
        let allowed = answer.headers["allow"].to_str().unwrap();
        assert!(
            allowed.split(", ").any(|allowed| allowed == method),
            "{package}"
        );
    }
}

#[test]
fn no_policy_of_ours_allows_everything() {
    let template = template();
    let statements = statements(&template["Resources"]);
    assert!(statements.len() >= 8, "the statements are found");
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
        assert!(are_ours, "{name} uses a named AWS policy");
    }
}

#[test]
fn only_turns_may_ask_the_model_and_only_migrate_may_change_the_schema() {
    let template = template();
    let turns = ["ChatFunction", "StreamFunction"];
    assert_eq!(who_may(&template, "ModelKeySecretArn"), turns);
    assert_eq!(who_may(&template, "EmbeddingKeySecretArn"), turns);
    // The VPC endpoint lets nothing else through.
    for what in ["bedrock:", "BedrockModelArns"] {
        let may = who_may(&template, what);
        assert_eq!(may, [turns[0], turns[1], "BedrockEndpoint"], "{what}");
    }
    let streams = "bedrock:InvokeModelWithResponseStream";
    let may = who_may(&template, streams);
    assert_eq!(may, ["StreamFunction", "BedrockEndpoint"]);
    for what in ["/daissy_admin", "MigrateSecretArn"] {
        assert_eq!(who_may(&template, what), ["MigrateFunction"], "{what}");
    }
}

#[test]
fn links_lead_to_the_objects_that_are_named_and_only_functions_that_make_them_may_read_these() {
    let template = template();
    assert_eq!(who_may(&template, "s3:GetObject"), ["RecordingsPolicy"]);
    assert_eq!(who_may(&template, "AudioObjectArns"), ["RecordingsPolicy"]);
    let policy = &template["Resources"]["RecordingsPolicy"];
    assert_eq!(policy["Condition"], "HasAudioBuckets");
    let resource = &statements(policy)[0]["Resource"];
    let named = json!({ "Fn::Split": [",", { "Ref": "AudioObjectArns" }] });
    assert_eq!(*resource, named);

    let if_set = |value: &str| {
        let none = json!({ "Ref": "AWS::NoValue" });
        json!({ "Fn::If": ["HasAudioBuckets", { "Ref": value }, none] })
    };
    for (name, function) in functions(&template) {
        let makes = ["chat", "history", "load-session", "stream"].contains(&package(function));
        let policies = function["Properties"]["Policies"].as_array().unwrap();
        let may = policies.contains(&if_set("RecordingsPolicy"));
        assert_eq!(may, makes, "{name}");
        let variables = property(&template, function, "/Environment/Variables");
        for (variable, parameter) in [
            (Buckets::BUCKETS, "AudioBuckets"),
            (Buckets::LINK_SECONDS, "AudioLinkSeconds"),
        ] {
            let is_told = variables[variable] == if_set(parameter);
            assert_eq!(is_told, makes, "{name}: {variable}");
        }
    }
}

#[test]
fn buckets_that_the_template_takes_are_taken_by_the_functions() {
    let template = template();
    let pattern = |name: &str| {
        let pattern = &template["Parameters"][name]["AllowedPattern"];
        regex::Regex::new(pattern.as_str().unwrap()).unwrap()
    };
    let buckets = pattern("AudioBuckets");
    for (names, is_taken) in [
        ("", true),
        ("recordings", true),
        ("recordings,more.recordings=eu-west-1", true),
        ("recordings=", false),
        ("s3://recordings", false),
        ("recordings/sleep", false),
        ("Recordings", false),
        ("recordings,", false),
    ] {
        assert_eq!(buckets.is_match(names), is_taken, "{names}");
        let read = Buckets::read(|name| match name {
            Buckets::BUCKETS => Some(names.to_owned()),
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            _ => None,
        });
        assert!(!is_taken || read.is_ok(), "{names}");
    }
    let arns = pattern("AudioObjectArns");
    for (names, is_taken) in [
        ("", true),
        ("arn:aws:s3:::recordings/*", true),
        (
            "arn:aws:s3:::recordings/sleep/*,arn:aws-cn:s3:::more.recordings/*",
            true,
        ),
        // A bucket is not its objects, and all buckets are too many.
        ("arn:aws:s3:::recordings", false),
        ("arn:aws:s3:::*", false),
        ("arn:aws:s3:::*/*", false),
        ("*", false),
    ] {
        assert_eq!(arns.is_match(names), is_taken, "{names}");
    }
    let seconds = &template["Parameters"]["AudioLinkSeconds"];
    for (limit, beyond) in [("MinValue", -1), ("MaxValue", 1)] {
        let limit = seconds[limit].as_i64().unwrap();
        let read = |seconds: i64| {
            Buckets::read(|name| (name == Buckets::LINK_SECONDS).then(|| seconds.to_string()))
        };
        assert!(
            read(limit).is_ok() && read(limit + beyond).is_err(),
            "{limit}"
        );
    }
}

#[test]
fn only_maintain_may_delete() {
    let template = template();
    for what in ["/daissy_maintain", "MaintainSecretArn"] {
        assert_eq!(who_may(&template, what), ["MaintainFunction"], "{what}");
    }
}

#[test]
fn the_schedule_can_be_changed_and_turned_off() {
    let template = template();
    let maintain = &template["Resources"]["MaintainFunction"]["Properties"];
    let schedule = &maintain["Events"]["Schedule"]["Properties"];
    let expression = json!({ "Fn::If": [
        "HasMaintainSchedule", { "Ref": "MaintainSchedule" }, "rate(1 day)",
    ] });
    assert_eq!(schedule["Schedule"], expression);
    let state = json!({ "Fn::If": ["HasMaintainSchedule", "ENABLED", "DISABLED"] });
    assert_eq!(schedule["State"], state);
    // A paused cluster is woken by each run.
    let parameter = &template["Parameters"]["MaintainSchedule"];
    assert_eq!(parameter["Default"], "rate(1 hour)");
    let pattern = regex::Regex::new(parameter["AllowedPattern"].as_str().unwrap()).unwrap();
    for expression in ["", "rate(5 minutes)", "cron(0 3 * * ? *)"] {
        assert!(pattern.is_match(expression), "{expression}");
    }
    for expression in ["hourly", "rate()", "1 hour"] {
        assert!(!pattern.is_match(expression), "{expression}");
    }
}

#[test]
fn every_number_of_days_that_the_template_takes_is_one_that_maintain_takes() {
    let template = template();
    let pattern = &template["Parameters"]["RetentionDays"]["AllowedPattern"];
    let pattern = regex::Regex::new(pattern.as_str().unwrap()).unwrap();
    let database = DatabaseConfig::parse("postgresql://u@localhost/d").unwrap();
    for days in [
        "", "1", "30", "9999", "35999", "0", "36501", "99999", "1.5", "-1", "a",
    ] {
        let is_known = pattern.is_match(days);
        let read = MaintainConfig::on(database.clone(), |name| {
            (name == "RETENTION_DAYS").then(|| days.to_owned())
        });
        assert!(!is_known || read.is_ok(), "{days}");
        assert_eq!(
            is_known,
            ["", "1", "30", "9999", "35999"].contains(&days),
            "{days}"
        );
    }
}

#[test]
fn every_function_is_built_logged_traced_and_ends_before_its_caller_gives_up() {
    let (template, cargo) = (template(), cargo_toml());
    let functions = functions(&template);
    let built: BTreeSet<_> = functions.iter().map(|(_, it)| package(it)).collect();
    assert_eq!(built.len(), functions.len());
    let table = endpoints::table();
    let endpoints = table.iter().map(|endpoint| endpoint.name);
    assert_eq!(built, endpoints.chain(WITHOUT_A_ROUTE).collect());
    for (name, function) in functions {
        let package = package(function);
        assert_eq!(
            function["Metadata"]["BuildMethod"], "rust-cargolambda",
            "{name}"
        );
        let path = &cargo["workspace"]["dependencies"][package]["path"];
        assert_eq!(*path, format!("functions/{package}"), "{name}");

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
        let with_a_cold_start = timeout + COLD_START;
        let in_time = with_a_cold_start <= API_TIMEOUT;
        let no_http_api_waits = package == "stream" || WITHOUT_A_ROUTE.contains(&package);
        assert!(no_http_api_waits || in_time, "{name}");
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
        // One is what migrates; the other has no database.
        if !["authorizer", "migrate"].contains(&package(function)) {
            assert_eq!(function["DependsOn"], "SchemaMigration", "{name}");
        }
    }
}

#[test]
fn cloudformation_waits_for_the_migration_as_long_as_it_may_take_and_for_lambda_to_wake() {
    let template = template();
    let resources = &template["Resources"];
    let waits = resources["SchemaMigration"]["Properties"]["ServiceTimeout"].as_u64();
    let takes = resources["MigrateFunction"]["Properties"]["Timeout"].as_u64();
    assert!(waits.unwrap() >= takes.unwrap() + LAMBDA_WAKES);
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
        // Its tokens are words.
        if about_secrets && name != "ContextTokens" {
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
fn metrics_are_told_apart_by_stack_and_function() {
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

#[test]
fn the_api_waits_as_long_as_it_can() {
    let template = template();
    for (name, function) in functions(&template) {
        for event in objects_with(&function["Properties"]["Events"], "ApiId") {
            assert_eq!(event["TimeoutInMillis"], API_TIMEOUT * 1000, "{name}");
        }
    }
}

#[test]
fn copies_have_a_throttle_of_their_own() {
    let template = template();
    let limit = json!({ "Ref": "LoadSessionRateLimit" });
    let route = load_session::LoadSession::ROUTES[0];
    let key = format!("{} {}", route.method, route.path);
    // A key that is not a route of the API would make the deployment fail.
    assert_eq!(
        template["Resources"]["Api"]["Properties"]["RouteSettings"],
        json!({ key: { "ThrottlingBurstLimit": limit, "ThrottlingRateLimit": limit } })
    );
}

#[test]
fn a_deployment_whose_routes_cannot_be_made_fails_and_nothing_else_is_warned_of() {
    let template = template();
    let api = &template["Resources"]["Api"]["Properties"];
    assert_eq!(api["FailOnWarnings"], true);

    for (path, methods) in members(&api["DefinitionBody"]["paths"]) {
        for (_, operation) in members(methods) {
            let description = &operation["responses"]["default"]["description"];
            assert!(description.is_string(), "{path}");
            let in_path: Vec<_> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .map(|name| {
                    let schema = json!({ "type": "string" });
                    json!({ "name": name, "in": "path", "required": true, "schema": schema })
                })
                .collect();
            let parameters = operation["parameters"].as_array();
            assert_eq!(parameters.map_or(&[][..], Vec::as_slice), in_path, "{path}");
        }
    }
    let schemes = objects_with(&api["DefinitionBody"], "x-amazon-apigateway-authorizer");
    assert_eq!(schemes.len(), 1);
    assert!(schemes[0]["flows"].is_object());
}

#[test]
fn the_new_cluster_listens_on_the_port_that_all_clients_use() {
    let template = template();
    let port = &template["Resources"]["DatabaseCluster"]["Properties"]["Port"];
    assert_eq!(*port, 5432);

    let urls: Vec<_> = texts(&template)
        .into_iter()
        .filter(|text| text.starts_with("postgresql://daissy_"))
        .collect();
    // Of the endpoints, of migrate and of maintain.
    assert_eq!(urls.len(), 3);
    assert!(urls.iter().all(|url| url.contains(":5432/")), "{urls:?}");
    let rules = objects_with(&template["Resources"], "FromPort");
    let to_the_database = rules.iter().filter(|rule| rule["FromPort"] == *port);
    assert_eq!(to_the_database.count(), 4);
}

#[test]
fn a_proxy_can_be_created_for_any_name_of_the_stack() {
    let template = template();
    let name = &template["Resources"]["DatabaseProxy"]["Properties"]["DBProxyName"];
    let texts = texts(name);
    assert!(texts.contains(&"AWS::StackId"), "{name}");
    assert!(!texts.contains(&"AWS::StackName"), "{name}");
}

#[test]
fn a_function_changes_only_after_the_resources_it_needs() {
    let template = template();
    for (name, function) in functions(&template) {
        let needs = |what| {
            let all = &template["Globals"]["Function"]["Environment"]["Variables"];
            let own = &function["Properties"]["Environment"]["Variables"];
            let variables = members(all).filter(|(name, _)| own[name].is_null());
            let own = own.as_object().into_iter().flatten();
            variables
                .map(|(_, value)| value)
                .chain(own.map(|(_, value)| value))
                .any(|value| texts(value).contains(&what))
        };
        let is_direct = WITHOUT_A_ROUTE.contains(&package(function));
        assert_eq!(needs("ProxyTargets"), !is_direct, "{name}");
        for way in ["PrivateInternetRoute", "BedrockEndpoint"] {
            let asks = ASK_THE_MODEL.contains(&package(function));
            assert_eq!(needs(way), asks, "{name}: {way}");
        }
    }
    // The old targets and the new ones: old code logs in until the new code is deployed.
    let targets = [
        "DatabaseCluster.DBClusterResourceId",
        "RestoredClusterResourceId",
        "DatabaseProxy.DBProxyArn",
    ];
    let policy = &template["Resources"]["DatabaseLoginPolicy"];
    let named = texts(policy).concat();
    for target in targets {
        assert!(named.contains(target), "{target}");
    }
}

#[test]
fn only_turns_and_migrate_have_a_way_out_of_the_new_network() {
    let template = template();
    let leads_out: BTreeSet<_> = members(&template["Resources"])
        .filter(|(_, resource)| resource["Type"] == "AWS::EC2::SecurityGroup")
        .filter(|(_, group)| {
            texts(&group["Properties"]["SecurityGroupEgress"]).contains(&"0.0.0.0/0")
        })
        .map(|(name, _)| name)
        .collect();
    let inside = functions(&template);
    let inside = inside
        .into_iter()
        .filter(|(_, function)| package(function) != "authorizer");
    for (name, function) in inside {
        let groups = property(&template, function, "/VpcConfig");
        let groups: BTreeSet<_> = texts(groups).into_iter().collect();
        let out: Vec<_> = groups.intersection(&leads_out).copied().collect();
        let expected: &[&str] = match package(function) {
            "chat" | "stream" => &["ChatSecurityGroup"],
            "migrate" => &["MigrateSecurityGroup"],
            _ => &[],
        };
        assert_eq!(out, expected, "{name}");
        assert!(groups.contains("FunctionSecurityGroup"), "{name}");
    }
}

#[test]
fn chat_may_use_other_ports_only_for_a_model_at_an_address_on_the_internet() {
    let template = template();
    let egress = &template["Resources"]["ChatSecurityGroup"]["Properties"]["SecurityGroupEgress"];
    let [rule] = &egress.as_array().unwrap()[..] else {
        panic!("{egress} is more than one rule");
    };
    let [condition, other_ports, otherwise] = &rule["Fn::If"].as_array().unwrap()[..] else {
        panic!("{rule} is no choice");
    };
    assert_eq!(condition, "NeedsOtherPorts");
    let ports = |rule: &Value| (rule["FromPort"].as_u64(), rule["ToPort"].as_u64());
    assert_eq!(ports(other_ports), (Some(1), Some(65535)));
    assert_eq!(ports(otherwise), (Some(443), Some(443)));

    let conditions = |name: &str, function: &str| {
        let all = template["Conditions"][name][function].as_array();
        let all: BTreeSet<_> = all.unwrap().iter().flat_map(texts).collect();
        all
    };
    assert_eq!(
        conditions("NeedsOtherPorts", "Fn::And"),
        BTreeSet::from(["HasOtherAddress", "NeedsInternet"])
    );
    assert_eq!(
        conditions("HasOtherAddress", "Fn::Or"),
        BTreeSet::from(["HasEmbeddingBaseUrl", "HasModelBaseUrl"])
    );
    let wide = objects_with(&template["Resources"], "FromPort");
    let wide = wide
        .iter()
        .filter(|rule| rule["FromPort"] != rule["ToPort"]);
    assert_eq!(wide.count(), 1);
}

#[test]
fn the_new_cluster_says_why_a_login_failed_and_when_it_is_full() {
    let template = template();
    let resources = &template["Resources"];
    let logs = &resources["DatabaseCluster"]["Properties"]["EnableCloudwatchLogsExports"];
    assert_eq!(*logs, json!(["postgresql", "iam-db-auth-error"]));

    let alarms = objects_with(resources, "MetricName");
    let full = alarms
        .iter()
        .find(|alarm| alarm["MetricName"] == "ACUUtilization");
    assert!(full.unwrap()["AlarmActions"].is_object());
}

#[test]
fn everything_shown_in_the_console_is_ascii() {
    let template = include_str!("../../template.yaml");
    let odd: Vec<_> = template.lines().filter(|line| !line.is_ascii()).collect();
    assert_eq!(odd, Vec::<&str>::new());
}

/// Evaluates a condition of the template's rules for these parameters; the others have their defaults.
fn holds(template: &Value, condition: &Value, parameters: &[(&str, &str)]) -> bool {
    let (function, arguments) = members(condition).next().unwrap();
    let value = |argument: &Value| match argument["Ref"].as_str() {
        None => argument.as_str().unwrap().to_owned(),
        Some(name) => parameters
            .iter()
            .find(|(set, _)| *set == name)
            .map(|(_, value)| (*value).to_owned())
            .or_else(|| Some(template["Parameters"][name]["Default"].as_str()?.to_owned()))
            .unwrap(),
    };
    let arguments = arguments.as_array().unwrap();
    let mut each = arguments.iter();
    match function {
        "Fn::Equals" => value(&arguments[0]) == value(&arguments[1]),
        "Fn::Not" => !holds(template, &arguments[0], parameters),
        "Fn::And" => each.all(|argument| holds(template, argument, parameters)),
        "Fn::Or" => each.any(|argument| holds(template, argument, parameters)),
        other => panic!("{other} is not allowed in rules"),
    }
}

/// The rules that refuse these parameters.
fn refused_by<'a>(template: &'a Value, parameters: &[(&str, &str)]) -> Vec<&'a str> {
    members(&template["Rules"])
        .filter(|(_, rule)| {
            let condition = rule.get("RuleCondition");
            condition.is_none_or(|condition| holds(template, condition, parameters))
        })
        .filter(|(_, rule)| {
            let mut assertions = rule["Assertions"].as_array().unwrap().iter();
            !assertions.all(|assertion| holds(template, &assertion["Assert"], parameters))
        })
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn conflicting_parameters_are_refused_before_anything_is_created() {
    type Set = (&'static str, &'static str);
    const SECRET: Set = ("DatabaseSecretArn", "arn:secret");
    const EXISTING: Set = ("Database", "existing");
    const MAINTAIN: Set = ("MaintainSecretArn", "arn:maintain");
    const NEW: Set = ("Database", "new-aurora");
    const GPT: Set = ("Model", "gpt-5");
    const KEY: Set = ("ModelKeySecretArn", "arn:key");
    const EMBEDDINGS: Set = ("EmbeddingModel", "text-embedding-3-small");
    const EMBEDDING_KEY: Set = ("EmbeddingKeySecretArn", "arn:embedding-key");
    const ISSUER: Set = ("JwtIssuer", "https://example.com/");
    const AUDIENCE: Set = ("JwtAudience", "daissy");
    const ANONYMOUS: Set = ("AllowAnonymous", "true");
    const RESTORED: Set = ("RestoredCluster", "restored");
    const ENDPOINT: Set = ("RestoredClusterEndpoint", "restored.cluster-a");
    const ID: Set = ("RestoredClusterResourceId", "cluster-A");
    let cases: &[(&[Set], &[&str])] = &[
        (&[EXISTING, SECRET, MAINTAIN], &[]),
        (&[NEW], &[]),
        (&[EXISTING, MAINTAIN], &["ExistingDatabaseNeedsItsSecret"]),
        // The role of the endpoints may not delete, and every run would fail.
        (&[EXISTING, SECRET], &["TheScheduleNeedsARoleThatMayDelete"]),
        // Who means the same user says so.
        (
            &[EXISTING, SECRET, ("MaintainSecretArn", "arn:secret")],
            &[],
        ),
        (&[EXISTING, SECRET, ("MaintainSchedule", "")], &[]),
        (&[NEW, SECRET], &["NewDatabaseHasItsOwnSettings"]),
        (
            &[NEW, ("MaintainSecretArn", "arn:secret")],
            &["NewDatabaseHasItsOwnSettings"],
        ),
        (
            &[NEW, ("RetentionIncludesPinned", "true")],
            &["PinnedSessionsExpireWithTheOthers"],
        ),
        (
            &[
                NEW,
                ("RetentionIncludesPinned", "true"),
                ("RetentionDays", "30"),
            ],
            &[],
        ),
        (&[NEW, KEY], &["TheBuiltInModelNeedsNothing"]),
        // A paid model that is open to the world needs explicit consent.
        (
            &[NEW, GPT, KEY],
            &["AnonymousCallersOfAPaidModelNeedConsent"],
        ),
        (&[NEW, GPT, KEY, ANONYMOUS], &[]),
        (&[NEW, GPT, KEY, ISSUER, AUDIENCE], &[]),
        (&[NEW, ISSUER], &["IssuerNeedsAudience"]),
        // A model that could never answer.
        (&[NEW, GPT, ANONYMOUS], &["RemoteModelNeedsSomething"]),
        (&[NEW, GPT, ANONYMOUS, ("ModelBaseUrl", "https://a/")], &[]),
        (&[NEW, GPT, ANONYMOUS, ("BedrockModelArns", "arn:b")], &[]),
        (
            &[NEW, GPT, KEY, ANONYMOUS, ("BedrockModelArns", "arn:b")],
            &["BedrockNeedsNoKey"],
        ),
        (&[NEW, EMBEDDING_KEY], &["EmbeddingsNeedTheirModel"]),
        (
            &[NEW, ("EmbeddingDimensions", "256")],
            &["EmbeddingsNeedTheirModel"],
        ),
        (
            &[NEW, EMBEDDINGS, ANONYMOUS],
            &["EmbeddingModelNeedsSomething"],
        ),
        // They cost money with every search, whichever model answers.
        (
            &[NEW, EMBEDDINGS, EMBEDDING_KEY],
            &["AnonymousCallersOfAPaidModelNeedConsent"],
        ),
        (&[NEW, EMBEDDINGS, EMBEDDING_KEY, ANONYMOUS], &[]),
        (&[NEW, EMBEDDINGS, GPT, KEY, ANONYMOUS], &[]),
        (
            &[NEW, ("AudioBuckets", "recordings")],
            &["AudioBucketsNeedTheRightToRead"],
        ),
        (
            &[NEW, ("AudioObjectArns", "arn:objects")],
            &["AudioBucketsNeedTheRightToRead"],
        ),
        (
            &[
                NEW,
                ("AudioBuckets", "recordings"),
                ("AudioObjectArns", "arn:objects"),
            ],
            &[],
        ),
        (&[NEW, RESTORED, ENDPOINT, ID], &[]),
        (&[NEW, RESTORED, ENDPOINT], &["RestoredClusterIsNamedWhole"]),
        (
            &[EXISTING, SECRET, MAINTAIN, RESTORED, ENDPOINT, ID],
            &["RestoredClusterIsNamedWhole"],
        ),
    ];
    let template = template();
    for (parameters, expected) in cases {
        assert_eq!(
            refused_by(&template, parameters),
            *expected,
            "{parameters:?}"
        );
    }
}

#[test]
fn every_entry_point_asks_for_a_token_if_there_is_an_issuer() {
    const EXTEND: &str = "the rule about consent (AllowAnonymous) has to be extended to it";
    let template = template();
    let resources = &template["Resources"];
    assert_eq!(
        template["Conditions"]["HasAuthorizer"],
        json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": "JwtIssuer" }, ""] }] })
    );
    let mut operations = 0;
    for (name, resource) in members(resources) {
        let properties = &resource["Properties"];
        match resource["Type"].as_str().unwrap() {
            api @ ("AWS::Serverless::HttpApi" | "AWS::Serverless::Api") => {
                let scheme = if api.ends_with("HttpApi") {
                    "Jwt"
                } else {
                    "Token"
                };
                let none = json!({ "Ref": "AWS::NoValue" });
                let asks = json!({ "Fn::If": ["HasAuthorizer", [{ scheme: [] }], none] });
                let schemes = &properties["DefinitionBody"]["components"]["Fn::If"];
                assert_eq!(schemes[0], "HasAuthorizer", "{name}");
                let scheme = &schemes[1]["securitySchemes"][scheme];
                assert!(
                    scheme["x-amazon-apigateway-authorizer"].is_object(),
                    "{name}"
                );
                let paths = &properties["DefinitionBody"]["paths"];
                assert!(paths.is_object(), "{name} defines no security");
                for (path, methods) in members(paths) {
                    for (method, operation) in members(methods) {
                        // A page asks first, without a token. No function answers.
                        if method == "options" {
                            let integrations = objects_with(operation, "type");
                            let is_mock = integrations.iter().any(|it| it["type"] == "mock");
                            assert!(is_mock, "{name}: {path}");
                            continue;
                        }
                        assert_eq!(operation["security"], asks, "{name}: {method} {path}");
                        operations += 1;
                    }
                }
            }
            // API Gateway's right to ask the authorizer, which asks nobody.
            "AWS::Lambda::Permission" if name == "AuthorizerPermission" => {
                let function = json!({ "Ref": "AuthorizerFunction" });
                assert_eq!(properties["FunctionName"], function);
                let source = properties["SourceArn"]["Fn::Sub"].as_str().unwrap();
                assert!(source.ends_with(":${StreamApi}/authorizers/*"), "{source}");
            }
            "AWS::ApiGateway::Account" => {}
            "AWS::Serverless::Function" => {
                let url = property(&template, resource, "/FunctionUrlConfig");
                assert!(url.is_null(), "{name} has a URL: {EXTEND}");
                let events = properties["Events"].as_object().into_iter().flatten();
                for (event, door) in events {
                    // Nobody can call a schedule.
                    if package(resource) == "maintain" && door["Type"] == "Schedule" {
                        continue;
                    }
                    let (reference, expected) = match door["Type"].as_str() {
                        Some("HttpApi") => ("ApiId", "AWS::Serverless::HttpApi"),
                        Some("Api") => ("RestApiId", "AWS::Serverless::Api"),
                        other => panic!("{name}, {event} is {other:?}: {EXTEND}"),
                    };
                    // An event that names no API gets one that SAM creates, without security.
                    let api = door["Properties"][reference]["Ref"].as_str();
                    let api = &resources[api.unwrap_or_default()]["Type"];
                    assert_eq!(*api, expected, "{name}, {event}");
                }
            }
            other => {
                let is_a_door = DOORS.iter().any(|door| other.starts_with(door));
                assert!(!is_a_door, "{name} is {other}: {EXTEND}");
            }
        }
    }
    let routes = routes().len();
    assert!(operations >= routes, "the operations are found");
}

#[test]
fn only_versions_of_aurora_with_the_needed_features_are_accepted() {
    let template = template();
    let pattern = &template["Parameters"]["AuroraEngineVersion"]["AllowedPattern"];
    let pattern = regex::Regex::new(pattern.as_str().unwrap()).unwrap();
    for version in ["15.7", "15.12", "16.3", "16.10", "17.4", "17.9", "18.6"] {
        assert!(pattern.is_match(version), "{version}");
    }
    // Older ones cannot pause, or accept connections without TLS.
    for version in ["14.18", "15.6", "16.2", "15", "17.9-1", "20.1"] {
        assert!(!pattern.is_match(version), "{version}");
    }
}

#[test]
fn everything_that_leads_to_the_new_cluster_can_lead_to_a_restored_one() {
    let template = template();
    let leads_there = |value: &&Value| {
        let texts = texts(value);
        texts.iter().any(|text| {
            let named = text
                .split(['$', '{', '}', '.'])
                .any(|word| word == "DatabaseCluster");
            named || *text == "DatabaseCluster"
        })
    };
    // The instance belongs to the cluster, and this output names the stack's own cluster.
    let its_own = ["DatabaseInstance", "DatabaseClusterIdentifier"];
    let resources =
        members(&template["Resources"]).map(|(name, resource)| (name, &resource["Properties"]));
    let outputs = members(&template["Outputs"]).map(|(name, output)| (name, &output["Value"]));
    let everything = resources
        .chain(outputs)
        .chain([("Globals", &template["Globals"])])
        .filter(|(name, value)| !its_own.contains(name) && leads_there(value));
    let mut found = 0;
    for (name, value) in everything {
        let texts = texts(value).concat();
        assert!(texts.contains("RestoredCluster"), "{name}");
        found += 1;
    }
    assert!(found >= 9, "the references are found");
}

#[test]
fn the_endpoint_of_a_restored_cluster_is_that_of_its_writer_in_any_region() {
    let template = template();
    let pattern = &template["Parameters"]["RestoredClusterEndpoint"]["AllowedPattern"];
    let pattern = regex::Regex::new(pattern.as_str().unwrap()).unwrap();
    for host in [
        "",
        "daissy-restored.cluster-c1a2b3.eu-central-1.rds.amazonaws.com",
        "daissy-restored.cluster-c1a2b3.rds.cn-north-1.amazonaws.com.cn",
    ] {
        assert!(pattern.is_match(host), "{host}");
    }
    for host in [
        "daissy-restored",
        "daissy-restored.cluster-ro-c1a2b3.eu-central-1.rds.amazonaws.com",
        "daissy-restored.cluster-c1a2b3.eu-central-1.rds.amazonaws.com:5432",
        "postgresql://daissy-restored.cluster-c1a2b3.eu-central-1.rds.amazonaws.com/daissy",
    ] {
        assert!(!pattern.is_match(host), "{host}");
    }
}

#[test]
fn the_documents_name_parameters_and_outputs_that_are_there() {
    let template = template();
    let deploying = include_str!("../../docs/deploying.md");
    let operating = include_str!("../../docs/operating.md");

    // The shell function that reads an output, in the steps to restore a cluster.
    let read = regex::Regex::new(r"\boutput ([A-Z]\w+)").unwrap();
    let mut outputs: Vec<&str> = read
        .captures_iter(operating)
        .map(|output| output.extract::<1>().1[0])
        .collect();
    outputs.push("DatabaseClusterIdentifier");
    assert!(outputs.contains(&"DatabaseClusterInUse"), "{outputs:?}");
    for output in outputs {
        assert!(template["Outputs"][output].is_object(), "{output}");
    }

    // The table of parameters.
    let rows = deploying.lines().filter_map(|line| {
        let (names, _) = line.strip_prefix("| `")?.split_once("` |")?;
        Some(names.split("`, `"))
    });
    let parameters: Vec<&str> = rows.flatten().collect();
    assert!(parameters.contains(&"LoadSessionRateLimit"));
    for parameter in parameters {
        assert!(template["Parameters"][parameter].is_object(), "{parameter}");
    }
}

#[test]
fn the_page_on_operating_says_what_to_do_about_every_failure() {
    let contract = include_str!("../../docs/api.md");
    let operating = include_str!("../../docs/operating.md");
    // The table of errors: status, codes, when.
    let rows = contract.lines().filter(|line| line.starts_with("| 5"));
    let codes: Vec<&str> = rows
        .filter_map(|row| row.split(" | ").nth(1))
        .flat_map(|codes| codes.split(", "))
        .collect();
    assert!(codes.contains(&"`not_configured`"), "{codes:?}");
    let explained: String = operating
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| ")?.split_once(" | ")?.0))
        .collect();
    for code in codes {
        assert!(explained.contains(code), "{code}");
    }
}

#[test]
fn the_network_is_in_the_zones_that_are_named() {
    let template = template();
    let subnets: Vec<_> = members(&template["Resources"])
        .filter(|(_, resource)| resource["Type"] == "AWS::EC2::Subnet")
        .collect();
    assert_eq!(subnets.len(), 3);
    for (name, subnet) in subnets {
        let zone = texts(&subnet["Properties"]["AvailabilityZone"]);
        assert!(zone.contains(&"AvailabilityZones"), "{name}");
    }
}

#[test]
fn a_key_decrypts_secrets_of_its_own_region() {
    let template = template();
    let through = objects_with(&template["Resources"], "kms:ViaService");
    assert_eq!(through.len(), 1);
    let texts = texts(through[0]);
    assert!(texts.contains(&"SecretsKmsKeyArn"), "{texts:?}");
    let of_the_stack = texts.iter().any(|text| text.contains("AWS::Region"));
    assert!(!of_the_stack, "{texts:?}");
}
