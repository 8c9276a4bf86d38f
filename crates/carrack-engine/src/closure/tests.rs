//! Real programs and libraries, compiled here, with the host's own loader as the judge.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// A folder with C programs, and what they need.
struct Yard {
    folder: tempfile::TempDir,
}

impl Yard {
    /// `None`, said aloud, without a C compiler.
    fn new() -> Option<Self> {
        if !carrack_testkit::has_program("gcc") {
            carrack_testkit::skipped("closures of C programs", "there is no gcc");
            return None;
        }
        Some(Self { folder: tempfile::tempdir().unwrap() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn compile(&self, compiler: &str, output: &str, source: &str, arguments: &[&str]) -> PathBuf {
        let path = self.path(output);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = path.with_extension("c");
        fs::write(&file, source).unwrap();
        let root = self.path("");
        let arguments = arguments.iter().map(|argument| argument.replace("ROOT", root.to_str().unwrap()));
        let done = Command::new(compiler)
            .arg(&file)
            .arg("-o")
            .arg(&path)
            .args(arguments)
            .env_remove("LD_RUN_PATH")
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        path
    }

    /// A library whose function `name` returns `number` plus that of the function `calls`.
    fn library(
        &self,
        output: &str,
        name: &str,
        number: u32,
        calls: Option<&str>,
        arguments: &[&str],
    ) -> PathBuf {
        let (declared, called) = match calls {
            Some(other) => (format!("int {other}(void);"), format!("+ {other}()")),
            None => (String::new(), String::new()),
        };
        let source = format!("{declared} int {name}(void) {{ return {number} {called}; }}");
        self.compile("gcc", output, &source, &[&["-shared", "-fPIC"], arguments].concat())
    }

    /// A program that prints what `name` returns.
    fn program(&self, output: &str, name: &str, arguments: &[&str]) -> PathBuf {
        self.compile("gcc", output, &printing(name), arguments)
    }
}

fn printing(name: &str) -> String {
    format!(
        "#include <stdio.h>\nint {name}(void); int main(void) {{ printf(\"%d\\n\", {name}()); return 0; }}"
    )
}

fn files(closure: &Closure) -> BTreeMap<String, PathBuf> {
    let file = |entry: &ClosureEntry| match entry {
        ClosureEntry::File { to, from } => Some((to.clone(), from.clone())),
        _ => None,
    };
    closure.entries.iter().filter_map(file).collect()
}

fn libraries(closure: &Closure) -> BTreeMap<String, PathBuf> {
    let name = |to: &String| Path::new(to).file_name().unwrap().to_str().unwrap().to_owned();
    let found = files(closure);
    found.iter().filter(|(to, _)| to.contains(".so")).map(|(to, from)| (name(to), from.clone())).collect()
}

/// What the closure amounts to as an image in which the program is `/app`.
fn image(closure: &Closure, program: &Path) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = |to: &str| {
        let path = root.path().join(to.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for entry in &closure.entries {
        match entry {
            ClosureEntry::File { to, from } => drop(fs::copy(from, at(to)).unwrap()),
            ClosureEntry::Link { to, target } => symlink(target, at(to)).unwrap(),
            ClosureEntry::Text { to, text } => fs::write(at(to), text).unwrap(),
            ClosureEntry::Folder { to, .. } => fs::create_dir_all(at(to)).unwrap(),
        }
    }
    fs::copy(program, at("/app")).unwrap();
    root
}

/// What the program prints in its image; `None`, said aloud, for those who may not change their root.
fn printed(closure: &Closure, program: &Path) -> Option<String> {
    let root = image(closure, program);
    chroot(root.path(), &["/app"])
}

fn chroot(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "chroot"]).arg(root).args(arguments).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let allowed = Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        carrack_testkit::skipped("a program in its image", "user namespaces are forbidden");
        return None;
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8(done.stdout).unwrap())
}

#[track_caller]
fn check_prints(closure: &Closure, program: &Path, expected: &str) {
    let here = Command::new(program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&here.stdout), expected, "what the host's loader does");
    if let Some(printed) = printed(closure, program) {
        assert_eq!(printed, expected);
    }
}

