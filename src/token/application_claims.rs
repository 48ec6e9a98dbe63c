//! The two halves of a claims set: the registered claims, which the crate reads and writes itself, and the
//! application's own type `C`, which holds all the others.

use serde::de::{DeserializeOwned, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::json::{Names, Text};

/// Claims that can be read from a token: any `Deserialize` type that owns its data.
///
/// It sees every claim but the registered ones
/// (`iss sub aud exp nbf iat jti client_id scope sid gen reissue auth_time acr cnf`), which
/// [`Verified`](crate::Verified) gives by their own methods. A type that borrows is met by the compiler with
/// "implementation of `Deserialize` is not general enough": write `String`, not `&str`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from a token's claims",
    label = "not a type of claims",
    note = "derive `serde::Deserialize` on a struct with named fields that owns its data (`String`, not `&str`)",
    note = "for an application without claims of its own use `tower_jwt_auth::NoClaims`"
)]
pub trait ReadClaims: DeserializeOwned + Send + Sync + 'static {}

impl<T: DeserializeOwned + Send + Sync + 'static> ReadClaims for T {}

/// Claims that can be put into a token and read back.
///
/// The type must serialize as a JSON object without the names that the crate writes itself (`iss sub aud exp nbf iat
/// jti client_id scope sid gen reissue auth_time acr cnf`): [`Verified`](crate::Verified) gives those, by methods. A
/// value that has one is refused when it is signed, with [`TokenErrorKind::UnsuitableClaims`], and a login that gives
/// it is a 500.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the claims of an access token",
    label = "not a type of claims",
    note = "derive both `serde::Serialize` and `serde::Deserialize` on a struct with named fields that owns its data",
    note = "for an application without claims of its own use `tower_jwt_auth::NoClaims`"
)]
pub trait Claims: Serialize + ReadClaims {}

impl<T: Serialize + ReadClaims> Claims for T {}

/// For applications without claims of their own. (`()` does not do: it does not read from a JSON object.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoClaims {}

/// The names that the crate reads and writes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegisteredName {
    Iss,
    Sub,
    Aud,
    Exp,
    Nbf,
    Iat,
    Jti,
    ClientId,
    Scope,
    Sid,
    Gen,
    Reissue,
    AuthTime,
    Acr,
    Cnf,
}

impl RegisteredName {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "iss" => Self::Iss,
            "sub" => Self::Sub,
            "aud" => Self::Aud,
            "exp" => Self::Exp,
            "nbf" => Self::Nbf,
            "iat" => Self::Iat,
            "jti" => Self::Jti,
            "client_id" => Self::ClientId,
            "scope" => Self::Scope,
            "sid" => Self::Sid,
            "gen" => Self::Gen,
            "reissue" => Self::Reissue,
            "auth_time" => Self::AuthTime,
            "acr" => Self::Acr,
            "cnf" => Self::Cnf,
            _ => return None,
        })
    }
}

/// An application's claims as JSON: one object, no name twice, no registered name.
#[derive(Debug, Clone)]
pub(crate) struct ClaimsJson(Box<RawValue>);

impl ClaimsJson {
    pub(crate) fn of<C: Serialize>(claims: &C) -> Result<Self, TokenError> {
        let text = serde_json::to_string(claims).map_err(|error| {
            TokenError::json(TokenErrorKind::UnsuitableClaims, "the claims do not serialize to JSON", error)
        })?;
        Self::checked(text)
    }

    /// Claims that a store kept.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        let text = std::str::from_utf8(bytes).map_err(|_| {
            TokenError::new(TokenErrorKind::UnsuitableClaims, "the stored claims are not UTF-8")
        })?;
        Self::checked(text.to_owned())
    }

    fn checked(text: String) -> Result<Self, TokenError> {
        let unsuitable = |error| {
            TokenError::json(
                TokenErrorKind::UnsuitableClaims,
                "the claims must be one JSON object that repeats neither a name nor a registered claim",
                error,
            )
        };
        let mut reader = serde_json::Deserializer::from_str(&text);
        let mut own = OwnNames { taken: None };
        let read = reader.deserialize_map(&mut own).and_then(|()| reader.end());
        if let Some(name) = own.taken {
            let detail = format!(
                "the application's claims have `{name}`, which the crate writes itself: leave it out, and read it from \
                 `Verified`, or give the field another name"
            );
            return Err(TokenError::new(TokenErrorKind::UnsuitableClaims, detail));
        }
        read.map_err(unsuitable)?;
        RawValue::from_string(text).map(Self).map_err(unsuitable)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.get().trim()
    }

    /// The claims as the application's type, read as they are from a token.
    pub(crate) fn read<C: DeserializeOwned>(&self) -> Result<C, TokenError> {
        serde_json::from_str(self.as_str()).map_err(|error| {
            let detail = "the claims do not read as the application's type";
            TokenError::json(TokenErrorKind::ApplicationClaims, detail, error)
        })
    }

    pub(crate) fn raw(&self) -> &RawValue {
        &self.0
    }
}

struct OwnNames {
    /// A name that is not the application's to use.
    taken: Option<String>,
}

impl<'de> Visitor<'de> for &mut OwnNames {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = Names::default();
        while let Some(name) = map.next_key::<Text<'_>>()? {
            if RegisteredName::of(&name.0).is_some() {
                self.taken = Some(name.0.into_owned());
                return Err(serde::de::Error::custom("a registered claim"));
            }
            names.insert(name)?;
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_without_registered_names_are_suitable() {
        for json in [
            "null",
            "[]",
            r#""text""#,
            "{",
            "{} {}",
            r#"{"sub":"x"}"#,
            r#"{"a":1,"exp":5}"#,
            r#"{"a":1,"auth_time":5}"#,
            r#"{"acr":"x"}"#,
            r#"{"reissue":1}"#,
            r#"{"a":1,"a":2}"#,
            "",
        ] {
            let error = ClaimsJson::from_bytes(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), TokenErrorKind::UnsuitableClaims, "{json}");
        }
        let error = ClaimsJson::from_bytes(br#"{"a":1,"scope":"x"}"#).unwrap_err();
        assert!(error.describe().contains("have `scope`, which"), "{error:?}");
        assert!(ClaimsJson::from_bytes(b"\xff").is_err());
        assert_eq!(
            ClaimsJson::from_bytes(br#" {"a": 9007199254740993} "#).unwrap().as_str(),
            r#"{"a": 9007199254740993}"#
        );
        assert!(ClaimsJson::of(&()).is_err());
        assert_eq!(ClaimsJson::of(&NoClaims {}).unwrap().as_str(), "{}");
    }
}
