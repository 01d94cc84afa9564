//! A service that does nothing: it answers every request with success, so that what is measured is what calls it.

use anyhow::Context;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The longest body that is read.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The longest line of a head that is read.
const MAX_LINE_BYTES: u64 = 8 << 10;

/// Success, in the words of a peer that looks for them, too.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 24\r\n\r\n{\"dtm_result\":\"SUCCESS\"}";

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A caller that has gone needs no answer.
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
        (&mut *stream).take(MAX_LINE_BYTES).read_line(&mut line).await?;
        anyhow::ensure!(line.ends_with('\n'), "the other side is gone, or its line is over {MAX_LINE_BYTES} bytes");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(given) = line.strip_prefix("content-length:") {
            length = given.trim().parse().context("a length of a body")?;
        }
    }
    anyhow::ensure!(length <= MAX_BODY_BYTES, "the body has {length} bytes, over {MAX_BODY_BYTES}; call with less");
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
