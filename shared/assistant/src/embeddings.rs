//! What a text means, as numbers that a model of a provider makes of it: texts that mean the same have
//! numbers that are alike.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use genai::adapter::AdapterKind;
use genai::embed::{EmbedOptions, EmbedResponse};
use genai::{Client, ServiceTarget};
use shared::settings::{self, SettingsError};
use shared::store::recordings::Embedding;
use tokio::time::{Instant, sleep, timeout};

use crate::model::failure::{ModelFailure, failure};
use crate::model::provider::{Rank, bedrock_model};
use crate::model::remote::Remote;

/// The variables with the model, its address, and how many numbers it makes.
const EMBEDDING_MODEL: &str = "EMBEDDING_MODEL";
const EMBEDDING_BASE_URL: &str = "EMBEDDING_BASE_URL";
const EMBEDDING_DIMENSIONS: &str = "EMBEDDING_DIMENSIONS";

/// How many texts are sent at a time; Gemini takes 100 and Cohere 96.
pub const MAX_BATCH: usize = 64;

/// The longest text, in characters and in bytes. Providers count tokens: OpenAI takes 8,191 of them, and 12,000
/// bytes are about 3,000 tokens of English and 5,000 of Chinese.
const MAX_CHARACTERS: usize = 6_000;
const MAX_BYTES: usize = 12_000;

/// The most numbers that pgvector stores for a text.
const MAX_DIMENSIONS: usize = 16_000;

/// Timeout for a query, whose caller is waiting: without its meaning it is searched by its words.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout for a batch of texts.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// The pause before a batch is sent again: it doubles, and a random part of itself is added.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How often a batch is sent again.
const MAX_RETRIES: usize = 6;

/// A model that says what texts mean.
#[derive(Debug)]
pub struct Embeddings {
    client: Client,
    target: ServiceTarget,
    name: String,
    dimensions: Option<usize>,
}

/// What a text is, which some models want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Query,
    Document,
}

