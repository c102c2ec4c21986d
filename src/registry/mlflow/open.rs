//! The bytes of a file, from wherever its version is.
//!
//! Through the proxy a part of a file costs the server what the whole costs, unless its artifacts are on its own disk:
//! it fetches the object first and answers from that. It is no more than beginning again would cost, so a part is asked
//! for wherever something is there already. Its ETag is not used: for an object store it holds the time of that fetch and
//! changes each time. What shows that the file is still the same is its length, and in the end the digest that staging
//! makes, since MLflow keeps none.
//!
//! Invariant: a position that is not 0 was confirmed by the other side (`Content-Range`) or by the file itself.

use super::client::{MlflowClient, is_not_offered, origin_of, unreachable};
use super::messages::Presigned;
use super::place::{Place, below, unreadable};
use crate::registry::objects::{self, Stores};
use crate::registry::source::{Asked, RemoteBytes, RemoteFile, SourceError, checked_path};
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, RANGE};
use reqwest::{Response, StatusCode, Url};
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// How much of a file of this machine is read at once, bytes.
const PIECE: usize = 1 << 20;
/// The most headers that a presigned URL may ask for.
const MOST_HEADERS: usize = 32;

/// Opens a file of a version at its place.
pub(super) async fn open(
    (client, stores): (&MlflowClient, &Stores),
    place: &Place,
    file: &RemoteFile,
    start: u64,
) -> Result<Box<dyn RemoteBytes>, SourceError> {
    let path = checked_path(&file.path)?;
    let (netloc, root, presigned) = match place {
        Place::Local(directory) => return open_local(directory, path, start).await,
        Place::Objects(address) => {
            return objects::open(&stores.open(&address.store)?, &address.prefix, file, start).await;
        }
        Place::Proxy { netloc, root, presigned } => (netloc.as_deref(), root, *presigned),
    };
    let whole = below(root, path);
    if presigned && let Some(target) = ask_presigned(client, &whole).await? {
        return begin(client, target, file, start).await;
    }
    let url = client.file_url(netloc, "artifacts", &whole)?;
    begin(client, Target { url, headers: HeaderMap::new(), is_signed: false }, file, start).await
}

/// Where a file's bytes are asked for.
struct Target {
    url: Url,
    headers: HeaderMap,
    /// Whether the URL itself says who may have them.
    is_signed: bool,
}

impl Target {
    /// Asks for the bytes from `start` on.
    async fn ask(&self, client: &MlflowClient, start: u64) -> Result<Response, SourceError> {
        let mut headers = self.headers.clone();
        if start > 0 {
            let range = HeaderValue::from_str(&format!("bytes={start}-"));
            headers.insert(RANGE, range.expect("digits are a header's value"));
        }
        let url = self.url.clone();
        if self.is_signed { client.signed_bytes(url, headers).await } else { client.bytes(url, headers).await }
    }
}

/// The store's own URL of a file, and the headers that belong to it; nothing where there is none.
async fn ask_presigned(client: &MlflowClient, path: &str) -> Result<Option<Target>, SourceError> {
    let what = format!("a presigned URL of {path:?}");
    match client.ask::<Presigned>(client.file_url(None, "presigned", path)?).await? {
        Ok(presigned) => read_presigned(&presigned).map(Some).ok_or_else(|| SourceError::Unexpected {
            place: client.origin(),
            reason: format!("expected {what} for http or https with at most {MOST_HEADERS} plain headers"),
        }),
        Err(failure) if StatusCode::from_u16(failure.status).is_ok_and(is_not_offered) => Ok(None),
        Err(failure) => Err(failure.into_error(&client.origin(), &what)),
    }
}

fn read_presigned(presigned: &Presigned) -> Option<Target> {
    let url = Url::parse(&presigned.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if presigned.headers.len() > MOST_HEADERS {
        return None;
    }
    let header = |(name, value): (&String, &String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    let headers = presigned.headers.iter().map(header).collect::<Option<HeaderMap>>()?;
    Some(Target { url, headers, is_signed: true })
}

/// Asks for a file from `start` on, and for the whole where that is not what comes.
async fn begin(
    client: &MlflowClient,
    target: Target,
    file: &RemoteFile,
    start: u64,
) -> Result<Box<dyn RemoteBytes>, SourceError> {
    let place = origin_of(&target.url);
    if start > 0 {
        let answer = target.ask(client, start).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if is_the_rest(answer.headers(), start, file.size) => {
                return Ok(Box::new(HttpBytes { answer, position: start, place }));
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {}
            _ => return accept(client, answer, file, place).await,
        }
    }
    accept(client, target.ask(client, 0).await?, file, place).await
}

/// The whole of a file, if it comes.
async fn accept(
    client: &MlflowClient,
    mut answer: Response,
    file: &RemoteFile,
    place: String,
) -> Result<Box<dyn RemoteBytes>, SourceError> {
    if answer.status() != StatusCode::OK {
        let mut failure = client.failure(&mut answer).await;
        if failure.status == 404 {
            // The list had it: it is the file that is gone, whoever says so.
            failure.code.get_or_insert_default();
        }
        return Err(failure.into_error(&place, &format!("file {:?}", file.path)));
    }
    match (answer.content_length(), file.size) {
        (Some(found), Some(expected)) if found != expected => {
            let reason = format!("expected {expected} bytes of {:?} as listed, found {found}", file.path);
            Err(SourceError::Unexpected { place, reason })
        }
        _ => Ok(Box::new(HttpBytes { answer, position: 0, place })),
    }
}

/// Whether a part begins where it was asked to, and is of a file of the length that was listed.
fn is_the_rest(headers: &HeaderMap, start: u64, size: Option<u64>) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| read_range(range.to_str().ok()?));
    range.is_some_and(|(first, total)| first == start && (total.is_none() || size.is_none() || total == size))
}

