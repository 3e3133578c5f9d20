//! A proxy in front of the server that reads the wire protocol: it counts round trips, and breaks the
//! connection at a chosen message.
//!
//! Protocol: PostgreSQL documentation, chapter "Frontend/Backend Protocol". The server ends each answer
//! to a waiting client with ReadyForQuery, so the number of those is the number of round trips.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// ReadyForQuery.
const READY_FOR_QUERY: u8 = b'Z';

/// Sync, which ends a statement.
const SYNC: u8 = b'S';

/// Terminate.
const TERMINATE: u8 = b'X';

/// A fault of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is closed before the message is passed on.
    Cut,
    /// The message is passed on, then the connection is closed.
    CutBehind,
    /// Half of the message is passed on, then the connection is closed.
    Truncate,
    /// It stays open and passes on nothing more, until the client gives up.
    Stall,
}

/// A proxy on its own port; it ends with the test's runtime.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    server_port: AtomicU16,
    /// The delay of a new connection before anything is passed on.
    delay: Mutex<Duration>,
    /// Notified when the open connections are to lose every packet.
    swallow: Notify,
    /// Notified when the open connections are to be closed.
    cut: Notify,
    round_trips: AtomicUsize,
    connections: AtomicUsize,
    /// Connections that the client ended with Terminate.
    goodbyes: AtomicUsize,
    /// The most statements that were sent and not yet answered on a connection.
    most_at_once: AtomicUsize,
    armed: Mutex<Option<Armed>>,
}

#[derive(Debug, Clone, Copy)]
enum Armed {
    /// At the message after this many more, in either direction.
    At(usize, Fault),
    /// After the server has executed a statement, before its answer is passed on; this many times.
    BeforeAnswers(usize),
}

