//! Errors of a data set, its files or its configuration, as values that say where, what was expected and what was
//! found.

mod words;

use std::path::{Path, PathBuf};

use words::{chw, did_you_mean, list, similar_name};

/// A result whose error is a [`DataError`].
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// Errors of opening, decoding, splitting or loading images.
///
/// Every variant about a file carries its path. Every variant about a record carries its index or byte offset, in the
/// uncompressed contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// No data set of the given name is registered.
    #[error("unknown data set `{name}`{}; known: {known}", did_you_mean(.nearest))]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// The most similar known name, when it is similar enough for a typing error.
        nearest: Option<&'static str>,
        /// All known names, separated by commas.
        known: String,
    },

    /// The files of a data set were not found.
    #[error(
        "data set `{dataset}`: {what} not found; looked in {}{}.\nHow to get it: {hint}",
        list(.looked_in), if .found.is_empty() { String::new() } else { format!("; {found}") }
    )]
    MissingData {
        /// Registered name of the data set.
        dataset: &'static str,
        /// The file or folder that was not found.
        what: String,
        /// The folders that were searched; empty if no folder was given and there is no default one.
        looked_in: Vec<PathBuf>,
        /// The contents of the given folder instead; empty where they give no hint.
        found: String,
        /// Commands that fetch the data.
        hint: &'static str,
    },

    /// The operating system reported an error.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// The operation that failed, e.g. `open`.
        action: &'static str,
        /// The reason that the system gives.
        source: std::io::Error,
    },

    /// A gzip file is damaged (bad header, bad block, wrong checksum).
    #[error("{}: damaged gzip data after {offset} uncompressed bytes: {source}", .path.display())]
    Gzip {
        /// Path of the file.
        path: PathBuf,
        /// Number of bytes that could be decompressed before the damage.
        offset: u64,
        /// The reason that the decoder gives.
        source: std::io::Error,
    },

    /// A file ends too early.
    #[error(
        "{}: truncated: expected {what} up to offset {expected}, the data ends at offset {found}", .path.display()
    )]
    Truncated {
        /// Path of the file.
        path: PathBuf,
        /// The part that is incomplete.
        what: String,
        /// Offset at which the part should end.
        expected: u64,
        /// Offset at which the data ends.
        found: u64,
    },

    /// A file goes on after its declared end.
    #[error("{}: unexpected bytes after offset {offset}, where the declared data ends", .path.display())]
    TrailingBytes {
        /// Path of the file.
        path: PathBuf,
        /// Offset of the first byte behind the declared end.
        offset: u64,
    },

    /// A file does not start as its format demands.
    #[error("{}: wrong magic number at offset 0: expected {expected}, found {found}", .path.display())]
    WrongMagic {
        /// Path of the file.
        path: PathBuf,
        /// The bytes that were expected, and what they mean.
        expected: String,
        /// The bytes that were found.
        found: String,
    },

    /// A header declares impossible sizes.
    #[error("{}: impossible dimensions {dims:?} at offset 4: {reason}", .path.display())]
    Dimensions {
        /// Path of the file.
        path: PathBuf,
        /// The declared dimensions.
        dims: Vec<u32>,
        /// The reason why they are refused.
        reason: String,
    },

    /// A file of fixed-size records is not a whole number of records long.
    #[error(
        "{}: {length} bytes is not a whole number of {record}-byte records: record {index}, at offset {offset}, is incomplete",
        .path.display()
    )]
    PartialRecord {
        /// Path of the file.
        path: PathBuf,
        /// Length of the file in bytes.
        length: u64,
        /// Number of bytes of a record.
        record: usize,
        /// Index of the incomplete record.
        index: u64,
        /// Offset at which the incomplete record starts.
        offset: u64,
    },

    /// A label in a file is not a class.
    #[error("{}: record {record}, offset {offset}: label {label} is not below the class count {classes}", .path.display())]
    LabelRange {
        /// Path of the file.
        path: PathBuf,
        /// Index of the record within the file.
        record: usize,
        /// Byte offset of the label.
        offset: u64,
        /// The label that was found.
        label: usize,
        /// Number of classes.
        classes: usize,
    },

    /// The numbers of images and of labels differ.
    #[error(
        "{images} images in {} but {labels} labels in {}", .images_from.display(), .labels_from.display()
    )]
    CountMismatch {
        /// Path of the file of images.
        images_from: PathBuf,
        /// Number of images.
        images: usize,
        /// Path of the file of labels.
        labels_from: PathBuf,
        /// Number of labels.
        labels: usize,
    },

    /// A symbolic link in place of an image points to no file.
    #[error("{}: a link to {}, which is not there", .path.display(), .to.display())]
    NowhereLink {
        /// Path of the link.
        path: PathBuf,
        /// The path to which the link points.
        to: PathBuf,
    },

    /// A list of class names has the wrong length.
    #[error("{}: expected {expected} class names, found {found}", .path.display())]
    ClassNames {
        /// Path of the list.
        path: PathBuf,
        /// Number of names that were expected.
        expected: usize,
        /// Number of names that were found.
        found: usize,
    },

    /// The classes (sub-folders) of two parts of a data set differ.
    #[error(
        "{}: class `{class}` is missing here but present in {}{}",
        .missing_in.display(), .present_in.display(), similar_name(.class, .similar)
    )]
    ClassMismatch {
        /// Name of the class.
        class: String,
        /// A class of the folder that lacks this one, if its name differs only in case or Unicode form.
        similar: Option<String>,
        /// The folder that lacks the class.
        missing_in: PathBuf,
        /// The folder that has the class.
        present_in: PathBuf,
    },

    /// A file or folder belongs to a class that the data set does not have.
    #[error("{}: unknown class `{class}`, expected {expected}", .path.display())]
    UnknownClass {
        /// Path of the file or folder.
        path: PathBuf,
        /// The class that was found.
        class: String,
        /// The form of a class name in this data set.
        expected: &'static str,
    },

    /// A file breaks the rules of its format: it is cut, or declares something impossible.
    #[error("{}: damaged {format} at offset {offset}: {reason}", .path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// The format that the file should have.
        format: &'static str,
        /// Offset at which reading failed, in the decompressed contents.
        offset: u64,
        /// The contents that were expected, and those that were found.
        reason: String,
    },

    /// A file is complete, but has a layout that this crate does not know: another program wrote it, or it holds
    /// something else.
    #[error("{}: {format} of an unknown layout: {reason}", .path.display())]
    UnknownLayout {
        /// Path of the file.
        path: PathBuf,
        /// The format as which it was read.
        format: &'static str,
        /// The contents that were expected, and those that were found.
        reason: String,
    },

    /// A file has a known format, but a kind of it that this crate does not read.
    #[error("{}: not supported: {reason}", .path.display())]
    Unsupported {
        /// Path of the file.
        path: PathBuf,
        /// The kind that was found, and what to do.
        reason: String,
    },

    /// A warning that [`OpenOptions::strict`](crate::OpenOptions::strict) makes an error.
    #[error("refused because the data set is opened as strict:\n  {}", .warnings.join("\n  "))]
    Strict {
        /// The warnings that [`Dataset::warnings`](crate::Dataset::warnings) would return.
        warnings: Vec<String>,
    },

    /// A line of a list does not have the list's format.
    #[error("{}:{line}: {reason}", .path.display())]
    BadLine {
        /// Path of the list.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// The line that was expected, and the one that was found.
        reason: String,
    },

    /// A list of labels has another length than the training set.
    #[error("{}: expected {expected} labels, one for each image of the whole training set; found {found}", .path.display())]
    ListLength {
        /// Path of the list.
        path: PathBuf,
        /// Number of images, which is the expected number of labels.
        expected: usize,
        /// Number of labels that were found.
        found: usize,
    },

    /// A label of a list is not a class.
    #[error(
        "{}: {place} (image {image}): label {label} is not one of the {classes} classes, 0 to {}",
        .path.display(), .classes.saturating_sub(1)
    )]
    ListLabel {
        /// Path of the list.
        path: PathBuf,
        /// The line (from 1) or the element (from 0) of the label.
        place: String,
        /// The image's index in the whole training set, from 0.
        image: usize,
        /// The label that was found.
        label: i128,
        /// Number of classes.
        classes: usize,
    },

    /// An image is missing from the list of classes.
    #[error("{}: no class for this image in {}", .path.display(), .list.display())]
    NotListed {
        /// Path of the image.
        path: PathBuf,
        /// Path of the list.
        list: PathBuf,
    },

    /// A list names an image that does not exist.
    #[error("{}: entry {record} names {}, which is not there", .list.display(), .path.display())]
    ListedFileMissing {
        /// Path of the list.
        list: PathBuf,
        /// Index of the entry, from 0.
        record: usize,
        /// Path of the missing image.
        path: PathBuf,
    },

    /// A class folder holds files, none of which is an image that can be read.
    #[error("{}: no {looked_for} files in this class folder, but {found}", .path.display())]
    EmptyClass {
        /// Path of the class folder.
        path: PathBuf,
        /// The file types that are read.
        looked_for: &'static str,
        /// The files that were found instead.
        found: String,
    },

    /// No image was found to load.
    #[error("{}: no images: {reason}", .path.display())]
    NoImages {
        /// Path of the file or folder.
        path: PathBuf,
        /// The contents that were expected in it.
        reason: String,
    },

    /// An image differs in size from the others of its data set.
    #[error(
        "{}: image is {} but the data set is {}; give one size to all images with data.resize.height and data.resize.width, or fix the file",
        .path.display(), chw(.found), chw(.expected)
    )]
    SizeMismatch {
        /// Path of the file, with the record where there are several.
        path: PathBuf,
        /// The shape `[C, H, W]` of the data set.
        expected: [usize; 3],
        /// The shape `[C, H, W]` of this image.
        found: [usize; 3],
    },

    /// An image file cannot be decoded.
    #[error("{}: cannot decode image: {reason}", .path.display())]
    Decode {
        /// Path of the file.
        path: PathBuf,
        /// The reason that the decoder gives.
        reason: String,
    },

    /// A file could not be downloaded.
    #[error("cannot download {file}:\n  {}", .reasons.join("\n  "))]
    Download {
        /// Name of the file.
        file: String,
        /// Each address that was tried, and why it failed.
        reasons: Vec<String>,
    },

    /// Another process is fetching the file into the same folder.
    #[error(
        "{}: another process fetches {file} here; expected one at a time: wait for its end, then try again",
        .folder.display()
    )]
    Fetching {
        /// The data folder.
        folder: PathBuf,
        /// Name of the file.
        file: String,
    },

    /// A downloaded file has another checksum than the published one.
    #[error("{}: MD5 is {found}, published is {expected}", .path.display())]
    Checksum {
        /// Path of the file.
        path: PathBuf,
        /// The published checksum, MD5 in hexadecimal.
        expected: &'static str,
        /// The checksum that was found.
        found: String,
    },

    /// An archive is cut, or breaks the rules of its format.
    #[error("{}: damaged archive: {reason}", .path.display())]
    Archive {
        /// Path of the archive.
        path: PathBuf,
        /// The reason that the archive's reader gives.
        reason: String,
    },

    /// An archive has an entry that must not be unpacked.
    #[error("{}: entry `{entry}` is refused: {reason}", .path.display())]
    UnsafeArchive {
        /// Path of the archive.
        path: PathBuf,
        /// Name of the entry.
        entry: String,
        /// The reason why it is refused.
        reason: String,
    },

    /// A configuration value is out of range.
    #[error("`{key}` = {value}: {reason}")]
    Config {
        /// Name of the field.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// The values that are allowed.
        reason: String,
    },

    /// An index is beyond the end of a data set.
    #[error("image index {index} is out of range: the data set has {len} images")]
    IndexOutOfRange {
        /// The index that was asked for.
        index: usize,
        /// Number of images.
        len: usize,
    },

    /// A pixel is NaN or infinite.
    #[error("sample {sample}: pixel [{channel}, {row}, {column}] is {value}")]
    NonFinitePixel {
        /// Position of the sample in the batch.
        sample: usize,
        /// Channel of the pixel, from 0.
        channel: usize,
        /// Row of the pixel, from 0.
        row: usize,
        /// Column of the pixel, from 0.
        column: usize,
        /// The value that was found.
        value: f32,
    },

    /// A label of a batch from the caller's own numbers is not a class.
    #[error("sample {sample}: label {label} is not below the class count {classes}")]
    BatchLabel {
        /// Position of the sample in the batch.
        sample: usize,
        /// The label that was found.
        label: usize,
        /// Number of classes.
        classes: usize,
    },

    /// A buffer does not hold as many values as its shape says.
    #[error("{what}: shape {shape:?} needs {expected} values, found {found}")]
    BufferLength {
        /// The name of the buffer.
        what: &'static str,
        /// The shape that was declared for it.
        shape: Vec<usize>,
        /// Number of values that the shape needs.
        expected: usize,
        /// Number of values that were given.
        found: usize,
    },

    /// A data set of the library's user panicked in a worker of the loader.
    #[error("a loader worker panicked in batch {batch}: {message}")]
    WorkerPanic {
        /// Number of the batch in the epoch.
        batch: usize,
        /// The message of the panic.
        message: String,
    },
}

impl DataError {
    /// Whether the error means that a file is damaged: cut, not the published one, or breaking the rules of its format.
    /// Other errors about files mean a kind or layout that is not read.
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
