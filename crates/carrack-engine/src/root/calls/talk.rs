//! The conversation between stand-ins and this process.
//!
//! ```text
//! <slot>/taken      made by the one script that may use the slot
//! <slot>/ask        FIFO, from scripts:   call <pid> <program> · said · ended · free
//! <slot>/answer     FIFO, to scripts:     ask · go · watch [<variable for jobs>] · done
//! <slot>/question   what the script has the program asked after `ask`; the answer is in `said`
//!
//! script:  call ──────────► [said ──►] ──────► program ── ended ──► free
//! here:          ask | go ──►     watch | go ──►                done ──►
//! ```
//!
//! A slot has a thread that serves one script after the other. Both ends of a FIFO are open here, so that opening one never
//! waits. A script that is killed leaves its slot to the next.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use carrack_base::{Cancel, EventSink, MOST_TEXT, open_regular_itself};
use carrack_graph::{Invocation, Question};
use carrack_sandbox::{Inside, Process};
use carrack_store::Store;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::around::{Around, Counts, Going};
use super::jobs::{Jobs, Share};
use super::{Calls, quoted, real};
use crate::error::{At, EngineError};
use crate::shared::AskedCaches;

/// How many programs are served at the same time; what is more runs without.
const SLOTS: usize = 8;

/// Where scripts talk to.
pub(super) struct Talk {
    folder: PathBuf,
    slots: Vec<Slot>,
}

struct Slot {
    /// Open, so that nothing that a command puts in its place is taken for it.
    folder: OwnedFd,
    ask: File,
    answer: File,
}

/// What scripts were served with.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    /// Calls that have not ended.
    going: Going,
}

/// What was heard.
#[derive(PartialEq)]
enum Heard {
    Word(String),
    /// The script is gone.
    Gone,
    /// The command is gone.
    Over,
}

impl Talk {
    pub(super) fn prepare(folder: &Path) -> Result<Self, EngineError> {
        fs::create_dir(folder).at("create", folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755)).at("set the mode of", folder)?;
        let slots = (0..SLOTS).map(|number| Slot::prepare(folder.join(number.to_string())));
        Ok(Self { folder: folder.to_owned(), slots: slots.collect::<Result<_, _>>()? })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
}

impl Slot {
    fn prepare(folder: PathBuf) -> Result<Self, EngineError> {
        fs::create_dir(&folder).at("create", &folder)?;
        let fifo = |name: &str| -> Result<File, EngineError> {
            let path = folder.join(name);
            let made = rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0);
            made.map_err(io::Error::from).at("create", &path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o666)).at("set the mode of", &path)?;
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            File::options().read(true).write(true).custom_flags(flags).open(&path).at("open", &path)
        };
        let (ask, answer) = (fifo("ask")?, fifo("answer")?);
        // Everybody may take it, nobody may touch what others have made in it.
        fs::set_permissions(&folder, Permissions::from_mode(0o1777)).at("set the mode of", &folder)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&folder, flags, Mode::empty());
        Ok(Self { folder: opened.map_err(io::Error::from).at("open", &folder)?, ask, answer })
    }

    /// Where a file of the slot is. A command may have put anything there, also a link that leads out of its root.
    fn place(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(name)
    }

    /// Waits for a word from a script. Without a process, for whoever comes first.
    fn hear(&self, over: &PipeReader, process: Option<&Process>) -> Heard {
        let mut bytes = Vec::new();
        loop {
            let mut waiting = vec![PollFd::new(&self.ask, PollFlags::IN), PollFd::new(over, PollFlags::IN)];
            let handle = process.map(Process::handle);
            waiting.extend(handle.as_ref().map(|handle| PollFd::new(handle, PollFlags::IN)));
            match rustix::event::poll(&mut waiting, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Heard::Over,
            }
            let [ask, over, gone] =
                [0, 1, 2].map(|at| waiting.get(at).is_some_and(|fd| !fd.revents().is_empty()));
            if ask {
                let mut buffer = [0; 512];
                let length = (&self.ask).read(&mut buffer).unwrap_or(0);
                bytes.extend_from_slice(&buffer[..length]);
                if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
                    return Heard::Word(String::from_utf8_lossy(&bytes[..end]).into_owned());
                }
            } else if over {
                return Heard::Over;
            } else if gone {
                return Heard::Gone;
            }
        }
    }

    fn say(&self, word: &str) {
        // Nobody waits for more than one word: there is room.
        let _ = (&self.answer).write_all(format!("{word}\n").as_bytes());
    }

    /// Makes the slot anybody's again.
    fn release(&self) {
        while (&self.answer).read(&mut [0; 512]).is_ok_and(|length| length > 0) {}
        for name in ["question", "said", "taken"] {
            let _ = fs::remove_file(self.place(name));
        }
    }

    /// Has the script ask its program. `None` if it did not answer.
    fn ask(
        &self,
        question: &Question,
        number: usize,
        over: &PipeReader,
        process: &Process,
    ) -> Option<Vec<u8>> {
        let mut file = File::create_new(self.place("question")).ok()?;
        file.write_all(&snippet(question, number)).ok()?;
        file.set_permissions(Permissions::from_mode(0o644)).ok()?;
        self.say("ask");
        if self.hear(over, Some(process)) != Heard::Word("said".to_owned()) {
            return None;
        }
        let mut answer = Vec::new();
        let said = open_regular_itself(&self.place("said")).ok()?;
        said.take(MOST_TEXT).read_to_end(&mut answer).ok()?;
        Some(answer)
    }
}

