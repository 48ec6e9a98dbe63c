//! What a [`TokenConfigBuilder`](crate::TokenConfigBuilder) was given, at compile time: without key, issuer and
//! audience it has no `build`.

/// In a [`TokenConfigBuilder`](crate::TokenConfigBuilder): not given yet.
#[derive(Debug)]
pub struct Missing;

/// In a [`TokenConfigBuilder`](crate::TokenConfigBuilder): given.
#[derive(Debug)]
pub struct Set;

/// A [`TokenConfigBuilder`](crate::TokenConfigBuilder) that was given a key. Sealed.
#[diagnostic::on_unimplemented(
    message = "this token configuration has no key",
    label = "no key was given",
    note = "call `.key(..)` with the key that signs, or `.add_verifying_key(..)` to verify only, before `.build()`"
)]
pub trait HasKey: sealed::Sealed {}

/// A [`TokenConfigBuilder`](crate::TokenConfigBuilder) that was given an issuer. Sealed.
#[diagnostic::on_unimplemented(
    message = "this token configuration has no issuer",
    label = "no issuer was given",
    note = "call `.issuer(\"https://..\")` before `.build()`: without it, tokens of any issuer that holds the key would be accepted"
)]
pub trait HasIssuer: sealed::Sealed {}

/// A [`TokenConfigBuilder`](crate::TokenConfigBuilder) that was given an audience. Sealed.
#[diagnostic::on_unimplemented(
    message = "this token configuration has no audience",
    label = "no audience was given",
    note = "call `.audience(\"..\")` with the name of this service before `.build()`: without it, tokens meant for another service would be accepted"
)]
pub trait HasAudience: sealed::Sealed {}

impl HasKey for Set {}
impl HasIssuer for Set {}
impl HasAudience for Set {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Set {}
}
