//! Units in packs.

use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use carrack_base::{ContentDigest, Digest, Sha256Writer, UnitContent, UnitFile};
use carrack_remote::pack::{self, PackError, PackIndex, PackedUnit, ReadOptions, UnitError, Unpacked};
use carrack_remote::{BlobInfo, Bytes, Upload};
use tempfile::TempDir;

use crate::fixture::{noise, places};

pub(crate) fn id(number: u64) -> ContentDigest {
    ContentDigest::of(&number.to_le_bytes())
}

pub(crate) fn file(path: &str, bytes: &[u8], executable: bool) -> UnitFile {
    let content =
        UnitContent::File { digest: ContentDigest::of(bytes), size: bytes.len() as u64, executable };
    UnitFile { path: path.to_owned(), content }
}

pub(crate) fn options() -> ReadOptions {
    let threads = NonZeroUsize::new(2).unwrap();
    ReadOptions { threads, time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) }
}

/// Units on disk: a library, a program, a link, an empty file and an empty folder each.
fn units(root: &Path, count: u64, size: usize) -> Vec<PackedUnit> {
    let unit = |number: u64| {
        let root = root.join(number.to_string());
        fs::create_dir_all(root.join("debug/deps")).unwrap();
        fs::create_dir_all(root.join("debug/empty")).unwrap();
        let mut library = noise(number, size / 2);
        library.extend_from_slice(&vec![number as u8; size / 2]);
        let program = format!("#!/bin/sh\necho {number}\n");
        fs::write(root.join("debug/deps/lib.rlib"), &library).unwrap();
        fs::write(root.join("debug/run"), &program).unwrap();
        fs::write(root.join("debug/stamp"), b"").unwrap();
        symlink("run", root.join("debug/link")).unwrap();
        let link = UnitContent::Link { to: "run".to_owned() };
        let files = vec![
            file("debug/deps/lib.rlib", &library, false),
            file("debug/run", program.as_bytes(), true),
            UnitFile { path: "debug/empty".to_owned(), content: UnitContent::Folder },
            UnitFile { path: "debug/link".to_owned(), content: link },
            file("debug/stamp", b"", false),
        ];
        PackedUnit { id: id(number), record: format!("record {number}").into_bytes(), files, root }
    };
    (0..count).map(unit).collect()
}

fn pack(units: &[PackedUnit], threads: usize) -> (PackIndex, Vec<u8>) {
    let mut blob = Vec::new();
    let written = pack::write(units, NonZeroUsize::new(threads).unwrap(), &mut blob).unwrap();
    assert!(written.left_out.is_empty(), "{:?}", written.left_out);
    assert_eq!(written.index.size(), blob.len() as u64);
    (written.index, blob)
}

/// Folders for units below one that is removed in the end.
pub(crate) struct Units(TempDir);

impl Units {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, id: &ContentDigest) -> PathBuf {
        self.0.path().join(id.to_string())
    }

    pub(crate) fn place(&self, id: &ContentDigest) -> io::Result<PathBuf> {
        let path = self.path(id);
        fs::create_dir(&path)?;
        Ok(path)
    }

    pub(crate) fn read(&self, index: &PackIndex, blob: impl Read) -> Unpacked {
        pack::read(index, blob, |_| true, |id| self.place(id), options())
    }
}

fn is_like(unit: &PackedUnit, root: &Path) {
    for file in &unit.files {
        let (path, original) = (root.join(&file.path), unit.root.join(&file.path));
        let metadata = fs::symlink_metadata(&path).unwrap();
        match &file.content {
            UnitContent::File { executable, .. } => {
                assert!(metadata.is_file() && fs::read(&path).unwrap() == fs::read(original).unwrap());
                let mode = if *executable { 0o755 } else { 0o644 };
                assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{path:?}");
                assert_eq!(metadata.mtime(), 1_000_000_000);
            }
            UnitContent::Link { to } => assert_eq!(fs::read_link(&path).unwrap(), Path::new(to)),
            UnitContent::Folder => assert_eq!(fs::read_dir(&path).unwrap().count(), 0),
        }
    }
}

#[test]
fn units_come_out_as_they_went_in() {
    let root = tempfile::tempdir().unwrap();
    let units = units(root.path(), 30, 40_000);
    let (index, blob) = pack(&units, 3);
    let (again, same) = pack(&units, 1);
    assert!(blob == same && index == again, "threads must not show");
    let index = PackIndex::from_bytes(&index.to_bytes()).unwrap();
    assert_eq!(index, again);
    assert!(index.units.iter().zip(&units).all(|(packed, unit)| packed.record == unit.record));
    let out = Units::new();
    let unpacked = out.read(&index, &blob[..]);
    assert!(unpacked.failed.is_empty() && unpacked.ended.is_none(), "{unpacked:?}");
    assert_eq!(unpacked.placed.len(), 30);
    units.iter().for_each(|unit| is_like(unit, &out.path(&unit.id)));
    let (index, blob) = pack(&[], 2);
    assert!(blob.is_empty() && Units::new().read(&index, io::empty()).placed.is_empty());
}

#[test]
fn only_wanted_units_come_out_and_the_rest_is_not_awaited() {
    struct Counted<'a>(&'a [u8], usize);
    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1 += count;
            Ok(count)
        }
    }
    let root = tempfile::tempdir().unwrap();
    let units = units(root.path(), 10, 40_000);
    let (index, blob) = pack(&units, 2);
    let (out, wanted) = (Units::new(), [id(2), id(5)]);
    let mut counted = Counted(&blob, 0);
    let unpacked = pack::read(&index, &mut counted, |id| wanted.contains(id), |id| out.place(id), options());
    let mut placed = unpacked.placed;
    placed.sort_by_key(|id| wanted.iter().position(|wanted| wanted == id));
    assert_eq!(placed, wanted);
    assert_eq!(counted.1 as u64, index.units[6].offset);
    assert!(!out.path(&id(3)).exists());
}

