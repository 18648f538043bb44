//! Sending a file: the whole or a part, in pieces, each read when the last one is gone.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::body::Bytes;

use super::range::{Wanted, wanted};
use super::stamp::Patched;
use crate::listen::Lasting;

/// Bytes of a piece.
const PIECE: u64 = 256 << 10;

/// A file to send.
#[derive(Debug)]
pub struct Served {
    pub(super) patched: Patched,
    pub(super) bytes: u64,
    /// Its strong entity tag, with its quotes.
    pub(super) etag: String,
    /// What to call it.
    pub(super) name: String,
}

/// The answer to a request with these headers.
pub fn answer(served: Served, headers: &HeaderMap) -> Response {
    let Served { patched, bytes, etag, name } = served;
    let value = |text: String| HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    let common = |length: u64| -> [(HeaderName, HeaderValue); 5] {
        [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (header::CONTENT_DISPOSITION, value(format!("attachment; filename=\"{name}\""))),
            (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
            (header::ETAG, value(etag.clone())),
            (header::CONTENT_LENGTH, HeaderValue::from(length)),
        ]
    };
    let tags = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if tags.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, value(etag))]).into_response();
    }
    let mut response = match wanted(headers, bytes, &etag) {
        Wanted::Whole => (common(bytes), body(patched, 0..bytes)).into_response(),
        Wanted::Part(part) => {
            let place = value(format!("bytes {}-{}/{bytes}", part.start, part.end - 1));
            let common = common(part.end - part.start);
            (StatusCode::PARTIAL_CONTENT, common, [(header::CONTENT_RANGE, place)], body(patched, part)).into_response()
        }
        Wanted::Nothing => {
            (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, value(format!("bytes */{bytes}")))]).into_response()
        }
    };
    response.extensions_mut().insert(Lasting);
    response
}

/// These bytes as a stream. Nothing is read before it is asked for; an error breaks the connection off, so that nobody takes a part for the whole.
fn body(patched: Patched, range: Range<u64>) -> Body {
    let patched = Arc::new(patched);
    let pieces = stream::unfold(range, move |rest| {
        let patched = Arc::clone(&patched);
        async move {
            if rest.is_empty() {
                return None;
            }
            let end = rest.end.min(rest.start + PIECE);
            let piece = rest.start..end;
            let read = tokio::task::spawn_blocking(move || patched.read(piece)).await;
            let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
            // After an error there is nothing more to read.
            let rest = if read.is_ok() { end..rest.end } else { rest.end..rest.end };
            Some((read.map(Bytes::from), rest))
        }
    });
    Body::from_stream(pieces)
}
