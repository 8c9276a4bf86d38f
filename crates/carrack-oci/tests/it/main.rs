//! Behaviour of the crate through its public API, checked against the tools that have to accept what it writes.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod archives;
mod documents;
mod engine;
mod hostile;
mod imports;
mod layers;
mod pulls;
mod references;
mod registry;
mod rootfs;
mod snapshot;
mod snapshot_layers;
mod tools;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::Mutex;

use carrack_base::{Digest, ImagePath, Platform, Sha256Writer};
use carrack_oci::pull::BlobSink;
use carrack_oci::wire::{ContainerConfig, Descriptor, media_type};
use carrack_oci::{
    Attributes, BlobSource, Content, Image, ImageConfig, Layer, LayerBuilder, Reference, WrittenLayer,
};

/// Blobs in memory.
#[derive(Default, Clone)]
pub(crate) struct Blobs(pub(crate) HashMap<Digest, Vec<u8>>);

impl BlobSource for Blobs {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.0.get(digest).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes.clone())))
    }
}

impl Blobs {
    pub(crate) fn add(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = Digest::of(bytes);
        self.0.insert(digest, bytes.to_vec());
        Descriptor::new(media_type, digest, bytes.len() as u64)
    }

    pub(crate) fn add_layer(&mut self, layer: &LayerBuilder) -> Layer {
        let (bytes, written) = write(layer, 2);
        self.0.insert(written.digest(), bytes);
        written.layer
    }

    /// A tar that somebody else wrote, uncompressed.
    pub(crate) fn add_tar(&mut self, tar: &[u8]) -> Layer {
        let descriptor = self.add(media_type::LAYER_TAR, tar);
        Layer { diff_id: descriptor.digest, descriptor }
    }
}

/// A store in memory.
#[derive(Default)]
pub(crate) struct Store(pub(crate) Mutex<Blobs>);

impl BlobSource for Store {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        self.0.lock().unwrap().open(digest)
    }
}

impl BlobSink for Store {
    fn has(&self, digest: &Digest, size: u64) -> bool {
        self.0.lock().unwrap().0.get(digest).is_some_and(|bytes| bytes.len() as u64 == size)
    }

    fn put(&self, digest: &Digest, size: u64, bytes: &mut dyn Read) -> io::Result<()> {
        let mut kept = Vec::new();
        bytes.read_to_end(&mut kept)?;
        assert_eq!((Digest::of(&kept), kept.len() as u64), (*digest, size));
        self.0.lock().unwrap().0.insert(*digest, kept);
        Ok(())
    }
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }
}

pub(crate) fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

pub(crate) fn names(texts: &[&str]) -> Vec<Reference> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn bytes(text: &str) -> Content {
    Content::Bytes(text.as_bytes().to_vec())
}

pub(crate) fn write(layer: &LayerBuilder, threads: usize) -> (Vec<u8>, WrittenLayer) {
    let mut output = Vec::new();
    let written = layer.write(&mut output, NonZeroUsize::new(threads).unwrap()).unwrap();
    (output, written)
}

/// A layer with one of everything.
pub(crate) fn sample_layer() -> LayerBuilder {
    let mut layer = LayerBuilder::new(0);
    layer.directory(path("/tmp"), Attributes::new(0o1777)).unwrap();
    layer.file(path("/usr/bin/server"), Attributes::new(0o4755), bytes("#!/bin/true\n")).unwrap();
    layer
        .file(path("/etc/app/config.toml"), Attributes::new(0o640).owned_by(10, 20), bytes("port = 1\n"))
        .unwrap();
    layer.symlink(path("/bin"), "usr/bin").unwrap();
    layer.hard_link(path("/usr/bin/alias"), path("/usr/bin/server")).unwrap();
    layer
}

pub(crate) fn config() -> ImageConfig {
    let platform: Platform = "linux/amd64".parse().unwrap();
    ImageConfig {
        config: ContainerConfig {
            user: "10001:10001".to_owned(),
            env: vec!["PATH=/usr/bin".to_owned()],
            entrypoint: Some(vec!["/usr/bin/server".to_owned()]),
            ..ContainerConfig::default()
        },
        ..ImageConfig::new(&platform, 0)
    }
}

pub(crate) fn image(layers: &[Layer]) -> Image {
    Image::assemble(config(), layers, BTreeMap::new())
}

pub(crate) fn sample_image(blobs: &mut Blobs) -> Image {
    let mut second = LayerBuilder::new(0);
    second.file(path("/srv/data"), Attributes::new(0o644), bytes("data")).unwrap();
    let layers = [blobs.add_layer(&sample_layer()), blobs.add_layer(&second)];
    image(&layers)
}

/// Bytes that compress about as badly as a program does, the same every time.
pub(crate) fn binary_like(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut data = Vec::with_capacity(size + 8);
    while data.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Half noise, half of what instructions and tables repeat.
        data.extend_from_slice(&state.to_le_bytes()[..4]);
        data.extend_from_slice(&[0x48, 0x8b, (state >> 60) as u8, 0]);
    }
    data.truncate(size);
    data
}

/// Digest of what `write` writes.
pub(crate) fn digest_of(write: impl FnOnce(&mut dyn Write)) -> Digest {
    let mut writer = Sha256Writer::new(io::sink());
    write(&mut writer);
    writer.finish().1
}
