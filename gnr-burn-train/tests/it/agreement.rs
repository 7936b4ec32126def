//! Regularised gradients of a burn module against those of the same network on the CPU engine.

use std::cell::RefCell;

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Int, Tensor, TensorData, activation},
};
use gnr_burn_train::{Differences, Regularized};
use gnr_core::{
    CentralDiff, Clip, ForwardDiff, Gnr, GradOracle, HvpOracle, Method, Regularizer, Sam, Sgd, Vector,
};
use gnr_cpu::Cpu;
use gnr_nn::{
    BatchOracle, Buffers, Model as _, ParamVector,
    testing::nets::{Setting, TanhMlp, difference},
};

/// Weights `[O, I]` and bias, as in our layouts.
#[derive(Module, Debug)]
pub(crate) struct Dense {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Dense {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze()
    }
}

/// [`TanhMlp`] as a burn module.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    a: Dense,
    b: Dense,
    c: Dense,
}

impl Mlp {
    fn new(values: &[Vec<f64>], device: &Device) -> Self {
        let dense = |k: usize| {
            let [inputs, outputs] = [TanhMlp::SIZES[k], TanhMlp::SIZES[k + 1]];
            Dense {
                weight: Param::from_tensor(double(&values[2 * k], [outputs, inputs], device)),
                bias: Param::from_tensor(double(&values[2 * k + 1], [outputs], device)),
            }
        };
        Self { a: dense(0), b: dense(1), c: dense(2) }
    }
    fn loss(&self, x: &Tensor<2>, labels: &Tensor<2, Int>) -> Tensor<1> {
        let x = self.b.forward(self.a.forward(x.clone()).tanh()).tanh();
        activation::log_softmax(self.c.forward(x), 1).gather(1, labels.clone()).mean().neg()
    }
    fn dense(&self) -> [&Dense; 3] {
        [&self.a, &self.b, &self.c]
    }
}

fn double<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, DType::F64))
}

/// The direction of a burn step.
fn of_burn<R, S>(setting: &Setting<'_, TanhMlp, Cpu<f64>>, method: &Regularized<R>, step: S) -> Vec<f64>
where
    S: Fn(&Regularized<R>, &Mlp, &dyn Fn(&Mlp) -> (Tensor<1>, ())) -> burn::train::TrainOutput<()>,
{
    let device = Device::flex().autodiff();
    let mlp = Mlp::new(&setting.theta.to_host().unwrap(), &device);
    let images = setting.backend_images();
    let x = double(&images, [6, 3], &device);
    let labels: Vec<i64> = setting.batch.labels.iter().map(|&label| label as i64).collect();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [6, 1]), &device);
    let output = step(method, &mlp, &|mlp: &Mlp| (mlp.loss(&x, &labels), ()));
    let all = mlp.dense().map(|dense| {
        let weight = output.grads.get::<2>(dense.weight.id).unwrap().try_into_vec_as::<f64>().unwrap();
        let bias = output.grads.get::<1>(dense.bias.id).unwrap().try_into_vec_as::<f64>().unwrap();
        [weight, bias].concat()
    });
    all.concat()
}

trait Images {
    fn backend_images(&self) -> Vec<f64>;
}

impl Images for Setting<'_, TanhMlp, Cpu<f64>> {
    fn backend_images(&self) -> Vec<f64> {
        use gnr_nn::Autodiff as _;
        self.backend.to_host(&self.batch.images).unwrap()
    }
}

/// The direction of gnr-core's step on the CPU engine: what SGD with rate 1 moves θ by.
fn of_cpu<'a, R, O>(
    setting: &'a Setting<'_, TanhMlp, Cpu<f64>>,
    regularizer: R,
    differences: impl FnOnce(BatchOracle<'a, TanhMlp, Cpu<f64>>) -> O,
    buffers: &'a RefCell<Buffers<Cpu<f64>>>,
) -> Vec<f64>
where
    O: HvpOracle + GradOracle<Vector = ParamVector<Cpu<f64>>>,
    R: Regularizer<O>,
{
    let oracle = BatchOracle::new(setting.model, &setting.backend, &setting.batch, buffers);
    let mut method = Method { regularizer, optimizer: Sgd::new(), learning_rate: 1.0, clip: Clip::None };
    let mut moved = setting.theta.clone();
    method.step(0, &mut moved, &mut differences(oracle)).unwrap();
    moved.aypx(-1.0, &setting.theta).unwrap();
    moved.to_host().unwrap().concat()
}

