use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use carrack_base::Cancel;
use carrack_cargo::init::{self, FileKind, GeneratedFile, Ownership, ownership};
use carrack_cargo::locate::locate;
use carrack_engine::Inputs;
use carrack_sandbox::Launcher;
use carrack_store::Store;
use similar::TextDiff;

use crate::arguments::{Init, InitFile};
use crate::caller::Caller;
use crate::failure::{Failure, code};
use crate::terminal::Terminal;
use crate::workspace::{self, Desk, Order};

/// A generated file beside the one that is there.
struct Compared {
    file: GeneratedFile,
    /// `None` if there is none.
    present: Option<String>,
}

impl Compared {
    fn ownership(&self) -> Option<Ownership> {
        self.present.as_deref().map(ownership)
    }

    fn is_same(&self) -> bool {
        self.present.as_ref().is_some_and(|present| present.replace("\r\n", "\n") == self.file.text)
    }
}

/// Writes the files for Docker, prints them, or sees whether they are true.
pub(crate) fn run(
    arguments: &Init,
    caller: &Caller,
    state: &Path,
    terminal: &Terminal,
    cancel: &Cancel,
) -> Result<ExitCode, Failure> {
    let store = Store::open(state)?;
    let inputs = Inputs::new(&store, cancel.clone());
    let launcher = Launcher::this_program();
    let desk = Desk { caller, store: &store, inputs: &inputs, launcher: &launcher, terminal, cancel };
    let location = locate(&arguments.path, &caller.cargo_home())?;
    let planned = workspace::plan(&desk, &Order::default(), location)?;
    let (plan, around) = (&planned.plan, planned.around_docker()?);
    let mut files = Vec::new();
    for file in init::generate(plan, &around).map_err(Failure::Init)? {
        let present = match std::fs::read_to_string(&file.path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(Failure::Io { action: "read", path: file.path, source }),
        };
        files.push(Compared { file, present });
    }
    // A team that threw one of the files away does not want it back each time.
    let again = files
        .iter()
        .any(|file| matches!(file.ownership(), Some(Ownership::Sealed { .. } | Ownership::Broken { .. })));
    files.retain(|file| match &arguments.only[..] {
        [] => arguments.stdout || !again || file.present.is_some(),
        only => only.iter().any(|wanted| kind(*wanted) == file.file.kind),
    });
    if arguments.stdout {
        print(&files)
    } else if arguments.check {
        check(&files, &plan.root, !arguments.only.is_empty() || !again)
    } else {
        write(files, &plan.root, arguments.force, again)
    }
}

fn kind(file: InitFile) -> FileKind {
    match file {
        InitFile::Dockerfile => FileKind::Dockerfile,
        InitFile::Dockerignore => FileKind::Dockerignore,
        InitFile::Compose => FileKind::Compose,
        InitFile::Makefile => FileKind::Makefile,
        InitFile::Workflow => FileKind::Workflow,
    }
}

/// One file as it is, several with their names between them, as `head` does.
fn print(files: &[Compared]) -> Result<ExitCode, Failure> {
    for (place, Compared { file, .. }) in files.iter().enumerate() {
        if files.len() > 1 {
            let gap = if place == 0 { "" } else { "\n" };
            super::print(&format!("{gap}==> {} <==\n", file.path.display()))?;
        }
        super::print(&file.text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what would change. Files that people made their own are theirs to keep true.
fn check(files: &[Compared], root: &Path, missing_counts: bool) -> Result<ExitCode, Failure> {
    let mut differences = 0;
    for compared in files {
        let name = shown(&compared.file.path, root);
        let present = match (&compared.present, compared.ownership()) {
            (None, _) if !missing_counts => continue,
            (None, _) => "",
            (Some(_), Some(Ownership::Foreign)) => {
                say(&format!("     Yours  {name}"));
                continue;
            }
            (Some(text), _) => text,
        };
        if !compared.is_same() {
            differences += 1;
            let present = present.replace("\r\n", "\n");
            let diff = TextDiff::from_lines(&present, &compared.file.text);
            let diff = diff.unified_diff().header(&format!("a/{name}"), &format!("b/{name}")).to_string();
            super::print(&diff)?;
        }
    }
    match differences {
        0 => {
            say(&format!(
                "        Ok  {} {}",
                files.len(),
                if files.len() == 1 { "file fits" } else { "files fit" }
            ));
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            say("hint: run `carrack init` and commit the result");
            Ok(ExitCode::from(code::BUILD_FAILED))
        }
    }
}

/// Writes all files or none.
fn write(files: Vec<Compared>, root: &Path, force: bool, again: bool) -> Result<ExitCode, Failure> {
    let is_theirs = |file: &Compared| {
        // Once the files are there, someone's own file beside them is a decision and not an accident.
        let foreign = matches!(file.ownership(), Some(Ownership::Foreign)) && !again;
        !file.is_same() && (foreign || matches!(file.ownership(), Some(Ownership::Broken { .. })))
    };
    let theirs: Vec<PathBuf> =
        files.iter().filter(|file| is_theirs(file)).map(|file| file.file.path.clone()).collect();
    if !theirs.is_empty() && !force && !overwrite(&theirs, root) {
        return Err(Failure::NotOurs { files: theirs });
    }
    for compared in &files {
        let name = shown(&compared.file.path, root);
        let kept = matches!(compared.ownership(), Some(Ownership::Foreign)) && again && !force;
        let word = match &compared.present {
            _ if compared.is_same() => " Unchanged",
            Some(_) if kept => "     Yours",
            Some(_) => "   Updated",
            None => "     Wrote",
        };
        if matches!(word.trim(), "Updated" | "Wrote") {
            replace(&compared.file)?;
        }
        say(&format!("{word}  {name}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks whoever sits there.
fn overwrite(files: &[PathBuf], root: &Path) -> bool {
    let (input, mut error) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !error.is_terminal() {
        return false;
    }
    let names: Vec<String> = files.iter().map(|file| shown(file, root)).collect();
    let mut answer = String::new();
    let asked = write!(error, "Overwrite {}, which a person wrote or changed? [y/N] ", names.join(", "))
        .and_then(|()| error.flush())
        .and_then(|()| input.lock().read_line(&mut answer));
    asked.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Puts the file in its place, whole or not at all.
fn replace(file: &GeneratedFile) -> Result<(), Failure> {
    let folder = file.path.parent().expect("a file is in a folder");
    let aside = folder.join(format!(".{}.new", file.path.file_name().unwrap_or_default().to_string_lossy()));
    let replaced = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&aside, &file.text))
        .and_then(|()| std::fs::rename(&aside, &file.path));
    replaced.map_err(|source| Failure::Io { action: "write", path: file.path.clone(), source })
}

/// A path as people in the workspace say it.
fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn say(line: &str) {
    // Someone who closed standard error does not want to read it.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
