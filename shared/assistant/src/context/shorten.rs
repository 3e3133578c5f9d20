//! Shortens a text that is larger than the window, for the model only.

use std::borrow::Cow;

use super::size::Size;

/// Stands where the middle of a text was. `chat_begin_turn_v1` in the database uses the same.
const MARK: &str = "\n\n[The middle of this message was left out, because it is too long.]\n\n";

/// A text of at most this size, as a message: the whole one, or its beginning and its end.
pub fn shorten(text: &str, tokens: f64) -> Cow<'_, str> {
    let whole = Size::message(text).tokens();
    if whole <= tokens {
        return Cow::Borrowed(text);
    }
    let characters = text.chars().count();
    let mut kept = (characters as f64 * tokens / whole).floor();
    loop {
        let shortened = cut(text, characters, kept.max(0.0) as usize);
        let size = Size::message(&shortened).tokens();
        if size <= tokens || kept < 1.0 {
            return Cow::Owned(shortened);
        }
        // The parts may be denser than the whole, and there is the mark.
        kept = (kept - 1.0).min(kept * tokens / size).floor();
    }
}

/// As many characters from beginning and end together.
fn cut(text: &str, characters: usize, kept: usize) -> String {
    let (head, tail) = (kept - kept / 2, kept / 2);
    let at = |character| {
        let place = text.char_indices().nth(character);
        place.map_or(text.len(), |(byte, _)| byte)
    };
    format!(
        "{}{MARK}{}",
        &text[..at(head)],
        &text[at(characters - tail)..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_stays_as_it_is() {
        assert!(matches!(shorten("a", 7.0), Cow::Borrowed("a")));
        assert!(matches!(shorten("", 6.0), Cow::Borrowed("")));
    }

    #[test]
    fn a_text_that_does_not_fit_keeps_its_beginning_and_its_end_as_far_as_they_fit() {
        let half = "hello ".repeat(1000);
        // The parts that are kept are denser than the whole.
        let dense = format!("{0}{half}{half}{0}", "😀".repeat(1000));
        for text in [&*half, &*dense, &"жЖ".repeat(5000), &"漢字".repeat(5000)] {
            for tokens in [200.0, 500.0, 1500.0] {
                let shortened = shorten(text, tokens);
                let (head, tail) = shortened.split_once(MARK).unwrap();
                assert!(text.starts_with(head) && text.ends_with(tail));
                assert!(head.chars().count() - tail.chars().count() <= 1);
                let size = Size::message(&shortened).tokens();
                assert!(
                    (0.8 * tokens..=tokens).contains(&size),
                    "{size} of {tokens}"
                );
            }
        }
    }

    #[test]
    fn of_a_text_without_room_the_mark_remains() {
        assert_eq!(shorten(&"a".repeat(1000), 0.0), MARK);
    }
}
