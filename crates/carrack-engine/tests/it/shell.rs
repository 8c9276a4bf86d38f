//! A tool whose program is a shell script that says on standard output what it made and read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use carrack_base::{BuildEvent, ContentDigest, EventSink, OutputStream, StepId};
use carrack_graph::{ChosenUnit, ExecOp, HarvestedUnit, Observed, OfferedUnit, Places, Run, Tool, World};

/// Understands the lines `artifact NAME PATH`, `file PATH` and `env NAME`; other output is only handed on. Knows no units.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shell;

impl Tool for Shell {
    fn realm(&self, _: &ExecOp, _: &Path) -> Option<ContentDigest> {
        None
    }

    fn begin(
        &self,
        step: StepId,
        _: &ExecOp,
        _: ContentDigest,
        _: Vec<OfferedUnit>,
        _: &dyn World,
    ) -> Box<dyn Run> {
        Box::new(Listener { step, stdout: Vec::new(), stderr: Vec::new() })
    }

    fn run_outside(&self, _: &mut BTreeMap<String, String>, _: &Places) {}
}

struct Listener {
    step: StepId,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run for Listener {
    fn units(&self) -> &[ChosenUnit] {
        &[]
    }

    fn stdout(&mut self, bytes: &[u8], events: &dyn EventSink) {
        self.stdout.extend_from_slice(bytes);
        let (step, bytes) = (self.step, bytes.to_vec());
        events.emit(BuildEvent::StepOutput { step, stream: OutputStream::Stdout, bytes });
    }

    fn stderr(&mut self, bytes: &[u8], _: &dyn EventSink) {
        self.stderr.extend_from_slice(bytes);
    }

    fn close(&mut self, _: &dyn EventSink) {}

    fn harvest(&mut self, _: &Path, _: &dyn World) -> io::Result<Vec<HarvestedUnit>> {
        Ok(Vec::new())
    }

    fn finish(self: Box<Self>, world: &dyn World) -> io::Result<Observed> {
        let mut observed = Observed { summary: "ran".to_owned(), ..Observed::default() };
        for line in self.stdout.split(|byte| *byte == b'\n') {
            let mut words = line.splitn(3, |byte| *byte == b' ').map(path_of);
            match (words.next().as_deref().and_then(|word| word.to_str()), words.next(), words.next()) {
                (Some("artifact"), Some(name), Some(path)) => {
                    let name = name.to_str().unwrap().to_owned();
                    observed.artifacts.insert(name, world.on_host(&path));
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
