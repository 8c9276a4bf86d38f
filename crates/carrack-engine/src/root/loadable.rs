//! Whether a program would start in a root: its loader, its libraries, and the versions of their symbols.
//!
//! The loader's rules are those of `closure`, read from the root instead of the host. What a program opens by name at run time
//! can't be known.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::files::{Files, parent, resolve};
use super::stack::Stack;
use crate::closure::{ElfError, ElfFile, Loader};
use crate::error::EngineError;

/// Where a library is: in the root, and on the host.
struct Found {
    place: Vec<u8>,
    host: PathBuf,
    file: ElfFile,
}

/// Refuses a program that would not start in `root`. `place` is where it will be there, `host` where its bytes are now.
///
/// Errors: [`EngineError::CannotStart`] names the loader, the library or the symbol; a program that is no ELF file is left alone.
pub(crate) fn check(root: &Stack, place: &str, host: &Path, name: &str) -> Result<(), EngineError> {
    let program = match ElfFile::read(host) {
        Ok(program) => program,
        Err(ElfError::Malformed { .. }) => return Ok(()),
        Err(ElfError::Read { path, source }) => return Err(EngineError::Io { action: "read", path, source }),
    };
    let Some(interpreter) = program.interpreter.clone() else { return Ok(()) };
    let fails = |library: &str, needed_by: &str, symbol: Option<String>| EngineError::CannotStart {
        program: place.to_owned(),
        base: name.to_owned(),
        library: library.to_owned(),
        needed_by: needed_by.to_owned(),
        symbol,
    };
    if find(root, interpreter.as_os_str().as_bytes(), &program).is_none() {
        return Err(fails(&interpreter.display().to_string(), place, None));
    }
    let loader = Loader::of(&interpreter);
    let configured = configured(root);
    let built_in: Vec<Vec<u8>> = loader.folders().iter().map(|folder| bytes(folder)).collect();
    let mut libraries: BTreeMap<String, Found> = BTreeMap::new();
    let start = place.trim_start_matches('/').as_bytes().to_vec();
    let mut open = VecDeque::from([(start, program.clone())]);
    while let Some((at, file)) = open.pop_front() {
        let shown = format!("/{}", String::from_utf8_lossy(&at));
        for needed in &file.needed {
            if loader.is_itself(&interpreter, needed) || libraries.contains_key(needed) {
                continue;
            }
            let folders = own_folders(&at, &file).into_iter().chain(configured.clone());
            let folders = folders.chain(built_in.iter().cloned());
            let found = folders
                .map(|folder| [&folder[..], b"/", needed.as_bytes()].concat())
                .find_map(|path| find(root, &path, &program));
            let Some(found) = found else { return Err(fails(needed, &shown, None)) };
            open.push_back((found.place.clone(), found.file.clone()));
            libraries.insert(needed.clone(), found);
        }
    }
    let objects = std::iter::once((place.to_owned(), host.to_owned())).chain(
        libraries
            .values()
            .map(|found| (format!("/{}", String::from_utf8_lossy(&found.place)), found.host.clone())),
    );
    let mut defined = BTreeMap::new();
    for (shown, host) in objects {
        let versions = ElfFile::versions(&host).map_err(|error| EngineError::elf(&shown, error))?;
        for needed in versions.needed {
            let Some(library) = libraries.get(&needed.library) else { continue };
            if !defined.contains_key(&needed.library) {
                let versions = ElfFile::versions(&library.host);
                let versions = versions.map_err(|error| EngineError::elf(&needed.library, error))?;
                defined.insert(needed.library.clone(), versions.defined);
            }
            let has = &defined[&needed.library];
            // A library that knows no versions at all takes them as they come.
            if !has.is_empty() && !has.contains(&needed.version) {
                let symbol = format!("{}@{}", needed.symbol, needed.version);
                return Err(fails(&needed.library, &shown, Some(symbol)));
            }
        }
    }
    Ok(())
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// The file at a path, if it is one for the same machine.
fn find(root: &Stack, path: &[u8], wanted: &ElfFile) -> Option<Found> {
    let place = resolve(root, path, true)?;
    root.item(&place)?;
    let host = root.on_host(&place);
    let file = ElfFile::read(&host).ok().filter(|file| file.machine == wanted.machine)?;
    Some(Found { place, host, file })
}

/// The folders that a file names itself.
fn own_folders(at: &[u8], file: &ElfFile) -> Vec<Vec<u8>> {
    let origin = format!("/{}", String::from_utf8_lossy(parent(at).unwrap_or_default()));
    let named = file.runpath.as_ref().unwrap_or(&file.rpath);
    let expanded =
        named.iter().map(|folder| folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin));
    expanded.filter(|folder| folder.starts_with('/')).map(String::into_bytes).collect()
}

