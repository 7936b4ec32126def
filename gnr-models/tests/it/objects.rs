//! Checkpoints with any object beside, around or in place of the weights: the weights are taken, the rest is listed.
//!
//! The files of `tests/data` are written by `make.py` there, with the numbers that PyTorch gives in `expected.json`.

use std::{collections::BTreeMap, path::PathBuf};

use gnr_models::weights::{self, Format, NonFinite, Options, Policy, Purpose, WeightFile, WeightsError};
use gnr_nn::{Init, Layout};
use serde_json::Value;

use crate::support::{Pickle, checkpoint, floats, legacy};

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", name].iter().collect()
}

fn open(name: &str) -> WeightFile {
    WeightFile::open(&data(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn memory(bytes: Vec<u8>) -> WeightFile {
    WeightFile::from_bytes("memory", bytes).unwrap_or_else(|error| panic!("{error}"))
}

/// fc of 2 inputs and 2 outputs.
fn layout() -> Layout {
    let mut layout = Layout::new();
    let mut root = layout.root();
    let mut fc = root.enter("fc");
    fc.parameter("weight", &[2, 2], Init::Constant(0.0));
    fc.parameter("bias", &[2], Init::Constant(0.0));
    layout
}

/// What every object of `objects*.pth` is listed as; plain data is not.
const LISTED: [(&str, &str); 25] = [
    ("addict", "addict.addict.Dict"),
    ("array", "numpy.ndarray"),
    ("class", "torch.nn.modules.linear.Linear, a class or function"),
    ("complex", "a tensor of complex numbers"),
    ("counter", "collections.Counter"),
    ("date", "datetime.datetime"),
    ("defaultdict", "collections.defaultdict"),
    ("deque", "collections.deque"),
    ("easydict", "easydict.EasyDict"),
    ("enum", "__main__.Colour"),
    ("function", "torch.nn.functional.relu, a class or function"),
    ("loss", "torch.nn.modules.loss.CrossEntropyLoss"),
    ("namedtuple", "__main__.Pair"),
    ("namespace", "argparse.Namespace"),
    ("optimizer", "torch.optim.adam.Adam"),
    ("partial", "functools.partial"),
    ("path", "pathlib.PurePosixPath"),
    ("plain", "__main__.Plain"),
    ("quantised", "a quantised tensor, torch._utils._rebuild_qtensor"),
    ("scalar", "numpy._core.multiarray.scalar"),
    ("sparse", "a sparse tensor, torch._utils._rebuild_sparse_tensor"),
    ("storage", "a storage without a tensor"),
    ("subdict", "__main__.SubDict"),
    ("sublist", "__main__.SubList"),
    ("yacs", "yacs.config.CfgNode"),
];

#[test]
fn every_object_beside_the_weights_is_listed_and_the_weights_are_taken() {
    let listed: Vec<_> = LISTED.iter().map(|(path, class)| format!("{path}: {class}")).collect();
    for name in ["objects.pth", "objects_legacy.pth", "objects_protocol3.pth", "objects_protocol5.pth"] {
        let file = open(name);
        assert_eq!(file.foreign(), listed, "{name}");
        let loaded = weights::load(&data(name), &layout(), NonFinite::Reject).unwrap();
        assert_eq!(loaded.values, [vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0]], "{name}");
        assert_eq!((loaded.report.prefix.as_str(), loaded.report.elsewhere), ("model.", 0), "{name}");
        assert_eq!(loaded.report.foreign, listed, "the report has the whole list");
        let options = Options { key: Some("model".into()), ..Options::default() };
        let elsewhere = Options { key: Some("yacs".into()), ..Options::default() };
        let error =
            weights::fit(&file, &layout(), layout().initialise(0), &elsewhere).unwrap_err().to_string();
        assert!(
            error.ends_with("top-level names are `model`; not read: yacs: yacs.config.CfgNode"),
            "{error}"
        );
        let keyed = weights::fit(&file, &layout(), layout().initialise(0), &options).unwrap();
        assert_eq!(keyed.values, loaded.values);
    }
}

/// Every tensor of every file as PyTorch gives it.
#[test]
fn tensors_are_what_pytorch_gives() {
    let text = std::fs::read_to_string(data("expected.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&text).unwrap();
    assert!(expected.len() >= 12);
    for (name, tensors) in &expected {
        let file = open(name);
        let found: Vec<_> = file.stored().iter().map(|tensor| tensor.name.as_str()).collect();
        let mut names: Vec<_> = tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut sorted = found.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, names, "{name}");
        for tensor in file.stored() {
            let expected = &tensors[&tensor.name];
            let shape: Vec<_> = expected["shape"]
                .as_array()
                .unwrap()
                .iter()
                .map(|axis| axis.as_u64().unwrap() as usize)
                .collect();
            assert_eq!(tensor.shape, shape, "{name}: {}", tensor.name);
            let values: Vec<f64> = (expected["values"].as_array().unwrap().iter())
                .map(|value| value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap()))
                .collect();
            let place = format!("{name}: {}", tensor.name);
            match file.values(tensor) {
                Ok(found) => {
                    let same =
                        |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                    assert!(
                        found.len() == values.len() && found.iter().zip(&values).all(same),
                        "{place}: {found:?}"
                    );
                }
                // Whole numbers are no weights, but their sum is shown.
                Err(WeightsError::NumberFormat { .. }) => {
                    let float8 = expected["dtype"].as_str().unwrap().starts_with("float8");
                    let sum = file.fingerprint(tensor).unwrap().0;
                    assert_eq!(sum, (!float8).then(|| values.iter().sum()), "{place}");
                }
                Err(error) => panic!("{place}: {error}"),
            }
        }
    }
}

#[test]
fn dictionaries_of_any_class_are_read_for_their_tensors() {
    let file = open("subclasses.pth");
    assert_eq!(file.foreign(), ["cfg: yacs.config.CfgNode"]);
    // An object's attributes are read where there is nothing else.
    let file = open("holder.pth");
    assert_eq!(file.foreign(), ["(the file itself): argparse.Namespace"]);
    assert_eq!(file.stored().len(), 2);
}

#[test]
fn whole_modules_are_read_as_their_state_dict() {
    let told = ", a module: its tensors were read, its code was not";
    assert_eq!(open("module.pth").foreign(), [format!("(the file itself): __main__.Net{told}")]);
    let file = open("module_legacy.pth");
    assert_eq!(file.format(), Format::TorchLegacy);
    assert_eq!(file.foreign(), [format!("net: torch.nn.parallel.data_parallel.DataParallel{told}")]);
    assert_eq!(open("script.pt").format(), Format::TorchScript);
}

/// A file that is no tensors at all says what it has.
#[test]
fn a_file_without_tensors_says_what_it_has() {
    let pickle = Pickle::new().op(b"}").text("w").object("numpy", "ndarray", b"").op(b"s").end();
    let file = memory(checkpoint(&pickle, &[]));
    let error = weights::fit(&file, &layout(), layout().initialise(0), &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory: no tensor fits the model: it has no tensor at all, but w: numpy.ndarray, the model `fc.weight` [2, 2], `fc.bias` [2]"
    );
}

#[test]
fn nothing_to_convert_is_told() {
    let pickle = Pickle::new().op(b"}").text("w").object("numpy", "ndarray", b"").op(b"s").end();
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("out.safetensors");
    let error = weights::convert(&memory(checkpoint(&pickle, &[])), None, None, &to).unwrap_err().to_string();
    assert_eq!(error, "memory: holds no tensor that can be read; not read: w: numpy.ndarray");
    assert!(!to.exists());
}

/// Of a model's tensor that the file has in another form, the form is told.
#[test]
fn a_tensor_that_cannot_be_read_is_named_where_it_is_missed() {
    let bad = |pickle: Pickle| pickle.text("head.weight").tensor(4, 0, &[2], &[-1]);
    let file = memory(checkpoint(&Pickle::beside(bad), &[("0", &floats(4))]));
    let mut layout = layout();
    layout.root().enter("head").parameter("weight", &[2], Init::Constant(0.0));
    let error = weights::fit(&file, &layout, layout.initialise(0), &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory: tensor `head.weight` is missing; the file has something else there, head.weight: a tensor with a stride of -1, which PyTorch refuses"
    );
}

/// Each is refused by name; the weights beside them are taken.
#[test]
fn views_that_lead_nowhere_are_refused_by_name() {
    type Add = fn(Pickle) -> Pickle;
    let cases: [(Add, &str); 12] = [
        (|p| p.tensor(4, 0, &[2], &[-1]), "a stride of -1"),
        (|p| p.tensor(4, -1, &[2], &[1]), "a negative offset"),
        (|p| p.tensor(4, 0, &[-2], &[1]), "an axis of -2"),
        (|p| p.tensor(4, 3, &[2], &[1]), "leads outside its storage of 4 elements"),
        (|p| p.tensor(4, 0, &[2, 2], &[1]), "of shape [2, 2] with strides [1]"),
        (|p| p.tensor(4, 0, &[2, 2], &[i64::MAX, 1]), "more than 64 bits can count"),
        (|p| p.tensor(4, 0, &[1 << 40, 1 << 40], &[0, 0]), "more than 64 bits can count"),
        (|p| p.tensor(4, i64::MAX, &[1], &[1]), "more than 64 bits can count"),
        (|p| p.tensor(4, 0, &[1; 65], &[1; 65]), "without a shape"),
        (|p| p.tensor(4, 0, &[2], &[1]).op(b"}b"), "changed after"),
        (|p| p.tensor(4, 0, &[2], &[1]).op(b"K\0G\0\0\0\0\0\0\0\0s"), "changed after"),
        (
            |p| {
                p.global("torch._utils", "_rebuild_tensor_v2")
                    .op(b"(")
                    .text("s")
                    .int(0)
                    .ints(&[1])
                    .ints(&[1])
                    .op(b"\x89NtR")
            },
            "without a storage",
        ),
    ];
    for (add, expected) in cases {
        let pickle = Pickle::beside(|pickle| add(pickle.text("x")));
        for bytes in [checkpoint(&pickle, &[("0", &floats(4))]), legacy(&pickle, &[("0", 4, &floats(4))])] {
            let file = memory(bytes);
            let [line] = file.foreign() else { panic!("{expected}: {:?}", file.foreign()) };
            assert!(line.starts_with("x: a tensor") && line.contains(expected), "{line}");
            let loaded = weights::fit(&file, &layout(), layout().initialise(0), &Options::default()).unwrap();
            assert_eq!(loaded.values, [vec![1.0, 2.0, 3.0, 4.0], vec![3.0, 4.0]]);
        }
    }
}

/// Bits beside a tensor's numbers.
#[test]
fn conjugates_are_refused_and_negated_views_turn_the_sign() {
    let view = |bit: &str| {
        let start = |p: Pickle| p.text("x").global("torch._utils", "_rebuild_tensor_v2").op(b"(");
        let pickle = Pickle::beside(|p| {
            let tensor = start(p).storage("FloatStorage", "0", 4).int(0).ints(&[2]).ints(&[1]).op(b"\x89N}");
            tensor.text(bit).op(b"\x88stR")
        });
        memory(checkpoint(&pickle, &[("0", &floats(4))]))
    };
    let file = view("neg");
    let x = file.stored().iter().find(|tensor| tensor.name == "x").unwrap();
    assert_eq!(file.values(x).unwrap(), [-1.0, -2.0]);
    assert_eq!(view("conj").foreign(), ["x: a tensor with the property conj"]);
    assert_eq!(view("later").foreign(), ["x: a tensor with the property later"]);
}

#[test]
fn numbers_of_the_other_byte_order_are_turned() {
    let pickle = Pickle::beside(|pickle| pickle);
    let big: Vec<u8> = (1..=4u16).flat_map(|number| f32::from(number).to_be_bytes()).collect();
    let members = [("c/data.pkl", &pickle[..]), ("c/byteorder", b"big"), ("c/data/0", &big)];
    let file = memory(crate::support::zip(&members));
    let loaded = weights::fit(&file, &layout(), layout().initialise(0), &Options::default()).unwrap();
    assert_eq!(loaded.values[0], [1.0, 2.0, 3.0, 4.0]);
}

/// A pickle longer than what is read of a file at first, in both formats and from disk.
#[test]
fn long_pickles_are_read_whole() {
    let long = "configuration ".repeat(200_000);
    let pickle = Pickle::beside(|p| p.text("note").text(&long));
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("zip.pth", checkpoint(&pickle, &[("0", &floats(4))])),
        ("legacy.pth", legacy(&pickle, &[("0", 4, &floats(4))])),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let loaded = weights::load(&path, &layout(), NonFinite::Reject).unwrap();
        assert_eq!(loaded.values, [vec![1.0, 2.0, 3.0, 4.0], vec![3.0, 4.0]], "{name}");
        // Cut in the pickle.
        std::fs::write(&path, &bytes[..2_000_000]).unwrap();
        let error = WeightFile::open(&path).unwrap_err();
        assert!(matches!(error, WeightsError::Incomplete { .. }), "{error}");
    }
}

/// What training leaves beside small weights: lists of numbers, and thousands of tensors of one number.
#[test]
fn files_of_many_small_parts_are_read() {
    let history = |p: Pickle| {
        let start = p.text("history").op(b"](");
        (0..300_000i32).fold(start, |p, i| p.op(b"J").op(&(i - 150_000).to_le_bytes())).op(b"e")
    };
    let file = memory(checkpoint(&Pickle::beside(history), &[("0", &floats(4))]));
    assert_eq!((file.stored().len(), file.foreign().len()), (2, 0));
    let mut pickle = Pickle::new().op(b"}(");
    let keys: Vec<String> = (0..8000).map(|i| i.to_string()).collect();
    for key in &keys {
        let tensor =
            pickle.text(&format!("optimizer.state.{key}.step")).global("torch._utils", "_rebuild_tensor_v2");
        let tensor = tensor.op(b"(").storage("FloatStorage", key, 1).int(0).ints(&[]).ints(&[]);
        pickle = tensor.op(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    let one = floats(1);
    let storages: Vec<_> = keys.iter().map(|key| (key.as_str(), &one[..])).collect();
    assert_eq!(memory(checkpoint(&pickle.op(b"u").end(), &storages)).stored().len(), 8000);
}

/// Of equal keys the last one counts, as in Python; of two paths to one name none does.
#[test]
fn names_that_stand_twice() {
    let twice = |p: Pickle| p.text("fc.bias").tensor(4, 0, &[2], &[1]);
    let file = memory(checkpoint(&Pickle::beside(twice), &[("0", &floats(4))]));
    let loaded = weights::fit(&file, &layout(), layout().initialise(0), &Options::default()).unwrap();
    assert_eq!(loaded.values[1], [1.0, 2.0]);
    // A text and a number.
    let both = |p: Pickle| {
        p.text("x").op(b"}(").text("1").tensor(4, 0, &[1], &[1]).int(1).tensor(4, 1, &[1], &[1]).op(b"u")
    };
    let file = memory(checkpoint(&Pickle::beside(both), &[("0", &floats(4))]));
    assert_eq!(file.foreign(), ["x.1: two tensors of one name"]);
    let nested = |p: Pickle| p.text("fc").op(b"}").text("bias").tensor(4, 0, &[2], &[1]).op(b"s");
    let file = memory(checkpoint(&Pickle::beside(nested), &[("0", &floats(4))]));
    assert_eq!(file.foreign(), ["fc.bias: two tensors of one name"]);
    let error = weights::fit(&file, &layout(), layout().initialise(0), &Options::default()).unwrap_err();
    assert!(matches!(error, WeightsError::Missing { .. }), "{error}");
}

/// Containers that hold themselves or share their parts have endlessly many paths.
#[test]
fn structures_without_end_come_to_one() {
    // A list in itself, a dictionary in itself.
    let itself = |p: Pickle| {
        let list = p.text("list").op(b"]q\x01h\x01a");
        list.text("dict").op(b"}q\x02").text("me").op(b"h\x02s")
    };
    let file = memory(checkpoint(&Pickle::beside(itself), &[("0", &floats(4))]));
    assert_eq!((file.stored().len(), file.foreign().len()), (2, 0));
    // Each of 60 lists holds the one before twice: 2⁶⁰ paths.
    let doubled = |p: Pickle| {
        let first = p.text("lists").op(b"]q\x00");
        (1..60u8).fold(first, |p, i| p.op(b"0](").op(&[b'h', i - 1, b'h', i - 1, b'e', b'q', i]))
    };
    let error = WeightFile::from_bytes("doubled", checkpoint(&Pickle::beside(doubled), &[("0", &floats(4))]))
        .unwrap_err();
    assert!(error.to_string().contains("lists more objects than its"), "{error}");
    // 1000 lists in each other.
    let deep = |p: Pickle| p.text("deep").op(&b"]".repeat(1000)).op(&b"a".repeat(999));
    let file = memory(checkpoint(&Pickle::beside(deep), &[("0", &floats(4))]));
    assert_eq!(file.stored().len(), 2);
    assert!(file.foreign()[0].ends_with("objects inside more than 128 others"), "{:?}", file.foreign());
}

/// However deep, on a small stack.
#[test]
fn deep_structures_need_little_stack() {
    let modules = |p: Pickle| {
        let open = |p: Pickle| {
            p.text("m").global("a", "B").op(b")\x81}").text("_parameters").op(b"}s").text("_modules").op(b"}")
        };
        let opened = (0..400).fold(p, |p, _| open(p));
        (0..400).fold(opened.text("m").int(1), |p, _| p.op(b"ssb"))
    };
    let dictionaries = |p: Pickle| {
        let opened = (0..400).fold(p.text("d").op(b"}"), |p, _| p.text("d").global("a", "B").op(b")\x81"));
        (0..400).fold(opened, |p, _| p.op(b"s"))
    };
    let files = [
        checkpoint(
            &Pickle::new().op(b"}").text("w").tensor(4, 0, &[1], &[1]).op(b"s.").0,
            &[("0", &floats(4))],
        ),
        checkpoint(&Pickle::beside(modules), &[("0", &floats(4))]),
        checkpoint(&Pickle::beside(dictionaries), &[("0", &floats(4))]),
    ];
    let read =
        move || files.map(|bytes| WeightFile::from_bytes("deep", bytes).map(|file| file.stored().len()));
    let read = std::thread::Builder::new().stack_size(256 << 10).spawn(read).unwrap().join().unwrap();
    assert!(matches!(read, [Ok(1), Ok(2), Ok(2)]), "{read:?}");
}

/// Nothing of the file is called: this would remove a folder.
#[test]
fn calls_are_listed() {
    let call = |p: Pickle| p.text("x").global("os", "system").op(b"(").text("rm -rf build").op(b"tR");
    let file = memory(checkpoint(&Pickle::beside(call), &[("0", &floats(4))]));
    assert_eq!(file.foreign(), ["x: os.system"]);
    // The method of a class is called.
    let method = |p: Pickle| {
        let method = p
            .text("x")
            .global("builtins", "getattr")
            .op(b"(")
            .global("zoneinfo", "ZoneInfo")
            .text("_unpickle");
        method.op(b"tR(").text("UTC").op(b"tR")
    };
    let file = memory(checkpoint(&Pickle::beside(method), &[("0", &floats(4))]));
    assert_eq!(file.foreign(), ["x: zoneinfo.ZoneInfo"]);
    let registry = |p: Pickle| p.text("x").op(b"\x82\x07)R");
    let file = memory(checkpoint(&Pickle::beside(registry), &[("0", &floats(4))]));
    assert_eq!(file.foreign(), ["x: class 7 of copyreg's registry"]);
}

/// States that no program of today writes cost the object, not the file.
#[test]
fn states_of_classes_and_second_states() {
    let odd = |p: Pickle| {
        let class = p.text("class").global("a", "B").op(b"}b");
        let twice = class
            .text("twice")
            .object("a", "B", b"}")
            .text("_parameters")
            .op(b"}s")
            .text("_modules")
            .op(b"}sb}b");
        twice.text("setter").object("a", "B", b"q\x07ca\nset\nh\x07}\x86R0")
    };
    let file = memory(checkpoint(&Pickle::beside(odd), &[("0", &floats(4))]));
    assert_eq!(file.foreign(), ["class: a.B, a class or function", "setter: a.B", "twice: a.B"]);
    assert_eq!(file.stored().len(), 2);
}

/// Wrappers that training puts inside names.
#[test]
fn wrappers_inside_names_are_taken_off_and_told() {
    let names = |weight: &str, bias: &str| {
        let pickle = Pickle::new().op(b"}(").text(weight).tensor(4, 0, &[2, 2], &[2, 1]);
        memory(checkpoint(&pickle.text(bias).tensor(4, 2, &[2], &[1]).op(b"u").end(), &[("0", &floats(4))]))
    };
    let cases = [
        ("fc._orig_mod.weight", "fc._orig_mod.bias", "", vec![("_orig_mod", 2)]),
        ("_orig_mod.fc.weight", "_orig_mod.fc.bias", "_orig_mod.", vec![]),
        (
            "fc._fsdp_wrapped_module._checkpoint_wrapped_module.weight",
            "fc.bias",
            "",
            vec![("_checkpoint_wrapped_module", 1), ("_fsdp_wrapped_module", 1)],
        ),
        ("model.module.fc.module.weight", "model.module.fc.bias", "model.module.", vec![("module", 1)]),
        (
            "net.backbone.fc.weight",
            "net.backbone.fc._orig_mod.module.bias",
            "net.backbone.",
            vec![("_orig_mod", 1), ("module", 1)],
        ),
    ];
    for (weight, bias, prefix, taken_off) in cases {
        let file = names(weight, bias);
        let loaded = weights::fit(&file, &layout(), layout().initialise(0), &Options::default()).unwrap();
        assert_eq!(loaded.values, [vec![1.0, 2.0, 3.0, 4.0], vec![3.0, 4.0]], "{weight}");
        let report = loaded.report;
        assert_eq!(report.prefix, prefix, "{weight}");
        let expected: BTreeMap<_, _> =
            taken_off.iter().map(|&(part, count)| (part.to_owned(), count)).collect();
        assert_eq!(report.unwrapped, expected, "{weight}");
        for (part, count) in taken_off {
            assert!(report.lines()[0].contains(&format!("`{part}` taken off {count} names")), "{report}");
        }
    }
    // Without a model, too, where the names stay apart.
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("plain.safetensors");
    let converted =
        weights::convert(&names("model.fc._orig_mod.weight", "model.fc._orig_mod.bias"), None, None, &to)
            .unwrap();
    assert_eq!((converted.prefix.as_str(), converted.unwrapped["_orig_mod"]), ("model.", 2));
    assert!(weights::load(&to, &layout(), NonFinite::Reject).is_ok());
    let converted = weights::convert(&names("fc._orig_mod.weight", "fc.weight"), None, None, &to).unwrap();
    assert!(converted.unwrapped.is_empty(), "both names stay");
}

/// Another number of classes is what most such files differ in.
#[test]
fn a_classifier_of_another_shape_says_how_to_go_on() {
    let mut layout = Layout::new();
    let mut root = layout.root();
    root.enter("fc").parameter("weight", &[2, 2], Init::Constant(0.0));
    root.enter("fc").parameter("bias", &[3], Init::Constant(0.0));
    let file = memory(checkpoint(&Pickle::beside(|p| p), &[("0", &floats(4))]));
    let fit = |policy| {
        weights::fit(&file, &layout, layout.initialise(0), &Options { policy, ..Options::default() })
    };
    let error = fit(Policy::All).unwrap_err().to_string();
    assert_eq!(layout.head(), "fc");
    assert!(error.contains("`fc.bias` has shape [2], the model's has [3]"), "{error}");
    assert!(error.ends_with("set load = \"new-head\" (--set model.load=new-head)"), "{error}");
    // An evaluation cannot learn a classifier.
    let options = Options { purpose: Purpose::Evaluation, ..Options::default() };
    let error = weights::fit(&file, &layout, layout.initialise(0), &options).unwrap_err().to_string();
    assert!(error.ends_with("name the data's classes among the file's with --class-map"), "{error}");
}
