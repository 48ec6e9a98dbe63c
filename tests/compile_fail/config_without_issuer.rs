use tower_jwt_auth::{SigningKey, TokenConfig};

fn main() {
    let key = SigningKey::hs256([7; 32]).unwrap();
    let _ = TokenConfig::builder().key(key).audience("api").build();
}
