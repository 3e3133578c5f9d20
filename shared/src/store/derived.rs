//! What is stored beside a text and depends on it. It is worked out here, not in the database, which never
//! looks into content.

use openssl::sha::sha256;

use super::messages::not_json;
use crate::problem::Problem;

/// The longest automatic title, in characters.
const MAX_TITLE_CHARACTERS: usize = 60;

/// The size of a question's digest, in bytes. It tells two texts of one caller apart, so half of
/// SHA-256 is enough.
const DIGEST_BYTES: usize = 16;

/// The size of an answer's message as JSON without its text, in bytes, when the values of its jsonb
/// columns are null; one of the user takes a few less.
const MESSAGE_BYTES: usize = 199;

/// The title of a session that begins with this question: its first words, as many as fit into 60
/// characters, separated by one space. A first word that is longer is cut.
#[must_use]
pub fn title(content: &str) -> String {
    let mut title = String::new();
    let mut characters = 0;
    for word in content.split_whitespace() {
        let separator = usize::from(characters > 0);
        characters += separator + word.chars().count();
        if characters > MAX_TITLE_CHARACTERS {
            if separator == 0 {
                title.extend(word.chars().take(MAX_TITLE_CHARACTERS));
            }
            break;
        }
        if separator == 1 {
            title.push(' ');
        }
        title.push_str(word);
    }
    title
}

/// The digest of a question, to tell whether a repeated `message_id` comes with the same text.
#[must_use]
pub fn digest(content: &str) -> Vec<u8> {
    sha256(content.as_bytes())[..DIGEST_BYTES].to_vec()
}

/// The length of a text in characters. Texts are far shorter than the largest `i32`.
#[must_use]
pub fn characters(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX)
}

/// The size of a message with this text as JSON, in bytes, without the values of its jsonb columns.
///
/// # Errors
/// [`Problem::Internal`] when it cannot be written as JSON.
pub fn json_bytes(content: &str) -> Result<i64, Problem> {
    let json = serde_json::to_vec(content).map_err(not_json)?;
    Ok(i64::try_from(MESSAGE_BYTES + json.len()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_beginning_of_the_question_cut_between_words() {
        assert_eq!(
            title("  How do I\n\tfall asleep? "),
            "How do I fall asleep?"
        );
        let sixty = "Ä".repeat(29) + " " + &"ß".repeat(30);
        assert_eq!(title(&format!("{sixty} x")), sixty);
        assert_eq!(title(&format!("{sixty}x")), "Ä".repeat(29));
        assert_eq!(title(&"語".repeat(100)), "語".repeat(60));
    }
}
