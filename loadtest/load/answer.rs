//! One answer, read from a socket.
//!
//! HTTP/1.1 with a length or in chunks, and nothing else: whoever is measured answers so. The version that answered is
//! read twice, from the header and from the body, since a gateway that mixes versions up may well do so in one of
//! them.
//!
//! Invariant: an answer is whole, and none is larger than [`MAX_ANSWER`].

use crate::Outcome;
use std::ops::Range;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The largest answer that is read, bytes.
const MAX_ANSWER: usize = 16 << 20;
/// What is before the version in a body of the Open Inference Protocol.
const VERSION_KEY: &[u8] = b"\"model_version\":\"";

/// An answer with the status that counts.
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// What the header says which version answered.
    version: Option<u64>,
}

/// Which version answered, and where in the body that is written.
pub(crate) struct Named {
    pub(crate) version: u64,
    pub(crate) place: Range<usize>,
}

impl Answer {
    /// The version that header and body name.
    ///
    /// # Errors
    /// What they say instead.
    pub(crate) fn named(&self) -> Result<Named, String> {
        let start = self.body.windows(VERSION_KEY.len()).position(|window| window == VERSION_KEY);
        let start = start.map(|start| start + VERSION_KEY.len());
        let digits = |start: &usize| self.body[*start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let place = start.map(|start| start..start + digits(&start));
        let number = |place: &Range<usize>| std::str::from_utf8(&self.body[place.clone()]).ok()?.parse::<u64>().ok();
        match (self.version, place.as_ref().and_then(number), place) {
            (Some(header), Some(body), Some(place)) if header == body => Ok(Named { version: header, place }),
            (header, body, _) => Err(format!("the header names version {header:?}, the body {body:?}")),
        }
    }
}

/// Reads one answer. If its status is another than the one that `counts`, the status and the whole answer come back.
///
/// # Errors
/// What is no answer.
pub(crate) async fn read_answer(
    socket: &mut TcpStream,
    buffer: &mut Vec<u8>,
    counts: u16,
) -> Outcome<Result<Answer, (u16, String)>> {
    buffer.clear();
    let head = loop {
        more(socket, buffer).await?;
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let status: u16 = text.get(9..12).and_then(|status| status.parse().ok()).ok_or("an answer without a status")?;
    let body = match (header("content-length:"), header("transfer-encoding:")) {
        (Some(length), _) => {
            let end = head + length.parse::<usize>()?;
            while buffer.len() < end {
                more(socket, buffer).await?;
            }
            buffer[head..end].to_vec()
        }
        (None, Some("chunked")) => read_chunks(socket, buffer, head).await?,
        _ => return Err("an answer without a length".into()),
    };
    if status != counts {
        return Ok(Err((status, format!("{text}{}", String::from_utf8_lossy(&body)))));
    }
    let version = header("tidegate-model-version:").and_then(|version| version.parse().ok());
    Ok(Ok(Answer { body, version }))
}

async fn read_chunks(socket: &mut TcpStream, buffer: &mut Vec<u8>, mut at: usize) -> Outcome<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            match buffer[at..].windows(2).position(|window| window == b"\r\n") {
                Some(end) => break at + end,
                None => more(socket, buffer).await?,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[at..line])?.trim(), 16)?;
        let end = line + 2 + size + 2;
        while buffer.len() < end {
            more(socket, buffer).await?;
        }
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&buffer[line + 2..line + 2 + size]);
        at = end;
    }
}

async fn more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<()> {
    if buffer.len() > MAX_ANSWER {
        return Err("an answer over the limit".into());
    }
    match socket.read_buf(buffer).await? {
        0 => Err("the server closed the connection".into()),
        _ => Ok(()),
    }
}
