//! A proxy before the server that reads the wire protocol, counts round trips, and cuts or stalls.
//!
//! Protocol: PostgreSQL documentation, chapter "Frontend/Backend Protocol". The server ends each
//! answer to a client that waits with ReadyForQuery, so those count the round trips.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// ReadyForQuery.
const READY_FOR_QUERY: u8 = b'Z';

/// A proxy on a port of its own; it ends with the test's runtime.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    round_trips: AtomicUsize,
    connections: AtomicUsize,
    cut_before_answer: AtomicBool,
    stalled_below: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy to the server on `server_port` of this machine.
    pub async fn start(server_port: u16) -> Self {
        let state = Arc::new(State::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = accepting.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&accepting);
                tokio::spawn(async move { pass(client, server_port, number, &state).await });
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

    /// The round trips since the last call, those of connecting included.
    pub fn take_round_trips(&self) -> usize {
        self.state.round_trips.swap(0, Ordering::SeqCst)
    }

    /// The connections so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Lets the server execute the next statement, and cuts before its answer comes back.
    pub fn cut_before_next_answer(&self) {
        self.state.cut_before_answer.store(true, Ordering::SeqCst);
    }

    /// Keeps the connections that are open now, but passes on nothing more from their server.
    pub fn stall(&self) {
        self.state
            .stalled_below
            .store(self.connections(), Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, server_port: u16, number: usize, state: &State) -> Option<()> {
    let server = TcpStream::connect(("127.0.0.1", server_port)).await.ok()?;
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upward = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });

    loop {
        let mut header = [0; 5];
        from_server.read_exact(&mut header).await.ok()?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut body = vec![0; usize::try_from(length).ok()? - 4];
        from_server.read_exact(&mut body).await.ok()?;

        if state.cut_before_answer.swap(false, Ordering::SeqCst) {
            // Whatever the server still has to say about the statement comes with this.
            while header[0] != READY_FOR_QUERY {
                from_server.read_exact(&mut header).await.ok()?;
                let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
                let mut rest = vec![0; usize::try_from(length).ok()? - 4];
                from_server.read_exact(&mut rest).await.ok()?;
            }
            upward.abort();
            return None;
        }
        if number < state.stalled_below.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if header[0] == READY_FOR_QUERY {
            state.round_trips.fetch_add(1, Ordering::SeqCst);
        }
        to_client.write_all(&header).await.ok()?;
        to_client.write_all(&body).await.ok()?;
    }
}
