//! An architecture against PyTorch's numbers, on any backend (feature `testing`): one call for each architecture and
//! backend.

mod architectures;
mod memory;

pub use memory::{Reserved, reserve};

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use gnr_core::{Evaluation, GradOracle, HvpOracle, Order, Pass, Result as CoreResult, Use, Vector};
use gnr_nn::{
    Autodiff, Batch, BatchOracle, Buffers, Context, Layout, Mode, Model, ParamVector, predict, testing::noise,
};
use serde_json::Value;

use crate::{Activation, AnyModel, ModelConfig, ModelError, weights};

/// The numbers that a backend stores, which decide how closely it can agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Every number agrees to 1e-9, relative; single entries on the scale of their tensor's norm.
    F64,
    /// Logits, losses and running statistics agree to 1e-5, gradients and products of smooth nets to 1e-4, those of
    /// ReLU nets to 2 %. Each tolerance is at least five times PyTorch's own deviation in f32. One rounding error that
    /// flips a ReLU moves products by per cents, so that only gross errors are found there. F64, and F32 on the smooth
    /// nets, are the proofs.
    F32,
}

/// Checks nets with a smooth activation and without batch normalisation against values from PyTorch
/// (`gnr-models/tests/fixtures/make_smooth.py`).
///
/// # Panics
/// As [`check_golden`].
pub fn check_smooth<B: Autodiff>(backend: &B, precision: Precision) {
    for (name, choices) in [("resnet8", "gelu_group"), ("wrn10_1", "silu_layer"), ("wrn10_1", "gelu_none")] {
        check_golden_file(backend, &fixture(&format!("smooth_{name}_{choices}")), name, precision);
    }
}

/// Checks Swin on an image of 40 x 72 against torchvision (`gnr-models/tests/fixtures/make_swin.py`): shifted and
/// padded windows, merging of odd lengths. Takes 2.6 GB of memory.
///
/// # Panics
/// As [`check_golden`].
pub fn check_swin<B: Autodiff>(backend: &B, precision: Precision) {
    check_golden_file(backend, &fixture("swin_t_40x72"), "swin_t", precision);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.json"))
}

/// Checks every number of `gnr-models/tests/golden/{name}.json` that applies: parameter count, names and shapes, ‖θ‖;
/// logits in train mode, eval mode, and eval mode with calibrated running statistics; running statistics after one
/// step; loss with and without label smoothing; gradient and Hessian-vector product tensor by tensor; the lines of
/// Algorithm 1.
///
/// A name ending in `_c100` is the architecture with 100 classes, and one that ends in a size, as `_16x16`, on images
/// of that size.
///
/// # Panics
/// When a number is off, or the file is missing (published packages leave the folder out) or damaged.
pub fn check_golden<B: Autodiff>(backend: &B, name: &str, precision: Precision) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    check_golden_file(backend, &folder.join(format!("{name}.json")), name, precision);
}

/// Makes the checks of [`check_golden`] with a file of the same fields elsewhere.
///
/// # Panics
/// When a number is off, or the file is missing or damaged.
pub fn check_golden_file<B: Autodiff>(backend: &B, path: &Path, name: &str, precision: Precision) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let json: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let golden = Golden { name, json, precision };
    let config = |classes| ModelConfig {
        activation: golden.choice("activation"),
        norm: golden.choice("norm"),
        ..ModelConfig::new(architecture(name), classes, golden.image())
    };
    let build = |classes| AnyModel::build(&config(classes)).unwrap_or_else(|error| panic!("{error}"));
    let model = build(golden.number("num_classes") as usize);
    golden.check_layout(model.layout());
    for (classes, count) in golden.json["param_count_other"].as_object().into_iter().flatten() {
        let classes = classes.parse().unwrap_or_else(|_| panic!("{name}: {classes} is no number of classes"));
        let found = build(classes).layout().num_parameters();
        assert_eq!(Some(found as u64), count.as_u64(), "{name}: parameters with {classes} classes");
    }
    if golden.json["reduced"] == Value::Bool(true) {
        return;
    }
    let run = || -> CoreResult<()> {
        let setting = Setting::new(backend, &golden, &model)?;
        setting.logits()?;
        setting.evaluation()?;
        if golden.json.get("algorithm1").is_some() {
            setting.algorithm_1()?;
        }
        Ok(())
    };
    if let Err(error) = run() {
        panic!("{name}: {error}");
    }
}

