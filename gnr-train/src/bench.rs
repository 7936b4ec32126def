//! The time of a step of each method on random data, which `gnr bench` prints and `cargo xtask bench` compares.

mod registered;

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use gnr_core::{
    Change, Clip, Evaluation, Every, ForwardDiff, FullOracle, Gnr, GradOracle, HvpOracle, Method, OnSample,
    Order, Pass, Regularizer, Sam, Sgd, StepContext, Use, Vector, optimizer,
    registry::{Cost, find},
    regularizer,
};
use gnr_models::{AnyModel, ModelConfig};
use gnr_nn::{Autodiff, Batch, BatchOracle, Buffers, Context, Mode, Model, ParamVector};
use serde::Serialize;

use self::registered::{Registered, registered};
use crate::{
    Result,
    backend::{Job, dispatch, library, matmul_peak_gflops, multiplications, release_idle_memory},
    memory::{reset_peak_rss, rss_mb},
    pool::{in_pool, threads},
    recipe::{Engine, Place, Precision, Recipe},
    run::config,
};

/// The learning rate of every step.
const RATE: f64 = 1e-3;
/// Period, in steps, with which the default methods repeat what they do.
const PERIOD: u64 = 10;

/// A computation that can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Timed {
    /// Logits and loss in train mode, no derivative.
    Forward,
    /// Loss and gradient.
    Gradient,
    /// Loss, gradient and one exact Hessian-vector product at one point.
    Hvp,
    /// Loss, gradient and four exact products at one point: the record is made once.
    Hvp4,
    /// A step of SGD with momentum.
    Sgd,
    /// A step of SAM over SGD: two gradients.
    Sam,
    /// A step of Algorithm 1 with exact products over SGD.
    GnrExact,
    /// A step of Algorithm 1 with one-sided differences over SGD: four gradients.
    GnrFd,
    /// Algorithm 1 by one-sided differences on every tenth step: the mean of ten steps.
    GnrFdEvery10,
    /// Algorithm 1 by one-sided differences on every tenth step, on a seeded quarter of the batch.
    GnrFdQuarterEvery10,
    /// The arithmetic that Algorithm 1 adds to a step of SGD beyond evaluations and products: its vectors are scaled,
    /// added and measured, with an oracle that answers at once.
    GnrArithmetic,
    /// A step of a registered regulariser with its defaults over SGD.
    Regularizer(&'static str),
    /// A step of a registered optimiser with its defaults.
    Optimizer(&'static str),
}

impl Timed {
    /// All computations but the registered methods, in the order in which they are timed.
    pub const ALL: [Self; 11] = [
        Self::Forward,
        Self::Gradient,
        Self::Hvp,
        Self::Hvp4,
        Self::Sgd,
        Self::Sam,
        Self::GnrExact,
        Self::GnrFd,
        Self::GnrFdEvery10,
        Self::GnrFdQuarterEvery10,
        Self::GnrArithmetic,
    ];

    /// The name of the computation in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Gradient => "gradient",
            Self::Hvp => "hvp",
            Self::Hvp4 => "hvp_4",
            Self::Sgd => "sgd",
            Self::Sam => "sam",
            Self::GnrExact => "gnr_exact",
            Self::GnrFd => "gnr_fd",
            Self::GnrFdEvery10 => "gnr_fd_every_10",
            Self::GnrFdQuarterEvery10 => "gnr_fd_quarter_every_10",
            Self::GnrArithmetic => "gnr_arithmetic",
            Self::Regularizer(name) | Self::Optimizer(name) => name,
        }
    }

    /// Number of steps in one timing.
    fn steps(self) -> u64 {
        let cost = match self {
            Self::GnrFdEvery10 | Self::GnrFdQuarterEvery10 => return PERIOD,
            Self::Regularizer(name) => find(regularizer::entries(), name),
            Self::Optimizer(name) => find(optimizer::entries(), name),
            _ => None,
        };
        // A fractional cost is that of work on some steps only, so that the time is a mean over a period.
        let rare =
            |cost: Cost| [cost.gradients, cost.products, cost.forwards].iter().any(|x| x.fract() != 0.0);
        if cost.is_some_and(|entry| rare(entry.cost)) { PERIOD } else { 1 }
    }

    /// The computation of a name: one of [`ALL`](Self::ALL), a regulariser or an optimiser.
    pub fn from_name(name: &str) -> Option<Self> {
        let own = Self::ALL.into_iter().find(|method| method.name() == name);
        own.or_else(|| find(regularizer::entries(), name).map(|entry| Self::Regularizer(entry.name)))
            .or_else(|| find(optimizer::entries(), name).map(|entry| Self::Optimizer(entry.name)))
    }
}

