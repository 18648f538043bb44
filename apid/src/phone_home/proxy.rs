//! The request to an HTTP proxy to connect, and its answer: 8 KiB and 20 seconds at most. Redirects are not followed, and nothing that the
//! answer says beyond its status counts.

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use machine_config::types::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::settings::Address;

/// Bytes of an answer's head.
const MAX_HEAD: usize = 8 << 10;
/// Time for request and answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why a proxy did not connect.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It wants to know who asks.
    #[error("it asks for a user and password (407): hub.proxy.user and hub.proxy.password")]
    Credentials,
    /// It sends elsewhere.
    #[error("it answered with a redirect ({code}), which is not followed")]
    Redirect {
        /// The HTTP status.
        code: u16,
    },
    /// It refuses.
    #[error("it answered {code}")]
    Refused {
        /// The HTTP status.
        code: u16,
    },
    /// It is no HTTP proxy.
    #[error("what it answered is no answer of an HTTP proxy")]
    Malformed,
    /// It sent something before it was its turn.
    #[error("it sent something in the hub's place")]
    Spoke,
    /// Nothing came, or too slowly.
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// The connection to it broke.
    #[error("the connection to it broke")]
    Io(#[source] io::Error),
}

/// Has the proxy at the other end of `stream` connect it to `target`.
pub(super) async fn connect<S>(stream: &mut S, target: &Address, credentials: Option<&(String, Secret)>) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        stream.write_all(request(target, credentials).as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD {
            let mut piece = [0; 1024];
            match stream.read(&mut piece).await? {
                0 => break,
                length => head.extend_from_slice(&piece[..length]),
            }
        }
        Ok(head)
    };
    let head = tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| ProxyError::TimedOut)?.map_err(ProxyError::Io)?;
    judge(&head)
}

fn request(target: &Address, credentials: Option<&(String, Secret)>) -> String {
    let authority = target.authority();
    let authorization = credentials.map(|(user, password)| {
        let word = STANDARD.encode(format!("{user}:{}", password.expose()));
        format!("Proxy-Authorization: Basic {word}\r\n")
    });
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n", authorization.unwrap_or_default())
}

/// What an answer means: only a whole head with a status 2xx, and nothing behind it, is a connection.
fn judge(answer: &[u8]) -> Result<(), ProxyError> {
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").ok_or(ProxyError::Malformed)?;
    let status = answer.get(..12).and_then(|line| std::str::from_utf8(line).ok()).ok_or(ProxyError::Malformed)?;
    let code = status.strip_prefix("HTTP/1.1 ").or_else(|| status.strip_prefix("HTTP/1.0 ")).ok_or(ProxyError::Malformed)?;
    match code.parse().map_err(|_| ProxyError::Malformed)? {
        // The hub says nothing before it is greeted.
        200..300 if answer.len() > end + 4 => Err(ProxyError::Spoke),
        200..300 => Ok(()),
        407 => Err(ProxyError::Credentials),
        code @ 300..400 => Err(ProxyError::Redirect { code }),
        code => Err(ProxyError::Refused { code }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hub() -> Address {
        Address { host: "fd00::1".into(), port: 443 }
    }

    #[test]
    fn the_request_has_these_bytes() {
        let credentials = ("kim".to_owned(), Secret::from("hunter2".to_owned()));
        assert_eq!(
            request(&hub(), Some(&credentials)),
            "CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\nProxy-Authorization: Basic a2ltOmh1bnRlcjI=\r\n\r\n"
        );
        assert_eq!(request(&hub(), None), "CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\n\r\n");
    }

    #[test]
    fn only_a_plain_yes_is_a_connection() {
        for good in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n", "HTTP/1.1 204 \r\n\r\n"]
        {
            judge(good.as_bytes()).expect(good);
        }
        type Expected = fn(&ProxyError) -> bool;
        let cases: [(&str, Expected); 9] = [
            ("", |error| matches!(error, ProxyError::Malformed)),
            ("HTTP/1.1 200 OK\r\n", |error| matches!(error, ProxyError::Malformed)),
            ("HTTP/2 200\r\n\r\n........", |error| matches!(error, ProxyError::Malformed)),
            ("HTTP/1.1 2xx\r\n\r\n", |error| matches!(error, ProxyError::Malformed)),
            ("HTTP/1.1 +20 \r\n\r\n", |error| matches!(error, ProxyError::Refused { .. } | ProxyError::Malformed)),
            ("HTTP/1.1 200 OK\r\n\r\n\x16\x03", |error| matches!(error, ProxyError::Spoke)),
            ("HTTP/1.1 407 Who?\r\n\r\n", |error| matches!(error, ProxyError::Credentials)),
            ("HTTP/1.1 302 Found\r\nLocation: http://portal\r\n\r\n", |error| {
                matches!(error, ProxyError::Redirect { code: 302 })
            }),
            ("HTTP/1.1 502 Bad\r\n\r\n", |error| matches!(error, ProxyError::Refused { code: 502 })),
        ];
        for (answer, expected) in cases {
            let error = judge(answer.as_bytes()).expect_err(answer);
            assert!(expected(&error), "{answer:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_taken_for_another(code in 0_u16..1000, bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let whole = format!("HTTP/1.1 {code:03} x\r\n\r\n");
            prop_assert_eq!(judge(whole.as_bytes()).is_ok(), (200..300).contains(&code));
            // Any other bytes get an answer and no panic.
            prop_assert!(judge(&bytes).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_or_silent_answer_ends() {
        let (mut device, mut proxy) = tokio::io::duplex(1 << 10);
        let flood = tokio::spawn(async move { while proxy.write_all(&[b'x'; 512]).await.is_ok() {} });
        assert!(matches!(connect(&mut device, &hub(), None).await, Err(ProxyError::Malformed)));
        drop(device);
        flood.await.expect("it ends with its reader");
        let (mut device, _silent) = tokio::io::duplex(1 << 10);
        assert!(matches!(connect(&mut device, &hub(), None).await, Err(ProxyError::TimedOut)));
    }
}
