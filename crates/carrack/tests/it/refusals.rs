//! What bad input gets: the exit code and the words, all of them. Nothing panics, and nothing half-written is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use carrack_testkit::{Finished, Project, skipped};

use crate::stage::{Stage, finish, is_root, path_of};
use crate::troubleshooting::assert_quoted;

/// The whole of standard error, and nothing on standard output.
#[track_caller]
fn check(stage: &Stage, arguments: &[&str], code: i32, expected: &str) {
    let finished = stage.run(arguments).expect_code(code);
    assert_eq!(stage.filtered(&finished.stderr), expected, "{arguments:?}");
    assert_eq!(finished.stdout, "", "{arguments:?}");
}

/// What a build says about its configuration, which is the sixth line of the manifest and whatever follows.
#[track_caller]
fn check_configuration(configuration: &str, expected: &str) {
    check(&Stage::configured(configuration), &["build"], 2, expected);
}

/// The end of standard error, from Carrack's own error on.
#[track_caller]
fn check_end(stage: &Stage, finished: Finished, code: i32, expected: &str) {
    let finished = finished.expect_code(code);
    let text = format!("\n{}", stage.filtered(&finished.stderr));
    assert!(text.ends_with(&format!("\n{expected}")), "expected at the end:\n{expected}\nin:\n{text}");
    assert!(!text.contains("panicked at crates/"), "{text}");
    assert_eq!(finished.stdout, "");
}

#[test]
fn no_manifest() {
    let stage = Stage::new(Project::new());
    check(
        &stage,
        &["build"],
        2,
        "error: there is no Cargo.toml in [PROJECT] or above it\n\
        hint: run carrack in a Cargo workspace, or name one: `carrack build PATH`\n",
    );
    check(
        &stage,
        &["build", "nowhere"],
        2,
        "error: cannot read nowhere\n  No such file or directory (os error 2)\nhint: check the path\n",
    );
    assert!(stage.project.inventory().is_empty());
}

#[test]
fn workspace_without_binaries() {
    let stage = Stage::app();
    stage.project.remove("src/main.rs");
    stage.project.write("src/lib.rs", "");
    check(
        &stage,
        &["build"],
        2,
        "error: there is no binary to make an image of in app\n\
        hint: add src/main.rs to a package, or name another package with -p\n",
    );
}

#[test]
fn unknown_packages_and_binaries() {
    let stage = Stage::new(Project::workspace(&["front", "back"]));
    let said = |arguments: &[&str], words: &str| check(&stage, arguments, 2, words);
    said(
        &["build", "-p", "frnt"],
        "error: the workspace has no package `frnt`\nhint: did you mean `front`?\n",
    );
    said(
        &["build", "-p", "zebra"],
        "error: the workspace has no package `zebra`\nhint: choose one of back, front, shared\n",
    );
    said(&["build", "--bin", "bck"], "error: there is no binary `bck`\nhint: did you mean `back`?\n");
    said(
        &["build", "--bin", "zebra"],
        "error: there is no binary `zebra`\nhint: choose one of back, front\n",
    );
    said(
        &["build", "-t", "one"],
        "error: cannot give --tag to 2 services at once\n  services: front, back\nhint: choose one with --bin NAME\n",
    );
    said(
        &["build", "-o", "type=tar,dest=a.tar"],
        "error: cannot give --output type=tar to 2 services at once\n  services: front, back\n\
        hint: choose one with --bin NAME\n",
    );
    check(
        &Stage::app(),
        &["build", "-F", "metrics"],
        2,
        "error: cargo cannot read the workspace\n  the package 'app' does not contain this feature: metrics\n",
    );
}

#[test]
fn compile_error() {
    let stage = Stage::app();
    let source = "fn main() {\n    let number: u32 = \"text\";\n}\n";
    stage.project.write("src/main.rs", source);
    let finished = stage.run(&["build"]);
    let cargo = "\
error[E0308]: mismatched types
 --> src/main.rs:2:23
  |
2 |     let number: u32 = \"text\";
  |                 ---   ^^^^^^ expected `u32`, found `&str`
  |                 |
  |                 expected due to this
";
    assert!(finished.stderr.contains(cargo), "{}", finished.stderr);
    let end = "error: could not compile `app` (bin \"app\") due to 1 previous error\n\
        error: the workspace does not compile (cargo exit 101)\n";
    check_end(&stage, finished, 1, end);
    assert_eq!(stage.run(&["images", "-q"]).expect_code(0).stdout, "");
    // A quiet build says it too.
    stage.run(&["build", "-q"]).expect_code(1).expect_stderr(cargo).expect_stderr(end);
    stage.project.write("src/main.rs", "fn main() {}\n");
    stage.build(&[]);
}

