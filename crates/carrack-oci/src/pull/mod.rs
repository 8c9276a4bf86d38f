//! Bringing images into a store of blobs: from registries, OCI layouts, archives and engines.
//!
//! Wherever an image comes from, the outcome is a [`Resolved`]: its documents are in the [`BlobSink`] then, and
//! [`Image::read`](crate::Image::read) works from there alone. Layers of local images come at once; those of a registry
//! when they are asked for ([`Puller::fetch_layers`]), because many builds need none of them.
//!
//! | what a name leads to | becomes |
//! | --- | --- |
//! | an image, OCI's or docker's | that image, byte for byte, whatever its platform ([`Resolved::fits`]) |
//! | an index, OCI's or docker's | the image in it that fits the [`Platform`](carrack_base::Platform) best |
//! | a manifest of schema 1 | [`PullError::SchemaOne`] |
//! | what `docker save` of before version 25 wrote | an OCI manifest around the very same configuration |
//!
//! **Which platform fits**: operating system and processor are the same, and the variant is the best of those that the
//! processor runs: `arm/v7` falls back to v6 and v5, `amd64/v3` to v2 and v1, `arm64/v9` to v8. No variant means
//! `arm/v7`, `arm64/v8`, `amd64/v1`. Entries without a platform are looked into, if no other fits.
//!
//! **Mirrors** ([`RegistryRules`]) are asked before the registry itself, in order. One that fails, has nothing or gives
//! something damaged is passed over, and if it can't be reached, for the rest of the process. What a tag means is the first
//! answer's word, for which some mirrors are not asked; everything else is asked for by digest, so a mirror can't change it.
//!
//! **Nothing is believed**: every byte is hashed before the sink keeps a blob. Documents that are in the sink already are
//! not asked for again; with a digest in the reference, no network is needed for them.
//!
//! Failure: [`PullError`]. Blobs that were whole by then stay in the sink.
//! Source: OCI image-spec v1.1, distribution-spec v1.1, image-layout v1.0.0; docker's `docker save` format, old and new.

mod error;
mod files;
mod layout;
mod platform;
mod puller;
mod resolve;
mod rules;
mod saved;
mod sink;

pub use error::PullError;
pub use layout::{Selection, import_archive, import_from_engine, import_layout, split_selection};
pub use puller::{LayerProgress, Puller};
pub use resolve::Resolved;
pub use rules::{Mirror, RegistryRule, RegistryRules};
pub use sink::BlobSink;
