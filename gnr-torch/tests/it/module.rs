//! tch and TorchScript models as oracles: gradients and exact products, statistics, refusals, and whole trainings.

use std::path::{Path, PathBuf};

use gnr_core::{
    Clip, Gnr, GradOracle, HvpOracle, Method, Order, Pass, Sgd, Use, Vector,
    testing::conformance::{Tolerances, check_oracle},
};
use gnr_cpu::Cpu;
use gnr_nn::{
    Arithmetic, Autodiff, ParamVector,
    testing::nets::{Setting, TanhMlp, difference},
};
use gnr_torch::{Device, ModuleOracle, Precision, Torch, Variables};
use tch::{Kind, Tensor, TrainableCModule, nn, nn::ModuleT};

use crate::torch;

/// A tch model whose parameters are those of [`TanhMlp`], in the same order but for their names.
struct Mlp {
    store: nn::VarStore,
    net: nn::Sequential,
}

impl Mlp {
    fn new() -> Self {
        let mut store = nn::VarStore::new(tch::Device::Cpu);
        let root = store.root();
        let net = nn::seq()
            .add(nn::linear(&root / "1", 3, 5, Default::default()))
            .add_fn(|x| x.tanh())
            .add(nn::linear(&root / "2", 5, 4, Default::default()))
            .add_fn(|x| x.tanh())
            .add(nn::linear(&root / "3", 4, 3, Default::default()));
        store.double();
        Self { store, net }
    }
}

/// In the precision of the logits; tch's `cross_entropy_for_logits` is in single precision always.
fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor, tch::TchError> {
    logits.f_log_softmax(-1, None::<Kind>)?.f_nll_loss(labels, None::<&Tensor>, tch::Reduction::Mean, -100)
}

/// `bias, weight` of each layer, as names have them, of `weight, bias`, as our layouts have them; and back.
fn swapped<T: Clone>(tensors: &[T]) -> Vec<T> {
    tensors.chunks(2).flat_map(|pair| [pair[1].clone(), pair[0].clone()]).collect()
}

fn point(backend: &Torch, values: &[Vec<f64>], like: &ParamVector<Torch>) -> ParamVector<Torch> {
    let tensors = values.iter().zip(like.tensors());
    let tensors = tensors.map(|(values, like)| backend.constant(values, backend.shape(like)).unwrap());
    ParamVector::new(backend.clone(), tensors.collect())
}

/// f64 rounding over a batch of 6 leaves 1e-14.
#[test]
fn gradient_and_product_are_those_of_the_network_over_backend() {
    let net = TanhMlp::new();
    let setting = Setting::new(&net, Cpu::<f64>::new(), &[6, 3], 3).unwrap();
    let direction = setting.direction(5).unwrap();
    let (gradient, exact) = setting.ask(std::slice::from_ref(&direction)).unwrap();

    let Mlp { store, net } = Mlp::new();
    let mut variables = Variables::of(&store).unwrap();
    let own = variables.parameters().unwrap();
    let backend = torch(Precision::F64);
    let theta = point(&backend, &swapped(&setting.theta.to_host().unwrap()), &own);
    let v = point(&backend, &swapped(&direction.to_host().unwrap()), &own);
    let x = Tensor::from_slice(&setting.backend.to_host(&setting.batch.images).unwrap()).view([6, 3]);
    let labels: Vec<i64> = setting.batch.labels.iter().map(|&label| label as i64).collect();
    let y = Tensor::from_slice(&labels);
    let mut oracle = ModuleOracle::new(&mut variables, || cross_entropy(&net.forward_t(&x, true), &y));

    let host = |v: &ParamVector<Torch>| swapped(&v.to_host().unwrap()).concat();
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    assert!(difference(&host(&here.grad), &gradient) < 1e-13);
    let product = oracle.hvp(&here, &v, Use::Again).unwrap();
    assert!(difference(&host(&product), &exact[0]) < 1e-12);
    // Another point in between: the graph is gone, the product is the same.
    let elsewhere = oracle.evaluate(&own, Pass::Probe, Order::First).unwrap();
    assert_ne!(host(&elsewhere.grad), host(&here.grad));
    drop(elsewhere);
    assert_eq!(host(&oracle.hvp(&here, &v, Use::Again).unwrap()), host(&product));
}

