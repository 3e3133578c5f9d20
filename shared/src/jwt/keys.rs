//! The keys of the issuer, fetched when they are needed and kept for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jsonwebtoken::Algorithm;

use super::issuer::{Issuer, IssuerError};
use super::key::Key;

/// How long keys are used before they are fetched again: a key that the issuer withdrew is accepted
/// for as long. If fetching fails, they stay in use.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Time without a fetch after one that failed, or that a token with an unknown key caused: anyone can
/// make up such tokens.
const PAUSE: Duration = Duration::from_secs(10);

/// The keys of an issuer.
#[derive(Debug)]
pub(crate) struct Keys(Arc<Cache>);

#[derive(Debug)]
struct Cache {
    issuer: Issuer,
    known: Mutex<Known>,
    /// Held during a fetch. Whoever waits for it finds what the one before has fetched.
    fetching: tokio::sync::Mutex<()>,
}

/// The result of the fetches so far. Its times are of the wall clock: monotonic clocks stand still while
/// a Lambda environment is frozen, and a withdrawn key would be accepted for days.
#[derive(Debug, Default)]
struct Known {
    keys: Vec<Key>,
    /// When the keys arrived; `None` before the first time.
    fetched: Option<SystemTime>,
    /// Since when nothing is fetched, for a while.
    paused: Option<SystemTime>,
    /// Why the last fetch failed, if it did.
    failure: Option<IssuerError>,
}

impl Keys {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self(Arc::new(Cache {
            issuer,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::new(()),
        }))
    }

    /// The issuer, as tokens name it.
    pub(crate) fn issuer(&self) -> &str {
        &self.0.issuer.name
    }

    /// Fetches the keys before the first token. If that fails, the first token tries again.
    pub(crate) async fn prepare(&self) {
        let _alone = self.0.fetching.lock().await;
        if let Ok(keys) = self.0.fetch().await {
            self.0.known().replace(keys, SystemTime::now());
        }
    }

    /// The key with this id for this algorithm; `None` if the issuer has none.
    ///
    /// # Errors
    /// [`IssuerError`] if it is unknown and the issuer cannot be asked.
    pub(crate) async fn find(
        &self,
        id: &str,
        algorithm: Algorithm,
    ) -> Result<Option<Key>, IssuerError> {
        if self.0.known().is_due(id, algorithm, SystemTime::now()) {
            let (cache, id) = (Arc::clone(&self.0), id.to_owned());
            // In its own task: a caller that hangs up does not end what others wait for.
            let refreshed = tokio::spawn(async move { cache.refresh(&id, algorithm).await });
            if refreshed.await.is_err() {
                return Err(IssuerError::new("fetching the keys panicked"));
            }
        }
        self.0.known().find(id, algorithm)
    }
}

impl Cache {
    /// Fetches the keys if this key still makes it necessary.
    async fn refresh(&self, id: &str, algorithm: Algorithm) {
        let _alone = self.fetching.lock().await;
        if !self.known().is_due(id, algorithm, SystemTime::now()) {
            return;
        }
        let fetched = self.fetch().await;
        self.known().take(fetched, id, algorithm, SystemTime::now());
    }

