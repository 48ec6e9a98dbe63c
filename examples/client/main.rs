//! A small terminal client of the demo that keeps a session over days: the tokens are in a file that only its owner can
//! read, and each command goes on with them.
//!
//! ```text
//! cargo run --example demo
//! cargo run --example client -- login ada@example.com     (the password is read from the standard input)
//! cargo run --example client -- me
//! cargo run --example client -- sessions
//! cargo run --example client -- watch                     (refreshes until it is interrupted)
//! cargo run --example client -- logout
//! ```
//!
//! `BASE_URL` is the site, `http://127.0.0.1:3000` by default; `SESSION_FILE` the file,
//! `~/.local/state/tower-jwt-auth/session.json` by default.

mod file_storage;

use std::env;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt};
use tower_jwt_auth::client::{ClientErrorKind, Event, Session, SessionLayer};

use crate::file_storage::FileStorage;

type Http = Client<HttpConnector, Full<Bytes>>;
type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: client login EMAIL | me | sessions | watch | logout | logout-everywhere";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("client: {}", whole(&*error));
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Failure> {
    let base = env::var("BASE_URL").unwrap_or_else(|_| "http://127.0.0.1:3000".to_owned());
    // Plain http, to this machine. For https: a connector of hyper-rustls, or reqwest through `ReqwestService`.
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let session = Session::builder(&format!("{base}/auth"), FileStorage::new(session_file()?), http.clone())
        .user_agent(concat!("tower-jwt-auth-example/", env!("CARGO_PKG_VERSION")))
        .build()?;

    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["login", email] => {
            let password = read_password()?;
            session.login(&json!({ "email": email, "password": password })).await?;
            println!("signed in as {email}");
        }
        ["me"] => println!("{:#}", get(&session, http, &format!("{base}/api/me")).await?),
        ["sessions"] => println!("{:#}", get(&session, http, &format!("{base}/auth/sessions")).await?),
        ["watch"] => watch(&session).await?,
        ["logout"] => {
            session.logout().await?;
            println!("signed out");
        }
        ["logout-everywhere"] => {
            session.logout_everywhere().await?;
            println!("signed out everywhere");
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// A request with the session's access token: fresh, or refreshed on the way.
async fn get(session: &Session, http: Http, url: &str) -> Result<Value, Failure> {
    let client = ServiceBuilder::new().layer(SessionLayer::new(session.clone())).service(http);
    let response = client.oneshot(Request::get(url).body(Full::default())?).await?;
    match response.status() {
        StatusCode::OK => Ok(serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?),
        StatusCode::UNAUTHORIZED => Err("nobody is signed in: `client login EMAIL`".into()),
        status => Err(format!("{url} answered {status}").into()),
    }
}

/// Keeps the session alive, and says what happens to it.
async fn watch(session: &Session) -> Result<(), Failure> {
    if !session.is_signed_in().await? {
        return Err("nobody is signed in: `client login EMAIL`".into());
    }
    let mut events = session.events();
    let keep_alive = session.keep_alive();
    tokio::pin!(keep_alive);
    println!("watching");
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut keep_alive => None,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        match event {
            Some(Event::Refreshed) => println!("refreshed"),
            Some(Event::RefreshFailed(error)) if error.kind() == ClientErrorKind::Unavailable => {
                println!("no answer, it is tried again: {}", whole(&error));
            }
            Some(Event::RefreshFailed(error) | Event::StorageFailed(error)) => {
                println!("trouble: {}", whole(&error));
            }
            Some(Event::Expired) => return Err("the session has ended: `client login EMAIL`".into()),
            Some(Event::SignedOut) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

/// An error with what is behind it. None of it holds a token.
fn whole(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// One line of the standard input. A client for people would turn the echo off.
fn read_password() -> io::Result<String> {
    eprint!("password: ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn session_file() -> Result<PathBuf, Failure> {
    if let Some(file) = env::var_os("SESSION_FILE") {
        return Ok(file.into());
    }
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = match state {
        Some(state) => state,
        None => {
            env::home_dir().ok_or("no home directory: name a file with SESSION_FILE")?.join(".local/state")
        }
    };
    Ok(state.join("tower-jwt-auth/session.json"))
}