/// The options of [`bench()`].
#[derive(Clone, Debug)]
pub struct BenchRequest {
    /// The model, and with it the shape of the images.
    pub model: ModelConfig,
    /// Number of images in the batch.
    pub batch: usize,
    /// Number of timed rounds, after one that warms up.
    pub rounds: usize,
    /// The computations to time.
    pub methods: Vec<Timed>,
    /// The engine, device and precision.
    pub place: Place,
    /// Number of threads; 0 takes every core.
    pub threads: usize,
}

impl BenchRequest {
    /// A request for one gradient of a recipe's model, on images of the given shape.
    ///
    /// # Errors
    /// A model section from which no model can be made.
    pub fn gradient(
        recipe: &Recipe,
        classes: usize,
        input: [usize; 3],
        batch: usize,
        rounds: usize,
        threads: usize,
    ) -> Result<Self> {
        let model = config(&recipe.model, classes, input)?;
        let place = recipe.train.place();
        Ok(Self { model, batch, rounds, methods: vec![Timed::Gradient], place, threads })
    }
}

/// The result for one computation.
#[derive(Clone, Debug, Serialize)]
pub struct BenchLine {
    /// Name of the model.
    pub model: String,
    /// Name of the computation.
    pub method: &'static str,
    /// Device that computed: `cpu`, `cuda:0`.
    pub device: String,
    /// Name and version of the library that computed.
    pub library: String,
    /// The precision of parameters and activations.
    pub precision: Precision,
    /// The value `channels_last` if the channels of a pixel are adjacent in memory; otherwise `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<&'static str>,
    /// Median over the rounds, in milliseconds a step.
    pub median_ms: f64,
    /// Fastest round, in milliseconds a step.
    pub min_ms: f64,
    /// Number of timed rounds.
    pub rounds: usize,
    /// Work of a step in GFLOP: two for each multiplication of convolutions and matrix products by definition, whatever
    /// the algorithm. `None` for engines other than gnr-cpu, the only one that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflop: Option<f64>,
    /// Speed of gnr-cpu's f32 matrix product of side 1024 on as many threads, in GFLOP/s. `None` for other engines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matmul_gflops: Option<f64>,
    /// Resident memory in MB before the first step, after the model was built, where the system tells.
    pub idle_rss_mb: Option<f64>,
    /// Peak resident memory in MB of the first round, which starts from empty pools. For a single computation, of all
    /// its rounds.
    pub peak_rss_mb: Option<f64>,
}

/// Times every requested computation in turn, round by round, so that a change of load affects all of them.
///
/// # Errors
/// The errors of building and running the model.
pub fn bench(request: &BenchRequest) -> Result<Vec<BenchLine>> {
    struct Bench<'r>(&'r BenchRequest);
    impl Job for Bench<'_> {
        type Output = Result<Vec<BenchLine>>;
        fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> Result<B> + Send) -> Self::Output {
            in_pool(threads(self.0.threads), || run(self.0, &backend()?))?
        }
    }
    dispatch(request.place, Bench(request))?
}

