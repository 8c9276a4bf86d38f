//! Roots that are stacks of layers, and ids.

use super::*;

#[test]
fn a_stack_is_writable_above_its_layers() {
    if !isolated() {
        return;
    }
    let fixture = Fixture::layers("cat /layer; echo; echo written >/new; rm /below; ls / | tr '\\n' ' '");
    let output = fixture.output();
    assert!(output.starts_with("top\n"), "{output}");
    assert!(!output.contains("below") && output.contains("new "), "{output}");
    assert_eq!(fs::read_to_string(fixture.path("upper/new")).unwrap(), "written\n");
    assert!(!fixture.path("bottom/new").exists() && fixture.path("bottom/below").exists());
}

#[test]
fn the_network_files_are_the_hosts() {
    if !isolated() {
        return;
    }
    let fixture = Fixture::layers("cat /etc/resolv.conf /etc/hostname");
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(fixture.output(), format!("{resolver}inside\n"));
    assert_eq!(fs::read_to_string(fixture.path("upper/etc/hostname")).unwrap(), "");
}

#[test]
fn links_of_an_image_lead_nowhere_outside() {
    if !isolated() {
        return;
    }
    let fixture = Fixture::layers("cat /etc/resolv.conf >/dev/null; ls /far/away");
    let outside = fixture.folder("outside");
    fs::create_dir(fixture.path("top/etc")).unwrap();
    std::os::unix::fs::symlink("/far/away/resolv.conf", fixture.path("top/etc/resolv.conf")).unwrap();
    std::os::unix::fs::symlink(outside.join("hosts"), fixture.path("top/etc/hosts")).unwrap();
    if Path::new("/etc/resolv.conf").exists() {
        assert_eq!(fixture.output(), "resolv.conf\n");
    }
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn one_id_is_the_callers() {
    if !isolated() {
        return;
    }
    let mut fixture = Fixture::layers("id -u; id -g; touch /made; stat -c %u:%g /made");
    for (uid, gid) in [(0, 0), (65_532, 65_533)] {
        fixture.sandbox.ids = IdMap::Single { uid, gid };
        let _ = fs::remove_file(fixture.path("upper/made"));
        assert_eq!(fixture.output(), format!("{uid}\n{gid}\n{uid}:{gid}\n"));
        let made = fs::metadata(fixture.path("upper/made")).unwrap();
        let caller = rustix::process::geteuid().as_raw();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), caller);
    }
}

#[test]
fn root_of_a_stack_is_roots_but_not_the_hosts() {
    if !isolated() {
        return;
    }
    let fixture =
        Fixture::layers("grep -E '^Cap(Eff|Bnd)' /proc/self/status; mount -t tmpfs x /mnt || echo refused");
    let output = fixture.output();
    assert!(output.contains("CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb"), "{output}");
    assert!(output.ends_with("refused\n"), "{output}");
}

#[test]
fn a_user_with_groups() {
    if !isolated() {
        return;
    }
    if !is_root() {
        skip!("only root has the ids of others");
        return;
    }
    let mut fixture =
        Fixture::layers("id -u; id -g; id -G; grep CapEff /proc/self/status; touch /x || echo refused");
    fixture.sandbox.ids = IdMap::Caller;
    fixture.sandbox.user = Some(User { uid: 1000, gid: 1001, groups: vec![7, 1002] });
    let output = fixture.output();
    assert!(output.starts_with("1000\n1001\n1001 7 1002\nCapEff:\t0000000000000000\n"), "{output}");
    assert!(output.ends_with("refused\n"), "{output}");
}

#[test]
fn a_user_outside_the_map_is_refused() {
    if !isolated() {
        return;
    }
    let mut fixture = Fixture::layers("true");
    fixture.sandbox.user = Some(User { uid: 1000, gid: 0, groups: Vec::new() });
    match fixture.spawn() {
        Err(SandboxError::User { uid: 1000, gid: 0, source }) => {
            assert_eq!(source.raw_os_error(), Some(rustix::io::Errno::INVAL.raw_os_error()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn subordinate_ids_are_mapped() {
    if !isolated() {
        return;
    }
    let Some(ids) = carrack_sandbox::subordinate_ids() else {
        skip!("this user has no subordinate ids, or newuidmap is missing");
        return;
    };
    let mut fixture = Fixture::layers("touch /tmp/x; id -u; id -g; id -G; stat -c %u:%g /tmp/x");
    fs::create_dir(fixture.path("top/tmp")).unwrap();
    fs::set_permissions(fixture.path("top/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fixture.sandbox.user = Some(User { uid: 1, gid: 2, groups: vec![3] });
    fixture.sandbox.ids = IdMap::Subordinate(ids.clone());
    assert_eq!(fixture.output(), "1\n2\n2 3\n1:2\n");
    let made = fs::metadata(fixture.path("upper/tmp/x")).unwrap();
    let expected = if is_root() { 1 } else { ids.uids.start };
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), expected);
}
