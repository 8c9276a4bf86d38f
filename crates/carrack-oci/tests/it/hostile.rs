//! Layers that somebody wrote to break out: each must be refused, or do what it would do inside the image.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use carrack_oci::{Destination, EntryProblem, Ownership, RootfsError, Unpacked, rootfs_dir, rootfs_tar};
use tar::{EntryType, Header};

use crate::{Blobs, image};

/// A tar of `(kind, path, link or content)`, paths exactly as given.
pub(crate) fn tar(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, text) in entries {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(if *kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        let is_file = *kind == EntryType::Regular;
        if !is_file {
            header.as_gnu_mut().unwrap().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        let content = if is_file { text.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Unpacks one layer beside a file that must survive; what is above the root must not change.
fn unpack(entries: &[(EntryType, &str, &str)], check: impl FnOnce(&Path)) -> Result<Unpacked, RootfsError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("victim"), "untouched").unwrap();
    fs::set_permissions(folder.path().join("victim"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut blobs = Blobs::default();
    let layer = blobs.add_tar(&tar(entries));
    let root = folder.path().join("root");
    let result = rootfs_dir(&root, &image(&[layer]), &blobs, Ownership::Caller);
    if result.is_ok() {
        check(&root);
    }
    assert_eq!(fs::read(folder.path().join("victim")).unwrap(), b"untouched");
    assert_eq!(fs::metadata(folder.path().join("victim")).unwrap().permissions().mode() & 0o777, 0o600);
    let mut around: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    around.retain(|name| name != "root" && name != "victim");
    assert!(around.is_empty(), "{around:?}");
    assert!(result.is_ok() || !root.exists());
    result
}

fn problem(entries: &[(EntryType, &str, &str)]) -> EntryProblem {
    match unpack(entries, |_| ()).unwrap_err() {
        RootfsError::Entry { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;
const FOLDER: EntryType = EntryType::Directory;

#[test]
fn paths_that_climb_out_are_refused() {
    for path in ["../victim", "a/../../victim", "/../victim", "..", ".wh...", ".wh.", "a/.wh..."] {
        assert_eq!(problem(&[(FILE, path, "bad")]), EntryProblem::Outside, "{path}");
    }
    assert_eq!(problem(&[(LINK, ".", "/tmp")]), EntryProblem::Outside);
}

#[test]
fn absolute_paths_are_inside() {
    unpack(&[(FILE, "/victim", "inside")], |root| {
        assert_eq!(fs::read(root.join("victim")).unwrap(), b"inside");
    })
    .unwrap();
}

#[test]
fn links_among_parents_lead_where_they_lead_inside() {
    let entries = [
        (LINK, "up", "../../.."),
        (FILE, "up/victim", "inside"),
        (LINK, "abs", "/etc"),
        (FILE, "abs/f", "inside"),
    ];
    unpack(&entries, |root| {
        assert_eq!(fs::read(root.join("victim")).unwrap(), b"inside");
        assert_eq!(fs::read(root.join("etc/f")).unwrap(), b"inside");
        assert_eq!(fs::read_link(root.join("up")).unwrap(), Path::new("../../.."));
    })
    .unwrap();
    // A chain through another link, and a folder in the place of a link.
    let entries = [
        (LINK, "a", "b/.."),
        (LINK, "b", ".."),
        (FILE, "a/victim", "inside"),
        (FOLDER, "a", ""),
        (FILE, "a/x", "x"),
    ];
    unpack(&entries, |root| {
        assert_eq!(fs::read(root.join("victim")).unwrap(), b"inside");
        assert_eq!(fs::read(root.join("a/x")).unwrap(), b"x");
    })
    .unwrap();
}

#[test]
fn a_file_replaces_a_link_and_does_not_follow_it() {
    let entries = [(LINK, "out", "../victim"), (FILE, "out", "inside")];
    unpack(&entries, |root| {
        assert!(fs::symlink_metadata(root.join("out")).unwrap().is_file());
        assert_eq!(fs::read(root.join("out")).unwrap(), b"inside");
    })
    .unwrap();
}

#[test]
fn endless_links_end() {
    let entries = [(LINK, "a", "b"), (LINK, "b", "a"), (FILE, "a/x", "")];
    assert_eq!(problem(&entries), EntryProblem::TooManyLinks);
}

#[test]
fn hard_links_stay_inside() {
    assert_eq!(problem(&[(HARD, "h", "../victim")]), EntryProblem::Outside);
    assert!(matches!(problem(&[(HARD, "h", "/etc/passwd")]), EntryProblem::DanglingLink { .. }));
    assert!(matches!(problem(&[(HARD, "h", "")]), EntryProblem::DanglingLink { .. }));
    // Through a link to the outside, it finds what is there inside: nothing.
    let entries = [(LINK, "up", ".."), (HARD, "h", "up/victim")];
    assert!(matches!(problem(&entries), EntryProblem::DanglingLink { .. }));
    // To a link: a second link, whose target is only text.
    let entries = [(LINK, "l", "../victim"), (HARD, "h", "l")];
    unpack(&entries, |root| assert_eq!(fs::read_link(root.join("h")).unwrap(), Path::new("../victim")))
        .unwrap();
}

#[test]
fn device_nodes_are_not_made() {
    let entries =
        [(EntryType::Char, "null", ""), (EntryType::Block, "disk", ""), (EntryType::Fifo, "fifo", "")];
    let unpacked = unpack(&entries, |root| {
        let names: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["fifo"]);
    });
    assert_eq!(unpacked.unwrap().skipped_devices, 2);
}

#[test]
fn files_are_no_parents() {
    assert_eq!(problem(&[(FILE, "f", ""), (FILE, "f/x", "")]), EntryProblem::NotADirectory);
}

#[test]
fn unknown_kinds_and_owners_are_refused() {
    assert_eq!(problem(&[(EntryType::new(b'Z'), "f", "")]), EntryProblem::Kind { flag: b'Z' });
    let mut blobs = Blobs::default();
    let mut header = Header::new_gnu();
    header.set_path("f").unwrap();
    header.set_size(0);
    header.set_uid(u64::from(u32::MAX));
    header.set_gid(0);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, &b""[..]).unwrap();
    let layer = blobs.add_tar(&builder.into_inner().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let error =
        rootfs_dir(&folder.path().join("r"), &image(&[layer]), &blobs, Ownership::Caller).unwrap_err();
    assert!(matches!(error, RootfsError::Entry { problem: EntryProblem::Owner { .. }, .. }));
}

#[test]
fn a_line_end_in_an_attribute_smuggles_nothing_in() {
    // A record whose value looks like another record to a reader that splits lines.
    let value = b"x\n18 path=../victim\n";
    let mut records = Vec::new();
    let rest = " SCHILY.xattr.user.a=".len() + value.len() + 1;
    write!(records, "{} SCHILY.xattr.user.a=", rest + 2).unwrap();
    records.extend_from_slice(value);
    records.push(b'\n');
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(records.len() as u64);
    header.set_cksum();
    builder.append(&header, records.as_slice()).unwrap();
    builder.append_data(&mut file_header(2), "inside", &b"ok"[..]).unwrap();
    let mut blobs = Blobs::default();
    let layer = blobs.add_tar(&builder.into_inner().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    rootfs_dir(&root, &image(&[layer]), &blobs, Ownership::Caller).unwrap();
    assert_eq!(fs::read(root.join("inside")).unwrap(), b"ok");
    assert!(!folder.path().join("victim").exists());
}

fn file_header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

#[test]
fn what_is_no_archive_is_refused() {
    let whole = tar(&[(FILE, "f", "content")]);
    let mut bad_sum = whole.clone();
    bad_sum[0] ^= 1;
    let mut endless = whole.clone();
    endless[124..136].copy_from_slice(b"77777777777\0");
    let sum: u32 =
        endless[..148].iter().chain(&endless[156..512]).map(|byte| u32::from(*byte)).sum::<u32>() + 256;
    endless[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for bytes in [b"no archive at all".to_vec(), vec![b'x'; 2048], whole[..700].to_vec(), bad_sum, endless] {
        let mut blobs = Blobs::default();
        let layer = blobs.add_tar(&bytes);
        let folder = tempfile::tempdir().unwrap();
        let error =
            rootfs_dir(&folder.path().join("r"), &image(&[layer]), &blobs, Ownership::Caller).unwrap_err();
        assert!(matches!(error, RootfsError::Archive { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn no_damage_to_a_header_is_more_than_an_error() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("mtime", &b"1.5"[..]), ("SCHILY.xattr.user.a", &b"v"[..])]).unwrap();
    builder.append_data(&mut file_header(2), "folder/file", &b"ok"[..]).unwrap();
    let whole = builder.into_inner().unwrap();
    for position in 0..whole.len() {
        for value in [0, 0x20, 0x2f, 0x37, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[position] = value;
            // The sums are made right again, so that it is not they that refuse the damage.
            for header in [0, 1024] {
                let block = &damaged[header..header + 512];
                let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
                damaged[header + 148..header + 156]
                    .copy_from_slice(format!("{:06o}\0 ", sum + 256).as_bytes());
            }
            let mut blobs = Blobs::default();
            let image = image(&[blobs.add_tar(&damaged)]);
            match rootfs_tar(Destination::Stream(&mut std::io::sink()), &image, &blobs) {
                Ok(()) | Err(RootfsError::Archive { .. } | RootfsError::Entry { .. }) => {}
                Err(other) => panic!("byte {position} as {value:#x}: {other}"),
            }
        }
    }
}
