use serde::Deserialize;
use tower_jwt_auth::{AccessGrant, AccessToken, Issuer, TokenError};

#[derive(Deserialize)]
struct User {
    email: String,
}

fn token(issuer: &Issuer, user: &User) -> Result<AccessToken, TokenError> {
    issuer.issue(&AccessGrant::new("user-1"), user)
}

fn main() {}
