//! Redis: our script, a script that only reads and writes one field, and the usual four commands.

use redis::{Script, cmd};
use tower_jwt_auth::test_util::{created, new_session, present};
use tower_jwt_auth::{Decision, NewSession, ReconnectingConnection, RedisStore, SessionStore};

use crate::engines::redis::Redis;
use crate::load::{self, middle, ratio};
use crate::{CALLERS, policy};

pub(crate) async fn rotations() {
    let server = Redis::start();
    let connection = ReconnectingConnection::open(&server.url()).unwrap();
    let store = RedisStore::builder(connection.clone()).build().unwrap();
    println!("Redis, in memory, one connection for all callers");
    for callers in CALLERS {
        let (mut ours, mut floor, mut usual) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            ours.push(rotate(&store, callers).await);
            floor.push(read_and_write(&store, &connection, callers).await);
            usual.push(four_commands(&connection, callers).await);
        }
        let (ours, floor, usual) = (middle(ours), middle(floor), middle(usual));
        ours.print("RedisStore::rotate", callers);
        floor.print("one field read and written", callers);
        usual.print("SISMEMBER, SREM, SADD, EXPIRE", callers);
        ratio("to the floor", &ours, &floor);
        ratio("to the four commands", &ours, &usual);
    }
}

async fn sessions(store: &RedisStore, count: usize) -> Vec<NewSession> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let subject = format!("user-{}", tower_jwt_auth::test_util::unique());
        let session = new_session(&subject, store.now().await.unwrap());
        created(store.create(&session, &policy()).await.unwrap());
        sessions.push(session);
    }
    sessions
}

async fn rotate(store: &RedisStore, callers: usize) -> load::Measured {
    let states = sessions(store, callers).await.into_iter().map(|session| (store.clone(), session, 0));
    load::run(states.collect(), |(store, session, generation)| async move {
        let rotation = store.rotate(&present(&session, generation), &policy()).await.unwrap();
        assert!(matches!(rotation.decision, Decision::Rotated(_)), "{rotation:?}");
        (store, session, generation + 1)
    })
    .await
}

/// On the same data.
async fn read_and_write(
    store: &RedisStore,
    connection: &ReconnectingConnection,
    callers: usize,
) -> load::Measured {
    const BARE: &str = "local v = redis.call('HGET', KEYS[1], ARGV[1])
        redis.call('HSET', KEYS[1], ARGV[1], v)
        return v";
    let script = std::sync::Arc::new(Script::new(BARE));
    let mut states = Vec::new();
    for session in sessions(store, callers).await {
        let digest = tower_jwt_auth::SubjectDigest::of(&session.subject);
        let key = format!("jwt-sessions:{}", base64url(digest.as_bytes()));
        let field = [b"s", &session.session_id.as_bytes()[..]].concat();
        states.push((connection.clone(), std::sync::Arc::clone(&script), key, field));
    }
    load::run(states, |(mut connection, script, key, field)| async move {
        let value: Option<Vec<u8>> =
            script.key(&key).arg(&field[..]).invoke_async(&mut connection).await.unwrap();
        assert!(value.is_some());
        (connection, script, key, field)
    })
    .await
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// A set of token ids for each user: is it there, remove it, add the next, keep the set alive.
async fn four_commands(connection: &ReconnectingConnection, callers: usize) -> load::Measured {
    let mut states = Vec::new();
    for _ in 0..callers {
        let key = format!("tokens:{}", tower_jwt_auth::test_util::unique());
        let mut connection = connection.clone();
        let _: u32 = cmd("SADD").arg(&key).arg(token(0)).query_async(&mut connection).await.unwrap();
        states.push((connection, key, 0));
    }
    load::run(states, |(mut connection, key, number)| async move {
        let is_there: bool =
            cmd("SISMEMBER").arg(&key).arg(token(number)).query_async(&mut connection).await.unwrap();
        assert!(is_there);
        let _: u32 = cmd("SREM").arg(&key).arg(token(number)).query_async(&mut connection).await.unwrap();
        let _: u32 = cmd("SADD").arg(&key).arg(token(number + 1)).query_async(&mut connection).await.unwrap();
        let _: bool = cmd("EXPIRE").arg(&key).arg(604_800).query_async(&mut connection).await.unwrap();
        (connection, key, number + 1)
    })
    .await
}

/// As long as an id of 32 random bytes.
fn token(number: u64) -> String {
    format!("{number:043}")
}
