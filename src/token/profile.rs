//! [`Profile`]: where the tokens of an issuer elsewhere say what those of RFC 9068 say in `aud` and `scope`.

use std::borrow::Cow;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::application_claims::RegisteredName;
use crate::token::claims_set::{ClaimsSet, OneOrMany};
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::json::Text;

/// What is asked of claims that have no meaning of their own here.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    audience: Option<Box<str>>,
    scope: Option<Box<str>>,
    values: Box<[(Box<str>, Box<str>)]>,
    /// The names of all these that are not read in any case.
    watched: Box<[Box<str>]>,
}

impl Profile {
    pub(crate) fn new(
        audience: Option<String>,
        scope: Option<String>,
        values: Vec<(String, String)>,
    ) -> Result<Self, ConfigError> {
        let bad = |message: &'static str| Err(ConfigError::new(ConfigErrorKind::Claim, message));
        let values: Box<[(Box<str>, Box<str>)]> =
            values.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let (audience, scope) = (audience.map(String::into_boxed_str), scope.map(String::into_boxed_str));
        let names = || audience.iter().chain(&scope).chain(values.iter().map(|(name, _)| name));
        if names().any(|name| name.is_empty()) {
            return bad("the name of a claim is empty");
        }
        let is_scope = |name: &str| matches!(RegisteredName::of(name), None | Some(RegisteredName::Scope));
        if !scope.as_deref().is_none_or(is_scope) {
            return bad("of the registered claims, only `scope` can hold the scopes");
        }
        let others = audience.iter().chain(values.iter().map(|(name, _)| name));
        if others
            .into_iter()
            .filter_map(|name| RegisteredName::of(name))
            .any(|name| !matches!(name, RegisteredName::ClientId | RegisteredName::Sub))
        {
            return bad(
                "of the registered claims, only `client_id` and `sub` can be asked for a value or for the audience",
            );
        }
        let is_read = |name: &str| {
            matches!(RegisteredName::of(name), Some(RegisteredName::ClientId | RegisteredName::Sub))
        };
        let mut watched: Vec<Box<str>> = names().filter(|name| !is_read(name)).cloned().collect();
        watched.sort_unstable();
        watched.dedup();
        Ok(Self { audience, scope, values, watched: watched.into() })
    }

    /// Whether tokens are as RFC 9068 has them.
    pub(crate) fn is_standard(&self) -> bool {
        self.audience.is_none() && self.scope.is_none() && self.values.is_empty()
    }

    pub(crate) fn watched(&self) -> &[Box<str>] {
        &self.watched
    }

    /// The values that are asked for.
    pub(crate) fn check_values(&self, set: &ClaimsSet<'_>) -> Result<(), TokenError> {
        for (name, value) in &self.values {
            let held = match texts(set, name) {
                Some(OneOrMany::One(Text(held))) => held == **value,
                _ => false,
            };
            if !held {
                let detail = format!("`{name}` is not the value that is asked for");
                return Err(TokenError::new(TokenErrorKind::Claims, detail));
            }
        }
        Ok(())
    }

    /// The name of the claim that stands in for `aud`, and what it says.
    pub(crate) fn audience<'a>(&self, set: &ClaimsSet<'a>) -> Option<(&str, Option<OneOrMany<'a>>)> {
        self.audience.as_deref().map(|name| (name, texts(set, name)))
    }

    /// The scopes, as `scope` has them.
    pub(crate) fn scope<'s>(&self, set: &'s ClaimsSet<'_>) -> Result<Option<Cow<'s, str>>, TokenError> {
        let Some(name) = self.scope.as_deref() else {
            return Ok(set.registered.scope.as_ref().map(|Text(scope)| Cow::Borrowed(&**scope)));
        };
        Ok(match set.watched(name) {
            None => None,
            Some(OneOrMany::One(Text(scope))) => Some(Cow::Borrowed(&**scope)),
            Some(OneOrMany::Many(scopes)) => {
                let scopes: Vec<&str> = scopes.iter().map(|Text(scope)| &**scope).collect();
                // One that holds a space would be two others.
                if scopes.iter().any(|scope| scope.is_empty() || scope.contains(' ')) {
                    return Err(TokenError::new(
                        TokenErrorKind::Claims,
                        format!("`{name}` holds what is no scope"),
                    ));
                }
                Some(Cow::Owned(scopes.join(" ")))
            }
        })
    }
}

fn texts<'a>(set: &ClaimsSet<'a>, name: &str) -> Option<OneOrMany<'a>> {
    match RegisteredName::of(name) {
        Some(RegisteredName::ClientId) => set.registered.client_id.clone().map(OneOrMany::One),
        Some(RegisteredName::Sub) => set.registered.sub.clone().map(OneOrMany::One),
        _ => set.watched(name).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_alone_is_for_tokens_from_elsewhere() {
        let name = || Some("tid".to_owned());
        let values = || vec![("tid".to_owned(), "a".to_owned())];
        assert!(Profile::new(None, None, Vec::new()).unwrap().is_standard());
        for (audience, scope, values) in
            [(name(), None, Vec::new()), (None, name(), Vec::new()), (None, None, values())]
        {
            assert!(!Profile::new(audience, scope, values).unwrap().is_standard());
        }
    }
}