/// The registered name of the architecture that a file is named after.
fn architecture(file: &str) -> &str {
    let is_size = |size: &str| {
        size.split_once('x').is_some_and(|(h, w)| [h, w].iter().all(|n| n.parse::<usize>().is_ok()))
    };
    let name = file.rsplit_once('_').filter(|(_, size)| is_size(size)).map_or(file, |(name, _)| name);
    name.trim_end_matches("_c100")
}

/// A file of golden values.
struct Golden<'n> {
    name: &'n str,
    json: Value,
    precision: Precision,
}

/// The kind of number that is compared, which decides the tolerance.
#[derive(Clone, Copy)]
enum Kind {
    /// Logits, losses, statistics: continuous in the weights.
    Forward,
    /// Logits with the batch's own statistics, which are recovered by a division by the momentum, 0.1.
    Calibrated,
    /// Gradients and products.
    Derivative,
    /// Quantities at θ_adv, a point with rounding errors of its own.
    Adversarial,
}

impl Golden<'_> {
    fn at(&self, path: &str) -> &Value {
        self.json.pointer(&format!("/{path}")).unwrap_or_else(|| panic!("{}: no field `{path}`", self.name))
    }
    fn number(&self, path: &str) -> f64 {
        self.at(path).as_f64().unwrap_or_else(|| panic!("{}: `{path}` is no number", self.name))
    }
    fn numbers(&self, path: &str) -> Vec<f64> {
        floats(self.at(path))
    }
    /// The activation or norm that the file names in `field`, if the field is there.
    fn choice<T: FromStr<Err = ModelError>>(&self, field: &str) -> Option<T> {
        let name = self.json.get(field)?.as_str().unwrap_or_default();
        Some(name.parse().unwrap_or_else(|error| panic!("{}: `{field}`: {error}", self.name)))
    }
    /// Whether no rounding error can flip a derivative: the activation is smooth, and no registered net of this kind
    /// takes maxima.
    fn is_smooth(&self) -> bool {
        self.choice::<Activation>("activation").is_some_and(|activation| activation != Activation::Relu)
    }
    /// The shape `[C, H, W]` of an image. Files without it have 32x32 images, or 224x224 for 1000 classes or more.
    fn image(&self) -> [usize; 3] {
        if self.json.get("input_shape").is_none() {
            return if self.number("num_classes") < 1000.0 { [3, 32, 32] } else { [3, 224, 224] };
        }
        let shape = self.numbers("input_shape");
        [1, 2, 3].map(|axis| shape[axis] as usize)
    }

    fn tolerance(&self, kind: Kind) -> f64 {
        let deviation = |fields: &[&str]| {
            let of =
                |field: &&str| self.json.pointer(&format!("/f32_deviation/{field}")).and_then(Value::as_f64);
            5.0 * fields.iter().filter_map(of).fold(0.0, f64::max)
        };
        let logits = deviation(&["logits_eval", "logits_train"]).max(1e-5);
        let derivatives = deviation(&["grad", "hvp"]).max(if self.is_smooth() { 1e-4 } else { 2e-2 });
        match (self.precision, kind) {
            (Precision::F64, _) => 1e-9,
            (Precision::F32, Kind::Forward) => logits,
            (Precision::F32, Kind::Calibrated) => 10.0 * logits,
            (Precision::F32, Kind::Derivative) => derivatives,
            // PyTorch in f32, its weights moved by their rounding, is 5 % to 16 % off in h_norm (wrn28_2, six draws).
            (Precision::F32, Kind::Adversarial) => derivatives * 10.0,
        }
    }

    /// Asserts |found − expected| ≤ tolerance·scale for each pair.
    fn close(&self, kind: Kind, what: &str, found: &[f64], expected: &[f64], scale: f64) {
        assert_eq!(found.len(), expected.len(), "{}: length of {what}", self.name);
        let tolerance = self.tolerance(kind);
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (found - expected).abs() / scale;
            assert!(
                error <= tolerance,
                "{}: {what}[{i}] is {found}, expected {expected}: {error:.1e} of the scale, {tolerance:.1e} allowed",
                self.name
            );
        }
    }
    /// Compares one number with its golden value, on its own scale.
    fn same(&self, kind: Kind, path: &str, found: f64) {
        let expected = self.number(path);
        self.close(kind, path, &[found], &[expected], expected.abs());
    }

    fn check_layout(&self, layout: &Layout) {
        assert_eq!(layout.num_parameters() as f64, self.number("param_count"), "{}: param_count", self.name);
        let expected = self.at("tensors").as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(layout.entries().len(), expected.len(), "{}: number of tensors", self.name);
        for (entry, expected) in layout.entries().iter().zip(expected) {
            let shape: Vec<_> = floats(&expected[1]).into_iter().map(|length| length as usize).collect();
            assert_eq!(Some(entry.name.as_str()), expected[0].as_str(), "{}: order of tensors", self.name);
            assert_eq!(entry.shape, shape, "{}: shape of {}", self.name, entry.name);
        }
    }

    /// Compares `field` of the file, [name, norm, first 3 entries] for each parameter, with the tensors `found`.
    fn same_tensors(&self, kind: Kind, field: &str, layout: &Layout, found: &[Vec<f64>]) {
        let total = norm(&found.concat());
        let zeros = self.at("zero_grad_tensors").as_array().map_or(&[][..], Vec::as_slice);
        let expected = self.at(field).as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(expected.len(), found.len(), "{}: tensors of {field}", self.name);
        for ((entry, found), expected) in layout.parameters().zip(found).zip(expected) {
            assert_eq!(Some(entry.name.as_str()), expected[0].as_str(), "{}: order of {field}", self.name);
            let what = format!("{field}.{}", entry.name);
            if zeros.iter().any(|zero| *zero == *entry.name) {
                self.close(kind, &what, &[norm(found)], &[0.0], total);
                continue;
            }
            let (expected_norm, first) = (floats(&expected[1]), floats(&expected[2]));
            // In f32, a flipped ReLU moves a small tensor by as much as the whole gradient.
            let scale = match self.precision {
                Precision::F64 => expected_norm[0],
                Precision::F32 => {
                    expected_norm[0].max(total / (layout.num_parameter_tensors() as f64).sqrt())
                }
            };
            self.close(kind, &what, &[norm(found)], &expected_norm, scale);
            self.close(kind, &what, &found[..first.len()], &first, scale);
        }
    }

    /// Compares `field` of the file: the first 10 logits of each sample, and the norm of each whole row.
    fn same_logits(&self, kind: Kind, field: &str, found: &[f64]) {
        let rows = self.numbers(&format!("{field}/l2"));
        let classes = found.len() / rows.len();
        let expected = self.at(&format!("{field}/first10"));
        for (i, row) in found.chunks(classes).enumerate() {
            let (what, first) = (format!("{field}, sample {i}"), floats(&expected[i]));
            self.close(kind, &what, &row[..first.len()], &first, rows[i]);
            self.close(kind, &what, &[norm(row)], &rows[i..=i], rows[i]);
        }
    }
}

