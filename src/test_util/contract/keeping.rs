//! Sessions come back as they were given, each under its id and its subject.

use std::net::IpAddr;

use super::bench::{Bench, HOUR, MINUTE, ShiftTime, assert_unknown, policy, subject};
use crate::clock::Timestamp;
use crate::session::{ClientInfo, NewSession, Record, SecretDigest};
use crate::store::{Creation, SessionStore};
use crate::test_util::{created, new_session, present};

pub async fn a_session_comes_back_as_it_was_given<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let before = bench.now().await;
    let session = new_session(&subject("ada"), before);
    let creation = bench.store.create(&session, &policy()).await.unwrap();
    let record = bench.record(&session).await.unwrap();
    assert_eq!(creation, Creation::Created { record: record.clone(), evicted: Vec::new() });

    let now = record.facts.created_at;
    assert!(before <= now && now <= bench.now().await);
    assert_eq!(record, Record::open(&session, &policy(), now));
    assert_eq!(bench.list(&session.subject).await, [record]);
}

pub async fn odd_values_come_back_as_they_were_given<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let plain = async |name: &str| new_session(&subject(name), bench.now().await);
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    for (name, session) in [
        ("every byte", NewSession { claims: every_byte.clone(), ..plain("a").await }),
        ("no claims", NewSession { claims: Vec::new(), ..plain("b").await }),
        ("4 KiB of claims", NewSession { claims: every_byte.repeat(16), ..plain("c").await }),
        (
            "large numbers",
            NewSession { claims: b"{\"n\":9007199254740993,\"l\":[]}".to_vec(), ..plain("d").await },
        ),
        ("no scopes", NewSession { scopes: Vec::new(), ..plain("e").await }),
        ("quotes in scopes", NewSession { scopes: vec!["a'b".into(), "\"c\\".into()], ..plain("f").await }),
        ("no OAuth client", NewSession { client_id: None, ..plain("g").await }),
        ("no authentication context", NewSession { acr: None, ..plain("n").await }),
        ("no key", NewSession { key: None, ..plain("k").await }),
        ("an empty OAuth client", NewSession { client_id: Some(String::new()), ..plain("h").await }),
        ("no device", NewSession { client: ClientInfo::default(), ..plain("i").await }),
        (
            "an IPv6 address",
            NewSession { client: ClientInfo::default().with_address(v6), ..plain("j").await },
        ),
        ("a long subject", NewSession { subject: "é".repeat(127) + "!", ..plain("k").await }),
        ("a subject like a pattern", NewSession { subject: "{a}:*?%'\n".into(), ..plain("l").await }),
        (
            "a time before the epoch",
            NewSession { authenticated_at: Timestamp::from_unix_millis(-1), ..plain("m").await },
        ),
    ] {
        let record = created(bench.store.create(&session, &policy()).await.unwrap());
        assert_eq!(record, Record::open(&session, &policy(), record.facts.created_at), "{name}");
        assert_eq!(bench.record(&session).await, Some(record), "{name}");
    }
}

pub async fn a_repeated_create_makes_one_session<S: SessionStore, C: ShiftTime>(bench: &Bench<S, C>) {
    let session = new_session(&subject("ada"), bench.now().await);
    let first = bench.store.create(&session, &policy()).await.unwrap();
    bench.clock.advance(MINUTE);
    assert_eq!(bench.store.create(&session, &policy()).await.unwrap(), first);
    assert_eq!(bench.list(&session.subject).await, [created(first)]);

    let stranger = NewSession { secret_digest: SecretDigest::from_bytes([1; 32]), ..session.clone() };
    let taken = bench.store.create(&stranger, &policy()).await.unwrap();
    assert_eq!(taken, Creation::RevokedMeanwhile, "the same id with another secret");
    assert_eq!(bench.list(&session.subject).await.len(), 1);

    // At the cap it must not take itself, or another session, for one too many.
    let other = bench.open(&session.subject).await;
    let full = policy().with_sessions_per_subject(2);
    let Creation::Created { evicted, .. } = bench.store.create(&session, &full).await.unwrap() else {
        panic!("a resend is refused");
    };
    assert!(evicted.is_empty() && bench.is_alive(&session).await && bench.is_alive(&other).await);
}

pub async fn a_session_id_is_looked_up_under_its_subject_only<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let (ada, bob) = (bench.open(&subject("ada")).await, bench.open(&subject("bob")).await);
    let confused = NewSession { subject: bob.subject.clone(), ..ada.clone() };
    assert_eq!(bench.record(&confused).await, None);
    assert!(!bench.revoke(&confused, None).await);
    assert_unknown(&bench.rotate(&present(&confused, 0), &policy()).await);
    assert!(bench.is_alive(&ada).await && bench.is_alive(&bob).await);
}

pub async fn the_list_has_the_live_sessions_the_latest_first<S: SessionStore, C: ShiftTime>(
    bench: &Bench<S, C>,
) {
    let name = subject("ada");
    assert_eq!(bench.list(&name).await, []);
    let short = policy().with_idle_lifetime(HOUR);
    let expiring = new_session(&name, bench.now().await);
    created(bench.store.create(&expiring, &short).await.unwrap());
    let mut sessions = Vec::new();
    for _ in 0..3 {
        bench.clock.advance(MINUTE);
        sessions.push(bench.open(&name).await.session_id);
    }
    let ids =
        async || bench.list(&name).await.iter().map(|record| record.facts.session_id).collect::<Vec<_>>();
    sessions.reverse();
    assert_eq!(ids().await, [&sessions[..], &[expiring.session_id]].concat());

    bench.clock.advance(HOUR);
    assert_eq!(ids().await, sessions);
    assert!(bench.is_alive(&expiring).await, "`get` gives expired sessions too");
}
