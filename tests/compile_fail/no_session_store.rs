use tower_jwt_auth::{AuthService, NoClaims, NoLogin, RefreshKeys, TokenConfig};

struct Sessions;

fn service(config: &TokenConfig, keys: RefreshKeys) {
    let _ = AuthService::builder(config, keys, Sessions, NoLogin::<NoClaims>::new());
}

fn main() {}
