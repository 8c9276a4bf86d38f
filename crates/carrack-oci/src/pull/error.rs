use std::io;
use std::path::PathBuf;

use carrack_base::{Digest, Platform};

use crate::image::ImageError;
use crate::load::EngineError;
use crate::registry::RegistryError;

/// An image that could not be brought in. `name` is what the caller called it: a reference or a path.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry did not give it.
    #[error("cannot pull {name}")]
    Registry {
        /// The image.
        name: String,
        /// What the registry itself, asked last, said.
        #[source]
        source: RegistryError,
        /// What mirrors said before.
        mirrors: Vec<RegistryError>,
    },
    /// Nobody has an image of this name.
    #[error("there is no image {name} at {}", hosts.join(", "))]
    NotFound {
        /// The image.
        name: String,
        /// Who was asked.
        hosts: Vec<String>,
    },
    /// Nobody is to be asked for it.
    #[error("{name} is not asked for: `{rule}` is blocked")]
    Blocked {
        /// The image.
        name: String,
        /// The rule's key.
        rule: String,
    },
    /// A blob of the image is not where the image is.
    #[error("blob {digest} of {name} is not there")]
    MissingBlob {
        /// The image.
        name: String,
        /// The blob.
        digest: Digest,
    },
    /// A blob could not be read to its end, or is damaged.
    #[error("cannot get blob {digest} of {name} from {from}")]
    Blob {
        /// The image.
        name: String,
        /// Host or file.
        from: String,
        /// The blob.
        digest: Digest,
        /// Why; holds a [`BlobError`](crate::BlobError) if it is damaged.
        #[source]
        source: io::Error,
    },
    /// The store did not take a blob, or could not look for it.
    #[error("cannot keep blob {digest} of {name}")]
    Sink {
        /// The image.
        name: String,
        /// The blob.
        digest: Digest,
        /// What the store said.
        #[source]
        source: io::Error,
    },
    /// The image is there, but not for this platform.
    #[error("{name} is not there for {wanted}, {}", only_for(available))]
    Platform {
        /// The image.
        name: String,
        /// What was asked for.
        wanted: Platform,
        /// What is there, in the index's order.
        available: Vec<Platform>,
    },
    /// A manifest as registries had them before 2016.
    #[error("{name} is a manifest of docker's schema 1, which is not supported any more")]
    SchemaOne {
        /// The image.
        name: String,
    },
    /// A document that is neither manifest nor index.
    #[error("{digest} of {name} is neither an image nor an index of images: {problem}")]
    Document {
        /// The image.
        name: String,
        /// The document.
        digest: Digest,
        /// What is wrong with it.
        problem: String,
    },
    /// The image does not hold together, or is something else.
    #[error("{name} cannot be used as an image")]
    Image {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: ImageError,
    },
    /// A local file can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A local file or folder is no image.
    #[error("{} is no image: {problem}", path.display())]
    NotAnImage {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A local file or folder has several images, or none of the name that was asked for.
    #[error("{} has {} images, and {}", path.display(), names.len(), wanted.as_deref().map_or_else(
        || "none was chosen".to_owned(),
        |wanted| format!("none is called {wanted}"),
    ))]
    Selection {
        /// The file or folder.
        path: PathBuf,
        /// What was asked for.
        wanted: Option<String>,
        /// What the images there are called.
        names: Vec<String>,
    },
    /// An engine did not hand its image over.
    #[error("cannot get {name} from the engine")]
    Engine {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// The caller does not want it any more.
    #[error("pulling {name} was cancelled")]
    Cancelled {
        /// The image.
        name: String,
    },
}

fn only_for(available: &[Platform]) -> String {
    let available: Vec<String> = available.iter().map(Platform::to_string).collect();
    if available.is_empty() {
        "and for no other platform".to_owned()
    } else {
        format!("only for {}", available.join(", "))
    }
}
