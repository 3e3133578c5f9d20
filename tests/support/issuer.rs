//! A real issuer of tokens: OpenID Connect's two documents over HTTP, and keys that it signs with.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use rig::certificates::Signed;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::https;

/// Whom its tokens are for.
pub const AUDIENCE: &str = "daissy";

/// An issuer; it ends with the test's runtime.
pub struct Issuer {
    /// Its name, which is its address.
    pub name: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// The only key that it publishes.
    key: Mutex<SigningKey>,
    failing: AtomicBool,
    fetches: AtomicUsize,
}

/// A key that tokens are signed with.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    key: PKey<Private>,
}

impl SigningKey {
    /// A new RSA key.
    pub fn new(id: &str) -> Self {
        let key = Rsa::generate(2048).unwrap();
        Self {
            id: id.to_owned(),
            key: PKey::from_rsa(key).unwrap(),
        }
    }

    /// Its public half, as PEM.
    fn public_pem(&self) -> Vec<u8> {
        self.key.public_key_to_pem().unwrap()
    }

    /// A token with these claims, signed with RS256.
    pub fn sign(&self, claims: &Value) -> String {
        let text = encoded(&json!({ "alg": "RS256", "kid": self.id }), claims);
        signed(&text, &self.key)
    }

    /// Its entry in a key set.
    fn entry(&self) -> Value {
        let key = self.key.rsa().unwrap();
        let [n, e] = [key.n(), key.e()].map(|number| base64(number.to_vec()));
        json!({ "kid": self.id, "kty": "RSA", "use": "sig", "alg": "RS256", "n": n, "e": e })
    }
}

impl Issuer {
    /// Starts an issuer with one key, `first`.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(listener, name)
    }

    /// Starts an issuer that is reached through TLS, with a certificate for `localhost`.
    pub async fn behind_tls(signed: &Signed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let port = https::in_front_of(&address, signed).await;
        Self::serve(listener, format!("https://localhost:{port}"))
    }

    fn serve(listener: TcpListener, name: String) -> Self {
        let shared = Arc::new(Shared {
            key: Mutex::new(SigningKey::new("first")),
            failing: AtomicBool::new(false),
            fetches: AtomicUsize::new(0),
        });
        let configuration = json!({ "issuer": name, "jwks_uri": format!("{name}/keys") });
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(|| async { Json(configuration) }),
            )
            .route("/keys", get(keys))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { name, shared }
    }

    /// The settings under which its tokens are needed.
    pub fn settings(&self) -> [(&str, &str); 2] {
        [("JWT_ISSUER", &self.name), ("JWT_AUDIENCE", AUDIENCE)]
    }

    /// A good token of this subject.
    pub fn token(&self, subject: &str) -> String {
        self.key().sign(&self.claims(subject))
    }

    /// Tokens that look like its own and are not valid, each with a word that says why.
    pub fn invalid_tokens(&self) -> Vec<(String, &'static str)> {
        let (good, key) = (self.claims("alice"), self.key());
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            key.sign(&claims)
        };
        let unsigned = encoded(&json!({ "alg": "none", "kid": key.id }), &good) + ".";
        let header = json!({ "alg": "HS256", "kid": key.id });
        let hmac = PKey::hmac(&key.public_pem()).unwrap();
        vec![
            (with("exp", json!(1_700_000_000)), "expired"),
            (with("iss", json!("http://127.0.0.1:1")), "issuer"),
            (with("iss", json!(format!("{}/", self.name))), "issuer"),
            (with("aud", json!("another")), "audience"),
            (with("sub", json!(" ")), "subject"),
            (SigningKey::new(&key.id).sign(&good), "signature"),
            (SigningKey::new("other").sign(&good), "kid"),
            (unsigned, "read"),
            (signed(&encoded(&header, &good), &hmac), "alg"),
            ("2YotnFZFEjr1zCsicMWpAA".to_owned(), "opaque"),
            (String::new(), "read"),
        ]
    }

    /// The claims of a good token of this subject.
    pub fn claims(&self, subject: &str) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = now.as_secs();
        json!({ "iss": self.name, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600 })
    }

    /// The key that it signs with.
    pub fn key(&self) -> SigningKey {
        self.shared.key.lock().unwrap().clone()
    }

    /// Publishes another key in place of the one before.
    pub fn rotate(&self, key: SigningKey) {
        *self.shared.key.lock().unwrap() = key;
    }

    /// Makes requests for its keys fail, or succeed again.
    pub fn fail(&self, failing: bool) {
        self.shared.failing.store(failing, Ordering::SeqCst);
    }

    /// How often its keys were asked for.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    if shared.failing.load(Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let entry = shared.key.lock().unwrap().entry();
    Json(json!({ "keys": [entry] })).into_response()
}

/// The signed part of a token.
fn encoded(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        base64(header.to_string()),
        base64(claims.to_string())
    )
}

/// A token of this signed part, with a key for SHA-256.
fn signed(text: &str, key: &PKey<Private>) -> String {
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    let signature = signer.sign_oneshot_to_vec(text.as_bytes()).unwrap();
    format!("{text}.{}", base64(signature))
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
