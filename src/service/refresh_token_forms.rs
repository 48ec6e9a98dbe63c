//! Refresh tokens in bodies: in JSON, and in the forms of OAuth (RFC 6749, sections 3.2 and 6; RFC 7009, section 2.1).
//! Pure functions of the body.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Deserializer};

use crate::secret::SecretString;
use crate::token::describe;

/// The member `refresh_token` of a JSON object; others are ignored. Errors say what is wrong, without a value.
pub(super) fn in_json(body: &[u8]) -> Result<Option<SecretString>, String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "a_string")]
        refresh_token: Option<SecretString>,
    }
    fn a_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
        String::deserialize(deserializer).map(|text| Some(text.into()))
    }
    // serde takes an array for a struct, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("no JSON object".to_owned());
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| describe(&error))?;
    Ok(body.refresh_token)
}

/// The parameters of a form, each once. Those without a value count as omitted (RFC 6749, section 3.1).
pub(super) struct Form<'b>(HashMap<Cow<'b, str>, Cow<'b, str>>);

impl<'b> Form<'b> {
    /// Errors say what is wrong, without a name or a value.
    pub(super) fn parse(body: &'b [u8]) -> Result<Self, &'static str> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            // Which the parser puts where bytes are no UTF-8; no parameter of a grant may hold it (appendix A).
            if [&name, &value].iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER)) {
                return Err("the form is not UTF-8");
            }
            if !value.is_empty() && parameters.insert(name, value).is_some() {
                return Err("a parameter of the form is repeated");
            }
        }
        Ok(Self(parameters))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).map(Cow::into_owned)
    }

    pub(super) fn take_secret(&mut self, name: &str) -> Option<SecretString> {
        self.take(name).map(SecretString::from)
    }
}

/// A refresh as OAuth clients ask for it (RFC 6749, section 6).
pub(super) struct RefreshForm {
    pub(super) token: SecretString,
    pub(super) scope: Option<String>,
}

/// Why a form is no refresh.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadForm {
    Malformed(&'static str),
    UnsupportedGrantType,
}

impl RefreshForm {
    pub(super) fn parse(body: &[u8]) -> Result<Self, BadForm> {
        let mut form = Form::parse(body).map_err(BadForm::Malformed)?;
        let grant_type = form.take("grant_type").ok_or(BadForm::Malformed("the form has no grant_type"))?;
        if grant_type != "refresh_token" {
            return Err(BadForm::UnsupportedGrantType);
        }
        let token =
            form.take_secret("refresh_token").ok_or(BadForm::Malformed("the form has no refresh_token"))?;
        Ok(Self { token, scope: form.take("scope") })
    }
}

/// How the scope that a refresh asks for stands to the one that was granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Same,
    Narrower,
    Wider,
}

impl Scope {
    /// Scopes are sets: neither order nor repetition means anything (RFC 6749, section 3.3).
    pub(super) fn compare(asked: &str, granted: &[String]) -> Self {
        let asked: HashSet<_> = asked.split(' ').filter(|scope| !scope.is_empty()).collect();
        let granted: HashSet<_> = granted.iter().map(String::as_str).collect();
        if !asked.is_subset(&granted) {
            Self::Wider
        } else if asked.len() < granted.len() {
            Self::Narrower
        } else {
            Self::Same
        }
    }
}

