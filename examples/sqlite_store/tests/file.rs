//! What the contract does not know of: the file, its other writers, and calls that are dropped.

#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use sqlite_store::SqliteStore;
use tempfile::TempDir;
use tower_jwt_auth::test_util::{created, fresh_attempt, new_session, present};
use tower_jwt_auth::{
    Creation, Decision, NewSession, SessionPolicy, SessionStore, StoreErrorKind, SubjectDigest,
};

fn file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.sqlite");
    (directory, path)
}

async fn opened(store: &SqliteStore, subject: &str) -> NewSession {
    let session = new_session(subject, store.now().await.unwrap());
    created(store.create(&session, &SessionPolicy::default()).await.unwrap());
    session
}

async fn revoke_all(store: &SqliteStore, subject: &str, policy: &SessionPolicy) -> u64 {
    store.revoke_subject(&SubjectDigest::of(subject), None, policy, &fresh_attempt()).await.unwrap()
}

#[tokio::test]
async fn all_is_there_when_the_file_is_opened_again() {
    let ((_directory, path), policy) = (file(), SessionPolicy::default());
    let ada = SubjectDigest::of("ada");

    let store = SqliteStore::open(&path).unwrap();
    let (kept, ended) = (opened(&store, "ada").await, opened(&store, "ada").await);
    let records = store.list(&ada).await.unwrap();
    let logout = fresh_attempt();
    assert!(store.revoke(&ada, &ended.session_id, None, &logout).await.unwrap());
    let checked_before = new_session("bob", store.now().await.unwrap());
    revoke_all(&store, "bob", &policy).await;
    drop(store);

    let store = SqliteStore::open(&path).unwrap();
    let alive: Vec<_> =
        records.into_iter().filter(|record| record.facts.session_id == kept.session_id).collect();
    assert_eq!(store.list(&ada).await.unwrap(), alive);
    let rotation = store.rotate(&present(&kept, 0), &policy).await.unwrap();
    assert!(matches!(rotation.decision, Decision::Current(_)));
    assert!(store.revoke(&ada, &ended.session_id, None, &logout).await.unwrap(), "sent again");
    for refused in [&ended, &checked_before] {
        assert_eq!(store.create(refused, &policy).await.unwrap(), Creation::RevokedMeanwhile);
    }
}

#[tokio::test]
async fn a_login_after_the_end_of_all_sessions_is_welcome() {
    let (_directory, path) = file();
    let store = SqliteStore::open(path).unwrap();
    for ended in [0, 1, 1, 1, 1, 1, 1, 1] {
        assert_eq!(revoke_all(&store, "ada", &SessionPolicy::default()).await, ended);
        opened(&store, "ada").await;
    }
}

/// In whichever way a session has ended.
#[tokio::test]
async fn a_creation_sent_again_brings_no_session_back() {
    let ((_directory, path), one) = (file(), SessionPolicy::default().with_sessions_per_subject(1));
    let store = SqliteStore::open(path).unwrap();

    let made_room = opened(&store, "ada").await;
    let login = new_session("ada", store.now().await.unwrap());
    created(store.create(&login, &one).await.unwrap());

    let (sibling, reused) = (opened(&store, "bob").await, opened(&store, "bob").await);
    store.rotate(&present(&reused, 2), &one).await.unwrap();
    let reuse = store.rotate(&present(&reused, 0), &one).await.unwrap();
    assert_eq!(reuse.decision, Decision::Reused);

    for session in [&made_room, &sibling, &reused] {
        assert_eq!(store.create(session, &one).await.unwrap(), Creation::RevokedMeanwhile);
    }
    assert_eq!(store.list(&SubjectDigest::of("ada")).await.unwrap().len(), 1);
    assert!(store.list(&SubjectDigest::of("bob")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_call_that_is_dropped_happens_completely() {
    let (_directory, path) = file();
    let store = SqliteStore::open(path).unwrap();
    let (session, policy) = (new_session("ada", store.now().await.unwrap()), SessionPolicy::default());
    {
        let mut call = pin!(store.create(&session, &policy));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    while store.list(&SubjectDigest::of("ada")).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_lock_held_by_others_is_no_answer() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    let session = opened(&store, "ada").await;
    let (ada, logout) = (SubjectDigest::of("ada"), fresh_attempt());

    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.revoke(&ada, &session.session_id, None, &logout).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.list(&ada).await.unwrap().len(), 1, "and who only reads does not wait");

    other.execute_batch("COMMIT").unwrap();
    assert!(store.revoke(&ada, &session.session_id, None, &logout).await.unwrap());
}

#[tokio::test]
async fn what_others_wrote_is_an_error_and_not_an_unknown_session() {
    let ((_directory, path), policy) = (file(), SessionPolicy::default());
    let store = SqliteStore::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    for (name, damage) in [
        ("a short digest", "secret_digest = x'00'"),
        ("a generation too large", "generation = 1 << 32"),
        ("an address of no protocol", "address = 'here'"),
        ("scopes that are no list", "scopes = '{'"),
        ("an end of no kind", "ended_at = 0, ended_as = 'bored'"),
    ] {
        let session = opened(&store, name).await;
        let damaged = other.execute(&format!("UPDATE session SET {damage} WHERE subject = ?1"), [name]);
        assert_eq!(damaged.unwrap(), 1);
        let error = store.rotate(&present(&session, 0), &policy).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{name}");
    }

    let (_directory, path) = file();
    std::fs::write(&path, [b'x'; 4096]).unwrap();
    assert_eq!(SqliteStore::open(&path).unwrap_err().kind(), StoreErrorKind::Corrupt);
}

#[test]
fn many_can_make_the_file_at_once() {
    let (_directory, path) = file();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| SqliteStore::open(&path).unwrap());
        }
    });
}

#[tokio::test]
async fn nothing_is_shown_of_what_is_kept() {
    let (_directory, path) = file();
    let store = SqliteStore::open(path).unwrap();
    opened(&store, "ada").await;
    assert_eq!(format!("{store:?}"), "SqliteStore { .. }");
}