    async fn fetch(&self) -> Result<Vec<Key>, IssuerError> {
        let fetched = self.issuer.fetch_keys().await;
        if let Err(error) = &fetched {
            tracing::warn!(cause = %error, "the keys of the issuer cannot be fetched");
        }
        fetched
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether the keys have to be fetched for a token with this key.
    fn is_due(&self, id: &str, algorithm: Algorithm, now: SystemTime) -> bool {
        // A clock that was set back says nothing about the age, so the keys are fetched.
        let is_within = |start: Option<SystemTime>, limit| {
            let age = start.and_then(|start| now.duration_since(start).ok());
            age.is_some_and(|age| age < limit)
        };
        let is_current = is_within(self.fetched, LIFETIME);
        let is_paused = is_within(self.paused, PAUSE);
        let suffices = is_current && self.get(id, algorithm).is_some();
        !is_paused && !suffices
    }

    /// Takes over what was fetched for a token with this key.
    fn take(
        &mut self,
        fetched: Result<Vec<Key>, IssuerError>,
        id: &str,
        algorithm: Algorithm,
        now: SystemTime,
    ) {
        let was_known = self.get(id, algorithm).is_some();
        let is_first = self.fetched.is_none();
        match fetched {
            Ok(keys) => {
                self.replace(keys, now);
                self.paused = (!was_known && !is_first).then_some(now);
            }
            Err(error) => {
                self.failure = Some(error);
                self.paused = Some(now);
            }
        }
    }

    fn replace(&mut self, keys: Vec<Key>, now: SystemTime) {
        self.keys = keys;
        self.fetched = Some(now);
        self.failure = None;
        self.paused = None;
    }

    fn find(&self, id: &str, algorithm: Algorithm) -> Result<Option<Key>, IssuerError> {
        match (self.get(id, algorithm), &self.failure) {
            (Some(key), _) => Ok(Some(key.clone())),
            // The issuer may have begun to use it since.
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Ok(None),
        }
    }

    fn get(&self, id: &str, algorithm: Algorithm) -> Option<&Key> {
        self.keys.iter().find(|key| key.fits(id, algorithm))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALGORITHM: Algorithm = Algorithm::RS256;

    fn keys(ids: &[&str]) -> Vec<Key> {
        let read = |id: &&str| {
            let key = json!({ "kid": id, "kty": "RSA", "n": "A".repeat(342), "e": "AQAB" });
            Key::read(&key).unwrap()
        };
        ids.iter().map(read).collect()
    }

    fn failure() -> Result<Vec<Key>, IssuerError> {
        Err(IssuerError::new("no answer"))
    }

    /// Whether a token with this key causes a fetch.
    fn asks(known: &Known, id: &str, now: SystemTime) -> bool {
        known.is_due(id, ALGORITHM, now)
    }

    #[test]
    fn keys_are_fetched_again_when_they_are_old_and_kept_if_that_fails() {
        let (mut known, start) = (Known::default(), SystemTime::now());
        assert!(asks(&known, "a", start));
        known.take(Ok(keys(&["a"])), "a", ALGORITHM, start);
        assert!(!asks(&known, "a", start + LIFETIME / 2));

        let old = start + LIFETIME;
        assert!(asks(&known, "a", old));
        known.take(failure(), "a", ALGORITHM, old);
        assert!(known.find("a", ALGORITHM).unwrap().is_some());
        assert!(!asks(&known, "a", old), "not with every request");
        assert!(asks(&known, "a", old + PAUSE));

        known.take(Ok(keys(&["b"])), "a", ALGORITHM, old + PAUSE);
        assert!(known.find("a", ALGORITHM).unwrap().is_none(), "withdrawn");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_key_alive() {
        let (mut known, start) = (Known::default(), SystemTime::now());
        known.take(Ok(keys(&["a"])), "a", ALGORITHM, start);
        let earlier = start - LIFETIME;
        assert!(asks(&known, "a", earlier));
        known.take(failure(), "a", ALGORITHM, start);
        assert!(asks(&known, "a", earlier), "nor a pause");
    }

    #[test]
    fn keys_that_were_fetched_in_advance_are_as_good_as_those_of_a_token() {
        let (mut known, start) = (Known::default(), SystemTime::now());
        known.replace(keys(&["a"]), start);
        assert!(!asks(&known, "a", start));
        assert!(asks(&known, "b", start), "it may be a new one");
        assert!(asks(&known, "a", start + LIFETIME));
    }

    #[test]
    fn unknown_keys_cause_one_fetch_in_a_while() {
        let (mut known, start) = (Known::default(), SystemTime::now());
        known.take(Ok(keys(&["a"])), "a", ALGORITHM, start);
        assert!(asks(&known, "b", start), "it may be a new one");
        known.take(Ok(keys(&["a"])), "b", ALGORITHM, start);
        for id in ["b", "c"] {
            assert!(!asks(&known, id, start));
            assert!(known.find(id, ALGORITHM).unwrap().is_none());
            assert!(asks(&known, id, start + PAUSE));
        }
        // A key that is known is no less known for another algorithm.
        assert!(!asks(&known, "a", start + PAUSE));
        assert!(known.find("a", Algorithm::ES256).unwrap().is_none());
    }

    #[test]
    fn while_the_issuer_fails_an_unknown_key_is_no_verdict() {
        let (mut known, start) = (Known::default(), SystemTime::now());
        known.take(failure(), "a", ALGORITHM, start);
        assert!(known.find("a", ALGORITHM).is_err());
        assert!(!asks(&known, "a", start), "not with every request");

        known.take(Ok(keys(&["a"])), "a", ALGORITHM, start + PAUSE);
        assert!(known.find("b", ALGORITHM).unwrap().is_none());
        known.take(failure(), "b", ALGORITHM, start + PAUSE);
        assert!(known.find("a", ALGORITHM).unwrap().is_some());
        assert!(known.find("b", ALGORITHM).is_err());
    }
}