/// `bytes 5-9/10`: the first byte and the length of the whole, RFC 9110 section 14.4.
fn read_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
    (first <= last && total.is_none_or(|total| last + 1 == total)).then_some((first, total))
}

struct HttpBytes {
    answer: Response,
    position: u64,
    place: String,
}

impl RemoteBytes for HttpBytes {
    fn position(&self) -> u64 {
        self.position
    }

    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        Box::pin(async {
            let piece = self.answer.chunk().await.map_err(|error| unreachable(&self.place, error))?;
            self.position += piece.as_ref().map_or(0, |piece| piece.len() as u64);
            Ok(piece)
        })
    }
}

struct LocalBytes {
    file: File,
    position: u64,
    path: PathBuf,
}

async fn open_local(directory: &Path, path: &str, start: u64) -> Result<Box<dyn RemoteBytes>, SourceError> {
    let path = directory.join(path);
    let opened = async {
        // Links were refused when the files were listed; one that came since must not lead elsewhere.
        let (root, real) = (tokio::fs::canonicalize(directory).await?, tokio::fs::canonicalize(&path).await?);
        if !real.starts_with(&root) {
            return Err(io::Error::other("it is a link to another place"));
        }
        let mut file = File::open(&real).await?;
        let metadata = file.metadata().await?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let position = if start <= metadata.len() { start } else { 0 };
        file.seek(SeekFrom::Start(position)).await?;
        Ok((file, position))
    };
    let (file, position) = opened.await.map_err(|error| unreadable(&path, &error))?;
    Ok(Box::new(LocalBytes { file, position, path }))
}

impl RemoteBytes for LocalBytes {
    fn position(&self) -> u64 {
        self.position
    }

    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        Box::pin(async {
            let mut piece = BytesMut::with_capacity(PIECE);
            let read = self.file.read_buf(&mut piece).await.map_err(|error| unreadable(&self.path, &error))?;
            self.position += read as u64;
            Ok((read > 0).then(|| piece.freeze()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_part_is_the_rest_only_from_its_first_byte_to_the_files_last() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes 5-8/10", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
        ] {
            assert_eq!(read_range(text), expected, "{text}");
        }
        let headers = |text| HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(text))]);
        assert!(is_the_rest(&headers("bytes 5-9/10"), 5, Some(10)));
        assert!(!is_the_rest(&headers("bytes 5-9/10"), 5, Some(11)) && !is_the_rest(&headers("bytes 5-9/10"), 4, None));
        assert!(!is_the_rest(&HeaderMap::new(), 0, None));
    }

    #[test]
    fn a_presigned_url_is_of_the_web_and_its_headers_are_plain() {
        let presigned = |url: &str, headers: &[(&str, &str)]| Presigned {
            url: url.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let target = read_presigned(&presigned("https://store/a?sig=1", &[("x-amz-a", "b")])).unwrap();
        assert_eq!((target.url.as_str(), target.headers.len()), ("https://store/a?sig=1", 1));
        let many: BTreeMap<_, _> = (0..=MOST_HEADERS).map(|number| (format!("x-{number}"), String::new())).collect();
        assert!(read_presigned(&Presigned { url: "https://store/a".to_owned(), headers: many }).is_none());
        for wrong in [presigned("file:///etc/passwd", &[]), presigned("https://store/a", &[("a", "b\r\nc: d")])] {
            assert!(read_presigned(&wrong).is_none());
        }
    }

    #[tokio::test]
    async fn a_file_of_this_machine_begins_where_it_is_asked_to() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("model.onnx"), b"0123456789").unwrap();
        for (start, position, expected) in [(0, 0, "0123456789"), (4, 4, "456789"), (10, 10, ""), (11, 0, "0123456789")]
        {
            let mut bytes = open_local(root.path(), "model.onnx", start).await.unwrap();
            assert_eq!(bytes.position(), position);
            let mut found = Vec::new();
            while let Some(piece) = bytes.next().await.unwrap() {
                found.extend_from_slice(&piece);
            }
            assert_eq!((found, bytes.position()), (expected.as_bytes().to_vec(), 10));
        }
        std::os::unix::fs::symlink("/etc/hostname", root.path().join("link")).unwrap();
        assert!(open_local(root.path(), "link", 0).await.is_err() && open_local(root.path(), "none", 0).await.is_err());
    }

    proptest! {
        #[test]
        fn a_range_is_read_as_it_is_written(first in 0_u64..1 << 60, more in 0_u64..1 << 60) {
            let last = first + more;
            prop_assert_eq!(read_range(&format!("bytes {first}-{last}/{}", last + 1)), Some((first, Some(last + 1))));
        }

        #[test]
        fn no_range_is_too_odd(text in "(bytes )?[0-9*/ -]{0,50}") {
            let _ = read_range(&text);
        }
    }
}
