//! What Dockerfiles fetch from: a web server and a git server on the loopback.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use carrack_testkit::{Guarded, free_port};

/// Answers with the files below a folder, from a thread that ends with the process.
///
/// `/dated/…` has a `Last-Modified`, `/named/…` tells another name in `Content-Disposition`, `/moved/…` leads to the same path
/// without that, `/any-other/` is 404.
pub(crate) fn web(folder: &Path) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let folder = folder.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            // Who hangs up gets no answer.
            thread::spawn(move || answer(&stream, &folder).unwrap_or_default());
        }
    });
    address
}

fn answer(stream: &TcpStream, folder: &Path) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let mut head = String::new();
    let mut rest = path;
    let mut status = "200 OK";
    if let Some(inner) = path.strip_prefix("/moved") {
        status = "302 Found";
        head.push_str(&format!("Location: {inner}\r\n"));
    } else if let Some(inner) = path.strip_prefix("/dated") {
        rest = inner;
        head.push_str("Last-Modified: Mon, 02 Jan 2006 15:04:05 GMT\r\n");
    } else if let Some(inner) = path.strip_prefix("/named") {
        rest = inner;
        head.push_str("Content-Disposition: attachment; filename=\"given name.txt\"\r\n");
    }
    let content = fs::read(folder.join(rest.trim_start_matches('/'))).unwrap_or_else(|_| {
        if status.starts_with("200") {
            status = "404 Not Found";
        }
        Vec::new()
    });
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )?;
    if method != "HEAD" {
        stream.write_all(&content)?;
    }
    stream.flush()
}

/// Git's own server with the repository `clinic.git`, which has branches `main` and `dev` and a tag `v1`, and with `fleet.git`,
/// which has a submodule. `None` where it is not installed.
pub(crate) fn git(folder: std::path::PathBuf) -> Option<(String, Guarded)> {
    let program = Path::new("/usr/lib/git-core/git-daemon");
    if !program.exists() {
        return None;
    }
    let repositories = folder.join("repositories");
    let port = free_port();
    let address = format!("git://127.0.0.1:{port}");
    make_repositories(&repositories, &address);
    let base = format!("--base-path={}", repositories.display());
    let port = format!("--port={port}");
    let arguments = [
        "--reuseaddr",
        "--export-all",
        "--listen=127.0.0.1",
        "--enable=upload-archive",
        &base,
        &port,
        repositories.to_str().unwrap(),
    ];
    let arguments: Vec<&std::ffi::OsStr> = arguments.iter().map(|argument| argument.as_ref()).collect();
    let server = Guarded::start(program, &arguments, folder);
    Some((address, server))
}

fn make_repositories(folder: &Path, address: &str) {
    let work = folder.join("work");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(&work).args(["-c", "protocol.file.allow=always"]).args(arguments);
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_AUTHOR_NAME", "Mara"),
            ("GIT_AUTHOR_EMAIL", "mara@clinic.example"),
            ("GIT_AUTHOR_DATE", "1700000000 +0000"),
            ("GIT_COMMITTER_NAME", "Mara"),
            ("GIT_COMMITTER_EMAIL", "mara@clinic.example"),
            ("GIT_COMMITTER_DATE", "1700000000 +0000"),
        ] {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    fs::create_dir_all(&work).unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    fs::write(work.join("lib.txt"), "library").unwrap();
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "library"]);
    git(&["clone", "--quiet", "--bare", ".", "../library.git"]);

    fs::remove_dir_all(&work).unwrap();
    fs::create_dir_all(work.join("sub/deep")).unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    fs::write(work.join("readme"), "first").unwrap();
    fs::write(work.join("sub/deep/file"), "deep").unwrap();
    fs::write(work.join("tool"), "#!/bin/sh\n").unwrap();
    symlink("readme", work.join("link")).unwrap();
    fs::set_permissions(work.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    git(&["tag", "-a", "v1", "-m", "one"]);
    fs::write(work.join("readme"), "second").unwrap();
    git(&["commit", "--quiet", "-am", "second"]);
    git(&["checkout", "--quiet", "-b", "dev", "v1"]);
    fs::write(work.join("readme"), "development").unwrap();
    git(&["commit", "--quiet", "-am", "third"]);
    git(&["checkout", "--quiet", "main"]);
    git(&["clone", "--quiet", "--bare", ".", "../clinic.git"]);

    // Of its own: what BuildKit once fetched for a submodule stays in its other checkouts of the repository.
    let modules = format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {address}/library.git\n");
    fs::write(work.join(".gitmodules"), modules).unwrap();
    let library = folder.join("library.git");
    git(&["clone", "--quiet", library.to_str().unwrap(), "lib"]);
    git(&["add", ".gitmodules", "lib"]);
    git(&["commit", "--quiet", "-m", "fourth"]);
    git(&["clone", "--quiet", "--bare", ".", "../fleet.git"]);
}
