//! The claims set, read in one pass: registered claims by us, all others by the application's type.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::CowStrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use crate::token::claims::RegisteredName;
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::json::{Names, NumericDate, Text};

/// The registered claims as they stand in the token: each of its type if present, nothing decided yet.
#[derive(Debug, Default)]
pub(crate) struct RawRegistered<'a> {
    pub(crate) iss: Option<Text<'a>>,
    pub(crate) sub: Option<Text<'a>>,
    pub(crate) aud: Option<OneOrMany<'a>>,
    pub(crate) exp: Option<NumericDate>,
    pub(crate) nbf: Option<NumericDate>,
    pub(crate) iat: Option<NumericDate>,
    pub(crate) jti: Option<Text<'a>>,
    pub(crate) client_id: Option<Text<'a>>,
    pub(crate) scope: Option<Text<'a>>,
    pub(crate) sid: Option<Text<'a>>,
    pub(crate) generation: Option<u32>,
    pub(crate) reissue: Option<u32>,
    pub(crate) auth_time: Option<NumericDate>,
    pub(crate) acr: Option<Text<'a>>,
    pub(crate) cnf: Option<Confirmation<'a>>,
}

impl<'a> RawRegistered<'a> {
    /// Whether the claim of this name was there.
    pub(crate) fn has(&self, name: &str) -> bool {
        RegisteredName::of(name).is_some_and(|name| match name {
            RegisteredName::Iss => self.iss.is_some(),
            RegisteredName::Sub => self.sub.is_some(),
            RegisteredName::Aud => self.aud.is_some(),
            RegisteredName::Exp => self.exp.is_some(),
            RegisteredName::Nbf => self.nbf.is_some(),
            RegisteredName::Iat => self.iat.is_some(),
            RegisteredName::Jti => self.jti.is_some(),
            RegisteredName::ClientId => self.client_id.is_some(),
            RegisteredName::Scope => self.scope.is_some(),
            RegisteredName::Sid => self.sid.is_some(),
            RegisteredName::Gen => self.generation.is_some(),
            RegisteredName::Reissue => self.reissue.is_some(),
            RegisteredName::AuthTime => self.auth_time.is_some(),
            RegisteredName::Acr => self.acr.is_some(),
            RegisteredName::Cnf => self.cnf.is_some(),
        })
    }

    fn read<M: MapAccess<'a>>(&mut self, name: RegisteredName, map: &mut M) -> Result<(), M::Error> {
        match name {
            RegisteredName::Iss => once(&mut self.iss, map.next_value()?),
            RegisteredName::Sub => once(&mut self.sub, map.next_value()?),
            RegisteredName::Aud => once(&mut self.aud, map.next_value()?),
            RegisteredName::Exp => once(&mut self.exp, map.next_value()?),
            RegisteredName::Nbf => once(&mut self.nbf, map.next_value()?),
            RegisteredName::Iat => once(&mut self.iat, map.next_value()?),
            RegisteredName::Jti => once(&mut self.jti, map.next_value()?),
            RegisteredName::ClientId => once(&mut self.client_id, map.next_value()?),
            RegisteredName::Scope => once(&mut self.scope, map.next_value()?),
            RegisteredName::Sid => once(&mut self.sid, map.next_value()?),
            RegisteredName::Gen => once(&mut self.generation, map.next_value()?),
            RegisteredName::Reissue => once(&mut self.reissue, map.next_value()?),
            RegisteredName::AuthTime => once(&mut self.auth_time, map.next_value()?),
            RegisteredName::Acr => once(&mut self.acr, map.next_value()?),
            RegisteredName::Cnf => once(&mut self.cnf, map.next_value()?),
        }
    }
}

/// Fills a slot, which must have been empty.
pub(crate) fn once<T, E: de::Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    if slot.replace(value).is_some() { Err(E::custom("a repeated claim")) } else { Ok(()) }
}

/// What a token is bound to (RFC 7800, section 3.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Confirmation<'a> {
    /// A key by its thumbprint, and nothing else (RFC 9449, section 6.1).
    Thumbprint(Text<'a>),
    /// Something that cannot be checked here, alone or beside a key.
    Other,
}