#[test]
fn lock_file_that_does_not_fit() {
    let stage = Stage::configured("\n[dependencies]\nother = { path = \"other\" }\n");
    let manifest = "[package]\nname = \"other\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    stage.project.write("other/Cargo.toml", manifest);
    stage.project.write("other/src/lib.rs", "");
    let before = stage.project.inventory();
    for arguments in [&["build"][..], &["build", "--locked"]] {
        check(
            &stage,
            arguments,
            2,
            "error: Cargo.lock does not fit the manifests\n  \
            a build takes the lock file as it is (--locked), so that it can be repeated\n\
            hint: run `cargo update --workspace` and commit Cargo.lock\n",
        );
    }
    assert_eq!(stage.project.inventory(), before);
    stage.project.remove("Cargo.lock");
    check(
        &stage,
        &["build", "--locked"],
        2,
        "error: --locked needs a Cargo.lock, and there is none\n\
        hint: run `cargo generate-lockfile` and commit Cargo.lock, or leave --locked out\n",
    );
    stage.build(&[]);
    assert!(!stage.file("Cargo.lock").exists());
}

#[test]
fn missing_shared_library() {
    let stage = Stage::app();
    stage.project.write(
        "build.rs",
        r#"
        fn main() {
            let out = std::env::var("OUT_DIR").unwrap();
            let source = format!("{out}/gone.c");
            std::fs::write(&source, "int gone(void) { return 7; }").unwrap();
            let mut cc = std::process::Command::new("cc");
            cc.args(["-shared", "-fPIC", "-Wl,-soname,libgone.so.1", "-o"]);
            assert!(cc.arg(format!("{out}/libgone.so")).arg(&source).status().unwrap().success());
            println!("cargo::rustc-link-search=native={out}");
            println!("cargo::rustc-link-lib=dylib=gone");
        }
        "#,
    );
    stage.project.write(
        "src/main.rs",
        "unsafe extern \"C\" { fn gone() -> i32; }\nfn main() { println!(\"{}\", unsafe { gone() }); }\n",
    );
    let finished = stage.run(&["build"]).expect_code(3);
    let text = &finished.stderr;
    let own = text.split_once("\nerror: ").unwrap().1;
    assert!(own.starts_with(
        "app cannot start in an image: libgone.so.1 is missing\n  needed by app itself\n  looked in /"
    ));
    let folders = own.lines().nth(2).unwrap().strip_prefix("  looked in ").unwrap();
    let folders: Vec<&str> = folders.split(", ").collect();
    let once: std::collections::BTreeSet<&&str> = folders.iter().collect();
    assert_eq!(once.len(), folders.len(), "{folders:?}");
    assert!(folders.contains(&"/usr/lib"), "{folders:?}");
    let hint = "\nhint: install the package that has libgone.so.1 (`apt-file search libgone.so.1`)\n";
    assert!(own.ends_with(hint), "{own}");
    assert_eq!(stage.run(&["images", "-q"]).expect_code(0).stdout, "");
}

#[test]
fn build_script_without_its_system_package() {
    let stage = Stage::configured("\n[dependencies]\nlibpq-sys = { path = \"libpq-sys\" }\n");
    let manifest = "[package]\nname = \"libpq-sys\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    stage.project.write("libpq-sys/Cargo.toml", manifest);
    stage.project.write("libpq-sys/src/lib.rs", "");
    // The words of the crate `pkg-config`, which stands between most of these crates and their library.
    stage.project.write(
        "libpq-sys/build.rs",
        r#"
        fn main() {
            panic!(
                "\npkg-config exited with status code 1\n\
                > PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config --libs --cflags libpq\n\n\
                The system library `libpq` required by crate `libpq-sys` was not found.\n\
                The file `libpq.pc` needs to be installed and the PKG_CONFIG_PATH environment variable must contain \
                its parent directory.\nThe PKG_CONFIG_PATH environment variable is not set.\n"
            );
        }
        "#,
    );
    stage.project.remove("Cargo.lock");
    let finished = stage.run(&["build"]).expect_stderr("--cflags libpq");
    check_end(
        &stage,
        finished,
        3,
        "error: libpq-sys needs something that is not installed (cargo exit 101)\n  \
        The system library `libpq` required by crate `libpq-sys` was not found.\n\
        hint: run `apt-get install libpq-dev pkg-config`\n",
    );
}

