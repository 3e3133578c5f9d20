//! A stand-in for the login of RDS: it asks for the password in clear text inside TLS, as RDS does for
//! users that log in with IAM, records it, and forwards to a server that trusts it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use native_tls::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_native_tls::TlsAcceptor;

use crate::proxy::read_body;
use rig::certificates::Signed;

/// A gate; it ends with the test's runtime.
pub struct IamGate {
    /// Where it listens, on this machine.
    pub port: u16,
    passwords: Arc<Mutex<Vec<String>>>,
}

impl IamGate {
    /// Opens a gate to the server on `server_port`, with this certificate.
    pub async fn start(server_port: u16, signed: &Signed) -> Self {
        Self::start_refusing(server_port, signed, []).await
    }

    /// The same, but refuses these logins, counted from 0, as RDS does while a new right has not yet
    /// reached IAM.
    pub async fn start_refusing(
        server_port: u16,
        signed: &Signed,
        refused: impl Into<BTreeSet<usize>>,
    ) -> Self {
        let refused = Arc::new(refused.into());
        let identity =
            Identity::from_pkcs8(signed.certificate.as_bytes(), signed.key.as_bytes()).unwrap();
        let acceptor = TlsAcceptor::from(native_tls::TlsAcceptor::new(identity).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let passwords = Arc::new(Mutex::new(Vec::new()));
        let written_down = Arc::clone(&passwords);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, written_down) = (acceptor.clone(), Arc::clone(&written_down));
                let refused = Arc::clone(&refused);
                tokio::spawn(async move {
                    admit(client, server_port, &acceptor, &written_down, &refused).await
                });
            }
        });
        Self { port, passwords }
    }

    /// The passwords so far.
    pub fn passwords(&self) -> Vec<String> {
        self.passwords.lock().unwrap().clone()
    }
}

async fn admit(
    mut client: TcpStream,
    server_port: u16,
    acceptor: &TlsAcceptor,
    passwords: &Mutex<Vec<String>>,
    refused: &BTreeSet<usize>,
) -> Option<()> {
    // SSLRequest: eight bytes; `S` agrees.
    client.read_exact(&mut [0; 8]).await.ok()?;
    client.write_all(b"S").await.ok()?;
    let mut client = acceptor.accept(client).await.ok()?;
    let startup = read_body(&mut client, Vec::new()).await?;

    // AuthenticationCleartextPassword; then PasswordMessage, with a zero at its end.
    client.write_all(b"R\0\0\0\x08\0\0\0\x03").await.ok()?;
    let kind = client.read_u8().await.ok()?;
    let message = read_body(&mut client, vec![kind]).await?;
    let password = String::from_utf8_lossy(&message[5..message.len() - 1]).into_owned();
    let login = {
        let mut passwords = passwords.lock().unwrap();
        passwords.push(password);
        passwords.len() - 1
    };
    if refused.contains(&login) {
        // ErrorResponse: its length counts itself and what follows.
        let fields = b"SFATAL\0VFATAL\0C28000\0MPAM authentication failed for user\0\0";
        let length = u32::try_from(4 + fields.len()).unwrap();
        client.write_all(b"E").await.ok()?;
        client.write_all(&length.to_be_bytes()).await.ok()?;
        client.write_all(fields).await.ok()?;
        client.shutdown().await.ok()?;
        return None;
    }

    let mut server = TcpStream::connect(("127.0.0.1", server_port)).await.ok()?;
    server.write_all(&startup).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}