impl Embeddings {
    /// Reads `EMBEDDING_MODEL`, `EMBEDDING_BASE_URL`, `EMBEDDING_DIMENSIONS`, the variable with the provider's
    /// key and, if that is not set, `EMBEDDING_KEY_SECRET_ARN` or a key by that name in the secret of
    /// `MODEL_KEY_SECRET_ARN`. `None` without `EMBEDDING_MODEL`. The provider is not contacted yet.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub async fn read(
        variables: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let variable = |name: &str| settings::text(&variables, name);
        let base_url = variable(EMBEDDING_BASE_URL);
        let dimensions = settings::number(&variables, EMBEDDING_DIMENSIONS, 1..=MAX_DIMENSIONS)?;
        let Some(name) = variable(EMBEDDING_MODEL) else {
            let set = [
                (EMBEDDING_BASE_URL, base_url.is_some()),
                (EMBEDDING_DIMENSIONS, dimensions.is_some()),
            ];
            return match set.into_iter().find(|(_, is_set)| *is_set) {
                None => Ok(None),
                Some((set, _)) => Err(SettingsError::new(format!(
                    "{set} is set but {EMBEDDING_MODEL} is not; set {EMBEDDING_MODEL} to the model"
                ))),
            };
        };
        let refuse = |provider: &str| {
            Err(SettingsError::new(format!(
                "{EMBEDDING_MODEL} {name}: {provider} offers no embeddings here; name a model of OpenAI, \
                 Gemini, Cohere or Ollama, or set {EMBEDDING_BASE_URL}"
            )))
        };
        if bedrock_model(&name).is_some() {
            return refuse("Bedrock");
        }
        let remote = Remote::new(&name, Rank::Embedding, base_url, variable).await;
        let remote = remote.map_err(|error| error.of(EMBEDDING_MODEL))?;
        let Remote::Genai(client, target) = remote else {
            return refuse("Bedrock");
        };
        let kind = target.model.adapter_kind;
        if !can_embed(kind) {
            return refuse(kind.as_str());
        }
        let name = match dimensions {
            // Numbers of different lengths cannot be compared.
            Some(dimensions) => format!("{name}/{dimensions}"),
            None => name,
        };
        Ok(Some(Self {
            client,
            target,
            name,
            dimensions,
        }))
    }

    /// The name under which embeddings are stored.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a query means; `None`, with a warning in the log, if the model does not say so in time.
    pub async fn of_query(&self, text: &str) -> Option<Embedding> {
        let texts = vec![beginning(text).to_owned()];
        let asked = timeout(QUERY_TIMEOUT, self.ask(texts, Purpose::Query)).await;
        let answered = asked.unwrap_or_else(|_| Err(ModelFailure::silence()));
        match answered {
            Ok(vectors) => vectors.into_iter().next().map(|vector| self.named(vector)),
            Err(failure) => {
                tracing::warn!(
                    model = self.name,
                    cause = %failure,
                    "recordings are searched by words alone"
                );
                None
            }
        }
    }

    /// What queries mean, as [`Self::of_texts`] for texts.
    ///
    /// # Errors
    /// As [`Self::of_texts`].
    pub async fn of_queries(&self, texts: &[&str]) -> Result<Vec<Embedding>, ModelFailure> {
        let mut embeddings = Vec::with_capacity(texts.len());
        for batch in texts.chunks(MAX_BATCH) {
            let batch = batch.iter().map(|text| beginning(text).to_owned());
            let vectors = self.ask_patiently(batch.collect(), Purpose::Query, None);
            embeddings.extend(vectors.await?.into_iter().map(|vector| self.named(vector)));
        }
        Ok(embeddings)
    }

    /// What texts mean, at most 64 of them, in their order. The model is asked again after failures
    /// that may pass, until that time if there is one.
    ///
    /// # Errors
    /// [`ModelFailure`].
    pub async fn of_texts(
        &self,
        texts: Vec<String>,
        until: Option<Instant>,
    ) -> Result<Vec<Vec<f32>>, ModelFailure> {
        self.ask_patiently(texts, Purpose::Document, until).await
    }

    fn named(&self, vector: Vec<f32>) -> Embedding {
        Embedding {
            model: self.name.clone(),
            vector,
        }
    }

    async fn ask_patiently(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
        until: Option<Instant>,
    ) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let mut pauses = pauses();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limit = left.map_or(BATCH_TIMEOUT, |left| left.min(BATCH_TIMEOUT));
            let asked = timeout(limit, self.ask(texts.clone(), purpose)).await;
            let failure = match asked {
                Ok(Ok(vectors)) => return Ok(vectors),
                Ok(Err(failure)) => failure,
                Err(_) => ModelFailure::silence(),
            };
            let (Some(retry_after), Some(pause)) = (failure.may_pass(), pauses.next()) else {
                return Err(failure);
            };
            let pause = pause.max(retry_after);
            if left.is_some_and(|left| pause >= left) {
                return Err(failure);
            }
            sleep(pause).await;
        }
    }

    async fn ask(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let expected = texts.len();
        let options = self.options(purpose);
        // Boxed: every turn's future would contain the client of the provider.
        let asked = Box::pin(
            self.client
                .embed_batch(self.target.clone(), texts, Some(&options)),
        );
        let response = asked.await.map_err(|error| failure(&error))?;
        vectors(response, expected, self.dimensions)
    }

    fn options(&self, purpose: Purpose) -> EmbedOptions {
        let kind = match (self.target.model.adapter_kind, purpose) {
            (AdapterKind::Cohere, Purpose::Query) => Some("search_query"),
            (AdapterKind::Cohere, Purpose::Document) => Some("search_document"),
            (AdapterKind::Gemini, Purpose::Query) => Some("RETRIEVAL_QUERY"),
            (AdapterKind::Gemini, Purpose::Document) => Some("RETRIEVAL_DOCUMENT"),
            _ => None,
        };
        EmbedOptions {
            dimensions: self.dimensions,
            embedding_type: kind.map(str::to_owned),
            ..EmbedOptions::default()
        }
    }
}