/// gnr-core's suite: gradients are slopes of the loss, products slopes of the gradient, linear, symmetric, repeatable.
#[test]
fn the_oracle_suite_passes() {
    let Mlp { store, net } = Mlp::new();
    let x = Tensor::from_slice(&(0..18).map(|i| f64::from(i * 7 % 11) / 5.0 - 1.0).collect::<Vec<_>>())
        .view([6, 3]);
    let y = Tensor::from_slice(&[0_i64, 1, 2, 2, 1, 0]);
    let loss = || cross_entropy(&net.forward_t(&x, true), &y);
    let mut variables = Variables::of(&store).unwrap();
    let theta = variables.parameters().unwrap();
    let backend = torch(Precision::F64);
    let tangent = |k: u64| {
        let each = theta.tensors().iter().enumerate().map(|(i, t)| {
            let len = backend.shape(t).iter().product::<usize>() as u64;
            (0..len).map(|j| ((k * 31 + i as u64 * 17 + j * 5) % 13) as f64 / 6.0 - 1.0).collect::<Vec<_>>()
        });
        point(&backend, &each.collect::<Vec<_>>(), &theta)
    };
    let tangents = [tangent(1), tangent(2)];
    let short = ParamVector::new(backend.clone(), theta.tensors()[1..].to_vec());
    // An oracle borrows the variables, and the suite makes several.
    let slot = std::cell::RefCell::new(&mut variables);
    let make = || Shared { slot: &slot, loss: &loss };
    check_oracle(make, &theta, &tangents, Some(&short), Tolerances::F64);
}

/// Oracles that take turns with the variables.
struct Shared<'a, 'v, F> {
    slot: &'a std::cell::RefCell<&'v mut Variables>,
    loss: &'a F,
}

impl<F: Fn() -> Result<Tensor, tch::TchError>> GradOracle for Shared<'_, '_, F> {
    type Vector = ParamVector<Torch>;
    type Record = Option<gnr_torch::module::Graph>;

    fn evaluate<'t>(
        &mut self,
        at: &'t Self::Vector,
        pass: Pass,
        order: Order,
    ) -> gnr_core::Result<gnr_core::Evaluation<'t, Self::Vector, Self::Record>> {
        let mut variables = self.slot.borrow_mut();
        ModuleOracle::new(&mut variables, self.loss).evaluate(at, pass, order)
    }
}

impl<F: Fn() -> Result<Tensor, tch::TchError>> HvpOracle for Shared<'_, '_, F> {
    fn hvp(
        &mut self,
        here: &gnr_core::Evaluation<'_, Self::Vector, Self::Record>,
        v: &Self::Vector,
        record: Use,
    ) -> gnr_core::Result<Self::Vector> {
        let mut variables = self.slot.borrow_mut();
        ModuleOracle::new(&mut variables, self.loss).hvp(here, v, record)
    }
}

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// `make.py` beside the file wrote the numbers with Python's PyTorch.
#[test]
fn a_torchscript_file_has_the_loss_gradient_and_product_of_python_and_trains() {
    let text = std::fs::read_to_string(golden("mlp.txt")).unwrap();
    let rows: Vec<Vec<f64>> =
        text.lines().map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect()).collect();

    let store = nn::VarStore::new(tch::Device::Cpu);
    let net = TrainableCModule::load(golden("mlp.pt"), store.root()).unwrap();
    let x = Tensor::from_slice2(&[[0.0, 0.5], [1.0, -0.5], [-1.0, 0.25], [0.75, 1.0]]);
    let y = Tensor::from_slice(&[0_i64, 1, 2, 1]);
    let mut variables = Variables::of(&store).unwrap();
    let mut theta = variables.parameters().unwrap();
    let backend = torch(Precision::F64);
    let ramp = |len: usize| (0..len).map(|i| -1.0 + 2.0 * i as f64 / (len - 1) as f64).collect::<Vec<_>>();
    let lengths = theta.tensors().iter().map(|t| backend.shape(t).iter().product());
    let v = point(&backend, &lengths.map(ramp).collect::<Vec<_>>(), &theta);

    let mut loss = || cross_entropy(&net.forward_ts(&[&x])?, &y);
    let mut oracle = ModuleOracle::new(&mut variables, &mut loss);
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    assert!((here.loss - rows[0][0]).abs() < 1e-14, "{} and {}", here.loss, rows[0][0]);
    assert!(difference(&here.grad.to_host().unwrap().concat(), &rows[1]) < 1e-13);
    let product = oracle.hvp(&here, &v, Use::Last).unwrap();
    assert!(difference(&product.to_host().unwrap().concat(), &rows[2]) < 1e-13);
    drop(here);

    let mut method = Method {
        regularizer: Gnr::new(0.05, 0.1).unwrap(),
        optimizer: Sgd::new().with_momentum(0.9).unwrap(),
        learning_rate: 0.2,
        clip: Clip::None,
    };
    let mut last = f64::INFINITY;
    for t in 0..100 {
        last = method.step(t, &mut theta, &mut ModuleOracle::new(&mut variables, &mut loss)).unwrap().loss;
    }
    assert!(last < 0.2 * rows[0][0], "loss {last}");
    variables.write_back(&theta).unwrap();
    // What is saved is the trained network.
    let folder = tempfile::tempdir().unwrap();
    net.save(folder.path().join("trained.pt")).unwrap();
    let other = tch::CModule::load(folder.path().join("trained.pt")).unwrap();
    let trained = f64::try_from(cross_entropy(&other.forward_ts(&[&x]).unwrap(), &y).unwrap()).unwrap();
    assert!(trained < 0.2 * rows[0][0], "loss of the saved network {trained}");
}

