//! An answer while it is written: it grows, is kept fit to be stored, and its pieces are given on as
//! soon as they are certain.

use serde_json::Value;

use super::delivery::{Piece, Sink};
use super::storable::{Fitting, GrowingText, storable};

/// Between what the model says before a function call and after it.
const JOINT: &str = "\n\n";

/// An answer that is being written, in one or more rounds with the model.
pub struct Draft<'a> {
    /// If `None`, the answer is delivered in one piece.
    sink: Option<Sink<'a>>,
    text: GrowingText,
    /// Whether the model has said a word in this round.
    has_spoken: bool,
    function_calls: Fitting,
}

impl<'a> Draft<'a> {
    /// An empty draft, whose pieces go to `sink`.
    pub fn new(sink: Option<Sink<'a>>) -> Self {
        Self {
            sink,
            text: GrowingText::default(),
            has_spoken: false,
            function_calls: Fitting::default(),
        }
    }

    /// Adds text of the current round. White space before its first word is dropped: some models
    /// begin with blank lines, and some say nothing else before a call.
    pub fn say(&mut self, text: &str) {
        if self.has_spoken {
            return self.append(text);
        }
        let text = text.trim_start();
        if text.is_empty() {
            return;
        }
        self.has_spoken = true;
        if self.is_blank() {
            self.append(text);
        } else {
            self.append(&format!("{JOINT}{text}"));
        }
    }

    fn append(&mut self, text: &str) {
        let certain = self.text.push(text);
        give(&mut self.sink, certain);
    }

    /// Adds a function call, and with it its result.
    pub fn call(&mut self, call: Value) {
        if let Some(call) = self.function_calls.push(storable(call))
            && let Some(sink) = &mut self.sink
        {
            sink(Piece::FunctionCall(call));
        }
    }

    /// Gives the recordings that are recommended with the answer so far.
    pub fn recommend(&mut self, recordings: &[Value]) {
        if let Some(sink) = &mut self.sink {
            sink(Piece::Recordings(recordings));
        }
    }

    /// Whether the model has said a word in this round.
    pub fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Ends the round: the model continues after the results of its calls.
    pub fn end_round(&mut self) {
        self.has_spoken = false;
    }

    /// Whether the model has said no word at all.
    pub fn is_blank(&self) -> bool {
        self.text.is_empty()
    }

    /// The content of the answer and its function calls.
    pub fn finish(mut self) -> (String, Vec<Value>) {
        give(&mut self.sink, self.text.rest());
        (self.text.into_string(), self.function_calls.into_values())
    }
}

fn give(sink: &mut Option<Sink<'_>>, text: &str) {
    if let Some(sink) = sink
        && !text.is_empty()
    {
        sink(Piece::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::storable::MAX_STORED_BYTES;
    use super::*;
    use serde_json::json;

    /// Says these texts in rounds, and returns the pieces that were given and the content.
    fn said(rounds: &[&[&str]]) -> (Vec<String>, String) {
        let mut pieces = Vec::new();
        let mut sink = |piece: Piece<'_>| {
            if let Piece::Text(text) = piece {
                pieces.push(text.to_owned());
            }
        };
        let mut draft = Draft::new(Some(&mut sink));
        for round in rounds {
            for text in *round {
                draft.say(text);
            }
            draft.end_round();
        }
        let (content, _) = draft.finish();
        (pieces, content)
    }

    #[test]
    fn what_was_said_before_a_call_is_joined_with_what_follows() {
        let cases: [(&[&[&str]], &[&str]); 6] = [
            (&[&["a ", "b"], &["c"]], &["a ", "b", "\n\nc"]),
            (&[&["a"], &["\n", " c"]], &["a", "\n\nc"]),
            (&[&["a"], &[" ", "\n"], &["c"]], &["a", "\n\nc"]),
            (&[&[" \n"], &["c"]], &["c"]),
            (&[&["\n", "c ", " "]], &["c ", " "]),
            (&[&["a"], &[]], &["a"]),
        ];
        for (rounds, expected) in cases {
            let (pieces, content) = said(rounds);
            assert_eq!(pieces, expected);
            assert_eq!(content, expected.concat());
        }
    }

    #[test]
    fn a_text_of_nothing_but_white_space_is_never_given() {
        assert_eq!(said(&[&[" ", "\n"], &["\t"]]), (Vec::new(), String::new()));
    }

    #[test]
    fn the_pieces_of_an_answer_that_is_cut_off_are_its_content() {
        let cases = [
            MAX_STORED_BYTES - 4,
            MAX_STORED_BYTES - 3,
            MAX_STORED_BYTES - 2,
            MAX_STORED_BYTES,
            MAX_STORED_BYTES + 1,
            MAX_STORED_BYTES + 1000,
        ];
        for bytes in cases {
            for size in [1, 7, 1000] {
                let text = "ü\0".repeat(bytes / 4) + &"x".repeat(bytes % 4);
                let characters: Vec<char> = text.chars().collect();
                let texts: Vec<String> = characters.chunks(size).map(String::from_iter).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();

                let (pieces, content) = said(&[&texts]);
                let (_, at_once) = said(&[&[&text]]);

                assert_eq!(pieces.concat(), content);
                assert_eq!(content, at_once, "{bytes} bytes by {size}");
                assert!(content.len() <= MAX_STORED_BYTES);
                assert!(pieces.iter().all(|piece| !piece.is_empty()));
            }
        }
    }

    #[test]
    fn function_calls_are_given_as_they_are_stored_and_only_those() {
        let mut given = Vec::new();
        let mut sink = |piece: Piece<'_>| {
            if let Piece::FunctionCall(call) = piece {
                given.push(call.clone());
            }
        };
        let mut draft = Draft::new(Some(&mut sink));
        for number in 0..5 {
            draft.call(json!({ "name": "f\0".repeat(20_000), "number": number }));
        }
        let (content, stored) = draft.finish();
        assert_eq!((given, content), (stored.clone(), String::new()));
        assert_eq!(stored.len(), 3);
        assert!(stored[0]["name"].as_str().unwrap().starts_with("f\u{fffd}"));
    }
}