#[test]
fn libraries_of_libraries_come_along() {
    let Some(yard) = Yard::new() else { return };
    let c = yard.library("lib/libc3.so", "c", 1, None, &[]);
    let b = yard.library("lib/libb3.so", "b", 10, Some("c"), &["-LROOT/lib", "-lc3", "-Wl,-rpath,ROOT/lib"]);
    let program =
        yard.program("app", "b", &["-LROOT/lib", "-lb3", "-Wl,-rpath,ROOT/lib,-rpath-link,ROOT/lib"]);
    let found = closure(&program, false).unwrap();
    let libraries = libraries(&found);
    assert_eq!(libraries["libb3.so"], b);
    assert_eq!(libraries["libc3.so"], c);
    assert!(libraries.contains_key("libc.so.6"));
    assert_eq!(libraries.len(), 4, "and the loader: {libraries:?}");
    check_prints(&found, &program, "11\n");
}

#[test]
fn origin_is_the_folder_of_the_object_that_says_it() {
    let Some(yard) = Yard::new() else { return };
    yard.library("lib/deep/libc3.so", "c", 1, None, &[]);
    let of_library = ["-LROOT/lib/deep", "-lc3", "-Wl,-rpath,$ORIGIN/deep"];
    yard.library("lib/libb3.so", "b", 10, Some("c"), &of_library);
    let of_program = ["-LROOT/lib", "-lb3", "-Wl,-rpath,${ORIGIN}/../lib,-rpath-link,ROOT/lib/deep"];
    let program = yard.program("bin/app", "b", &of_program);
    let found = closure(&program, false).unwrap();
    assert!(libraries(&found)["libc3.so"].ends_with("lib/deep/libc3.so"));
    check_prints(&found, &program, "11\n");
}

#[test]
fn runpath_is_not_inherited_and_rpath_is() {
    let Some(yard) = Yard::new() else { return };
    yard.library("lib/libc3.so", "c", 1, None, &[]);
    yard.library("lib/libb3.so", "b", 10, Some("c"), &["-LROOT/lib", "-lc3"]);
    let link = |kind: &str| {
        let flags = format!("-Wl,--{kind}-new-dtags,-rpath,ROOT/lib,-rpath-link,ROOT/lib");
        yard.program(&format!("app-{kind}"), "b", &["-LROOT/lib", "-lb3", &flags])
    };
    let old = link("disable");
    check_prints(&closure(&old, false).unwrap(), &old, "11\n");
    let new = link("enable");
    let refused = closure(&new, false).unwrap_err();
    let ClosureError::Missing { library, needed_by, searched } = refused else { panic!("{refused:?}") };
    assert_eq!((library.as_str(), &needed_by), ("libc3.so", &yard.path("lib/libb3.so")));
    assert!(searched.contains(&PathBuf::from("/usr/lib")) && !searched.contains(&yard.path("lib")));
    assert!(
        !Command::new(&new).output().unwrap().status.success(),
        "the host's loader does not find it either"
    );
}

#[test]
fn rpath_passes_a_library_that_has_a_runpath() {
    let Some(yard) = Yard::new() else { return };
    // app (RPATH lib) → libb (RUNPATH elsewhere) → libc (nothing) → libd in lib.
    yard.library("lib/libd3.so", "d", 1, None, &[]);
    yard.library("other/libc3.so", "c", 10, Some("d"), &["-LROOT/lib", "-ld3"]);
    let runpath = "-Wl,--enable-new-dtags,-rpath,ROOT/other,-rpath-link,ROOT/lib";
    yard.library("lib/libb3.so", "b", 100, Some("c"), &["-LROOT/other", "-lc3", runpath]);
    let rpath = "-Wl,--disable-new-dtags,-rpath,ROOT/lib,-rpath-link,ROOT/lib:ROOT/other";
    let program = yard.program("app", "b", &["-LROOT/lib", "-lb3", rpath]);
    check_prints(&closure(&program, false).unwrap(), &program, "111\n");
}

#[test]
fn folders_of_the_configuration_are_searched() {
    let Some(yard) = Yard::new() else { return };
    let library = yard.library("special/libb3.so", "b", 7, None, &[]);
    let program = yard.program("app", "b", &["-LROOT/special", "-lb3"]);
    assert!(matches!(closure(&program, false), Err(ClosureError::Missing { .. })));
    fs::create_dir(yard.path("conf.d")).unwrap();
    fs::write(yard.path("ld.so.conf"), "# comment\ninclude conf.d/*.conf\n").unwrap();
    fs::write(yard.path("conf.d/one.conf"), format!("{} # the folder\n", yard.path("special").display()))
        .unwrap();
    fs::write(yard.path("conf.d/one.ignored"), "/nonsense\n").unwrap();
    let found = configured_closure(&program, false, &yard.path("ld.so.conf")).unwrap();
    assert_eq!(libraries(&found)["libb3.so"], library);
    for consulted in ["ld.so.conf", "conf.d", "conf.d/one.conf"] {
        assert!(found.consulted.contains(&yard.path(consulted)), "{consulted}");
    }
    if let Some(printed) = printed(&found, &program) {
        assert_eq!(printed, "7\n");
    }
}

