//! The two tasks that own a connection's socket.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf as _, Bytes, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::connection::{Answer, Shared};
use crate::wire::Pieces;
use crate::{ClientError, Options};

/// Pieces in one vectored write. The system takes up to 1024; beyond some dozens nothing is gained.
const SLICES_MAX: usize = 64;
/// Room asked for when reading; a frame that is larger gets its own.
const READ_BYTES: usize = 64 << 10;
/// A frame's length prefix and its correlation id.
const PREFIX_BYTES: usize = 4;

/// Connects and starts both tasks.
pub(crate) async fn open(
    shared: Arc<Shared>,
    queued: mpsc::Receiver<Pieces>,
    options: &Options,
) -> Result<(), ClientError> {
    let address = shared.address.clone();
    let unreachable = |reason: String| ClientError::Unreachable { address: address.clone(), reason };
    let connecting = connect(&address, options);
    let stream = match tokio::time::timeout(options.connect_timeout, connecting).await {
        Ok(stream) => stream.map_err(|e| unreachable(e.to_string()))?,
        Err(_) => {
            return Err(unreachable(format!("no answer within {} ms", options.connect_timeout.as_millis())));
        }
    };
    let frame_bytes_max = options.frame_bytes_max;
    match stream {
        Stream::Plain(stream) => {
            let (reader, writer) = stream.into_split();
            start(shared, queued, (reader, writer), frame_bytes_max);
        }
        Stream::Tls(stream) => start(shared, queued, tokio::io::split(*stream), frame_bytes_max),
    }
    Ok(())
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn connect(address: &str, options: &Options) -> std::io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &options.tls else { return Ok(Stream::Plain(stream)) };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
    let stream = tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

fn start<R, W>(
    shared: Arc<Shared>,
    queued: mpsc::Receiver<Pieces>,
    (reader, writer): (R, W),
    frame_bytes_max: usize,
) where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let reading = Arc::clone(&shared);
    let reader = tokio::spawn(async move {
        let Err(reason) = read_all(reader, &reading, frame_bytes_max).await;
        reading.end(&reason);
    });
    tokio::spawn(async move {
        let result = write_all(writer, queued, &shared).await;
        if let Err(reason) = result {
            shared.end(&reason.to_string());
        }
        // Nobody is left to ask anything, or nothing can be asked any more.
        reader.abort();
        shared.end("closed");
    });
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queued: mpsc::Receiver<Pieces>,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut pieces: VecDeque<Bytes> = VecDeque::new();
    while let Some(frame) = queued.recv().await {
        push(&mut pieces, frame);
        while pieces.len() < SLICES_MAX {
            let Ok(frame) = queued.try_recv() else { break };
            push(&mut pieces, frame);
        }
        while !pieces.is_empty() {
            let slices: Vec<IoSlice<'_>> = pieces.iter().take(SLICES_MAX).map(|p| IoSlice::new(p)).collect();
            let written = writer.write_vectored(&slices).await?;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            advance(&mut pieces, written);
        }
        writer.flush().await?;
        if shared.has_ended() {
            break;
        }
    }
    writer.shutdown().await
}

fn push(pieces: &mut VecDeque<Bytes>, frame: Pieces) {
    let length: usize = frame.iter().map(Bytes::len).sum();
    let prefix = u32::try_from(length).expect("requests are built far below 4 GiB").to_be_bytes();
    pieces.push_back(Bytes::copy_from_slice(&prefix));
    pieces.extend(frame.into_iter().filter(|piece| !piece.is_empty()));
}

fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}

async fn read_all<R: AsyncRead + Unpin>(
    mut reader: R,
    shared: &Shared,
    frame_bytes_max: usize,
) -> Result<std::convert::Infallible, String> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        fill(&mut reader, &mut buffer, PREFIX_BYTES).await?;
        let length = buffer.get_u32() as usize;
        if !(PREFIX_BYTES..=frame_bytes_max).contains(&length) {
            return Err(format!("a frame of {length} bytes; between 4 and {frame_bytes_max} are taken"));
        }
        fill(&mut reader, &mut buffer, length).await?;
        let at = Instant::now();
        let frame = buffer.split_to(length).freeze();
        let correlation = i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        shared.deliver(correlation, Answer { frame, at })?;
    }
}

/// Reads until the buffer holds at least this much.
async fn fill<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
    wanted: usize,
) -> Result<(), String> {
    while buffer.len() < wanted {
        buffer.reserve((wanted - buffer.len()).max(READ_BYTES));
        let read = reader.read_buf(buffer).await.map_err(|e| e.to_string())?;
        if read == 0 {
            return Err("the broker closed it".to_owned());
        }
    }
    Ok(())
}
