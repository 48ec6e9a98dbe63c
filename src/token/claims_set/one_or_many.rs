//! [`OneOrMany`]: the form of `aud`.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::token::json::Text;

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

    pub(super) fn to_json(&self) -> Value {
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
