//! Stands in for services of AWS with moto's server, which is installed on first use.

use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use local::supervisor::supervised;
use reqwest::Client;
use serde_json::{Value, json};

use rig::programs;

use crate::python;
use rig::ports::free_port;

/// The version to install.
const MOTO: &str = "moto[server]==5.2.5";

/// Timeout for starting.
const START_TIMEOUT: Duration = Duration::from_secs(60);

struct Moto {
    endpoint: String,
    /// It ends when this process does.
    _child: Child,
}

static SERVER: OnceLock<Moto> = OnceLock::new();

/// The address that stands in for all of AWS.
pub fn endpoint() -> &'static str {
    &SERVER.get_or_init(start).endpoint
}

/// The settings that make a process use this AWS.
pub fn settings() -> [(&'static str, &'static str); 4] {
    [
        ("AWS_ENDPOINT_URL", endpoint()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "an example's key"),
        ("AWS_REGION", "eu-central-1"),
    ]
}

/// Creates a secret; returns its ARN.
pub async fn create_secret(text: &str) -> String {
    let name = format!("daissy-{}", uuid::Uuid::new_v4().simple());
    let answer = call(
        "CreateSecret",
        json!({ "Name": name, "SecretString": text }),
    )
    .await;
    answer["ARN"].as_str().unwrap().to_owned()
}

/// Changes a secret.
pub async fn put_secret(arn: &str, text: &str) {
    call(
        "PutSecretValue",
        json!({ "SecretId": arn, "SecretString": text }),
    )
    .await;
}

/// Creates a bucket; returns its name.
pub async fn create_bucket() -> String {
    let name = format!("daissy-{}", uuid::Uuid::new_v4().simple());
    put(&name, "").await;
    name
}

/// Stores an object in a bucket.
pub async fn put_object(bucket: &str, key: &str, content: &'static str) {
    put(&format!("{bucket}/{key}"), content).await;
}

/// Moto takes what is signed for no service as a request to S3.
async fn put(path: &str, content: &'static str) {
    let url = format!("{}/{path}", endpoint());
    let answer = Client::new().put(url).body(content).send().await.unwrap();
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
}

async fn call(action: &str, body: Value) -> Value {
    let answer = Client::new()
        .post(endpoint())
        .header("x-amz-target", format!("secretsmanager.{action}"))
        .header("content-type", "application/x-amz-json-1.1")
        // Moto reads the service and the region from it, and does not check it.
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/secretsmanager/aws4_request, \
             SignedHeaders=host, Signature=x",
        )
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert!(status.is_success(), "{body}");
    body
}

fn start() -> Moto {
    // Tests start it, and it must not block their runtime for long, so it has its own thread.
    std::thread::spawn(|| {
        let folder = python::installed(&[MOTO]);
        let python = programs::python();
        let port = free_port();
        let child = supervised(&python.path, None)
            .envs(python.environment.iter().cloned())
            .args([
                "-m",
                "moto.server",
                "-H",
                "127.0.0.1",
                "-p",
                &port.to_string(),
            ])
            .env("PYTHONPATH", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 can be run");
        let deadline = Instant::now() + START_TIMEOUT;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto's server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Moto {
            endpoint: format!("http://127.0.0.1:{port}"),
            _child: child,
        }
    })
    .join()
    .expect("moto's server")
}
