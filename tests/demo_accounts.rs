//! The demo's login: an unknown user costs one hash, as a wrong password does.

#[path = "../examples/demo/accounts.rs"]
mod accounts;

use accounts::{Accounts, PasswordLogin};
use tower_jwt_auth::{Authenticator, AuthnError, ClientInfo};

#[tokio::test]
async fn b2_unknown_users_and_wrong_passwords_cost_one_hash_each() {
    let accounts = Accounts::new().unwrap();
    for (name, email, password, expected) in [
        ("good", "ada@example.com", "correct horse", Some("user-ada")),
        ("wrong password", "ada@example.com", "battery staple", None),
        ("unknown user", "eve@example.com", "correct horse", None),
        ("the stand-in's own password", "nobody", "nobody's password", None),
        ("empty", "", "", None),
    ] {
        let before = accounts.hashes();
        let login = PasswordLogin { email: email.to_owned(), password: password.to_owned() };
        let outcome = accounts.authenticate(login, &ClientInfo::default()).await;
        assert_eq!(accounts.hashes(), before + 1, "{name}");
        match expected {
            Some(_) => assert_eq!(outcome.unwrap().subject(), expected.unwrap(), "{name}"),
            None => assert!(matches!(outcome, Err(AuthnError::Refused)), "{name}"),
        }
    }
}