impl<'de> de::Deserialize<'de> for Confirmation<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ConfirmationVisitor;
        impl<'de> Visitor<'de> for ConfirmationVisitor {
            type Value = Confirmation<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a confirmation")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Confirmation<'de>, A::Error> {
                let mut names = Names::default();
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    let is_thumbprint = name.0 == "jkt";
                    names.insert(name)?;
                    members.push(if is_thumbprint {
                        Confirmation::Thumbprint(map.next_value()?)
                    } else {
                        map.next_value::<IgnoredAny>().map(|_| Confirmation::Other)?
                    });
                }
                let only = members.pop().filter(|_| members.is_empty());
                Ok(only.unwrap_or(Confirmation::Other))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Confirmation<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Confirmation::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Confirmation<'de>, E> {
                Ok(Confirmation::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Confirmation<'de>, E> {
                Ok(Confirmation::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Confirmation<'de>, E> {
                Ok(Confirmation::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Confirmation<'de>, E> {
                Ok(Confirmation::Other)
            }
            fn visit_str<E>(self, _: &str) -> Result<Confirmation<'de>, E> {
                Ok(Confirmation::Other)
            }
            fn visit_unit<E>(self) -> Result<Confirmation<'de>, E> {
                Ok(Confirmation::Other)
            }
        }
        deserializer.deserialize_any(ConfirmationVisitor)
    }
}

/// One string, or an array of nothing but strings: the form of `aud` (RFC 7519, section 4.1.3).
#[derive(Debug, Clone)]
pub(crate) enum OneOrMany<'a> {
    One(Text<'a>),
    Many(Vec<Text<'a>>),
}

impl OneOrMany<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        match self {
            Self::One(one) => one.0 == text,
            Self::Many(many) => many.iter().any(|one| one.0 == text),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::One(Text(one)) => Value::from(&**one),
            Self::Many(many) => many.iter().map(|Text(one)| &**one).collect(),
        }
    }
}

impl<'de> de::Deserialize<'de> for OneOrMany<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = OneOrMany<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }
            fn visit_borrowed_str<E>(self, one: &'de str) -> Result<OneOrMany<'de>, E> {
                Ok(OneOrMany::One(Text(one.into())))
            }
            fn visit_str<E>(self, one: &str) -> Result<OneOrMany<'de>, E> {
                Ok(OneOrMany::One(Text(one.to_owned().into())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany<'de>, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = seq.next_element()? {
                    many.push(one);
                }
                Ok(OneOrMany::Many(many))
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}

/// A claims set. It is filled in place: as it is large, handing it on would be a good part of the reading.
#[derive(Debug, Default)]
pub(crate) struct ClaimsSet<'a> {
    pub(crate) registered: RawRegistered<'a>,
    /// Of all other claims.
    names: Names<'a>,
    /// The other claims that are looked at before the application's type has them.
    watched: &'a [Box<str>],
    /// Which of these were there.
    seen: Vec<(&'a str, OneOrMany<'a>)>,
}

impl<'a> ClaimsSet<'a> {
    /// An empty set that is to look at some claims beside the registered ones.
    pub(crate) fn watching(watched: &'a [Box<str>]) -> Self {
        Self { watched, ..Self::default() }
    }

    /// What a claim says that is watched.
    pub(crate) fn watched(&self, name: &str) -> Option<&OneOrMany<'a>> {
        self.seen.iter().find(|(seen, _)| *seen == name).map(|(_, texts)| texts)
    }

    /// Whether a claim of this name is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.registered.has(name) || self.names.contains(name) || self.watched(name).is_some()
    }

    /// Reads a claims set. An error of the application's type is told apart from one of the claims set itself.
    pub(crate) fn read<C: de::DeserializeOwned>(&mut self, json: &'a [u8]) -> Result<C, TokenError> {
        let text = std::str::from_utf8(json)
            .map_err(|_| TokenError::new(TokenErrorKind::Claims, "the claims are not UTF-8"))?;
        let set_is_bad = Cell::new(false);
        let mut reader = serde_json::Deserializer::from_str(text);
        reader
            .deserialize_map(ClaimsVisitor { set: self, set_is_bad: &set_is_bad, claims: PhantomData })
            .and_then(|claims| reader.end().map(|()| claims))
            .map_err(|error| {
                if error.is_data() && !set_is_bad.get() {
                    let detail = "the claims do not read as the application's type";
                    TokenError::json(TokenErrorKind::ApplicationClaims, detail, error)
                } else {
                    TokenError::json(TokenErrorKind::Claims, "the claims set is not acceptable", error)
                }
            })
    }
}

struct ClaimsVisitor<'c, 'de, C> {
    set: &'c mut ClaimsSet<'de>,
    set_is_bad: &'c Cell<bool>,
    claims: PhantomData<C>,
}

