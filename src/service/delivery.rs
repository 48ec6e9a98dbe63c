//! [`Delivery`]: how clients are given their refresh tokens, and what a login says about it.

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use http::header::ORIGIN;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::token::describe;

/// How clients are given refresh tokens, and how they present them.
///
/// A page in a browser is to have the cookie: no script can read it, so none that is smuggled in can take it away.
/// Programs that keep secrets by themselves (mobile and desktop applications, command lines, servers) have use for the
/// body, and with it speak OAuth's `grant_type=refresh_token` (RFC 6749, section 6) and revocation (RFC 7009).
///
/// ```
/// use http::{Request, header::SET_COOKIE};
/// use http_body_util::Full;
/// use serde_json::Value;
/// use tower::ServiceExt;
/// use tower_jwt_auth::{
///     AuthService, ClientInfo, Delivery, Identity, MokaStore, NoClaims, NoLogin, RefreshKeys, SigningKey, TokenConfig,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = TokenConfig::builder()
/// #     .key(SigningKey::ed25519_seed(&[7; 32])?)
/// #     .issuer("https://app.example")
/// #     .audience("api")
/// #     .build()?;
/// // No browser, no cookie: no origin is needed.
/// let auth = AuthService::builder(&config, RefreshKeys::new([9; 32])?, MokaStore::new(), NoLogin::<NoClaims>::new())
///     .delivery(Delivery::Body)
///     .build()?;
/// let granted = auth.sessions().open(Identity::new("ada", NoClaims {}), &ClientInfo::default()).await?;
/// assert!(granted.set_cookie().is_none());
///
/// // As any OAuth client does.
/// let form = format!("grant_type=refresh_token&refresh_token={}", granted.refresh_token());
/// let request = Request::post("/auth/refresh")
///     .header("content-type", "application/x-www-form-urlencoded")
///     .body(Full::<bytes::Bytes>::from(form))?;
/// let (parts, body) = auth.oneshot(request).await?.into_parts();
/// # let body = http_body_util::BodyExt::collect(body).await?.to_bytes();
/// let tokens: Value = serde_json::from_slice(&body)?;
/// assert!(tokens["refresh_token"].is_string() && !parts.headers.contains_key(SET_COOKIE));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// In the `HttpOnly` cookie alone: no answer shows a refresh token, and none is taken from a body.
    #[default]
    Cookie,
    /// In the JSON of answers alone: no cookie is set or read. For services without pages, as every script of a page
    /// that logs in could read the token. A login that names an origin is refused here as well, unless the origin was
    /// [added](crate::AuthServiceBuilder::add_origin).
    Body,
    /// In the cookie, and in the body where a login's credentials have a member `"delivery":"body"`. That is refused
    /// to browsers: to each request with the header `Origin` or `Sec-Fetch-Site`.
    Both,
}

impl Delivery {
    pub(super) fn uses_cookie(self) -> bool {
        self != Self::Body
    }

    pub(super) fn uses_body(self) -> bool {
        self != Self::Cookie
    }
}

/// How one answer hands over the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handover {
    Cookie,
    Body,
}

/// Why a login cannot be answered as it wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHandover {
    /// It wants a cookie where none is given out.
    NoCookies,
    /// It wants the token in the body, and comes from a browser: what a page is given, every script in it can take
    /// away.
    Browser,
}

/// How a login is answered that wishes so.
pub(super) fn handover(
    delivery: Delivery,
    wish: Option<Handover>,
    headers: &HeaderMap,
) -> Result<Handover, NoHandover> {
    let is_browser = headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site");
    match (delivery, wish) {
        (Delivery::Cookie, _) | (Delivery::Both, None | Some(Handover::Cookie)) => Ok(Handover::Cookie),
        (Delivery::Body, Some(Handover::Cookie)) => Err(NoHandover::NoCookies),
        (Delivery::Both, Some(Handover::Body)) if is_browser => Err(NoHandover::Browser),
        (Delivery::Body | Delivery::Both, _) => Ok(Handover::Body),
    }
}

