//! What a caller searches for: words, all of which must occur; `"…"` a phrase, `-word` excludes, `or` is or.

use crate::highlighter::{Highlighter, Term};
use crate::words::words;

/// A query.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// For each `or`, what stands beside it: at least one word in each that is not excluded.
    alternatives: Vec<Vec<Term>>,
}

/// A query in pieces.
enum Piece {
    Or,
    Term(Term),
}

impl Query {
    /// Reads a query; `None` if it does not say what to look for.
    ///
    /// Everything is read somehow: a quotation mark that is not closed reaches to the end, an `or` with
    /// nothing on one side is a word at the beginning and nothing at the end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut alternatives: Vec<Vec<Term>> = vec![Vec::new()];
        for piece in pieces(text) {
            match piece {
                Piece::Or => alternatives.push(Vec::new()),
                Piece::Term(term) => alternatives.last_mut()?.push(term),
            }
        }
        alternatives.retain(|terms| !terms.is_empty());
        let has_word = |terms: &Vec<Term>| terms.iter().any(|term| !term.is_excluded);
        (!alternatives.is_empty() && alternatives.iter().all(has_word))
            .then_some(Self { alternatives })
    }

    /// The query in the language of PostgreSQL's `websearch_to_tsquery`.
    #[must_use]
    pub fn text(&self) -> String {
        let alternatives = self.alternatives.iter().map(|terms| {
            let terms = terms.iter().map(|term| {
                let sign = if term.is_excluded { "-" } else { "" };
                // In quotes, because `or` may be a word.
                format!("{sign}\"{}\"", term.words.join(" "))
            });
            terms.collect::<Vec<_>>().join(" ")
        });
        alternatives.collect::<Vec<_>>().join(" or ")
    }

    /// The last word, if it may be the beginning of one.
    #[must_use]
    pub fn beginning(&self) -> Option<&str> {
        let term = self.alternatives.last()?.last()?;
        let word = term.words.last()?;
        term.is_beginning.then_some(word)
    }

    /// Finds the words of this query in a text. If the database makes other words of them than they are,
    /// `made` are those of the text that match.
    #[must_use]
    pub fn highlighter<'a>(&'a self, made: Option<&'a [String]>) -> Highlighter<'a> {
        let terms = self.alternatives.iter().flatten();
        match made {
            Some(words) => Highlighter::Words(words),
            None => Highlighter::Terms(terms.filter(|term| !term.is_excluded).collect()),
        }
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let characters: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut rest = &characters[..];
    while let Some((first, after)) = rest.split_first() {
        if first.is_whitespace() {
            rest = after;
            continue;
        }
        let is_excluded = *first == '-' && after.first().is_some_and(|next| !next.is_whitespace());
        if is_excluded {
            rest = after;
        }
        let is_phrase = rest.first() == Some(&'"');
        if is_phrase {
            rest = &rest[1..];
        }
        let is_end = |character: &char| match is_phrase {
            true => *character == '"',
            false => character.is_whitespace() || *character == '"',
        };
        let end = rest.iter().position(is_end);
        let (term, after) = rest.split_at(end.unwrap_or(rest.len()));
        let is_closed = is_phrase && end.is_some();
        rest = if is_closed { &after[1..] } else { after };

        let words: Vec<_> = words(term).into_iter().map(|word| word.form).collect();
        let is_or = !is_phrase && !is_excluded && words == ["or"] && !pieces.is_empty();
        if is_or {
            pieces.push(Piece::Or);
        } else if !words.is_empty() {
            pieces.push(Piece::Term(Term {
                words,
                is_excluded,
                is_beginning: false,
            }));
        }
        let is_last = rest.iter().all(|character| character.is_whitespace());
        if let Some(Piece::Term(term)) = pieces.last_mut()
            && is_last
        {
            term.is_beginning = !is_closed && !term.is_excluded;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_people_write_it() {
        for (text, read, beginning) in [
            ("Falling asl", "\"falling\" \"asl\"", Some("asl")),
            ("\"falling asleep\"", "\"falling asleep\"", None),
            ("\"falling asl", "\"falling asl\"", Some("asl")),
            ("sleep -Café", "\"sleep\" -\"cafe\"", None),
            ("sleep -\"a b\" x", "\"sleep\" -\"a b\" \"x\"", Some("x")),
            ("rain or snow", "\"rain\" or \"snow\"", Some("snow")),
            (
                "rain OR snow fall",
                "\"rain\" or \"snow\" \"fall\"",
                Some("fall"),
            ),
            ("or not", "\"or\" \"not\"", Some("not")),
            ("sleep or", "\"sleep\"", None),
            ("\"or\"", "\"or\"", None),
            ("a-b don't", "\"a b\" \"don t\"", Some("t")),
            ("- sleep", "\"sleep\"", Some("sleep")),
            ("手机", "\"手 机\"", Some("机")),
            ("iPhone\"手机\"", "\"iphone\" \"手 机\"", None),
            ("sleep ?!", "\"sleep\"", Some("sleep")),
        ] {
            let query = Query::parse(text).unwrap();
            assert_eq!(
                (&*query.text(), query.beginning()),
                (read, beginning),
                "{text}"
            );
        }
    }

    #[test]
    fn a_query_that_does_not_say_what_to_look_for_is_none() {
        for text in [
            "", "?!", "-sleep", "\"\"", "😀", "a or -b", "-a -b", "-", "\"", "--",
        ] {
            assert_eq!(Query::parse(text), None, "{text}");
        }
    }
}