impl<'de, C: de::DeserializeOwned> Visitor<'de> for ClaimsVisitor<'_, 'de, C> {
    type Value = C;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Reached when the set is no object at all.
        self.set_is_bad.set(true);
        f.write_str("a JSON object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<C, A::Error> {
        let mut split = OtherMembers { map, set: self.set, set_is_bad: self.set_is_bad, watched: None };
        let claims = C::deserialize(Members(&mut split))?;
        // The application's type may stop before the end; registered claims may come behind.
        while split.next_key::<IgnoredAny>()?.is_some() {
            split.next_value::<IgnoredAny>()?;
        }
        if split.set_is_bad.get() {
            return Err(de::Error::custom("an error in the claims set was passed over"));
        }
        Ok(claims)
    }
}

/// The members of the claims set without the registered ones, which are put aside as they come by.
struct OtherMembers<'c, 'de, M> {
    map: M,
    set: &'c mut ClaimsSet<'de>,
    set_is_bad: &'c Cell<bool>,
    /// The name whose value comes next, if it is watched.
    watched: Option<&'de str>,
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for OtherMembers<'_, 'de, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, M::Error> {
        let bad_set = self.set_is_bad;
        while let Some(name) = self.map.next_key::<Text<'de>>()? {
            let watched = self.set.watched.iter().find(|watched| ***watched == *name.0).map(|name| &**name);
            if let Some(registered) = RegisteredName::of(&name.0) {
                if let Some(name) = watched {
                    self.read_watched(name)?;
                    continue;
                }
                self.set.registered.read(registered, &mut self.map).inspect_err(|_| bad_set.set(true))?;
                continue;
            }
            self.set.names.insert(name.clone()).inspect_err(|_: &M::Error| bad_set.set(true))?;
            self.watched = watched;
            return seed.deserialize(CowStrDeserializer::new(name.0)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, M::Error> {
        let Some(name) = self.watched.take() else { return self.map.next_value_seed(seed) };
        let json = self.read_watched(name)?;
        seed.deserialize(json).map_err(de::Error::custom)
    }
}

impl<'de, M: MapAccess<'de>> OtherMembers<'_, 'de, M> {
    /// Notes the value of a claim that is watched, and gives it as JSON.
    fn read_watched(&mut self, name: &'de str) -> Result<Value, M::Error> {
        let bad_set = self.set_is_bad;
        let texts: OneOrMany<'de> = self.map.next_value().inspect_err(|_| bad_set.set(true))?;
        if self.set.watched(name).is_some() {
            bad_set.set(true);
            return Err(de::Error::custom("a repeated claim"));
        }
        let json = texts.to_json();
        self.set.seen.push((name, texts));
        Ok(json)
    }
}

/// Presents the members to the application's type. Whatever form it asks for, it is given a map, as JSON would.
struct Members<'a, 'c, 'de, M>(&'a mut OtherMembers<'c, 'de, M>);

impl<'de, M: MapAccess<'de>> Deserializer<'de> for Members<'_, '_, 'de, M> {
    type Error = M::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, M::Error> {
        visitor.visit_map(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, M::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, M::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, M::Error> {
        visitor.visit_enum(de::value::MapAccessDeserializer::new(self.0))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;
    use crate::token::claims::NoClaims;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct User {
        email: String,
        big: u64,
    }

    #[test]
    fn a_watched_claim_is_seen_by_both() {
        #[derive(Deserialize)]
        struct Tenant {
            tid: Option<String>,
            #[serde(default)]
            scp: Vec<String>,
        }
        let watched = ["tid".into(), "scp".into()];
        let mut set = ClaimsSet::watching(&watched);
        let claims: Tenant = set.read(br#"{"scp":["a","b"],"exp":1,"t\u0069d":"x","other":1}"#).unwrap();
        assert_eq!((claims.tid.as_deref(), claims.scp.len()), (Some("x"), 2));
        assert!(set.watched("tid").unwrap().contains("x") && set.watched("scp").unwrap().contains("b"));
        assert!(set.watched("other").is_none() && set.has("tid"));

        let mut set = ClaimsSet::watching(&watched);
        set.read::<NoClaims>(br#"{"tid":"x"}"#).unwrap();
        assert!(set.watched("tid").is_some() && set.watched("scp").is_none());

        for json in [
            r#"{"tid":1}"#,
            r#"{"tid":null}"#,
            r#"{"tid":["a",1]}"#,
            r#"{"tid":{}}"#,
            r#"{"tid":"a","tid":"a"}"#,
        ] {
            let error = ClaimsSet::watching(&watched).read::<NoClaims>(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), TokenErrorKind::Claims, "{json}");
        }
        let error = ClaimsSet::watching(&watched).read::<Tenant>(br#"{"scp":"a"}"#).err().unwrap();
        assert_eq!(error.kind(), TokenErrorKind::ApplicationClaims);
    }

    fn read<C: de::DeserializeOwned>(json: &[u8]) -> Result<C, TokenError> {
        ClaimsSet::default().read(json)
    }

    fn kind<C: de::DeserializeOwned>(json: &str) -> TokenErrorKind {
        read::<C>(json.as_bytes()).err().expect(json).kind()
    }

    #[test]
    fn both_halves_are_read_in_any_order() {
        let json = r#"{"exp":1,"email":"a@b","sub":"x","aud":["api","b"],"big":18446744073709551615,"gen":3,"scope":"a b"}"#;
        let mut set = ClaimsSet::default();
        let user: User = set.read(json.as_bytes()).unwrap();
        let registered = &set.registered;
        assert_eq!((user.email.as_str(), user.big), ("a@b", u64::MAX));
        assert_eq!(registered.sub.as_ref().unwrap().0, "x");
        assert!(registered.aud.as_ref().unwrap().contains("b"));
        assert_eq!(registered.generation, Some(3));
        assert!(registered.iss.is_none() && registered.cnf.is_none());
        assert!(registered.has("scope") && !registered.has("jti") && !registered.has("email"));
        assert!(set.has("scope") && set.has("email") && !set.has("jti") && !set.names.contains("scope"));
    }

    #[test]
    fn other_forms_of_claims_types_read_as_from_json() {
        #[derive(Deserialize)]
        struct Wrapper(HashMap<String, Value>);
        #[derive(Deserialize)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        enum Tagged {
            Human { email: String },
        }
        #[derive(Deserialize)]
        struct Flat {
            email: String,
            #[serde(flatten)]
            rest: HashMap<String, Value>,
        }
        let json = br#"{"kind":"human","iss":"i","email":"a@b","__proto__":{"x":[1]}}"#;
        assert_eq!(read::<Wrapper>(json).unwrap().0.len(), 3);
        let Tagged::Human { email } = read::<Tagged>(json).unwrap();
        assert_eq!(email, "a@b");
        let flat = read::<Flat>(json).unwrap();
        assert_eq!((flat.email.as_str(), flat.rest.len()), ("a@b", 2));
        assert!(read::<Option<NoClaims>>(json).unwrap().is_some());
    }

    #[test]
    fn row_64_what_a_token_is_bound_to() {
        let thumbprint = Some(Confirmation::Thumbprint(Text("x".into())));
        for (json, expected) in [
            (r"{}", None),
            (r#"{"cnf":{"jkt":"x"}}"#, thumbprint),
            (r#"{"cnf":{}}"#, Some(Confirmation::Other)),
            (r#"{"cnf":{"x5t#S256":"x"}}"#, Some(Confirmation::Other)),
            (r#"{"cnf":{"jkt":"x","x5t#S256":"x"}}"#, Some(Confirmation::Other)),
            (r#"{"cnf":{"x5t#S256":"x","jkt":"x"}}"#, Some(Confirmation::Other)),
            (r#"{"cnf":null}"#, Some(Confirmation::Other)),
            (r#"{"cnf":"x"}"#, Some(Confirmation::Other)),
            (r#"{"cnf":[{"jkt":"x"}]}"#, Some(Confirmation::Other)),
            (r#"{"cnf":-1}"#, Some(Confirmation::Other)),
            (r#"{"cnf":1}"#, Some(Confirmation::Other)),
            (r#"{"cnf":1.5}"#, Some(Confirmation::Other)),
            (r#"{"cnf":false}"#, Some(Confirmation::Other)),
        ] {
            let mut set = ClaimsSet::default();
            let NoClaims {} = set.read(json.as_bytes()).unwrap();
            assert_eq!(set.registered.cnf, expected, "{json}");
        }
    }

    #[test]
    fn sets_that_are_refused() {
        for (row, json) in [
            ("C11 empty", ""),
            ("C11 string", r#""x""#),
            ("C11 null", "null"),
            ("C11 two objects", "{}{}"),
            ("C11 trailing text", "{} x"),
            ("L5 array", r#"[1,2,"s","i","a"]"#),
            ("C10 repeated exp", r#"{"exp":1,"exp":1}"#),
            ("C10 repeated through an escape", r#"{"exp":1,"\u0065xp":1}"#),
            ("row 49 repeated claim of the application", r#"{"roles":1,"roles":2}"#),
            ("row 49 repeated cnf", r#"{"cnf":null,"cnf":{"jkt":"x"}}"#),
            ("row 49 repeated jkt", r#"{"cnf":{"jkt":"x","jkt":"x"}}"#),
            ("cnf that is cut", r#"{"cnf":{"a":1"#),
            ("jkt number", r#"{"cnf":{"jkt":1}}"#),
            ("jkt null", r#"{"cnf":{"jkt":null}}"#),
            ("C1 exp string", r#"{"exp":"1"}"#),
            ("C1 exp null", r#"{"exp":null}"#),
            ("C1 exp bool", r#"{"exp":true}"#),
            ("C1 exp array", r#"{"exp":[1]}"#),
            ("C1 exp object", r#"{"exp":{}}"#),
            ("C1 exp negative", r#"{"exp":-1}"#),
            ("C1 exp NaN", r#"{"exp":NaN}"#),
            ("C1 exp 1e400", r#"{"exp":1e400}"#),
            ("C1 exp 1e308", r#"{"exp":1e308}"#),
            ("C1 exp 2^64", r#"{"exp":18446744073709551616}"#),
            ("L12 exp in milliseconds", r#"{"exp":1700000000000}"#),
            ("C4 nbf u64 max", r#"{"nbf":18446744073709551615}"#),
            ("C4 nbf null", r#"{"nbf":null}"#),
            ("C5 iat string", r#"{"iat":"1"}"#),
            ("L8 iss array", r#"{"iss":["evil","good"]}"#),
            ("C7 aud number", r#"{"aud":1}"#),
            ("C7 aud object", r#"{"aud":{}}"#),
            ("C7 aud null", r#"{"aud":null}"#),
            ("row 58 aud with a number", r#"{"aud":["api",7]}"#),
            ("C9 sub number", r#"{"sub":1}"#),
            ("C12 scope array", r#"{"scope":["a"]}"#),
            ("gen beyond its type", r#"{"gen":4294967296}"#),
            ("reissue beyond its type", r#"{"reissue":4294967296}"#),
            ("reissue null", r#"{"reissue":null}"#),
            ("reissue repeated", r#"{"reissue":1,"reissue":1}"#),
            ("auth_time string", r#"{"auth_time":"1"}"#),
            ("auth_time null", r#"{"auth_time":null}"#),
            ("auth_time negative", r#"{"auth_time":-1}"#),
            ("auth_time in milliseconds", r#"{"auth_time":1700000000000}"#),
            ("auth_time repeated", r#"{"auth_time":1,"auth_time":1}"#),
            ("acr number", r#"{"acr":1}"#),
            ("acr array", r#"{"acr":["x"]}"#),
            ("acr null", r#"{"acr":null}"#),
            ("acr repeated", r#"{"acr":"x","acr":"x"}"#),
        ] {
            assert_eq!(kind::<Value>(json), TokenErrorKind::Claims, "{row}");
            assert_eq!(
                kind::<NoClaims>(json),
                TokenErrorKind::Claims,
                "{row}, no claims of the application's own"
            );
        }
        assert!(read::<NoClaims>(b"{\"a\":\"\xff\"}").is_err(), "C17 invalid UTF-8");
    }

    #[test]
    fn a_mismatch_of_the_applications_type_is_told_apart() {
        assert_eq!(kind::<User>(r#"{"exp":1}"#), TokenErrorKind::ApplicationClaims);
        assert_eq!(kind::<User>(r#"{"email":1,"exp":1}"#), TokenErrorKind::ApplicationClaims);
        assert_eq!(kind::<User>(r#"{"email":"a","big":1,"more":1}"#), TokenErrorKind::ApplicationClaims);
        assert_eq!(kind::<()>(r#"{"exp":1}"#), TokenErrorKind::ApplicationClaims);
        assert_eq!(kind::<User>(r#"{"email":"a","exp":"x"}"#), TokenErrorKind::Claims);
        assert_eq!(kind::<User>(r#"{"email":"a","big":1"#), TokenErrorKind::Claims);
    }
}