/// What the script runs.
fn snippet(question: &Question, number: usize) -> Vec<u8> {
    let word = |text: &OsString| -> Vec<u8> {
        let mut word = vec![b'\''];
        for byte in text.as_bytes() {
            match byte {
                b'\'' => word.extend_from_slice(br"'\''"),
                byte => word.push(*byte),
            }
        }
        word.extend_from_slice(b"' ");
        word
    };
    let mut line = Vec::new();
    for (name, value) in &question.variables {
        line.extend_from_slice(format!("{name}=").as_bytes());
        line.extend(word(value));
    }
    line.extend_from_slice(format!("{} ", quoted(&real(number))).as_bytes());
    line.extend(question.arguments.iter().flat_map(word));
    line.extend_from_slice(b"</dev/null >\"$carrack_talk/said\" 2>/dev/null\n");
    line
}

/// What is needed to serve scripts.
pub(crate) struct Host<'h> {
    pub(crate) store: &'h Store,
    pub(crate) jobs: &'h Jobs,
    pub(crate) cancel: &'h Cancel,
    /// Whether files can be given away.
    pub(crate) gives_away: bool,
    pub(crate) asked: &'h AskedCaches<'h>,
    pub(crate) events: &'h dyn EventSink,
    pub(crate) is_over: &'h (dyn Fn() -> bool + Sync),
}

/// What all slots of a command are served with.
#[derive(Clone, Copy)]
struct Served<'s> {
    host: &'s Host<'s>,
    over: &'s PipeReader,
    tally: &'s Tally,
    share: &'s Share<'s>,
}

impl Calls {
    /// Serves the scripts of a command for as long as `work`, which follows it, takes.
    pub(crate) fn serve<T>(&self, inside: Inside, host: &Host<'_>, work: impl FnOnce() -> T) -> (T, Tally) {
        let tally = Tally::default();
        let Ok((over, is_going_on)) = io::pipe() else { return (work(), tally) };
        let share = host.jobs.share();
        let result = std::thread::scope(|scope| {
            for slot in &self.talk.slots {
                let served = Served { host, over: &over, tally: &tally, share: &share };
                scope.spawn(move || self.serve_slot(slot, inside, &served));
            }
            let result = work();
            drop(is_going_on);
            result
        });
        (result, tally)
    }

    fn serve_slot(&self, slot: &Slot, inside: Inside, served: &Served<'_>) {
        loop {
            let word = match slot.hear(served.over, None) {
                Heard::Word(word) => word,
                Heard::Gone | Heard::Over => return,
            };
            let mut words = word.split(' ');
            let (Some("call"), Some(pid), Some(number)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let process = pid.parse().ok().and_then(|pid| inside.process(pid).ok());
            let number = number.parse().ok().filter(|number| *number < self.programs.len());
            match (process, number) {
                (Some(process), Some(number)) => {
                    let is_over = self.serve_call(slot, &process, number, served);
                    slot.release();
                    if is_over {
                        return;
                    }
                }
                _ => {
                    slot.say("go");
                    if slot.hear(served.over, None) == Heard::Over {
                        return;
                    }
                    slot.release();
                }
            }
        }
    }

    /// Serves one script. Returns whether the command is over.
    fn serve_call(&self, slot: &Slot, process: &Process, number: usize, served: &Served<'_>) -> bool {
        let Served { host, over, tally, share } = *served;
        let invocation = self.invocation(process, number);
        let mut around =
            invocation.and_then(|call| Around::new(&*self.tool, &call, process, host, &tally.going));
        // Before anything is looked at: what is there must not change while the call waits.
        let job = around.as_ref().and_then(|_| share.begin(&[over, &process.handle()]));
        if let Some(begun) = &mut around {
            let question = begun.question();
            let answer = slot.ask(&question, number, over, process);
            let is_begun = answer.is_some_and(|answer| begun.before(&answer));
            if !is_begun {
                around = None;
            }
        }
        match &around {
            Some(around) => {
                let variable = around.jobs_variable().filter(|_| job.is_some()).unwrap_or_default();
                slot.say(format!("watch {variable}").trim_end());
            }
            None => slot.say("go"),
        }
        let mut keep = || {
            if let Some(around) = around.take() {
                let counts = around.after();
                tally.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(counts);
            }
        };
        loop {
            match slot.hear(over, Some(process)) {
                Heard::Word(word) if word == "ended" => {
                    keep();
                    slot.say("done");
                }
                Heard::Word(word) if word == "free" => return false,
                Heard::Word(_) => {}
                // Stopped or killed: what had been finished is kept. Its root is there for as long as the process is held. Of a
                // build that is stopped, the program itself may go last, and has its locks until then.
                ended => {
                    let is_over =
                        ended == Heard::Over || (host.is_over)() && slot.hear(over, None) == Heard::Over;
                    keep();
                    return is_over;
                }
            }
        }
    }

    fn invocation(&self, process: &Process, number: usize) -> Option<Invocation> {
        let program = &self.programs[number];
        // The shell and the script come before what the script was called with.
        let arguments = process.arguments.get(2..)?.to_vec();
        let text = |(name, value): &(OsString, OsString)| {
            Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
        };
        Some(Invocation {
            program: PathBuf::from(&program.path),
            content: program.content,
            arguments,
            folder: process.folder.clone(),
            variables: process.variables.iter().filter_map(text).collect(),
        })
    }
}

impl Tally {
    /// In words, if there is something to tell.
    pub(crate) fn words(&self) -> Option<String> {
        self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).words()
    }
}