fn run<B: Autodiff + 'static>(request: &BenchRequest, backend: &B) -> Result<Vec<BenchLine>> {
    let model = AnyModel::build(&request.model)?;
    let [c, h, w] = request.model.input;
    let count = request.batch * c * h * w;
    // Any values do, unless they are all alike: the golden ratio's multiples are equidistributed.
    let images: Vec<f32> =
        (0..count).map(|i| ((i as f64 * 0.618_033_988_749_894_9).fract() * 3.4 - 1.7) as f32).collect();
    let labels = (0..request.batch).map(|i| (i * 7 + 3) % request.model.classes).collect();
    let batch = Batch::new(backend.upload(&images, &[request.batch, c, h, w])?, labels)
        .with_examples((0..request.batch as u64).collect::<Vec<_>>());
    let mut bench = Steps::new(&model, backend, &batch)?;
    let counts = request.place.engine == Engine::Cpu;
    let matmul_gflops = counts.then(matmul_peak_gflops);
    release_idle_memory();
    let idle_rss_mb = rss_mb("VmRSS:");

    // A step of about a millisecond is timed several times over, so that the clock's resolution does not count.
    let started = Instant::now();
    bench.step(Timed::Gradient)?;
    let inner = (20.0 / (started.elapsed().as_secs_f64() * 1e3).max(0.05)).clamp(1.0, 50.0) as usize;

    let mut samples = vec![Vec::with_capacity(request.rounds); request.methods.len()];
    let mut peaks = vec![None; request.methods.len()];
    let mut work = vec![0; request.methods.len()];
    for round in 0..=request.rounds {
        for (index, &method) in request.methods.iter().enumerate() {
            if round == 0 {
                release_idle_memory();
                reset_peak_rss();
            }
            bench.prepare(method)?;
            let (mut took, before) = (Duration::ZERO, multiplications());
            for _ in 0..inner {
                took += bench.time(method)?;
            }
            let seconds = took.as_secs_f64();
            // Later rounds start with the memory that other computations left.
            if round == 0 || request.methods.len() == 1 {
                peaks[index] = rss_mb("VmHWM:");
            }
            if round > 0 {
                samples[index].push(seconds * 1e3 / (inner as u64 * method.steps()) as f64);
            } else {
                work[index] = (multiplications() - before) / (inner as u64 * method.steps());
            }
        }
    }
    let timed = request.methods.iter().zip(samples).zip(peaks).zip(work);
    let lines = timed.map(|(((method, mut times), peak_rss_mb), work)| {
        times.sort_by(f64::total_cmp);
        let (low, high) = (times[(times.len() - 1) / 2], times[times.len() / 2]);
        BenchLine {
            model: request.model.name.clone(),
            method: method.name(),
            device: request.place.device.to_string(),
            library: library(request.place),
            precision: request.place.precision,
            layout: request.place.channels_last.then_some("channels_last"),
            median_ms: 0.5 * (low + high),
            min_ms: times[0],
            rounds: request.rounds,
            gflop: counts.then(|| 2.0 * work as f64 / 1e9),
            matmul_gflops,
            idle_rss_mb,
            peak_rss_mb,
        }
    });
    Ok(lines.collect())
}

struct Steps<'a, B: Autodiff> {
    model: &'a AnyModel,
    backend: &'a B,
    batch: &'a Batch<B>,
    buffers: RefCell<Buffers<B>>,
    theta: ParamVector<B>,
    v: ParamVector<B>,
    v_norm: f64,
    optimizer: Sgd<ParamVector<B>>,
    t: u64,
    /// The registered methods that have been timed.
    registered: BTreeMap<&'static str, Registered<B>>,
}

