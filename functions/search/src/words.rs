//! The words of a text, in the form in which they are compared: in lower case, without accents, and one for
//! each character in scripts that do not separate words.
//!
//! The database makes the same words of messages (`chat_search_text_v1`).

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Where it is, in characters.
    pub place: Range<usize>,
    /// What it is compared by.
    pub form: String,
}

/// What a character is in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Part of a word.
    Letter,
    /// A word of its own, with the marks that follow.
    Alone,
    /// A mark on such a character.
    Mark,
    /// Not part of a word.
    Separator,
}

/// The words of a text.
#[must_use]
pub fn words(text: &[char]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut last = Kind::Separator;
    for (index, character) in text.iter().enumerate() {
        let mut is_accent = true;
        for folded in fold(*character) {
            is_accent = false;
            let kind = kind(folded);
            match (last, kind) {
                (_, Kind::Separator) => last = Kind::Separator,
                (Kind::Letter, Kind::Letter | Kind::Mark) | (Kind::Alone, Kind::Mark) => {
                    extend(&mut words, index, Some(folded));
                }
                (_, kind) => {
                    words.push(Word {
                        place: index..index + 1,
                        form: folded.into(),
                    });
                    last = if kind == Kind::Alone {
                        Kind::Alone
                    } else {
                        Kind::Letter
                    };
                }
            }
        }
        if is_accent && last != Kind::Separator {
            extend(&mut words, index, None);
        }
    }
    for word in &mut words {
        word.form = word.form.nfc().collect();
    }
    words
}

fn extend(words: &mut [Word], index: usize, character: Option<char>) {
    if let Some(word) = words.last_mut() {
        word.place.end = index + 1;
        word.form.extend(character);
    }
}

/// A character without accents and in lower case; an accent is nothing.
fn fold(character: char) -> impl Iterator<Item = char> {
    character
        .to_lowercase()
        .nfkd()
        .filter(|character| !matches!(character, '\u{300}'..='\u{36f}'))
        .flat_map(|character| character.to_lowercase())
        .flat_map(|character| {
            let (first, second) = match character {
                'ø' => ('o', None),
                'ł' => ('l', None),
                'đ' => ('d', None),
                'ħ' => ('h', None),
                'ı' => ('i', None),
                'ŧ' => ('t', None),
                'ς' => ('σ', None),
                'ß' => ('s', Some('s')),
                'æ' => ('a', Some('e')),
                'œ' => ('o', Some('e')),
                other => (other, None),
            };
            std::iter::once(first).chain(second)
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn kind(character: char) -> Kind {
    match character {
        ascii if ascii.is_ascii() => match ascii.is_ascii_alphanumeric() {
            true => Kind::Letter,
            false => Kind::Separator,
        },
        '\u{80}'..='\u{a9}'
        | '\u{ab}'..='\u{b4}'
        | '\u{b6}'..='\u{b9}'
        | '\u{bb}'..='\u{bf}'
        | '\u{d7}'
        | '\u{f7}'
        | '\u{2000}'..='\u{206f}'
        | '\u{20a0}'..='\u{20cf}'
        | '\u{2190}'..='\u{2bff}'
        | '\u{2e00}'..='\u{2e7f}'
        | '\u{3000}'..='\u{3004}'
        | '\u{3008}'..='\u{3020}'
        | '\u{3030}'
        | '\u{303d}'..='\u{303f}'
        | '\u{30fb}'
        | '\u{d7fc}'..='\u{d7ff}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{fd3e}'
        | '\u{fd3f}'
        | '\u{fe00}'..='\u{fe1f}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{feff}'..='\u{ff0f}'
        | '\u{ff1a}'..='\u{ff20}'
        | '\u{ff3b}'..='\u{ff40}'
        | '\u{ff5b}'..='\u{ff65}'
        | '\u{ffe0}'..='\u{ffff}'
        | '\u{1f000}'..='\u{1fbff}'
        | '\u{e0000}'..='\u{e0fff}' => Kind::Separator,
        '\u{e01}'..='\u{e30}'
        | '\u{e32}'
        | '\u{e33}'
        | '\u{e40}'..='\u{e46}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{3029}'
        | '\u{3041}'..='\u{3096}'
        | '\u{309d}'..='\u{309f}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' => Kind::Alone,
        '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{3099}' | '\u{309a}' => {
            Kind::Mark
        }
        _ => Kind::Letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Vec<String> {
        let text: Vec<char> = text.chars().collect();
        words(&text).into_iter().map(|word| word.form).collect()
    }

    #[test]
    fn words_are_compared_without_case_accents_and_punctuation() {
        for (text, expected) in [
            (
                "Falling ASLEEP, don't!",
                vec!["falling", "asleep", "don", "t"],
            ),
            ("“Grüße” – naïve", vec!["grusse", "naive"]),
            ("Grüße", vec!["grusse"]),
            ("Łódź ΟΔΟΣ МОСКВА", vec!["lodz", "οδοσ", "москва"]),
            ("Ｔｏｋｙｏ ﬁsh a/b", vec!["tokyo", "fish", "a", "b"]),
            ("iPhone手机", vec!["iphone", "手", "机"]),
            ("ｶﾞ が ガ", vec!["ガ", "が", "ガ"]),
            ("ที่นี่", vec!["ที่", "นี่"]),
            ("한국어 😀 👨‍👩‍👧", vec!["한국어"]),
            ("", vec![]),
        ] {
            assert_eq!(forms(text), expected, "{text}");
        }
    }

    #[test]
    fn the_place_of_a_word_is_in_characters_and_holds_its_accents() {
        let text: Vec<char> = "😀 Gru\u{308}ße!".chars().collect();
        assert_eq!(words(&text)[0].place, 2..8);
    }
}
