//! The measure of texts: an estimate of their tokens, on the safe side.
//!
//! Every family of models has a tokenizer of its own. Those that are published take 2.3 to 17 MB of a compressed
//! program and 70 to 125 ms to start, for one family; Anthropic's and Google's are not published at all. So tokens are
//! estimated from the number of characters and bytes, which the database knows without reading the text, and
//! [`super::Window`] corrects the estimate by what the provider counts.
//!
//! Estimated tokens for one real token, in texts of some pages, by seven tokenizers (OpenAI's o200k and cl100k,
//! the one that Anthropic once published, those of Llama 3, Gemma 3, Qwen 3, DeepSeek 3). Of scripts that cl100k,
//! Llama 3 and Anthropic's old one take apart into bytes, these need more than estimated.
//!
//! | text | least | most |
//! |---|---|---|
//! | English | 1.3 | 1.7 |
//! | German, French, Spanish, Italian | 1.1 | 1.8 |
//! | Polish, Czech, Hungarian, Finnish, Turkish, Vietnamese | 0.95 | 3.2 |
//! | code, YAML | 1.2 | 1.7 |
//! | Russian, Ukrainian | 2.1 | 5.0 |
//! | Greek, Hebrew, Arabic, Persian | 1.1 | 4.2 |
//! | Hindi, Marathi, Nepali | 1.5 | 6.3 |
//! | Bengali, Tamil, Thai, Georgian | 0.93 | 8.4 |
//! | Chinese, Japanese, Korean | 1.3 | 4.1 |
//! | JSON of ids and numbers | 0.6 | 1.1 |
//! | Armenian, Amharic, Kannada, Malayalam | 0.65 | 5.5 |
//! | long numbers, base64 | 0.35 | 1.1 |

use std::iter::Sum;
use std::ops::Add;

/// Tokens for each character.
const CHARACTER: f64 = 0.35;

/// Tokens for each byte by which a text is longer than its characters, while there are few of them: an accent in
/// a Latin word breaks the word apart, and a letter of another alphabet of two bytes is nearly a token.
const EXTRA_BYTE: f64 = 1.5;

/// The most that these bytes add: so much for each character, and so much for each of them.
const MANY_EXTRA_BYTES: (f64, f64) = (0.4, 0.6);

/// Tokens around a message, for its role and its end.
const MESSAGE: f64 = 6.0;

/// The size of one or several texts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Size {
    characters: f64,
    bytes: f64,
    tokens: f64,
}

impl Size {
    /// The size of a text that is part of a message.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let characters = text.chars().count() as f64;
        let bytes = text.len() as f64;
        Self {
            characters,
            bytes,
            tokens: tokens(characters, bytes),
        }
    }

    /// The size of a message with this text.
    #[must_use]
    pub fn message(text: &str) -> Self {
        let size = Self::of(text);
        Self {
            tokens: size.tokens + MESSAGE,
            ..size
        }
    }

    /// Its tokens, as estimated.
    #[must_use]
    pub fn tokens(self) -> f64 {
        self.tokens
    }

    /// How many bytes there are for each character beyond the first one.
    pub fn extra_bytes(self) -> f64 {
        (self.bytes - self.characters) / self.characters.max(1.0)
    }
}

/// The same as `chat_tokens_v1` in the database, which chooses with it which messages to read.
fn tokens(characters: f64, bytes: f64) -> f64 {
    let extra = bytes - characters;
    let (for_character, for_byte) = MANY_EXTRA_BYTES;
    CHARACTER * characters + (EXTRA_BYTE * extra).min(for_character * characters + for_byte * extra)
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            characters: self.characters + other.characters,
            bytes: self.bytes + other.bytes,
            tokens: self.tokens + other.tokens,
        }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Self::add)
    }
}