#[test]
fn no_linker() {
    let stage = Stage::app();
    let path = path_of(&stage.home.path().join("bin"), &["cargo", "rustc"]);
    let finished = finish(stage.command(&["build"]).env("PATH", path));
    check_end(
        &stage,
        finished,
        3,
        "error: the build needs something that is not installed (cargo exit 101)\n  \
        error: linker `cc` not found\n\
        hint: run `apt-get install gcc libc6-dev`\n",
    );
}

#[test]
fn no_toolchain() {
    let stage = Stage::app();
    let finished = finish(stage.command(&["build"]).env("PATH", "/nowhere")).expect_code(3);
    assert_eq!(
        finished.stderr,
        "error: cannot find cargo in PATH\nhint: install Rust, or run `rustup default stable`\n"
    );
    if !carrack_testkit::has_program("rustup") {
        skipped("a toolchain that is not installed", "no rustup");
        return;
    }
    stage.project.write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.60.0\"\n");
    let finished = stage.run(&["build"]).expect_code(3);
    let text = stage.filtered(&finished.stderr);
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("error: cannot find toolchain 1.60.0 in /"), "{text}");
    assert_eq!(
        text.split_once('\n').unwrap().1,
        "  [PROJECT]/rust-toolchain.toml asks for it\nhint: run `rustup toolchain install 1.60.0`\n"
    );
}

#[test]
fn keys_that_do_not_exist() {
    check_configuration(
        "\n[package.metadata.carrack]\nprots = [8080]\n",
        "error: unknown key `prots`\n --> Cargo.toml:7:1\n  |\n7 | prots = [8080]\n  | ^^^^^ did you mean `ports`?\n",
    );
    // All mistakes at once, not one after the other.
    check_configuration(
        "\n[package.metadata.carrack]\nports = \"8080\"\nxyzzy = 1\n",
        "error: `ports` has the wrong type\n --> Cargo.toml:7:9\n  |\n7 | ports = \"8080\"\n  |         ^^^^^^ \
        expected a list of ports, as in [8080, \"53/udp\"], found string\n\
        error: unknown key `xyzzy`\n --> Cargo.toml:8:1\n  |\n8 | xyzzy = 1\n  | ^^^^^\n",
    );
    check_configuration(
        "\n[package.metadata.carrack]\nfiles = [{ from = \"src\", tp = \"/app\" }]\n",
        "error: unknown key `tp`\n --> Cargo.toml:7:26\n  |\n7 | files = [{ from = \"src\", tp = \"/app\" }]\n  \
        |                          ^^ did you mean `to`?\n",
    );
}

#[test]
fn values_that_make_no_sense() {
    check_configuration(
        "\n[package.metadata.carrack]\nhealthcheck = { cmd = [\"/x\"], interval = \"30 days\" }\n",
        "error: `interval` makes no sense\n --> Cargo.toml:7:42\n  |\n\
        7 | healthcheck = { cmd = [\"/x\"], interval = \"30 days\" }\n  \
        |                                          ^^^^^^^^^ `30 days` is not a duration: expected numbers with \
        `ms`, `s`, `m` or `h`\n",
    );
    check_configuration(
        "\n[package.metadata.carrack]\nbuilder = \"host\"\n",
        "error: `builder` stands in the wrong place\n --> Cargo.toml:7:1\n  |\n7 | builder = \"host\"\n  | ^^^^^^^\n\
        hint: move it to [workspace.metadata.carrack], or carrack.toml beside the workspace's Cargo.toml\n",
    );
    check_configuration(
        "\n[package.metadata.carrack]\nfiles = [{ from = \"src\", to = \"/app\", owner = \"bob\" }]\n",
        "error: cannot make the image of app: the image has no user or group `bob`: it has root and the service's own\n\
        hint: mend `user` or `owner` in the configuration; numbers are always possible, as in \"1000:1000\"\n",
    );
}