#[test]
fn a_library_for_another_machine_is_passed_over() {
    let Some(yard) = Yard::new() else { return };
    let right = yard.library("right/libb3.so", "b", 7, None, &[]);
    let mut wrong = fs::read(&right).unwrap();
    // e_machine: SPARC.
    wrong[18..20].copy_from_slice(&2u16.to_le_bytes());
    fs::create_dir(yard.path("wrong")).unwrap();
    fs::write(yard.path("wrong/libb3.so"), wrong).unwrap();
    fs::create_dir(yard.path("text")).unwrap();
    fs::write(yard.path("text/libb3.so"), "INPUT(libb3.so.1)").unwrap();
    let runpath = "-Wl,-rpath,ROOT/absent:ROOT/text:ROOT/wrong:ROOT/right";
    let program = yard.program("app", "b", &["-LROOT/right", "-lb3", runpath]);
    let found = closure(&program, false).unwrap();
    assert_eq!(libraries(&found)["libb3.so"], right);
    // One that comes to a folder of higher rank would be loaded: it counts.
    for folder in ["absent", "text", "wrong"] {
        assert!(found.consulted.contains(&yard.path(folder).join("libb3.so")), "{folder}");
    }
}

#[test]
fn two_names_of_one_library_are_one_file() {
    let Some(yard) = Yard::new() else { return };
    yard.library("lib/libb3.so.1", "b", 7, None, &[]);
    symlink("libb3.so.1", yard.path("lib/libb3.so")).unwrap();
    let both = ["ROOT/lib/libb3.so", "-Wl,--no-as-needed", "-Wl,-rpath,ROOT/lib"];
    yard.library("lib/libc3.so", "c", 1, Some("b"), &["-LROOT/lib", "-l:libb3.so.1", "-Wl,-rpath,ROOT/lib"]);
    let program = yard.compile(
        "gcc",
        "app",
        &printing("c"),
        &[&["-LROOT/lib", "-lc3", "-l:libb3.so"], &both[1..]].concat(),
    );
    let found = closure(&program, false).unwrap();
    let named = |name: &str| {
        found
            .entries
            .iter()
            .filter(|entry| matches!(entry, ClosureEntry::File { to, .. } if to.contains(name)))
            .count()
    };
    assert_eq!(named("libb3"), 1, "{:?}", found.entries);
    check_prints(&found, &program, "8\n");
}

#[test]
fn static_programs_need_no_libraries() {
    let Some(yard) = Yard::new() else { return };
    for (name, flag) in [("app", "-static"), ("pie", "-static-pie")] {
        let source = "#include <stdio.h>\nint main(void) { puts(\"alone\"); return 0; }";
        let program = yard.compile("gcc", name, source, &[flag]);
        let found = closure(&program, false).unwrap();
        assert!(libraries(&found).is_empty(), "{found:?}");
        check_prints(&found, &program, "alone\n");
    }
}

#[test]
fn programs_of_musl_bring_its_loader() {
    let Some(yard) = Yard::new() else { return };
    if !carrack_testkit::has_program("musl-gcc") {
        return carrack_testkit::skipped("the closure of a musl program", "there is no musl-gcc");
    }
    let source = "#include <stdio.h>\nint main(void) { puts(\"small\"); return 0; }";
    let program = yard.compile("musl-gcc", "app", source, &[]);
    let found = closure(&program, false).unwrap();
    let libraries = libraries(&found);
    assert_eq!(libraries.len(), 1, "{libraries:?}");
    assert!(libraries.keys().all(|name| name.starts_with("ld-musl-")));
    assert!(
        !found.entries.iter().any(|entry| matches!(entry, ClosureEntry::Text { .. })),
        "no NSS without glibc"
    );
    check_prints(&found, &program, "small\n");
}

