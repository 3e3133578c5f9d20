//! What all providers ask of a conversation, each in its own words.

use super::conversation::{Asked, Call, Given, Said, Thoughts};
use super::script::Answer;

/// Checks what does not depend on the protocol. `answers` are those that were given before: calls and
/// thoughts must come back as they were.
pub fn check(asked: &Asked, answers: &[Answer]) -> Result<(), String> {
    if asked.system.as_ref().is_some_and(|text| is_blank(text)) {
        return Err("the system prompt is empty".into());
    }
    let mut before: Option<&Said> = None;
    for (index, said) in asked.messages.iter().enumerate() {
        let wrong = |what: &str| Err(format!("messages.{index}: {what}"));
        match (said, before) {
            (Said::User(_), None | Some(Said::Assistant { .. })) => {}
            (Said::Assistant { .. }, Some(Said::User(_) | Said::Results(_))) => {}
            (Said::Results(_), Some(Said::Assistant { calls, .. })) if !calls.is_empty() => {}
            (Said::Results(_), _) => return wrong("results that follow no calls"),
            _ => return wrong("roles must alternate, and begin with the user"),
        }
        if let Some(Said::Assistant { calls, .. }) = before
            && !calls.is_empty()
        {
            let Said::Results(results) = said else {
                return wrong("calls must be followed by their results");
            };
            answered(calls, results).or_else(|what| wrong(&what))?;
        }
        match said {
            Said::User(text) if is_blank(text) => return wrong("a text is empty"),
            Said::Assistant { text, calls, .. } if calls.is_empty() && is_blank(text) => {
                return wrong("a text is empty");
            }
            Said::Assistant {
                thoughts, calls, ..
            } if !calls.is_empty() => {
                if asked.tools.is_empty() {
                    return wrong("calls need functions that are offered");
                }
                let Some(answer) = answers.iter().find(|answer| answer.calls == *calls) else {
                    return wrong("the model has made no such calls");
                };
                if !is_same(thoughts.as_ref(), answer.thoughts.as_ref()) {
                    return wrong("thoughts must come back with their calls, unchanged");
                }
            }
            _ => {}
        }
        before = Some(said);
    }
    match before {
        Some(Said::User(_) | Said::Results(_)) => Ok(()),
        _ => Err("messages: the last one must be the user's".into()),
    }
}

/// Checks that these are the results of these calls.
fn answered(calls: &[Call], results: &[Given]) -> Result<(), String> {
    if results.len() != calls.len() {
        return Err(format!(
            "{} results for {} calls",
            results.len(),
            calls.len()
        ));
    }
    for (call, result) in calls.iter().zip(results) {
        if result.id != call.id {
            return Err("a result must name its call".into());
        }
        if result.name.as_ref().is_some_and(|name| *name != call.name) {
            return Err("a result must name the function of its call".into());
        }
        if is_blank(&result.text) {
            return Err("a result is empty".into());
        }
    }
    Ok(())
}

/// Whether these thoughts are those of the model, as far as they come back.
fn is_same(thoughts: Option<&Thoughts>, own: Option<&Thoughts>) -> bool {
    match (thoughts, own) {
        (Some(thoughts), Some(own)) => {
            thoughts.signature == own.signature
                && (thoughts.words.is_none() || thoughts.words == own.words)
        }
        (thoughts, own) => thoughts.is_none() && own.is_none(),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
