//! The whole crate in one small application: axum, a page to try it with, and a store, by default in memory.
//!
//! ```text
//! cargo run --example demo
//! STORE=redis://127.0.0.1:6380/ cargo run --example demo --features redis
//! STORE=postgres://app@127.0.0.1:5433/app cargo run --example demo --features postgres
//! ```
//!
//! Sign in as `ada@example.com` / `correct horse` or `bob@example.com` / `battery staple`. Everything has a default;
//! [`settings`] lists the environment variables that change it.

mod accounts;
mod app;
mod pages;
mod settings;
mod stores;
mod theft;
mod timeline;

use std::error::Error;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::settings::Settings;
use crate::stores::Store;

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("demo: {error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let settings = Settings::from_env()?;
    let listener = TcpListener::bind(settings.address).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another with ADDR", settings.address)
    })?;
    let address = listener.local_addr()?;
    // The page is opened under either name; whoever serves another address names that one, too.
    let mut origins =
        vec![format!("http://localhost:{}", address.port()), format!("http://127.0.0.1:{}", address.port())];
    if !address.ip().is_loopback() && !address.ip().is_unspecified() {
        origins.push(format!("http://{address}"));
    }
    let (store, _purge) = stores::open(settings.store.as_deref()).await?;
    let app = match store {
        Store::Moka(store) => app::router(&settings, &origins, store)?,
        #[cfg(feature = "redis")]
        Store::Redis(store) => app::router(&settings, &origins, store)?,
        #[cfg(feature = "postgres")]
        Store::Postgres(store) => app::router(&settings, &origins, store)?,
    };

    println!("listening on http://{address}");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}
