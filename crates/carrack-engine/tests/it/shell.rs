//! A tool whose program is a shell script that says on standard output what it made and read.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use carrack_base::{BuildEvent, EventSink, OutputStream, StepId};
use carrack_graph::{Invalidation, Observed, Observer, Places, Tool};

/// Understands the lines `artifact NAME PATH`, `file PATH` and `env NAME`; other output is only handed on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shell {
    invalidations: Arc<Mutex<Vec<Invalidation>>>,
}

impl Shell {
    /// What the engine said before each run, in the order of the runs.
    pub(crate) fn invalidations(&self) -> Vec<Invalidation> {
        self.invalidations.lock().unwrap().clone()
    }
}

impl Tool for Shell {
    fn invalidate(&self, invalidation: &Invalidation, _: &Places) -> io::Result<()> {
        self.invalidations.lock().unwrap().push(invalidation.clone());
        Ok(())
    }

    fn run_outside(&self, _: &mut BTreeMap<String, String>, _: &Places) {}

    fn observe(&self, step: StepId) -> Box<dyn Observer> {
        Box::new(Listener { step, stdout: Vec::new(), stderr: Vec::new() })
    }
}

struct Listener {
    step: StepId,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Observer for Listener {
    fn stdout(&mut self, bytes: &[u8], events: &dyn EventSink) {
        self.stdout.extend_from_slice(bytes);
        let (step, bytes) = (self.step, bytes.to_vec());
        events.emit(BuildEvent::StepOutput { step, stream: OutputStream::Stdout, bytes });
    }

    fn stderr(&mut self, bytes: &[u8], _: &dyn EventSink) {
        self.stderr.extend_from_slice(bytes);
    }

    fn close(&mut self, _: &dyn EventSink) {}

    fn finish(self: Box<Self>, places: &Places) -> io::Result<Observed> {
        let mut observed = Observed { summary: "ran".to_owned(), ..Observed::default() };
        for line in self.stdout.split(|byte| *byte == b'\n') {
            let mut words = line.splitn(3, |byte| *byte == b' ').map(path_of);
            match (words.next().as_deref().and_then(|word| word.to_str()), words.next(), words.next()) {
                (Some("artifact"), Some(name), Some(path)) => {
                    let name = name.to_str().unwrap().to_owned();
                    observed.artifacts.insert(name, places.on_host(&path));
                }
                (Some("file"), Some(path), None) => {
                    observed.files.insert(path);
                }
                (Some("env"), Some(name), None) => {
                    observed.env.insert(name.to_str().unwrap().to_owned());
                }
                _ => {}
            }
        }
        Ok(observed)
    }

    fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
