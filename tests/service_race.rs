//! Requests that race each other: R2 and R5 of the corpus of bad inputs, on several threads.

#![cfg(feature = "moka")]
// In helpers too: a test that cannot go on should stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;
use tower_jwt_auth::{Retry, SessionPolicy};

use crate::support::SECOND;
use crate::support::service::{Answer, HOLD, RETRY, World, bare, credentials, post, strict};

const TOGETHER: usize = 100;

async fn refresh_together(world: &Arc<World>, token: &str) -> Vec<Answer> {
    let mut tasks = JoinSet::new();
    let start = Arc::new(tokio::sync::Barrier::new(TOGETHER));
    for _ in 0..TOGETHER {
        let (world, token, start) = (Arc::clone(world), token.to_owned(), Arc::clone(&start));
        tasks.spawn(async move {
            start.wait().await;
            world.refresh(&token).await
        });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r2_and_row_82_a_token_that_is_due_rotates_once() {
    let world = Arc::new(World::new());
    let token = world.login("ada").await.refresh();
    world.clock.advance(HOLD);
    let answers = refresh_together(&world, &token).await;
    let successor = answers[0].refresh();
    assert!(answers.iter().all(|answer| answer.refresh() == successor && answer.claims()["gen"] == 1));
    assert_eq!(world.generation("ada").await, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r2_and_row_82_a_fresh_token_does_not_rotate() {
    let world = Arc::new(World::new());
    let token = world.login("ada").await.refresh();
    let answers = refresh_together(&world, &token).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.set_cookies().is_empty()));
    assert_eq!(world.generation("ada").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r2_and_row_82_strict_lets_one_through() {
    for policy in
        [strict(), strict().with_retry(Retry::Within { retry: Duration::ZERO, hold: Duration::ZERO })]
    {
        let world = Arc::new(World::with(|builder| builder.policy(policy)));
        let token = world.login("ada").await.refresh();
        let answers = refresh_together(&world, &token).await;
        let granted: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(granted.len(), 1);
        assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 401)));
        // The others are two parties with one token: the session has ended.
        world.refresh(&granted[0].refresh()).await.refused(401, "invalid_grant");
        assert_eq!(world.generation("ada").await, None);
    }
}

/// Sessions that are refreshed without a pause while they are ended. Once that call has returned no token of them is
/// good, neither for a refresh nor as a bearer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r5_no_refresh_succeeds_once_the_session_has_ended() {
    const ROUNDS: usize = 100;
    for (name, sessions) in [("logout", 1), ("delete", 1), ("all", 3), ("code", 3)] {
        let mut rotations = 0;
        for round in 0..ROUNDS {
            // Every refresh rotates, and its predecessor is answered for a while.
            let retry = Retry::Within { retry: RETRY, hold: Duration::ZERO };
            let policy = SessionPolicy::default().with_retry(retry);
            let world = Arc::new(World::with(|builder| builder.policy(policy)));
            let mut tasks = JoinSet::new();
            let mut login = world.login("ada").await;
            for _ in 0..sessions {
                tasks.spawn(refresh_until_refused(Arc::clone(&world), login.clone()));
                if tasks.len() < sessions {
                    login = world.login("ada").await;
                }
            }
            // The end comes at another moment in each round.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            let id = login.claims()["sid"].as_str().unwrap().to_owned();
            match name {
                "logout" => world.send(post("/auth/logout").cookie(&login.refresh())).await.expect(204),
                "delete" => {
                    let path = format!("/auth/sessions/{id}");
                    world.send(bare(Method::DELETE, &path).bearer(&login.access())).await.expect(204)
                }
                "all" => world.send(post("/auth/logout/all").bearer(&login.access())).await.expect(204),
                _ => {
                    assert_eq!(world.auth.sessions().end_all("ada", None).await.unwrap(), 3);
                    login.clone()
                }
            };
            world.refresh(&login.refresh()).await.refused(401, "invalid_grant");
            assert!(world.records("ada").await.is_empty(), "{name}, round {round}");
            for answers in tasks.join_all().await {
                rotations += answers.len() - 1;
                for answer in answers.iter().rev().take(3) {
                    world.refresh(&answer.refresh()).await.refused(401, "invalid_grant");
                    let list = bare(Method::GET, "/auth/sessions").bearer(&answer.access());
                    world.send(list).await.refused(401, "invalid_token");
                }
            }
            assert!(world.records("ada").await.is_empty(), "{name}, round {round}");
        }
        assert!(rotations > ROUNDS, "{name}: {rotations} rotations raced the end of their session");
    }
}

/// Every answer of a session, up to the refusal.
async fn refresh_until_refused(world: Arc<World>, login: Answer) -> Vec<Answer> {
    let mut answers = vec![login];
    loop {
        let answer = world.refresh(&answers.last().unwrap().refresh()).await;
        if answer.status != 200 {
            answer.refused(401, "invalid_grant");
            return answers;
        }
        answers.push(answer);
    }
}

/// A password is changed, and the sessions are ended, while a login with the old password is under way.
#[tokio::test]
async fn r5_a_login_that_raced_with_the_end_of_all_sessions_loses() {
    let world = Arc::new(World::new());
    let other = world.login("ada").await;
    let gate = world.accounts.hold();
    let login = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.send(post("/auth/login").json(&credentials("ada"))).await }
    });
    gate.reached().await;
    world.clock.advance(SECOND);
    world.send(post("/auth/logout/all").cookie(&other.refresh())).await.expect(204);
    world.clock.advance(SECOND);
    gate.open();
    let answer = login.await.unwrap().refused(503, "unavailable");
    assert!(answer.set_cookies().is_empty());
    assert!(world.records("ada").await.is_empty());
    // One that began afterwards is as good as any, and so are others' logins.
    world.login("ada").await;
    world.login("bob").await;
}
