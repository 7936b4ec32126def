//! Tensors of a PyTorch pickle. The calls that rebuild them are read as descriptions.

use gnr_pickle::{Global, Id, Object, Pickle, View};
use safetensors::Dtype;

use super::storage::{Kind, Reference, Storage, unsigned};
use crate::weights::header::AXES;

/// A view of a storage.
#[derive(Clone, Debug)]
pub(in crate::weights) struct Tensor {
    pub(super) storage: Storage,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Number of elements from one index of an axis to the next.
    pub(super) strides: Vec<u64>,
    /// Index of the first element.
    pub(super) offset: u64,
    /// Whether PyTorch shows the numbers with the other sign (the imaginary part of a conjugate).
    pub(super) negated: bool,
}

impl Tensor {
    /// Number of elements; 0 when an axis has none.
    pub(super) fn len(&self) -> u64 {
        self.shape.iter().map(|&axis| axis as u64).product()
    }

    /// Whether the elements follow one another in row-major order.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&axis, &stride)| {
            let fits = axis == 1 || stride == expected;
            expected *= axis as u64;
            fits
        })
    }

    /// Number of elements from the first to the last in memory, both included.
    pub(super) fn extent(&self) -> u64 {
        if self.len() == 0 {
            return 0;
        }
        1 + self
            .shape
            .iter()
            .zip(&self.strides)
            .map(|(&axis, &stride)| (axis as u64 - 1) * stride)
            .sum::<u64>()
    }
}

/// The result of a call.
pub(super) enum Made {
    /// A tensor, or the reason why it cannot be read.
    Tensor(Result<Tensor, String>),
    /// An object that is no tensor.
    Other,
}

/// Largest depth of calls within calls. A parameter of a subclass of a tensor takes three.
const DEPTH: usize = 8;

/// The dotted name of a class or function, also of a class whose source code is in the file.
pub(super) fn class(pickle: &Pickle<'_>, callable: Id) -> String {
    match (global(pickle, callable), pickle.view(callable)) {
        (Some(global), _) => global.to_string(),
        (None, View::Extension(code)) => format!("class {code} of copyreg's registry"),
        _ => "an object without a class".to_owned(),
    }
}

/// The global that a class or function is, or from which it comes.
pub(super) fn global<'p>(pickle: &'p Pickle<'_>, callable: Id) -> Option<Global<'p>> {
    let mut callable = callable;
    for _ in 0..DEPTH {
        callable = match pickle.view(callable) {
            View::Global(global) => return Some(global),
            View::Persistent(id) => match Reference::read(pickle, id) {
                Reference::Class(class) => class,
                _ => return None,
            },
            // The callable is itself the result of a call. A method counts as its owner, a bound function as the
            // function, any other result as the callable that made it.
            View::Object(object) => {
                let maker = match pickle.view(object.callable) {
                    View::Global(maker) => Some(maker),
                    _ => None,
                };
                let bound = maker.is_some_and(|maker| {
                    let getattr = maker.of("builtins").or_else(|| maker.of("__builtin__")) == Some("getattr");
                    getattr || maker.of("functools") == Some("partial")
                });
                let first = pickle.items(object.arguments).and_then(|arguments| arguments.first());
                *first.filter(|_| bound).unwrap_or(&object.callable)
            }
            _ => return None,
        };
    }
    None
}

/// The tensor that a call makes, if it is one of PyTorch's calls for tensors.
pub(super) fn made(pickle: &Pickle<'_>, object: &Object) -> Made {
    made_within(pickle, object, DEPTH)
}