#[test]
fn text_that_is_no_toml() {
    check_configuration(
        "\n[package.metadata.carrack\n",
        "error: [PROJECT]/Cargo.toml is not valid TOML\n --> Cargo.toml:6:26\n  |\n6 | [package.metadata.carrack\n  \
        |                          ^ unclosed table, expected `]`\n",
    );
    let stage = Stage::app();
    stage.project.write("carrack.toml", "ports = [\n");
    check(
        &stage,
        &["build"],
        2,
        "error: [PROJECT]/carrack.toml is not valid TOML\n --> carrack.toml:1:10\n  |\n1 | ports = [\n  \
        |          ^ unclosed array, expected `]`\n",
    );
}

#[test]
fn files_that_are_not_there() {
    let stage =
        Stage::configured("\n[package.metadata.carrack]\nfiles = [{ from = \"config\", to = \"/app\" }]\n");
    let finished = stage.run(&["build"]);
    check_end(
        &stage,
        finished,
        2,
        "error: cannot add `config` to an image: [PROJECT]/config is not there\n\
        hint: mend the key `files`; `from` starts at the folder of the file that names it\n",
    );
    assert_eq!(stage.run(&["images", "-q"]).expect_code(0).stdout, "");
}

#[test]
fn profile_that_nobody_defines() {
    let stage = Stage::app();
    let finished = stage.run(&["build", "--profile", "fast"]);
    check_end(
        &stage,
        finished,
        2,
        "error: profile `fast` is not defined\n\
        error: there is no profile `fast` (cargo exit 101)\n\
        hint: use release or dev, or add [profile.fast] to the workspace's Cargo.toml\n",
    );
}

