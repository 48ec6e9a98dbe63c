//! [`Verifier`]: from the text of a token to [`Verified`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::application_claims::ReadClaims;
use crate::token::config::Core;
use crate::token::error::TokenError;
use crate::token::one_issuer::{Bound, Check, OneIssuer};
use crate::token::several::Several;
use crate::token::verified::{Registered, Verified};

/// Verifies access tokens of one configuration, or of [several](Self::several) with an issuer each, whose own claims
/// are of type `C`. Cheap to clone.
///
/// Made by [`TokenConfig::verifier`](crate::TokenConfig::verifier); the rules are listed in the
/// [crate documentation](crate#what-is-checked).
pub struct Verifier<C> {
    trusted: Trusted<C>,
}

enum Trusted<C> {
    /// No choice, so nothing of a token is read to make one.
    One(OneIssuer<C>),
    Several(Arc<Several<C>>),
}

impl<C> Verifier<C> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { trusted: Trusted::One(OneIssuer::new(core)) }
    }

    fn issuers(&self) -> &[OneIssuer<C>] {
        match &self.trusted {
            Trusted::One(issuer) => std::slice::from_ref(issuer),
            Trusted::Several(several) => several.issuers(),
        }
    }

    pub(crate) fn max_token_bytes(&self) -> usize {
        match &self.trusted {
            Trusted::One(issuer) => issuer.max_token_bytes(),
            Trusted::Several(several) => several.max_token_bytes(),
        }
    }
}

