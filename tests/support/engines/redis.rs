//! Redis: one server, a primary with a replica, Sentinel, and Cluster.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Deref;
use std::os::unix::net::UnixStream;

use super::server::Server;
use super::{LIMIT, find, on_free_port, wait_until};

/// Options of a server that keeps what it has confirmed.
pub const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// The socket is for `Redis::command`: it takes no TLS.
const OPTIONS: &[&str] = &["--bind", "127.0.0.1", "--save", "", "--unixsocket", SOCKET];
const SOCKET: &str = "redis.sock";

/// Of a certification authority, and of a server with a certificate by it.
const EXTENSIONS: &str = "
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";

pub struct Redis {
    server: Server,
    is_tls: bool,
}

impl Redis {
    /// A server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn durable() -> Self {
        Self::start_with(DURABLE)
    }

    pub fn start_with(options: &[&str]) -> Self {
        Self { server: start_server("--port", options, |_| ()), is_tls: false }
    }

    /// A server that talks nothing but TLS, with a certificate for `localhost` and 127.0.0.1.
    pub fn start_tls() -> Self {
        let options = [
            ["--port", "0"],
            ["--tls-cert-file", "server.pem"],
            ["--tls-key-file", "server.key"],
            ["--tls-ca-cert-file", "authority.pem"],
            ["--tls-auth-clients", "no"],
        ];
        Self { server: start_server("--tls-port", options.as_flattened(), make_certificates), is_tls: true }
    }

    pub fn url(&self) -> String {
        let port = self.port();
        if self.is_tls { format!("rediss://localhost:{port}") } else { format!("redis://127.0.0.1:{port}/") }
    }

    /// The certificate of the authority behind the server's.
    pub fn ca_pem(&self) -> Vec<u8> {
        fs::read(self.server.dir.join("authority.pem")).unwrap()
    }

    /// The text of the reply, one element of an array a line. An error fails the test. Every command has a connection of
    /// its own.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            write!(request, "${}\r\n{word}\r\n", word.len()).unwrap();
        }
        let mut socket = UnixStream::connect(self.server.dir.join(SOCKET)).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        read_reply(&mut BufReader::new(socket)).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn start_server(port_option: &str, options: &[&str], prepare: fn(&Server)) -> Server {
    let program = find("redis-server").unwrap();
    on_free_port(|port| {
        let port_text = port.to_string();
        let arguments = [OPTIONS, options, &[port_option, &port_text]].concat();
        let server = Server::new(&program, &arguments, port, "Ready to accept connections", None);
        prepare(&server);
        server.start().map(|()| server)
    })
}

fn read_reply(source: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    source.read_line(&mut line)?;
    let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let (kind, rest) = line.split_at(1);
    match kind {
        "-" => Err(io::Error::other(rest)),
        "*" => {
            let elements = (0..rest.parse().unwrap_or(0)).map(|_| read_reply(source));
            Ok(elements.collect::<io::Result<Vec<_>>>()?.join("\n"))
        }
        "$" if rest != "-1" => {
            let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
            source.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        "$" => Ok(String::new()),
        _ => Ok(rest.to_owned()),
    }
}

fn make_certificates(server: &Server) {
    let openssl = find("openssl").unwrap();
    let make = |name: &str, signed_by: &[&str]| {
        let (subject, key) = (format!("/CN={name}"), format!("{name}.key"));
        let common = ["req", "-x509", "-config", "extensions", "-extensions", name, "-subj", &subject];
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", &key];
        let output = ["-days", "2", "-out", &format!("{name}.pem")];
        server.run(&openssl, &[&common, &new_key[..], &output, signed_by].concat());
    };
    server.write("extensions", EXTENSIONS);
    make("authority", &[]);
    make("server", &["-CA", "authority.pem", "-CAkey", "authority.key"]);
}

/// A primary and a replica of it, both durable.
pub struct Replicated {
    primary: Redis,
    replica: Redis,
}

impl Replicated {
    /// Returns when the replica has all of the primary.
    pub fn start() -> Self {
        let start = || Redis::start_with(&[DURABLE, &["--repl-diskless-sync-delay", "0"]].concat());
        let (primary, replica) = (start(), start());
        replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
        wait_until("the replica follows", || {
            replica.command(&["INFO", "replication"]).contains("master_link_status:up")
        });
        Self { primary, replica }
    }

    /// The first primary, also after it failed.
    pub fn primary(&self) -> &Redis {
        &self.primary
    }

    pub fn replica(&self) -> &Redis {
        &self.replica
    }

    /// Waits until the replica has all that was written until now.
    pub fn catch_up(&self) {
        let offset = |redis: &Redis, field: &str| -> u64 {
            let info = redis.command(&["INFO", "replication"]);
            info.lines().find_map(|line| line.strip_prefix(field)?.parse().ok()).unwrap_or(0)
        };
        let written = offset(&self.primary, "master_repl_offset:");
        wait_until("the replica catches up", || offset(&self.replica, "slave_repl_offset:") >= written);
    }

    /// Kills the primary and makes the replica one, with what had reached it.
    pub fn fail_over(&self) {
        self.primary.kill();
        self.replica.command(&["REPLICAOF", "NO", "ONE"]);
    }
}

/// A Sentinel that fails over by itself, half a second after the primary is gone.
pub struct Sentinel(Redis);

impl Sentinel {
    /// The name of the primary.
    pub const NAME: &str = "main";

    /// Returns when the replica is known.
    pub fn start(replicated: &Replicated) -> Self {
        let (name, primary) = (Self::NAME, replicated.primary.port());
        let sentinel = on_free_port(|port| {
            let arguments = ["sentinel.conf", "--sentinel"];
            let server = Server::new(&find("redis-server").unwrap(), &arguments, port, "+monitor", None);
            server.write(
                "sentinel.conf",
                &format!(
                    "bind 127.0.0.1\nport {port}\nunixsocket {SOCKET}\n\
                     sentinel monitor {name} 127.0.0.1 {primary} 1\n\
                     sentinel down-after-milliseconds {name} 500\n\
                     sentinel failover-timeout {name} 3000\n",
                ),
            );
            server.start()?;
            Ok(Self(Redis { server, is_tls: false }))
        });
        let replica = replicated.replica.port().to_string();
        wait_until("Sentinel knows the replica", || {
            let replicas = sentinel.command(&["SENTINEL", "REPLICAS", name]);
            replicas.contains(&replica) && replicas.contains("\nmaster-link-status\nok\n")
        });
        sentinel
    }

    /// The port of the primary, by what Sentinel says.
    pub fn primary_port(&self) -> u16 {
        let address = self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME]);
        address.lines().last().unwrap().parse().unwrap()
    }
}

impl Deref for Sentinel {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        &self.0
    }
}

/// Three primaries without replicas.
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Returns when every node knows that all slots are served.
    pub fn start() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
        let nodes: Vec<_> = (0..3).map(|_| Redis::start_with(&options)).collect();
        let slots = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];
        for (node, [first, last]) in nodes.iter().zip(slots) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        }
        for node in &nodes[1..] {
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
        }
        wait_until("all nodes know each other", || {
            nodes.iter().all(|node| {
                let state = node.command(&["CLUSTER", "INFO"]);
                state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:3\r")
            })
        });
        Self { nodes }
    }

    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}
