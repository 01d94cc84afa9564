//! A service that does nothing: it answers every request with success, so that what is measured is what calls it.

use anyhow::Context;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // Whoever is gone is no loss.
        tokio::spawn(async move { converse(BufReader::new(stream)).await.ok() });
    }
}

async fn converse(mut stream: BufReader<TcpStream>) -> anyhow::Result<()> {
    loop {
        read(&mut stream).await?;
        stream.write_all(ANSWER).await?;
    }
}

/// Reads one message of HTTP/1.1, whose body has a length.
async fn read(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        anyhow::ensure!(stream.read_line(&mut line).await? > 0, "the other side is gone");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(given) = line.strip_prefix("content-length:") {
            length = given.trim().parse().context("a length of a body")?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(())
}

/// A client that calls it by itself, over one connection.
#[derive(Debug)]
pub struct Caller {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Caller {
    pub async fn connect(address: &str) -> anyhow::Result<Caller> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let head = format!("POST /done HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n");
        let request =
            format!("{head}idempotency-key: 0123456789abcdef0123456789abcdef\r\ncontent-length: 2\r\n\r\n{{}}");
        Ok(Caller { stream: BufReader::new(stream), request: request.into_bytes() })
    }

    /// Calls once.
    pub async fn call(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.stream.write_all(&self.request).await?;
        read(&mut self.stream).await?;
        Ok(began.elapsed())
    }
}
