//! The claims of a proof: that it is for this request, this token and this time.

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests;

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};

use crate::clock::Timestamp;
use crate::dpop::error::{ProofError, ProofErrorKind};
use crate::dpop::proof::{Presented, Proof, Rules, json_error};
use crate::dpop::target::Target;
use crate::secret::{base64url, equal, sha256};
use crate::store::ProofId;
use crate::thumbprint::Thumbprint;
use crate::token::{Checked, Names, NumericDate, Text};

const MAX_JTI_BYTES: usize = 256;

pub(super) fn check_claims(
    rules: &Rules,
    request: &Presented<'_>,
    thumbprint: Thumbprint,
    claims: Claims<'_>,
    now: Timestamp,
) -> Result<Proof, ProofError> {
    let error = |kind, detail: &'static str| Err(ProofError::new(kind, detail));
    let (Some(Text(jti)), Some(Text(htm)), Some(Text(htu)), Some(iat)) =
        (claims.jti, claims.htm, claims.htu, claims.iat)
    else {
        return error(ProofErrorKind::Claims, "`jti`, `htm`, `htu` or `iat` is missing");
    };
    if !(1..=MAX_JTI_BYTES).contains(&jti.len()) {
        return error(ProofErrorKind::Claims, "`jti` is empty, or longer than 256 bytes");
    }
    if htm != request.method {
        return error(ProofErrorKind::Method, "`htm` is not the method of the request");
    }
    let Some(htu) = Target::parse(&htu) else {
        return error(ProofErrorKind::Target, "`htu` is no URL of http or https");
    };
    if !rules.bases.iter().any(|base| base.leads_to(&htu, request.path)) {
        return error(ProofErrorKind::Target, "`htu` is no base URL of the service with the request's path");
    }

    // Neither comparison rounds in the proof's favour.
    let (issued_at, begins) = (iat.rounded_down(), iat.rounded_up());
    let expires = issued_at.saturating_add(rules.max_age).saturating_add(rules.leeway);
    if now >= expires {
        return error(ProofErrorKind::TooOld, "`iat` lies too far back");
    }
    if now.saturating_add(rules.leeway) < begins {
        return error(ProofErrorKind::TooNew, "`iat` lies in the future");
    }

    if let Some(token) = request.token {
        let Some(Text(ath)) = claims.ath else {
            return error(ProofErrorKind::TokenHash, "`ath` is missing");
        };
        if !equal(ath.as_bytes(), base64url(&sha256(token)).as_bytes()) {
            return error(ProofErrorKind::TokenHash, "`ath` is not that of the access token");
        }
    }
    Ok(Proof {
        thumbprint,
        id: id(&thumbprint, &jti),
        expires,
        nonce: claims.nonce.map(|Text(nonce)| nonce.into()),
        nonce_is_previous: false,
    })
}

/// A `jti` is chosen by its client, so it counts together with the client's key.
fn id(thumbprint: &Thumbprint, jti: &str) -> ProofId {
    let text = [&b"tower-jwt-auth dpop proof id"[..], thumbprint.as_bytes(), jti.as_bytes()].concat();
    let mut half = [0; 16];
    half.copy_from_slice(&sha256(&text)[..16]);
    ProofId::from_bytes(half)
}

/// What is used of a proof's claims: each of its type if present.
#[derive(Default)]
pub(super) struct Claims<'a> {
    jti: Option<Text<'a>>,
    htm: Option<Text<'a>>,
    htu: Option<Text<'a>>,
    iat: Option<NumericDate>,
    ath: Option<Text<'a>>,
    nonce: Option<Text<'a>>,
}

impl<'a> Claims<'a> {
    /// Reads `ath` only where there is a token that it could be of.
    pub(super) fn parse(json: &'a str, reads_ath: bool) -> Result<Self, ProofError> {
        let mut reader = serde_json::Deserializer::from_str(json);
        reader
            .deserialize_map(ClaimsVisitor { reads_ath })
            .and_then(|claims| reader.end().map(|()| claims))
            .map_err(|error| json_error(ProofErrorKind::Claims, "the claims are not acceptable", &error))
    }
}

struct ClaimsVisitor {
    reads_ath: bool,
}

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of a proof")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims<'de>, A::Error> {
        let mut claims = Claims::default();
        let mut names = Names::default();
        while let Some(name) = map.next_key::<Text<'_>>()? {
            match &*name.0 {
                "jti" => claims.jti = Some(map.next_value()?),
                "htm" => claims.htm = Some(map.next_value()?),
                "htu" => claims.htu = Some(map.next_value()?),
                "iat" => claims.iat = Some(map.next_value()?),
                "ath" if self.reads_ath => claims.ath = Some(map.next_value()?),
                "nonce" => claims.nonce = Some(map.next_value()?),
                _ => {
                    map.next_value::<Checked>()?;
                }
            }
            names.insert(name)?;
        }
        Ok(claims)
    }
}
