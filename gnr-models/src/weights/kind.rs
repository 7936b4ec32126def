//! Recognition of files that are no weight files, by their first bytes, with advice for the user.

use super::{WeightsError, data::Data, zip::Archive};

/// The kind of a file, and advice.
type Told = (&'static str, &'static str);

/// Offset of some bytes in a file, these bytes, and the kind that they tell.
type Sign = (usize, &'static [u8], Told);

const UNPACK: &str = "unpack it and give the file inside";
const EXPORT: &str =
    "export the weights as safetensors, or as a state_dict of PyTorch, with the library that wrote it";

/// Signs of other formats, in the order they are looked for.
const SIGNS: &[Sign] = &[
    (0, b"\x1f\x8b", ("a gzip file", UNPACK)),
    (0, b"BZh", ("a bzip2 file", UNPACK)),
    (0, b"\xfd7zXZ\0", ("an xz file", UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", ("a Zstandard file", UNPACK)),
    (0, b"\x04\x22\x4d\x18", ("an LZ4 file", UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", ("a 7-Zip archive", UNPACK)),
    (0, b"Rar!\x1a\x07", ("a RAR archive", UNPACK)),
    (0, b"\x89HDF\r\n\x1a\n", ("an HDF5 file (Keras, or MATLAB since 7.3)", EXPORT)),
    (0, b"GGUF", ("a GGUF file (llama.cpp)", EXPORT)),
    (0, b"ggml", ("a GGML file (llama.cpp)", EXPORT)),
    (0, b"lmgg", ("a GGML file (llama.cpp)", EXPORT)),
    (0, b"tjgg", ("a GGML file (llama.cpp)", EXPORT)),
    (4, b"TFL3", ("a TensorFlow Lite model", EXPORT)),
    (4, b"ORTM", ("an ONNX Runtime model", EXPORT)),
    (0, b"PTMODEL\0", ("a PyTorch Lite model", EXPORT)),
    (4, b"PTMF", ("a PyTorch mobile model (flatbuffer)", EXPORT)),
    (4, b"ET12", ("an ExecuTorch program", EXPORT)),
    (
        0,
        b"\x93NUMPY",
        ("a numpy array (.npy)", "save the weights of a model with their names, as safetensors"),
    ),
    (0, b"MATLAB 5.0", ("a MATLAB file", EXPORT)),
    (0, b"\0\x05\x16\x07", ("what macOS keeps beside a file (._ before its name)", "give the file itself")),
    (0, b"%PDF", ("a PDF document", "give the weights it speaks of")),
    (0, b"\x89PNG\r\n\x1a\n", ("a PNG image", "give a weight file")),
    (0, b"\xff\xd8\xff", ("a JPEG image", "give a weight file")),
    (0, b"\x7fELF", ("a program or library", "give a weight file")),
    (0, b"MZ\x90", ("a program or library", "give a weight file")),
    (0, b"\x12\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", ("parameters of MXNet", EXPORT)),
    (0, b"SQLite format 3\0", ("an SQLite data base", "give a weight file")),
    (0, b"L\0\0\0\x01\x14\x02\0", ("a shortcut of Windows", "give the file that it leads to")),
];

/// The last bytes of a TensorFlow checkpoint's index.
const TABLE: [u8; 8] = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];
/// Number of bytes that are examined.
const HEAD: u64 = 4096;

fn not_weights(file: &str, what: impl Into<String>, advice: &str) -> WeightsError {
    WeightsError::NotWeights { file: file.to_owned(), what: what.into(), advice: advice.to_owned() }
}

/// The error for a file that is no weight file, if its bytes tell its kind.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn other(file: &str, data: &Data) -> std::io::Result<Option<WeightsError>> {
    let head = data.head(HEAD)?;
    if head.is_empty() {
        let advice = "a download that did not begin, or a disk that was full: download or copy it again";
        return Ok(Some(not_weights(file, "an empty file", advice)));
    }
    if let Some((_, _, (what, advice))) =
        SIGNS.iter().find(|(place, sign, _)| head.get(*place..place + sign.len()) == Some(sign))
    {
        return Ok(Some(not_weights(file, *what, advice)));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Ok(Some(tar(file, data, &head)?));
    }
    if head.len() >= 16 && head.iter().all(|&byte| byte == 0) {
        let what = format!("a file that begins with {} zeros", head.len());
        let advice = "space was reserved for a download that never filled it: download or copy it again";
        return Ok(Some(not_weights(file, what, advice)));
    }
    if let Some(error) = text(file, &head) {
        return Ok(Some(error));
    }
    let end = data.read(data.len().saturating_sub(8), data.len().min(8))?;
    if *end == TABLE {
        return Ok(Some(not_weights(file, "the index of a TensorFlow checkpoint", EXPORT)));
    }
    if file.contains(".data-0") {
        return Ok(Some(not_weights(file, "the numbers of a TensorFlow checkpoint", EXPORT)));
    }
    // MessagePack of Flax is a map whose first key is a short text.
    if let [0x81..=0x8f, length @ 0xa1..=0xbf, key @ ..] = &*head
        && key.get(..usize::from(length - 0xa0)).is_some_and(|key| key.iter().all(u8::is_ascii_graphic))
    {
        return Ok(Some(not_weights(file, "a MessagePack file (Flax)", EXPORT)));
    }
    Ok(protobuf(&head).map(|what| not_weights(file, what, EXPORT)))
}

/// The error for a file whose bytes tell nothing.
pub(super) fn unknown(file: &str, data: &Data) -> std::io::Result<WeightsError> {
    let head = data.head(8)?;
    let bytes: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
    let what = format!("a file of an unknown kind ({} bytes that begin {})", data.len(), bytes.join(" "));
    Ok(not_weights(file, what, "give a weight file, or download it again"))
}

/// The error for a pipe or device in place of a file.
pub(super) fn no_file(file: &str) -> WeightsError {
    not_weights(file, "a pipe or a device", "copy what comes from it to a file, and give that")
}

/// The error for a directory in place of a file.
pub(super) fn directory(file: &str, path: &std::path::Path) -> WeightsError {
    let has = |name: &str| path.join(name).exists();
    let (what, advice) = if has("saved_model.pb") {
        ("a folder with a TensorFlow model", EXPORT)
    } else if has(".metadata") {
        (
            "a folder with a distributed checkpoint of PyTorch",
            "make one file of it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE",
        )
    } else if has("model.safetensors") {
        ("a folder", "give its file model.safetensors")
    } else if has("checkpoints/best.safetensors") {
        ("the folder of a run", "give its file checkpoints/best.safetensors")
    } else {
        ("a folder", "give a weight file, or one file in it")
    };
    not_weights(file, what, advice)
}

/// The error for a link that leads to no file.
pub(super) fn dangling(file: &str, to: &std::path::Path) -> WeightsError {
    let what = format!("a link to {}, which is not there", to.display());
    not_weights(file, what, "give the file itself, or make the link anew")
}

/// The error for a pointer, which a program keeps in a large file's place: size, if known, and the command that fetches
/// the file.
fn pointer(file: &str, text: &str) -> Option<WeightsError> {
    const LFS: [&str; 2] =
        ["version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"];
    let (kind, size, advice) = match text {
        _ if LFS.iter().any(|start| text.starts_with(start)) => {
            ("a Git LFS pointer", "size ", "run `git lfs pull`, or download the file from its page")
        }
        _ if text.starts_with("# xet version") => {
            ("a Xet pointer", "filesize = ", "run `git xet checkout`, or download the file from its page")
        }
        _ if text.starts_with("outs:") && text.contains("path:") => {
            ("a DVC pointer", "size: ", "run `dvc pull`")
        }
        _ if text.starts_with("/annex/objects/") => ("a git-annex pointer", "", "run `git annex get`"),
        _ => return None,
    };
    let size =
        (!size.is_empty()).then(|| text.lines().find_map(|line| line.trim().strip_prefix(size))).flatten();
    let size =
        size.filter(|size| !size.is_empty() && size.len() < 20 && size.bytes().all(|b| b.is_ascii_digit()));
    let what = size.map_or_else(|| kind.to_owned(), |size| format!("{kind} to a file of {size} bytes"));
    Some(not_weights(file, what, advice))
}

/// Whether a lower-case text is a web page: its start is one, perhaps after a comment or a script.
fn is_page(lower: &str) -> bool {
    const STARTS: [&str; 7] = ["<!doctype html", "<html", "<head", "<body", "<title", "<meta", "<script"];
    let within = || ["<html", "<head", "<title", "<script"].iter().any(|tag| lower.contains(tag));
    STARTS.iter().any(|start| lower.starts_with(start)) || (lower.starts_with("<!--") && within())
}

/// Decodes `head` as UTF-16, if it has a byte-order mark.
fn wide(head: &[u8]) -> Option<String> {
    let number: fn([u8; 2]) -> u16 = match head {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let units: Vec<u16> = head.chunks_exact(2).skip(1).map(|pair| number([pair[0], pair[1]])).collect();
    String::from_utf16(&units).ok()
}

/// The error for a text, which is often found under the name of weights: a pointer, a page, XML, JSON and others.
fn text(file: &str, head: &[u8]) -> Option<WeightsError> {
    let wide = wide(head);
    let head = wide.as_deref().map_or(head, str::as_bytes);
    // Pages in other encodings than UTF-8 have their marks in ASCII, too.
    let lossy = String::from_utf8_lossy(head);
    let text = lossy.trim_start_matches('\u{feff}').trim_start();
    if let Some(error) = pointer(file, text) {
        return Some(error);
    }
    let lower = text.to_ascii_lowercase();
    if is_page(&lower) {
        let title = lower.find("<title>").and_then(|start| {
            let title = text.get(start + 7..)?;
            let title = title.get(..title.to_ascii_lowercase().find("</title>")?)?;
            Some(title.split_whitespace().collect::<Vec<_>>().join(" "))
        });
        let title = title.map_or_else(String::new, |title| format!(" (“{}”)", shortened(&title, 60)));
        let what = format!("a web page{title}");
        return Some(not_weights(
            file,
            what,
            "log in or use the link to the file itself, and download it again",
        ));
    }
    let tag = lower
        .strip_prefix('<')
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()));
    if lower.starts_with("<?xml") || (tag && lower.contains("</")) {
        let what = "an XML text, perhaps a server's message of an error";
        return Some(not_weights(file, what, "look into it, and download the file again"));
    }
    // The last character may be cut.
    let whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => head.len() as u64 == HEAD && error.error_len().is_none(),
    };
    let printable =
        |c: char| !c.is_control() && c != char::REPLACEMENT_CHARACTER || matches!(c, '\n' | '\r' | '\t');
    let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    if !whole || !text.chars().all(printable) {
        return None;
    }
    // A list begins with a value; `[data]` is a section of a recipe, say.
    let list = text.strip_prefix('[').map(str::trim_start);
    let value = |c: char| c.is_ascii_digit() || "{[\"-]".contains(c);
    if text.starts_with('{') || list.is_some_and(|rest| rest.starts_with(value)) {
        return Some(match text.contains("\"weight_map\"") {
            true => not_weights(
                file,
                "the index of weights that lie in several files",
                "give one of the files that it names, or merge them into one with the library that wrote them",
            ),
            false => not_weights(file, "a JSON text", "give the weights, not their description"),
        });
    }
    (head.len() > 8 && !looks_like_pickle(text)).then(|| {
        let line: String = text.lines().next().unwrap_or_default().to_owned();
        let what = format!("a text that begins `{}`", shortened(&line, 40));
        not_weights(file, what, "give a weight file, or download it again")
    })
}

/// Whether a text looks like a pickle of protocol 0: marks, names of classes and numbers, a line each.
fn looks_like_pickle(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("(d")
        || first.starts_with("(l")
        || first.starts_with("(i")
        || (first.starts_with('c')
            && !first.contains(' ')
            && text.lines().nth(2).is_some_and(|line| line.starts_with(['p', '(', 't'])))
}

fn shortened(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The error for a TAR archive: PyTorch before 0.1.10, or an archive of other files.
fn tar(file: &str, data: &Data, head: &[u8]) -> std::io::Result<WeightsError> {
    let name = |block: &[u8]| {
        let name = block.get(..100).unwrap_or_default();
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    };
    let mut names = vec![name(head)];
    let mut at = 0u64;
    // PyTorch's has four members; of others a few names are enough.
    while names.len() < 4 {
        let Ok(block) = data.read(at, 512) else { break };
        let size = block.get(124..135).and_then(|digits| std::str::from_utf8(digits).ok());
        let size = size.and_then(|digits| u64::from_str_radix(digits.trim_matches([' ', '\0']), 8).ok());
        let Some(size) = size else { break };
        at = at.saturating_add(512).saturating_add(size.next_multiple_of(512));
        match data.read(at, 512) {
            Ok(block) if block.first().is_some_and(|&byte| byte != 0) => names.push(name(&block)),
            _ => break,
        }
    }
    if ["sys_info", "pickle", "storages"].iter().filter(|part| names.iter().any(|name| name == *part)).count()
        >= 2
    {
        return Ok(WeightsError::Unsupported {
            file: file.to_owned(),
            what: "a checkpoint of PyTorch before 0.1.10 (a TAR archive), which is not read".into(),
            advice: "load it with PyTorch, and torch.save it again".into(),
        });
    }
    let what = format!("a TAR archive (of {})", listed(&names));
    Ok(not_weights(file, what, UNPACK))
}

fn listed(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(3).map(|name| format!("`{}`", shortened(name, 40))).collect();
    let more = if names.len() > 3 { ", …" } else { "" };
    shown.join(", ") + more
}

/// The error for a ZIP archive that is no checkpoint.
pub(super) fn other_archive(file: &str, length: u64, archive: &Archive) -> WeightsError {
    let has = |end: &str| archive.names().any(|name| name.ends_with(end.as_bytes()));
    if archive.names().next().is_none() {
        return not_weights(file, "an empty ZIP archive", "download or copy it again");
    }
    let (what, advice) = if has(".npy") {
        ("an archive of numpy arrays (.npz)", "save the weights as safetensors (safetensors.numpy.save_file)")
    } else if has("model.weights.h5") {
        ("a Keras model", EXPORT)
    } else if has("/.data/serialization_id") || has("/byteorder") {
        return WeightsError::Incomplete {
            file: file.to_owned(),
            format: "PyTorch",
            length,
            problem: "it has no data.pkl: torch.save stopped before the weights were in it; save it again"
                .into(),
        };
    } else if has("saved_model.pb") {
        ("an archive of a TensorFlow model", EXPORT)
    } else if has(".data/extern_modules") {
        ("a torch.package archive", "load it with PyTorch, and torch.save(model.state_dict())")
    } else if has("serialized_exported_program.json") || has("models/model.json") {
        ("a program of torch.export", "load it with PyTorch, and torch.save(program.state_dict)")
    } else if has("/model.json") {
        (
            "a TorchScript archive of PyTorch before 1.4",
            "load it with PyTorch, and torch.save(model.state_dict())",
        )
    } else {
        let names: Vec<_> =
            archive.names().take(4).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let what = format!("a ZIP archive (of {})", listed(&names));
        return not_weights(file, what, UNPACK);
    };
    not_weights(file, what, advice)
}

/// The model that a protocol buffer holds. The format has no magic number: models of both libraries begin with a small
/// version and a text or message.
fn protobuf(head: &[u8]) -> Option<String> {
    match head {
        // saved_model_schema_version = 1, then meta_graphs, whose first field is a message.
        [0x08, 0x01, 0x12, rest @ ..] => {
            let length = rest.iter().position(|&byte| byte < 0x80)? + 1;
            (rest.get(length) == Some(&0x0a)).then(|| "a TensorFlow model (saved_model.pb)".to_owned())
        }
        // ir_version, then producer_name or the graph.
        [0x08, version @ 1..=30, 0x12, length, rest @ ..] => {
            let producer =
                rest.get(..usize::from(*length)).and_then(|name| std::str::from_utf8(name).ok())?;
            let plain = !producer.is_empty() && producer.chars().all(|c| c.is_ascii_graphic() || c == ' ');
            plain.then(|| format!("an ONNX model (version {version}, written by {producer})"))
        }
        [0x08, version @ 1..=30, 0x3a, ..] => Some(format!("an ONNX model (version {version})")),
        // A graph whose first node has a name and an operation.
        [0x0a, _, 0x0a, length, rest @ ..] => {
            (rest.get(usize::from(*length)) == Some(&0x12)).then(|| "a TensorFlow graph".to_owned())
        }
        _ => None,
    }
}
