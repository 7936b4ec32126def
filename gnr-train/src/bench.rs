//! The time of one step of each method on random data: what `gnr bench` prints and `cargo xtask bench` compares.

use std::{hint::black_box, time::Instant};

use gnr_core::{Clip, Evaluation, ForwardDiff, Gnr, GradOracle, HvpOracle, Method, Order, Pass, Sam, Sgd};
use gnr_models::{AnyModel, ModelConfig};
use gnr_nn::{Autodiff, Batch, BatchOracle, Buffers, Context, Mode, Model, ParamVector};
use serde::Serialize;

use crate::{
    Result,
    backend::{Job, dispatch},
    recipe::Precision,
    run::{in_pool, threads},
};

/// What can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Timed {
    /// Logits and loss in train mode, no derivative.
    Forward,
    /// Loss and gradient.
    Gradient,
    /// Loss, gradient and one exact Hessian-vector product at the same point.
    Hvp,
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
}

impl Timed {
    /// All of them, in the order in which they are timed.
    pub const ALL: [Self; 8] = [
        Self::Forward,
        Self::Gradient,
        Self::Hvp,
        Self::Sgd,
        Self::Sam,
        Self::GnrExact,
        Self::GnrFd,
        Self::GnrFdEvery10,
    ];

    /// Its name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Gradient => "gradient",
            Self::Hvp => "hvp",
            Self::Sgd => "sgd",
            Self::Sam => "sam",
            Self::GnrExact => "gnr_exact",
            Self::GnrFd => "gnr_fd",
            Self::GnrFdEvery10 => "gnr_fd_every_10",
        }
    }

    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct BenchRequest {
    /// The model, and with it the shape of the images.
    pub model: ModelConfig,
    /// Images in the batch.
    pub batch: usize,
    /// Timed rounds, after one that warms up.
    pub rounds: usize,
    /// Which methods.
    pub methods: Vec<Timed>,
    /// Single or double precision.
    pub precision: Precision,
    /// Threads; 0 takes every core.
    pub threads: usize,
}

/// One measured method.
#[derive(Clone, Debug, Serialize)]
pub struct BenchLine {
    /// Model name.
    pub model: String,
    /// Method name.
    pub method: &'static str,
    /// Median over the rounds, milliseconds a step.
    pub median_ms: f64,
    /// Fastest round.
    pub min_ms: f64,
    /// Number of timed rounds.
    pub rounds: usize,
    /// Peak resident memory of the process so far, MB, where the system tells.
    pub peak_rss_mb: Option<f64>,
}

/// Times every requested method in turn, round by round, so that a change of load falls on all of them.
///
/// # Errors
/// Those of building and running the model.
pub fn bench(request: &BenchRequest) -> Result<Vec<BenchLine>> {
    struct Bench<'r>(&'r BenchRequest);
    impl Job for Bench<'_> {
        type Output = Result<Vec<BenchLine>>;
        fn on<B: Autodiff + 'static>(self, backend: impl FnOnce() -> B + Send) -> Self::Output {
            in_pool(threads(self.0.threads), || run(self.0, &backend()))?
        }
    }
    dispatch(request.precision, Bench(request))
}

fn run<B: Autodiff>(request: &BenchRequest, backend: &B) -> Result<Vec<BenchLine>> {
    let model = AnyModel::build(&request.model)?;
    let [c, h, w] = request.model.input;
    let count = request.batch * c * h * w;
    // Any values do, as long as they are not all alike: the golden ratio's multiples are equidistributed.
    let images: Vec<f32> =
        (0..count).map(|i| ((i as f64 * 0.618_033_988_749_894_9).fract() * 3.4 - 1.7) as f32).collect();
    let labels = (0..request.batch).map(|i| (i * 7 + 3) % request.model.classes).collect();
    let batch = Batch { images: backend.upload(&images, &[request.batch, c, h, w])?, labels };
    let mut bench = Steps::new(&model, backend, &batch)?;

    // A step that takes about a millisecond is timed several times over, or the clock is what is measured.
    let started = Instant::now();
    bench.step(Timed::Gradient)?;
    let inner = (20.0 / (started.elapsed().as_secs_f64() * 1e3).max(0.05)).clamp(1.0, 50.0) as usize;

    let mut samples = vec![Vec::with_capacity(request.rounds); request.methods.len()];
    let mut peaks = vec![None; request.methods.len()];
    for round in 0..=request.rounds {
        for (index, &method) in request.methods.iter().enumerate() {
            let started = Instant::now();
            for _ in 0..inner {
                bench.step(method)?;
            }
            if round > 0 {
                samples[index].push(started.elapsed().as_secs_f64() * 1e3 / inner as f64);
            } else {
                peaks[index] = peak_rss_mb();
            }
        }
    }
    let lines = request.methods.iter().zip(samples).zip(peaks).map(|((method, mut times), peak_rss_mb)| {
        times.sort_by(f64::total_cmp);
        let scale = if *method == Timed::GnrFdEvery10 { 0.1 } else { 1.0 };
        let (low, high) = (times[(times.len() - 1) / 2], times[times.len() / 2]);
        BenchLine {
            model: request.model.name.clone(),
            method: method.name(),
            median_ms: scale * 0.5 * (low + high),
            min_ms: scale * times[0],
            rounds: request.rounds,
            peak_rss_mb,
        }
    });
    Ok(lines.collect())
}

