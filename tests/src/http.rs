//! Asks the greeting container over TCP, with the least HTTP that it understands.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The body of what answers on `port` of this host's loopback address.
pub fn ask(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) => Ok(body.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {answer:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answers(text: &'static str) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 18];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
        });
        let body = ask(port);
        server.join().unwrap();
        body
    }

    #[test]
    fn the_body_is_what_follows_the_headers() {
        assert_eq!(answers("HTTP/1.0 200 OK\r\nA: b\r\n\r\nhello\n").unwrap(), "hello\n");
        assert!(answers("garbage").is_err());
    }
}
