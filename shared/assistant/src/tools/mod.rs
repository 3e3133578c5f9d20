//! The functions that a model may call: the search for recordings, and those of the installation.

mod address;
mod call;
mod endpoint;
mod file;
mod recordings;

use std::time::Instant;

use serde_json::Value;
use shared::caller::Caller;
use shared::store::Store;

pub use self::call::{Definition, Outcome, Recommendation};
pub use self::file::read;
pub use self::recordings::{
    FUNCTION_NAME as SEARCH_FUNCTION, Limits, Recommended, Recordings, Samples,
};

use self::endpoint::Endpoint;

/// The functions of an installation.
#[derive(Debug)]
pub struct Tools {
    recordings: Recordings,
    endpoints: Vec<Endpoint>,
}

impl Tools {
    /// The search for recordings, and the functions of a file.
    #[must_use]
    pub fn new(recordings: Recordings, endpoints: Vec<Endpoint>) -> Self {
        Self {
            recordings,
            endpoints,
        }
    }

    /// Which of the recordings that were found are recommended.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.recordings.limits
    }

    /// Does what need not wait for the first call.
    pub async fn prepare(&self, store: &Store) {
        self.recordings.prepare(store).await;
    }

    /// The functions as a model sees them, the search only if there are recordings.
    #[must_use]
    pub fn definitions(&self, has_recordings: bool) -> Vec<Definition<'_>> {
        let search = self.recordings.definition(has_recordings).into_iter();
        search
            .chain(self.endpoints.iter().map(Endpoint::definition))
            .collect()
    }

    /// Runs a call. Whatever goes wrong is a result that the model sees.
    pub async fn run(
        &self,
        store: &Store,
        caller: &Caller,
        name: &str,
        arguments: &Value,
    ) -> Outcome {
        let began = Instant::now();
        let endpoint = self
            .endpoints
            .iter()
            .find(|endpoint| endpoint.name() == name);
        let returned = match endpoint {
            Some(endpoint) => endpoint.call(arguments).await,
            None if name == SEARCH_FUNCTION => {
                self.recordings.search(store, caller, arguments).await
            }
            None => Err("there is no such function".to_owned()),
        };
        Outcome::new(returned, began.elapsed())
    }
}
