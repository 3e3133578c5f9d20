//! The context window: what of a conversation a model is sent, so that everything together has at most so many
//! tokens.
//!
//! The system prompt, the definitions of functions and what was said in earlier rounds of the turn are always sent,
//! and so is the question. Earlier messages get the room that is left, the newest first.

mod correction;
mod shorten;
mod size;

use std::borrow::Cow;

use shared::store::turns::ContextMessage;

use self::correction::Correction;
use self::shorten::shorten;
pub use self::size::Size;

/// How much of the window is used. The measure is corrected by what the provider counted last, and the next text
/// is a little different.
const USED: f64 = 0.95;

/// The part of the window that is the question's, however large the rest is that always stays.
const LEAST_FOR_QUESTION: f64 = 0.25;

/// From which part of the window on a request shows how far the measure is off: less is mostly what providers
/// add themselves, and it would fit in any case.
const TELLING: f64 = 0.25;

/// The context window of a model.
#[derive(Debug)]
pub struct Window {
    tokens: f64,
    correction: Correction,
}

/// What is sent of a conversation.
#[derive(Debug)]
pub struct Fitted<'a> {
    /// The earlier messages, oldest first: the newest of those that there are, beginning with the user.
    pub context: &'a [ContextMessage],
    /// The question, shortened if it is larger than the window.
    pub question: Cow<'a, str>,
    /// The size of the whole request.
    pub size: Size,
}

impl Window {
    /// A window of so many tokens.
    #[must_use]
    pub fn new(tokens: u32) -> Self {
        Self {
            tokens: f64::from(tokens),
            correction: Correction::default(),
        }
    }

    /// How many tokens are left for earlier messages, as the measure counts them. `fixed` is sent in any case.
    pub fn room(&self, fixed: Size, question: &str) -> f64 {
        let question = Size::message(question);
        let window = self.window(fixed + question);
        let for_question = Self::for_question(window, fixed);
        (window - fixed.tokens() - question.tokens().min(for_question)).max(0.0)
    }

