//! The read-only view of the host.

use super::*;

#[test]
fn the_host_is_read_only_and_tmp_is_private() {
    if !isolated() {
        return;
    }
    let home = std::env::var("HOME").unwrap();
    let name = format!("carrack-sandbox-test-{}", std::process::id());
    let fixture = Fixture::host(&format!(
        "for place in / /etc /usr /usr/bin /dev /run /sys /proc/sys/kernel {home} /var; do \
             if touch $place/{name} 2>/dev/null; then rm $place/{name}; echo wrote $place; fi; \
         done; \
         if (: >>/proc/sys/kernel/core_pattern) 2>/dev/null; then echo opened core_pattern; fi; \
         for place in /tmp /var/tmp /dev/shm; do touch $place/{name} || echo refused $place; done; \
         echo done"
    ));
    assert_eq!(fixture.output(), "done\n");
    for place in ["/tmp", "/var/tmp", "/dev/shm"] {
        assert!(!Path::new(place).join(&name).exists(), "{place}");
    }
    assert!(fixture.sandbox.scratch.join("tmp").join(&name).exists());
}

#[test]
fn the_command_has_no_rights_beyond_its_user() {
    if !isolated() {
        return;
    }
    let fixture = Fixture::host("grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\\t'");
    let none = "0000000000000000";
    assert_eq!(
        fixture.output(),
        format!("CapInh:{none}\nCapPrm:{none}\nCapEff:{none}\nCapBnd:{none}\nCapAmb:{none}\nNoNewPrivs:1\n")
    );
}

#[test]
fn a_new_namespace_does_not_help_to_write() {
    if !isolated() {
        return;
    }
    let attempt = "mount -o remount,rw,bind /usr && echo remounted; umount /usr && echo unmounted; \
                   umount /etc && echo unmounted; touch /usr/carrack-sandbox-test && rm /usr/carrack-sandbox-test && echo wrote;";
    let fixture = Fixture::host(&format!(
        "({attempt}) 2>/dev/null; unshare --user --map-root-user --mount sh -c '{attempt}' 2>/dev/null; echo done"
    ));
    assert_eq!(fixture.output(), "done\n");
}

#[test]
fn ids_are_the_callers() {
    if !isolated() {
        return;
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let fixture = Fixture::host("id -u; id -g; stat -c %u /tmp");
    assert_eq!(fixture.output(), format!("{uid}\n{gid}\n{uid}\n"));
}

#[test]
fn the_view_is_the_hosts_but_processes_and_sockets_are_not() {
    if !isolated() {
        return;
    }
    let fixture = Fixture::host(
        "readlink /bin || echo folder; hostname; find /run -type s | wc -l; \
         ls /proc | grep -cE '^[0-9]+$'; ls /dev | tr '\\n' ' '",
    );
    let bin = fs::read_link("/bin").map_or("folder".into(), |path| path.display().to_string());
    let output = fixture.output();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..3], [&bin, "inside", "0"]);
    // Pid 1, sh, ls and grep; a container's masked procfs shows its host's processes.
    assert!(lines[3].parse::<u32>().unwrap() <= 5, "{output}");
    assert_eq!(lines[4], "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
}

#[test]
fn pid_1_shows_nothing_to_open() {
    if !isolated() {
        return;
    }
    let script = "cat /proc/1/exe >/dev/null; cat /proc/1/fd/0; ls /proc/1/root/; exit 0";
    for fixture in [Fixture::host(script), Fixture::layers(script)] {
        let output = fixture.output();
        assert_eq!(output.matches("ermission denied").count(), 3, "{output}");
    }
}

#[test]
fn an_overlay_catches_writes() {
    if !isolated() {
        return;
    }
    let mut fixture = Fixture::host(
        "cd /carrack/workspace && cat kept && echo new >written && echo more >>kept && rm removed && ls",
    );
    let lower = fixture.folder("odd, name: with \\ commas");
    for name in ["kept", "removed"] {
        fs::write(lower.join(name), "old\n").unwrap();
    }
    fixture.sandbox.mounts.push(fixture.overlay(lower.clone(), "/carrack/workspace"));
    assert_eq!(fixture.output(), "old\nkept\nwritten\n");
    assert_eq!(fs::read_to_string(lower.join("kept")).unwrap(), "old\n");
    assert!(lower.join("removed").exists() && !lower.join("written").exists());
    assert_eq!(fs::read_to_string(fixture.path("overlay-upper/kept")).unwrap(), "old\nmore\n");
    assert_eq!(fs::read_to_string(fixture.path("overlay-upper/written")).unwrap(), "new\n");
}

#[test]
fn an_overlay_may_have_more_layers_than_a_page_names() {
    if !isolated() {
        return;
    }
    let mut fixture = Fixture::host("ls /stack | wc -l; cat /stack/shared");
    let lower: Vec<PathBuf> = (0..400)
        .map(|number| {
            let layer = fixture.folder(&format!("layer-{number}"));
            fs::write(layer.join(number.to_string()), "").unwrap();
            fs::write(layer.join("shared"), format!("{number}\n")).unwrap();
            layer
        })
        .collect();
    let (upper, work) = (fixture.folder("overlay-upper"), fixture.folder("overlay-work"));
    fixture.sandbox.mounts.push(Mount::Overlay {
        lower,
        upper,
        work,
        target: "/stack".into(),
        writable: true,
    });
    match fixture.spawn() {
        Ok(child) => assert_eq!(finish(child), (Exit::Code(0), "401\n0\n".to_owned())),
        Err(SandboxError::Mount { source, .. }) if source.raw_os_error() == Some(libc_einval()) => {
            skip!("this kernel takes no more layers than a page names");
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn libc_einval() -> i32 {
    rustix::io::Errno::INVAL.raw_os_error()
}

#[test]
fn binds_are_writable_only_when_asked() {
    if !isolated() {
        return;
    }
    let mut fixture = Fixture::host("touch /open/a && touch /closed/a; ls /closed; cat /tmp/file");
    let (open, closed) = (fixture.folder("open"), fixture.folder("closed"));
    fs::write(closed.join("b"), "").unwrap();
    fs::write(fixture.path("file"), "bound\n").unwrap();
    for (source, target, writable) in
        [(&open, "/open", true), (&closed, "/closed", false), (&fixture.path("file"), "/tmp/file", false)]
    {
        fixture.sandbox.mounts.push(Mount::Bind { source: source.clone(), target: target.into(), writable });
    }
    let output = fixture.output();
    assert!(output.contains("Read-only file system") && output.ends_with("b\nbound\n"), "{output}");
    assert!(open.join("a").exists() && !closed.join("a").exists());
}

#[test]
fn masks_hide_what_is_there() {
    if !isolated() {
        return;
    }
    let mut fixture = Fixture::host("cat /etc/passwd; ls /usr/share; ls -d /not-there || echo absent");
    for target in ["/etc/passwd", "/usr/share", "/not-there"] {
        fixture.sandbox.mounts.push(Mount::Mask { target: target.into() });
    }
    let output = fixture.output();
    assert!(output.ends_with("absent\n") && output.lines().count() == 2, "{output}");
}

#[test]
fn a_missing_mount_source_is_named() {
    if !isolated() {
        return;
    }
    let mut fixture = Fixture::host("true");
    let source = fixture.path("missing");
    fixture.sandbox.mounts.push(Mount::Bind { source: source.clone(), target: "/x".into(), writable: false });
    match fixture.spawn() {
        Err(SandboxError::Mount { path, source: error, .. }) => {
            assert_eq!((path, error.kind()), (source, std::io::ErrorKind::NotFound));
        }
        other => panic!("{other:?}"),
    }
}
