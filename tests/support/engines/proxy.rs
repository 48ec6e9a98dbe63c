//! A network between a client and a server that fails on demand.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// Passes connections on to a port of 127.0.0.1, until told otherwise.
pub struct Proxy {
    network: Arc<Network>,
    port: u16,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Network { target, state: Mutex::default(), changed: Condvar::new() });
        let shared = Arc::clone(&network);
        let listener = Some(thread::spawn(move || shared.listen(&listener)));
        Self { network, port, listener }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Passes everything on, also what was held back.
    pub fn pass(&self) {
        self.network.set(Mode::Pass);
    }

    /// Closes the connections that are open, and every new one.
    pub fn refuse(&self) {
        self.network.set(Mode::Refuse);
    }

    /// Holds back all bytes in both directions, and the ends of connections. New ones are accepted.
    pub fn stall(&self) {
        self.network.set(Mode::Stall);
    }

    /// Once: the next request reaches the server, but its reply is thrown away, and the connection closed.
    pub fn cut_next_reply(&self) {
        self.cut_reply_to("");
    }

    /// The same for the next request with this text in it: the text must not be divided between packets.
    pub fn cut_reply_to(&self, text: &str) {
        self.network.lock().to_cut = Some(text.as_bytes().to_owned());
    }

    /// The same after so many requests whose replies come.
    pub fn cut_reply_after(&self, requests: usize) {
        self.cut_next_reply();
        self.network.lock().to_pass = requests;
    }

    /// How many replies were thrown away.
    pub fn cuts(&self) -> usize {
        self.network.lock().cuts
    }

    /// How many connections were ever accepted, also those closed at once.
    pub fn connections(&self) -> usize {
        self.network.lock().accepted
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.lock().is_over = true;
        self.refuse();
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.listener.take().map(JoinHandle::join);
    }
}

struct Network {
    target: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    mode: Mode,
    is_over: bool,
    accepted: usize,
    cuts: usize,
    to_cut: Option<Vec<u8>>,
    /// Requests before the one that `to_cut` is about.
    to_pass: usize,
    open: HashMap<usize, Connection>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Mode {
    #[default]
    Pass,
    Refuse,
    Stall,
}

struct Connection {
    sockets: Vec<TcpStream>,
    /// The server has the request whose reply is to be thrown away.
    is_cut: bool,
}

impl Connection {
    fn close(self) {
        for socket in self.sockets {
            // An error says that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn set(&self, mode: Mode) {
        let mut state = self.lock();
        state.mode = mode;
        if mode == Mode::Refuse {
            state.open.drain().for_each(|(_, connection)| connection.close());
        }
        self.changed.notify_all();
    }

    fn listen(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            let mut state = self.lock();
            if state.is_over {
                return;
            }
            state.accepted += 1;
            if state.mode == Mode::Refuse {
                continue;
            }
            let number = state.accepted;
            let sockets = vec![client.try_clone().unwrap()];
            state.open.insert(number, Connection { sockets, is_cut: false });
            let network = Arc::clone(&self);
            thread::spawn(move || {
                let _ = network.serve(number, &client);
                network.close(number);
            });
        }
    }

    fn serve(&self, number: usize, client: &TcpStream) -> io::Result<()> {
        drop(self.wait(number));
        let server = TcpStream::connect(("127.0.0.1", self.target))?;
        let copy = server.try_clone()?;
        // The connection may have been closed in the meantime.
        let Some(()) = self.lock().open.get_mut(&number).map(|open| open.sockets.push(copy)) else {
            return Ok(());
        };
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        thread::scope(|scope| {
            scope.spawn(|| self.forward(number, client, &server, State::take_request));
            self.forward(number, &server, client, State::take_reply);
        });
        Ok(())
    }

    /// Until one side ends, which ends the other.
    fn forward(
        &self,
        number: usize,
        mut from: &TcpStream,
        mut to: &TcpStream,
        take: fn(&mut State, usize, &[u8]) -> bool,
    ) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..length];
            // Apart from the write, which may block with the state locked.
            let is_taken = take(&mut self.wait(number), number, bytes);
            if !is_taken || to.write_all(bytes).is_err() {
                break;
            }
        }
        drop(self.wait(number));
        self.close(number);
    }

    /// Waits for as long as the connection is stalled.
    fn wait(&self, number: usize) -> MutexGuard<'_, State> {
        let is_stalled = |state: &mut State| state.mode == Mode::Stall && state.open.contains_key(&number);
        self.changed.wait_while(self.lock(), is_stalled).unwrap()
    }

    fn close(&self, number: usize) {
        if let Some(connection) = self.lock().open.remove(&number) {
            connection.close();
        }
        self.changed.notify_all();
    }
}

/// Whether these bytes are passed on.
impl State {
    fn take_request(&mut self, number: usize, bytes: &[u8]) -> bool {
        let Some(connection) = self.open.get_mut(&number) else { return false };
        if self.to_cut.is_some() && self.to_pass > 0 {
            self.to_pass -= 1;
            return true;
        }
        let is_meant =
            |text: &mut Vec<u8>| text.is_empty() || bytes.windows(text.len()).any(|part| part == text);
        connection.is_cut |= self.to_cut.take_if(is_meant).is_some();
        true
    }

    fn take_reply(&mut self, number: usize, _bytes: &[u8]) -> bool {
        let Some(connection) = self.open.get(&number) else { return false };
        self.cuts += usize::from(connection.is_cut);
        !connection.is_cut
    }
}
