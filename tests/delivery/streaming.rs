//! The part of `template.yaml` that streams: a REST API beside the HTTP API, with its function and its
//! authorizer.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};
use shared::problem::Problem;

use super::template::{
    STREAMED, WITHOUT_A_ROUTE, functions, members, objects_with, package, property, template, texts,
};

/// How long API Gateway lets a stream last, in seconds.
const STREAM_TIMEOUT: u64 = 15 * 60;

/// How long API Gateway waits for an authorizer, in seconds.
const AUTHORIZER_TIMEOUT: u64 = 10;

/// Timeout of the authorizer for the issuer, in seconds.
const ISSUER_TIMEOUT: u64 = 5;

fn none() -> Value {
    json!({ "Ref": "AWS::NoValue" })
}

/// The properties of a resource.
fn properties<'a>(template: &'a Value, name: &str) -> &'a Value {
    &template["Resources"][name]["Properties"]
}

/// What API Gateway answers itself, by its name for it.
fn gateway_responses(template: &Value) -> &Value {
    &properties(template, "StreamApi")["DefinitionBody"]["x-amazon-apigateway-gateway-responses"]
}

/// The part of a choice that holds under a condition.
fn where_it_holds<'a>(choice: &'a Value, condition: &str) -> &'a Value {
    let [known, then, otherwise] = &choice["Fn::If"].as_array().unwrap()[..] else {
        panic!("{choice} is no choice");
    };
    assert_eq!((known, otherwise), (&json!(condition), &none()));
    then
}

#[test]
fn every_route_of_the_rest_api_streams_for_as_long_as_the_function_may_run() {
    let template = template();
    let paths = &properties(&template, "StreamApi")["DefinitionBody"]["paths"];
    let mut found = 0;
    for (path, methods) in members(paths) {
        for (method, operation) in members(methods).filter(|(method, _)| *method != "options") {
            let integration = &operation["x-amazon-apigateway-integration"];
            assert_eq!(integration["type"], "aws_proxy", "{method} {path}");
            assert_eq!(integration["httpMethod"], "POST", "{method} {path}");
            assert_eq!(integration["responseTransferMode"], "STREAM", "{path}");
            assert_eq!(integration["timeoutInMillis"], STREAM_TIMEOUT * 1000);
            // The path by which a function is asked for a stream; the ordinary one gives its answer whole.
            let uri = integration["uri"]["Fn::Sub"].as_str().unwrap();
            let streams =
                "2021-11-15/functions/${StreamFunction.Arn}/response-streaming-invocations";
            assert!(uri.ends_with(streams), "{uri}");
            let responses = json!({ "default": { "description": "Events or a problem" } });
            assert_eq!(operation["responses"], responses);
            let in_path = path.contains("{session_id}");
            assert_eq!(operation["parameters"].is_array(), in_path, "{path}");
            found += 1;
        }
    }
    assert_eq!(found, STREAMED.len());
    let function = &template["Resources"]["StreamFunction"];
    assert_eq!(*property(&template, function, "/Timeout"), STREAM_TIMEOUT);

    let timeout = &template["Parameters"]["ModelStreamTimeoutSeconds"];
    assert_eq!(timeout["Default"], 120);
    assert!(timeout["MaxValue"].as_u64().unwrap() + 28 <= STREAM_TIMEOUT);
}

#[test]
fn the_rest_api_is_regional_and_throttled_like_the_other_and_has_no_second_stage() {
    let template = template();
    let api = properties(&template, "StreamApi");
    // At the edge a stream could be silent for 30 s only.
    assert_eq!(api["EndpointConfiguration"]["Type"], "REGIONAL");
    assert_eq!(api["FailOnWarnings"], true);
    assert!(api["OpenApiVersion"].is_string());
    let throttles = &properties(&template, "Api")["DefaultRouteSettings"];
    let everything = json!({
        "ResourcePath": "/*", "HttpMethod": "*",
        "ThrottlingBurstLimit": throttles["ThrottlingBurstLimit"],
        "ThrottlingRateLimit": throttles["ThrottlingRateLimit"],
    });
    assert_eq!(api["MethodSettings"], json!([everything]));

    let url = &template["Outputs"]["StreamUrl"]["Value"]["Fn::Sub"];
    let stage = api["StageName"].as_str().unwrap();
    assert!(
        url.as_str().unwrap().ends_with(&format!("/{stage}")),
        "{url}"
    );
}