impl Proxy {
    /// Starts a proxy to the server on `server_port` of this machine.
    pub async fn start(server_port: u16) -> Self {
        let state = Arc::new(State::default());
        state.server_port.store(server_port, Ordering::SeqCst);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&accepting);
                tokio::spawn(async move { pass(client, &state).await });
            }
        });
        Self { port, state }
    }

    /// A connection string of the server that leads through the proxy.
    pub fn through(&self, url: &str) -> String {
        let (before, rest) = url.rsplit_once(':').unwrap();
        let (_, database) = rest.split_once('/').unwrap();
        format!("{before}:{}/{database}", self.port)
    }

    /// Leads new connections to another server.
    pub fn lead_to(&self, server_port: u16) {
        self.state.server_port.store(server_port, Ordering::SeqCst);
    }

    /// Delays each new connection from now on.
    pub fn delay_connections(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    /// Closes the open connections.
    pub fn cut_all(&self) {
        self.state.cut.notify_waiters();
    }

    /// Drops every packet to the open connections from now on, as on a dead path: nothing is acknowledged
    /// and nothing is reset. New connections work as before.
    pub fn swallow_packets(&self) {
        self.state.swallow.notify_waiters();
    }

    /// The round trips since the last call, those of connecting included.
    pub fn take_round_trips(&self) -> usize {
        self.state.round_trips.swap(0, Ordering::SeqCst)
    }

    /// The most statements that were ever sent on a connection before the first of them was answered.
    pub fn most_at_once(&self) -> usize {
        self.state.most_at_once.load(Ordering::SeqCst)
    }

    /// The number of connections that the client ended with Terminate.
    pub fn goodbyes(&self) -> usize {
        self.state.goodbyes.load(Ordering::SeqCst)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Lets the server execute the next statement, and cuts before its answer comes back.
    pub fn cut_before_next_answer(&self) {
        self.cut_before_next_answers(1);
    }

    /// The same for this many statements, one after the other.
    pub fn cut_before_next_answers(&self, count: usize) {
        *self.state.armed.lock().unwrap() = Some(Armed::BeforeAnswers(count));
    }

    /// Lets this many more messages pass in either direction, and breaks the connection of the next one.
    pub fn fail_after(&self, messages: usize, fault: Fault) {
        *self.state.armed.lock().unwrap() = Some(Armed::At(messages, fault));
    }

    /// Cancels the fault; returns whether it was still pending.
    pub fn disarm(&self) -> bool {
        self.state.armed.lock().unwrap().take().is_some()
    }
}

impl State {
    /// The fault that is due at the next message, if any.
    fn fault_here(&self) -> Option<Fault> {
        let mut armed = self.armed.lock().unwrap();
        match *armed {
            Some(Armed::At(0, fault)) => {
                *armed = None;
                Some(fault)
            }
            Some(Armed::At(messages, fault)) => {
                *armed = Some(Armed::At(messages - 1, fault));
                None
            }
            Some(Armed::BeforeAnswers(_)) | None => None,
        }
    }

    fn take_before_answer(&self) -> bool {
        let mut armed = self.armed.lock().unwrap();
        let Some(Armed::BeforeAnswers(count)) = *armed else {
            return false;
        };
        *armed = (count > 1).then(|| Armed::BeforeAnswers(count - 1));
        true
    }
}

/// Passes messages on until one side ends or a fault ends both.
async fn pass(client: TcpStream, state: &State) -> Option<()> {
    let (swallow, cut) = (state.swallow.notified(), state.cut.notified());
    let delay = *state.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    let server_port = state.server_port.load(Ordering::SeqCst);
    let server = TcpStream::connect(("127.0.0.1", server_port)).await.ok()?;
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let under_way = AtomicUsize::new(0);
    tokio::select! {
        ended = upward(&mut from_client, &mut to_server, state, &under_way) => ended,
        ended = downward(&mut from_server, &mut to_client, state, &under_way) => ended,
        () = cut => None,
        () = swallow => {
            drop_packets(from_client.as_ref());
            std::future::pending().await
        }
    }
}

/// Makes the kernel drop every packet that arrives at a socket, with a packet filter of one instruction,
/// which keeps 0 bytes of each packet. If that is not permitted, the packets are acknowledged, but their
/// content is lost all the same.
#[cfg(target_os = "linux")]
fn drop_packets(socket: &TcpStream) {
    const RETURN: u16 = 0x06;
    let nothing = [socket2::SockFilter::new(RETURN, 0, 0, 0)];
    let _ = socket2::SockRef::from(socket).attach_filter(&nothing);
}

/// Elsewhere there is no such filter.
#[cfg(not(target_os = "linux"))]
fn drop_packets(_socket: &TcpStream) {}

async fn upward(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    state: &State,
    under_way: &AtomicUsize,
) -> Option<()> {
    // The first message has no type.
    let startup = read_body(from, Vec::new()).await?;
    to.write_all(&startup).await.ok()?;
    loop {
        let message = read(from).await?;
        if message[0] == TERMINATE {
            state.goodbyes.fetch_add(1, Ordering::SeqCst);
        }
        if message[0] == SYNC {
            let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
            state.most_at_once.fetch_max(now, Ordering::SeqCst);
        }
        match state.fault_here() {
            None => to.write_all(&message).await.ok()?,
            Some(Fault::Cut) => return None,
            Some(Fault::CutBehind) => return to.write_all(&message).await.ok(),
            Some(Fault::Truncate) => return to.write_all(&message[..message.len() / 2]).await.ok(),
            Some(Fault::Stall) => while read(from).await.is_some() {},
        }
    }
}

async fn downward(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    state: &State,
    under_way: &AtomicUsize,
) -> Option<()> {
    // The first ReadyForQuery ends the authentication, which is not a statement.
    let mut is_authenticated = false;
    loop {
        let mut message = read(from).await?;
        if is_authenticated && state.take_before_answer() {
            while message[0] != READY_FOR_QUERY {
                message = read(from).await?;
            }
            return None;
        }
        match state.fault_here() {
            None => {}
            Some(Fault::Cut) => return None,
            Some(Fault::CutBehind) => return to.write_all(&message).await.ok(),
            Some(Fault::Truncate) => return to.write_all(&message[..message.len() / 2]).await.ok(),
            Some(Fault::Stall) => std::future::pending().await,
        }
        if message[0] == READY_FOR_QUERY {
            is_authenticated = true;
            state.round_trips.fetch_add(1, Ordering::SeqCst);
            // The first one ends the authentication, not a statement.
            let _ = under_way.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                count.checked_sub(1)
            });
        }
        to.write_all(&message).await.ok()?;
    }
}

/// Reads a message with its type.
async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let kind = from.read_u8().await.ok()?;
    read_body(from, vec![kind]).await
}

/// Reads a message's length, which counts itself, and the rest.
pub async fn read_body(
    from: &mut (impl AsyncRead + Unpin),
    mut message: Vec<u8>,
) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok()?;
    let start = message.len();
    message.extend_from_slice(&length.to_be_bytes());
    message.resize(start + usize::try_from(length).ok()?, 0);
    from.read_exact(&mut message[start + 4..]).await.ok()?;
    Some(message)
}
