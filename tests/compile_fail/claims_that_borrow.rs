use serde::Deserialize;
use tower_jwt_auth::{JwtAuthLayer, TokenConfig};

#[derive(Deserialize)]
struct User<'a> {
    email: &'a str,
}

fn layer(config: &TokenConfig) -> JwtAuthLayer<User<'static>> {
    JwtAuthLayer::new(config.verifier::<User<'static>>())
}

fn main() {}