/// Both compute the same differences of gradients in f64. Dividing by ε = 1e-3 leaves 1e-12 of rounding.
#[test]
fn directions_are_those_of_the_cpu_engine() {
    let net = TanhMlp::new();
    let setting = Setting::new(&net, Cpu::<f64>::new(), &[6, 3], 3).unwrap().at_noise().unwrap();
    let buffers = RefCell::new(Buffers::initial(net.layout(), &setting.backend).unwrap());
    let central = Differences::Central { step: 1e-2 };

    let plain = of_cpu(&setting, (), ForwardDiff::new, &buffers);
    let found = of_burn(&setting, &Regularized::new(()), |method, mlp, loss| method.step(mlp, loss).unwrap());
    assert!(difference(&found, &plain) < 1e-13, "plain: {:e}", difference(&found, &plain));

    let sam = || Sam::new(0.05).unwrap();
    let expected = of_cpu(&setting, sam(), ForwardDiff::new, &buffers);
    let found =
        of_burn(&setting, &Regularized::new(sam()), |method, mlp, loss| method.step(mlp, loss).unwrap());
    assert!(difference(&found, &expected) < 1e-12, "SAM: {:e}", difference(&found, &expected));
    assert!(difference(&expected, &plain) > 1e-3, "SAM does something");

    let gnr = || Gnr::new(0.05, 0.5).unwrap();
    let expected = of_cpu(&setting, gnr(), ForwardDiff::new, &buffers);
    let found =
        of_burn(&setting, &Regularized::new(gnr()), |method, mlp, loss| method.step(mlp, loss).unwrap());
    assert!(difference(&found, &expected) < 1e-10, "GNR: {:e}", difference(&found, &expected));
    assert!(difference(&expected, &plain) > 1e-3, "GNR does something");

    let expected = of_cpu(&setting, gnr(), CentralDiff::new, &buffers);
    let method = Regularized::new(gnr()).with_differences(central);
    let found = of_burn(&setting, &method, |method, mlp, loss| method.step(mlp, loss).unwrap());
    assert!(difference(&found, &expected) < 1e-10, "central: {:e}", difference(&found, &expected));

    // The list of both means SAM + GNR of the paper's Eq. 10.
    let expected = of_cpu(&setting, (sam(), gnr()), ForwardDiff::new, &buffers);
    let both = Regularized::new((sam(), gnr()));
    let found = of_burn(&setting, &both, |method, mlp, loss| method.step(mlp, loss).unwrap());
    assert!(difference(&found, &expected) < 1e-10, "both: {:e}", difference(&found, &expected));
    assert_eq!(both.steps(), 1);
}

/// Central differences are off by ε² = 1e-6 times a third derivative of order 10 from exact products.
#[test]
fn central_differences_come_close_to_exact_products() {
    let net = TanhMlp::new();
    let setting = Setting::new(&net, Cpu::<f64>::new(), &[6, 3], 3).unwrap().at_noise().unwrap();
    let buffers = RefCell::new(Buffers::initial(net.layout(), &setting.backend).unwrap());
    let gnr = || Gnr::new(0.05, 0.5).unwrap();
    let exact = of_cpu(&setting, gnr(), |oracle| oracle, &buffers);
    let method = Regularized::new(gnr()).with_differences(Differences::Central { step: 1e-3 });
    let found = of_burn(&setting, &method, |method, mlp, loss| method.step(mlp, loss).unwrap());
    assert!(difference(&found, &exact) < 1e-5, "{:e}", difference(&found, &exact));
}
