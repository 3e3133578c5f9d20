//! `audio`: the catalogue of recordings that the assistant may recommend.

mod csv;
mod evaluate;
mod import;
mod judgement;
mod list;
mod place;
mod queries;
mod remove;
mod search;
mod source;
mod table;

use std::path::PathBuf;

use uuid::Uuid;

use crate::error::LocalError;

/// How many recordings `search` shows unless it is told otherwise.
const DEFAULT_LIMIT: i32 = 5;

/// The most that a search finds.
const MAX_LIMIT: i32 = 50;

/// What to do with the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Audio {
    /// Import a file.
    Import(PathBuf),
    /// List all recordings, for people or as JSON Lines.
    List { as_json: bool },
    /// Search as the assistant does.
    Search {
        query: String,
        context: Option<String>,
        limit: i32,
    },
    /// Delete recordings.
    Remove(Vec<Uuid>),
    /// Judge the search by queries whose right answers are known.
    Evaluate {
        queries: PathBuf,
        recordings: Option<PathBuf>,
        shows_misses: bool,
    },
}

impl Audio {
    /// Reads the arguments after `audio`; `None` if they are not a command.
    pub(crate) fn read(arguments: &[&str]) -> Option<Self> {
        match arguments {
            ["import", file] if !file.starts_with("--") => Some(Self::Import(file.into())),
            ["list"] => Some(Self::List { as_json: false }),
            ["list", "--json"] => Some(Self::List { as_json: true }),
            ["search", how @ ..] => Self::read_search(how),
            ["remove", ids @ ..] if !ids.is_empty() => {
                let ids: Result<_, _> = ids.iter().map(|id| Uuid::try_parse(id)).collect();
                ids.ok().map(Self::Remove)
            }
            ["evaluate", how @ ..] => Self::read_evaluate(how),
            _ => None,
        }
    }

    fn read_search(arguments: &[&str]) -> Option<Self> {
        let mut words = Vec::new();
        let (mut context, mut limit) = (None, None);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--context" if context.is_none() => context = Some((*rest.next()?).to_owned()),
                "--limit" if limit.is_none() => limit = Some(rest.next()?.parse().ok()?),
                option if option.starts_with("--") => return None,
                word => words.push(word),
            }
        }
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        let query = words.join(" ");
        let is_complete = !query.trim().is_empty() && (1..=MAX_LIMIT).contains(&limit);
        is_complete.then_some(Self::Search {
            query,
            context,
            limit,
        })
    }

    fn read_evaluate(arguments: &[&str]) -> Option<Self> {
        let (mut queries, mut recordings, mut shows_misses) = (None, None, false);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--recordings" if recordings.is_none() => recordings = Some(rest.next()?.into()),
                "--misses" => shows_misses = true,
                option if option.starts_with("--") => return None,
                file if queries.is_none() => queries = Some(file.into()),
                _ => return None,
            }
        }
        Some(Self::Evaluate {
            queries: queries?,
            recordings,
            shows_misses,
        })
    }
}

/// Runs a command.
pub(crate) async fn audio(audio: Audio) -> Result<(), LocalError> {
    match audio {
        Audio::Import(file) => import::import(&file).await,
        Audio::List { as_json: true } => list::as_json().await,
        Audio::List { as_json: false } => list::as_table().await,
        Audio::Search {
            query,
            context,
            limit,
        } => search::search(&query, context.as_deref(), limit).await,
        Audio::Remove(ids) => remove::remove(&ids).await,
        Audio::Evaluate {
            queries,
            recordings,
            shows_misses,
        } => evaluate::evaluate(&queries, recordings.as_deref(), shows_misses).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01980000-0000-7000-8000-000000000001";

    #[test]
    fn a_command_is_understood_with_its_options_in_any_order_and_nothing_else() {
        let id = Uuid::try_parse(ID).unwrap();
        let search = |query: &str, context: Option<&str>, limit| {
            Some(Audio::Search {
                query: query.into(),
                context: context.map(str::to_owned),
                limit,
            })
        };
        let evaluate = |recordings: Option<&str>, shows_misses| {
            Some(Audio::Evaluate {
                queries: "q".into(),
                recordings: recordings.map(PathBuf::from),
                shows_misses,
            })
        };
        for (arguments, expected) in [
            (
                &["import", "f.csv"][..],
                Some(Audio::Import("f.csv".into())),
            ),
            (&["import"], None),
            (&["import", "--help"], None),
            (&["import", "a", "b"], None),
            (&["list"], Some(Audio::List { as_json: false })),
            (&["list", "--json"], Some(Audio::List { as_json: true })),
            (&["list", "all"], None),
            (
                &["search", "fall", "asleep"],
                search("fall asleep", None, 5),
            ),
            (
                &["search", "--limit", "2", "sleep", "--context", "a child"],
                search("sleep", Some("a child"), 2),
            ),
            (&["search"], None),
            (&["search", " "], None),
            (&["search", "sleep", "--limit"], None),
            (&["search", "sleep", "--limit", "51"], None),
            (&["search", "sleep", "--limits", "5"], None),
            (&["remove", ID, ID], Some(Audio::Remove(vec![id, id]))),
            (&["remove"], None),
            (&["remove", ID, "sleep"], None),
            (&["evaluate", "q"], evaluate(None, false)),
            (
                &["evaluate", "--misses", "q", "--recordings", "r"],
                evaluate(Some("r"), true),
            ),
            (&["evaluate"], None),
            (&["evaluate", "q", "r"], None),
            (&[], None),
            (&["play"], None),
        ] {
            assert_eq!(Audio::read(arguments), expected, "{arguments:?}");
        }
    }
}
