//! [`Confirmation`]: what `cnf` says.

use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::token::json::{Names, Text};

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
