//! The agent without a database, for tests of models alone: a search for recordings fails.

use std::sync::Arc;
use std::time::Duration;

use assistant::{Agent, Conversation, Delivery, ModelFailure};
use shared::caller::{Caller, Permissions};
use shared::database::{Database, DatabaseConfig};
use shared::store::Store;
use shared::store::turns::Answer;
use tokio::time::Instant;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Has a greeting answered.
///
/// # Errors
/// The models'.
pub async fn greet(agent: &Agent, delivery: Delivery<'_>) -> Result<Answer, ModelFailure> {
    let config = DatabaseConfig::parse("postgresql://nobody@127.0.0.1:1/nothing").unwrap();
    let store = Store::new(Arc::new(Database::new(config)));
    let until = Instant::now() + LIMIT;
    let caller = Caller {
        owner: None,
        permissions: Permissions::default(),
        deadline: until,
    };
    let conversation = Conversation {
        context: &[],
        question: "Hello",
        has_recordings: false,
        shows: &|_| {},
    };
    agent
        .answer(&store, &caller, conversation, until, delivery)
        .await
}
