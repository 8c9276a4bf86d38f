use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a [`Proxy`] does to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Lets this many bytes of each answer through in a second.
    Slow(usize),
    /// Closes the connection as soon as it has read the request's head.
    HangUp,
    /// Gives this many bytes of the answer's body, then nothing for as long as it lives. It does not read what comes in.
    Stall(usize),
    /// Gives this many bytes of the answer's body, then closes the connection.
    Cut(usize),
    /// Flips a bit of this byte of the answer's body.
    Corrupt(usize),
    /// Answers by itself: status line without the version, and headers, each with its line end.
    Answer(&'static str),
}

/// Answers a request with this head by itself, if it gives something: status line without the version, headers, an empty
/// line and the body.
type Intercept = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A proxy on the loopback before an HTTP server, that makes trouble when it is told to; ended when dropped.
///
/// Every connection serves one request. The `Host` of the client is kept, so signatures stay good.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: String,
    intercept: Box<Intercept>,
    state: Mutex<State>,
    stopped: Condvar,
}

struct State {
    trouble: Trouble,
    /// In how many requests it is still made.
    times: usize,
    /// What their first line has to have in it.
    only: &'static str,
    requests: Vec<String>,
    is_stopped: bool,
}

impl Proxy {
    /// Starts one before the server at `upstream`, without trouble.
    pub fn start(upstream: &str) -> Self {
        Self::intercepting(upstream, |_| None)
    }

    /// Starts one that lets `intercept` answer what it wants to.
    pub fn intercepting(
        upstream: &str,
        intercept: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("the listener is bound");
        let state =
            State { trouble: Trouble::None, times: 0, only: "", requests: Vec::new(), is_stopped: false };
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            intercept: Box::new(intercept),
            state: Mutex::new(state),
            stopped: Condvar::new(),
        });
        let server = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.state.lock().expect("no thread fails").is_stopped {
                        return;
                    }
                    let (Ok(stream), shared) = (stream, Arc::clone(&shared)) else { continue };
                    thread::spawn(move || {
                        // A side that goes away is what this is about.
                        let _ = shared.serve(&stream);
                        let _ = stream.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { address, shared, server: Some(server) }
    }

    /// Its host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Makes trouble in every request from now on.
    pub fn make(&self, trouble: Trouble) {
        self.make_times(trouble, usize::MAX, "");
    }

    /// Makes trouble in the next `times` requests whose first line has `only` in it.
    pub fn make_times(&self, trouble: Trouble, times: usize, only: &'static str) {
        let mut state = self.shared.state.lock().expect("no thread fails");
        (state.trouble, state.times, state.only) = (trouble, times, only);
    }

    /// The first lines of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state.lock().expect("no thread fails").requests.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state.lock().expect("no thread fails").is_stopped = true;
        self.shared.stopped.notify_all();
        // Wakes it up to see that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut client: &TcpStream) -> io::Result<()> {
        let mut from_client = BufReader::new(client);
        let head = read_head(&mut from_client)?;
        let first = head.lines().next().unwrap_or_default().to_owned();
        let trouble = self.trouble_for(&first);
        match trouble {
            Trouble::HangUp => return Ok(()),
            Trouble::Stall(0) => return self.wait(Duration::MAX),
            _ => {}
        }
        let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0_u64);
        let own = match trouble {
            Trouble::Answer(answer) => Some(format!("{answer}Content-Length: 0\r\n\r\n")),
            _ => (self.intercept)(&head),
        };
        if let Some(own) = own {
            io::copy(&mut from_client.take(length), &mut io::sink())?;
            return client.write_all(format!("HTTP/1.1 {}", closing(&own)).as_bytes());
        }
        let upstream = TcpStream::connect(&self.upstream)?;
        (&upstream).write_all(closing(&head).as_bytes())?;
        io::copy(&mut from_client.take(length), &mut &upstream)?;
        let mut from_upstream = BufReader::new(&upstream);
        let answer = read_head(&mut from_upstream)?;
        client.write_all(closing(&answer).as_bytes())?;
        self.pass_body(trouble, &mut from_upstream, client)
    }

    fn pass_body(&self, trouble: Trouble, from: &mut dyn Read, mut to: &TcpStream) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let (mut passed, start) = (0_usize, Instant::now());
        loop {
            let limit = match trouble {
                Trouble::Cut(limit) | Trouble::Stall(limit) => limit - passed,
                Trouble::Slow(rate) => (rate / 10).max(1),
                _ => buffer.len(),
            };
            if limit == 0 {
                return match trouble {
                    Trouble::Stall(_) => self.wait(Duration::MAX),
                    _ => Ok(()),
                };
            }
            let wanted = limit.min(buffer.len());
            let count = from.read(&mut buffer[..wanted])?;
            if count == 0 {
                return Ok(());
            }
            if let Trouble::Corrupt(at) = trouble
                && (passed..passed + count).contains(&at)
            {
                buffer[at - passed] ^= 1;
            }
            to.write_all(&buffer[..count])?;
            passed += count;
            if let Trouble::Slow(rate) = trouble {
                let due = Duration::from_secs_f64(passed as f64 / rate as f64);
                self.wait(due.saturating_sub(start.elapsed()))?;
            }
        }
    }

    fn trouble_for(&self, first: &str) -> Trouble {
        let mut state = self.state.lock().expect("no thread fails");
        state.requests.push(first.to_owned());
        if state.times == 0 || !first.contains(state.only) {
            return Trouble::None;
        }
        state.times -= 1;
        state.trouble
    }

    /// Waits; an error if the proxy ends meanwhile.
    fn wait(&self, time: Duration) -> io::Result<()> {
        let state = self.state.lock().expect("no thread fails");
        let wait = self
            .stopped
            .wait_timeout_while(state, time.min(Duration::from_secs(3600)), |state| !state.is_stopped);
        match wait.expect("no thread fails").0.is_stopped {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

/// Lines up to and with the empty one.
fn read_head(from: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if from.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head[before..].trim_end().is_empty() {
            return Ok(head);
        }
    }
}

fn header<'h>(head: &'h str, wanted: &str) -> Option<&'h str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
}

/// The same head (and what follows it), asking for one request per connection.
fn closing(message: &str) -> String {
    let (head, rest) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
    let is_other = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
    let lines: Vec<&str> = head.lines().filter(is_other).collect();
    format!("{}\r\nConnection: close\r\n\r\n{rest}", lines.join("\r\n"))
}
