//! Proof that a token was verified, and what it says.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::thumbprint::Thumbprint;
use crate::token::packed_texts::Texts;

/// The registered claims of a verified token.
#[derive(Clone)]
pub struct Registered {
    pub(crate) issuer: Arc<str>,
    /// By the places that follow.
    pub(crate) texts: Texts<7>,
    pub(crate) generation: Option<u32>,
    pub(crate) reissue: u32,
    pub(crate) authenticated_at: Option<Timestamp>,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Registered {
    pub(crate) const SUBJECT: usize = 0;
    pub(crate) const SCOPE: usize = 1;
    pub(crate) const JTI: usize = 2;
    pub(crate) const CLIENT_ID: usize = 3;
    pub(crate) const SID: usize = 4;
    pub(crate) const ACR: usize = 5;
    pub(crate) const JKT: usize = 6;

    /// `iss`. A subject is unique only within its issuer: store the pair (RFC 8725, section 3.8).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`: who the token is about. Never empty.
    pub fn subject(&self) -> &str {
        self.texts.get(Self::SUBJECT).unwrap_or_default()
    }

    /// `scope`, one by one (RFC 6749, section 3.3). Empty when the token has none.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let scope = self.texts.get(Self::SCOPE).unwrap_or_default();
        scope.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Whether the token has this scope; compared as a whole and with case.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|held| held == scope)
    }

    /// `jti`: the identifier of this one token.
    pub fn token_id(&self) -> Option<&str> {
        self.texts.get(Self::JTI)
    }

    /// `client_id`: the OAuth client that asked for the token.
    pub fn client_id(&self) -> Option<&str> {
        self.texts.get(Self::CLIENT_ID)
    }

    /// `sid`: the session the token belongs to.
    pub fn session_id(&self) -> Option<&str> {
        self.texts.get(Self::SID)
    }

    /// `gen`: the generation of the session's refresh token at which this token was made.
    pub fn generation(&self) -> Option<u32> {
        self.generation
    }

    /// `reissue`: how often access tokens of the session had been replaced for a late retry when this one was made; 0
    /// where the token has no such claim. One below that of the session has been replaced itself, and is not to be
    /// accepted any more ([`Retry::UntilUsed`](crate::Retry::UntilUsed)).
    pub fn reissue(&self) -> u32 {
        self.reissue
    }

    /// `auth_time`: when the user was last asked to prove who they are (RFC 9068, section 2.2.1). What is below a
    /// millisecond is dropped, so that an authentication never looks younger than it is. Nothing but its form is
    /// checked: it may lie in the future.
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        self.authenticated_at
    }

    /// `acr`: how the user proved who they are, by a name that the issuer and this service agree on (RFC 9068,
    /// section 2.2.1). It compares as a whole and with case.
    pub fn acr(&self) -> Option<&str> {
        self.texts.get(Self::ACR)
    }

    /// `cnf.jkt`: the key that whoever sends the token must prove to have (RFC 9449, section 6.1). `None` for a bearer
    /// token.
    pub fn key_thumbprint(&self) -> Option<Thumbprint> {
        self.texts.get(Self::JKT)?.parse().ok()
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.texts.get(Self::JKT).is_some()
    }

    /// How many bytes its own texts have.
    pub(crate) fn text_bytes(&self) -> usize {
        self.texts.len()
    }

    /// `iat`.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// `exp`. The verifier's leeway comes on top of it.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// Who and when, not the scopes or ids.
impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

struct Token<C> {
    registered: Registered,
    claims: C,
}

/// A verified token with the application's claims `C`. Holding one is the proof: only a
/// [`Verifier`](crate::Verifier) makes them.
///
/// Cheap to clone (one `Arc`, whatever `C` is), and dereferences to `C`. Its own methods win over those of `C` by the
/// same name; [`claims`](Self::claims) reaches the latter.
///
/// In a service behind [`JwtAuthLayer`](crate::JwtAuthLayer): `Verified::<User>::of(request.extensions())`.
pub struct Verified<C> {
    token: Arc<Token<C>>,
}

impl<C> Verified<C> {
    pub(crate) fn new(registered: Registered, claims: C) -> Self {
        Self { token: Arc::new(Token { registered, claims }) }
    }

    /// The application's claims.
    pub fn claims(&self) -> &C {
        &self.token.claims
    }

    /// The registered claims.
    pub fn registered(&self) -> &Registered {
        &self.token.registered
    }

    /// `sub`, as [`Registered::subject`].
    pub fn subject(&self) -> &str {
        self.registered().subject()
    }

    /// `sid`, as [`Registered::session_id`].
    pub fn session_id(&self) -> Option<&str> {
        self.registered().session_id()
    }

    /// As [`Registered::has_scope`].
    pub fn has_scope(&self, scope: &str) -> bool {
        self.registered().has_scope(scope)
    }

    /// `exp`, as [`Registered::expires_at`].
    pub fn expires_at(&self) -> Timestamp {
        self.registered().expires_at()
    }
}

impl<C: Send + Sync + 'static> Verified<C> {
    /// The same token, its claims type forgotten.
    pub fn erase(self) -> AnyVerified {
        AnyVerified { token: self.token }
    }
}

// By hand, as a derive would ask for `C: Clone`.
impl<C> Clone for Verified<C> {
    fn clone(&self) -> Self {
        Self { token: Arc::clone(&self.token) }
    }
}

impl<C> Deref for Verified<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.token.claims
    }
}

/// The registered claims only: `C` may hold what does not belong into a log.
impl<C> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verified").field(self.registered()).finish()
    }
}

trait AnyToken: Any + Send + Sync {
    fn registered(&self) -> &Registered;
    fn claims_type(&self) -> &'static str;
}

impl<C: Send + Sync + 'static> AnyToken for Token<C> {
    fn registered(&self) -> &Registered {
        &self.registered
    }

    fn claims_type(&self) -> &'static str {
        std::any::type_name::<C>()
    }
}

/// A verified token whose claims type is not known here: what middleware passes on.
#[derive(Clone)]
pub struct AnyVerified {
    token: Arc<dyn AnyToken>,
}

impl AnyVerified {
    /// The registered claims.
    pub fn registered(&self) -> &Registered {
        self.token.registered()
    }

    /// The token with its claims, if `C` is the type it was verified with.
    pub fn downcast<C: Send + Sync + 'static>(&self) -> Option<Verified<C>> {
        let any: Arc<dyn Any + Send + Sync> = Arc::clone(&self.token) as _;
        any.downcast().ok().map(|token| Verified { token })
    }

    /// The name of the claims type, for messages to developers.
    pub fn claims_type(&self) -> &'static str {
        self.token.claims_type()
    }
}

impl fmt::Debug for AnyVerified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyVerified").field(self.registered()).finish()
    }
}
