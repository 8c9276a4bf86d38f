//! The uncompressed bytes of a layer, hashed on the way.

use std::io::{self, BufReader, Read, Write};

use carrack_base::{Digest, Sha256Writer};
use flate2::read::MultiGzDecoder;

use crate::wire::media_type;

/// How a layer's tar is compressed. Several members or frames in a row are one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Reads a layer's tar from its blob.
pub(crate) struct LayerReader<R: Read> {
    decoder: Decoder<R>,
    hasher: Sha256Writer<io::Sink>,
}

enum Decoder<R: Read> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<R>>>),
}

impl Compression {
    /// How layers of a media type are compressed; `None` if it is not known.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            media_type::LAYER_TAR | media_type::DOCKER_LAYER_TAR => Some(Self::None),
            media_type::LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Some(Self::Gzip),
            media_type::LAYER_ZSTD | media_type::DOCKER_LAYER_ZSTD => Some(Self::Zstd),
            _ => None,
        }
    }

    /// How something is compressed that begins with these bytes.
    pub(crate) fn of_bytes(start: &[u8]) -> Self {
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

impl<R: Read> LayerReader<R> {
    /// Errors: none but a lack of memory.
    pub(crate) fn new(blob: R, compression: Compression) -> io::Result<Self> {
        let decoder = match compression {
            Compression::None => Decoder::Plain(blob),
            Compression::Gzip => {
                Decoder::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(128 * 1024, blob))))
            }
            Compression::Zstd => Decoder::Zstd(Box::new(zstd::stream::read::Decoder::new(blob)?)),
        };
        Ok(Self { decoder, hasher: Sha256Writer::new(io::sink()) })
    }

    /// Reads what is left. The digest of all uncompressed bytes, and the blob, which is at its end if that is no error.
    pub(crate) fn finish(mut self) -> (R, io::Result<Digest>) {
        let rest = io::copy(&mut self, &mut io::sink());
        let (_, diff_id, _) = self.hasher.finish();
        (self.decoder.into_blob(), rest.map(|_| diff_id))
    }

    /// The blob, read up to somewhere.
    pub(crate) fn into_blob(self) -> R {
        self.decoder.into_blob()
    }
}

impl<R: Read> Decoder<R> {
    fn into_blob(self) -> R {
        match self {
            Self::Plain(blob) => blob,
            Self::Gzip(decoder) => decoder.into_inner().into_inner(),
            Self::Zstd(decoder) => decoder.finish().into_inner(),
        }
    }
}

impl<R: Read> Read for LayerReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.decoder {
            Decoder::Plain(blob) => blob.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }?;
        self.hasher.write_all(&buffer[..count])?;
        Ok(count)
    }
}
