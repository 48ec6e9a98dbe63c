//! The JOSE header (RFC 7515, section 4), read with suspicion: it is what an attacker controls.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::json::{Checked, Names, Text};

/// What is used of a header. Members that could bring a key along (`jwk`, `jku`, `x5c`, `x5u`) are never looked at
/// (RFC 8725, section 3.10).
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) alg: Text<'a>,
    pub(crate) kid: Option<Text<'a>>,
    pub(crate) typ: Option<Text<'a>>,
}

impl<'a> Header<'a> {
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, TokenError> {
        // All of it, not only the strings that are read, must be UTF-8 (RFC 8725, section 3.7).
        let text = std::str::from_utf8(json)
            .map_err(|_| TokenError::new(TokenErrorKind::Header, "the header is not UTF-8"))?;
        serde_json::from_str(text)
            .map_err(|error| TokenError::json(TokenErrorKind::Header, "the header is not acceptable", error))
    }

    /// Whether `typ` names `expected`, as [`is_type`] does.
    pub(crate) fn has_type(&self, expected: &str) -> bool {
        self.typ.as_ref().is_some_and(|Text(typ)| is_type(typ, expected))
    }
}

/// Whether a `typ` names `expected`, a media type without `application/`. They compare without case; a value without a
/// slash stands for itself under `application/` (RFC 7515, section 4.1.9).
pub(crate) fn is_type(typ: &str, expected: &str) -> bool {
    let bare = match typ.split_once('/') {
        Some((tree, subtype)) if tree.eq_ignore_ascii_case("application") => subtype,
        Some(_) => return false,
        None => typ,
    };
    bare.eq_ignore_ascii_case(expected)
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JOSE header")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
                let (mut alg, mut kid, mut typ) = (None, None, None);
                let mut names = Names::default();
                while let Some(name) = map.next_key::<Text<'_>>()? {
                    match &*name.0 {
                        "alg" => alg = Some(map.next_value::<Text<'_>>()?),
                        "kid" => kid = Some(map.next_value::<Text<'_>>()?),
                        "typ" => typ = Some(map.next_value::<Text<'_>>()?),
                        // An extension that must be understood, and none is (RFC 7515, section 4.1.11).
                        "crit" | "b64" => {
                            return Err(A::Error::custom("critical extensions are not supported"));
                        }
                        // Encryption and compression: not a signed token.
                        "enc" | "zip" => return Err(A::Error::custom("encrypted tokens are not supported")),
                        "cty" => {
                            let content = map.next_value::<Text<'_>>()?;
                            let content = content.0.rsplit('/').next().unwrap_or_default();
                            if content.eq_ignore_ascii_case("jwt") {
                                return Err(A::Error::custom("nested tokens are not supported"));
                            }
                        }
                        _ => {
                            map.next_value::<Checked>()?;
                        }
                    }
                    names.insert(name)?;
                }
                let alg = alg.ok_or_else(|| A::Error::missing_field("alg"))?;
                Ok(Header { alg, kid, typ })
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_refused() {
        let deep = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (row, json) in [
            ("H2 alg missing", &br#"{"typ":"at+jwt"}"#[..]),
            ("H2 alg null", br#"{"alg":null}"#),
            ("H2 alg array", br#"{"alg":["HS256"]}"#),
            ("H5 crit", br#"{"alg":"HS256","crit":["x"],"x":1}"#),
            ("H5 crit empty", br#"{"alg":"HS256","crit":[]}"#),
            ("H5 crit null", br#"{"alg":"HS256","crit":null}"#),
            ("H6 b64", br#"{"alg":"HS256","b64":false}"#),
            ("H11 kid number", br#"{"alg":"HS256","kid":7}"#),
            ("H11 kid object", br#"{"alg":"HS256","kid":{}}"#),
            ("H11 kid null", br#"{"alg":"HS256","kid":null}"#),
            ("H14 typ number", br#"{"alg":"HS256","typ":1}"#),
            ("row 42 enc", br#"{"alg":"HS256","enc":"A128GCM"}"#),
            ("row 42 zip", br#"{"alg":"HS256","zip":"DEF"}"#),
            ("row 42 cty", br#"{"alg":"HS256","cty":"JWT"}"#),
            ("row 42 cty, media type", br#"{"alg":"HS256","cty":"application/jwt"}"#),
            ("row 31 repeated alg", br#"{"alg":"HS256","alg":"HS256"}"#),
            ("row 31 repeated unknown name", br#"{"alg":"HS256","x":1,"x":2}"#),
            ("row 31 repeated through an escape", br#"{"alg":"HS256","\u0061lg":"HS256"}"#),
            ("H17 BOM", b"\xef\xbb\xbf{\"alg\":\"HS256\"}"),
            ("H17 UTF-16", b"{\0\"\0a\0l\0g\0\"\0:\0\"\0H\0S\0\"\0}\0"),
            ("H17 invalid UTF-8 in an ignored value", b"{\"alg\":\"HS256\",\"x\":\"\xff\"}"),
            ("H17 lone surrogate in an ignored value", br#"{"alg":"HS256","x":"\ud800"}"#),
            ("H17 NUL after the object", b"{\"alg\":\"HS256\"}\0"),
            ("H17 trailing text", br#"{"alg":"HS256"} x"#),
            ("H18 deep nesting", deep.as_bytes()),
            ("no object", b"[]"),
            ("empty", b""),
        ] {
            assert_eq!(Header::parse(json).unwrap_err().kind(), TokenErrorKind::Header, "{row}");
        }
    }

    #[test]
    fn h7_h8_h9_members_that_bring_a_key_are_ignored() {
        let header = Header::parse(
            br#"{"alg":"HS256","jwk":{"kty":"oct"},"jku":"http://127.0.0.1/","x5u":"file:///etc","x5c":["AA=="],"p2c":1}"#,
        );
        assert_eq!(header.unwrap().alg.0, "HS256");
    }

    #[test]
    fn h14_h15_types() {
        for (typ, expected) in [
            ("at+jwt", true),
            ("AT+JWT", true),
            ("application/at+jwt", true),
            ("Application/At+Jwt", true),
            ("JWT", false),
            ("id_token+jwt", false),
            ("at+jwt;x=1", false),
            ("text/at+jwt", false),
            ("application/application/at+jwt", false),
            ("", false),
        ] {
            let json = format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#);
            assert_eq!(Header::parse(json.as_bytes()).unwrap().has_type("at+jwt"), expected, "{typ}");
        }
        assert!(!Header::parse(br#"{"alg":"HS256"}"#).unwrap().has_type("at+jwt"));
    }
}
