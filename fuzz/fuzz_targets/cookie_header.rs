//! `Cookie` headers of `POST /auth/refresh`, one a line. The byte 1 stands for the name of the cookie, 2 for Ada's good
//! token, 3 for Bob's. One session's token: 200; none: 401; both: 400; more than 64 KiB: 431. A refusal sets and clears
//! no cookie.
#![no_main]

use std::cell::RefCell;

use http::header::{CACHE_CONTROL, COOKIE, ORIGIN, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request};
use http_body_util::Full;
use libfuzzer_sys::{Corpus, fuzz_target};
use tower_jwt_auth_fuzz::oracles::{sessions_of_cookies, status_of_sessions};
use tower_jwt_auth_fuzz::{COOKIE as NAME, World};

struct Users {
    world: World,
    /// Good tokens of Ada and Bob.
    good: [String; 2],
}

/// Longer headers are refused unread.
const MAX_HEADER_BYTES: usize = 64 * 1024;

const SUBJECTS: [&str; 2] = ["ada", "bob"];

thread_local!(static USERS: RefCell<Users> = RefCell::new({
    let world = World::new();
    let good = SUBJECTS.map(|subject| world.open(subject));
    let mut users = Users { world, good };
    let good = HeaderValue::from_str(&format!("{NAME}={}", users.good[0])).expect("ASCII");
    assert_eq!(users.send(&[good]), 200);
    users
}));

impl Users {
    fn send(&mut self, cookies: &[HeaderValue]) -> u16 {
        let mut request = Request::post("/auth/refresh").body(Full::default()).expect("a request");
        request.headers_mut().insert(ORIGIN, HeaderValue::from_static("https://app.example"));
        for cookie in cookies {
            request.headers_mut().append(COOKIE, cookie.clone());
        }
        let answer = self.world.answer(request);
        let (status, headers) = (answer.status().as_u16(), answer.headers());
        assert_eq!(headers.contains_key(SET_COOKIE), status == 200, "{status}");
        assert_eq!(headers.contains_key(WWW_AUTHENTICATE), status == 401, "{status}");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        if status == 200 {
            // Begin again: what a token that was used gets is not what is looked for here.
            for (subject, good) in SUBJECTS.iter().zip(&mut self.good) {
                self.world.end(good);
                *good = self.world.open(subject);
            }
        }
        for subject in SUBJECTS {
            assert_eq!(self.world.count(subject), 1, "{subject}");
        }
        status
    }
}

fuzz_target!(|data: &[u8]| -> Corpus {
    USERS.with_borrow_mut(|users| {
        let mut cookies = Vec::new();
        for line in data.split(|byte| *byte == b'\n') {
            let mut bytes = Vec::new();
            for byte in line {
                match byte {
                    1 => bytes.extend_from_slice(NAME.as_bytes()),
                    2 => bytes.extend_from_slice(users.good[0].as_bytes()),
                    3 => bytes.extend_from_slice(users.good[1].as_bytes()),
                    byte => bytes.push(*byte),
                }
            }
            match HeaderValue::from_bytes(&bytes) {
                Ok(cookie) => cookies.push(cookie),
                Err(_) => return Corpus::Reject,
            }
        }
        let expected = match cookies.iter().map(HeaderValue::len).sum() {
            0..=MAX_HEADER_BYTES => status_of_sessions(&sessions_of_cookies(&cookies, NAME, &users.good)),
            _ => 431,
        };
        assert_eq!(users.send(&cookies), expected);
        Corpus::Keep
    })
});
