//! [`ClientInfo`]: what a session list shows of the device behind a session.

use std::net::IpAddr;

/// The device that opened a session, as far as it is known. Kept with the session and shown in session lists; nothing
/// is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The `User-Agent` header, cut after 256 bytes.
    pub user_agent: Option<String>,
    /// The address of the connection.
    pub address: Option<IpAddr>,
    /// A name that the application gives, such as "Ada's phone".
    pub label: Option<String>,
}

impl ClientInfo {
    /// Longer user agents are cut.
    pub const MAX_USER_AGENT_BYTES: usize = 256;

    /// Replaces the user agent.
    #[must_use]
    pub fn with_user_agent(mut self, user_agent: impl Into<String>) -> Self {
        let mut text = user_agent.into();
        let mut end = text.len().min(Self::MAX_USER_AGENT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        self.user_agent = Some(text);
        self
    }

    /// Replaces the address.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Replaces the label.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_user_agents_are_cut_between_characters() {
        let info = ClientInfo::default().with_user_agent("é".repeat(200));
        assert_eq!(info.user_agent.unwrap().len(), 256);
        let info = ClientInfo::default().with_user_agent(format!("x{}", "é".repeat(200)));
        assert_eq!(info.user_agent.unwrap().len(), 255);
    }

    #[test]
    fn each_part_is_replaced_alone() {
        let address = IpAddr::from([192, 0, 2, 7]);
        let info = ClientInfo::default().with_user_agent("curl").with_label("phone").with_address(address);
        let parts = (info.user_agent.as_deref(), info.label.as_deref(), info.address);
        assert_eq!(parts, (Some("curl"), Some("phone"), Some(address)));
        let other = info.with_label("laptop");
        assert_eq!((other.label.as_deref(), other.address), (Some("laptop"), Some(address)));
    }
}
