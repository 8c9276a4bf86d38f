use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use carrack_oci::Reference;
use carrack_oci::registry::{self, ManifestName, Pushed, Repository};
use carrack_oci::transport::Transport;
use carrack_oci::wire::media_type;

use crate::error::{Cause, Trouble};
use crate::wire::WireEntry;
use crate::{Access, BlobInfo, Limits, Upload};

/// Entries as tags of a repository.
#[derive(Clone)]
pub(crate) struct Registry {
    reference: Reference,
    transport: Transport,
    repository: Repository,
}

impl Registry {
    pub(super) fn open(reference: &Reference, access: &Access, limits: &Limits) -> Result<Self, Trouble> {
        let transport = Transport::new(limits.transport.clone())
            .map_err(|error| Trouble::Cause(Cause::Transport(error)))?
            .with_deadline(limits.deadline);
        let ask = Arc::clone(&access.registry_credentials);
        let registry =
            registry::Registry::new(reference.registry(), transport.clone(), &limits.registry, ask);
        let repository = registry.repository(reference);
        Ok(Self { reference: reference.clone(), transport, repository })
    }

    pub(super) fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        let transport = self.transport.with_deadline(deadline);
        let registry = self.repository.registry().with_transport(transport.clone());
        let repository = registry.repository(&self.reference);
        Self { reference: self.reference.clone(), transport, repository }
    }

    pub(super) fn names(&self) -> Result<Vec<String>, Trouble> {
        Ok(self.repository.tags()?)
    }

    pub(super) fn entry(&self, name: &str) -> Result<Option<WireEntry>, Trouble> {
        match self.repository.manifest(ManifestName::Tag(name))? {
            None => Ok(None),
            Some(manifest) => WireEntry::read_manifest(&manifest.bytes).map(Some).map_err(Trouble::Damaged),
        }
    }

    pub(super) fn blob(&self, blob: &BlobInfo) -> Result<Option<Box<dyn Read + Send>>, Trouble> {
        let download = self.repository.blob(&blob.digest, blob.size)?;
        Ok(download.map(|download| Box::new(download) as Box<dyn Read + Send>))
    }

    pub(super) fn put_blob(&self, upload: &Upload<'_>) -> Result<bool, Trouble> {
        let open = || upload.open();
        let (digest, size) = (upload.blob.digest, upload.blob.size);
        let pushed = self.repository.put_blob(&registry::Upload { digest, size, open: &open })?;
        Ok(pushed == Pushed::Sent)
    }

    pub(super) fn put_entry(&self, name: &str, entry: &WireEntry) -> Result<(), Trouble> {
        let manifest = entry.to_manifest(name);
        self.repository.put_manifest(ManifestName::Tag(name), media_type::MANIFEST, &manifest)?;
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Result<bool, Trouble> {
        Ok(self.repository.delete_tag(name)?)
    }
}
