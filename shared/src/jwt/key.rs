//! A public key of an issuer, as its key set (JWKS, RFC 7517) describes it.

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// The algorithms of RSA keys.
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The shortest modulus of an RSA key, in bytes (RFC 7518, section 3.3).
const MIN_MODULUS_BYTES: usize = 2048 / 8;

/// A key that signatures of tokens are verified with.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    id: String,
    /// What the key may be used with. An algorithm is never taken from the token alone.
    algorithms: Vec<Algorithm>,
    /// The key itself.
    pub(crate) public: DecodingKey,
}

impl Key {
    /// Reads a member of a key set; `None` if it is no key that signs tokens here: a symmetric one,
    /// one for encryption, of an unknown kind, too short, or without an id.
    pub(crate) fn read(member: &Value) -> Option<Self> {
        let key: Jwk = serde_json::from_value(member.clone()).ok()?;
        let signs = key
            .common
            .public_key_use
            .as_ref()
            .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies = key
            .common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !signs || !verifies {
            return None;
        }
        let (public, possible) = public_key(&key)?;
        let only = key.common.key_algorithm;
        let mut algorithms = possible.to_vec();
        algorithms
            .retain(|algorithm| only.is_none_or(|only| only == KeyAlgorithm::from(*algorithm)));
        (!algorithms.is_empty()).then_some(Self {
            id: key.common.key_id?,
            algorithms,
            public,
        })
    }

    /// Whether a token with this key id and algorithm may be signed with this key.
    pub(crate) fn fits(&self, id: &str, algorithm: Algorithm) -> bool {
        self.id == id && self.algorithms.contains(&algorithm)
    }
}

/// The key, and the algorithms that its kind allows.
fn public_key(key: &Jwk) -> Option<(DecodingKey, &'static [Algorithm])> {
    let possible: &[Algorithm] = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            // Base64 without padding: three bytes in four characters.
            let is_long = rsa.n.len() * 3 / 4 >= MIN_MODULUS_BYTES;
            if is_long { RSA } else { return None }
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P384 => {
            &[Algorithm::ES384]
        }
        _ => return None,
    };
    Some((DecodingKey::from_jwk(key).ok()?, possible))
}
