//! One server and the shell that watches over it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::LIMIT;

/// Makes a directory, names it, and obeys orders from its standard input. Where that ends, this process is gone or has
/// dropped the server.
///
/// A server is stopped before its children are listed, so that it has no more of them after that. `PPid` tells whether
/// the number is still that of the server. A PostgreSQL that is killed leaves a piece of shared memory to the system,
/// named in the seventh line of its file.
const SUPERVISOR: &str = r#"
trap '' PIPE
dir=$(mktemp -d -t engines.XXXXXXXX) && cd "$dir" || exit
echo "$dir"

is() { grep -qs "^$1:.$2" "/proc/$3/status"; }

signal() {
    children=
    is PPid "$$\$" "$server" || return
    while is State '[^TtXZ]' "$server"; do kill -STOP "$server"; done
    children=$(grep -ls "^PPid:.$server\$" /proc/[0-9]*/status | cut -d / -f 3)
    kill -"$1" $children "$server"
}

end() {
    signal KILL
    wait
    for child in $children; do
        while is State '[^XZ]' "$child"; do sleep 0.01; done
    done
}

while read -r order words; do
    case $order in
    run)
        $words >log 2>&1 </dev/null
        echo $?
        continue
        ;;
    start)
        : >log
        "$@" >>log 2>&1 &
        server=$!
        ;;
    KILL) end ;;
    *) signal "$order" ;;
    esac
    echo "$server"
done

end
[ -f data/postmaster.pid ] && ipcrm -m "$(sed -n '7s/.* //p' data/postmaster.pid)"
cd /
rm -rf "$dir" || { sleep 1; rm -rf "$dir"; }
"#;

/// The numbers of a user and a group.
pub type User = (u32, u32);

/// Whom a server runs as that refuses the superuser: nobody else if this process is not the superuser.
pub fn unprivileged() -> Option<User> {
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let numbers = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map_while(|number| number.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    Some(numbers("postgres").or_else(|| numbers("nobody")).expect("a user other than root"))
}

pub struct Server {
    supervisor: Mutex<Child>,
    user: Option<User>,
    port: u16,
    /// What the server writes to its log as soon as it takes connections.
    ready: &'static str,
    pub(super) dir: PathBuf,
}

impl Server {
    /// The directory, which is also where the server will run; `start` starts it.
    pub(super) fn new(
        program: &Path,
        arguments: &[&str],
        port: u16,
        ready: &'static str,
        user: Option<User>,
    ) -> Self {
        // A session of its own: no signal to the tests reaches it, and none for a stopped group whose parent is gone.
        let mut command = Command::new("setsid");
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        // Logs are read, and so in English.
        command.env("LC_ALL", "C");
        command.args(["sh", "-c", SUPERVISOR, "supervisor"]).arg(program).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut supervisor = command.spawn().unwrap();
        let dir = reply(&mut supervisor).into();
        Self { supervisor: Mutex::new(supervisor), user, port, ready, dir }
    }

    /// Waits until the server is ready. Its log, if it ended instead.
    pub(super) fn start(&self) -> Result<(), String> {
        let process = self.order("start");
        let deadline = Instant::now() + LIMIT;
        loop {
            let is_alive =
                fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
            let log = self.log();
            if log.contains(self.ready) {
                return Ok(());
            }
            if !is_alive {
                return Err(log);
            }
            assert!(Instant::now() < deadline, "the server is not ready; its log:\n{log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server and its children, and returns when they are gone.
    pub fn kill(&self) {
        self.order("KILL");
    }

    /// On the same port and with what is left in the directory, whether or not the server was killed before.
    #[track_caller]
    pub fn restart(&self) {
        self.kill();
        self.start().unwrap_or_else(|log| panic!("the server did not start again; its log:\n{log}"));
    }

    /// Keeps its connections, and takes new ones, but does nothing until `resume`.
    pub fn pause(&self) {
        self.order("STOP");
    }

    pub fn resume(&self) {
        self.order("CONT");
    }

    fn order(&self, order: &str) -> String {
        let mut supervisor = self.supervisor.lock().unwrap();
        writeln!(supervisor.stdin.as_mut().unwrap(), "{order}").unwrap();
        reply(&mut supervisor)
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// Runs another program to its end, where and as whom the server will run. The end of this process does not cut it
    /// short. No word may contain a space.
    pub(super) fn run(&self, program: &Path, words: &[&str]) {
        let status = self.order(&format!("run {} {}", program.display(), words.join(" ")));
        assert_eq!(status, "0", "{} {words:?}:\n{}", program.display(), self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closes the standard input first.
        let _ = self.supervisor.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

/// One line for every order.
fn reply(supervisor: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(supervisor.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.ends_with('\n'), "the shell that watches over a server is gone");
    line.trim_end().to_owned()
}