#[test]
fn parameters_that_change_change_the_stage_too() {
    let template = template();
    let api = properties(&template, "StreamApi");
    // The definition depends on them, and SAM compares definitions without them.
    let definition = texts(&api["DefinitionBody"]).concat();
    assert!(definition.contains("HasAuthorizer"));
    assert_eq!(api["AlwaysDeploy"], true);
}

#[test]
fn streaming_can_be_switched_off() {
    let template = template();
    let parameter = &template["Parameters"]["Streaming"];
    assert_eq!(parameter["Default"], "true");
    let conditions = &template["Conditions"];
    let on = json!({ "Fn::Equals": [{ "Ref": "Streaming" }, "true"] });
    assert_eq!(conditions["HasStreaming"], on);
    let with_an_issuer = json!({ "Fn::And": [
        { "Condition": "HasStreaming" }, { "Condition": "HasAuthorizer" },
    ] });
    assert_eq!(conditions["HasStreamAuthorizer"], with_an_issuer);

    let parts = members(&template["Resources"])
        .filter(|(name, _)| name.starts_with("Stream") || name.starts_with("Authorizer"));
    let mut found = 0;
    for (name, resource) in parts {
        let expected = match name {
            "StreamApiLogs" => "HasStreamAccessLog",
            _ if name.starts_with("Authorizer") => "HasStreamAuthorizer",
            _ => "HasStreaming",
        };
        assert_eq!(resource["Condition"], expected, "{name}");
        found += 1;
    }
    assert!(found >= 8, "the parts are found");
}

#[test]
fn the_authorizer_knows_the_issuer_and_nothing_else() {
    let template = template();
    let function = properties(&template, "AuthorizerFunction");
    assert_eq!(function["VpcConfig"], none());
    assert_eq!(function["Policies"], json!([]));
    let variables = &function["Environment"]["Variables"];
    assert_eq!(variables["JWT_ISSUER"], json!({ "Ref": "JwtIssuer" }));
    assert_eq!(variables["JWT_AUDIENCE"], json!({ "Ref": "JwtAudience" }));
    let all = &template["Globals"]["Function"]["Environment"]["Variables"];
    for (name, _) in members(all).filter(|(name, _)| name.starts_with("DATABASE_")) {
        assert_eq!(variables[name], none(), "{name}");
    }
    let timeout = function["Timeout"].as_u64().unwrap();
    assert!(timeout > ISSUER_TIMEOUT && timeout <= AUTHORIZER_TIMEOUT);

    let components = &properties(&template, "StreamApi")["DefinitionBody"]["components"];
    let scheme = &where_it_holds(components, "HasAuthorizer")["securitySchemes"]["Token"];
    // Only of such an event the function takes its token.
    assert_eq!(scheme["x-amazon-apigateway-authtype"], "custom");
    assert_eq!(scheme["name"], "authorization");
    let authorizer = &scheme["x-amazon-apigateway-authorizer"];
    assert_eq!(authorizer["type"], "token");
    let uri = authorizer["authorizerUri"]["Fn::Sub"].as_str().unwrap();
    assert!(
        uri.ends_with("/functions/${AuthorizerFunction.Arn}/invocations"),
        "{uri}"
    );
    assert_eq!(authorizer["authorizerResultTtlInSeconds"], 300);
}

#[test]
fn a_streamed_turn_runs_as_a_plain_one_does() {
    let template = template();
    let [chat, stream] = ["ChatFunction", "StreamFunction"].map(|name| properties(&template, name));
    let own = &stream["Environment"]["Variables"];
    for (name, value) in members(&chat["Environment"]["Variables"]) {
        assert_eq!(own[name], *value, "{name}");
    }
    let timeout = json!({ "Ref": "ModelStreamTimeoutSeconds" });
    assert_eq!(own["MODEL_STREAM_TIMEOUT_SECONDS"], timeout);
    assert_eq!(stream["VpcConfig"], chat["VpcConfig"]);

    // A model of Bedrock is asked for a stream by a right of its own.
    let [chat_may, stream_may] = [chat, stream].map(|function| {
        let mut policies = function["Policies"].clone();
        let statement = policies.pointer_mut("/4/Fn::If/1/Statement/0").unwrap();
        (statement["Action"].take(), policies)
    });
    assert_eq!(stream_may.1, chat_may.1);
    let both = json!([chat_may.0, "bedrock:InvokeModelWithResponseStream"]);
    assert_eq!(stream_may.0, both);

    // A limit of chat is one of what the model can cost, so it must not be passed by.
    let of_chat = json!({ "Fn::If": [
        "HasChatReservedConcurrency", { "Ref": "ChatReservedConcurrency" }, none(),
    ] });
    assert_eq!(chat["ReservedConcurrentExecutions"], of_chat);
    let of_stream = json!({ "Fn::If": [
        "HasStreamReservedConcurrency", { "Ref": "StreamReservedConcurrency" }, of_chat,
    ] });
    assert_eq!(stream["ReservedConcurrentExecutions"], of_stream);
}

