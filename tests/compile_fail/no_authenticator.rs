use tower_jwt_auth::{AuthService, RefreshKeys, SessionStore, TokenConfig};

struct Accounts;

fn service(config: &TokenConfig, keys: RefreshKeys, store: impl SessionStore) {
    let _ = AuthService::builder(config, keys, store, Accounts);
}

fn main() {}