#[test]
fn arguments_that_make_no_sense() {
    let stage = Stage::app();
    let said = |arguments: &[&str], expected: &str| check(&stage, arguments, 2, expected);
    let (foreign, host) = if cfg!(target_arch = "x86_64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
    said(
        &["build", "--platform", &format!("linux/{foreign}")],
        &format!(
            "error: cannot build for linux/{foreign}: this machine builds for linux/{host} only\n\
            hint: leave --platform out, or run carrack on a machine of linux/{foreign}\n"
        ),
    );
    said(
        &["build", "-t", "Upper"],
        "error: image name `Upper` has an upper-case letter at byte 0, and repository names are lower case\n  \
        in the image name `Upper`\nhint: use NAME or NAME:TAG\n",
    );
    said(
        &["build", "-t", "a:b:c"],
        "error: image name `a:b:c` has ':' at byte 3 where a letter, a digit, `_`, `.` or `-` of the tag is expected\n  \
        in the image name `a:b:c`\nhint: use NAME or NAME:TAG\n",
    );
    for (output, why) in [
        ("type=zip,dest=a", "`zip` is none of oci, docker, tar and local"),
        ("type=oci", "dest= is missing"),
        ("dest=a", "type= is missing: oci, docker, tar or local"),
        ("type=local,dest=-", "a folder can't go to standard output"),
        ("type=oci,dest=a,push=true", "`push=true` is none of type=, dest= and tar=true|false"),
        ("", "a folder, `-` or type=oci|docker|tar|local,dest=PATH is missing"),
    ] {
        let finished = stage.run(&["build", "-o", output]).expect_code(2);
        assert!(
            finished.stderr.lines().next().unwrap().ends_with(&format!("'--output <TYPE>': {why}")),
            "{finished:?}"
        );
    }
    stage.run(&["biuld"]).expect_code(2).expect_stderr("a similar subcommand exists: 'build'");
    stage.run(&["build", "--label", "=x"]).expect_code(2).expect_stderr("a label has a key, as in key=value");
}

#[test]
fn destinations_that_cannot_be_written() {
    let stage = Stage::app();
    let before = stage.project.inventory();
    let said = |output: &str, expected: &str| {
        let finished = stage.run(&["build", "-q", "-o", output]).expect_code(3);
        assert_eq!(stage.filtered(&finished.stderr), expected, "{output}");
        // Not even an id: the command failed.
        assert_eq!(finished.stdout, "", "{output}");
    };
    for kind in ["oci", "docker", "tar"] {
        said(
            &format!("type={kind},dest=src"),
            "error: cannot write src\n  it exists and is no regular file\n\
            hint: choose another destination, or make this one writable\n",
        );
    }
    said(
        "type=local,dest=src/main.rs",
        "error: cannot write src/main.rs\n  Not a directory (os error 20)\n\
        hint: choose another destination, or make this one writable\n",
    );
    said(
        "type=oci,tar=false,dest=src",
        "error: cannot write src\n  src is neither an OCI layout of version 1.0.0 nor empty\n\
        hint: choose another destination, or empty this one\n",
    );
    said(
        "type=oci,dest=missing/a.tar",
        "error: cannot write missing/a.tar\n  No such file or directory (os error 2)\n\
        hint: choose another destination, or make this one writable\n",
    );
    let finished = stage.run(&["build", "--iidfile", "missing/id"]);
    check_end(
        &stage,
        finished,
        3,
        "error: cannot write missing/id\n  No such file or directory (os error 2)\nhint: check the path\n",
    );
    assert_eq!(stage.project.inventory(), before);
}

#[test]
fn folder_of_someone_else() {
    let stage = Stage::app();
    stage.build(&[]);
    let folder = stage.file("theirs");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere but where nobody may.
    let (output, why) = if is_root() {
        ("/proc/carrack.tar", "No such file or directory (os error 2)")
    } else {
        ("theirs/a.tar", "Permission denied (os error 13)")
    };
    let finished = stage.run(&["build", "-o", &format!("type=oci,dest={output}")]).expect_code(3);
    assert_eq!(
        finished.stderr,
        format!(
            "error: cannot write {output}\n  {why}\nhint: choose another destination, or make this one writable\n"
        )
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// A file system of one size, in a folder, until dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path, size: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        let options = format!("size={size}");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).status();
        assert!(status.unwrap().success());
        Self(folder)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // The kernel takes it away with the last one who uses it.
        let _ = Command::new("umount").args(["-l"]).arg(self.0).status();
    }
}

#[test]
fn full_disk() {
    if !is_root() {
        skipped("a full disk", "mounting one takes root");
        return;
    }
    let stage = Stage::app();
    stage.project.write(
        "src/main.rs",
        "static NOISE: &[u8] = include_bytes!(\"noise\");\nfn main() { println!(\"{}\", NOISE[std::env::args().count()]); }\n",
    );
    // Compresses badly.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(3 << 20).collect();
    fs::write(stage.file("src/noise"), noise).unwrap();

    let output = stage.home.path().join("output");
    let small = SmallDisk::mount(&output, "1m");
    for (kind, name) in
        [("oci", "a.tar"), ("docker", "b.tar"), ("tar", "c.tar"), ("local", "d"), ("oci,tar=false", "e")]
    {
        let to = output.join(name);
        let finished =
            stage.run(&["build", "-q", "-o", &format!("type={kind},dest={}", to.display())]).expect_code(3);
        let text = stage.filtered(&finished.stderr);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("error: cannot write [HOME]/output/"), "{text}");
        assert_eq!(lines[lines.len() - 2], "  No space left on device (os error 28)", "{text}");
        assert_eq!(lines[lines.len() - 1], "hint: make room on that disk", "{text}");
        assert_quoted(&lines[lines.len() - 2..].join("\n"));
        if kind != "oci,tar=false" {
            assert_eq!(fs::read_dir(&output).unwrap().count(), 0, "{kind}");
        } else {
            assert!(!to.join("index.json").exists());
        }
    }
    drop(small);

    for size in ["64k", "1m", "4m"] {
        let home = stage.home.path().join("small");
        let small = SmallDisk::mount(&home, size);
        let finished = finish(stage.command(&["build"]).env("CARRACK_HOME", &home)).expect_code(3);
        let text = stage.filtered(&finished.stderr);
        let own = text.rsplit("\nerror: ").next().unwrap();
        assert!(
            own.to_lowercase().contains("disk is full") || own.contains("No space left on device"),
            "{size}: {text}"
        );
        assert!(own.contains("hint: make room on that disk"), "{size}: {text}");
        // With room the same state is good.
        let larger = Command::new("mount").args(["-o", "remount,size=200m"]).arg(&home).status();
        assert!(larger.unwrap().success());
        finish(stage.command(&["build"]).env("CARRACK_HOME", &home)).expect_code(0);
        drop(small);
    }
}

