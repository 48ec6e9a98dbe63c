use tower_jwt_auth::{JwtAuthLayer, TokenConfig};

struct User {
    email: String,
}

fn layer(config: &TokenConfig) -> JwtAuthLayer<User> {
    JwtAuthLayer::new(config.verifier::<User>())
}

fn main() {}