/// Takes the member `delivery` out of a login's credentials, whose type need not know it. All else stays as it was
/// written, repeated members included, for that type to judge. JSON that is no object has no members.
///
/// Errors say what is wrong, without a value.
pub(super) fn take_wish(body: &[u8]) -> Result<(Option<Handover>, Cow<'_, [u8]>), String> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Ok((None, Cow::Borrowed(body)));
    }
    let Members(members) = serde_json::from_slice(body).map_err(|error| describe(&error))?;
    let (wishes, rest): (Vec<_>, Vec<_>) = members.into_iter().partition(|(name, _)| name == "delivery");
    let wish = match wishes[..] {
        [] => return Ok((None, Cow::Borrowed(body))),
        [(_, wish)] => wish,
        _ => return Err("duplicate field `delivery`".to_owned()),
    };
    let wish = match serde_json::from_str::<String>(wish.get()).as_deref() {
        Ok("body") => Handover::Body,
        Ok("cookie") => Handover::Cookie,
        _ => return Err("`delivery` is neither \"body\" nor \"cookie\"".to_owned()),
    };
    let rest = serde_json::to_vec(&Members(rest)).map_err(|error| describe(&error))?;
    Ok((Some(wish), Cow::Owned(rest)))
}

/// The members of a JSON object in their order, each value as it was written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        const BODY: Option<Handover> = Some(Handover::Body);
        for (body, wish, rest) in [
            (r#"{"user":"ada"}"#, None, r#"{"user":"ada"}"#),
            (r#"{"user":"ada","delivery":"body"}"#, BODY, r#"{"user":"ada"}"#),
            ("\n {\"delivery\" : \"cookie\", \"a\": 1}", Some(Handover::Cookie), r#"{"a":1}"#),
            (r#"{"d\u0065livery":"\u0062ody"}"#, BODY, "{}"),
            // What is left is left as it was, also what the type of the credentials will refuse.
            (
                r#"{"a":1,"a":[ 1.00e400 ],"delivery":"body","a\n":"\ud83d\ude00"}"#,
                BODY,
                r#"{"a":1,"a":[ 1.00e400 ],"a\n":"\ud83d\ude00"}"#,
            ),
            (r#"{"a":{"delivery":"body"}}"#, None, r#"{"a":{"delivery":"body"}}"#),
            (r#"{"Delivery":"body"}"#, None, r#"{"Delivery":"body"}"#),
            // No members: the type of the credentials says whether it may be.
            (r#"["delivery","body"]"#, None, r#"["delivery","body"]"#),
            ("nonsense", None, "nonsense"),
            ("", None, ""),
        ] {
            let (found, left) = take_wish(body.as_bytes()).unwrap();
            assert_eq!((found, std::str::from_utf8(&left).unwrap()), (wish, rest), "{body}");
        }
    }

    #[test]
    fn wishes_that_are_none() {
        let unknown = "`delivery` is neither \"body\" nor \"cookie\"";
        for (body, error) in [
            (r#"{"delivery":"body","delivery":"body"}"#, "duplicate field `delivery`"),
            (r#"{"delivery":"cookie","deliver\u0079":"body"}"#, "duplicate field `delivery`"),
            (r#"{"delivery":"Body"}"#, unknown),
            (r#"{"delivery":""}"#, unknown),
            (r#"{"delivery":null}"#, unknown),
            (r#"{"delivery":["body"]}"#, unknown),
            (r#"{"delivery":"body"} x"#, "not JSON"),
            (r#"{"delivery":"body""#, "not JSON"),
            (r#"{"\ud800":1,"delivery":"body"}"#, "not JSON"),
        ] {
            let found = take_wish(body.as_bytes()).unwrap_err();
            assert_eq!(found.split(" at line").next(), Some(error), "{body}");
        }
        assert!(take_wish(b"{\"\xff\":1}").is_err() && take_wish(b"{\"a\":\"\xff\"}").is_err());
    }
}
