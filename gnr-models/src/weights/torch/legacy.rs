//! `torch.save` before PyTorch 1.6: a row of pickles, then the storages one after the other. Pickles of other programs
//! are read here, too.

use std::collections::HashMap;

use gnr_pickle::{Budget, Exhausted, Malformed, Pickle, Problem, View, parse};

use super::{
    read::{Checkpoint, Container},
    storage::Reference,
    walk,
};
use crate::weights::{WeightsError, data::Data, file::Format};

/// The number that `torch.save` writes first, 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The magic number as protocols 0 and 1 write it.
const MAGIC_LINE: &[u8] = b"L119547037146038801333356L\n.";
/// The only version of the format.
const VERSION: i64 = 1001;
/// Number of bytes that are read at first. Most checkpoints have shorter pickles; their storages are longer.
const WINDOW: u64 = 1 << 20;

/// The contents of a file's pickles, without the numbers.
struct Contents {
    format: Format,
    found: walk::Found,
    /// Bytes of an element and number of elements of each storage.
    storages: HashMap<String, (u64, u64)>,
    /// Keys of the storages, in the order of their bytes in the file.
    order: Vec<String>,
    /// Offset at which the storages start.
    end: u64,
}

/// The reasons why pickles are no checkpoint.
enum Failure {
    Malformed(Malformed),
    /// The first bytes are no pickle at all.
    NoPickle(Malformed),
    Damaged(String),
    /// The version of the format is none that PyTorch has written.
    Version(i64),
    /// The pickle has protocol 0, which writes references to storages as text. PyTorch cannot read them either.
    Textual,
    TooLarge,
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Exhausted> for Failure {
    fn from(_: Exhausted) -> Self {
        Self::TooLarge
    }
}

/// Opens a file that is a pickle or begins with pickles; `None` for other files.
pub(in crate::weights) fn open(
    name: &str,
    data: &Data,
    budget: &mut Budget,
) -> Result<Option<Checkpoint>, WeightsError> {
    let file = || name.to_owned();
    // The magic number follows two bytes of protocol, and since protocol 4 also a frame of nine bytes.
    let head = data.head(32).map_err(|source| WeightsError::Io { file: file(), source })?;
    let magic = head.windows(MAGIC.len()).any(|window| window == MAGIC) || head.starts_with(MAGIC_LINE);
    let format = if magic { "PyTorch" } else { "pickle" };
    let incomplete =
        |problem: String| WeightsError::Incomplete { file: file(), format, length: data.len(), problem };
    let mut window = match data {
        Data::Memory(bytes) => bytes.len() as u64,
        Data::File { length, .. } => WINDOW.min(*length),
    };
    let contents = loop {
        let bytes = data.head(window).map_err(|source| WeightsError::Io { file: file(), source })?;
        let mut left = budget.clone();
        match contents(&bytes, &mut left) {
            Ok(contents) => break contents,
            Err(
                Failure::Malformed(Malformed { problem: Problem::Ended, .. })
                | Failure::NoPickle(Malformed { problem: Problem::Ended, .. }),
            ) if window < data.len() => {
                window = window.saturating_mul(8).min(data.len());
            }
            Err(Failure::NoPickle(_)) => return Ok(None),
            Err(Failure::TooLarge | Failure::Malformed(Malformed { problem: Problem::TooLarge, .. })) => {
                return Err(WeightsError::TooManyObjects { file: file(), length: data.len() });
            }
            Err(Failure::Malformed(malformed)) => {
                let advice = match malformed.problem {
                    Problem::Ended => "; download or copy it again",
                    _ => "",
                };
                return Err(incomplete(format!("{malformed}{advice}")));
            }
            Err(Failure::Damaged(problem)) => return Err(incomplete(problem)),
            Err(Failure::Textual) => {
                return Err(WeightsError::Unsupported {
                    file: file(),
                    what: "a checkpoint in pickle protocol 0, which has no references that can be read back"
                        .into(),
                    advice: "write it again with the protocol that torch.save takes by itself, 2".into(),
                });
            }
            Err(Failure::Version(version)) => {
                return Err(WeightsError::Unsupported {
                    file: file(),
                    what: format!(
                        "a checkpoint in version {version} of the format before PyTorch 1.6, of which {VERSION} is known"
                    ),
                    advice: "load it with PyTorch, and torch.save it again".into(),
                });
            }
        }
    };
    let (mut known, mut places) = (contents.storages, HashMap::with_capacity(contents.order.len()));
    let mut at = contents.end;
    for key in contents.order {
        let cut = || {
            incomplete(format!("it ends within the numbers of storage `{key}`; download or copy it again"))
        };
        let Some((size, elements)) = known.remove(&key) else {
            return Err(incomplete(match places.contains_key(&key) {
                true => format!("its storage `{key}` stands twice"),
                false => format!("no tensor uses its storage `{key}`"),
            }));
        };
        let stated = data.read(at, 8).map_err(|_| cut())?;
        let stated = <[u8; 8]>::try_from(&*stated).map_or(0, u64::from_le_bytes);
        if stated != elements {
            return Err(incomplete(format!("storage `{key}` has {stated} elements, expected {elements}")));
        }
        let end = elements.checked_mul(size).and_then(|bytes| bytes.checked_add(at + 8));
        let end = end.filter(|&end| end <= data.len()).ok_or_else(cut)?;
        places.insert(key, (at + 8, end - at - 8));
        at = end;
    }
    Ok(Some(Checkpoint::new(contents.format, contents.found, Container::Legacy(places))))
}

fn contents(bytes: &[u8], budget: &mut Budget) -> Result<Contents, Failure> {
    let mut at = 0;
    let mut next = |budget: &mut Budget| {
        let pickle = parse(bytes.get(at..).unwrap_or_default(), budget)
            .map_err(|Malformed { offset, problem }| Malformed { offset: at + offset, problem })?;
        at += pickle.end;
        Ok::<_, Malformed>(pickle)
    };
    // Pickles of protocol 2 and later start with two bytes that say so; earlier ones may start with anything.
    let says_so = matches!(bytes, [0x80, 0..=5, ..]);
    let first = next(budget).map_err(|malformed| match says_so {
        true => Failure::Malformed(malformed),
        false => Failure::NoPickle(malformed),
    })?;
    let magic = matches!(first.view(first.root()), View::Long(digits) if digits == MAGIC);
    if !magic && !bytes.starts_with(MAGIC_LINE) {
        let found = walk::walk(&first, false, "", budget)?;
        if !says_so && found.tensors.is_empty() && found.foreign.is_empty() && is_scalar(&first) {
            // Without this check, a letter and a full stop would count as a pickle.
            let problem = Problem::Invalid("a single value".into());
            return Err(Failure::NoPickle(Malformed { offset: 0, problem }));
        }
        return Ok(Contents {
            format: Format::Pickle,
            found,
            storages: HashMap::new(),
            order: Vec::new(),
            end: 0,
        });
    }
    let version = next(budget)?;
    let version = version.view(version.root());
    match version {
        View::Int(VERSION) => {}
        View::Int(other) => return Err(Failure::Version(other)),
        _ => return Err(Failure::Damaged("it has no version of the format".into())),
    }
    // This pickle has byte order and sizes of the machine. Storages are little-endian on all machines.
    next(budget)?;
    let objects = next(budget)?;
    let found = walk::walk(&objects, false, "", budget)?;
    if objects.persistent().any(|id| objects.text(id).is_some()) {
        return Err(Failure::Textual);
    }
    let mut storages = HashMap::new();
    for id in objects.persistent() {
        if let Reference::Storage(storage) = Reference::read(&objects, id) {
            budget.take(storage.key.len() + 100)?;
            storages.entry(storage.key).or_insert((storage.kind.size(), storage.length));
        }
    }
    let keys = next(budget)?;
    let Some(items) = keys.items(keys.root()) else {
        return Err(Failure::Damaged("its list of storages is no list".into()));
    };
    let mut order = Vec::new();
    for &key in items {
        let Some(key) = keys.text(key) else {
            return Err(Failure::Damaged("a storage without a name".into()));
        };
        budget.take(key.len() + 100)?;
        budget.push(&mut order, key.decode().into_owned())?;
    }
    Ok(Contents { format: Format::TorchLegacy, found, storages, order, end: at as u64 })
}

fn is_scalar(pickle: &Pickle<'_>) -> bool {
    !matches!(pickle.view(pickle.root()), View::Items(_) | View::Pairs(_) | View::Object(_))
}
