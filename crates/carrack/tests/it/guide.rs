//! `docs/guide.md`: every command in it works, in the order in which it stands there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use carrack_testkit::{Docker, Program, has_program, skipped};

use crate::rustcare::copy_example_to_build_fast;
use crate::scene::new_folder;
use crate::stage::dockyard_folder;

const GUIDE: &str = "docs/guide.md";

/// Debian's client, in whose daemon builds have no network but the host's.
const CLIENT: &str = "#!/bin/sh\ncase $1 in\nbuild) shift; exec /usr/bin/docker build --network host \"$@\" ;;\n\
    *) exec /usr/bin/docker \"$@\" ;;\nesac\n";

/// A command, and what the guide says that it prints.
struct Step {
    line: usize,
    command: String,
    printed: Vec<String>,
}

#[test]
fn every_command_works() {
    const TEST: &str = "every_command_works";
    let needed = ["make", "docker-compose", "curl"];
    if let Some(missing) = needed.into_iter().find(|program| !has_program(program)) {
        return skipped(TEST, &format!("{missing} is not installed"));
    }
    let Some(docker) = Docker::with_base_images(TEST, &dockyard_folder()) else { return };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = new_folder();
    let workspace = folder.path().join("rustcare");
    copy_example_to_build_fast(&workspace);
    for file in ["Dockerfile", ".dockerignore", "compose.yaml", "Makefile"] {
        fs::remove_file(workspace.join(file)).unwrap();
    }
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    fs::write(programs.join("docker"), CLIENT).unwrap();
    fs::set_permissions(programs.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_carrack"), programs.join("carrack")).unwrap();

    let shell = docker.with_engine(Program::new("bash")).with_env("CARRACK_HOME", folder.path().join("home"));
    let steps = steps(&fs::read_to_string(repository.join(GUIDE)).unwrap());
    assert!(steps.len() > 20, "{} commands", steps.len());
    for step in steps {
        let script = format!("export PATH={}:$PATH; {}", programs.display(), step.command);
        let mut command: Command = shell.command(&workspace, &["-c", &script]);
        for name in ["RUSTUP_TOOLCHAIN", "CI", "DOCKER_BUILDKIT", "COMPOSE_DOCKER_CLI_BUILD"] {
            command.env_remove(name);
        }
        // What `export` says holds for the commands after it.
        command.env("DOCKER_BUILDKIT", "1").env("COMPOSE_DOCKER_CLI_BUILD", "1");
        let output = command.output().unwrap();
        let said =
            [&output.stdout[..], &output.stderr[..]].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let said = said.concat();
        assert!(
            output.status.success(),
            "{GUIDE}:{}: {}: {}\n{said}",
            step.line,
            step.command,
            output.status
        );
        for line in &step.printed {
            assert!(said.contains(line.trim_end()), "{GUIDE}:{}: {line}\n{said}", step.line);
        }
    }
}

/// The commands of all `console` blocks.
fn steps(guide: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (number, line) in guide.lines().enumerate() {
        match (inside, line.strip_prefix("$ ")) {
            (false, _) => inside = line == "```console",
            (true, _) if line == "```" => inside = false,
            (true, Some(command)) => {
                steps.push(Step { line: number + 1, command: command.to_owned(), printed: Vec::new() });
            }
            (true, None) => steps.last_mut().unwrap().printed.push(line.to_owned()),
        }
    }
    steps
}
