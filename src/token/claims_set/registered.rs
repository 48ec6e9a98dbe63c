//! [`RawRegistered`]: which claims are read here and not by the application's type, and of which type each must be.

use serde::de::{self, MapAccess};

use crate::token::application_claims::RegisteredName;
use crate::token::claims_set::confirmation::Confirmation;
use crate::token::claims_set::one_or_many::OneOrMany;
use crate::token::json::{NumericDate, Text};

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

    pub(super) fn read<M: MapAccess<'a>>(
        &mut self,
        name: RegisteredName,
        map: &mut M,
    ) -> Result<(), M::Error> {
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
