//! A registry on the loopback that wants a token for everything, as a company's own would.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::{fs, thread};

use carrack_base::Digest;
use carrack_testkit::Project;
use serde_json::json;

/// The token that opens it.
pub(crate) const TOKEN: &str = "token-of-the-clinic";

/// A running registry with the one package `greeting` 1.0.0, which greets.
pub(crate) struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

struct Shared {
    config: String,
    entry: String,
    archive: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Paths that were given out.
    given: Vec<String>,
    refused: usize,
    stopped: bool,
}

impl Registry {
    /// Packs the package with cargo and starts to serve it.
    pub(crate) fn start() -> Self {
        let (entry, archive) = greeting_package();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = json!({"dl": format!("http://{address}/crates"), "auth-required": true}).to_string();
        let shared = Arc::new(Shared { config, entry, archive, state: Mutex::default() });
        let server = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.state.lock().unwrap().stopped {
                        return;
                    }
                    // A client that goes away in the middle asks again.
                    let _ = shared.serve(stream.unwrap());
                }
            }
        });
        Self { address, shared, server: Some(server) }
    }

    /// The index's address for cargo's configuration.
    pub(crate) fn index(&self) -> String {
        format!("sparse+http://{}/index/", self.address)
    }

    /// How often the package itself was given out.
    pub(crate) fn downloads(&self) -> usize {
        let state = self.shared.state.lock().unwrap();
        state.given.iter().filter(|path| path.starts_with("/crates/")).count()
    }

    /// How often somebody came without the token.
    pub(crate) fn refused(&self) -> usize {
        self.shared.state.lock().unwrap().refused
    }

    /// Ends it: from now on nothing listens.
    pub(crate) fn stop(&mut self) {
        let Some(server) = self.server.take() else { return };
        self.shared.state.lock().unwrap().stopped = true;
        // Wakes it up to see that it is over.
        let _ = TcpStream::connect(self.address);
        server.join().unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut token = String::new();
        for line in lines {
            let line = line?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => token = value.to_owned(),
                None => break,
                Some(_) => {}
            }
        }
        let body = match path.as_str() {
            "/index/config.json" => Some(self.config.as_bytes()),
            "/index/gr/ee/greeting" => Some(self.entry.as_bytes()),
            "/crates/greeting/1.0.0/download" => Some(&self.archive[..]),
            _ => None,
        };
        let (status, body) = match body {
            _ if token != TOKEN => ("401 Unauthorized\r\nWWW-Authenticate: Cargo", &b""[..]),
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", &b""[..]),
        };
        let mut state = self.state.lock().unwrap();
        if token == TOKEN {
            state.given.push(path)
        } else {
            state.refused += 1
        }
        drop(state);
        let length = body.len();
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
        stream.write_all(body)
    }
}

/// The sources of `greeting`, which says `text`.
pub(crate) fn write_greeting(project: &Project, folder: &str, text: &str) {
    let manifest = "[package]\nname = \"greeting\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\
                    description = \"Greets.\"\nlicense = \"MIT\"\n\n[workspace]\n";
    project.write(&format!("{folder}/Cargo.toml"), manifest);
    project.write(&format!("{folder}/src/lib.rs"), &format!("pub const GREETING: &str = \"{text}\";\n"));
}

/// The package `greeting` 1.0.0 as registries have it: the line of the index, and the archive.
pub(crate) fn greeting_package() -> (String, Vec<u8>) {
    let project = Project::new();
    write_greeting(&project, ".", "hello from the registry");
    let target = project.path().join("target");
    let mut cargo = Command::new("cargo");
    cargo.args(["package", "--quiet", "--no-verify", "--offline", "--target-dir"]).arg(&target);
    let output = cargo.current_dir(project.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let archive = fs::read(target.join("package/greeting-1.0.0.crate")).unwrap();
    let entry = json!({"name": "greeting", "vers": "1.0.0", "deps": [], "cksum": Digest::of(&archive).hex(),
        "features": {}, "yanked": false});
    (format!("{entry}\n"), archive)
}