/// The folders of `/etc/ld.so.conf` and what it includes.
fn configured(root: &Stack) -> Vec<Vec<u8>> {
    let mut texts: Vec<String> = Vec::new();
    let mut read =
        |path: &[u8]| texts.extend(root.read(path).map(|text| String::from_utf8_lossy(&text).into_owned()));
    read(b"etc/ld.so.conf");
    for name in root.names(b"etc/ld.so.conf.d") {
        if name.ends_with(b".conf") {
            read(&[&b"etc/ld.so.conf.d/"[..], &name].concat());
        }
    }
    let lines =
        texts.iter().flat_map(|text| text.lines()).map(|line| line.split('#').next().unwrap_or("").trim());
    lines.filter(|line| line.starts_with('/')).map(|line| line.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;

    use carrack_oci::Ownership;
    use carrack_oci::snapshot::scan;

    use super::*;
    use crate::root::stack::SnapshotView;

    fn compile(output: &Path, source: &str, arguments: &[&str]) {
        let file = output.with_extension("c");
        fs::write(&file, source).unwrap();
        let done = Command::new("gcc").arg(&file).arg("-o").arg(output).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::remove_file(file).unwrap();
    }

    fn root(folder: &Path) -> Stack {
        let listing = scan(folder, Ownership::Caller, std::num::NonZeroUsize::MIN).unwrap();
        Stack::new(vec![Arc::new(SnapshotView { listing, files: folder.to_owned() })])
    }

    #[test]
    fn libraries_and_versions_of_symbols_have_to_be_there() {
        if !carrack_testkit::has_program("gcc") {
            return carrack_testkit::skipped("libraries_and_versions_of_symbols_have_to_be_there", "no gcc");
        }
        let yard = tempfile::tempdir().unwrap();
        let path = |name: &str| yard.path().join(name);
        // Two releases of a library: the program is linked to the newer one.
        for (release, script) in [
            ("old", "ONE_1 { global: first; local: *; };"),
            ("new", "ONE_1 { global: first; };\nONE_2 { global: second; local: *; } ONE_1;"),
        ] {
            let folder = path(release).join("usr/lib");
            fs::create_dir_all(&folder).unwrap();
            fs::write(path("script"), script).unwrap();
            let source = "int first(void) { return 1; }\nint second(void) { return 2; }";
            let script = format!("-Wl,--version-script={}", path("script").display());
            compile(
                &folder.join("libone.so"),
                source,
                &["-shared", "-fPIC", "-Wl,-soname,libone.so", &script],
            );
        }
        let program = path("program");
        let newer = format!("-L{}", path("new/usr/lib").display());
        let source = "int first(void); int second(void); int main(void) { return first() + second() - 3; }";
        compile(&program, source, &[&newer, "-lone"]);

        // The loader and the C library are the machine's.
        let interpreter = ElfFile::read(&program).unwrap().interpreter.unwrap();
        let libc = crate::closure::closure(&program_of_libc(&path("plain")), false).unwrap();
        let place = |release: &str| {
            for entry in &libc.entries {
                if let crate::closure::ClosureEntry::File { to, from } = entry
                    && to.contains("/lib")
                {
                    let to = path(release).join(to.trim_start_matches('/'));
                    fs::create_dir_all(to.parent().unwrap()).unwrap();
                    fs::copy(from, to).unwrap();
                }
            }
            let to = path(release).join(interpreter.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&interpreter, to).unwrap();
        };
        let says = |release: &str| {
            check(&root(&path(release)), "/app", &program, "base").map_err(|error| error.to_string())
        };
        fs::create_dir(path("empty")).unwrap();
        let missing = format!("/app cannot start in base: {} is missing", interpreter.display());
        assert_eq!(says("empty"), Err(missing));
        place("empty");
        assert_eq!(says("empty"), Err("/app cannot start in base: libone.so is missing".to_owned()));
        place("old");
        let old = "/app cannot start in base: libone.so has no second@ONE_2".to_owned();
        assert_eq!(says("old"), Err(old));
        place("new");
        assert_eq!(says("new"), Ok(()));
    }

    fn program_of_libc(path: &Path) -> PathBuf {
        compile(path, "int main(void) { return 0; }", &[]);
        path.to_owned()
    }
}
