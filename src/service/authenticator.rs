//! [`Authenticator`]: the application's part of a login and of a refresh.

use std::any::TypeId;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::service::identity::{Identity, SessionInfo};
use crate::session::ClientInfo;
use crate::token::{Claims, ClaimsJson, TokenError, describe};

/// Who may log in, and what their access tokens say. Implement it with `async fn`.
///
/// An unknown user and a wrong password must look alike from outside: the service answers both with the same body, and
/// the implementation has to take the same time for both (hash the password of an unknown user against a dummy).
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_jwt_auth::{AuthnError, Authenticator, ClientInfo, Identity};
///
/// #[derive(Deserialize)]
/// struct PasswordLogin { email: String, password: String }
///
/// #[derive(Serialize, Deserialize)]
/// struct User { email: String }
///
/// struct Accounts;
///
/// impl Authenticator for Accounts {
///     type Credentials = PasswordLogin;
///     type Claims = User;
///
///     async fn authenticate(&self, login: PasswordLogin, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
///         if check(&login.email, &login.password).await {
///             Ok(Identity::new(login.email.clone(), User { email: login.email }).with_scopes(["orders:read"]))
///         } else {
///             Err(AuthnError::Refused)
///         }
///     }
/// }
/// # async fn check(_: &str, _: &str) -> bool { false }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an authenticator",
    label = "does not implement `Authenticator`",
    note = "implement `Authenticator` with `async fn authenticate`, or use `NoLogin` where logins happen elsewhere",
    note = "the futures must be `Send`: no `Rc`, `RefCell` or lock guard may be held across an `.await`"
)]
pub trait Authenticator: Send + Sync + 'static {
    /// The body of `POST /login`.
    type Credentials: DeserializeOwned + Send + 'static;

    /// What access tokens carry beside the registered claims.
    type Claims: Claims;

    /// Checks credentials.
    ///
    /// # Errors
    ///
    /// [`AuthnError::Refused`] for any credentials that are not good; [`AuthnError::Unavailable`] when it cannot tell.
    fn authenticate(
        &self,
        credentials: Self::Credentials,
        client: &ClientInfo,
    ) -> impl Future<Output = Result<Identity<Self::Claims>, AuthnError>> + Send;

    /// Renews or refuses the claims at each refresh; `claims` are those of the login. By default they are kept as they
    /// are, and then a refresh costs one round trip to the store; an implementation costs one more.
    ///
    /// # Errors
    ///
    /// [`AuthnError::Refused`] ends the session. [`AuthnError::Unavailable`] keeps it, and the client tries again.
    fn renew(
        &self,
        session: &SessionInfo,
        claims: Self::Claims,
    ) -> impl Future<Output = Result<Self::Claims, AuthnError>> + Send {
        let _ = session;
        KeepClaims { claims: Some(claims) }
    }
}

/// A reference-counted authenticator is one: a test keeps one handle and gives the service the other.
impl<T: Authenticator> Authenticator for Arc<T> {
    type Credentials = T::Credentials;
    type Claims = T::Claims;

    fn authenticate(
        &self,
        credentials: T::Credentials,
        client: &ClientInfo,
    ) -> impl Future<Output = Result<Identity<T::Claims>, AuthnError>> + Send {
        T::authenticate(self, credentials, client)
    }

    fn renew(
        &self,
        session: &SessionInfo,
        claims: T::Claims,
    ) -> impl Future<Output = Result<T::Claims, AuthnError>> + Send {
        // The very future of `T`, so that a default stays one.
        T::renew(self, session, claims)
    }
}

/// Why an authenticator did not say yes.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthnError {
    /// The credentials are wrong, or the account may not log in (any more). The client learns no more than that.
    Refused,
    /// It cannot tell now: 503, and nothing changes. The error goes to the log.
    Unavailable(Box<dyn Error + Send + Sync>),
}

impl AuthnError {
    /// It cannot tell now, because of this error.
    pub fn unavailable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }
}

impl fmt::Display for AuthnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the credentials were refused",
            Self::Unavailable(_) => "the credentials could not be checked",
        })
    }
}

impl Error for AuthnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused => None,
            Self::Unavailable(error) => Some(&**error),
        }
    }
}

/// For services whose logins happen elsewhere (passkeys, OAuth callbacks): `/login` answers 404, and sessions are
/// opened by [`Sessions::open`](crate::Sessions::open) with claims of type `C`.
pub struct NoLogin<C>(PhantomData<fn() -> C>);

impl<C> NoLogin<C> {
    /// The authenticator that refuses everybody.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C> Default for NoLogin<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for NoLogin<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoLogin")
    }
}

/// The credentials of [`NoLogin`]: none.
#[derive(Debug, Deserialize)]
#[non_exhaustive]
pub struct NoCredentials {}

