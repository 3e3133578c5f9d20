//! The part of a message in which a query occurs, and where.

use std::ops::Range;

use serde::Serialize;
use unicode_normalization::char::is_combining_mark;

use crate::highlighter::Highlighter;
use crate::words::words;

/// The length of a snippet, in characters; it is cut between words, so it may have a few less.
const LENGTH: usize = 160;

/// How much of it comes before the first hit.
const BEFORE: usize = 40;

/// The longest word that is not cut.
const LONGEST_WORD: usize = 30;

/// A part of a message.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Snippet {
    /// On one line, with `…` where it was cut.
    #[serde(rename = "snippet")]
    pub text: String,
    /// The beginning and the end of each hit, in characters.
    pub highlights: Vec<[usize; 2]>,
}

impl Snippet {
    /// The part of a message around its first hit, or its beginning.
    #[must_use]
    pub fn of(content: &str, highlighter: &Highlighter<'_>) -> Self {
        let line: Vec<char> = content
            .split_whitespace()
            .flat_map(|word| std::iter::once(' ').chain(word.chars()))
            .skip(1)
            .collect();
        let hits = highlighter.hits(&words(&line));
        let part = part(&line, hits.first());

        let mut text = String::new();
        let mut shift = 0;
        if part.start > 0 {
            text.push_str("… ");
            shift = 2;
        }
        text.extend(&line[part.clone()]);
        if part.end < line.len() {
            text.push_str(" …");
        }
        let inside = hits
            .into_iter()
            .filter(|hit| hit.start >= part.start && hit.start < part.end)
            .map(|hit| [hit.start, hit.end.min(part.end)].map(|at| at - part.start + shift));
        Self {
            highlights: inside.collect(),
            text,
        }
    }
}

/// The part to show: between words where they are not too long.
fn part(line: &[char], hit: Option<&Range<usize>>) -> Range<usize> {
    if line.len() <= LENGTH {
        return 0..line.len();
    }
    let hit = hit.cloned().unwrap_or(0..0);
    let start = hit.start.saturating_sub(BEFORE);
    // If the end is near, more of what comes before.
    let start = start.min(line.len() - LENGTH);
    let start = match start {
        0 => 0,
        start => word_start(line, start, hit.start),
    };
    let end = (start + LENGTH).min(line.len());
    let end = match end == line.len() {
        true => end,
        false => word_end(line, end, start),
    };
    start..end
}

/// The first place from `at` on where a word begins, if one does soon and before `latest`.
fn word_start(line: &[char], at: usize, latest: usize) -> usize {
    let until = latest.min(at + LONGEST_WORD);
    let spaces = (at..until).find(|index| line[index - 1] == ' ');
    spaces.unwrap_or_else(|| whole(line, at))
}

/// The last place before `at` where a word ends, if one does shortly before.
fn word_end(line: &[char], at: usize, start: usize) -> usize {
    let earliest = at.saturating_sub(LONGEST_WORD).max(start + 1);
    let spaces = (earliest..=at).rev().find(|index| line[*index] == ' ');
    spaces.unwrap_or_else(|| whole(line, at))
}

/// The nearest place before `at`, or there, that does not divide what is seen as one character.
fn whole(line: &[char], mut at: usize) -> usize {
    let joins = |character: char| {
        is_combining_mark(character)
            || matches!(character, '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
    };
    while at > 0 && at < line.len() && (joins(line[at]) || line[at - 1] == '\u{200d}') {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::query::Query;

    fn snippet(content: &str, query: &str) -> Snippet {
        let query = Query::parse(query).unwrap();
        Snippet::of(content, &query.highlighter(None))
    }

    fn highlighted(snippet: &Snippet) -> Vec<String> {
        let text: Vec<char> = snippet.text.chars().collect();
        let highlights = snippet.highlights.iter();
        highlights
            .map(|[start, end]| text[*start..*end].iter().collect())
            .collect()
    }

    #[test]
    fn hits_are_found_as_they_are_written() {
        for (content, query, expected) in [
            ("Falling asleep with ease", "fall", vec!["Falling"]),
            (
                "Falling asleep with ease",
                "ease falling",
                vec!["Falling", "ease"],
            ),
            (
                "fall asleep, fall and asleep",
                "\"fall asleep\"",
                vec!["fall asleep"],
            ),
            (
                "fall asleep, fall and asleep",
                "fall asleep",
                vec!["fall", "asleep", "fall", "asleep"],
            ),
            (
                "😀 Gru\u{308}ße, GRÜSSE",
                "grusse",
                vec!["Gru\u{308}ße", "GRÜSSE"],
            ),
            ("👨‍👩‍👧\n\n sleep  now", "\"sleep now\"", vec!["sleep now"]),
            ("今日は東京タワーに行く", "東京", vec!["東京"]),
            ("ที่นี่", "นี่", vec!["นี่"]),
            (
                "no snow, only rain",
                "rain or snow -ice",
                vec!["snow", "rain"],
            ),
            ("rain", "rain or ra", vec!["rain"]),
        ] {
            assert_eq!(
                highlighted(&snippet(content, query)),
                expected,
                "{content}, {query}"
            );
        }
    }

    #[test]
    fn a_long_message_is_cut_between_words_around_the_first_hit() {
        let content = format!("{} needle {}", "before ".repeat(50), "after ".repeat(50));
        let found = snippet(&content, "needle");
        assert!(found.text.starts_with("… before "), "{}", found.text);
        assert!(found.text.ends_with("after …"), "{}", found.text);
        assert_eq!(highlighted(&found), ["needle"]);

        let short = snippet("only this", "this");
        assert_eq!(
            (&*short.text, &short.highlights[..]),
            ("only this", &[[5, 9]][..])
        );
    }

    proptest! {
        #[test]
        fn every_highlight_is_a_hit_and_the_snippet_is_part_of_the_message(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("sleep".to_owned()), Just("SLE\u{301}EPING".to_owned()), Just("👩🏽‍🚀".to_owned()),
                    Just("\n".to_owned()), Just(" ".to_owned()), Just("東京".to_owned()), ".{0,60}", "[a-z]{1,9}",
                ],
                0..80,
            ),
            query in prop::sample::select(vec!["sleep", "\"sleep\"", "東京", "sle", "x sleep", "\"東 sleep\""]),
        ) {
            let content = parts.concat();
            let found = snippet(&content, query);
            let length = found.text.chars().count();
            prop_assert!(length <= LENGTH + 4);
            let line = content.split_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert!(line.contains(found.text.trim_start_matches("… ").trim_end_matches(" …")));
            let mut last = 0;
            for [start, end] in &found.highlights {
                prop_assert!(*start >= last && start < end && *end <= length);
                last = *end;
            }
            let parsed = Query::parse(query).unwrap();
            for text in highlighted(&found) {
                let characters: Vec<char> = text.chars().collect();
                let hits = parsed.highlighter(None).hits(&words(&characters));
                prop_assert!(!hits.is_empty(), "{} is no hit", text);
            }
            // What fits as a whole shows every hit.
            let line: Vec<char> = line.chars().collect();
            if line.len() <= LENGTH {
                prop_assert_eq!(found.highlights.len(), parsed.highlighter(None).hits(&words(&line)).len());
            }
        }
    }
}
