//! The bad inputs: kind, description, name and bytes of each file.

use std::path::PathBuf;

use crate::support::{Pickle, checkpoint, floats, legacy, zip};

/// What is wrong: which kind of error there has to be.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wrong {
    /// A file of another kind.
    NoWeights,
    /// Cut or altered.
    Broken,
    /// Well formed, and not read.
    Refused,
    /// Read, but not all of it.
    InPart,
    /// Read, but not the model's.
    Misfit,
}

impl Wrong {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::NoWeights => "No weight file",
            Self::Broken => "Cut or altered",
            Self::Refused => "Whole, and refused",
            Self::InPart => "Read, but for some of it",
            Self::Misfit => "Read, but not what the model needs",
        }
    }
}

/// What it is, its name, its bytes; `None` for a folder.
pub(super) type Case = (Wrong, &'static str, &'static str, Option<Vec<u8>>);

pub(super) fn no_weights() -> Vec<Case> {
    let case = |what, name, bytes: &[u8]| (Wrong::NoWeights, what, name, Some(bytes.to_vec()));
    let broken = |what, name, bytes: &[u8]| (Wrong::Broken, what, name, Some(bytes.to_vec()));
    let padded = |start: &[u8]| [start, &[0x5a; 64][..]].concat();
    let tar = |name: &str| {
        let mut header = vec![0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(b"00000000010\0");
        header[257..262].copy_from_slice(b"ustar");
        [header, vec![1; 512], vec![0; 1024]].concat()
    };
    let old_tar =
        [tar("sys_info")[..1024].to_vec(), tar("pickle")[..1024].to_vec(), tar("storages")].concat();
    vec![
        case("a Git LFS pointer", "w.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 46827520\n"),
        case("a web page", "w.safetensors", b"\n<!DOCTYPE html>\n<html><head><title>Google Drive -\n Virus scan warning</title></head></html>"),
        case("a web page without a title", "w.pth", b"<html><body>Sign in</body></html>"),
        case("a page in Latin-1", "w.pth", b"<!DOCTYPE HTML><title>Acc\xe8s refus\xe9</title>"),
        case("a git-annex pointer", "w.pth", b"/annex/objects/MD5E-s46827520--5d41402abc4b2a76.pth\n"),
        case("a server's XML", "w.pth", b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"),
        case("a server's JSON", "w.safetensors", b"{\"error\": \"Repository not found\"}"),
        case("an index of shards", "model.safetensors.index.json", b"{\"metadata\": {}, \"weight_map\": {\"fc.weight\": \"model-00001-of-00002.safetensors\"}}"),
        case("a text", "w.pth", b"Not Found: the file you asked for is not here\n"),
        case("an empty file", "w.pth", b""),
        case("zeros", "w.pth", &[0; 5000]),
        case("random bytes", "w.pth", b"\x07\xf3\x91\x00\xe8\x1c\x02\xbe\x55\xaa"),
        case("three bytes", "w.pth", b"\x00\x01\x02"),
        case("a gzip file", "w.pth.gz", &padded(b"\x1f\x8b\x08")),
        case("a bzip2 file", "w.pth", &padded(b"BZh91AY")),
        case("an xz file", "w.pth", &padded(b"\xfd7zXZ\0")),
        case("a Zstandard file", "w.pth", &padded(b"\x28\xb5\x2f\xfd")),
        case("a 7-Zip archive", "w.pth", &padded(b"7z\xbc\xaf\x27\x1c")),
        case("a RAR archive", "w.pth", &padded(b"Rar!\x1a\x07\x00")),
        case("a TAR archive", "w.tar", &tar("resnet/model_best.pth")),
        (Wrong::Refused, "a checkpoint of PyTorch before 0.1.10", "w.pth", Some(old_tar)),
        case("a ZIP archive around a file", "w.zip", &zip(&[("weights/model.pth", &b"..."[..])])),
        case("an empty ZIP archive", "w.pth", &zip::<&str, &str>(&[])),
        case("a numpy archive", "w.npz", &zip(&[("fc.weight.npy", &b"\x93NUMPY"[..])])),
        case("a numpy array", "w.npy", &padded(b"\x93NUMPY\x01\0")),
        case("a Keras model", "w.keras", &zip(&[("config.json", &b"{}"[..]), ("model.weights.h5", b"")])),
        case("an HDF5 file", "w.h5", &padded(b"\x89HDF\r\n\x1a\n")),
        case("a TensorFlow model", "saved_model.pb", b"\x08\x01\x12\x20\x0a\x10abcdefghijklmnop"),
        case("a TensorFlow graph", "frozen.pb", b"\x0a\x0e\x0a\x05input\x12\x0bPlaceholder"),
        case("the index of a TensorFlow checkpoint", "model.ckpt.index", &[&[1u8; 40][..], b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"].concat()),
        case("a TensorFlow Lite model", "w.tflite", &padded(b"\x1c\0\0\0TFL3")),
        case("an ONNX model", "w.onnx", b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x10graph"),
        case("a Flax file", "flax_model.msgpack", b"\x81\xa6params\x81\xa5dense\x80"),
        case("the numbers of a TensorFlow checkpoint", "model.ckpt.data-00000-of-00001", b"\x12\x34\x9a\xbf\x00\x01\x02\x03\x04"),
        case("a GGUF file", "w.gguf", &padded(b"GGUF\x03\0\0\0")),
        case("a torch.package archive", "w.pt", &zip(&[("p/.data/extern_modules", &b""[..]), ("p/model/model.pkl", b"")])),
        case("a program of torch.export", "w.pt2", &zip(&[("p/models/model.json", &b"{}"[..])])),
        case("TorchScript before PyTorch 1.4", "w.pt", &zip(&[("p/model.json", &b"{}"[..]), ("p/tensors/0", b"")])),
        broken("a checkpoint that was not written to its end", "w.pth", &zip(&[("w/byteorder", &b"little"[..]), ("w/version", b"3")])),
        case("what macOS keeps beside a file", "._w.pth", &padded(b"\0\x05\x16\x07\0\x02\0\0")),
        case("an image", "w.png", &padded(b"\x89PNG\r\n\x1a\n")),
        case("a Git LFS pointer with line ends of Windows", "w.safetensors", b"version https://git-lfs.github.com/spec/v1\r\noid sha256:4d7a\r\nsize 46827520\r\n"),
        case("a Git LFS pointer behind a byte-order mark", "w.pth", b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n"),
        case("a Git LFS pointer with an extension", "w.pth", b"version https://git-lfs.github.com/spec/v1\next-0-crypt sha256:ab\noid sha256:4d7a\nsize 12\n"),
        case("a pointer of Git LFS's first year", "w.pth", b"version https://hawser.github.com/spec/v1\noid sha256:4d7a\nsize 46827520\n"),
        case("a Xet pointer", "w.safetensors", b"# xet version 0\nfilesize = 46827520\nhash = '4d7a'\n"),
        case("a DVC pointer", "w.pth.dvc", b"outs:\n- md5: 4d7a\n  size: 46827520\n  path: w.pth\n"),
        case("a page behind a byte-order mark", "w.pth", b"\xef\xbb\xbf<!DOCTYPE html><title>Quota exceeded</title>"),
        case("a page in UTF-16", "w.pth", &"\u{feff}<html><title>Sign in</title></html>".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()),
        case("a page behind a comment", "w.pth", b"<!-- saved from url=(0014) -->\n<HTML><head><TITLE>Sign in</TITLE></head></HTML>"),
        case("a page that is a script", "w.pth", b"<script>location.href = '/login'</script>"),
        case("a server's XML without a declaration", "w.pth", b"<Error><Code>NoSuchKey</Code></Error>"),
        case("a shortcut of Windows", "w.pth.lnk", &padded(b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F")),
        case("an address in place of the file", "w.pth", b"https://download.pytorch.org/models/resnet18-f37072fd.pth\n"),
        case("a file in base64", "w.pth", b"UEsDBAAACAgAAAAAAAAAAAAAAAAAAAAAAAANABUA\n"),
        case("a ZIP file without its first bytes", "w.pth", b"ebuild_tensor_v2\nq\x01\x00PK\x05\x06"),
        case("members without their folder", "w.pth", &zip(&[("data.pkl.txt", &b"N."[..]), ("version", b"3")])),
        case("safetensors in gzip", "w.safetensors.gz", &padded(b"\x1f\x8b\x08\x08")),
        (Wrong::NoWeights, "a folder", "weights", None),
    ]
}

pub(super) fn broken() -> Vec<Case> {
    let weights = Pickle::beside(|pickle| pickle);
    let zipped = checkpoint(&weights, &[("0", &floats(4))]);
    let old = legacy(&weights, &[("0", 4, &floats(4))]);
    let header = r#"{"fc.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    let of = |header: &str, data: usize| {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    };
    let altered = |file: &[u8], find: &[u8], to: &[u8]| {
        let at = file.windows(find.len()).position(|window| window == find).unwrap();
        let mut file = file.to_vec();
        file[at..at + to.len()].copy_from_slice(to);
        file
    };
    let case = |what, name, bytes: Vec<u8>| (Wrong::Broken, what, name, Some(bytes));
    let pickle = |body: &[u8]| checkpoint(&[&b"\x80\x02"[..], body].concat(), &[]);
    vec![
        case("safetensors cut in the header", "w.safetensors", of(header, 16)[..40].to_vec()),
        case("safetensors cut in the numbers", "w.safetensors", of(header, 9)),
        case("safetensors cut before the header", "w.safetensors", of(header, 16)[..5].to_vec()),
        case("safetensors with more behind it", "w.safetensors", of(header, 20)),
        case("a header that is no JSON", "w.safetensors", of("{\"fc.weight\":[", 0)),
        case(
            "a tensor of other bytes than its shape",
            "w.safetensors",
            of(&header.replace("[2,2]", "[2,3]"), 16),
        ),
        case(
            "tensors that overlap",
            "w.safetensors",
            of(&header.replace("}}", r#"},"b":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}}"#), 16),
        ),
        case(
            "a tensor that stands twice",
            "w.safetensors",
            of(
                &header.replace("}}", r#"},"fc.weight":{"dtype":"U8","shape":[0],"data_offsets":[16,16]}}"#),
                16,
            ),
        ),
        case(
            "a header of a length without sense",
            "w.safetensors",
            b"\xff\xff\xff\xff\xff\xff\xff\x7f{}".to_vec(),
        ),
        case("a ZIP archive without its end", "w.pth", zipped[..zipped.len() - 30].to_vec()),
        case("half of a ZIP archive", "w.safetensors", zipped[..zipped.len() / 2].to_vec()),
        case("a pickle that was altered", "w.pth", altered(&zipped, b"fc.weight", b"fc_weight")),
        case(
            "a pickle that was cut",
            "w.pth",
            checkpoint(&weights[..weights.len() - 20], &[("0", &floats(4))]),
        ),
        case("a pickle of other operations", "w.pth", pickle(b"}\x9f.")),
        case("a pickle that uses what is not there", "w.pth", pickle(b"h\x09.")),
        case("a pickle that sets a key in a number", "w.pth", pickle(b"K\x01K\x02K\x03s.")),
        case("two members of one name", "w.pth", zip(&[("c/data.pkl", &weights[..]), ("c/data.pkl", b"N.")])),
        case(
            "an unknown byte order",
            "w.pth",
            zip(&[("c/data.pkl", &weights[..]), ("c/byteorder", b"middle")]),
        ),
        case("a legacy file cut in the pickle", "w.pth", old[..120].to_vec()),
        case("a legacy file cut in a storage", "w.pth", old[..old.len() - 3].to_vec()),
        case("a legacy file without its storages", "w.pth", old[..old.len() - 24].to_vec()),
        case("a legacy storage of another length", "w.pth", legacy(&weights, &[("0", 3, &floats(4))])),
        case(
            "a legacy storage that stands twice",
            "w.pth",
            legacy(&weights, &[("0", 4, &floats(4)), ("0", 4, &floats(4))]),
        ),
        case("a legacy storage that nothing uses", "w.pth", legacy(&weights, &[("1", 4, &floats(4))])),
        (
            Wrong::Refused,
            "a legacy file of another version",
            "w.pth",
            Some(altered(&old, b"M\xe9\x03", b"M\xea\x03")),
        ),
        case("a ZIP archive copied as text", "w.pth", altered_as_text(&zipped)),
        case("a safetensors file of big-endian lengths", "w.safetensors", {
            let mut file = of(header, 16);
            file[..8].reverse();
            file
        }),
        case("a header of a list", "w.safetensors", of("[]", 0)),
        case("a header of a negative shape", "w.safetensors", of(&header.replace("[2,2]", "[-2,-2]"), 16)),
        case(
            "a header without a number format",
            "w.safetensors",
            of(&header.replace("\"dtype\":\"F32\",", ""), 16),
        ),
        case(
            "notes that are no texts",
            "w.safetensors",
            of(&header.replace("{\"fc", "{\"__metadata__\":{\"epoch\":3},\"fc"), 16),
        ),
        case("offsets in the wrong order", "w.safetensors", of(&header.replace("[0,16]", "[16,0]"), 16)),
        case(
            "a gap between two tensors",
            "w.safetensors",
            of(&header.replace("}}", r#"},"b":{"dtype":"U8","shape":[4],"data_offsets":[20,24]}}"#), 24),
        ),
        case("a cut pickle", "w.pkl", b"\x80\x04\x95\x20\0\0\0\0\0\0\0}\x8c\x09fc.we".to_vec()),
    ]
}

/// Every line feed with a carriage return before it.
fn altered_as_text(file: &[u8]) -> Vec<u8> {
    let mut altered = Vec::new();
    for &byte in [file, b"\n"].concat().iter() {
        if byte == b'\n' {
            altered.push(b'\r');
        }
        altered.push(byte);
    }
    altered
}

pub(super) fn refused() -> Vec<Case> {
    let weights = Pickle::beside(|pickle| pickle);
    let zipped = checkpoint(&weights, &[("0", &floats(4))]);
    let (start, central) = (0, zipped.windows(4).position(|window| window == b"PK\x01\x02").unwrap());
    let altered = |local: usize, entry: usize, value: u8| {
        let mut file = zipped.clone();
        (file[start + local], file[central + entry]) = (value, value);
        file
    };
    let doubled = (1..60u8).fold(Pickle::new().op(b"]q\x00"), |p, i| {
        p.op(b"0](").op(&[b'h', i - 1, b'h', i - 1, b'e', b'q', i])
    });
    let case = |what, bytes: Vec<u8>| (Wrong::Refused, what, "w.pth", Some(bytes));
    vec![
        case(
            "pickle protocol 0",
            legacy(
                b"}K\0P('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 4)\ns.",
                &[("0", 4, &floats(4))],
            ),
        ),
        case("a compressed member", altered(8, 10, 8)),
        case("an encrypted member", altered(6, 8, 1)),
        case("2⁶⁰ paths to one list", checkpoint(&doubled.end(), &[])),
        case("two million lists", checkpoint(&Pickle::new().op(&b"]".repeat(2 << 20)).end(), &[])),
    ]
}

pub(super) fn in_part() -> Vec<Case> {
    let case = |what, name, bytes: Vec<u8>| (Wrong::InPart, what, name, Some(bytes));
    let beside = |add: fn(Pickle) -> Pickle| {
        checkpoint(&Pickle::beside(|pickle| add(pickle.text("x"))), &[("0", &floats(4))])
    };
    let fixture = |name: &str| {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "data", name].iter().collect();
        std::fs::read(path).unwrap()
    };
    vec![
        case("a checkpoint named .safetensors", "w.safetensors", beside(|p| p.int(1))),
        case("safetensors named .pth", "w.pth", {
            let header = r#"{"fc.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &floats(4)].concat()
        }),
        case("a number format of the future", "w.safetensors", {
            let header = r#"{"fc.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"x":{"dtype":"F128","shape":[1],"data_offsets":[16,32]}}"#;
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 32]].concat()
        }),
        case("bytes behind the end", "w.pth", [&beside(|p| p.int(1))[..], b"\n"].concat()),
        case("an archive twice in a file", "w.pth", beside(|p| p.int(1)).repeat(2)),
        case("a module of torch.compile", "w.pth", {
            let inner = |p: Pickle| {
                p.object("torch.nn.modules.linear", "Linear", b"}(")
                    .text("_parameters")
                    .op(b"}(")
                    .text("weight")
                    .tensor(4, 0, &[2, 2], &[2, 1])
                    .op(b"u")
                    .text("_modules")
                    .op(b"}ub")
            };
            let compiled = Pickle::new().global("torch._dynamo.eval_frame", "OptimizedModule").op(b"(");
            checkpoint(&inner(compiled).op(b"NtR").end(), &[("0", &floats(4))])
        }),
        case("protocol 0 in a ZIP file", "w.pth", {
            let pickle = b"(dS'fc.weight'\nctorch._utils\n_rebuild_tensor_v2\n(P('storage', 'FloatStorage', '0', 'cpu', 4)\nI0\n(I2\nI2\nt(I2\nI1\ntI00\nNtRs.";
            checkpoint(pickle, &[("0", &floats(4))])
        }),
        case(
            "a subclass of OrderedDict",
            "w.pth",
            beside(|p| p.object("history", "History", b"(").text("loss").op(b"K\x01u}b")),
        ),
        case("a named tuple", "w.pth", beside(|p| p.global("metrics", "Score").op(b"K\x01K\x02\x86\x81"))),
        case(
            "numpy's numbers",
            "w.pth",
            beside(|p| {
                p.global("numpy._core.multiarray", "scalar")
                    .op(b"(")
                    .global("numpy", "dtype")
                    .op(b"(")
                    .text("f8")
                    .op(b"\x89\x88tRU\x08\0\0\0\0\0\0\xe0?tR")
            }),
        ),
        case(
            "a partial function",
            "w.pth",
            beside(|p| p.global("functools", "partial").op(b"(").global("torch", "add").op(b"tR")),
        ),
        case(
            "an abstract parameter",
            "w.pth",
            beside(|p| p.global("torch.nn.parameter", "UninitializedParameter").op(b")\x81")),
        ),
        case("numbers of an unknown width", "w.safetensors", {
            let header = r#"{"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}}"#;
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat()
        }),
        case("objects of 25 classes", "objects.pth", fixture("objects.pth")),
        case("a whole module", "module.pth", fixture("module.pth")),
        case("a module in DataParallel, before 1.6", "module.pth", fixture("module_legacy.pth")),
        case("TorchScript", "script.pt", fixture("script.pt")),
        case("a class of a program", "w.pth", beside(|p| p.object("trainer.config", "Config", b"}b"))),
        case("a call", "w.pth", beside(|p| p.global("os", "system").op(b"(").text("rm -rf /").op(b"tR"))),
        case("a class of copyreg's registry", "w.pth", beside(|p| p.op(b"\x82\x07)R"))),
        case("a negative stride", "w.pth", beside(|p| p.tensor(4, 0, &[2], &[-1]))),
        case("an overflowing stride", "w.pth", beside(|p| p.tensor(4, 0, &[2, 2], &[i64::MAX, 1]))),
        case("an overflowing shape", "w.pth", beside(|p| p.tensor(4, 0, &[1 << 40, 1 << 40], &[0, 0]))),
        case("a negative axis", "w.pth", beside(|p| p.tensor(4, 0, &[-2], &[1]))),
        case("a negative offset", "w.pth", beside(|p| p.tensor(4, -1, &[2], &[1]))),
        case("a view beyond its storage", "w.pth", beside(|p| p.tensor(4, 3, &[2], &[1]))),
        case("more strides than axes", "w.pth", beside(|p| p.tensor(4, 0, &[2], &[1, 1]))),
        case(
            "a tensor that is changed after it is made",
            "w.pth",
            beside(|p| p.tensor(4, 0, &[2], &[1]).op(b"K\0G\0\0\0\0\0\0\0\0s")),
        ),
        case(
            "a storage of an unknown class",
            "w.pth",
            beside(|p| {
                p.global("torch._utils", "_rebuild_tensor_v2")
                    .op(b"(")
                    .storage("Float4Storage", "0", 4)
                    .int(0)
                    .ints(&[2])
                    .ints(&[1])
                    .op(b"\x89NtR")
            }),
        ),
        case(
            "a tensor of pickle.dump",
            "w.pth",
            beside(|p| {
                let storage = p
                    .global("torch._utils", "_rebuild_tensor_v2")
                    .op(b"(")
                    .global("torch.storage", "_load_from_bytes")
                    .op(b")R");
                storage.int(0).ints(&[2]).ints(&[1]).op(b"\x89NtR")
            }),
        ),
        case(
            "two tensors of one name",
            "w.pth",
            beside(|p| p.int(0).text("fc").op(b"}").text("bias").tensor(4, 0, &[2], &[1]).op(b"s")),
        ),
        case("a view much larger than its file", "w.pth", beside(|p| p.tensor(4, 0, &[1 << 30], &[0]))),
        case("a storage that is not in the file", "w.pth", checkpoint(&Pickle::beside(|p| p), &[])),
        case(
            "a storage of another length",
            "w.pth",
            checkpoint(&Pickle::beside(|p| p), &[("0", &floats(3))]),
        ),
        case("numbers that were altered", "w.pth", {
            let mut file = beside(|p| p.int(0));
            let at = file.windows(16).position(|window| window == floats(4)).unwrap();
            file[at + 1] ^= 0x40;
            file
        }),
        case(
            "a pickle without tensors",
            "w.pkl",
            b"(dp0\nS'lr'\np1\nF0.1\nsS'c'\nccollections\ndeque\n((lp2\ntRs.".to_vec(),
        ),
    ]
}

pub(super) fn misfit() -> Vec<Case> {
    let case = |what, bytes: Vec<u8>| (Wrong::Misfit, what, "w.pth", Some(bytes));
    let only = |pickle: Pickle| checkpoint(&pickle.op(b"u").end(), &[("0", &floats(6))]);
    let start = || Pickle::new().op(b"}(").text("fc.weight");
    vec![
        case(
            "a classifier for 3 classes",
            only(start().tensor(6, 0, &[3, 2], &[2, 1]).text("fc.bias").tensor(6, 0, &[3], &[1])),
        ),
        case("a tensor is missing", only(start().tensor(6, 0, &[2, 2], &[2, 1]))),
        case(
            "a tensor is there in another form",
            only(start().tensor(6, 0, &[2, 2], &[2, 1]).text("fc.bias").object("numpy", "ndarray", b"")),
        ),
        case(
            "a tensor too many",
            only(
                start()
                    .tensor(6, 0, &[2, 2], &[2, 1])
                    .text("fc.bias")
                    .tensor(6, 0, &[2], &[1])
                    .text("fc.extra")
                    .tensor(6, 0, &[2], &[1]),
            ),
        ),
        case(
            "the weights are inside an object",
            only(
                Pickle::new()
                    .op(b"}(")
                    .text("loss")
                    .tensor(6, 0, &[2], &[1])
                    .text("learner")
                    .object("fastai", "Learner", b"}b"),
            ),
        ),
        case("other names", only(Pickle::new().op(b"}(").text("linear.w").tensor(6, 0, &[2, 2], &[2, 1]))),
        case(
            "no tensors",
            only(Pickle::new().op(b"}(").text("model").object("numpy", "ndarray", b"").text("args").object(
                "argparse",
                "Namespace",
                b"",
            )),
        ),
    ]
}
