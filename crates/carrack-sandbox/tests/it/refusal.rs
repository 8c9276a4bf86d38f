//! Machines that forbid some or all of it, made with util-linux's unshare.

use super::*;

/// Runs `set_up` as the root of a new user namespace, then the helper with `arguments`; what it says, if the machine
/// allows that much.
fn helper_after(set_up: &str, arguments: &[&str]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "{set_up} || exit 99; mode=$1; shift; exec {} $mode {} \"$@\"",
        helper().display(),
        folder.path().display()
    );
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
        .args(arguments)
        .output();
    match output {
        Ok(output) if output.status.code() != Some(99) => {
            let text = [output.stdout, output.stderr].concat();
            Some(String::from_utf8_lossy(&text).into_owned())
        }
        other => {
            skip!("can't set up `{set_up}`: {other:?}");
            None
        }
    }
}

#[test]
fn forbidden_namespaces_are_told() {
    if !isolated() {
        return;
    }
    if let Some(answer) = helper_after("echo 0 >/proc/sys/user/max_user_namespaces", &["support"]) {
        // ENOSPC is the kernel's word for this limit.
        assert!(answer.starts_with("Plain { reason: Namespaces") && answer.contains("code: 28"), "{answer}");
    }
}

#[test]
fn a_container_with_a_masked_procfs_will_do() {
    if !isolated() {
        return;
    }
    let script = "test -e /proc/self/status && head -c 0 /dev/null && echo fine";
    for mask in ["mount -t tmpfs mask /proc/sys", "true"] {
        if let Some(answer) = helper_after(mask, &["isolated", "sh", "-c", script]) {
            assert_eq!(answer, "fine\n", "{mask}");
        }
    }
}

#[test]
fn an_overlay_that_is_refused_is_told() {
    if !isolated() {
        return;
    }
    // procfs takes no upper folder; the probe's folders can't even be made there.
    match launcher().support(Path::new("/proc")) {
        Support::Plain { reason: SandboxError::Prepare { path, .. } } => {
            assert_eq!(path, Path::new("/proc/probe-lower"));
        }
        other => panic!("{other:?}"),
    }
}
