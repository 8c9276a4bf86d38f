//! A machine that has nothing and gets what another one compiled, from Debian's registry on the loopback.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::contender::{Contender, Project, remove};
use super::taken::Taken;
use super::{SERVICE, SERVICE_PLACE};
use crate::bench::neighbours::{Daemon, in_path};
use crate::bench::stage;

const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(10);

/// The inner error says why it can't be measured. Carrack's state is another one afterwards.
pub(super) fn measure(carrack: &Contender<'_>, folder: &Path) -> Result<Result<Vec<Taken>, String>, String> {
    let Some(program) = in_path("docker-registry") else {
        return Ok(Err("docker-registry is not installed".to_owned()));
    };
    let folder = folder.join("registry");
    // Free now, and rarely taken in the moment until the registry has it.
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))?;
    let settings = folder.join("registry.yml");
    let text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
        folder.join("data").display()
    );
    stage::write(&settings, &text)?;
    let mut command = Command::new(program);
    let is_ready = || TcpStream::connect(address).is_ok();
    let _registry = match Daemon::start(command.arg("serve").arg(&settings), &folder.join("log"), is_ready) {
        Ok(registry) => registry,
        Err(why) => return Ok(Err(why)),
    };
    let cache = format!("type=registry,ref={address}/carrack/units");
    let edit = |round: usize| {
        let words = format!("{SERVICE_PLACE}, machine {round}");
        carrack.edit(Project::Harbour, SERVICE, &[(SERVICE_PLACE, &words)])
    };
    edit(0)?;
    if let Err(why) = carrack.build_with(Project::Harbour, &["--cache-to", &cache]) {
        return Ok(Err(why));
    }
    // Publishing may go on after the build.
    let start = Instant::now();
    while !folder.join("data/docker/registry/v2/repositories/carrack/units/_manifests/tags").exists() {
        if start.elapsed() > PATIENCE {
            return Ok(Err("nothing came into the registry".to_owned()));
        }
        thread::sleep(Duration::from_millis(100));
    }
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        remove(&carrack.home())?;
        edit(round)?;
        let taken = carrack.build_with(Project::Harbour, &["--cache-from", &cache])?;
        let told = taken.told();
        if told.compiled > told.fresh {
            return Ok(Err(format!(
                "{} of {} targets were compiled",
                told.compiled,
                told.compiled + told.fresh
            )));
        }
        times.push(taken);
    }
    Ok(Ok(times))
}
