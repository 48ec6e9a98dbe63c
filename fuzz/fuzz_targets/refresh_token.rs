//! Refresh tokens, in three ways by the first byte: `t`, the text as it is; `e`, edits of the text of a good one; `b`,
//! edits of its bytes, written as canonical base64url again. A changed one is refused, and ends no session.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzz_target};
use tower_jwt_auth::SessionErrorKind;
use tower_jwt_auth_fuzz::oracles::edited;
use tower_jwt_auth_fuzz::{SUBJECT, World, base64url, from_base64url};

struct Session {
    world: World,
    good: String,
}

thread_local!(static SESSION: RefCell<Session> = RefCell::new({
    let world = World::new();
    let first = world.open(SUBJECT);
    let granted = world.runtime.block_on(world.sessions.refresh(&first)).expect("the good token is good");
    let good = granted.refresh_token().to_owned();
    Session { good, world }
}));

fuzz_target!(|data: &[u8]| -> Corpus {
    SESSION.with_borrow_mut(|session| {
        let Session { world, good } = session;
        let bytes = match data.split_first() {
            Some((b't', text)) => text.to_vec(),
            Some((b'e', script)) => edited(good.as_bytes(), script),
            Some((b'b', script)) => base64url(&edited(&from_base64url(good), script)).into_bytes(),
            _ => return Corpus::Reject,
        };
        let Ok(text) = std::str::from_utf8(&bytes) else { return Corpus::Reject };
        let refreshed = world.runtime.block_on(world.sessions.refresh(text));
        if text == good {
            let granted = refreshed.expect("the good token is good");
            assert_ne!(granted.refresh_token(), good);
            *good = granted.refresh_token().to_owned();
        } else {
            assert_eq!(refreshed.expect_err("a changed token").kind(), SessionErrorKind::Refused);
            let ended = world.runtime.block_on(world.sessions.end_by_token(text));
            assert!(!ended.expect("the store answers"), "a changed token ended a session");
        }
        assert_eq!(world.count(SUBJECT), 1);
        Corpus::Keep
    })
});