struct Steps<'a, B: Autodiff> {
    model: &'a AnyModel,
    backend: &'a B,
    batch: &'a Batch<B>,
    buffers: Buffers<B>,
    theta: ParamVector<B>,
    v: ParamVector<B>,
    optimizer: Sgd<ParamVector<B>>,
    t: u64,
}

impl<'a, B: Autodiff> Steps<'a, B> {
    fn new(model: &'a AnyModel, backend: &'a B, batch: &'a Batch<B>) -> Result<Self> {
        let buffers = Buffers::initial(model.layout(), backend)?;
        let theta = ParamVector::initial(backend, model.layout(), 0)?;
        let v = ParamVector::initial(backend, model.layout(), 7)?;
        let optimizer = Sgd::new().with_momentum(0.9)?;
        Ok(Self { model, backend, batch, buffers, theta, v, optimizer, t: 0 })
    }

    fn step(&mut self, method: Timed) -> Result<()> {
        const RATE: f64 = 1e-3;
        let (model, backend, batch) = (self.model, self.backend, self.batch);
        if method == Timed::Forward {
            let mut cx = Context::new(backend, self.theta.tensors(), &self.buffers.tensors, Mode::Train);
            let logits = model.forward(&mut cx, &batch.images)?;
            let loss = backend.cross_entropy(&logits, &batch.labels, 0.0)?;
            black_box(backend.item(&loss)?);
            return Ok(());
        }
        let mut oracle = BatchOracle::new(model, backend, batch, &mut self.buffers);
        match method {
            Timed::Forward => {}
            Timed::Gradient => {
                black_box(&oracle.evaluate(&self.theta, Pass::Probe, Order::First)?);
            }
            Timed::Hvp => {
                let here: Evaluation<'_, _, _> = oracle.evaluate(&self.theta, Pass::Probe, Order::Second)?;
                let mut out = self.v.clone();
                oracle.hvp(&here, &self.v, &mut out)?;
                black_box(&out);
            }
            Timed::Sgd => self.advance((), RATE, 1)?,
            Timed::Sam => self.advance(Sam::new(0.1)?, RATE, 1)?,
            Timed::GnrExact => self.advance(Gnr::new(0.1, 0.1)?, RATE, 1)?,
            Timed::GnrFd => self.advance_by_differences(1, RATE, 1)?,
            Timed::GnrFdEvery10 => self.advance_by_differences(10, RATE, 10)?,
        }
        Ok(())
    }

    /// `count` steps of a method over SGD with momentum.
    fn advance<R>(&mut self, regularizer: R, rate: f64, count: u64) -> Result<()>
    where
        R: for<'o> gnr_core::Regularizer<BatchOracle<'o, AnyModel, B>>,
    {
        let mut method =
            Method { regularizer, optimizer: self.optimizer.clone(), learning_rate: rate, clip: Clip::None };
        for _ in 0..count {
            let mut oracle = BatchOracle::new(self.model, self.backend, self.batch, &mut self.buffers);
            method.step(self.t, &mut self.theta, &mut oracle)?;
            self.t += 1;
        }
        self.optimizer = method.optimizer;
        Ok(())
    }

    fn advance_by_differences(&mut self, period: u64, rate: f64, count: u64) -> Result<()> {
        let regularizer = gnr_core::Every::new(Gnr::new(0.1, 0.1)?, period)?;
        let mut method =
            Method { regularizer, optimizer: self.optimizer.clone(), learning_rate: rate, clip: Clip::None };
        for t in 0..count {
            let oracle = BatchOracle::new(self.model, self.backend, self.batch, &mut self.buffers);
            method.step(t, &mut self.theta, &mut ForwardDiff::new(oracle).with_step(1e-2)?)?;
        }
        self.optimizer = method.optimizer;
        Ok(())
    }
}

/// Peak resident set of this process (Linux; `None` elsewhere).
pub(crate) fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? / 1024.0)
}