/// A number or a list of numbers.
fn floats(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
        other => other.as_f64().into_iter().collect(),
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The elements of tensor k by the fill rule of the golden files.
fn fill(name: &str, shape: &[usize], k: usize) -> Vec<f64> {
    let last = name.rsplit('.').next().unwrap_or(name);
    let fan_in = shape[1..].iter().product::<usize>() as f64;
    let (centre, width) = match (last, shape.len()) {
        ("cls_token" | "pos_embed" | "relative_position_bias_table", _) => (0.0, 0.02),
        (_, 2..) => (0.0, (6.0 / fan_in).sqrt()),
        ("weight", _) => (1.0, 0.1),
        ("running_var", _) => (1.0, 0.2),
        _ => (0.0, 0.1),
    };
    let len: usize = shape.iter().product();
    (0..len as u64).map(|i| centre + width * noise(k as u64, i)).collect()
}

/// The images of the golden files: x[j] = sin(0.013·j + 0.1·n), n the sample.
fn images(shape: &[usize]) -> Vec<f64> {
    let sample: usize = shape[1..].iter().product();
    (0..shape[0] * sample).map(|j| (0.013 * j as f64 + 0.1 * (j / sample) as f64).sin()).collect()
}

/// The point θ of the fill rule and the batch, on a backend.
struct Setting<'a, B: Autodiff> {
    golden: &'a Golden<'a>,
    backend: &'a B,
    model: &'a AnyModel,
    batch: Batch<B>,
    theta: ParamVector<B>,
    statistics: Vec<Vec<f64>>,
}

