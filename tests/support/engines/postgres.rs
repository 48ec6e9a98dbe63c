//! PostgreSQL, and `PgBouncer` before it.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::server::{Server, unprivileged};
use super::{existing, find, on_free_port};

/// All shared memory that has a name is in the directory, but for a few bytes.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=.",
    "max_connections=200",
    "dynamic_shared_memory_type=mmap",
];

pub struct Postgres {
    server: Server,
}

impl Postgres {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server that does not wait for the disk. Still nothing is lost when it is killed.
    pub fn start_fast() -> Self {
        Self::start_with(&["fsync=off"])
    }

    /// Each setting as `name=value`.
    pub fn start_with(settings: &[&str]) -> Self {
        on_free_port(|port| {
            let port_text = port.to_string();
            let mut arguments = vec!["-D", "data", "-p", &port_text];
            arguments.extend(SETTINGS.iter().chain(settings).flat_map(|setting| ["-c", setting]));
            let ready = "database system is ready to accept connections";
            let server = Server::new(&tool("postgres").unwrap(), &arguments, port, ready, unprivileged());
            let options = ["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "data"];
            server.run(&tool("initdb").unwrap(), &options);
            server.start()?;
            Ok(Self { server })
        })
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port())
    }

    /// What a query gives, columns divided by `|`. An error fails the test.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        let mut command = Command::new(tool("psql").unwrap());
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", sql]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// The program beside the server, and so of its version. The one in `PATH` may be a link.
fn tool(name: &str) -> Result<PathBuf, String> {
    let server = find("postgres")?.canonicalize().map_err(|error| error.to_string())?;
    existing(server.with_file_name(name)).map_err(|path| format!("no {path}"))
}

pub(super) fn find_programs() -> Result<PathBuf, String> {
    tool("initdb").and_then(|_| tool("psql"))
}

/// A pooler that gives a connection to a client for one transaction at a time.
pub struct PgBouncer(Postgres);

impl PgBouncer {
    pub fn start(postgres: &Postgres) -> Self {
        on_free_port(|port| {
            let program = find("pgbouncer").unwrap();
            let server = Server::new(&program, &["pgbouncer.ini"], port, "process up", unprivileged());
            server.write("users", "\"postgres\" \"\"\n");
            server.write(
                "pgbouncer.ini",
                &format!(
                    "[databases]\n\
                     * = host=127.0.0.1 port={}\n\
                     [pgbouncer]\n\
                     listen_addr = 127.0.0.1\n\
                     listen_port = {port}\n\
                     unix_socket_dir =\n\
                     auth_type = trust\n\
                     auth_file = users\n\
                     admin_users = postgres\n\
                     pool_mode = transaction\n",
                    postgres.port(),
                ),
            );
            server.start()?;
            Ok(Self(Postgres { server }))
        })
    }
}

/// The URL and `psql` are those of the pooler.
impl Deref for PgBouncer {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.0
    }
}
