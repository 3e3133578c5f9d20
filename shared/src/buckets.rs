//! Links to objects in buckets of S3, presigned: who has one can fetch the object until it expires. Making
//! one takes no call, and nobody finds out whether the object is there.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::SignableBody;
use aws_smithy_runtime_api::client::identity::Identity;

use crate::aws::{self, Signing};
use crate::settings::{self, SettingsError};

/// The service, as signatures name it.
const SERVICE: &str = "s3";

/// What a location on S3 begins with; the bucket and the key follow.
pub const SCHEME: &str = "s3://";

/// How long links are valid if nothing else is set.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// The variable with the region of buckets that are named without one.
const REGION: &str = "AWS_REGION";

/// The variables with an address in place of AWS's, as the SDK knows them; the first that is set counts.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// The buckets whose objects are linked to.
#[derive(Debug, Clone, Default)]
pub struct Buckets {
    /// The region of each.
    regions: BTreeMap<String, String>,
    /// An address in place of AWS's.
    endpoint: Option<String>,
    /// How long links are valid.
    lifetime: Duration,
}

impl Buckets {
    /// The variable with the names of the buckets.
    pub const BUCKETS: &str = "AUDIO_BUCKETS";

    /// The variable with the time that links are valid, in seconds.
    pub const LINK_SECONDS: &str = "AUDIO_LINK_SECONDS";

    /// Reads the environment's variables.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the variables; no bucket if they name none.
    ///
    /// # Errors
    /// [`SettingsError`], which names the variable.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let lifetime = settings::number(&variable, Self::LINK_SECONDS, 60..=604_800)?;
        let names = settings::text(&variable, Self::BUCKETS).unwrap_or_default();
        let default_region = settings::text(&variable, REGION);
        let mut regions = BTreeMap::new();
        for item in names.split(',').map(str::trim) {
            if item.is_empty() {
                continue;
            }
            let (name, region) = match (item.split_once('='), &default_region) {
                (Some((name, region)), _) => (name.trim(), region.trim()),
                (None, Some(region)) => (item, region.as_str()),
                (None, None) => {
                    return Err(SettingsError::new(format!(
                        "{item} has no region; write {item}=REGION, or set {REGION}"
                    ))
                    .of(Self::BUCKETS));
                }
            };
            if !is_bucket(name) || !is_region(region) {
                return Err(SettingsError::new(format!(
                    "{} must be names of buckets such as recordings or recordings=eu-west-1, with \
                     commas between them",
                    Self::BUCKETS
                )));
            }
            regions.insert(name.to_owned(), region.to_owned());
        }
        let endpoint = ENDPOINTS
            .iter()
            .find_map(|name| settings::text(&variable, name));
        Ok(Self {
            regions,
            endpoint: endpoint.map(|url| url.trim_end_matches('/').to_owned()),
            lifetime: lifetime.map_or(DEFAULT_LIFETIME, Duration::from_secs),
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// Whether a location is an object in one of them.
    #[must_use]
    pub fn hold(&self, location: &str) -> bool {
        self.object(location).is_some()
    }

    /// What makes the links of a request, all with the same end.
    ///
    /// # Errors
    /// A sentence, if there are no credentials.
    pub async fn signer(&self) -> Result<Signer<'_>, String> {
        let credentials = aws::credentials().await?;
        Signer::new(self, credentials, SystemTime::now())
    }

    /// The bucket, its region and the key of a location in one of them.
    fn object<'a>(&'a self, location: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let (bucket, key) = location.strip_prefix(SCHEME)?.split_once('/')?;
        let region = self.regions.get(bucket)?;
        // Clients take such parts out of a path before they send it, and the signature would not fit.
        let is_linkable = !key.is_empty() && !key.split('/').any(|part| matches!(part, "." | ".."));
        is_linkable.then_some((bucket, region, key))
    }

    /// The address of an object.
    fn url(&self, bucket: &str, region: &str, key: &str) -> String {
        let parts: Vec<String> = key
            .split('/')
            .map(|part| aws::percent_encoded(part).to_string())
            .collect();
        let key = parts.join("/");
        if let Some(endpoint) = &self.endpoint {
            return format!("{endpoint}/{bucket}/{key}");
        }
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        let host = format!("s3.{region}.amazonaws.com{china}");
        // S3's certificate covers one label before the host.
        if bucket.contains('.') {
            format!("https://{host}/{bucket}/{key}")
        } else {
            format!("https://{bucket}.{host}/{key}")
        }
    }
}

