//! Docker's own file formats, read as Docker reads them.
//!
//! Every text keeps its places ([`carrack_base::Span`]), so that an error can show the lines concerned. Nothing is built
//! or fetched here, and neither environment nor home is read: callers hand in what such a file may ask for.

pub mod compose;