impl<'a, B: Autodiff> Setting<'a, B> {
    fn new(backend: &'a B, golden: &'a Golden<'a>, model: &'a AnyModel) -> CoreResult<Self> {
        let layout = model.layout();
        let entries = layout.entries().iter().enumerate();
        let values = entries.map(|(k, entry)| fill(&entry.name, &entry.shape, k)).collect();
        let (parameters, statistics) = weights::split(layout, values);
        let theta = ParamVector::from_host(backend, layout, &parameters)?;
        let found = theta.norm()?;
        golden.same(Kind::Forward, "param_l2", found);

        let shape: Vec<_> = golden.numbers("input_shape").iter().map(|length| *length as usize).collect();
        let labels: Vec<_> = golden.numbers("labels").iter().map(|label| *label as usize).collect();
        let batch = Batch::new(backend.constant(&images(&shape), &shape)?, labels);
        Ok(Self { golden, backend, model, batch, theta, statistics })
    }

    fn buffers(&self, values: &[Vec<f64>]) -> CoreResult<Buffers<B>> {
        Ok(Buffers::from_host(self.backend, self.model.layout(), values)?)
    }
    fn predict(&self, buffers: &Buffers<B>) -> CoreResult<Vec<f64>> {
        Ok(predict(self.model, self.backend, &self.theta, buffers, &self.batch.images)?)
    }

    /// Checks logits in eval and train mode, and the smoothed loss in train mode.
    fn logits(&self) -> CoreResult<()> {
        let (golden, backend) = (self.golden, self.backend);
        let buffers = self.buffers(&self.statistics)?;
        golden.same_logits(Kind::Forward, "logits_eval", &self.predict(&buffers)?);

        let mut cx = Context::new(backend, self.theta.tensors(), &buffers.tensors, Mode::Train);
        let logits = self.model.forward(&mut cx, &self.batch.images)?;
        golden.same_logits(Kind::Forward, "logits_train", &backend.to_host(&logits)?);
        let smoothed = backend.cross_entropy(&logits, &self.batch.labels, 0.1)?;
        golden.same(Kind::Forward, "loss_label_smoothing_0.1", backend.item(&smoothed)?);
        Ok(())
    }

    /// Checks one committed evaluation, as a step makes it: loss, gradient, product, and the new running statistics.
    fn evaluation(&self) -> CoreResult<()> {
        let (golden, layout) = (self.golden, self.model.layout());
        let buffers = RefCell::new(self.buffers(&self.statistics)?);
        let mut oracle = BatchOracle::new(self.model, self.backend, &self.batch, &buffers);
        let here = oracle.evaluate(&self.theta, Pass::Commit, Order::Second)?;
        golden.same(Kind::Forward, "loss", here.loss);
        golden.same(Kind::Derivative, "grad_norm", here.grad_norm);
        golden.same_tensors(Kind::Derivative, "grad", layout, &here.grad.to_host()?);

        let mut v = here.grad.clone();
        v.scale(1.0 / (here.grad_norm + 1e-12))?;
        let product = oracle.hvp(&here, &v, Use::Again)?;
        let scale = golden.number("hvp/norm");
        golden.same(Kind::Derivative, "hvp/norm", product.norm()?);
        golden.close(Kind::Derivative, "v·Hv", &[v.dot(&product)?], &[golden.number("hvp/v_hv")], scale);
        golden.same_tensors(Kind::Derivative, "hvp/tensors", layout, &product.to_host()?);
        drop((here, v, product));
        if golden.json.get("bn_after_one_forward").is_some() {
            self.running_statistics(&buffers.borrow().to_host(self.backend)?)?;
        }
        Ok(())
    }

