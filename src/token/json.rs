//! JSON as strictly as tokens need it: borrowed strings, numbers as dates, values whose every string is checked.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::clock::Timestamp;

/// What is wrong with a JSON text, for a log: without the values that serde quotes, which may be a password.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names_a_field = ["missing field", "duplicate field"].iter().any(|start| text.starts_with(start));
    if names_a_field {
        return text;
    }
    let what = if error.is_data() { "a value of another type than expected" } else { "not JSON" };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// A JSON string, borrowed from the input where it has no escapes. (serde's `Cow` always copies.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A `NumericDate` (RFC 7519, section 2): seconds since the epoch, fractions allowed. Both ends of its millisecond
/// are kept, so that neither comparison rounds in the token's favour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NumericDate {
    seconds: f64,
}

impl NumericDate {
    /// 9999-12-31T23:59:59Z. A later date is a mistake (milliseconds, most often) or an attack.
    const LAST: i64 = 253_402_300_799;

    /// The whole seconds that are read as a date.
    pub(crate) const SECONDS: std::ops::RangeInclusive<i64> = 0..=Self::LAST;

    /// For ends (`exp`), and for what must not look younger than it is (`auth_time`).
    pub(crate) fn rounded_down(self) -> Timestamp {
        self.to_timestamp(f64::floor)
    }

    /// For beginnings (`nbf`, `iat`).
    pub(crate) fn rounded_up(self) -> Timestamp {
        self.to_timestamp(f64::ceil)
    }

    fn to_timestamp(self, round: fn(f64) -> f64) -> Timestamp {
        // Within 0 and LAST * 1000 < 2^53, where every whole number is exact.
        #[allow(clippy::cast_possible_truncation)]
        Timestamp::from_unix_millis(round(self.seconds * 1000.0) as i64)
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DateVisitor;
        impl Visitor<'_> for DateVisitor {
            type Value = NumericDate;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970, up to the year 9999")
            }
            // Above 2^53 the conversion loses digits, but those numbers are out of bounds by far.
            #[allow(clippy::cast_precision_loss)]
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                self.visit_f64(seconds as f64)
            }
            #[allow(clippy::cast_precision_loss)]
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<NumericDate, E> {
                self.visit_f64(seconds as f64)
            }
            // The last date is far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                // Also false for NaN.
                if (0.0..=NumericDate::LAST as f64).contains(&seconds) {
                    Ok(NumericDate { seconds })
                } else {
                    Err(E::custom("a date out of bounds"))
                }
            }
        }
        // Not `any`: with serde_json's `arbitrary_precision` on, a number would arrive as a map.
        deserializer.deserialize_f64(DateVisitor)
    }
}

/// Any JSON value, read completely: lone surrogates and repeated names are errors also in what nobody looks at.
pub(crate) struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CheckedVisitor;
        impl<'de> Visitor<'de> for CheckedVisitor {
            type Value = Checked;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
                Ok(Checked)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Checked, A::Error> {
                while seq.next_element::<Checked>()?.is_some() {}
                Ok(Checked)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked, A::Error> {
                let mut names = Names::default();
                while let Some(name) = map.next_key::<Text<'_>>()? {
                    names.insert(name)?;
                    map.next_value::<Checked>()?;
                }
                Ok(Checked)
            }
        }
        deserializer.deserialize_any(CheckedVisitor)
    }
}

const FIRST_NAMES: usize = 16;

/// The member names of one JSON object, each at most once (RFC 7515, section 4; RFC 7519, section 4).
///
/// The first few in place, as objects in tokens have few; the others in a set, as those of an attacker may not.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    first: [Cow<'a, str>; FIRST_NAMES],
    /// How many of them there are.
    count: usize,
    others: Option<HashSet<Cow<'a, str>>>,
}

impl Default for Names<'_> {
    fn default() -> Self {
        Self { first: [const { Cow::Borrowed("") }; FIRST_NAMES], count: 0, others: None }
    }
}

impl<'a> Names<'a> {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.first[..self.count].iter().any(|held| held == name)
            || self.others.as_ref().is_some_and(|others| others.contains(name))
    }

    pub(crate) fn insert<E: de::Error>(&mut self, name: Text<'a>) -> Result<(), E> {
        let is_new = if self.first[..self.count].contains(&name.0) {
            false
        } else if let Some(place) = self.first.get_mut(self.count) {
            *place = name.0;
            self.count += 1;
            true
        } else {
            self.others.get_or_insert_default().insert(name.0)
        };
        if is_new { Ok(()) } else { Err(E::custom("a repeated member name")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A password may stand where a number should.
    #[test]
    fn an_error_is_described_without_values() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)] // Only read.
        struct Login {
            attempt: u8,
        }
        for (json, expected) in [
            (r#"{"attempt":"hunter2"}"#, "a value of another type than expected at line 1 column 20"),
            (r"{}", "missing field `attempt` at line 1 column 2"),
            (r#"{"attempt":1,"attempt":2}"#, "duplicate field `attempt` at line 1 column 22"),
            ("hunter2", "not JSON at line 1 column 1"),
        ] {
            assert_eq!(describe(&serde_json::from_str::<Login>(json).unwrap_err()), expected, "{json}");
        }
    }
}
