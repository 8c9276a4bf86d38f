use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use object::elf::{self, DynamicTag, FileClass, Machine};
use object::endian::Endianness;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{FileKind, ReadCache, ReadRef};

/// What the dynamic loader reads of one file.
#[derive(Debug, Clone)]
pub(crate) struct ElfFile {
    /// Class and machine: a library only fits a program that has the same.
    pub(crate) machine: (FileClass, Machine),
    /// `PT_INTERP`; absent in static programs and in libraries.
    pub(crate) interpreter: Option<PathBuf>,
    /// `DT_NEEDED`, in order.
    pub(crate) needed: Vec<String>,
    /// `DT_RPATH`, split at colons.
    pub(crate) rpath: Vec<String>,
    /// `DT_RUNPATH`, split at colons.
    pub(crate) runpath: Option<Vec<String>>,
}

/// The versions of symbols that a file needs of others, and those that it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct SymbolVersions {
    pub(crate) needed: Vec<NeededVersion>,
    pub(crate) defined: BTreeSet<String>,
}

/// A version that a library has to have, and a symbol that it is needed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NeededVersion {
    pub(crate) library: String,
    pub(crate) version: String,
    pub(crate) symbol: String,
}

/// A file that can't be read as ELF.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElfError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not an ELF file that this program understands: {reason}")]
    Malformed { path: PathBuf, reason: String },
}

impl ElfFile {
    /// Reads a program or library.
    ///
    /// Errors: [`ElfError`]; a damaged file never panics.
    pub(crate) fn read(path: &Path) -> Result<Self, ElfError> {
        let failed = |source| ElfError::Read { path: path.to_owned(), source };
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        // A program with debugging information may be larger than the memory; little of it is read.
        let bytes = ReadCache::new(File::open(path).map_err(failed)?);
        Self::parse(&bytes).map_err(|reason| ElfError::Malformed { path: path.to_owned(), reason })
    }

    /// Reads the versions of the symbols of a program or library. A file without any has none.
    ///
    /// Errors: as [`ElfFile::read`].
    pub(crate) fn versions(path: &Path) -> Result<SymbolVersions, ElfError> {
        let failed = |source| ElfError::Read { path: path.to_owned(), source };
        let bytes = ReadCache::new(File::open(path).map_err(failed)?);
        let found = match FileKind::parse(&bytes) {
            Ok(FileKind::Elf64) => versions::<elf::FileHeader64<Endianness>, _>(&bytes),
            Ok(FileKind::Elf32) => versions::<elf::FileHeader32<Endianness>, _>(&bytes),
            _ => Ok(SymbolVersions::default()),
        };
        found.map_err(|error| ElfError::Malformed { path: path.to_owned(), reason: error.to_string() })
    }

    pub(super) fn parse<'data>(bytes: impl ReadRef<'data>) -> Result<Self, String> {
        match FileKind::parse(bytes) {
            Ok(FileKind::Elf64) => parse::<elf::FileHeader64<Endianness>, _>(bytes),
            Ok(FileKind::Elf32) => parse::<elf::FileHeader32<Endianness>, _>(bytes),
            _ => Err("it has no ELF header".to_owned()),
        }
    }
}

fn parse<'data, Header, Bytes>(bytes: Bytes) -> Result<ElfFile, String>
where
    Header: FileHeader<Endian = Endianness>,
    Bytes: ReadRef<'data>,
{
    let text = |error: object::Error| error.to_string();
    let header = Header::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    let mut file = ElfFile {
        machine: (header.e_ident().class, header.e_machine(endian)),
        interpreter: None,
        needed: Vec::new(),
        rpath: Vec::new(),
        runpath: None,
    };
    let segments = header.program_headers(endian, bytes).map_err(text)?;
    for segment in segments {
        if let Some(name) = segment.interpreter(endian, bytes).map_err(text)? {
            file.interpreter = Some(PathBuf::from(String::from_utf8_lossy(name).into_owned()));
        }
        let Some(entries) = segment.dynamic(endian, bytes).map_err(text)? else { continue };
        let value = |tag: DynamicTag| {
            entries
                .iter()
                .find(|entry| entry.d_tag(endian) == tag)
                .map(|entry| -> u64 { entry.d_val(endian).into() })
        };
        let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else { continue };
        let table = segments
            .iter()
            .find_map(|load| load.data_range(endian, bytes, address, size).ok().flatten())
            .ok_or("its dynamic string table is not in the file")?;
        let string = |offset: u64| -> Result<String, String> {
            let start = usize::try_from(offset).map_err(|_| "a string lies outside of its table")?;
            let rest = table.get(start..).ok_or("a string lies outside of its table")?;
            let end = rest.iter().position(|byte| *byte == 0).ok_or("a string has no end")?;
            Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
        };
        let folders =
            |offset| string(offset).map(|text| text.split(':').map(str::to_owned).collect::<Vec<_>>());
        for entry in entries {
            let offset: u64 = entry.d_val(endian).into();
            match entry.d_tag(endian) {
                elf::DT_NULL => break,
                elf::DT_NEEDED => file.needed.push(string(offset)?),
                elf::DT_RPATH => file.rpath = folders(offset)?,
                elf::DT_RUNPATH => file.runpath = Some(folders(offset)?),
                _ => {}
            }
        }
    }
    Ok(file)
}

fn versions<'data, Header, Bytes>(bytes: Bytes) -> object::Result<SymbolVersions>
where
    Header: FileHeader<Endian = Endianness>,
    Bytes: ReadRef<'data>,
{
    let header = Header::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut found = SymbolVersions::default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Some((mut definitions, link)) = sections.gnu_verdef(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((_, mut names)) = definitions.next()? {
            if let Some(name) = names.next()? {
                found.defined.insert(text(name.name(endian, strings)?));
            }
        }
    }
    // One symbol for each version of each library says enough.
    let mut needed: BTreeMap<(String, String), String> = BTreeMap::new();
    if let Some(table) = sections.versions(endian, bytes)? {
        let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
        for (index, symbol) in symbols.enumerate() {
            let Some(version) = table.version(table.version_index(endian, index).index())? else { continue };
            if let Some(library) = version.file() {
                let key = (text(library), text(version.name()));
                needed.entry(key).or_insert(text(symbols.symbol_name(endian, symbol)?));
            }
        }
    }
    let needed = needed.into_iter();
    found.needed =
        needed.map(|((library, version), symbol)| NeededVersion { library, version, symbol }).collect();
    Ok(found)
}
