//! [`TokenError`]: why a token was not accepted or not made.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// Why a token was refused, or could not be signed.
///
/// For logs and for code that decides what to do next. A client is told nothing of it but one fixed text (see
/// [`Rejection`](crate::Rejection)). It never holds the token or a part of it.
pub struct TokenError {
    kind: TokenErrorKind,
    detail: Cow<'static, str>,
    source: Option<Box<serde_json::Error>>,
}

/// What was wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// Longer than the configured maximum; nothing of it was decoded.
    TooLarge,
    /// Not the compact form of a JWS (RFC 7515, section 7.1).
    Malformed,
    /// The JOSE header is no acceptable JSON, or has a member that is not supported.
    Header,
    /// `typ` does not name an access token (RFC 9068, section 4).
    Type,
    /// `alg` is unknown, or not the algorithm of the key (RFC 8725, section 3.1).
    Algorithm,
    /// The issuer has no key of this `kid`, or there is no `kid` and it has several keys.
    UnknownKey,
    /// The keys of the issuer, which come from elsewhere, are not there yet. Not the token's fault: try again.
    NoKeys,
    /// The signature is not by the key.
    Signature,
    /// The claims set is no JSON object, repeats a name, or a registered claim is missing or of the wrong type.
    Claims,
    /// The claims are good, but do not read as the application's type.
    ApplicationClaims,
    /// `iss` is no configured issuer.
    Issuer,
    /// `aud` does not name this service.
    Audience,
    /// `exp` has passed.
    Expired,
    /// `nbf` or `iat` lies in the future.
    NotYetValid,
    /// The time from `iat` to `exp` is longer than accepted.
    Lifetime,
    /// The token is bound to a key (`cnf`), which was not shown (RFC 9449, section 7.2).
    Bound,
    /// A check of the application's own said no ([`Verifier::add_check`](crate::Verifier::add_check)).
    Refused,
    /// Not a verification: these claims cannot be put into a token.
    UnsuitableClaims,
    /// Not a verification: the key could not sign.
    Signing,
}

impl TokenErrorKind {
    /// A stable name in `snake_case`, the value of the field `reason` in the events of this crate.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::NoKeys => "no_keys",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::ApplicationClaims => "application_claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Lifetime => "lifetime",
            Self::Bound => "bound",
            Self::Refused => "refused",
            Self::UnsuitableClaims => "unsuitable_claims",
            Self::Signing => "signing",
        }
    }
}

impl TokenError {
    pub(crate) fn new(kind: TokenErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), source: None }
    }

    pub(crate) fn json(kind: TokenErrorKind, detail: &'static str, source: serde_json::Error) -> Self {
        Self { kind, detail: detail.into(), source: Some(Box::new(source)) }
    }

    /// What was wrong in words, for a log: names of fields, no values.
    pub(crate) fn describe(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {}", self.detail, crate::token::json::describe(source)),
            None => self.detail.to_string(),
        }
    }

    /// What was wrong.
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }
}

/// Without its source, which may quote a claim.
impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenError")
            .field("kind", &self.kind)
            .field("detail", &self.detail)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for TokenError {
    /// The JSON error. Its text may quote a value from the claims: keep it out of answers.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards and alerts go by them.
    #[test]
    fn names_are_stable() {
        use TokenErrorKind::*;
        let kinds = [
            TooLarge,
            Malformed,
            Header,
            Type,
            Algorithm,
            UnknownKey,
            NoKeys,
            Signature,
            Claims,
            ApplicationClaims,
            Issuer,
            Audience,
            Expired,
            NotYetValid,
            Lifetime,
            Bound,
            Refused,
            UnsuitableClaims,
            Signing,
        ];
        let names = kinds.map(TokenErrorKind::as_str).join(" ");
        assert_eq!(
            names,
            "too_large malformed header type algorithm unknown_key no_keys signature claims application_claims issuer \
             audience expired not_yet_valid lifetime bound refused unsuitable_claims signing"
        );
    }
}