/// Whether the protocol of these providers has embeddings, as genai speaks it.
fn can_embed(kind: AdapterKind) -> bool {
    !matches!(
        kind,
        AdapterKind::Anthropic
            | AdapterKind::BedrockApi
            | AdapterKind::CloudGpu
            | AdapterKind::GeminiIx
            | AdapterKind::Heabsy
            | AdapterKind::MiniMax
            | AdapterKind::OpenAIResp
            | AdapterKind::OpenCodeGo
            | AdapterKind::Vertex
    )
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(MAX_PAUSE)
        .with_max_times(MAX_RETRIES)
        .with_jitter()
        .build()
}

/// The text of a recording that says most of what it means.
#[must_use]
pub fn text_of(
    title: &str,
    tags: &[String],
    summary: Option<&str>,
    transcript: Option<&str>,
) -> String {
    let tags = tags.join(", ");
    let parts = [
        title,
        &tags,
        summary.unwrap_or(""),
        transcript.unwrap_or(""),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    beginning(&parts.join("\n\n")).to_owned()
}

/// As much of a text as a model takes.
fn beginning(text: &str) -> &str {
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The vectors of a response in the order of the texts, checked, each of length 1.
fn vectors(
    response: EmbedResponse,
    expected: usize,
    dimensions: Option<usize>,
) -> Result<Vec<Vec<f32>>, ModelFailure> {
    let refuse = |why: &str| {
        Err(ModelFailure::new(format!(
            "the embeddings are no use: {why}"
        )))
    };
    let mut embeddings = response.embeddings;
    embeddings.sort_by_key(|embedding| embedding.index);
    if !embeddings.iter().map(|it| it.index).eq(0..expected) {
        return refuse("there is not one for each text");
    }
    let dimensions = dimensions.or(embeddings.first().map(|first| first.vector.len()));
    let mut vectors = Vec::with_capacity(expected);
    for mut vector in embeddings.into_iter().map(|embedding| embedding.vector) {
        if Some(vector.len()) != dimensions || vector.is_empty() || vector.len() > MAX_DIMENSIONS {
            return refuse("they have not the length they should have");
        }
        if !normalise(&mut vector) {
            return refuse("they have numbers that are none, or zeros alone");
        }
        vectors.push(vector);
    }
    Ok(vectors)
}

/// Scales a vector to length 1; `false` if that cannot be done.
fn normalise(vector: &mut [f32]) -> bool {
    let squares = vector.iter().map(|number| f64::from(*number).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return false;
    }
    for number in vector {
        // The result is between -1 and 1, and as exact as its type.
        #[allow(clippy::cast_possible_truncation)]
        let scaled = (f64::from(*number) / length) as f32;
        *number = scaled;
    }
    true
}

#[cfg(test)]
mod tests {
    use genai::ModelIden;
    use genai::chat::Usage;
    use genai::embed::Embedding as Returned;

    use super::*;

    fn response(embeddings: Vec<(usize, Vec<f32>)>) -> EmbedResponse {
        let model = ModelIden::new(AdapterKind::OpenAI, "m");
        let embeddings = embeddings.into_iter();
        let embeddings = embeddings.map(|(index, vector)| Returned::new(vector, index));
        EmbedResponse::new(embeddings.collect(), model.clone(), model, Usage::default())
    }

    #[test]
    fn vectors_are_in_the_order_of_the_texts_and_of_length_one() {
        let response = response(vec![(1, vec![0.0, 2.0]), (0, vec![3.0, 4.0])]);
        let read = vectors(response, 2, None).unwrap();
        assert_eq!(read, [vec![0.6, 0.8], vec![0.0, 1.0]]);
    }

    #[test]
    fn vectors_that_cannot_be_compared_are_refused() {
        for (embeddings, dimensions, reason) in [
            (vec![], None, "none"),
            (vec![(0, vec![1.0])], None, "one is missing"),
            (vec![(0, vec![1.0]), (0, vec![1.0])], None, "one twice"),
            (vec![(0, vec![1.0]), (2, vec![1.0])], None, "another text's"),
            (vec![(0, vec![1.0]), (1, vec![1.0, 0.0])], None, "lengths"),
            (
                vec![(0, vec![1.0]), (1, vec![1.0])],
                Some(2),
                "not the length",
            ),
            (vec![(0, vec![]), (1, vec![])], None, "empty"),
            (vec![(0, vec![0.0]), (1, vec![1.0])], None, "zeros"),
            (vec![(0, vec![f32::NAN]), (1, vec![1.0])], None, "no number"),
            (
                vec![(0, vec![f32::INFINITY]), (1, vec![1.0])],
                None,
                "infinite",
            ),
        ] {
            assert!(
                vectors(response(embeddings), 2, dimensions).is_err(),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_text_has_all_that_fits_with_the_title_first() {
        let tags = ["b".to_owned(), "c".to_owned()];
        assert_eq!(
            text_of("A", &tags, Some("D"), Some("E")),
            "A\n\nb, c\n\nD\n\nE"
        );
        assert_eq!(text_of("A", &[], None, None), "A");
        assert_eq!(
            text_of("A", &[], None, Some(&"x".repeat(9_000))).len(),
            6_000
        );
        let wide = text_of("A", &[], None, Some(&"睡".repeat(9_000)));
        assert!(wide.starts_with("A\n\n睡") && (11_990..=12_000).contains(&wide.len()));
    }

    async fn read(set: &[(&str, &str)]) -> Result<Option<Embeddings>, String> {
        let variable = |name: &str| {
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Embeddings::read(variable)
            .await
            .map_err(|it| it.to_string())
    }

    #[tokio::test]
    async fn a_model_that_cannot_be_used_is_an_error_that_says_what_to_set() {
        assert!(read(&[]).await.unwrap().is_none());
        for (set, expected) in [
            (
                &[("EMBEDDING_BASE_URL", "http://x")][..],
                "EMBEDDING_MODEL is not",
            ),
            (&[("EMBEDDING_DIMENSIONS", "3")], "EMBEDDING_MODEL is not"),
            (
                &[("EMBEDDING_MODEL", "nomic-embed-text")],
                "EMBEDDING_BASE_URL",
            ),
            (
                &[("EMBEDDING_MODEL", "text-embedding-3-small")],
                "OPENAI_API_KEY or EMBEDDING_KEY_SECRET_ARN",
            ),
            (
                &[
                    ("EMBEDDING_MODEL", "claude-haiku"),
                    ("ANTHROPIC_API_KEY", "k"),
                ],
                "Anthropic offers no",
            ),
            (
                &[("EMBEDDING_MODEL", "bedrock::amazon.titan")],
                "Bedrock offers no",
            ),
            (
                &[
                    ("EMBEDDING_MODEL", "ollama::m"),
                    ("EMBEDDING_DIMENSIONS", "0"),
                ],
                "EMBEDDING_DIMENSIONS must",
            ),
        ] {
            let error = read(set).await.unwrap_err();
            assert!(error.contains(expected), "{set:?}: {error}");
        }
    }

    #[tokio::test]
    async fn embeddings_of_another_length_have_another_name() {
        let name = async |set: &[(&str, &str)]| read(set).await.unwrap().unwrap().name;
        let model = ("EMBEDDING_MODEL", "ollama::nomic-embed-text");
        assert_eq!(name(&[model]).await, "ollama::nomic-embed-text");
        assert_eq!(
            name(&[model, ("EMBEDDING_DIMENSIONS", "256")]).await,
            "ollama::nomic-embed-text/256"
        );
    }
}