    /// Checks the running statistics `after` one training pass, and the logits by the statistics of the batch alone.
    fn running_statistics(&self, after: &[Vec<f64>]) -> CoreResult<()> {
        for which in ["first", "last"] {
            let path = format!("bn_after_one_forward/{which}");
            let layer = self.golden.at(&format!("{path}/name")).as_str().unwrap_or_default();
            for statistic in ["running_mean", "running_var"] {
                let name = format!("{layer}.{statistic}");
                let expected = self.golden.numbers(&format!("{path}/{statistic}"));
                let found = (self.model.layout().buffers().zip(after))
                    .find(|(entry, _)| entry.name == name)
                    .map_or(&[][..], |(_, values)| &values[..expected.len()]);
                self.golden.close(Kind::Forward, &name, found, &expected, norm(&expected));
            }
        }
        // Running statistics are 0.9·old + 0.1·batch, which gives the batch's own.
        let batch = |(old, new): (&Vec<f64>, &Vec<f64>)| {
            old.iter().zip(new).map(|(old, new)| (new - 0.9 * old) / 0.1).collect()
        };
        let calibrated: Vec<Vec<f64>> = self.statistics.iter().zip(after).map(batch).collect();
        let logits = self.predict(&self.buffers(&calibrated)?)?;
        self.golden.same_logits(Kind::Calibrated, "logits_eval_calibrated", &logits);
        Ok(())
    }

    /// Checks lines 6 to 9 of Algorithm 1 with the constants of the file.
    fn algorithm_1(&self) -> CoreResult<()> {
        let (golden, kind) = (self.golden, Kind::Adversarial);
        let [eta, rho, alpha, xi] =
            ["eta", "rho", "alpha", "xi"].map(|key| golden.number(&format!("algorithm1/{key}")));
        let buffers = RefCell::new(self.buffers(&self.statistics)?);
        let mut oracle = BatchOracle::new(self.model, self.backend, &self.batch, &buffers);
        let here = oracle.evaluate(&self.theta, Pass::Probe, Order::Second)?;
        golden.same(Kind::Derivative, "algorithm1/grad_norm", here.grad_norm);
        let f = normalised_product(&mut oracle, &here, xi)?;
        let f_norm = f.norm()?;
        golden.same(Kind::Derivative, "algorithm1/f_norm", f_norm);
        let adv = self.moved(rho / (f_norm + xi), &f)?;
        let there = oracle.evaluate(&adv, Pass::Probe, Order::Second)?;
        golden.same(kind, "algorithm1/loss_adv", there.loss);
        golden.same(kind, "algorithm1/grad_adv_norm", there.grad_norm);
        let mut h_norm = normalised_product(&mut oracle, &there, xi)?;
        h_norm.scale(rho)?;
        let h_norm_norm = h_norm.norm()?;
        golden.same(kind, "algorithm1/h_norm_norm", h_norm_norm);
        golden.same_tensors(kind, "algorithm1/h_norm", self.model.layout(), &h_norm.to_host()?);
        // Both vectors are nearly orthogonal, so their product is compared on the scale of its factors.
        let dot = h_norm.dot(&here.grad)?;
        let scale = h_norm_norm * here.grad_norm;
        golden.close(kind, "h_norm·∇L", &[dot], &[golden.number("algorithm1/h_norm_dot_grad")], scale);
        golden.close(kind, "cos", &[dot / scale], &[golden.number("algorithm1/h_norm_cos_grad")], 1.0);

        let mut direction = here.grad.clone();
        for (field, h) in [("loss_sgd", None), ("loss_new", Some(&h_norm))] {
            if let Some(h) = h {
                direction.axpy(alpha, h)?;
            }
            let new = self.moved(-eta, &direction)?;
            let loss = oracle.evaluate(&new, Pass::Probe, Order::First)?.loss;
            golden.same(kind, &format!("algorithm1/{field}"), loss);
        }
        Ok(())
    }

    fn moved(&self, a: f64, direction: &ParamVector<B>) -> CoreResult<ParamVector<B>> {
        let mut point = self.theta.clone();
        point.axpy(a, direction)?;
        Ok(point)
    }
}

/// H·g/(‖g‖ + ξ).
fn normalised_product<O: HvpOracle>(
    oracle: &mut O,
    here: &Evaluation<'_, O::Vector, O::Record>,
    xi: f64,
) -> CoreResult<O::Vector> {
    let mut product = oracle.hvp(here, &here.grad, Use::Again)?;
    product.scale(1.0 / (here.grad_norm + xi))?;
    Ok(product)
}
