//! Everything Carrack keeps on disk: blobs, index, build folders.