/// Whether S3 takes this as the name of a bucket. It becomes a part of a host name.
fn is_bucket(name: &str) -> bool {
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let bytes = name.as_bytes();
    let ends_well = |end: Option<&u8>| end.is_some_and(|byte| !matches!(byte, b'-' | b'.'));
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| is_inner(*byte))
        && ends_well(bytes.first())
        && ends_well(bytes.last())
}

fn is_region(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Makes links as of one time.
pub struct Signer<'a> {
    buckets: &'a Buckets,
    identity: Identity,
    time: SystemTime,
    lifetime: Duration,
}

impl<'a> Signer<'a> {
    /// A link outlives neither its setting nor the credentials: S3 refuses it from then on.
    fn new(
        buckets: &'a Buckets,
        credentials: Credentials,
        time: SystemTime,
    ) -> Result<Self, String> {
        let left = match credentials.expiry() {
            None => buckets.lifetime,
            Some(expiry) => expiry.duration_since(time).unwrap_or_default(),
        };
        let lifetime = Duration::from_secs(left.min(buckets.lifetime).as_secs());
        if lifetime.is_zero() {
            return Err("the AWS credentials have expired".into());
        }
        Ok(Self {
            buckets,
            identity: credentials.into(),
            time,
            lifetime,
        })
    }

