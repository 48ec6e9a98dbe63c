//! The few questions asked of a URL: is it https, or on this machine.

/// Scheme and authority of an absolute http(s) URL, and what follows. `None` for anything else, user names included.
pub(crate) fn split(url: &str) -> Option<(Scheme, &str, &str)> {
    let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (Scheme::Https, rest)
    } else {
        (Scheme::Http, url.strip_prefix("http://")?)
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = host(authority)?;
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    (!host.is_empty() && url.bytes().all(|byte| byte.is_ascii_graphic()) && authority.bytes().all(allowed))
        .then_some((scheme, authority, tail))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// The host of an authority, without its port; `None` if the port is no number.
pub(crate) fn host(authority: &str) -> Option<&str> {
    // An IPv6 address keeps its brackets; colons inside them are no port.
    let after_address = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_address..].split_once(':') {
        // Nothing but a port stands behind an address.
        Some((before, _)) if after_address > 0 && !before.is_empty() => None,
        None if after_address > 0 && after_address < authority.len() => None,
        None => Some(authority),
        Some((before, port)) => {
            port.parse::<u16>().ok()?;
            Some(&authority[..after_address + before.len()])
        }
    }
}

/// Whether the host names this machine: `localhost`, a name below it, or a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Whether what is sent to this URL cannot be read on the way.
pub(crate) fn is_https_or_loopback(url: &str) -> bool {
    match split(url) {
        Some((Scheme::Https, ..)) => true,
        Some((Scheme::Http, authority, _)) => host(authority).is_some_and(is_loopback),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_pass() {
        for (url, expected) in [
            ("https://app.example", true),
            ("https://app.example:8443/tenant/1", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1", true),
            ("http://127.9.9.9:1/x", true),
            ("http://[::1]:3000", true),
            ("http://dev.localhost", true),
            ("http://app.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://localhost@evil.example", false),
            ("https://user@app.example", false),
            ("https://", false),
            ("https://:443", false),
            ("https://app.example:port", false),
            ("https://app example", false),
            ("HTTPS://app.example", false),
            ("app.example", false),
            ("", false),
        ] {
            assert_eq!(is_https_or_loopback(url), expected, "{url}");
        }
    }
}
