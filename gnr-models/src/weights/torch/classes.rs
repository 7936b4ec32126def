//! Classes that a checkpoint may name: plain data, and calls that stand for an object of another class.

use super::tensor;
use gnr_pickle::{Id, Object, Pickle};

/// Module of TorchScript's typed lists and type annotations: calls whose argument is the plain value.
const SCRIPTED: &str = "torch.jit._pickle.";

/// The class of a module from `torch.compile`: a call with the module and how it was compiled.
pub(super) const COMPILED: &str = "torch._dynamo.eval_frame.OptimizedModule";

/// Whether a class is plain data, which reports do not list.
pub(super) fn is_plain(class: &str) -> bool {
    const BUILTIN: [&str; 17] = [
        "dict",
        "list",
        "tuple",
        "set",
        "frozenset",
        "bytearray",
        "bytes",
        "complex",
        "range",
        "slice",
        "int",
        "float",
        "str",
        "bool",
        "long",
        "unicode",
        "xrange",
    ];
    match class.strip_prefix("builtins.").or_else(|| class.strip_prefix("__builtin__.")) {
        Some(name) => BUILTIN.contains(&name),
        None => {
            let others = [
                "collections.OrderedDict",
                "torch.Size",
                "torch.device",
                "torch.serialization._get_layout",
                "_codecs.encode",
            ];
            others.contains(&class) || class.starts_with(SCRIPTED)
        }
    }
}

/// The class of an object, and the plain value that it was made of, if the call has it.
pub(super) fn class(pickle: &Pickle<'_>, object: &Object) -> (String, Option<Id>) {
    let class = tensor::class(pickle, object.callable);
    let arguments = pickle.items(object.arguments).unwrap_or_default();
    match (class.as_str(), arguments) {
        // Arguments in protocols 0 and 1: the class, the plain class that it derives from, and the plain value.
        ("copy_reg._reconstructor" | "copyreg._reconstructor", &[class, _base, value]) => {
            (tensor::class(pickle, class), Some(value))
        }
        ("copy_reg.__newobj__" | "copyreg.__newobj__", &[class, ..]) => (tensor::class(pickle, class), None),
        (function, _) if function.starts_with("numpy.") && function.ends_with("._frombuffer") => {
            ("numpy.ndarray".to_owned(), None)
        }
        // numpy makes an array by this call, whose first argument is the class.
        (_, &[array, ..]) if class.ends_with("multiarray._reconstruct") => {
            (tensor::class(pickle, array), None)
        }
        // The call gets a member of an enumeration, or a method.
        ("builtins.getattr" | "__builtin__.getattr", &[owner, ..]) => (tensor::class(pickle, owner), None),
        ("collections.OrderedDict" | "collections.Counter" | "collections.deque", &[value, ..]) => {
            (class, Some(value))
        }
        ("collections.defaultdict", &[_factory, value, ..]) => (class, Some(value)),
        (COMPILED, &[module, ..]) => (class, Some(module)),
        _ if class.contains("builtin") || class.starts_with(SCRIPTED) => (class, arguments.first().copied()),
        _ => (class, None),
    }
}
