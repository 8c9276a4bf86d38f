use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs a server until standard input ends, which it does with the test process, and removes the server's folder.
const GUARD: &str = r#"
trap '' HUP INT QUIT TERM
folder=$1
shift
"$@" </dev/null >"$folder/log" 2>&1 &
while read -r line; do :; done
kill -KILL $!
wait
rm -rf "$folder"
"#;

/// A server of a test's own: ended when dropped, or with the test process, however that ends. A shared one is never dropped.
pub struct Guarded {
    guard: Child,
    folder: PathBuf,
}

impl Guarded {
    /// A new folder for a server's files, which is the server's to remove once it is started.
    pub fn new_folder() -> PathBuf {
        tempfile::tempdir().expect("a temporary folder can be made").keep()
    }

    /// Starts `program`. What it says is in `folder/log`.
    pub fn start(program: &Path, arguments: &[&OsStr], folder: PathBuf) -> Self {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&folder).arg(program).args(arguments);
        // Nobody who reads the test's output may have to wait for the guard, and no signal of a terminal ends it.
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let guard = guard.spawn().expect("there is a shell");
        Self { guard, folder }
    }

    /// The server's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // It removed what there was.
        let _ = self.guard.wait();
    }
}