    /// The link to a location; `None` if it is in none of the buckets.
    #[must_use]
    pub fn link(&self, location: &str) -> Option<String> {
        let (bucket, region, key) = self.buckets.object(location)?;
        let signing = Signing {
            service: SERVICE,
            region,
            identity: &self.identity,
            time: self.time,
        };
        let url = self.buckets.url(bucket, region, key);
        // An object is not signed with its content, which may be replaced.
        signing
            .presigned(&url, SignableBody::UnsignedPayload, self.lifetime)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(settings: &[(&str, &str)]) -> Result<Buckets, SettingsError> {
        Buckets::read(|name| {
            let found = settings.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn credentials(expiry: Option<SystemTime>) -> Credentials {
        Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            expiry.map(|_| "a/session+token=".into()),
            expiry,
            "test",
        )
    }

    /// 24 May 2013, 00:00 UTC.
    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600)
    }

    /// What a link to a location begins with, before its query string.
    fn address(settings: &[(&str, &str)], location: &str) -> Option<String> {
        let buckets = buckets(settings).unwrap();
        let signer = Signer::new(&buckets, credentials(None), time()).unwrap();
        let link = signer.link(location)?;
        Some(link.split_once('?').unwrap().0.to_owned())
    }

    /// The example in AWS's documentation ("Authenticating Requests: Using Query Parameters").
    #[test]
    fn a_link_has_the_signature_that_aws_documents() {
        let identity = credentials(None).into();
        let signing = Signing {
            service: SERVICE,
            region: "us-east-1",
            identity: &identity,
            time: time(),
        };
        let link = signing
            .presigned(
                "https://examplebucket.s3.amazonaws.com/test.txt",
                SignableBody::UnsignedPayload,
                Duration::from_secs(86_400),
            )
            .unwrap();
        let (address, query) = link.split_once('?').unwrap();
        assert_eq!(address, "https://examplebucket.s3.amazonaws.com/test.txt");
        let mut parameters: Vec<&str> = query.split('&').collect();
        parameters.sort_unstable();
        assert_eq!(
            parameters,
            [
                "X-Amz-Algorithm=AWS4-HMAC-SHA256",
                "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request",
                "X-Amz-Date=20130524T000000Z",
                "X-Amz-Expires=86400",
                "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
                "X-Amz-SignedHeaders=host",
            ]
        );
    }

    /// The expected signature is botocore's, for the same time and credentials.
    #[test]
    fn a_key_that_has_to_be_encoded_is_signed_as_it_is_sent() {
        let buckets = buckets(&[("AUDIO_BUCKETS", "recordings=eu-west-1")]).unwrap();
        let expiry = time() + Duration::from_secs(600);
        let signer = Signer::new(&buckets, credentials(Some(expiry)), time()).unwrap();
        let link = signer
            .link("s3://recordings/Schlaf & Grüße//a+b 1%.mp3")
            .unwrap();
        let parts = |link: &str| {
            let mut parts: Vec<String> = link.split(['?', '&']).map(str::to_owned).collect();
            parts.sort_unstable();
            parts
        };
        let expected = include_str!("testdata/s3_link.txt").trim_end();
        assert_eq!(parts(&link), parts(expected));
    }

    #[test]
    fn an_object_is_addressed_by_the_host_of_its_bucket_where_it_can_be() {
        const BUCKETS: (&str, &str) = (
            "AUDIO_BUCKETS",
            "recordings, more.recordings=eu-west-1,china=cn-north-1",
        );
        const HOME: (&str, &str) = ("AWS_REGION", "eu-central-1");
        const OTHER: (&str, &str) = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/");
        const OTHER_S3: (&str, &str) = ("AWS_ENDPOINT_URL_S3", "https://s3.example.com");
        for (settings, location, expected) in [
            (
                &[BUCKETS, HOME][..],
                "s3://recordings/a b/ü.mp3",
                "https://recordings.s3.eu-central-1.amazonaws.com/a%20b/%C3%BC.mp3",
            ),
            (
                &[BUCKETS, HOME],
                "s3://more.recordings//a.mp3",
                "https://s3.eu-west-1.amazonaws.com/more.recordings//a.mp3",
            ),
            (
                &[BUCKETS, HOME],
                "s3://china/a.mp3",
                "https://china.s3.cn-north-1.amazonaws.com.cn/a.mp3",
            ),
            (
                &[BUCKETS, HOME, OTHER],
                "s3://recordings/a?b#c.mp3",
                "http://127.0.0.1:9000/recordings/a%3Fb%23c.mp3",
            ),
            (
                &[BUCKETS, HOME, OTHER, OTHER_S3],
                "s3://recordings/a.mp3",
                "https://s3.example.com/recordings/a.mp3",
            ),
        ] {
            assert_eq!(address(settings, location).as_deref(), Some(expected));
        }
    }

    #[test]
    fn there_is_no_link_to_anything_but_an_object_in_one_of_the_buckets() {
        const SETTINGS: &[(&str, &str)] = &[("AUDIO_BUCKETS", "recordings=eu-west-1")];
        for location in [
            "",
            "recordings/a.mp3",
            "https://recordings.s3.eu-west-1.amazonaws.com/a.mp3",
            "S3://recordings/a.mp3",
            "s3://recordings",
            "s3://recordings/",
            "s3://recordings2/a.mp3",
            "s3://Recordings/a.mp3",
            "s3:///a.mp3",
            "s3://recordings/../other/a.mp3",
            "s3://recordings/a/./b.mp3",
        ] {
            assert_eq!(address(SETTINGS, location), None, "{location}");
            assert!(!buckets(SETTINGS).unwrap().hold(location), "{location}");
        }
        assert!(buckets(SETTINGS).unwrap().hold("s3://recordings/a...mp3"));
    }

    #[test]
    fn a_link_is_valid_as_long_as_set_and_no_longer_than_its_credentials() {
        const HOUR: u64 = 3600;
        for (setting, left, expected) in [
            ("", None, Some(HOUR)),
            ("60", None, Some(60)),
            ("604800", Some(12 * HOUR), Some(12 * HOUR)),
            ("", Some(12 * HOUR), Some(HOUR)),
            ("", Some(300), Some(300)),
            ("", Some(0), None),
        ] {
            let set = [
                ("AUDIO_BUCKETS", "recordings=eu-west-1"),
                ("AUDIO_LINK_SECONDS", setting),
            ];
            let buckets = buckets(&set).unwrap();
            let expiry = left.map(|left| time() + Duration::from_secs(left));
            let signer = Signer::new(&buckets, credentials(expiry), time());
            let link = signer.ok().map(|it| it.link("s3://recordings/a").unwrap());
            let expected = expected.map(|seconds| format!("X-Amz-Expires={seconds}&"));
            match (link, expected) {
                (Some(link), Some(expected)) => assert!(link.contains(&expected), "{link}"),
                (None, None) => {}
                (link, expected) => panic!("{link:?}, {expected:?}"),
            }
        }
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused() {
        for (name, value) in [
            ("AUDIO_LINK_SECONDS", "59"),
            ("AUDIO_LINK_SECONDS", "604801"),
            ("AUDIO_LINK_SECONDS", "an hour"),
            ("AUDIO_BUCKETS", "recordings"),
            ("AUDIO_BUCKETS", "recordings="),
            ("AUDIO_BUCKETS", "recordings=eu-west-1.example.com/"),
            ("AUDIO_BUCKETS", "s3://recordings=eu-west-1"),
            ("AUDIO_BUCKETS", "Recordings=eu-west-1"),
            ("AUDIO_BUCKETS", "re=eu-west-1"),
            ("AUDIO_BUCKETS", "recordings-=eu-west-1"),
        ] {
            let refused = buckets(&[(name, value)]).unwrap_err().to_string();
            assert!(refused.contains(name), "{value}: {refused}");
        }
        for nothing in ["", " , "] {
            assert!(buckets(&[("AUDIO_BUCKETS", nothing)]).unwrap().is_empty());
        }
    }
}
