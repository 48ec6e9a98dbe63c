use std::collections::HashMap;

use serde::Deserialize;

use super::*;
use crate::token::application_claims::NoClaims;

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

    for json in
        [r#"{"tid":1}"#, r#"{"tid":null}"#, r#"{"tid":["a",1]}"#, r#"{"tid":{}}"#, r#"{"tid":"a","tid":"a"}"#]
    {
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