impl<C: Claims> Authenticator for NoLogin<C> {
    type Credentials = NoCredentials;
    type Claims = C;

    async fn authenticate(&self, _: NoCredentials, _: &ClientInfo) -> Result<Identity<C>, AuthnError> {
        Err(AuthnError::Refused)
    }
}

/// What the default of [`Authenticator::renew`] returns. Its type tells that there is nothing to run.
struct KeepClaims<C> {
    claims: Option<C>,
}

impl<C> Unpin for KeepClaims<C> {}

impl<C> Future for KeepClaims<C> {
    type Output = Result<C, AuthnError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.claims.take().map_or(Poll::Pending, |claims| Poll::Ready(Ok(claims)))
    }
}

/// Whether `A` has a `renew` of its own: whether the future of `A::renew` is another type than the default's.
fn renews<A: Authenticator>() -> bool {
    fn future_of<A, R, F>(_: R) -> TypeId
    where
        A: Authenticator,
        R: Fn(&'static A, &'static SessionInfo, A::Claims) -> F,
        F: 'static,
    {
        TypeId::of::<F>()
    }
    future_of::<A, _, _>(A::renew) != TypeId::of::<KeepClaims<A::Claims>>()
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a login yields when the claims type is forgotten: claims as JSON.
pub(super) type ErasedIdentity = Identity<ClaimsJson>;

/// Why an erased authenticator did not say yes.
#[derive(Debug)]
pub(super) enum ErasedError {
    /// The body is no JSON of the credentials type; what is wrong with it, without its values.
    NotCredentials(String),
    Authn(AuthnError),
    /// The claims cannot be put into a token, or were stored in a form that no longer reads.
    Claims(TokenError),
}

/// [`Authenticator`] without its types: what the service holds.
pub(super) trait DynAuthenticator: Send + Sync {
    fn has_login(&self) -> bool;
    fn login<'a>(
        &'a self,
        body: &'a [u8],
        client: &'a ClientInfo,
    ) -> BoxFuture<'a, Result<ErasedIdentity, ErasedError>>;
    fn renews(&self) -> bool;
    fn renew<'a>(
        &'a self,
        session: &'a SessionInfo,
        claims: &'a [u8],
    ) -> BoxFuture<'a, Result<ClaimsJson, ErasedError>>;
}

impl<A: Authenticator> DynAuthenticator for A {
    fn has_login(&self) -> bool {
        TypeId::of::<A::Credentials>() != TypeId::of::<NoCredentials>()
    }

    fn login<'a>(
        &'a self,
        body: &'a [u8],
        client: &'a ClientInfo,
    ) -> BoxFuture<'a, Result<ErasedIdentity, ErasedError>> {
        Box::pin(async move {
            let credentials = serde_json::from_slice(body)
                .map_err(|error| ErasedError::NotCredentials(describe(&error)))?;
            let identity = self.authenticate(credentials, client).await.map_err(ErasedError::Authn)?;
            identity.erase().map_err(ErasedError::Claims)
        })
    }

    fn renews(&self) -> bool {
        renews::<A>()
    }

    fn renew<'a>(
        &'a self,
        session: &'a SessionInfo,
        claims: &'a [u8],
    ) -> BoxFuture<'a, Result<ClaimsJson, ErasedError>> {
        Box::pin(async move {
            let claims = ClaimsJson::from_bytes(claims)
                .and_then(|json| json.read::<A::Claims>())
                .map_err(ErasedError::Claims)?;
            let renewed = Authenticator::renew(self, session, claims).await.map_err(ErasedError::Authn)?;
            ClaimsJson::of(&renewed).map_err(ErasedError::Claims)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::NoClaims;

    struct Plain;
    impl Authenticator for Plain {
        type Credentials = ();
        type Claims = NoClaims;
        async fn authenticate(&self, (): (), _: &ClientInfo) -> Result<Identity<NoClaims>, AuthnError> {
            Err(AuthnError::Refused)
        }
    }

    struct Renewing;
    impl Authenticator for Renewing {
        type Credentials = ();
        type Claims = NoClaims;
        async fn authenticate(&self, (): (), _: &ClientInfo) -> Result<Identity<NoClaims>, AuthnError> {
            Err(AuthnError::Refused)
        }
        async fn renew(&self, _: &SessionInfo, claims: NoClaims) -> Result<NoClaims, AuthnError> {
            Ok(claims)
        }
    }

    #[test]
    fn a_renewal_of_ones_own_is_noticed() {
        assert!(!renews::<Plain>() && !renews::<Arc<Plain>>() && !renews::<NoLogin<NoClaims>>());
        assert!(renews::<Renewing>() && renews::<Arc<Renewing>>());
    }
}
