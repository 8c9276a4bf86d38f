//! A client of registries: blobs, manifests and tags over the network.
//!
//! A [`Registry`] is one host with who we are there; a [`Repository`] is a name on it, with one method for each thing
//! that the protocol can do. Which blobs make an image or something else is the caller's business.
//!
//! - **HTTP or HTTPS**: hosts of this machine and those in [`RegistryOptions::insecure`] are spoken to in plain HTTP, all
//!   others with TLS only.
//! - **Who we are** is asked through a callback, when a registry wants to know and not before. A `Bearer` challenge is
//!   answered with a token for just the repository and the actions at hand; tokens are kept while they are good.
//!   `Basic` is answered with the password. Neither goes to another host, nor over plain HTTP when the registry has TLS.
//! - **Nothing is believed**: blobs and manifests asked for by digest are hashed on the way in, sizes are limited.
//! - **What is not there is no error** but `None`, whichever of the two ways a registry has to say so.
//!
//! Patience and second attempts are [`crate::transport`]'s. Credentials are not kept anywhere and not in any error.
//!
//! Failure: [`RegistryError`] names host, repository and what was attempted.
//! Source: OCI distribution-spec v1.1; distribution's "Token Authentication Specification".

mod auth;
mod challenge;
mod client;
mod error;

pub use auth::{AskCredentials, Credentials};
pub use client::{FetchedManifest, ManifestName, Pushed, Registry, RegistryOptions, Repository, Upload};
pub use error::RegistryError;
