//! Links to recordings on S3 in place of their locations, for callers. What is stored keeps the location, which
//! never expires and is worth nothing by itself.
//!
//! A link opens an object to whoever has it, so naming an object must not be enough to get one: only the
//! assistant's recommendations have links, and only to what the catalogue has under the same id.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{Store, recordings};
use crate::buckets::{Buckets, SCHEME, Signer};
use crate::caller::Caller;

/// The member of a recommended recording that is a location or a link.
const FILE_PATH: &str = "file_path";

/// How many of a message's recordings get a link. A link is longer than its location, and a message has to fit
/// into an answer; an imported one may name any number.
const MAX_LINKS: usize = 20;

/// Timeout for making the links of a request. An answer without them is better than none.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before credentials are asked for again that could not be had. Timed by the wall clock: others stand
/// still while the environment is frozen.
const PAUSE: Duration = Duration::from_secs(30);

/// Gives callers links to recommended recordings. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Links(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    buckets: Buckets,
    /// When there were no credentials.
    failed_at: Mutex<Option<SystemTime>>,
}

/// A recommended recording, as a message names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
struct Recommended {
    audio_id: Uuid,
    #[serde(rename = "file_path")]
    location: String,
}

/// The links of a request: none for a recording that may have none.
#[derive(Default)]
pub(super) struct Linked(HashMap<Recommended, String>);

impl Links {
    /// Links to recordings in these buckets, if the catalogue in the store has them.
    #[must_use]
    pub fn new(store: Store, buckets: Buckets) -> Self {
        Self(Arc::new(Inner {
            store,
            buckets,
            failed_at: Mutex::default(),
        }))
    }

    /// Replaces the locations in the recordings of an answer, as far as there are links.
    pub async fn replace(&self, caller: &Caller, audio_files: &mut [Value]) {
        let of = |item: &Value| Recommended::deserialize(item).ok();
        let recommended = audio_files.iter().take(MAX_LINKS).filter_map(of);
        let linked = self.made(caller, recommended).await;
        for item in audio_files.iter_mut().take(MAX_LINKS) {
            let link = of(item).and_then(|it| linked.0.get(&it));
            if let (Some(link), Some(members)) = (link, item.as_object_mut()) {
                members.insert(FILE_PATH.to_owned(), Value::from(link.as_str()));
            }
        }
    }

    /// The links for the messages in these rows.
    pub(super) async fn of_rows(&self, caller: &Caller, rows: &[Row]) -> Linked {
        let recommended = rows.iter().flat_map(|row| {
            // A row that cannot be read is reported where a message is made of it.
            let role: &str = row.try_get("role").unwrap_or_default();
            let stored = row.try_get::<_, Json<&RawValue>>("audio_files").ok();
            let items = stored.map(|Json(stored)| linkable(role, stored));
            items.into_iter().flatten().filter_map(recommended)
        });
        self.made(caller, recommended).await
    }

    async fn made(
        &self,
        caller: &Caller,
        recommended: impl Iterator<Item = Recommended>,
    ) -> Linked {
        let buckets = &self.0.buckets;
        if buckets.is_empty() {
            return Linked::default();
        }
        let (held, others): (HashSet<_>, HashSet<_>) = recommended
            .filter(|it| it.location.starts_with(SCHEME))
            .partition(|it| buckets.hold(&it.location));
        let links = self.links(caller, held).await;
        // Neither the location nor the link: a key can say what a recording is about.
        let cause = match &links {
            Err(cause) => Some(cause.as_str()),
            Ok(_) if others.is_empty() => None,
            Ok(_) => Some("a location names no object in one of AUDIO_BUCKETS"),
        };
        if let Some(cause) = cause {
            tracing::warn!(cause, "recordings are returned without links");
        }
        Linked(links.unwrap_or_default())
    }

    /// The links to recordings in the buckets, of which none is made for those that the catalogue does not have.
    async fn links(
        &self,
        caller: &Caller,
        mut held: HashSet<Recommended>,
    ) -> Result<HashMap<Recommended, String>, String> {
        if held.is_empty() {
            return Ok(HashMap::new());
        }
        let caller = Caller {
            deadline: caller.deadline.min(Instant::now() + TIMEOUT),
            ..caller.clone()
        };
        let ids: Vec<Uuid> = held.iter().map(|it| it.audio_id).collect();
        let known = recordings::known(&self.0.store, &caller, &ids).await;
        let known = known.map_err(|problem| format!("no catalogue: {}", problem.code()))?;
        let known: HashMap<Uuid, Option<String>> = known.into_iter().collect();
        held.retain(|it| {
            let known = known.get(&it.audio_id).and_then(Option::as_ref);
            known == Some(&it.location)
        });
        if held.is_empty() {
            return Ok(HashMap::new());
        }
        let signer = self.signer(caller.deadline).await?;
        let link = |it: Recommended| Some((signer.link(&it.location)?, it));
        let links = held.into_iter().filter_map(link);
        Ok(links.map(|(link, it)| (it, link)).collect())
    }

