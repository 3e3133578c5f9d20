//! Where in a text the words and phrases of a query are.

use std::ops::Range;

use crate::words::Word;

/// A word or a phrase.
#[derive(Debug, PartialEq, Eq)]
pub struct Term {
    /// Its words.
    pub words: Vec<String>,
    /// Whether it must not occur.
    pub is_excluded: bool,
    /// Whether the last word may be the beginning of one.
    pub is_beginning: bool,
}

/// What to highlight.
#[derive(Debug)]
pub enum Highlighter<'a> {
    /// These words and phrases.
    Terms(Vec<&'a Term>),
    /// Any of these words, as the database reads them.
    Words(&'a [String]),
}

impl Highlighter<'_> {
    /// Where the hits are, in order and apart from each other.
    pub fn hits(&self, words: &[Word]) -> Vec<Range<usize>> {
        let mut hits = Vec::new();
        match self {
            Self::Words(made) => {
                let matching = words.iter().filter(|word| made.contains(&word.form));
                hits.extend(matching.map(|word| word.place.clone()));
            }
            Self::Terms(terms) => {
                for term in terms {
                    for found in words.windows(term.words.len()) {
                        if let [first, .., last] | [first @ last] = found
                            && term.matches(found)
                        {
                            hits.push(first.place.start..last.place.end);
                        }
                    }
                }
            }
        }
        merged(hits)
    }
}

impl Term {
    fn matches(&self, found: &[Word]) -> bool {
        let last = self.words.len() - 1;
        self.words
            .iter()
            .zip(found)
            .enumerate()
            .all(|(index, (word, found))| {
                found.form == *word
                    || self.is_beginning && index == last && found.form.starts_with(word.as_str())
            })
    }
}

fn merged(mut hits: Vec<Range<usize>>) -> Vec<Range<usize>> {
    hits.sort_by_key(|hit| (hit.start, hit.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for hit in hits {
        match merged.last_mut() {
            Some(last) if hit.start < last.end => last.end = last.end.max(hit.end),
            _ => merged.push(hit),
        }
    }
    merged
}
