//! The statements with the names of the store's tables. They stand in the `.sql` files beside this one, with the
//! default names.

use std::fmt;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::secret::sha256;

/// Of the tables.
pub(super) const VERSION: i32 = 2;

pub(super) struct Statements {
    pub(super) sessions: String,
    pub(super) subjects: String,
    pub(super) revocations: String,
    pub(super) migrations: String,
    /// Where ends are told, by NOTIFY.
    pub(super) channel: String,
    /// The same for all who migrate the same tables.
    pub(super) migration_lock: i64,
    pub(super) schema: String,
    pub(super) version: String,
    pub(super) now: &'static str,
    pub(super) pages: &'static str,
    pub(super) lock_subject: String,
    pub(super) purge_subject: String,
    pub(super) create: String,
    pub(super) rotate_due: String,
    pub(super) rotate: String,
    pub(super) get: String,
    pub(super) list: String,
    pub(super) revoke: String,
    pub(super) revoke_all: String,
    pub(super) mark_used: String,
    pub(super) purge_sessions: String,
    pub(super) purge_subjects: String,
    pub(super) revoke_tokens: String,
    pub(super) not_before: String,
    pub(super) purge_revocations: String,
}

impl Statements {
    /// # Errors
    ///
    /// A name has another form than plain lower-case identifiers: nothing else is ever put into a statement.
    pub(super) fn new(schema: &str, prefix: &str, notifies: bool) -> Result<Self, ConfigError> {
        if !is_identifier(schema) || !(prefix.is_empty() || is_identifier(prefix)) {
            return Err(ConfigError::new(
                ConfigErrorKind::Store,
                "the schema and the prefix of the tables must be 1 to 48 of a-z, 0-9 and _, not beginning with a digit",
            ));
        }
        let table = |name: &str| format!("\"{schema}\".\"{prefix}{name}\"");
        let (sessions, subjects) = (table("sessions"), table("subjects"));
        let (revocations, migrations) = (table("revocations"), table("migrations"));
        // One for each set of tables, and never too long for a name.
        let digest = sha256(sessions.as_bytes());
        let channel =
            digest[..8].iter().fold("tower_jwt_auth_".to_owned(), |name, byte| format!("{name}{byte:02x}"));
        let named = |sql: &str| {
            // What would be told becomes a text that nobody reads.
            let sql = if notifies { sql.to_owned() } else { sql.replace("pg_notify(", "concat(") };
            sql.replace("tower_jwt_auth_ended", &channel)
                .replace("tower_jwt_auth.sessions", &sessions)
                .replace("tower_jwt_auth.subjects", &subjects)
                .replace("tower_jwt_auth.revocations", &revocations)
                .replace("tower_jwt_auth.migrations", &migrations)
                .replace("SCHEMA IF NOT EXISTS tower_jwt_auth", &format!("SCHEMA IF NOT EXISTS \"{schema}\""))
        };
        let lock = sha256(migrations.as_bytes());
        let migration_lock =
            lock.first_chunk::<8>().map(|first| i64::from_be_bytes(*first)).unwrap_or_default();
        Ok(Self {
            migration_lock,
            schema: named(include_str!("schema.sql")),
            version: named("SELECT max(version) FROM tower_jwt_auth.migrations"),
            now: include_str!("now.sql"),
            pages: include_str!("pages.sql"),
            lock_subject: named(include_str!("lock_subject.sql")),
            purge_subject: named(include_str!("purge_subject.sql")),
            create: named(include_str!("create.sql")),
            rotate_due: named(include_str!("rotate_due.sql")),
            rotate: named(include_str!("rotate.sql")),
            get: named(include_str!("get.sql")),
            list: named(include_str!("list.sql")),
            revoke: named(include_str!("revoke.sql")),
            revoke_all: named(include_str!("revoke_all.sql")),
            mark_used: named(include_str!("mark_used.sql")),
            purge_sessions: named(include_str!("purge_sessions.sql")),
            purge_subjects: named(include_str!("purge_subjects.sql")),
            revoke_tokens: named(include_str!("revoke_tokens.sql")),
            not_before: named(include_str!("not_before.sql")),
            purge_revocations: named(include_str!("purge_revocations.sql")),
            sessions,
            subjects,
            revocations,
            migrations,
            channel,
        })
    }
}

/// With `revocations` behind it still shorter than the 63 bytes that PostgreSQL keeps of a name.
fn is_identifier(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=48).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}
