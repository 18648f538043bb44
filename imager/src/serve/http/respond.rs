//! From a request to a response: which file, which part of it, or which refusal. Sockets and connections are [`super::server`]'s.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, IF_RANGE, RANGE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::body::Outgoing;
use super::range::{self, Part};
use super::receipt::Tally;
use crate::serve::names::Served;
use crate::serve::warehouse::{Content, Denied, Warehouse};

/// Firmware tells an EFI program from other files by this.
const EFI: &str = "application/efi";
const TEXT: &str = "text/plain; charset=utf-8";

/// The response to a request from `peer`.
pub fn respond<B>(request: &Request<B>, peer: Ipv4Addr, warehouse: &Arc<Warehouse>, tally: &Arc<Tally>) -> Response<Outgoing> {
    let head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => return refuse_method(),
    };
    // A query names no other file, and firmware sends none.
    let file = request.uri().path().parse::<Served>().map_err(|_| Denied::NotFound);
    let is_script = matches!(file, Ok(Served::Script(_)));
    match file.and_then(|file| warehouse.open(&file, peer)) {
        Err(denied) => refuse(status(&denied), &denied.to_string()),
        Ok(Content::Bytes(bytes)) => send_bytes(bytes, if is_script { TEXT } else { EFI }, head),
        Ok(Content::Image(image, delivery)) => {
            let bytes = image.bytes();
            let part = asked(request.headers(), bytes);
            let (status, range) = match part.clone() {
                Part::Whole => (StatusCode::OK, 0..bytes),
                Part::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
                Part::Nothing => return refuse_range(bytes),
            };
            let length = range.end - range.start;
            let body = if head { Outgoing::Bytes(None) } else { Outgoing::image(image, range, delivery, tally.clone()) };
            let mut response = plain(status, body, EFI, length);
            if let Part::Range(range) = part {
                put(&mut response, CONTENT_RANGE, &format!("bytes {}-{}/{bytes}", range.start, range.end - 1));
            }
            response
        }
    }
}

/// An image that changes between two requests would be told by `If-Range`; nothing here has a validator, so the whole is sent then.
fn asked(headers: &HeaderMap, bytes: u64) -> Part {
    if headers.contains_key(IF_RANGE) {
        return Part::Whole;
    }
    range::parse(headers.get(RANGE).and_then(|value| value.to_str().ok()), bytes)
}

fn send_bytes(bytes: Bytes, kind: &'static str, head: bool) -> Response<Outgoing> {
    let length = bytes.len() as u64;
    let body = if head { Outgoing::Bytes(None) } else { Outgoing::Bytes(Some(bytes)) };
    plain(StatusCode::OK, body, kind, length)
}

fn plain(status: StatusCode, body: Outgoing, kind: &'static str, length: u64) -> Response<Outgoing> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn put(response: &mut Response<Outgoing>, name: hyper::header::HeaderName, text: &str) {
    let value = HeaderValue::from_str(text).expect("digits and plain words are a header's value");
    response.headers_mut().insert(name, value);
}

fn status(denied: &Denied) -> StatusCode {
    match denied {
        Denied::NotFound => StatusCode::NOT_FOUND,
        Denied::Foreign(_) | Denied::Stranger | Denied::Served(_) => StatusCode::FORBIDDEN,
        Denied::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A refusal with its reason. (What is sent after HEAD is left out by the server.)
fn refuse(status: StatusCode, reason: &str) -> Response<Outgoing> {
    let text = format!("{reason}\n");
    let length = text.len() as u64;
    plain(status, Outgoing::text(text), TEXT, length)
}

fn refuse_method() -> Response<Outgoing> {
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served");
    put(&mut response, ALLOW, "GET, HEAD");
    response
}

fn refuse_range(bytes: u64) -> Response<Outgoing> {
    let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, "the file has no such bytes");
    put(&mut response, CONTENT_RANGE, &format!("bytes */{bytes}"));
    response
}