fn made_within(pickle: &Pickle<'_>, object: &Object, depth: usize) -> Made {
    let View::Global(function) = pickle.view(object.callable) else { return Made::Other };
    let modules = ["torch._utils", "torch._tensor", "torch.tensor"];
    let Some(name) = modules.iter().find_map(|module| function.of(module)) else { return Made::Other };
    if object.state.is_some() || !object.items().is_empty() || !object.pairs().is_empty() {
        return Made::Tensor(Err(format!("a tensor that is changed after {function} made it")));
    }
    let arguments = pickle.items(object.arguments).unwrap_or_default();
    let inner = |id: Id| match pickle.view(id) {
        View::Object(inner) if depth > 0 => made_within(pickle, inner, depth - 1),
        _ => Made::Tensor(Err("a parameter of what is no tensor".into())),
    };
    match (name, arguments) {
        ("_rebuild_parameter" | "_rebuild_parameter_with_state", &[tensor, ..]) => inner(tensor),
        ("_rebuild_from_type_v2", &[function, class, arguments, _state]) => {
            let as_class = match pickle.view(class) {
                View::Global(class) => class.to_string(),
                _ => "(none)".to_owned(),
            };
            // Tensors of these classes show the numbers of the storage; another subclass may show others.
            let plain = matches!(
                &*as_class,
                "torch.Tensor"
                    | "torch._tensor.Tensor"
                    | "torch.nn.parameter.Parameter"
                    | "torch.nn.parameter.Buffer"
            );
            if !plain {
                return Made::Tensor(Err(format!("a tensor of class {as_class}")));
            }
            let call = Object::new(function, arguments);
            match depth {
                0 => Made::Tensor(Err("calls inside calls".into())),
                _ => made_within(pickle, &call, depth - 1),
            }
        }
        // PyTorch moves the numbers to their device and may change the format; a changed format is refused.
        ("_rebuild_device_tensor_from_cpu_tensor", &[tensor, dtype, ..]) => {
            match (inner(tensor), pickle.view(dtype)) {
                (Made::Tensor(Ok(tensor)), View::Global(dtype))
                    if dtype.of("torch").and_then(Kind::of_dtype) == Some(Kind::Numbers(tensor.dtype)) =>
                {
                    Made::Tensor(Ok(tensor))
                }
                (Made::Tensor(Err(reason)), _) => Made::Tensor(Err(reason)),
                _ => Made::Tensor(Err("a tensor of a device in another number format".into())),
            }
        }
        ("_rebuild_tensor", &[storage, offset, shape, strides]) => {
            Made::Tensor(view(pickle, [storage, offset, shape, strides], None, None))
        }
        ("_rebuild_tensor_v2", &[storage, offset, shape, strides, _, _, ref metadata @ ..]) => {
            Made::Tensor(view(pickle, [storage, offset, shape, strides], None, metadata.first().copied()))
        }
        ("_rebuild_tensor_v3", &[storage, offset, shape, strides, _, _, dtype, ref metadata @ ..]) => {
            Made::Tensor(view(
                pickle,
                [storage, offset, shape, strides],
                Some(dtype),
                metadata.first().copied(),
            ))
        }
        (name, _) if name.starts_with("_rebuild") => {
            let what = match name {
                "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => "a sparse tensor",
                "_rebuild_qtensor" => "a quantised tensor",
                "_rebuild_nested_tensor" => "a nested tensor",
                "_rebuild_meta_tensor_no_storage" => "a tensor without numbers (device meta)",
                "_rebuild_wrapper_subclass" => "a tensor of a class of its own",
                "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor" => {
                    "a tensor kept as a numpy array"
                }
                _ => "a tensor of an unknown kind",
            };
            Made::Tensor(Err(format!("{what}, {function}")))
        }
        _ => Made::Other,
    }
}