#[test]
fn the_access_log_has_the_same_members_and_is_written_only_by_a_role_that_is_there() {
    let template = template();
    let setting = &properties(&template, "StreamApi")["AccessLogSetting"];
    let setting = where_it_holds(setting, "HasStreamAccessLog");
    let names = |format: &Value| -> BTreeSet<String> {
        let format: Value = serde_json::from_str(format.as_str().unwrap()).unwrap();
        members(&format).map(|(name, _)| name.to_owned()).collect()
    };
    let http_api = &properties(&template, "Api")["AccessLogSettings"]["Format"];
    assert_eq!(names(&setting["Format"]), names(http_api));
    // Neither who called from where nor what was said.
    for secret in [
        "$context.identity",
        "principalId",
        "claims",
        "$context.path",
    ] {
        assert!(
            !setting["Format"].as_str().unwrap().contains(secret),
            "{secret}"
        );
    }

    // The setting is the account's: nobody else's is replaced without being asked.
    let parameter = &template["Parameters"]["StreamAccessLog"];
    assert_eq!(parameter["Default"], "off");
    let asked = json!({ "Fn::And": [
        { "Condition": "HasStreaming" },
        { "Fn::Equals": [{ "Ref": "StreamAccessLog" }, "new-role"] },
    ] });
    assert_eq!(template["Conditions"]["HasNewLogsRole"], asked);
    for name in ["ApiGatewayAccount", "ApiGatewayLogsRole"] {
        let resource = &template["Resources"][name];
        assert_eq!(resource["Condition"], "HasNewLogsRole", "{name}");
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(resource[policy], "Retain", "{name}");
        }
    }
    let variables = &properties(&template, "StreamApi")["Variables"];
    assert!(
        texts(variables).contains(&"ApiGatewayAccount"),
        "the stage waits for it"
    );
}

#[test]
fn what_api_gateway_answers_itself_is_a_problem_that_pages_may_read() {
    let template = template();
    let responses = gateway_responses(&template);
    let mut found = BTreeSet::new();
    for (name, response) in members(responses) {
        let header = |header: &str| {
            &response["responseParameters"][format!("gatewayresponse.header.{header}")]
        };
        assert_eq!(
            *header("content-type"),
            "'application/problem+json'",
            "{name}"
        );
        let origin = where_it_holds(header("access-control-allow-origin"), "HasCors");
        assert_eq!(*origin, "'*'", "{name}");
        // What a page may not read otherwise.
        for exposed in ["www-authenticate", "retry-after"] {
            if !header(exposed).is_null() {
                let list = where_it_holds(header("access-control-expose-headers"), "HasCors");
                assert!(list.as_str().unwrap().contains(exposed), "{name}");
            }
        }
        let body = response["responseTemplates"]["application/json"].as_str();
        // A text in quotes is put in its place.
        let body = body
            .unwrap()
            .replace("$context.error.messageString", "\"text\"");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["type"], "about:blank", "{name}");
        assert_eq!(body["request_id"], "$context.requestId", "{name}");
        if let Some(status) = response["statusCode"].as_str() {
            assert_eq!(body["status"].to_string(), status, "{name}");
        }
        found.insert(name);
    }
    for needed in ["DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED"] {
        assert!(found.contains(needed), "{needed}");
    }

    // The same as the functions would say.
    for (name, problem) in [
        ("UNAUTHORIZED", Problem::Unauthorized),
        ("MISSING_AUTHENTICATION_TOKEN", Problem::RouteNotFound),
    ] {
        let response = &responses[name];
        let body = response["responseTemplates"]["application/json"].as_str();
        let body: Value = serde_json::from_str(body.unwrap()).unwrap();
        assert_eq!(body, problem.document("$context.requestId"), "{name}");
        assert_eq!(response["statusCode"], problem.status().as_str(), "{name}");
    }
    let asks = &responses["UNAUTHORIZED"]["responseParameters"];
    assert_eq!(asks["gatewayresponse.header.www-authenticate"], "'Bearer'");
    // Whichever of the two it calls an authorizer that fails.
    let failed = &responses["AUTHORIZER_FAILURE"];
    assert_eq!(responses["AUTHORIZER_CONFIGURATION_ERROR"], *failed);
    assert!(
        texts(failed)
            .concat()
            .contains("\"code\":\"issuer_unavailable\"")
    );
    assert_eq!(failed["statusCode"], "503");
}