#[test]
fn state_of_a_newer_format() {
    let stage = Stage::app();
    stage.build(&[]);
    let format = stage.home.path().join("format");
    for command in [&["build"][..], &["images"], &["run", "app"], &["rm", "app"]] {
        fs::write(&format, "99\n").unwrap();
        check(
            &stage,
            command,
            3,
            "error: [HOME]/format is of format 99, newer than 1, the newest known here\n\
            hint: use the newer carrack, or another state folder with --home\n",
        );
        assert_eq!(fs::read_to_string(&format).unwrap(), "99\n");
        fs::write(&format, "one").unwrap();
        check(
            &stage,
            command,
            3,
            "error: [HOME]/format is damaged: it should hold the number of the store's format\n\
            hint: delete the state folder (everything in it can be made again), or use another with --home\n",
        );
    }
}

#[test]
fn damaged_index() {
    let stage = Stage::app();
    stage.build(&[]);
    for entry in fs::read_dir(stage.home.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("index.db") {
            fs::write(&path, "this is no database, and never was one. ".repeat(200)).unwrap();
        }
    }
    let finished = stage.run(&["build"]).expect_code(3);
    let text = stage.filtered(&finished.stderr);
    assert!(text.starts_with("error: [HOME]/index.db is damaged"), "{text}");
    assert!(
        text.ends_with(
            "\nhint: delete the state folder (everything in it can be made again), or use another with --home\n"
        ),
        "{text}"
    );
}

#[test]
fn state_that_cannot_be_written() {
    let stage = Stage::app();
    stage.build(&[]);
    if !is_root() {
        skipped("a read-only state folder", "mounting one takes root");
        return;
    }
    let read_only = stage.home.path().join("read-only");
    fs::create_dir(&read_only).unwrap();
    // In a mount namespace of its own: nobody has to clean up.
    let script = "mount --bind \"$1\" \"$2\" && mount -o remount,bind,ro \"$2\" && shift 2 && exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_carrack");
    for arguments in [&["build"][..], &["run", "app"]] {
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.args([stage.home.path(), &read_only, Path::new(program)]).args(arguments);
        command.current_dir(stage.path()).env("CARRACK_HOME", &read_only).env_remove("RUST_BACKTRACE");
        let finished = finish(&mut command).expect_code(3);
        let text = stage.filtered(&finished.stderr);
        assert!(text.starts_with("error: cannot ") && text.contains("[HOME]/read-only/"), "{text}");
        let hint = text.lines().last().unwrap();
        assert_eq!(hint, "hint: make it writable for this user, or use another with --home", "{text}");
    }
}

#[test]
fn images_that_are_not_there() {
    let stage = Stage::app();
    for command in ["run", "rm"] {
        check(
            &stage,
            &[command, "nope"],
            2,
            "error: there is no image `nope` in Carrack's store\nhint: build one with `carrack build`\n",
        );
    }
    stage.build(&[]);
    for command in ["run", "rm"] {
        check(
            &stage,
            &[command, "nope"],
            2,
            "error: there is no image `nope` in Carrack's store\n  there are: app:latest\nhint: run `carrack images`\n",
        );
    }
    check(
        &stage,
        &["run", "--entrypoint", "/nope", "app"],
        2,
        "error: cannot start /nope: there is no such program\n\
        hint: check the entrypoint: a closure image has no shell and no other program\n",
    );
    check(
        &stage,
        &["run", "--workdir", "/nope", "app"],
        2,
        "error: cannot enter the working folder /nope\n  No such file or directory (os error 2)\n\
        hint: check `workdir`\n",
    );
    check(
        &stage,
        &["run", "--user", "bob", "app"],
        2,
        "error: cannot run as `bob`: the image has no such user\n\
        hint: give numbers, as in --user 65532:65532\n",
    );
}

#[test]
fn ids_that_mean_more_than_one_image() {
    let stage = Stage::app();
    let mut ids: Vec<String> = Vec::new();
    // With a hexadecimal digit less than images two of them begin alike.
    for number in 0..17 {
        let name = format!("app:{number}");
        let id = stage.build(&["-q", "-t", &name, "--label", &format!("number={number}")]).stdout;
        ids.push(id.trim().strip_prefix("sha256:").unwrap().to_owned());
    }
    let first_digits = |count: usize| ids.iter().map(|id| id[..count].to_owned()).collect::<Vec<_>>();
    let firsts = first_digits(1);
    let shared =
        firsts.iter().find(|digit| firsts.iter().filter(|other| other == digit).count() > 1).unwrap();
    let finished = stage.run(&["rm", shared]).expect_code(2);
    assert!(finished.stderr.starts_with("error: "), "{}", finished.stderr);
    assert_eq!(stage.run(&["images", "-q"]).stdout.lines().count(), 17);
}