/// Makes the view of a storage, with the checks of PyTorch.
fn view(
    pickle: &Pickle<'_>,
    [storage, offset, shape, strides]: [Id; 4],
    dtype: Option<Id>,
    metadata: Option<Id>,
) -> Result<Tensor, String> {
    let storage = match pickle.view(storage) {
        View::Persistent(id) => match Reference::read(pickle, id) {
            Reference::Storage(storage) => storage,
            Reference::Class(_) => return Err("a tensor without a storage".into()),
            Reference::Unknown(reason) => return Err(format!("a tensor of {reason}")),
        },
        // `pickle.dump` of a tensor puts a whole PyTorch file into the pickle.
        View::Object(object) => {
            let class = class(pickle, object.callable);
            return Err(format!("a tensor of pickle.dump ({class}); write it with torch.save"));
        }
        _ => return Err("a tensor without a storage".into()),
    };
    let mut kind = storage.kind;
    if let Some(dtype) = dtype {
        let View::Global(dtype) = pickle.view(dtype) else {
            return Err("a tensor without a number format".into());
        };
        let named = dtype.of("torch").ok_or_else(|| format!("a tensor of {dtype}"))?;
        kind = Kind::of_dtype(named).ok_or_else(|| format!("a tensor of torch.{named}"))?;
        if storage.kind != Kind::Untyped && storage.kind != kind {
            return Err(format!("a tensor of torch.{named} in a storage of other numbers"));
        }
    }
    let dtype = match kind {
        Kind::Numbers(dtype) => dtype,
        Kind::Untyped => return Err("a tensor without a number format".into()),
        Kind::Other(what, _) => return Err(format!("a tensor of {what}")),
    };
    let shape = (dimensions(pickle, shape).ok_or("a tensor without a shape")?.into_iter())
        .map(|axis| usize::try_from(axis).map_err(|_| format!("a tensor with an axis of {axis}")))
        .collect::<Result<Vec<_>, _>>()?;
    let strides = (dimensions(pickle, strides).ok_or("a tensor without strides")?.into_iter())
        .map(|stride| {
            u64::try_from(stride)
                .map_err(|_| format!("a tensor with a stride of {stride}, which PyTorch refuses"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if shape.len() != strides.len() {
        return Err(format!("a tensor of shape {shape:?} with strides {strides:?}"));
    }
    let offset = unsigned(pickle, offset).ok_or("a tensor with a negative offset")?;
    let negated = metadata.map_or(Ok(false), |metadata| negated(pickle, metadata))?;
    let tensor = Tensor { storage, dtype, shape, strides, offset, negated };
    check(&tensor)?;
    Ok(tensor)
}

/// Refuses a view that leads outside the storage, or whose numbers do not fit 64 bits.
fn check(tensor: &Tensor) -> Result<(), String> {
    let Tensor { storage, shape, strides, offset, .. } = tensor;
    let size = tensor.dtype.bitsize() as u64 / 8;
    let overflow =
        || format!("a tensor of shape {shape:?} and strides {strides:?}, more than 64 bits can count");
    // Empty axes are left out of the product, because the other axes must not overflow either.
    (shape.iter().filter(|&&axis| axis > 0))
        .try_fold(size, |product, &axis| product.checked_mul(axis as u64))
        .filter(|&bytes| i64::try_from(bytes).is_ok())
        .ok_or_else(overflow)?;
    if shape.contains(&0) {
        return Ok(());
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(*offset, |last, (&axis, &stride)| last.checked_add((axis as u64 - 1).checked_mul(stride)?));
    let last = last.filter(|last| last.checked_mul(size).is_some()).ok_or_else(overflow)?;
    // An untyped storage counts bytes.
    let elements = storage.part.1.saturating_mul(storage.kind.size()) / size;
    if last >= elements {
        return Err(format!(
            "a tensor of shape {shape:?}, strides {strides:?} and offset {offset} that leads outside its storage of {elements} elements"
        ));
    }
    Ok(())
}

/// A tuple of whole numbers, or `torch.Size` of one.
fn dimensions(pickle: &Pickle<'_>, id: Id) -> Option<Vec<i64>> {
    let items = match pickle.view(id) {
        View::Items(items) => items,
        View::Object(object) => {
            let [inner] = pickle.items(object.arguments)? else { return None };
            pickle.items(*inner).filter(|_| class(pickle, object.callable) == "torch.Size")?
        }
        _ => return None,
    };
    if items.len() > AXES {
        return None;
    }
    let number = |&id: &Id| match pickle.view(id) {
        View::Int(value) => Some(value),
        View::Bool(value) => Some(value.into()),
        _ => None,
    };
    items.iter().map(number).collect()
}

/// Whether `metadata` says that the numbers have the other sign. Other properties are errors.
fn negated(pickle: &Pickle<'_>, metadata: Id) -> Result<bool, String> {
    let pairs = match pickle.view(metadata) {
        View::Other => return Ok(false),
        View::Pairs(pairs) => pairs,
        _ => return Err("a tensor with unknown properties".into()),
    };
    let mut negated = false;
    for &(key, value) in pairs {
        match (pickle.text(key), pickle.view(value)) {
            (Some(key), View::Bool(false)) if key.is("conj") => {}
            (Some(key), View::Bool(value)) if key.is("neg") => negated = value,
            (Some(key), _) => return Err(format!("a tensor with the property {}", key.decode())),
            (None, _) => return Err("a tensor with unknown properties".into()),
        }
    }
    Ok(negated)
}