    /// Chooses what is sent after `fixed`. Called anew for each round of a turn, whose earlier rounds are part of
    /// `fixed`: so they stay, and the oldest messages make room for them.
    pub fn fit<'a>(
        &self,
        fixed: Size,
        earlier: &'a [ContextMessage],
        question: &'a str,
    ) -> Fitted<'a> {
        let sizes = earlier
            .iter()
            .map(|message| Size::message(&message.content));
        let sizes: Vec<Size> = sizes.collect();
        let all: Size = sizes.iter().copied().sum();
        let window = self.window(fixed + all + Size::message(question));
        let question = shorten(question, Self::for_question(window, fixed));

        let mut size = fixed + Size::message(&question);
        let mut first = earlier.len();
        for (index, message) in sizes.iter().enumerate().rev() {
            if (size + *message).tokens() > window {
                break;
            }
            size = size + *message;
            first = index;
        }
        // An answer whose question is left out is of no use, and not every provider takes it.
        while first < earlier.len() && earlier[first].role != "user" {
            first += 1;
        }
        let context = &earlier[first..];
        let shown: Size = sizes[first..].iter().copied().sum();
        Fitted {
            context,
            size: fixed + Size::message(&question) + shown,
            question,
        }
    }

    /// Corrects the measure by what the provider counted for a request of this size.
    pub fn learn(&self, sent: Size, input_tokens: Option<i64>) {
        if sent.tokens() >= TELLING * self.tokens
            && let Some(input_tokens) = input_tokens
        {
            self.correction.learn(sent, input_tokens as f64);
        }
    }

    /// Corrects the measure after the provider refused a request of this size as too long.
    pub fn refused(&self, sent: Size) {
        self.correction.refused(sent);
    }

    /// The window as the measure counts it, for a request that has about this mixture of characters.
    fn window(&self, request: Size) -> f64 {
        USED * self.tokens / self.correction.factor(request)
    }

    fn for_question(window: f64, fixed: Size) -> f64 {
        (window - fixed.tokens()).max(LEAST_FOR_QUESTION * window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(texts: &[&str]) -> Vec<ContextMessage> {
        let roles = ["user", "assistant"].into_iter().cycle();
        let messages = roles.zip(texts).map(|(role, text)| ContextMessage {
            role: role.into(),
            content: (*text).to_owned(),
        });
        messages.collect()
    }

    /// The first letters of the messages that are shown.
    fn shown(fitted: &Fitted<'_>) -> String {
        let messages = fitted.context.iter();
        messages
            .filter_map(|message| message.content.chars().next())
            .collect()
    }

    #[test]
    fn the_newest_messages_are_taken_and_begin_with_the_user() {
        let (a, b, c, d) = ("a".repeat(600), "b".repeat(600), "c".repeat(600), "d");
        let earlier = said(&[&a, &b, &c, d]);
        let shown_in = |tokens| {
            let window = Window::new(tokens);
            let fitted = window.fit(Size::of("Be brief."), &earlier, "Why?");
            assert!(fitted.size.tokens() <= f64::from(tokens));
            assert_eq!(fitted.question, "Why?");
            shown(&fitted)
        };
        assert_eq!(shown_in(1000), "abcd");
        assert_eq!(shown_in(600), "cd", "without the answer to a");
        assert_eq!(shown_in(300), "cd");
        assert_eq!(shown_in(200), "");
        assert_eq!(shown_in(20), "");
    }

    #[test]
    fn earlier_rounds_stay_and_messages_make_room_for_them() {
        let (a, b) = ("a".repeat(600), "b".repeat(600));
        let earlier = said(&[&a, "A", &b, "B"]);
        let window = Window::new(1000);
        let fixed = Size::of("Be brief.");
        assert_eq!(shown(&window.fit(fixed, &earlier, "Why?")), "aAbB");
        let rounds = Size::message(&"r".repeat(1800));
        let fitted = window.fit(fixed + rounds, &earlier, "Why?");
        assert_eq!(shown(&fitted), "bB");
        let rounds = rounds + rounds;
        let fitted = window.fit(fixed + rounds, &earlier, "Why?");
        assert_eq!((shown(&fitted).as_str(), &*fitted.question), ("", "Why?"));
    }

    #[test]
    fn a_question_that_is_larger_than_the_window_is_shortened_in_the_middle() {
        let window = Window::new(1000);
        for letter in ["a", "ж", "一", "😀"] {
            let question = format!("begin {} end", letter.repeat(10_000));
            for fixed in [Size::default(), Size::of(&"f".repeat(1500))] {
                assert!(window.room(fixed, &question) < 10.0);
                let earlier = said(&["hello"]);
                let fitted = window.fit(fixed, &earlier, &question);
                assert!(fitted.question.starts_with("begin ") && fitted.question.ends_with(" end"));
                let tokens = fitted.size.tokens();
                assert!((900.0..=950.0).contains(&tokens), "{letter}: {tokens}");
            }
        }
        let large = Size::of(&"f".repeat(100_000));
        let question = "q".repeat(10_000);
        let left = Size::of(&window.fit(large, &[], &question).question);
        assert!((200.0..250.0).contains(&left.tokens()), "always a quarter");
    }

    #[test]
    fn the_room_is_what_fits_beside_all_that_stays() {
        let window = Window::new(1000);
        let fixed = Size::of(&"f".repeat(300));
        let room = window.room(fixed, "Why?");
        let characters = ((room - Size::message("").tokens()) / 0.35) as usize;
        for (more, expected) in [(0, 1), (20, 0)] {
            let earlier = said(&[&"a".repeat(characters + more)]);
            assert_eq!(window.fit(fixed, &earlier, "Why?").context.len(), expected);
        }
    }

    #[test]
    fn what_the_provider_counts_corrects_the_window() {
        let message = "a".repeat(600);
        let earlier = said(&[message.as_str(); 20]);
        let window = Window::new(1000);
        let fit = |fixed| window.fit(fixed, &earlier, "Why?");
        let fixed = Size::default();
        assert_eq!(fit(fixed).context.len(), 4);

        for _ in 0..30 {
            let size = fit(fixed).size;
            window.learn(size, Some((size.tokens() * 0.6) as i64));
        }
        assert_eq!(fit(fixed).context.len(), 6);

        let size = fit(fixed).size;
        window.learn(size, Some((size.tokens() * 2.0) as i64));
        assert_eq!(fit(fixed).context.len(), 2, "more is believed at once");

        // What says little about the measure.
        window.learn(size, None);
        window.learn(size, Some(1));
        window.learn(Size::of("short"), Some(2));
        assert_eq!(fit(fixed).context.len(), 2);
    }
}