#[test]
fn names_are_resolved_in_the_image() {
    let Some(yard) = Yard::new() else { return };
    let source = r#"
        #include <arpa/inet.h>
        #include <netdb.h>
        #include <pwd.h>
        #include <stdio.h>
        #include <string.h>
        int main(void) {
            struct addrinfo hints, *found; char text[64];
            memset(&hints, 0, sizeof hints); hints.ai_family = AF_INET;
            int error = getaddrinfo("a-name-of-the-test", "80", &hints, &found);
            if (error) { puts(gai_strerror(error)); return 0; }
            inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof text);
            printf("%s %s\n", text, getpwuid(65532)->pw_name);
            return 0;
        }"#;
    let program = yard.compile("gcc", "app", source, &[]);
    let found = closure(&program, false).unwrap();
    let root = image(&found, &program);
    // What the runtime and another layer bring.
    fs::write(root.path().join("etc/hosts"), "127.0.0.9 a-name-of-the-test\n").unwrap();
    fs::write(root.path().join("etc/passwd"), "nonroot:x:65532:65532::/:/sbin/nologin\n").unwrap();
    if let Some(printed) = chroot(root.path(), &["/app"]) {
        assert_eq!(printed, "127.0.0.9 nonroot\n");
    }
}

#[test]
fn certificates_and_time_zones() {
    let Some(yard) = Yard::new() else { return };
    let program = yard.compile("gcc", "app", "int main(void) { return 0; }", &["-static"]);
    let found = closure(&program, true).unwrap();
    let bundle = CERTIFICATES.iter().map(Path::new).find(|path| path.is_file());
    match bundle {
        Some(bundle) => assert_eq!(files(&found)[CERTIFICATES[0]], bundle),
        None => assert!(found.notes.iter().any(|note| note.contains("certificates"))),
    }
    let zones = Path::new("/usr/share/zoneinfo");
    let folder = ClosureEntry::Folder { to: "/usr/share/zoneinfo".to_owned(), from: zones.to_owned() };
    assert_eq!(found.entries.contains(&folder), zones.is_dir());
    assert_eq!(found.notes.iter().any(|note| note.contains("time zone")), !zones.is_dir());
    assert!(found.consulted.contains(zones));
}

#[test]
fn what_is_no_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app");
    for text in ["", "#!/bin/sh\n", "\x7fELF"] {
        fs::write(&path, text).unwrap();
        assert!(
            matches!(closure(&path, false), Err(ClosureError::Elf(ElfError::Malformed { .. }))),
            "{text:?}"
        );
    }
    assert!(matches!(closure(folder.path(), false), Err(ClosureError::Elf(ElfError::Read { .. }))));
    fs::remove_file(&path).unwrap();
    assert!(matches!(closure(&path, false), Err(ClosureError::Elf(ElfError::Read { .. }))));
    let made = Command::new("mkfifo").arg(&path).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(
            matches!(closure(&path, false), Err(ClosureError::Elf(ElfError::Read { .. }))),
            "and nobody waits"
        );
    }
}

#[test]
fn damaged_programs_never_panic() {
    let Some(yard) = Yard::new() else { return };
    let program = yard.compile("gcc", "app", "int main(void) { return 0; }", &["-Wl,-rpath,$ORIGIN", "-s"]);
    let bytes = fs::read(&program).unwrap();
    let whole = ElfFile::parse(&*bytes).unwrap();
    assert_eq!(whole.needed, ["libc.so.6"]);
    for length in 0..bytes.len() {
        if let Ok(cut) = ElfFile::parse(&bytes[..length]) {
            assert_eq!(cut.needed, whole.needed, "cut at {length}");
        }
    }
    // Every byte of the headers and of the tables that are read, in turn.
    for index in 0..bytes.len() {
        for value in [0, 0xff] {
            let mut damaged = bytes.clone();
            damaged[index] = value;
            let _ = ElfFile::parse(&*damaged);
        }
    }
}

#[test]
fn the_loader_of_the_image_can_be_executed() {
    let Some(yard) = Yard::new() else { return };
    let program = yard.compile("gcc", "app", "int main(void) { return 0; }", &[]);
    let found = closure(&program, false).unwrap();
    let loader = ElfFile::read(&program).unwrap().interpreter.unwrap();
    let from = files(&found).into_values().find(|from| *from == loader).unwrap();
    assert_ne!(fs::metadata(from).unwrap().permissions().mode() & 0o111, 0);
}
