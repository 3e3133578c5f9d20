//! `POST /chat`: one turn. Stores the user's message, asks the model, stores and returns the answer.

pub mod exchange;

use std::sync::Arc;

use crate::exchange::{Asked, TurnReply, question};
use assistant::Assistant;
use shared::http::endpoint::{Endpoint, Reply};
use shared::http::request::Request;
use shared::http::route::Route;
use shared::problem::Problem;
use shared::store::links::Links;

/// The function.
#[derive(Debug)]
pub struct Chat {
    assistant: Arc<Assistant>,
    links: Links,
}

impl Chat {
    /// The function with its assistant.
    #[must_use]
    pub fn new(assistant: Arc<Assistant>, links: Links) -> Self {
        Self { assistant, links }
    }
}

impl Endpoint for Chat {
    const NAME: &str = env!("CARGO_PKG_NAME");
    const ROUTES: &'static [Route] = &[Route::post("/chat")];

    /// # Errors
    /// Every problem of the contract except those of cursors.
    async fn handle(&self, request: Request) -> Result<Reply, Problem> {
        let question = question(&request)?;
        let caller = request.caller();
        let mut end = self.assistant.turn(caller, &question).await?;
        self.links
            .replace(caller, &mut end.answer.audio_files)
            .await;
        let asked = Asked::from(&question);
        let reply = TurnReply::new(asked, end.response_id, &end.answer, end.seq);
        let reply = Reply::json(&reply)?;
        Ok(if end.is_replayed {
            reply.replayed()
        } else {
            reply
        })
    }
}
