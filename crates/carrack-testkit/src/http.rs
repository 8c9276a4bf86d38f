use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A server that takes longer than this to come up never will.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// What an HTTP server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; of a chunked one also the lengths of its chunks.
    pub body: String,
}

/// Asks the HTTP server at `address` once: `GET /health`, or with a JSON `body`, `POST /patients`.
pub fn ask(address: &str, request: &str, body: Option<&str>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    let head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let body = body.map_or_else(String::new, |body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let end = if body.is_empty() { "\r\n" } else { "" };
    stream.write_all(format!("{head}{body}{end}").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let unusable = || io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP: {answer}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(unusable)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(unusable)?;
    Ok(Answer { status, body: body.to_owned() })
}

/// Asks until a server answers at all, whatever it answers.
pub fn ask_until_it_answers(address: &str, request: &str) -> Answer {
    let start = Instant::now();
    loop {
        match ask(address, request, None) {
            Ok(answer) => return answer,
            Err(error) => assert!(start.elapsed() < PATIENCE, "nothing answers at {address}: {error}"),
        }
        thread::sleep(PAUSE);
    }
}

/// A port of the loopback that nobody had a moment ago, for servers that can't say which one they took.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
    listener.local_addr().expect("the listener is bound").port()
}
