use tower_jwt_auth::TokenConfig;

fn main() {
    let _ = TokenConfig::builder().issuer("https://app.example").audience("api").build();
}
