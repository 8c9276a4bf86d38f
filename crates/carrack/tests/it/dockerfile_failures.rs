//! What a Dockerfile is told that fails while the embedded engine builds it: the exit code and the words, all of them.

use std::path::Path;

use carrack_testkit::{ContainerRegistry, Project, RegistrySetup, skipped};

use crate::docker_build::with_dockerfile;
use crate::dockerfile_refusals::check;
use crate::stage::Stage;

/// What happens while it is built.
#[test]
fn steps_that_fail() {
    if !Path::new("/bin/busybox").exists() {
        return skipped("steps_that_fail", "busybox-static is not installed");
    }
    let base = with_dockerfile("FROM scratch\nCOPY rootfs /\n");
    let stage = Stage::new(Project::new());
    let (folder, dockerfile) = (base.path(), base.file("Dockerfile"));
    stage.build(&["-f", dockerfile.to_str().unwrap(), folder.to_str().unwrap(), "-t", "base:1", "-q"]);
    check(
        &stage,
        &[
            (
                "FROM base:1\nRUN echo before && \\\n    exit 7\n",
                &[],
                1,
                r#"
before
error: the command failed (exit code 7)
 --> ./Dockerfile:2:1
  |
2 | / RUN echo before && \
3 | |     exit 7
  | |__________^ exit code 7
  before
hint: see its output above
"#,
            ),
            (
                "FROM base:1\nRUN make it\n",
                &[],
                1,
                r#"
/bin/sh: make: not found
error: the command failed (exit code 127)
 --> ./Dockerfile:2:1
  |
2 | RUN make it
  | ^^^^^^^^^^^ exit code 127
  /bin/sh: make: not found
hint: install the program in an earlier step, or mend its name
"#,
            ),
            (
                "FROM base:1\nCOPY --chmod=644 a /a\nRUN /a\n",
                &[],
                1,
                r#"
/bin/sh: /a: Permission denied
error: the command failed (exit code 126)
 --> ./Dockerfile:3:1
  |
3 | RUN /a
  | ^^^^^^ exit code 126
  /bin/sh: /a: Permission denied
hint: make the program executable, or name another one
"#,
            ),
            (
                "FROM scratch\nRUN echo hello\n",
                &[],
                1,
                r#"
error: cannot run /bin/sh: the image has no such program
 --> ./Dockerfile:2:1
  |
2 | RUN echo hello
  | ^^^^^^^^^^^^^^
hint: use an image that has it, or copy it before; RUN ["/program"] needs no shell
"#,
            ),
            (
                "FROM scratch\nCOPY a /\nRUN [\"/b\"]\n",
                &[],
                1,
                r#"
error: cannot run /b: the image has no such program
 --> ./Dockerfile:3:1
  |
3 | RUN ["/b"]
  | ^^^^^^^^^^
hint: use an image that has it, or copy it before; RUN ["/program"] needs no shell
"#,
            ),
            (
                "FROM scratch\nCOPY --chmod=755 a /\nRUN [\"/a\"]\n",
                &[],
                1,
                r#"
error: cannot run /a
 --> ./Dockerfile:3:1
  |
3 | RUN ["/a"]
  | ^^^^^^^^^^
  Exec format error (os error 8)
hint: check that it is executable, made for this machine, and has its loader in the image
"#,
            ),
            (
                "FROM scratch\nCOPY nothing /\n",
                &[],
                1,
                r#"
error: cannot find `nothing` in the context [PROJECT]
 --> ./Dockerfile:2:1
  |
2 | COPY nothing /
  | ^^^^^^^^^^^^^^ not there
hint: mend the path, or see whether .dockerignore leaves it out
"#,
            ),
            (
                "FROM scratch AS made\nCOPY a /\nFROM scratch\nCOPY --from=made /b /\n",
                &[],
                1,
                r#"
error: cannot find `b`: it is not there after [made 1/1] COPY a /
 --> ./Dockerfile:4:1
  |
4 | COPY --from=made /b /
  | ^^^^^^^^^^^^^^^^^^^^^ not there
hint: mend the path, or see what that stage makes
"#,
            ),
            (
                "FROM base:1\nRUN --mount=type=bind,source=nothing,target=/n true\n",
                &[],
                1,
                r#"
error: cannot find `/nothing` in the context [PROJECT]
 --> ./Dockerfile:2:1
  |
2 | RUN --mount=type=bind,source=nothing,target=/n true
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ not there
hint: mend the path, or see whether .dockerignore leaves it out
"#,
            ),
            (
                "FROM scratch\nCOPY a /x\nCOPY a /x/y\n",
                &[],
                1,
                r#"
error: cannot write /x: something else is there
 --> ./Dockerfile:3:1
  |
3 | COPY a /x/y
  | ^^^^^^^^^^^
hint: choose another place: a folder can't replace a file, nor a file a folder
"#,
            ),
            (
                "FROM scratch\nCOPY a /x\nWORKDIR /x\n",
                &[],
                1,
                r#"
error: cannot write /x: something else is there
 --> ./Dockerfile:3:1
  |
3 | WORKDIR /x
  | ^^^^^^^^^^
hint: choose another place: a folder can't replace a file, nor a file a folder
"#,
            ),
            (
                "FROM base:1\nCOPY --chown=clinic a /\n",
                &[],
                1,
                r#"
error: the image has no user `clinic`
 --> ./Dockerfile:2:1
  |
2 | COPY --chown=clinic a /
  | ^^^^^^^^^^^^^^^^^^^^^^^
hint: add it before, as with `RUN useradd clinic`, or use a number
"#,
            ),
            (
                "FROM base:1\nUSER clinic\nRUN true\n",
                &[],
                1,
                r#"
error: the image has no user `clinic`
 --> ./Dockerfile:3:1
  |
3 | RUN true
  | ^^^^^^^^
hint: add it before, as with `RUN useradd clinic`, or use a number
"#,
            ),
            (
                "FROM base:1\nCOPY --chown=0:clinic a /\n",
                &[],
                1,
                r#"
error: the image has no group `clinic`
 --> ./Dockerfile:2:1
  |
2 | COPY --chown=0:clinic a /
  | ^^^^^^^^^^^^^^^^^^^^^^^^^
hint: add it before, as with `RUN groupadd clinic`, or use a number
"#,
            ),
            (
                "FROM base:1\nRUN --mount=type=secret,id=token,required true\n",
                &[],
                2,
                r#"
error: cannot run this: nobody gave the secret `token`
 --> ./Dockerfile:2:1
  |
2 | RUN --mount=type=secret,id=token,required true
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: give it with `--secret id=token,src=FILE`, or in the `secrets` of a compose file
"#,
            ),
            (
                "FROM base:1\nRUN --mount=type=ssh,required true\n",
                &[],
                2,
                r#"
error: cannot run this: nobody gave the SSH agent `default`
 --> ./Dockerfile:2:1
  |
2 | RUN --mount=type=ssh,required true
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: give it with `--ssh default`, or with `ssh` in a compose file
"#,
            ),
            (
                "FROM base:1\nRUN true\n",
                &["--ulimit", "nofiles=10"],
                2,
                r#"
error: cannot limit `nofiles`: there is no such limit
 --> ./Dockerfile:2:1
  |
2 | RUN true
  | ^^^^^^^^
hint: mend --ulimit, as in nofile=1024
"#,
            ),
            (
                "FROM base:1\nRUN busybox mkdir -m 0 /closed && busybox mkdir /closed/in\nWORKDIR /closed/in\nUSER 1000\nRUN true\n",
                &[],
                1,
                r#"
error: cannot enter the working folder /closed/in
 --> ./Dockerfile:5:1
  |
5 | RUN true
  | ^^^^^^^^
  Permission denied (os error 13)
hint: check WORKDIR, and whether USER may enter it
"#,
            ),
            (
                "FROM scratch\nADD http://127.0.0.1:1/x /\n",
                &[],
                4,
                r#"
error: cannot download http://127.0.0.1:1/x
 --> ./Dockerfile:2:1
  |
2 | ADD http://127.0.0.1:1/x /
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^
  the connection for http://127.0.0.1:1/x failed
  Connection refused (os error 111)
hint: check the address and the network, then build again
"#,
            ),
            (
                "FROM scratch\nADD http://127.0.0.1:1/x.git /\n",
                &[],
                4,
                r#"
error: cannot get http://127.0.0.1:1/x.git with git
 --> ./Dockerfile:2:1
  |
2 | ADD http://127.0.0.1:1/x.git /
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  fatal: unable to access 'http://127.0.0.1:1/x.git/': Failed to connect to 127.0.0.1 port 1 after [N] ms: Couldn't connect to server
hint: check the address, and what git may do there
"#,
            ),
            (
                "FROM base:1\nRUN busybox ln -s b /a && busybox ln -s a /b\nCOPY a /a/x\n",
                &[],
                1,
                r#"
error: cannot write /a/x: symbolic links lead in a circle
 --> ./Dockerfile:3:1
  |
3 | COPY a /a/x
  | ^^^^^^^^^^^
hint: mend the links in the image, or choose another place
"#,
            ),
        ],
    );
}

