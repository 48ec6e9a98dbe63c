//! [`Several`]: the choice between several issuers, before anything of a token is trusted.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::claims_set::once;
use crate::token::compact::{Compact, decode};
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::json::Text;
use crate::token::one_issuer::{Check, OneIssuer};

/// Issuers, of which each is there once.
pub(crate) struct Several<C> {
    /// In the order of their names.
    issuers: Box<[OneIssuer<C>]>,
    max_token_bytes: usize,
}

impl<C> Several<C> {
    pub(crate) fn new(mut issuers: Vec<OneIssuer<C>>) -> Result<Self, ConfigError> {
        issuers.sort_by(|one, other| one.name().cmp(other.name()));
        if issuers.windows(2).any(|pair| pair[0].name() == pair[1].name()) {
            return Err(ConfigError::new(
                ConfigErrorKind::Issuer,
                "two verifiers are for the same issuer: put all of its keys into one configuration",
            ));
        }
        Ok(Self::of(issuers.into()))
    }

    fn of(issuers: Box<[OneIssuer<C>]>) -> Self {
        let max_token_bytes = issuers.iter().map(OneIssuer::max_token_bytes).max().unwrap_or_default();
        Self { issuers, max_token_bytes }
    }

    /// The same issuers, each with one more check behind its others.
    pub(crate) fn and(&self, check: &Check<C>) -> Self {
        Self::of(self.issuers.iter().map(|issuer| issuer.and(check)).collect())
    }

    pub(crate) fn issuers(&self) -> &[OneIssuer<C>] {
        &self.issuers
    }

    /// The largest maximum of them all.
    pub(crate) fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// The issuer that a token names, and by whose rules it is to be verified. The token only says so: what it says is
    /// believed once a key of that issuer has signed it.
    pub(crate) fn choose(&self, token: &str) -> Result<&OneIssuer<C>, TokenError> {
        let compact = Compact::split(token, self.max_token_bytes)?;
        let json = decode(compact.payload)?;
        let iss = read_iss(&json)?;
        let at = self.issuers.binary_search_by(|issuer| issuer.name().cmp(&iss.0));
        at.ok()
            .and_then(|at| self.issuers.get(at))
            .ok_or_else(|| TokenError::new(TokenErrorKind::Issuer, "`iss` is none of the configured issuers"))
    }
}

/// `iss`, and nothing else of the claims set: all of it is read by [`ClaimsSet`](crate::token::claims_set::ClaimsSet),
/// after the signature.
fn read_iss(json: &[u8]) -> Result<Text<'_>, TokenError> {
    let text = std::str::from_utf8(json)
        .map_err(|_| TokenError::new(TokenErrorKind::Claims, "the claims are not UTF-8"))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let iss =
        reader.deserialize_map(IssVisitor).and_then(|iss| reader.end().map(|()| iss)).map_err(|error| {
            TokenError::json(TokenErrorKind::Claims, "the claims set is not acceptable", error)
        })?;
    iss.ok_or_else(|| TokenError::new(TokenErrorKind::Claims, "`iss` is missing"))
}

struct IssVisitor;

impl<'de> Visitor<'de> for IssVisitor {
    type Value = Option<Text<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object of claims")
    }

    // By hand, as a derived struct would read an array, too.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut iss = None;
        while let Some(Text(name)) = map.next_key()? {
            if name == "iss" {
                once(&mut iss, map.next_value()?)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(iss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iss_is_read_wherever_it_stands() {
        let deep = format!(r#"{{"x":{}1{},"iss":"i"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (row, json) in [
            ("alone", r#"{"iss":"i"}"#),
            ("first", r#"{"iss":"i","a":1,"b":{"iss":"j"}}"#),
            ("last", r#"{"a":[{"iss":"j"}],"iss":"i"}"#),
            ("its name escaped", r#"{"\u0069ss":"i"}"#),
            ("its value escaped", r#"{"iss":"\u0069"}"#),
            ("spaces", " { \"iss\" : \"i\" } "),
            // What else is wrong is found after the signature.
            ("another claim repeated", r#"{"a":1,"iss":"i","a":2}"#),
            ("another claim of the wrong type", r#"{"exp":"x","iss":"i"}"#),
            ("deep nesting", &deep),
        ] {
            assert_eq!(read_iss(json.as_bytes()).expect(row).0, "i", "{row}");
        }
    }

    #[test]
    fn sets_that_name_no_issuer() {
        for (row, json) in [
            ("missing", &br#"{"sub":"x"}"#[..]),
            ("only deeper", br#"{"a":{"iss":"i"}}"#),
            ("another case", br#"{"ISS":"i"}"#),
            ("null", br#"{"iss":null}"#),
            ("number", br#"{"iss":1}"#),
            ("L8 array", br#"{"iss":["i"]}"#),
            ("object", br#"{"iss":{"i":1}}"#),
            ("C10 repeated", br#"{"iss":"i","iss":"i"}"#),
            ("C10 repeated through an escape", br#"{"iss":"i","\u0069ss":"j"}"#),
            ("lone surrogate", br#"{"iss":"\ud800"}"#),
            ("L5 the set an array", br#"["i"]"#),
            ("C11 the set a string", br#""i""#),
            ("C11 trailing text", br#"{"iss":"i"} x"#),
            ("C11 two objects", br#"{"iss":"i"}{}"#),
            ("cut off", br#"{"iss":"i""#),
            ("empty", b""),
            ("C17 invalid UTF-8 elsewhere", b"{\"iss\":\"i\",\"x\":\"\xff\"}"),
        ] {
            assert_eq!(read_iss(json).expect_err(row).kind(), TokenErrorKind::Claims, "{row}");
        }
    }
}
