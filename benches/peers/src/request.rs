//! A request as a browser sends it, the service that answers it, and the proof that a case does what its name says.

use std::convert::Infallible;
use std::fmt::Debug;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Extensions, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Service, service_fn};

use crate::alternate::Case;
use crate::tokens::{EMAIL, SUBJECT, Tokens};

pub type Sent = Request<Full<Bytes>>;

/// Subject and e-mail address, as the inner service finds them.
pub type Who = (String, String);

static WATCHING: AtomicBool = AtomicBool::new(false);
static SEEN: Mutex<Vec<Option<Who>>> = Mutex::new(Vec::new());

pub fn prepared(authorization: Option<&str>) -> Sent {
    let mut request = Request::get("https://api.analytical.example/orders?page=2");
    for (name, value) in [
        ("host", "api.analytical.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
        ("accept", "application/json"),
        ("accept-language", "en-GB,en;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://app.analytical.example/"),
        ("origin", "https://app.analytical.example"),
        ("sec-fetch-site", "same-site"),
    ] {
        request = request.header(name, value);
    }
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.body(Full::default()).unwrap()
}

/// What every inner service answers. `who` is asked only while a case is being proved.
pub fn answer<B: From<&'static str>>(who: impl FnOnce() -> Option<Who>) -> Response<B> {
    if WATCHING.load(Ordering::Relaxed) {
        SEEN.lock().unwrap().push(who());
    }
    let mut response = Response::new(B::from(r#"{"orders":[]}"#));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The inner service, which finds the claims where the layer around it leaves them.
pub fn inner<B: From<&'static str>>(
    who: fn(&Extensions) -> Option<Who>,
) -> impl Service<Sent, Response = Response<B>, Error = Infallible> + Clone {
    service_fn(move |request: Sent| async move {
        let request = black_box(request);
        Ok::<_, Infallible>(answer(|| who(request.extensions())))
    })
}

/// For an inner service without a layer.
pub fn nobody(_: &Extensions) -> Option<Who> {
    None
}

/// Polls to the end what never has to wait for anything outside.
pub fn complete<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// The answer to one request.
pub fn drive<S: Service<Sent, Error: Debug>>(service: &mut S, request: Sent) -> S::Response {
    complete(std::future::poll_fn(|cx| service.poll_ready(cx))).unwrap();
    complete(service.call(request)).unwrap()
}

/// The answer, and whom the inner service saw each time that it was reached.
fn watch<S, B>(service: &mut S, authorization: Option<&str>) -> (StatusCode, Vec<Option<Who>>)
where
    S: Service<Sent, Response = Response<B>, Error: Debug>,
{
    WATCHING.store(true, Ordering::Relaxed);
    let response = drive(service, prepared(authorization));
    WATCHING.store(false, Ordering::Relaxed);
    (response.status(), std::mem::take(&mut *SEEN.lock().unwrap()))
}

/// Builds the cases of one algorithm.
pub struct Cases<'t> {
    pub tokens: &'t Tokens,
    pub made: Vec<Case>,
}

impl Cases<'_> {
    /// No authentication: the request arrives, and nobody is known.
    pub fn bare<S, B>(&mut self, name: &str, mut service: S)
    where
        S: Service<Sent, Response = Response<B>, Error: Debug> + 'static,
    {
        let good = bearer(&self.tokens.good);
        assert_eq!(watch(&mut service, Some(&good)), (StatusCode::OK, vec![None]), "{name}");
        self.add(name, service, Some(&good));
    }

    /// The good token is accepted and its claims arrive; no token and wrong ones are refused.
    pub fn accepted<S, B>(&mut self, name: &str, mut service: S)
    where
        S: Service<Sent, Response = Response<B>, Error: Debug> + 'static,
    {
        let good = bearer(&self.tokens.good);
        let ada = Some((SUBJECT.to_owned(), EMAIL.to_owned()));
        assert_eq!(watch(&mut service, Some(&good)), (StatusCode::OK, vec![ada]), "{name}");
        assert_refused(name, &mut service, None);
        for wrong in &self.tokens.wrong {
            assert_refused(name, &mut service, Some(&bearer(wrong)));
        }
        self.add(name, service, Some(&good));
    }

    pub fn refused<S, B>(&mut self, name: &str, mut service: S, authorization: Option<&str>)
    where
        S: Service<Sent, Response = Response<B>, Error: Debug> + 'static,
    {
        assert_refused(name, &mut service, authorization);
        self.add(name, service, authorization);
    }

    /// An operation that is no request.
    pub fn plain(&mut self, name: &str, operation: impl FnMut() + 'static) {
        self.made.push(Case::new(case_name(self.tokens.algorithm.as_str(), name), operation));
    }

    fn add<S, B>(&mut self, name: &str, mut service: S, authorization: Option<&str>)
    where
        S: Service<Sent, Response = Response<B>, Error: Debug> + 'static,
    {
        let request = prepared(authorization);
        self.plain(name, move || drop(black_box(drive(&mut service, request.clone()))));
    }
}

/// What tells the cases of all algorithms apart.
pub fn case_name(algorithm: &str, name: &str) -> String {
    format!("{algorithm}/{name}")
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn assert_refused<S, B>(name: &str, service: &mut S, authorization: Option<&str>)
where
    S: Service<Sent, Response = Response<B>, Error: Debug>,
{
    let (status, seen) = watch(service, authorization);
    let refused = status == StatusCode::UNAUTHORIZED || status == StatusCode::BAD_REQUEST;
    assert!(refused && seen.is_empty(), "{name}: {status}, {seen:?}, for {authorization:?}");
}
