//! [`RejectionKind`]: the classes of refusals, and what a client is told of each.

use http::StatusCode;

/// The classes of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// No bearer credential was sent.
    Missing,
    /// The credential is malformed, sent twice, or too long.
    InvalidRequest,
    /// The token is not good: the one answer to each [`TokenErrorKind`](crate::TokenErrorKind) but `TooLarge` and
    /// `NoKeys`.
    InvalidToken,
    /// The token came with the scheme `DPoP`, and the proof that its key is there is not good (RFC 9449, section 7.1).
    InvalidProof,
    /// The proof is good but for the nonce of this service, which is in the answer (RFC 9449, section 9).
    NonceNeeded,
    /// The token is good, but lacks a scope.
    InsufficientScope,
    /// The token is good, but a predicate of the application denies the request.
    Denied,
    /// The token is good, but its user must authenticate again, or in a stronger way (RFC 9470).
    InsufficientAuthentication,
    /// The token came in a cookie, with a request that another site may have made.
    CrossSite,
    /// What decides cannot be asked now, or the keys of the issuer are not there yet.
    Unavailable,
    /// A fault of the wiring: no bearer layer ran before a layer or an extractor that needs one.
    NoBearerLayer,
    /// A fault of the wiring: a layer or an extractor asks for other claims than the bearer layer reads.
    OtherClaims,
}

/// What a client is told.
struct Texts {
    error: &'static str,
    description: &'static str,
    body: &'static str,
}

macro_rules! texts {
    ($error:literal, $description:literal) => {
        Texts { error: $error, description: $description, body: body!($error, $description) }
    };
}

impl RejectionKind {
    const fn texts(self) -> Texts {
        match self {
            Self::Missing => texts!("unauthorized", "an access token is required"),
            Self::InvalidRequest => texts!("invalid_request", "the credentials are malformed"),
            Self::InvalidToken => texts!("invalid_token", "the access token is not valid"),
            Self::InvalidProof => texts!("invalid_dpop_proof", "the DPoP proof is not valid"),
            Self::NonceNeeded => texts!("use_dpop_nonce", "the DPoP proof needs the nonce of this answer"),
            Self::InsufficientScope => texts!("insufficient_scope", "the access token lacks a scope"),
            // The code for all that a token does not permit (RFC 6750, section 3.1).
            Self::Denied => texts!("insufficient_scope", "the access token does not permit this"),
            Self::InsufficientAuthentication => {
                texts!("insufficient_user_authentication", "another authentication of the user is required")
            }
            Self::CrossSite => texts!("cross_site", "the request comes from another site"),
            Self::Unavailable => texts!("unavailable", "the service cannot answer now, try again"),
            Self::NoBearerLayer | Self::OtherClaims => {
                texts!("server_error", "the service is not set up correctly")
            }
        }
    }

    /// The `error` of the challenge, and of the body; `None` where nothing was sent.
    pub const fn error_code(self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            _ => Some(self.texts().error),
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        self.texts().description
    }

    /// The body of the answer to an HTTP request.
    pub(super) const fn body(self) -> &'static str {
        self.texts().body
    }

    /// The status of the answer to an HTTP request.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Missing
            | Self::InvalidToken
            | Self::InvalidProof
            | Self::NonceNeeded
            | Self::InsufficientAuthentication => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope | Self::Denied | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoBearerLayer | Self::OtherClaims => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
