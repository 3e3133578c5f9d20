//! What a location or a filename says about a recording: its filename, and an id that never changes.

use openssl::sha::Sha256;
use percent_encoding::percent_decode_str;
use uuid::{Builder, Uuid};

/// What the digest of a derived id begins with, so that it is the digest of nothing else.
const ID_PREFIX: &str = "daissy recording:";

/// The id of a recording for which the file names none: the same with every import.
pub fn derived_id(location_or_filename: &str) -> Uuid {
    let mut digest = Sha256::new();
    digest.update(ID_PREFIX.as_bytes());
    digest.update(location_or_filename.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finish()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The last segment of a location's path, if it has one.
pub fn filename(location: &str) -> Option<String> {
    let (scheme, path) = match location.split_once("://") {
        Some((scheme, rest)) => {
            let (_host, path) = rest.split_once('/')?;
            (Some(scheme), path)
        }
        None => (None, location),
    };
    // The key of an object on S3 is a plain text, in which nothing is encoded.
    let is_web = scheme.is_some_and(|scheme| scheme.to_ascii_lowercase().starts_with("http"));
    let path = if is_web {
        path.split(['?', '#']).next().unwrap_or_default()
    } else {
        path
    };
    let segment = path.rsplit('/').find(|segment| !segment.is_empty())?;
    if is_web {
        let decoded = percent_decode_str(segment).decode_utf8().ok()?;
        return Some(decoded.into_owned());
    }
    Some(segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filename_is_the_last_segment_of_the_path() {
        for (location, expected) in [
            ("https://cdn.example/a/sleep.mp3", Some("sleep.mp3")),
            (
                "https://cdn.example/a/sleep%20well.mp3?token=a/b#c",
                Some("sleep well.mp3"),
            ),
            ("https://cdn.example/a/", Some("a")),
            ("https://cdn.example/", None),
            ("https://cdn.example", None),
            ("s3://bucket/a/100%25?.mp3", Some("100%25?.mp3")),
            ("s3://bucket", None),
            ("samples/sleep.mp3", Some("sleep.mp3")),
            ("/", None),
        ] {
            assert_eq!(filename(location).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn a_derived_id_is_always_the_same() {
        // Computed with Python's hashlib. It must never change: a repeated import would double the catalogue.
        let id = derived_id("https://cdn.example/sleep.mp3");
        assert_eq!(id.to_string(), "ba0fd37c-5a7f-8443-bd09-d32962a0ae19");
        assert_eq!(id.get_version_num(), 8);
        assert_ne!(id, derived_id("https://cdn.example/focus.mp3"));
    }
}