impl<'a, B: Autodiff + 'static> Steps<'a, B> {
    fn new(model: &'a AnyModel, backend: &'a B, batch: &'a Batch<B>) -> Result<Self> {
        let buffers = RefCell::new(Buffers::initial(model.layout(), backend)?);
        let theta = ParamVector::initial(backend, model.layout(), 0)?;
        let v = ParamVector::initial(backend, model.layout(), 7)?;
        let v_norm = v.dot(&v)?.sqrt();
        let optimizer = Sgd::new().with_momentum(0.9)?;
        let registered = BTreeMap::new();
        Ok(Self { model, backend, batch, buffers, theta, v, v_norm, optimizer, t: 0, registered })
    }

    /// Measures how long a step takes.
    fn time(&mut self, method: Timed) -> Result<Duration> {
        if method == Timed::GnrArithmetic {
            return self.time_arithmetic();
        }
        self.settle()?;
        let started = Instant::now();
        self.step(method)?;
        self.settle()?;
        Ok(started.elapsed())
    }

    /// Waits for the device by reading a number, which the device computes after all earlier work.
    fn settle(&self) -> Result<()> {
        let smallest =
            self.theta.tensors().iter().min_by_key(|t| self.backend.shape(t).iter().product::<usize>());
        if let Some(tensor) = smallest {
            black_box(self.backend.dot(tensor, tensor)?);
        }
        Ok(())
    }

    /// Makes a registered method, with all its state.
    fn prepare(&mut self, method: Timed) -> Result<()> {
        if matches!(method, Timed::Regularizer(_) | Timed::Optimizer(_))
            && !self.registered.contains_key(method.name())
        {
            self.registered.insert(method.name(), registered(method, self.model, self.batch.labels.len())?);
            (0..PERIOD).try_for_each(|_| self.registered_step(method.name()))?;
        }
        Ok(())
    }

    fn time_arithmetic(&self) -> Result<Duration> {
        // Each product is a vector of its own, like those of a real oracle. Making them is not part of the
        // regulariser's time.
        let mut products = vec![self.v.clone(); 2];
        products.iter_mut().try_for_each(|product| product.scale(1.0))?;
        let mut oracle = Immediate { gradient: &self.v, products: products.into_iter() };
        let started = Instant::now();
        // The gradient norm is measured in a step of any method, so it is given here.
        let here = Evaluation {
            at: Cow::Borrowed(&self.theta),
            loss: 1.0,
            grad: self.v.clone(),
            grad_norm: self.v_norm,
            record: (),
        };
        let mut change = Change::new(here.grad.clone());
        let mut gnr = Gnr::new(0.1, 0.1)?;
        let needs = gnr.needs(0, &oracle);
        gnr.add_gradient(&mut StepContext::new(0, &here, &mut oracle, needs, &mut change))?;
        black_box(&change.direction);
        Ok(started.elapsed())
    }

    /// Makes a step of a registered method.
    fn registered_step(&mut self, name: &'static str) -> Result<()> {
        let Some(method) = self.registered.get_mut(name) else { return Ok(()) };
        let mut oracle = BatchOracle::new(self.model, self.backend, self.batch, &self.buffers);
        // A trait object, as in training, saves compiling the regularisers for this type of oracle, too.
        let mut oracle: Box<dyn FullOracle<Vector = _, Record = _> + '_> = Box::new(&mut oracle);
        method.step(self.t, &mut self.theta, &mut oracle)?;
        self.t += 1;
        Ok(())
    }

    fn step(&mut self, method: Timed) -> Result<()> {
        let (model, backend, batch) = (self.model, self.backend, self.batch);
        if method == Timed::Forward {
            let buffers = self.buffers.borrow();
            let mut cx = Context::new(backend, self.theta.tensors(), &buffers.tensors, Mode::Train);
            let logits = model.forward(&mut cx, &batch.images)?;
            let loss = backend.cross_entropy(&logits, &batch.labels, 0.0)?;
            black_box(backend.item(&loss)?);
            return Ok(());
        }
        let mut oracle = BatchOracle::new(model, backend, batch, &self.buffers);
        match method {
            // `Forward` was handled above, and `GnrArithmetic` has a clock of its own.
            Timed::Forward | Timed::GnrArithmetic => {}
            Timed::Gradient => {
                black_box(&oracle.evaluate(&self.theta, Pass::Probe, Order::First)?);
            }
            Timed::Hvp => {
                let here: Evaluation<'_, _, _> = oracle.evaluate(&self.theta, Pass::Probe, Order::Second)?;
                let out = oracle.hvp(&here, &self.v, Use::Again)?;
                black_box(&out);
            }
            Timed::Hvp4 => {
                let here: Evaluation<'_, _, _> = oracle.evaluate(&self.theta, Pass::Probe, Order::Second)?;
                for _ in 0..4 {
                    black_box(&oracle.hvp(&here, &self.v, Use::Again)?);
                }
            }
            Timed::Regularizer(name) | Timed::Optimizer(name) => {
                (0..method.steps()).try_for_each(|_| self.registered_step(name))?;
            }
            Timed::Sgd => self.advance((), RATE, 1)?,
            Timed::Sam => self.advance(Sam::new(0.1)?, RATE, 1)?,
            Timed::GnrExact => self.advance(Gnr::new(0.1, 0.1)?, RATE, 1)?,
            Timed::GnrFd => self.advance_by_differences(Gnr::new(0.1, 0.1)?, RATE, 1)?,
            Timed::GnrFdEvery10 => {
                self.advance_by_differences(Every::new(Gnr::new(0.1, 0.1)?, 10)?, RATE, 10)?;
            }
            Timed::GnrFdQuarterEvery10 => {
                let quarter = OnSample::new(Gnr::new(0.1, 0.1)?, 0.25)?;
                self.advance_by_differences(Every::new(quarter, 10)?, RATE, 10)?;
            }
        }
        Ok(())
    }

    /// Makes `count` steps of a method over SGD with momentum.
    fn advance<R>(&mut self, regularizer: R, rate: f64, count: u64) -> Result<()>
    where
        R: for<'o> Regularizer<BatchOracle<'o, AnyModel, B>>,
    {
        let mut method =
            Method { regularizer, optimizer: self.optimizer.clone(), learning_rate: rate, clip: Clip::None };
        for _ in 0..count {
            let mut oracle = BatchOracle::new(self.model, self.backend, self.batch, &self.buffers);
            method.step(self.t, &mut self.theta, &mut oracle)?;
            self.t += 1;
        }
        self.optimizer = method.optimizer;
        Ok(())
    }

    fn advance_by_differences<R>(&mut self, regularizer: R, rate: f64, count: u64) -> Result<()>
    where
        R: for<'o> Regularizer<ForwardDiff<BatchOracle<'o, AnyModel, B>>>,
    {
        let mut method =
            Method { regularizer, optimizer: self.optimizer.clone(), learning_rate: rate, clip: Clip::None };
        for t in 0..count {
            let oracle = BatchOracle::new(self.model, self.backend, self.batch, &self.buffers);
            method.step(t, &mut self.theta, &mut ForwardDiff::new(oracle).with_step(1e-2)?)?;
        }
        self.optimizer = method.optimizer;
        Ok(())
    }
}

/// An oracle that answers at once: every gradient and product equals one vector, and each product has its own memory.
struct Immediate<'v, V> {
    gradient: &'v V,
    /// The products to return, in the order in which they were computed. Large ones have left the caches since.
    products: std::vec::IntoIter<V>,
}

impl<V: Vector> GradOracle for Immediate<'_, V> {
    type Vector = V;
    type Record = ();
    fn evaluate<'a>(&mut self, at: &'a V, _: Pass, _: Order) -> gnr_core::Result<Evaluation<'a, V, ()>> {
        Evaluation::new(at, 1.0, self.gradient.clone(), ())
    }
}

impl<V: Vector> HvpOracle for Immediate<'_, V> {
    fn hvp(&mut self, _: &Evaluation<'_, V, ()>, _: &V, _: Use) -> gnr_core::Result<V> {
        Ok(self.products.next().unwrap_or_else(|| self.gradient.clone()))
    }
}
