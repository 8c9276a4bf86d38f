//! Images: their names, configurations, layers, and the ways by which they leave.
//!
//! - [`Reference`] is what a person calls an image; [`ImageConfig`] and [`Manifest`] are what it is on the wire.
//! - [`LayerBuilder`] writes a layer: the same entries give the same bytes, whatever the machine, the order of
//!   insertion or the number of threads.
//! - [`Image`] ties configuration and layers together. It holds no layer's bytes: those come from a [`BlobSource`].
//! - Carriers move images: [`oci_layout`], [`oci_tar`], [`docker_tar`], [`load`] into an engine, and, as one flattened
//!   tree, [`rootfs_tar`] and [`rootfs_dir`].
//! - [`snapshot`] is a layer as a folder: unpacked, read back, packed.
//! - [`pull`] brings images in: from registries and their mirrors, layouts, archives and engines.
//! - [`Accounts`] are the users and groups that an image knows by name.
//! - [`registry`] speaks to registries, over [`transport`], which puts a limit on every wait.
//!
//! Not here: where blobs are kept (the caller's) and what belongs in an image (the front ends').
//!
//! Failure: every carrier writes beside its destination and renames, so a failed one leaves what was there before.
//! Every blob is verified against its digest and size whenever it is read; what does not fit is a typed error.

mod accounts;
mod archive;
mod blob;
mod destination;
mod folder;
mod gzip;
mod image;
mod layer;
mod layer_reader;
mod load;
pub mod pull;
mod reference;
pub mod registry;
mod rootfs;
mod side_by_side;
pub mod snapshot;
mod tar_header;
mod tar_reader;
pub mod transport;
mod tree;
mod unpack;
pub mod wire;

pub use accounts::{Accounts, Person, UnknownAccount};
pub use archive::{CarrierError, NamedImage, docker_tar, oci_layout, oci_tar};
pub use blob::{BlobError, BlobSource};
pub use destination::Destination;
pub use image::{Image, ImageError, Layer};
pub use layer::{Attributes, Content, LayerBuilder, LayerError, WrittenLayer};
pub use load::{EngineError, EngineKind, EngineProgram, load, probe};
pub use reference::{Reference, ReferenceError};
pub use rootfs::{EntryProblem, Ownership, RootfsError, Unpacked, rootfs_dir, rootfs_tar};
pub use wire::{ImageConfig, Manifest};