#[test]
fn running_statistics_move_in_commit_only_and_products_survive_it() {
    let mut store = nn::VarStore::new(tch::Device::Cpu);
    let norm = nn::batch_norm2d(store.root() / "bn", 2, Default::default());
    store.double();
    let x = Tensor::from_slice(&(0..36).map(f64::from).collect::<Vec<_>>()).view([2, 2, 3, 3]);
    let mut variables = Variables::of(&store).unwrap();
    let theta = variables.parameters().unwrap();
    assert_eq!(theta.dim(), 4, "scale and shift are trained, running statistics are not");
    let mean = || Vec::<f64>::try_from(store.variables()["bn.running_mean"].shallow_clone()).unwrap();
    let mut oracle = ModuleOracle::new(&mut variables, || {
        let y = norm.forward_t(&x, true);
        y.f_pow_tensor_scalar(3)?.f_mean(Kind::Double)
    });
    assert_eq!(mean(), [0.0, 0.0]);
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    let product = oracle.hvp(&here, &here.grad, Use::Again).unwrap();
    assert!(product.to_host().unwrap().concat().iter().all(|x| x.is_finite()));
    assert_eq!(mean(), [0.0, 0.0], "neither probes nor products move them");
    drop(here);
    oracle.evaluate(&theta, Pass::Commit, Order::First).unwrap();
    // The means of the channels are 13 and 22, momentum 0.1.
    let moved = mean();
    assert!((moved[0] - 1.3).abs() < 1e-12 && (moved[1] - 2.2).abs() < 1e-12, "{moved:?}");
}

/// An evaluation that fails leaves the statistics as they were, whatever moved them before the failure.
#[test]
fn failed_evaluations_do_not_move_running_statistics() {
    let mut store = nn::VarStore::new(tch::Device::Cpu);
    let norm = nn::batch_norm2d(store.root() / "bn", 2, Default::default());
    store.double();
    let x = Tensor::from_slice(&(0..36).map(f64::from).collect::<Vec<_>>()).view([2, 2, 3, 3]);
    let mut variables = Variables::of(&store).unwrap();
    let theta = variables.parameters().unwrap();
    let before = Vec::<f64>::try_from(store.variables()["bn.running_var"].shallow_clone()).unwrap();
    type Ending = fn(Tensor) -> Result<Tensor, tch::TchError>;
    let endings: [(&str, Ending); 3] = [
        ("an error", |y| y.f_matmul(&Tensor::zeros([7, 7], (Kind::Double, tch::Device::Cpu)))),
        ("several losses", Ok),
        ("a loss of NaN", |y| y.f_mean(Kind::Double)?.f_mul_scalar(f64::NAN)),
    ];
    for (what, ending) in endings {
        for pass in [Pass::Probe, Pass::Commit] {
            let mut oracle = ModuleOracle::new(&mut variables, || ending(norm.forward_t(&x, true)));
            assert!(oracle.evaluate(&theta, pass, Order::First).is_err(), "{what}");
            let after = Vec::<f64>::try_from(store.variables()["bn.running_var"].shallow_clone()).unwrap();
            assert_eq!(after, before, "{what}, {pass:?}");
        }
    }
}

#[test]
fn bad_models_and_points_are_refused_with_the_reason() {
    let empty = nn::VarStore::new(tch::Device::Cpu);
    let error = Variables::of(&empty).unwrap_err().to_string();
    assert!(error.contains("no variable that is trained"), "{error}");

    let Mlp { store, net } = Mlp::new();
    let mut variables = Variables::of(&store).unwrap();
    let theta = variables.parameters().unwrap();
    let backend = Torch::new(Device::Cpu, Precision::F64).unwrap();
    let short = ParamVector::new(backend, theta.tensors()[1..].to_vec());
    let error = variables.write_back(&short).unwrap_err().to_string();
    assert!(error.contains("[5, 3]") && error.contains("for variables of shapes [5], [5, 3]"), "{error}");

    // A batch that does not fit the model is LibTorch's error, in one line.
    let wide = Tensor::zeros([2, 7], (Kind::Double, tch::Device::Cpu));
    let mut oracle = ModuleOracle::new(&mut variables, || {
        let y = wide.f_matmul(&store.variables()["1.weight"].tr())?;
        y.f_sum(Kind::Double)
    });
    let error = oracle.evaluate(&theta, Pass::Probe, Order::First).unwrap_err().to_string();
    assert!(error.contains("the model on cpu, f64") && !error.contains('\n'), "{error}");

    let x = Tensor::zeros([2, 3], (Kind::Double, tch::Device::Cpu));
    let mut oracle = ModuleOracle::new(&mut variables, || Ok(net.forward_t(&x, true)));
    let error = oracle.evaluate(&theta, Pass::Probe, Order::First).unwrap_err().to_string();
    assert!(error.contains("shape [2, 3], expected a single element"), "{error}");
}
