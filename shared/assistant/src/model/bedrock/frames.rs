//! The frames in which Bedrock sends a streamed answer.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::event_stream::Message;
use serde_json::Value;

use super::super::failure::{ModelFailure, reported_as};

/// The longest frame that is read, in bytes. Bedrock's hold a few words.
const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// The exception for a request that Bedrock does not take as it is.
const REJECTED: &str = "validationException";

/// What a frame says.
#[derive(Debug)]
pub struct Event {
    /// Its kind, such as `contentBlockDelta`.
    pub kind: String,
    /// What it holds.
    pub data: Value,
}

/// Cuts a stream of bytes into its frames.
#[derive(Debug, Default)]
pub struct Frames {
    decoder: MessageFrameDecoder,
    /// Of the first frame, the decoder may already have taken the beginning.
    bytes: Vec<u8>,
}

impl Frames {
    /// Appends bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The event of the next frame, or `None` until more bytes are there.
    ///
    /// # Errors
    /// [`ModelFailure`] for a frame that is damaged, or in which Bedrock reports that it failed.
    pub fn next_event(&mut self) -> Result<Option<Event>, ModelFailure> {
        let unreadable = || ModelFailure::new("the provider's stream cannot be read");
        let mut rest = self.bytes.as_slice();
        let decoded = self.decoder.decode_frame(&mut rest);
        let used = self.bytes.len() - rest.len();
        self.bytes.drain(..used);
        match decoded.map_err(|_| unreadable())? {
            DecodedFrame::Complete(message) => event(&message).map(Some),
            DecodedFrame::Incomplete if self.bytes.len() > MAX_FRAME_BYTES => Err(unreadable()),
            DecodedFrame::Incomplete => Ok(None),
        }
    }
}

fn event(message: &Message) -> Result<Event, ModelFailure> {
    match header(message, ":message-type") {
        "event" => Ok(Event {
            kind: header(message, ":event-type").to_owned(),
            data: serde_json::from_slice(message.payload())
                .map_err(|_| ModelFailure::new("the answer cannot be parsed"))?,
        }),
        "exception" => {
            let exception = header(message, ":exception-type");
            let words = String::from_utf8_lossy(message.payload());
            Err(reported_as(Some(exception), exception == REJECTED, &words))
        }
        _ => Err(reported_as(Some(header(message, ":error-code")), false, "")),
    }
}

/// A header's text; empty if it has none.
fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    message
        .headers()
        .iter()
        .find(|header| header.name().as_str() == name)
        .and_then(|header| header.value().as_string().ok())
        .map_or("", |text| text.as_str())
}
