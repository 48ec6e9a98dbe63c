use serde::Deserialize;
use tower_jwt_auth::{Authenticator, AuthnError, ClientInfo, Identity};

#[derive(Deserialize)]
struct User {
    email: String,
}

struct Accounts;

impl Authenticator for Accounts {
    type Credentials = String;
    type Claims = User;

    async fn authenticate(&self, email: String, _: &ClientInfo) -> Result<Identity<User>, AuthnError> {
        Ok(Identity::new("user-1", User { email }))
    }
}

fn main() {}