/// A registry that answers, and has no such image; one that does not answer.
#[test]
fn images_that_nobody_has() {
    let Some(registry) = ContainerRegistry::start(&RegistrySetup::Open) else {
        return skipped("images_that_nobody_has", "docker-registry is not installed");
    };
    let stage = Stage::new(Project::new());
    let address = registry.address();
    stage.project.write("Dockerfile", &format!("FROM {address}/clinic/base:2\n"));
    let refused = stage.run(&["build", "-q"]).expect_code(4).stderr.replace(address, "[REGISTRY]");
    assert_eq!(
        refused,
        "error: cannot find the image [REGISTRY]/clinic/base:2\n --> ./Dockerfile:1:1\n  |\n\
        1 | FROM [REGISTRY]/clinic/base:2\n  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ asks for it\n  \
        there is no image [REGISTRY]/clinic/base:2 at [REGISTRY]\n\
        hint: check the name; build it first if it is one of yours, with `carrack build -t NAME`\n"
    );
    stage.project.write("Dockerfile", "FROM 127.0.0.1:1/clinic/base:2\n");
    let refused = stage.run(&["build", "-q"]).expect_code(4);
    assert!(
        refused.stderr.contains("hint: check the name, `docker login`, and the network\n"),
        "{}",
        refused.stderr
    );
}