/// Whether a text has the three parts of a signed JWT. A refresh token has one.
pub(super) fn looks_like_jwt(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::ExposeSecret as _;

    fn exposed(token: Option<SecretString>) -> Option<String> {
        token.map(|token| token.expose_secret().to_owned())
    }

    #[test]
    fn tokens_in_json() {
        for (body, expected) in [
            (r#"{"refresh_token":"x"}"#, Ok(Some("x"))),
            ("\t{ \"refresh_token\" : \"\\u0078\" }\n", Ok(Some("x"))),
            (r#"{"refresh\u005ftoken":"x"}"#, Ok(Some("x"))),
            (r#"{"refresh_token":""}"#, Ok(Some(""))),
            (r#"{"a":{"refresh_token":"y"},"refresh_token":"x","b":[1,null]}"#, Ok(Some("x"))),
            (r#"{"a":1,"a":2}"#, Ok(None)),
            ("{}", Ok(None)),
            (r#"{"refresh_token":"x","refresh_token":"x"}"#, Err("duplicate field `refresh_token`")),
            (r#"{"refresh_token":null}"#, Err("a value of another type than expected")),
            (r#"{"refresh_token":1}"#, Err("a value of another type than expected")),
            (r#"{"refresh_token":["x"]}"#, Err("a value of another type than expected")),
            (r#"["x"]"#, Err("no JSON object")),
            (r#""x""#, Err("no JSON object")),
            ("null", Err("no JSON object")),
            (" ", Err("no JSON object")),
            (r#"{"refresh_token":"x"}{}"#, Err("not JSON")),
            (r#"{"refresh_token":"x""#, Err("not JSON")),
        ] {
            let found = in_json(body.as_bytes()).map(exposed);
            let found =
                found.as_ref().map(Option::as_deref).map_err(|why| why.split(" at line").next().unwrap());
            assert_eq!(found, expected, "{body}");
        }
        assert!(in_json(b"{\"refresh_token\":\"\xff\"}").is_err());
    }

    #[test]
    fn b3_and_row_78_forms() {
        let (repeated, utf8) = ("a parameter of the form is repeated", "the form is not UTF-8");
        let (no_type, no_token) = ("the form has no grant_type", "the form has no refresh_token");
        let bad = |why| Err(BadForm::Malformed(why));
        let long = format!("grant_type=refresh_token&refresh_token={}", "x".repeat(9000));
        for (body, expected) in [
            ("grant_type=refresh_token&refresh_token=x", Ok(("x", None))),
            ("refresh_token=x&scope=a+b%20c&grant_type=refresh_token", Ok(("x", Some("a b c")))),
            ("grant%5ftype=refresh%5Ftoken&refresh_token=%78", Ok(("x", None))),
            ("client_id=c&grant_type=refresh_token&refresh_token=x&unknown=1", Ok(("x", None))),
            ("grant_type=refresh_token&refresh_token=x&scope=", Ok(("x", None))),
            ("&&grant_type=refresh_token&&refresh_token=x=y&", Ok(("x=y", None))),
            ("grant_type=refresh_token&refresh_token=%zz", Ok(("%zz", None))),
            // Without a value they are omitted, also beside one that has one.
            ("refresh_token=&grant_type=refresh_token&refresh_token=x&a&a&a=", Ok(("x", None))),
            ("grant_type=refresh_token&refresh_token=x&refresh_token=x", bad(repeated)),
            ("grant_type=refresh_token&refresh_token=x&refresh%5ftoken=y", bad(repeated)),
            ("grant_type=refresh_token&grant_type=refresh_token&refresh_token=x", bad(repeated)),
            ("grant_type=refresh_token&refresh_token=x&scope=a&scope=b", bad(repeated)),
            ("grant_type=refresh_token&refresh_token=x&client_id=a&client_id=a", bad(repeated)),
            ("grant_type=refresh_token&refresh_token=x&unknown=a&unknown=b", bad(repeated)),
            ("grant_type=password&grant_type=refresh_token", bad(repeated)),
            ("grant_type=refresh_token&refresh_token=%ff", bad(utf8)),
            ("grant_type=refresh_token&refresh_token=x&%c3=1", bad(utf8)),
            ("", bad(no_type)),
            ("refresh_token=x", bad(no_type)),
            ("grant_type=&refresh_token=x", bad(no_type)),
            ("Grant_Type=refresh_token&refresh_token=x", bad(no_type)),
            ("grant_type=refresh_token", bad(no_token)),
            ("grant_type=refresh_token&refresh_token=", bad(no_token)),
            ("grant_type=refresh_token&Refresh_Token=x", bad(no_token)),
            ("grant_type=password&refresh_token=x", Err(BadForm::UnsupportedGrantType)),
            ("grant_type=REFRESH_TOKEN&refresh_token=x", Err(BadForm::UnsupportedGrantType)),
            ("grant_type=refresh_token+&refresh_token=x", Err(BadForm::UnsupportedGrantType)),
            (&long, Ok((&long[39..], None))),
        ] {
            let found = RefreshForm::parse(body.as_bytes());
            let found = found.as_ref().map(|form| (form.token.expose_secret(), form.scope.as_deref()));
            assert_eq!(found, expected.as_ref().map(|form| *form), "{body}");
        }
    }

    #[test]
    fn row_79_scopes() {
        let granted = ["a".to_owned(), "b:c".to_owned()];
        for (asked, expected) in [
            ("a b:c", Scope::Same),
            ("b:c a a", Scope::Same),
            ("a", Scope::Narrower),
            (" ", Scope::Narrower),
            ("a b:c d", Scope::Wider),
            ("A", Scope::Wider),
            ("a\tb:c", Scope::Wider),
            ("b", Scope::Wider),
        ] {
            assert_eq!(Scope::compare(asked, &granted), expected, "{asked:?}");
        }
        assert_eq!(Scope::compare("a", &[]), Scope::Wider);
    }

    #[test]
    fn texts_like_a_jwt() {
        for (text, expected) in
            [("a.b.c", true), ("..", true), ("a.b", false), ("a.b.c.d", false), ("", false)]
        {
            assert_eq!(looks_like_jwt(text), expected, "{text}");
        }
    }
}
