//! The events of one turn.

use chat::exchange::{Asked, TurnReply};
use serde_json::{Value, json};
use shared::http::events::{Event, Events};
use shared::problem::Problem;
use shared::store::streams::Place;
use shared::store::turns::Answer;
use uuid::Uuid;

/// Sends the events of one turn to one reader, and knows where in the answer that reader is.
#[derive(Debug)]
pub struct TurnEvents {
    events: Events,
    session_id: Uuid,
    message_id: Uuid,
    /// How far the reader is.
    place: Place,
}

impl TurnEvents {
    /// Of a turn of this session, with this question, for a reader at this place.
    pub fn new(events: Events, session_id: Uuid, message_id: Uuid, place: Place) -> Self {
        Self {
            events,
            session_id,
            message_id,
            place,
        }
    }

    /// How far the reader is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The turn has begun: the id that its answer will have, and the model that answers.
    pub fn started(&self, response_id: Uuid, model: &str) {
        self.send(
            "started",
            &json!({
                "session_id": self.session_id,
                "message_id": self.message_id,
                "response_id": response_id,
                "model": model,
            }),
        );
    }

    /// The text that comes next; nothing if it is empty.
    pub fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.place.characters = self.place.characters.saturating_add(characters(text));
            self.send_from_here("delta", text);
        }
    }

    /// Another answer than the one that the reader has the beginning of: its text so far.
    pub fn restart(&mut self, response_id: Uuid, text: &str) {
        self.place.response_id = response_id;
        self.place.characters = characters(text);
        self.send_from_here("restart", text);
    }

    /// A call that the model made.
    pub fn function_call(&self, call: &Value) {
        self.send("function_call", call);
    }

    /// The whole answer, which is stored at this position.
    ///
    /// # Errors
    /// [`Problem::Internal`] when it cannot be written as JSON.
    pub fn done(&self, query: &str, answer: &Answer, seq: i64) -> Result<(), Problem> {
        let asked = Asked {
            session_id: self.session_id,
            message_id: self.message_id,
            query,
        };
        let reply = TurnReply::new(asked, self.place.response_id, answer, seq);
        let reply =
            serde_json::to_value(reply).map_err(|error| Problem::Internal(Box::new(error)))?;
        self.send("done", &reply);
        Ok(())
    }

    fn send(&self, name: &'static str, data: &Value) {
        self.events.send(&Event::new(name, data));
    }

    fn send_from_here(&self, name: &'static str, text: &str) {
        let event = Event::new(name, &json!({ "text": text }));
        self.events.send(&event.with_id(id(self.place)));
    }
}

/// A place as the id of an event.
fn id(place: Place) -> String {
    let Place {
        question_seq,
        response_id,
        characters,
    } = place;
    format!("{question_seq}.{response_id}.{characters}")
}

/// Reads the id of an event; `None` if it is none.
pub fn parse_id(text: &str) -> Option<Place> {
    let mut parts = text.split('.');
    let place = Place {
        question_seq: parts.next()?.parse().ok()?,
        response_id: parts.next()?.parse().ok()?,
        characters: parts.next()?.parse().ok()?,
    };
    let is_place = parts.next().is_none() && place.question_seq > 0 && place.characters >= 0;
    is_place.then_some(place)
}

fn characters(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX)
}