impl<C: ReadClaims> Verifier<C> {
    /// Trusts the issuers of all these verifiers, each with its own keys, audiences, times and checks.
    ///
    /// A token is verified by the rules of the one issuer that its `iss` names, byte for byte, as if there were no
    /// other: so a key of one issuer never signs for another (RFC 8725, section 3.8), and they may use the same key id.
    /// That `iss` is all that is read before the signature, and only to choose. [`Registered::issuer`] says who it was;
    /// a subject is unique only within its issuer.
    ///
    /// HMAC keys of one issuer may stand beside public keys of another, as no key is ever tried for a token of an
    /// issuer that does not own it. Checks that were [added](Self::add_check) before are for the tokens of that issuer,
    /// those added to the outcome for all. The outcome of one verifier is that verifier; one that already has several
    /// issuers brings them all.
    ///
    /// ```
    /// use tower_jwt_auth::{AccessGrant, Issuer, NoClaims, SigningKey, TokenConfig, TokenErrorKind, Verifier};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = |issuer: &str, key| {
    ///     TokenConfig::builder().key(key).issuer(issuer).audience("api").build()
    /// };
    /// let ours = config("https://app.example", SigningKey::ed25519_seed(&[1; 32])?)?;
    /// let partner = config("https://partner.example", SigningKey::ed25519_seed(&[2; 32])?)?;
    ///
    /// let verifier = Verifier::<NoClaims>::several([
    ///     ours.verifier(),
    ///     partner.verifier().add_check(|token, _| match token.has_scope("admin") {
    ///         true => Err("partners do not administrate".into()),
    ///         false => Ok(()),
    ///     }),
    /// ])?;
    ///
    /// let token = Issuer::new(&partner)?.issue(&AccessGrant::new("user-1"), &NoClaims {})?;
    /// assert_eq!(verifier.verify(token.expose())?.registered().issuer(), "https://partner.example");
    ///
    /// // The partner's key, the name of the other issuer.
    /// let forger = config("https://app.example", SigningKey::ed25519_seed(&[2; 32])?)?;
    /// let token = Issuer::new(&forger)?.issue(&AccessGrant::new("user-1"), &NoClaims {})?;
    /// assert_eq!(verifier.verify(token.expose()).unwrap_err().kind(), TokenErrorKind::UnknownKey);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// There is no verifier, or two are for the same issuer.
    pub fn several<I>(verifiers: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item = Self>,
    {
        let mut issuers: Vec<_> =
            verifiers.into_iter().flat_map(|verifier| verifier.issuers().to_vec()).collect();
        if issuers.len() > 1 {
            return Ok(Self { trusted: Trusted::Several(Arc::new(Several::new(issuers)?)) });
        }
        let none = || {
            ConfigError::new(ConfigErrorKind::Issuer, "there is no verifier, so no issuer would be trusted")
        };
        issuers.pop().map(|only| Self { trusted: Trusted::One(only) }).ok_or_else(none)
    }

    /// Adds a check of one's own, which runs last, for each token: over the registered claims and the application's.
    /// The reason it gives is for the log only; the client is told what every bad token is told.
    ///
    /// On a verifier of [several](Self::several) issuers it is for the tokens of all of them.
    ///
    /// ```
    /// # use tower_jwt_auth::{NoClaims, SigningKey, TokenConfig};
    /// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// # let config = TokenConfig::builder()
    /// #     .key(SigningKey::ed25519_seed(&[1; 32])?)
    /// #     .issuer("https://app.example")
    /// #     .audience("api")
    /// #     .build()?;
    /// let verifier = config.verifier::<NoClaims>().add_check(|registered, _| {
    ///     if registered.subject().starts_with("user-") { Ok(()) } else { Err("not a user".into()) }
    /// });
    /// # let _ = verifier;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn add_check<F>(self, check: F) -> Self
    where
        F: Fn(&Registered, &C) -> Result<(), Cow<'static, str>> + Send + Sync + 'static,
    {
        let check: Check<C> = Arc::new(check);
        let trusted = match &self.trusted {
            Trusted::One(issuer) => Trusted::One(issuer.and(&check)),
            Trusted::Several(several) => Trusted::Several(Arc::new(several.and(&check))),
        };
        Self { trusted }
    }

    /// Verifies the text of a token: `eyJ...`, without scheme or spaces around it.
    ///
    /// Does no I/O and never waits for anything. A token that was accepted before is looked up, under a lock that is
    /// held for as long as that takes.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks, in the order of the crate documentation.
    pub fn verify(&self, token: &str) -> Result<Verified<C>, TokenError> {
        self.verify_as(token, Bound::Refused)
    }

    /// As [`verify`](Self::verify), for those who look at the key of a bound token.
    pub(crate) fn verify_as(&self, token: &str, bound: Bound) -> Result<Verified<C>, TokenError> {
        self.recall(token.as_bytes(), bound).unwrap_or_else(|| self.verify_anew(token, bound))
    }

    /// The first half of [`verify`](Self::verify): what is decided over a token that was accepted before; `None` for
    /// any other.
    pub(crate) fn recall(&self, token: &[u8], bound: Bound) -> Option<Result<Verified<C>, TokenError>> {
        // One that was accepted before is of the issuer that it would be given to again.
        self.issuers().iter().find_map(|issuer| issuer.recall(token, bound))
    }

    /// The second half: what is decided over a token at first sight.
    pub(crate) fn verify_anew(&self, token: &str, bound: Bound) -> Result<Verified<C>, TokenError> {
        match &self.trusted {
            Trusted::One(issuer) => issuer.verify_anew(token, bound),
            Trusted::Several(several) => several.choose(token)?.verify_anew(token, bound),
        }
    }
}

// By hand, as a derive would ask for `C: Clone`.
impl<C> Clone for Verifier<C> {
    fn clone(&self) -> Self {
        let trusted = match &self.trusted {
            Trusted::One(issuer) => Trusted::One(issuer.clone()),
            Trusted::Several(several) => Trusted::Several(Arc::clone(several)),
        };
        Self { trusted }
    }
}

impl<C> fmt::Debug for Verifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut verifier = f.debug_struct("Verifier");
        match &self.trusted {
            Trusted::One(issuer) => {
                verifier.field("issuer", &issuer.name()).field("audiences", &issuer.audiences())
            }
            Trusted::Several(several) => {
                let issuers: Vec<_> = several.issuers().iter().map(OneIssuer::name).collect();
                verifier.field("issuers", &issuers)
            }
        };
        verifier.finish_non_exhaustive()
    }
}
