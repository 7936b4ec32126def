//! Everything that can be wrong with a data set, its files or its configuration, as values that say where,
//! what was expected and what was found.

use std::path::{Path, PathBuf};

/// Result with a [`DataError`].
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// What went wrong while opening, decoding, splitting or loading images.
///
/// Every variant about a file carries its path; every variant about a record carries its index or byte offset
/// (offsets are into the uncompressed contents).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// No data set of that name is registered.
    #[error("unknown data set `{name}`{}; known: {known}", did_you_mean(.nearest))]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// The most similar known name, when one is similar enough to be a slip of the pen.
        nearest: Option<&'static str>,
        /// All known names, comma separated.
        known: String,
    },

    /// The files of a data set are not where they were looked for.
    #[error(
        "data set `{dataset}`: {what} not found; looked in {}{}.\nHow to get it: {hint}",
        list(.looked_in), if .found.is_empty() { String::new() } else { format!("; {found}") }
    )]
    MissingData {
        /// Registered name of the data set.
        dataset: &'static str,
        /// The file or folder that is missing.
        what: String,
        /// Where it was looked for (empty: no directory was given and there is no default one).
        looked_in: Vec<PathBuf>,
        /// What the folder that was given holds instead; empty where that says nothing.
        found: String,
        /// The commands that fetch the data.
        hint: &'static str,
    },

    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted, e.g. `open`.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },

    /// The gzip container is damaged (bad header, bad block, checksum).
    #[error("{}: damaged gzip data after {offset} uncompressed bytes: {source}", .path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// How many bytes could be decompressed before the damage.
        offset: u64,
        /// The decoder's reason.
        source: std::io::Error,
    },

    /// The file ends too early.
    #[error(
        "{}: truncated: expected {what} up to offset {expected}, the data ends at offset {found}", .path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The part that is incomplete.
        what: String,
        /// Offset at which the part should end.
        expected: u64,
        /// Offset at which the data ends.
        found: u64,
    },

    /// The file goes on after its declared end.
    #[error("{}: unexpected bytes after offset {offset}, where the declared data ends", .path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte too many.
        offset: u64,
    },

    /// The file does not start as its format demands.
    #[error("{}: wrong magic number at offset 0: expected {expected}, found {found}", .path.display())]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// Expected bytes, and what they mean.
        expected: String,
        /// The bytes found.
        found: String,
    },

    /// A header declares sizes that cannot be.
    #[error("{}: impossible dimensions {dims:?} at offset 4: {reason}", .path.display())]
    Dimensions {
        /// The file.
        path: PathBuf,
        /// Dimensions as declared.
        dims: Vec<u32>,
        /// Why they are refused.
        reason: String,
    },

    /// A file of fixed-size records is not a whole number of records long.
    #[error(
        "{}: {length} bytes is not a whole number of {record}-byte records: record {index}, at offset {offset}, is incomplete",
        .path.display()
    )]
    PartialRecord {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// Bytes a record.
        record: usize,
        /// Index of the incomplete record.
        index: u64,
        /// Offset where it starts.
        offset: u64,
    },

    /// A label is not a class.
    #[error("{}: record {record}, offset {offset}: label {label} is not below the class count {classes}", .path.display())]
    LabelRange {
        /// The file.
        path: PathBuf,
        /// Index of the record within the file.
        record: usize,
        /// Byte offset of the label.
        offset: u64,
        /// The label found.
        label: usize,
        /// Number of classes.
        classes: usize,
    },

    /// Images and labels are not equally many.
    #[error(
        "{images} images in {} but {labels} labels in {}", .images_from.display(), .labels_from.display()
    )]
    CountMismatch {
        /// File of the images.
        images_from: PathBuf,
        /// Number of images.
        images: usize,
        /// File of the labels.
        labels_from: PathBuf,
        /// Number of labels.
        labels: usize,
    },

    /// A link in place of an image leads to no file.
    #[error("{}: a link to {}, which is not there", .path.display(), .to.display())]
    NowhereLink {
        /// The link.
        path: PathBuf,
        /// What it leads to.
        to: PathBuf,
    },

    /// A list of class names has the wrong length.
    #[error("{}: expected {expected} class names, found {found}", .path.display())]
    ClassNames {
        /// The file.
        path: PathBuf,
        /// Names expected.
        expected: usize,
        /// Names found.
        found: usize,
    },

    /// The classes (sub-folders) of two parts of a data set differ.
    #[error(
        "{}: class `{class}` is missing here but present in {}{}",
        .missing_in.display(), .present_in.display(), similar_name(.class, .similar)
    )]
    ClassMismatch {
        /// The class.
        class: String,
        /// A class of the folder that lacks it whose name differs only in case or Unicode form.
        similar: Option<String>,
        /// Folder that lacks it.
        missing_in: PathBuf,
        /// Folder that has it.
        present_in: PathBuf,
    },

    /// A file or folder is of a class that the data set does not have.
    #[error("{}: unknown class `{class}`, expected {expected}", .path.display())]
    UnknownClass {
        /// The file or folder.
        path: PathBuf,
        /// The class found.
        class: String,
        /// What a class is called here.
        expected: &'static str,
    },

    /// A file breaks the rules of its format: it is cut, or declares what cannot be.
    #[error("{}: damaged {format} at offset {offset}: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        format: &'static str,
        /// Where reading failed (in the decompressed contents).
        offset: u64,
        /// What was expected and what was found.
        reason: String,
    },

    /// A file is whole, but arranged in a way that this crate does not know: another program wrote it, or it is of
    /// something else.
    #[error("{}: {format} of an unknown layout: {reason}", .path.display())]
    UnknownLayout {
        /// The file.
        path: PathBuf,
        /// What it was read as.
        format: &'static str,
        /// What was expected and what was found.
        reason: String,
    },

    /// A file is in a known format, of which this crate does not read this kind.
    #[error("{}: not supported: {reason}", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        reason: String,
    },

    /// Something would be left out or is suspicious, and [`OpenOptions::strict`](crate::OpenOptions::strict) forbids
    /// it.
    #[error("refused because the data set is opened as strict:\n  {}", .warnings.join("\n  "))]
    Strict {
        /// What [`Dataset::warnings`](crate::Dataset::warnings) would say.
        warnings: Vec<String>,
    },

    /// A line of a list is not what its format demands.
    #[error("{}:{line}: {reason}", .path.display())]
    BadLine {
        /// The list.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What was expected and what was found.
        reason: String,
    },

    /// A list of labels has another length than the training set.
    #[error("{}: expected {expected} labels, one for each image of the whole training set; found {found}", .path.display())]
    ListLength {
        /// The list.
        path: PathBuf,
        /// Number of images.
        expected: usize,
        /// Number of labels.
        found: usize,
    },

    /// A label of a list is not a class.
    #[error(
        "{}: {place} (image {image}): label {label} is not one of the {classes} classes, 0 to {}",
        .path.display(), .classes.saturating_sub(1)
    )]
    ListLabel {
        /// The list.
        path: PathBuf,
        /// The line (from 1) or the element (from 0).
        place: String,
        /// The image's number in the whole training set, from 0.
        image: usize,
        /// The label found.
        label: i128,
        /// Number of classes.
        classes: usize,
    },

    /// An image that the list of classes does not have.
    #[error("{}: no class for this image in {}", .path.display(), .list.display())]
    NotListed {
        /// The image.
        path: PathBuf,
        /// The list.
        list: PathBuf,
    },

    /// A list names an image that is not there.
    #[error("{}: entry {record} names {}, which is not there", .list.display(), .path.display())]
    ListedFileMissing {
        /// The list.
        list: PathBuf,
        /// Number of the entry, from 0.
        record: usize,
        /// The image.
        path: PathBuf,
    },

    /// A class folder holds files, and none is an image that can be read.
    #[error("{}: no {looked_for} files in this class folder, but {found}", .path.display())]
    EmptyClass {
        /// The class folder.
        path: PathBuf,
        /// The file types looked for.
        looked_for: &'static str,
        /// The files that are there instead.
        found: String,
    },

    /// There is nothing to load.
    #[error("{}: no images: {reason}", .path.display())]
    NoImages {
        /// File or folder.
        path: PathBuf,
        /// What was expected there.
        reason: String,
    },

    /// An image has another size than the rest of its data set.
    #[error(
        "{}: image is {} but the data set is {}; give a size to resize to, or fix the file",
        .path.display(), chw(.found), chw(.expected)
    )]
    SizeMismatch {
        /// The file (with the record where there are several).
        path: PathBuf,
        /// `[C, H, W]` of the data set.
        expected: [usize; 3],
        /// `[C, H, W]` of this image.
        found: [usize; 3],
    },

    /// An image file cannot be decoded.
    #[error("{}: cannot decode image: {reason}", .path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },

    /// A file could not be downloaded.
    #[error("cannot download {file}:\n  {}", .reasons.join("\n  "))]
    Download {
        /// Its name.
        file: String,
        /// For each address that was tried: the address and why it failed.
        reasons: Vec<String>,
    },

    /// A downloaded file is not the published one.
    #[error("{}: MD5 is {found}, published is {expected}", .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The published checksum.
        expected: &'static str,
        /// The checksum found.
        found: String,
    },

    /// An archive is cut, or breaks the rules of its format.
    #[error("{}: damaged archive: {reason}", .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What its reader says.
        reason: String,
    },

    /// An archive has an entry that is not unpacked.
    #[error("{}: entry `{entry}` is refused: {reason}", .path.display())]
    UnsafeArchive {
        /// The archive.
        path: PathBuf,
        /// The entry's name.
        entry: String,
        /// Why.
        reason: String,
    },

    /// A configuration value is out of its range.
    #[error("`{key}` = {value}: {reason}")]
    Config {
        /// Name of the field.
        key: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        reason: String,
    },

    /// An index beyond the end of a data set.
    #[error("image index {index} is out of range: the data set has {len} images")]
    IndexOutOfRange {
        /// The index asked for.
        index: usize,
        /// Number of images.
        len: usize,
    },

    /// A pixel is NaN or infinite.
    #[error("sample {sample}: pixel [{channel}, {row}, {column}] is {value}")]
    NonFinitePixel {
        /// Position within the batch.
        sample: usize,
        /// Channel.
        channel: usize,
        /// Row.
        row: usize,
        /// Column.
        column: usize,
        /// The value found.
        value: f32,
    },

    /// A label of a batch made by hand is not a class.
    #[error("sample {sample}: label {label} is not below the class count {classes}")]
    BatchLabel {
        /// Position within the batch.
        sample: usize,
        /// The label found.
        label: usize,
        /// Number of classes.
        classes: usize,
    },

    /// A buffer does not hold as many values as its shape says.
    #[error("{what}: shape {shape:?} needs {expected} values, found {found}")]
    BufferLength {
        /// Which buffer.
        what: &'static str,
        /// Its declared shape.
        shape: Vec<usize>,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },

    /// A data set (of the library's user) panicked in a loader worker.
    #[error("a loader worker panicked in batch {batch}: {message}")]
    WorkerPanic {
        /// Number of the batch within the epoch.
        batch: usize,
        /// The panic's message.
        message: String,
    },
}

impl DataError {
    /// Whether a file is damaged: cut, not the published one, or breaking the rules of its format. Other errors about
    /// files say that they are of a kind or layout that is not read.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::Gzip { .. }
                | Self::Truncated { .. }
                | Self::Dimensions { .. }
                | Self::PartialRecord { .. }
                | Self::Malformed { .. }
                | Self::NoImages { .. }
                | Self::Decode { .. }
                | Self::Checksum { .. }
                | Self::Archive { .. }
        )
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn config(key: &'static str, value: impl ToString, reason: impl ToString) -> Self {
        Self::Config { key, value: value.to_string(), reason: reason.to_string() }
    }
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// Both names with every combining character written as an escape: on a screen they may look the same.
fn similar_name(class: &str, similar: &Option<String>) -> String {
    let differs = |name: &String| {
        format!("; {name:?} there differs from {class:?} only in case, Unicode form or space: rename one")
    };
    similar.as_ref().map(differs).unwrap_or_default()
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "no directory (none was given)".into();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn chw([channels, height, width]: &[usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}