#[test]
fn units_that_changed_are_left_out() {
    let root = tempfile::tempdir().unwrap();
    let units = units(root.path(), 4, 1_000);
    fs::write(units[1].root.join("debug/run"), b"other").unwrap();
    fs::remove_file(units[2].root.join("debug/stamp")).unwrap();
    let mut blob = Vec::new();
    let written = pack::write(&units, NonZeroUsize::new(2).unwrap(), &mut blob).unwrap();
    let [changed, missing] = &written.left_out[..] else { panic!("{:?}", written.left_out) };
    assert!(changed.id == id(1) && matches!(changed.error, PackError::Changed { .. }), "{changed:?}");
    assert!(missing.id == id(2) && matches!(missing.error, PackError::Read { .. }), "{missing:?}");
    let unpacked = Units::new().read(&written.index, &blob[..]);
    assert_eq!((unpacked.placed.len(), unpacked.failed.len()), (2, 0));
}

#[test]
fn a_full_disk_stops_packing() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let root = tempfile::tempdir().unwrap();
    let units = units(root.path(), 30, 10_000);
    let error = pack::write(&units, NonZeroUsize::new(3).unwrap(), &mut Full(20_000)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_blob_that_ends_early_keeps_what_had_come() {
    let root = tempfile::tempdir().unwrap();
    let units = units(root.path(), 6, 40_000);
    let (index, blob) = pack(&units, 2);
    let out = Units::new();
    let cut = index.units[3].offset as usize + 10;
    let unpacked = out.read(&index, &blob[..cut]);
    assert_eq!(unpacked.placed.len(), 3);
    assert_eq!(unpacked.ended.unwrap().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(unpacked.failed.iter().map(|failed| failed.id).collect::<Vec<_>>(), [id(3), id(4), id(5)]);
    assert!(unpacked.failed.iter().all(|failed| matches!(failed.error, UnitError::Ended)));
    assert!(!out.path(&id(3)).exists());
}

#[test]
fn packs_travel_through_every_place() {
    let root = tempfile::tempdir().unwrap();
    let units = units(root.path(), 20, 100_000);
    let packed = root.path().join("pack");
    let mut writer = Sha256Writer::new(fs::File::create(&packed).unwrap());
    let written = pack::write(&units, NonZeroUsize::new(2).unwrap(), &mut writer).unwrap();
    let (_, digest, size) = writer.finish();
    for place in places() {
        let upload = Upload { blob: BlobInfo { digest, size }, bytes: Bytes::File(&packed) };
        place.open().publish("units", &written.index.to_bytes(), &[upload]).unwrap();
        let remote = place.open();
        let entry = remote.find("units").unwrap().unwrap();
        let index = PackIndex::from_bytes(&entry.head).unwrap();
        let out = Units::new();
        let unpacked = out.read(&index, remote.read(&entry.blobs[0]).unwrap());
        assert!(unpacked.ended.is_none() && unpacked.failed.is_empty(), "{} {unpacked:?}", place.kind);
        assert_eq!(unpacked.placed.len(), 20, "{}", place.kind);
        units.iter().for_each(|unit| is_like(unit, &out.path(&unit.id)));
    }
}

/// `cargo test --release -p carrack-remote -- --ignored --nocapture how_fast`
#[test]
#[ignore = "measures; needs a gigabyte of disk and --release"]
fn how_fast_packs_are() {
    let root = tempfile::tempdir().unwrap();
    let units: Vec<PackedUnit> = (0..250_u64)
        .map(|number| {
            let root = root.path().join(number.to_string());
            fs::create_dir_all(root.join("deps")).unwrap();
            // Compresses to about a third, as libraries do.
            let mut files = Vec::new();
            for part in 0..4_u64 {
                let mut bytes = Vec::with_capacity(490_000);
                while bytes.len() < 490_000 {
                    let words = noise(number * 1_000_003 + part * 7_919 + bytes.len() as u64, 220);
                    bytes.extend_from_slice(&words);
                    bytes.extend_from_slice(&words[..180]);
                    bytes.extend_from_slice(&[0x48; 260]);
                }
                let path = format!("deps/part-{part}.o");
                fs::write(root.join(&path), &bytes).unwrap();
                files.push(file(&path, &bytes, false));
            }
            PackedUnit { id: id(number), record: vec![1; 2_000], files, root }
        })
        .collect();
    let content: u64 = 250 * 4 * 490_160;
    for threads in [1, 2] {
        let start = Instant::now();
        let mut writer = Sha256Writer::new(Vec::new());
        let written = pack::write(&units, NonZeroUsize::new(threads).unwrap(), &mut writer).unwrap();
        let packing = start.elapsed();
        let (blob, digest, size) = writer.finish();
        let start = Instant::now();
        let head = written.index.to_bytes();
        let index = PackIndex::from_bytes(&head).unwrap();
        let indexing = start.elapsed();
        let out = Units::new();
        let start = Instant::now();
        let options = ReadOptions { threads: NonZeroUsize::new(threads).unwrap(), ..options() };
        let unpacked = pack::read(&index, &blob[..], |_| true, |id| out.place(id), options);
        let unpacking = start.elapsed();
        assert_eq!(unpacked.placed.len(), 250);
        let start = Instant::now();
        assert_eq!(Digest::of(&blob), digest);
        println!(
            "{threads} threads: {content} bytes to {size}: packed in {packing:?}, index ({} bytes) in {indexing:?}, \
             unpacked in {unpacking:?}, sha256 of the blob alone {:?}",
            head.len(),
            start.elapsed()
        );
    }
}