    async fn signer(&self, deadline: Instant) -> Result<Signer<'_>, String> {
        let recent = |at: SystemTime| at.elapsed().is_ok_and(|age| age < PAUSE);
        if self.failed_at().is_some_and(recent) {
            return Err("there were no AWS credentials a moment ago".into());
        }
        // Boxed: AWS's futures nest too deeply for the compiler in the functions that await this one.
        let signer = timeout_at(deadline, Box::pin(self.0.buckets.signer())).await;
        let signer = signer.unwrap_or_else(|_| Err("AWS did not answer in time".into()));
        *self.failed_at() = signer.is_err().then(SystemTime::now);
        signer
    }

    fn failed_at(&self) -> std::sync::MutexGuard<'_, Option<SystemTime>> {
        let failed_at = &self.0.failed_at;
        failed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Linked {
    /// The stored recordings of a message, with links; `None` if there are none for them.
    pub(super) fn audio_files(&self, role: &str, stored: &RawValue) -> Option<Box<RawValue>> {
        if self.0.is_empty() {
            return None;
        }
        let items: Vec<&RawValue> = serde_json::from_str(stored.get()).ok()?;
        let links = linkable(role, stored).into_iter().map(|it| self.item(it));
        let links: Vec<_> = links.collect();
        if links.iter().all(Option::is_none) {
            return None;
        }
        let links = links.iter().map(Option::as_deref);
        let links = links.chain(std::iter::repeat(None));
        let items = items.into_iter().zip(links);
        let items: Vec<_> = items.map(|(item, link)| link.unwrap_or(item)).collect();
        to_raw_value(&items).ok()
    }

    /// A recording with its link. Its other members stay as they were written, to the last digit.
    fn item(&self, item: &RawValue) -> Option<Box<RawValue>> {
        let link = self.0.get(&recommended(item)?)?;
        let link = to_raw_value(link).ok()?;
        let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(item.get()).ok()?;
        members.insert(FILE_PATH.to_owned(), &link);
        to_raw_value(&members).ok()
    }
}

/// The first recordings of a message, if it may have links. What a user sent has none.
fn linkable<'a>(role: &str, stored: &'a RawValue) -> Vec<&'a RawValue> {
    if role != "assistant" || !stored.get().contains(SCHEME) {
        return Vec::new();
    }
    let mut items: Vec<&RawValue> = serde_json::from_str(stored.get()).unwrap_or_default();
    items.truncate(MAX_LINKS);
    items
}

fn recommended(item: &RawValue) -> Option<Recommended> {
    serde_json::from_str(item.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198a5c1-0000-7000-8000-000000000001";

    fn linked() -> Linked {
        let recommended = Recommended {
            audio_id: ID.parse().unwrap(),
            location: "s3://recordings/a.mp3".to_owned(),
        };
        Linked(HashMap::from([(recommended, "https://link".to_owned())]))
    }

    fn audio_files(role: &str, stored: &str) -> Option<String> {
        let stored = serde_json::from_str(stored).unwrap();
        let replaced = linked().audio_files(role, stored)?;
        Some(replaced.get().to_owned())
    }

    #[test]
    fn of_a_recommendation_nothing_but_its_location_changes() {
        let stored = |path: &str| {
            format!(r#"{{"audio_id":"{ID}","file_path":"{path}","score":0.10000000000000000555}}"#)
        };
        let item = stored("s3://recordings/a.mp3");
        let others =
            r#"7,["0198a5c1-0000-7000-8000-000000000001","s3://recordings/a.mp3"],null,{}"#;
        let replaced = audio_files("assistant", &format!("[{others},{item}]"));
        let expected = format!("[{others},{}]", stored("https://link"));
        assert_eq!(replaced, Some(expected));
    }

    #[test]
    fn what_is_no_recommendation_of_the_assistant_stays() {
        let item = format!(r#"{{"audio_id":"{ID}","file_path":"s3://recordings/a.mp3"}}"#);
        for (role, stored) in [
            ("user", format!("[{item}]")),
            ("", format!("[{item}]")),
            ("assistant", item.clone()),
            ("assistant", format!("[[{item}]]")),
            ("assistant", format!("[{}]", item.replace("a.mp3", "b.mp3"))),
            ("assistant", format!("[{}]", item.replace("0001", "0002"))),
            ("assistant", format!(r#"["{ID}"]"#)),
            ("assistant", "null".to_owned()),
        ] {
            assert_eq!(audio_files(role, &stored), None, "{role}: {stored}");
        }
    }

    #[test]
    fn a_message_has_a_bounded_number_of_links() {
        let item = format!(r#"{{"audio_id":"{ID}","file_path":"s3://recordings/a.mp3"}}"#);
        let stored = format!("[{}]", vec![item; 50].join(","));
        let replaced = audio_files("assistant", &stored).unwrap();
        assert_eq!(replaced.matches("https://link").count(), MAX_LINKS);
        assert_eq!(replaced.matches("s3://").count(), 50 - MAX_LINKS);
    }

    #[tokio::test]
    async fn an_answer_without_objects_is_left_alone() {
        use crate::caller::Permissions;
        use crate::database::{Database, DatabaseConfig};

        let config = DatabaseConfig::parse("postgresql://u@127.0.0.1:1/d?connect_timeout=1");
        let store = Store::new(Arc::new(Database::new(config.unwrap())));
        let buckets = Buckets::read(|name| {
            (name == Buckets::BUCKETS).then(|| "recordings=eu-west-1".to_owned())
        });
        let links = Links::new(store, buckets.unwrap());
        let caller = Caller {
            owner: None,
            permissions: Permissions::default(),
            deadline: Instant::now() + Duration::from_secs(2),
        };
        // The catalogue cannot be read.
        let stored = serde_json::json!([
            7, null, [ID, "s3://recordings/a.mp3"],
            { "audio_id": ID, "file_path": "s3://recordings/a.mp3" },
        ]);
        let mut answer = stored.as_array().unwrap().clone();
        links.replace(&caller, &mut answer).await;
        assert_eq!(Value::Array(answer), stored);
    }
}
