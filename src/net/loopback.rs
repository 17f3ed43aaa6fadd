//! Waits for one browser of this machine to come back from somewhere (RFC 8252, 7.3): listens on loopback, takes the first request for
//! the path that it waits for, and says to the person that the window may be closed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

const LONGEST_HEAD: usize = 64 * 1024;
/// How long a connection may say nothing.
const SILENCE: Duration = Duration::from_secs(2);

/// A listener on loopback.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
}

impl Loopback {
    /// Listens on a port of 127.0.0.1; 0 takes a free one.
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub async fn listen(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits for a `GET` of this path and returns its whole URL. Anything else is answered 404: browsers ask for an icon, too.
    ///
    /// # Errors
    /// Where the listener fails.
    pub async fn redirected_to(&self, path: &str) -> io::Result<Url> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            // A connection that breaks, or that a browser opened in advance and says nothing on, is not the one that is waited for.
            if let Ok(Ok(Some(url))) = tokio::time::timeout(SILENCE, self.serve(stream, path)).await {
                return Ok(url);
            }
        }
    }

    async fn serve(&self, mut stream: TcpStream, path: &str) -> io::Result<Option<Url>> {
        let mut head = Vec::new();
        while !head.windows(4).any(|w| w == b"\r\n\r\n") {
            if head.len() > LONGEST_HEAD || stream.read_buf(&mut head).await? == 0 {
                return Ok(None);
            }
        }
        let line = String::from_utf8_lossy(&head);
        let target = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
        let url = target
            .filter(|t| t.starts_with('/'))
            .and_then(|t| Url::parse(&format!("http://{}{t}", self.address)).ok())
            .filter(|url| url.path() == path);
        let (status, says) = match url {
            Some(_) => ("200 OK", "Done. You may close this window and go back to the command line."),
            None => ("404 Not Found", "There is nothing here."),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{says}",
            says.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        Ok(url)
    }
}
