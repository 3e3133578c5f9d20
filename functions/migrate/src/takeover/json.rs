//! JSON as the Python server stored it, made fit for `jsonb`.

/// What replaces a character that cannot be stored.
const REPLACEMENT: &str = "\\ufffd";

/// The same JSON, with U+FFFD where an escape stands for a character that `jsonb` refuses: U+0000, or half of a
/// pair; and whether there was one. As text, because parsing would round numbers.
pub(super) fn storable(json: &str) -> (String, bool) {
    let mut output = String::with_capacity(json.len());
    let mut is_changed = false;
    let mut rest = json;
    while let Some(backslash) = rest.find('\\') {
        output.push_str(&rest[..backslash]);
        let escape = &rest[backslash..];
        let length = match unit(escape) {
            // Any other escape is the backslash and one character; the JSON is valid, so there is one.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
            Some(0xd800..0xdc00) if matches!(unit(&escape[6..]), Some(0xdc00..0xe000)) => 12,
            Some(0 | 0xd800..0xe000) => {
                output.push_str(REPLACEMENT);
                is_changed = true;
                rest = &escape[6..];
                continue;
            }
            Some(_) => 6,
        };
        output.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    output.push_str(rest);
    (output, is_changed)
}

/// The code unit of the escape `\uXXXX` at the beginning.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_stored_is_replaced() {
        for (json, expected) in [
            (r#"{"a": 12345678901234567890.5}"#, None),
            (r#""\\u0000""#, None),
            (r#""\n\"\\\u0001é\ud83d\ude00""#, None),
            (r#""\u0000""#, Some(r#""\ufffd""#)),
            (r#""\\\u0000\u0000x""#, Some(r#""\\\ufffd\ufffdx""#)),
            (r#"{"\u0000": "\ud83d"}"#, Some(r#"{"\ufffd": "\ufffd"}"#)),
            (r#""\ude00\ud83d""#, Some(r#""\ufffd\ufffd""#)),
            (r#""\ud83d\ud83d\uDE00""#, Some(r#""\ufffd\ud83d\uDE00""#)),
        ] {
            let (text, is_changed) = storable(json);
            assert_eq!(text, expected.unwrap_or(json));
            assert_eq!(is_changed, expected.is_some(), "{json}");
        }
    }
}