#[test]
fn pages_of_the_allowed_origins_may_call_and_no_others() {
    let template = template();
    let paths = &properties(&template, "StreamApi")["DefinitionBody"]["paths"];
    let set = Regex::new(r#"responseOverride\.header\.([a-z-]+) = "?([^")]+)"#).unwrap();
    for (path, methods) in members(paths) {
        let preflight = where_it_holds(&methods["options"], "HasCors");
        let integration = &preflight["x-amazon-apigateway-integration"];
        assert_eq!(integration["type"], "mock", "{path}");
        let answer = &integration["responses"]["default"]["responseTemplates"];
        let answer = answer["application/json"]["Fn::Sub"].as_str().unwrap();
        let headers: Vec<_> = set
            .captures_iter(answer)
            .map(|header| header.extract::<2>().1)
            .collect();
        let others: Vec<_> = members(methods)
            .filter(|(method, _)| *method != "options")
            .map(|(method, _)| method.to_uppercase())
            .collect();
        let expected = [
            ["vary", "origin"],
            ["access-control-allow-origin", "$origin"],
            ["access-control-allow-methods", &*others.join(",")],
            [
                "access-control-allow-headers",
                "content-type,authorization,last-event-id",
            ],
            ["access-control-max-age", "3600"],
        ];
        assert_eq!(headers, expected, "{path}");
        // What says that a page may call is said to an origin in the list alone, commas included: otherwise the
        // beginning of an allowed one would be allowed, too.
        let (before, within) = answer.split_once("#if($origin && ").unwrap();
        assert!(!before.contains("access-control"), "{path}");
        let condition = r#"",${CorsAllowedOrigins},".contains(",$origin,"))"#;
        assert!(within.starts_with(condition), "{path}: {within}");
        let declared = &preflight["responses"]["200"]["headers"];
        for [name, _] in expected {
            assert!(declared[name].is_object(), "{path}: {name}");
        }
    }
    let variables = &properties(&template, "StreamFunction")["Environment"]["Variables"];
    let origins = where_it_holds(&variables["CORS_ALLOWED_ORIGINS"], "HasCors");
    assert_eq!(*origins, json!({ "Ref": "CorsAllowedOrigins" }));
}

#[test]
fn every_function_has_the_alarms_that_suit_it() {
    let template = template();
    let watched = |alarm: &str| -> BTreeSet<String> {
        let metrics = objects_with(properties(&template, alarm), "FunctionName");
        assert!(metrics.is_empty());
        let dimensions = objects_with(properties(&template, alarm), "Value");
        let functions = dimensions
            .into_iter()
            .filter_map(|it| it["Value"]["Ref"].as_str());
        functions.map(str::to_owned).collect()
    };
    let expected = |without: &[&str]| -> BTreeSet<String> {
        let functions = functions(&template).into_iter();
        functions
            .filter(|(_, function)| !without.contains(&package(function)))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    // To Lambda a token that is refused is an error of the authorizer, and anybody can send one.
    assert_eq!(watched("FunctionErrorsAlarm"), expected(&["authorizer"]));
    let nobody_waits: Vec<_> = WITHOUT_A_ROUTE
        .into_iter()
        .filter(|package| *package != "authorizer")
        .collect();
    assert_eq!(watched("ThrottlesAlarm"), expected(&nobody_waits));

    let alarm = properties(&template, "StreamServerErrorsAlarm");
    assert_eq!(alarm["MetricName"], "5XXError");
    let api = properties(&template, "StreamApi");
    let dimensions = json!([
        { "Name": "ApiName", "Value": api["Name"] }, { "Name": "Stage", "Value": api["StageName"] },
    ]);
    assert_eq!(alarm["Dimensions"], dimensions);
    assert!(alarm["AlarmActions"].is_object());

    let models = objects_with(properties(&template, "ModelErrorsAlarm"), "MetricName");
    let functions: Vec<_> = models
        .iter()
        .map(|metric| &metric["Dimensions"][1]["Value"])
        .collect();
    assert_eq!(functions, ["chat", "stream"]);
}
