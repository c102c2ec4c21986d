//! What a file says about itself before it is loaded: is it a shared library, and of which ONNX Runtime?
//!
//! Asking a library for its version means loading it, which runs its constructors and cannot be undone; `ort` on top of
//! that settles on the first library it loads for the life of the process. So the version is read from the outside: from
//! the file's name (`libonnxruntime.so.1.32.0`), and where the name has none, from the symbol version `VERS_1.32.0` that
//! every ONNX Runtime since 1.0 links into its exports.
//!
//! Invariant: nothing is executed, and no more than [`CHUNK`] bytes of the file are in memory.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;
/// The symbol version's prefix; ONNX Runtime writes `VERS_%VERSION%` into its version script.
const MARK: &[u8] = b"VERS_";
/// The longest version text: three numbers of up to five digits.
const VERSION_LENGTH: usize = 17;
/// No ONNX Runtime is smaller than a megabyte; anything below is a stub or was cut off.
const MINIMUM_LENGTH: u64 = 1 << 20;
/// The first bytes of ELF, of Mach-O for one and for several architectures, and of PE.
const MAGIC: [&[u8]; 4] = [b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ"];

/// The version of an ONNX Runtime library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuntimeVersion {
    /// 1 so far.
    pub major: u32,
    /// Also the newest version of the C interface that it offers.
    pub minor: u32,
    /// 0 where it is not known.
    pub patch: u32,
}

impl RuntimeVersion {
    /// The version at the start of `text`, like `1.32.0` or `1.17`; what follows it is ignored.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
        let text = std::str::from_utf8(&text[..end]).ok()?;
        let mut numbers = text.split('.').map(str::parse);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return None };
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self { major, minor, patch })
    }

    /// The version in a file name like `libonnxruntime.so.1.32.0` or `libonnxruntime.1.32.0.dylib`.
    pub(super) fn of_file_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let start = name.find(|character: char| character.is_ascii_digit())?;
        Self::parse(&name.as_bytes()[start..])
    }
}

impl fmt::Display for RuntimeVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What kind of file `path` is, by its first bytes and its length. The error says what is wrong with it.
pub(super) fn check_library(path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut start = [0; 4];
    let read = read_up_to(&mut file, &mut start).map_err(|error| format!("cannot be read: {error}"))?;
    if !MAGIC.iter().any(|magic| start[..read].starts_with(magic)) {
        return Err("is not a shared library".to_owned());
    }
    let length = file.metadata().map_err(|error| format!("cannot be read: {error}"))?.len();
    if length < MINIMUM_LENGTH {
        return Err(format!("is too small to be ONNX Runtime ({length} bytes)"));
    }
    Ok(())
}

/// The version that the library at `path` exports its symbols under. The error says why there is none.
pub(super) fn exported_version(path: &Path) -> Result<RuntimeVersion, String> {
    let mut file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let overlap = MARK.len() + VERSION_LENGTH;
    let mut buffer = vec![0; CHUNK + overlap];
    let mut kept = 0;
    loop {
        let read = read_up_to(&mut file, &mut buffer[kept..]).map_err(|error| format!("cannot be read: {error}"))?;
        let filled = kept + read;
        if let Some(version) = find_version(&buffer[..filled]) {
            return Ok(version);
        }
        if filled < buffer.len() {
            return Err("has no ONNX Runtime version in it".to_owned());
        }
        // A mark that the chunk ends in is found with the next one.
        buffer.copy_within(filled - overlap.., 0);
        kept = overlap;
    }
}

fn find_version(bytes: &[u8]) -> Option<RuntimeVersion> {
    let marks = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    marks.map(|(start, _)| &bytes[start + MARK.len()..]).find_map(|text| {
        let text = &text[..text.len().min(VERSION_LENGTH)];
        // A version that may go on past the end of what was read is left for the next chunk.
        text.iter().any(|byte| !byte.is_ascii_digit() && *byte != b'.').then(|| RuntimeVersion::parse(text)).flatten()
    })
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
