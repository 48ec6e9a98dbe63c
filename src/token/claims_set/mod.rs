//! The claims set, read in one pass: registered claims by us, all others by the application's type.

mod confirmation;
mod one_or_many;
mod registered;

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::CowStrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use crate::token::application_claims::RegisteredName;
use crate::token::error::{TokenError, TokenErrorKind};
use crate::token::json::{Names, Text};

pub(super) use self::confirmation::Confirmation;
pub(super) use self::one_or_many::OneOrMany;
pub(super) use self::registered::{RawRegistered, once};

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
mod tests;
