//! A model over HTTP that speaks OpenAI's protocol and says the time, token by token.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::post;
use futures_util::stream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{interval_at, sleep};

/// Tokens a second, of each answer.
const TOKENS_PER_SECOND: u64 = 30;

/// A running model; it ends with the process.
pub struct Model {
    /// Its address, as `MODEL_BASE_URL` has it.
    pub base_url: String,
    /// From which its tokens count.
    start: Instant,
}

impl Model {
    /// Starts one whose answers take this long.
    pub async fn start(time: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let start = Instant::now();
        let answer = post(move || async move { answer(start, time) });
        let router = Router::new().route("/v1/chat/completions", answer);
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { base_url, start }
    }

    /// How long ago a token was sent; a text may hold several.
    pub fn ages(&self, text: &str) -> Vec<Duration> {
        let now = self.start.elapsed();
        text.split_whitespace()
            .map(|token| now.saturating_sub(Duration::from_micros(token.parse().unwrap())))
            .collect()
    }
}

fn answer(start: Instant, time: Duration) -> Response {
    let tokens = time.as_secs() * TOKENS_PER_SECOND;
    let period = Duration::from_secs(1) / u32::try_from(TOKENS_PER_SECOND).unwrap();
    // The streams of many callers do not beat as one.
    let first = period.mul_f64(f64::from(start.elapsed().subsec_micros() % 1000) / 1000.0);
    let clock = interval_at((Instant::now() + first).into(), period);
    let parts = stream::unfold((0, clock), move |(sent, mut clock)| async move {
        clock.tick().await;
        let part = if sent < tokens {
            chunk(&json!({
                "delta": { "content": format!("{} ", start.elapsed().as_micros()) },
                "finish_reason": null, "index": 0,
            }))
        } else if sent == tokens {
            let end = chunk(&json!({ "delta": {}, "finish_reason": "stop", "index": 0 }));
            format!("{end}data: [DONE]\n\n")
        } else {
            // A client may want to see that nothing follows.
            sleep(Duration::from_millis(1)).await;
            return None;
        };
        Some((Ok::<_, Infallible>(part), (sent + 1, clock)))
    });
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::from_stream(parts))
        .unwrap()
}

fn chunk(choice: &serde_json::Value) -> String {
    let chunk = json!({
        "id": "bench", "object": "chat.completion.chunk", "created": 0, "model": "bench",
        "choices": [choice],
    });
    format!("data: {chunk}\n\n")
}
