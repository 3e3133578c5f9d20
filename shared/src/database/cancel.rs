//! Cancelling a statement, over a second connection.
//!
//! tokio-postgres hangs up as soon as it has sent the request. PgBouncer 1.18, which Debian 12 has,
//! then drops the request, or ends itself (`bad client state` in its log; compare its issue 822).
//! Like libpq, this waits until the server has hung up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use postgres_native_tls::MakeTlsConnector;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::config::Host;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{CancelToken, Config, NoTls, Socket};

use super::target::DEFAULT_PORT;

/// How to reach the server of a connection for a cancellation.
#[derive(Clone)]
pub(super) enum Way {
    /// Through TLS.
    Tls(MakeTlsConnector),
    /// Without TLS, at this address.
    Plain(String, u16),
    /// Without TLS, through a Unix socket or at one of several hosts, which only tokio-postgres
    /// knows. There is no waiting here.
    Other,
}

impl Way {
    /// The way to the server of a connection with this configuration, and with TLS if there is a
    /// connector.
    pub(super) fn to(config: &Config, tls: Option<MakeTlsConnector>) -> Self {
        match (tls, config.get_hosts(), config.get_hostaddrs()) {
            (Some(tls), ..) => Self::Tls(tls),
            (None, [Host::Tcp(host)], []) => {
                let port = config.get_ports().first().copied();
                Self::Plain(host.clone(), port.unwrap_or(DEFAULT_PORT))
            }
            _ => Self::Other,
        }
    }

    /// Asks the server to cancel the statement of a connection.
    pub(super) async fn cancel(self, token: CancelToken) -> Result<(), tokio_postgres::Error> {
        match self {
            Self::Tls(tls) => token.cancel_query(Waiting(tls)).await,
            Self::Plain(host, port) => match TcpStream::connect((host, port)).await {
                Ok(socket) => token.cancel_query_raw(UntilClosed(socket), NoTls).await,
                // Best-effort: what cannot be reached is not told.
                Err(_) => Ok(()),
            },
            Self::Other => token.cancel_query(NoTls).await,
        }
    }
}

/// A stream whose shutdown waits until the other side has hung up.
struct UntilClosed<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for UntilClosed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for UntilClosed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = [0; 16];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for UntilClosed<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// A connector whose streams are [`UntilClosed`].
struct Waiting<T>(T);

impl<T: MakeTlsConnect<Socket>> MakeTlsConnect<Socket> for Waiting<T> {
    type Stream = UntilClosed<T::Stream>;
    type TlsConnect = Waiting<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        self.0.make_tls_connect(domain).map(Waiting)
    }
}

impl<T: TlsConnect<Socket>> TlsConnect<Socket> for Waiting<T> {
    type Stream = UntilClosed<T::Stream>;
    type Error = T::Error;
    type Future = MapOk<T::Future, fn(T::Stream) -> Self::Stream>;

    fn connect(self, socket: Socket) -> Self::Future {
        self.0.connect(socket).map_ok(UntilClosed)
    }
}
