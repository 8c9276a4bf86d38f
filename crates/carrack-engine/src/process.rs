//! Follows a command: what it writes, and its end.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use carrack_sandbox::{Child, Exit};
use rustix::event::{PollFd, PollFlags, poll};

use crate::error::EngineError;

/// How often a build that waits for its command looks whether it has to stop.
const PATIENCE: Duration = Duration::from_millis(20);

/// Waits for a command's end, and kills it once `has_to_stop` says so.
pub(crate) fn wait(child: &mut Child, has_to_stop: &(dyn Fn() -> bool + Sync)) -> Result<Exit, EngineError> {
    let control = child.control();
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            // Ends when `done` is dropped, or kills the command when the build has to stop.
            while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = is_done.recv_timeout(PATIENCE) {
                if has_to_stop() {
                    control.kill();
                    return;
                }
            }
        });
        let exit = child.wait();
        drop(done);
        Ok(exit?)
    })
}

/// Reads until the other sides close. A pipe that fails is a closed one: how the command ended tells the rest.
///
/// The first pipe has precedence: what a command wrote there before it wrote to the second is also taken before. Cargo
/// puts its diagnostics on standard output and its last words, which speak of them, on standard error.
pub(crate) fn pump(pipes: [Option<impl Read + AsFd>; 2], mut take: impl FnMut(usize, &[u8])) {
    let mut open: Vec<(usize, _)> =
        pipes.into_iter().enumerate().filter_map(|(number, pipe)| Some((number, pipe?))).collect();
    let mut buffer = vec![0; 64 * 1024];
    while !open.is_empty() {
        let ready = {
            let mut polled: Vec<PollFd<'_>> =
                open.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
            // Without an answer all are as good as ready: reading waits, or fails for a reason.
            match poll(&mut polled, None) {
                Ok(_) => polled.iter().position(|polled| !polled.revents().is_empty()).unwrap_or(0),
                Err(_) => 0,
            }
        };
        let (number, pipe) = &mut open[ready];
        match pipe.read(&mut buffer) {
            Ok(length) if length > 0 => take(*number, &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => drop(open.remove(ready)),
        }
    }
}
