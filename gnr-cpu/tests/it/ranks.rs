//! A network's batch spread over ranks: BatchNorm over all of it is that of one process, in every derivative.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use gnr_core::{
    Collective, DataParallel, ExampleOracle, GradOracle, HvpOracle, OnSample, Order, OutputOracle, Outputs,
    Pass, Point, Sample, SampledOracle, Shares, Use, Vector, collective::Packed, testing::Threads,
};
use gnr_cpu::Cpu;
use gnr_models::{AnyModel, ModelConfig};
use gnr_nn::{
    AcrossRanks, Autodiff, Batch, BatchOracle, Buffers, Curvature, MaskSeed, Model, ParamVector, Statistics,
    testing::noise,
};

const IMAGES: usize = 7;

fn model(name: &str, activation: Option<&str>, dropout: Option<f64>) -> AnyModel {
    let mut config = ModelConfig::new(name, 10, [3, 8, 8]);
    config.activation = activation.map(|activation| activation.parse().unwrap());
    if name == "resnet8" {
        config.widths = Some(vec![4, 6, 8]);
    }
    config.dropout = dropout;
    if name.starts_with("vit") {
        (config.depth, config.heads, config.widths) = (Some(2), Some(2), Some(vec![8]));
        config.drop_path = dropout;
    }
    AnyModel::build(&config).unwrap()
}

/// What one rank is asked: loss, gradient, product, Gauss–Newton product, gradient on a sample and on chosen rows,
/// losses, outputs and a pull-back of them, running statistics.
struct Answers {
    loss: f64,
    vectors: Vec<Vec<f64>>,
    statistics: Vec<f64>,
}

fn flat(vector: &ParamVector<Cpu<f64>>) -> Vec<f64> {
    vector.to_host().unwrap().concat()
}

fn batch(backend: &Cpu<f64>, range: std::ops::Range<usize>) -> Batch<Cpu<f64>> {
    let size = 3 * 8 * 8;
    let pixels: Vec<f32> = (0..IMAGES * size).map(|i| noise(5, i as u64) as f32).collect();
    let labels: Vec<usize> = (0..IMAGES).map(|i| (3 * i) % 10).collect();
    let images = &pixels[range.start * size..range.end * size];
    let images = backend.upload(images, &[range.len(), 3, 8, 8]).unwrap();
    let examples: Vec<u64> = range.clone().map(|row| 100 + row as u64).collect();
    Batch::new(images, labels[range].to_vec()).with_examples(examples)
}

fn answers(model: &AnyModel, shares: &Shares) -> Answers {
    let backend = Cpu::<f64>::new();
    let theta = ParamVector::initial(&backend, model.layout(), 3).unwrap();
    let v = ParamVector::initial(&backend, model.layout(), 4).unwrap();
    let buffers = RefCell::new(Buffers::initial(model.layout(), &backend).unwrap());
    let part = shares.part();
    let batch = batch(&backend, part.start..part.start + part.len);
    let make = |curvature| {
        let oracle = BatchOracle::new(model, &backend, &batch, &buffers)
            .with_curvature(curvature)
            .with_masks(MaskSeed::new(1, 2, 0))
            .with_ranks(shares, Statistics::Shared);
        DataParallel::new(oracle, shares.clone())
    };
    let mut oracle = make(Curvature::Hessian);
    let here = oracle.evaluate(&theta, Pass::Commit, Order::Second).unwrap();
    let loss = here.loss;
    let mut vectors = vec![flat(&here.grad), flat(&oracle.hvp(&here, &v, Use::Again).unwrap())];
    assert_eq!(vectors[1], flat(&oracle.hvp(&here, &v, Use::Last).unwrap()), "a product repeats");
    let alone = oracle.loss(&theta).unwrap();
    assert!((alone - loss).abs() < 1e-12);
    for seed in 0..3 {
        oracle.restrict(Some(Sample::new(0.4, seed))).unwrap();
        let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
        vectors.push(flat(&here.grad));
        vectors.push(flat(&oracle.hvp_of_gradient(here).unwrap()));
    }
    oracle.restrict(None).unwrap();
    vectors.push(flat(&oracle.gradient(theta.clone()).unwrap()));
    assert_eq!(oracle.examples().unwrap(), (100..100 + IMAGES as u64).collect::<Vec<_>>());
    for point in [Point::Committed, Point::At(&v)] {
        let losses = oracle.losses(point).unwrap();
        assert_eq!(losses.len(), IMAGES);
        vectors.push(losses);
        vectors.push(oracle.outputs(point).unwrap().values().to_vec());
    }
    let u = Outputs::new(10, (0..10 * IMAGES).map(|i| noise(6, i as u64)).collect()).unwrap();
    vectors.push(flat(&oracle.pull_back(&theta, &u).unwrap()));
    // Not every rank has one of these rows.
    for rows in [&[1, 2][..], &[5], &[0, 3, 6]] {
        assert_eq!(oracle.select(Some(rows)).unwrap(), rows.len() as f64 / IMAGES as f64);
        let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
        vectors.push(flat(&here.grad));
        vectors.push(flat(&oracle.hvp_of_gradient(here).unwrap()));
        vectors.push(oracle.losses(Point::At(&theta)).unwrap());
        assert_eq!(oracle.examples().unwrap().len(), rows.len());
    }
    assert!(oracle.select(Some(&[IMAGES])).is_err());
    oracle.select(None).unwrap();
    vectors.push(flat(&oracle.gradient(theta.clone()).unwrap()));
    let mut oracle = make(Curvature::GaussNewton);
    let here = oracle.evaluate(&theta, Pass::Probe, Order::Second).unwrap();
    vectors.push(flat(&oracle.hvp(&here, &v, Use::Last).unwrap()));
    Answers { loss, vectors, statistics: buffers.borrow().to_host(&backend).unwrap().concat() }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn norm(a: &[f64]) -> f64 {
    distance(a, &vec![0.0; a.len()])
}

#[test]
fn networks_on_ranks_answer_as_on_one() {
    // A batch norm ends in each activation that is fused with it, and in one that is not. At this point no value is
    // near a kink.
    for (name, activation, dropout) in [
        ("resnet8", Some("silu"), None),
        ("resnet8", Some("relu"), None),
        ("resnet8", Some("gelu"), None),
        ("mlp", None, None),
        ("vit_tiny_patch4_32", None, Some(0.2)),
    ] {
        let model = model(name, activation, dropout);
        let alone = Threads::run(1, |ranks| answers(&model, &Shares::even(ranks, IMAGES).unwrap())).remove(0);
        for sizes in [vec![4, 3], vec![1, 2, 4], vec![2, 2, 2, 1]] {
            let found = Threads::run(sizes.len(), |ranks| {
                answers(&model, &Shares::new(ranks, sizes.clone()).unwrap())
            });
            for found in &found {
                assert!(
                    (found.loss - alone.loss).abs() < 1e-12,
                    "{name} {sizes:?}: {} {}",
                    found.loss,
                    alone.loss
                );
                for (k, (found, expected)) in found.vectors.iter().zip(&alone.vectors).enumerate() {
                    // Rounding of a few hundred operations one after the other.
                    let difference = distance(found, expected) / norm(expected);
                    assert!(difference < 1e-11, "{name} {sizes:?}: answer {k} is off by {difference:e}");
                }
                assert!(distance(&found.statistics, &alone.statistics) <= 1e-12 * norm(&alone.statistics));
            }
            let bits = |answers: &Answers| answers.vectors.clone();
            assert!(
                found.iter().all(|other| bits(other) == bits(&found[0])),
                "{name} {sizes:?}: ranks differ"
            );
        }
    }
}

/// Statistics of each rank's own part make another loss; averaged, they are those of the parts.
#[test]
fn own_statistics_are_another_loss_and_their_mean_is_taken() {
    let model = model("resnet8", Some("silu"), None);
    let evaluated = |statistics: Statistics| {
        Threads::run(2, |ranks| {
            let backend = Cpu::<f64>::new();
            let shares = Shares::even(ranks, IMAGES).unwrap();
            let part = shares.part();
            let batch = batch(&backend, part.start..part.start + part.len);
            let theta = ParamVector::initial(&backend, model.layout(), 3).unwrap();
            let buffers = RefCell::new(Buffers::initial(model.layout(), &backend).unwrap());
            let oracle = BatchOracle::new(&model, &backend, &batch, &buffers).with_ranks(&shares, statistics);
            let loss = DataParallel::new(oracle, shares.clone())
                .evaluate(&theta, Pass::Commit, Order::First)
                .unwrap()
                .loss;
            let own = buffers.borrow().to_host(&backend).unwrap().concat();
            buffers.borrow_mut().average(&backend, &AcrossRanks::new(&shares)).unwrap();
            (loss, own, buffers.borrow().to_host(&backend).unwrap().concat())
        })
    };
    let (shared, own) = (evaluated(Statistics::Shared), evaluated(Statistics::Own));
    assert!((shared[0].0 - own[0].0).abs() > 1e-6);
    assert_eq!(shared[0].1, shared[1].1);
    assert_ne!(own[0].1, own[1].1);
    for k in 0..own[0].1.len() {
        let mean = (3.0 * own[0].1[k] + 4.0 * own[1].1[k]) / 7.0;
        for rank in &own {
            assert!((rank.2[k] - mean).abs() < 1e-14);
        }
    }
}

/// A collective that counts its operations.
struct Counted {
    ranks: Arc<dyn Collective>,
    operations: AtomicUsize,
}

impl Collective for Counted {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }
    fn size(&self) -> usize {
        self.ranks.size()
    }
    fn gather(&self, own: Packed, counts: &[usize]) -> gnr_core::Result<Packed> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.ranks.gather(own, counts)
    }
    fn exchange(&self, own: Packed, counts: &[usize]) -> gnr_core::Result<Packed> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.ranks.exchange(own, counts)
    }
    fn abort(&self, why: &str) {
        self.ranks.abort(why);
    }
}

/// A batch norm over ranks costs one exchange forward and one in reverse, in a gradient as in a product of its record.
#[test]
fn statistics_over_ranks_cost_one_exchange_a_pass() {
    for activation in ["relu", "silu"] {
        let model = model("resnet8", Some(activation), None);
        let exchanges = |statistics: Statistics| {
            Threads::run(2, |ranks| {
                let ranks = Arc::new(Counted { ranks, operations: AtomicUsize::new(0) });
                let backend = Cpu::<f64>::new();
                let shares = Shares::even(ranks.clone(), IMAGES).unwrap();
                let part = shares.part();
                let batch = batch(&backend, part.start..part.start + part.len);
                let theta = ParamVector::initial(&backend, model.layout(), 3).unwrap();
                let buffers = RefCell::new(Buffers::initial(model.layout(), &backend).unwrap());
                let oracle =
                    BatchOracle::new(&model, &backend, &batch, &buffers).with_ranks(&shares, statistics);
                let mut oracle = DataParallel::new(oracle, shares.clone());
                let so_far = || ranks.operations.load(Ordering::Relaxed);
                let here = oracle.evaluate(&theta, Pass::Commit, Order::Second).unwrap();
                let gradient = so_far();
                oracle.hvp(&here, &theta, Use::Last).unwrap();
                [gradient, so_far() - gradient]
            })
            .remove(0)
        };
        let (shared, own) = (exchanges(Statistics::Shared), exchanges(Statistics::Own));
        let backend = Cpu::<f64>::new();
        // Mean and variance of each.
        let norms = Buffers::initial(model.layout(), &backend).unwrap().to_host(&backend).unwrap().len() / 2;
        assert_eq!(norms, 7, "{activation}");
        assert_eq!([shared[0] - own[0], shared[1] - own[1]], [2 * norms; 2], "{activation}");
    }
}

/// A method that asks for samples, on ranks.
#[test]
fn methods_on_samples_train_as_one_process_does() {
    let model = model("resnet8", Some("silu"), None);
    let train = |size: usize| {
        Threads::run(size, |ranks| {
            let backend = Cpu::<f64>::new();
            let shares = Shares::even(ranks, IMAGES).unwrap();
            let part = shares.part();
            let batch = batch(&backend, part.start..part.start + part.len);
            let mut theta = ParamVector::initial(&backend, model.layout(), 3).unwrap();
            let buffers = RefCell::new(Buffers::initial(model.layout(), &backend).unwrap());
            let mut method = gnr_core::Method {
                regularizer: OnSample::new(gnr_core::Gnr::new(0.05, 0.1).unwrap(), 0.6).unwrap(),
                optimizer: gnr_core::Sgd::new(),
                learning_rate: 0.05,
                clip: gnr_core::Clip::None,
            };
            for t in 0..5 {
                let oracle = BatchOracle::new(&model, &backend, &batch, &buffers)
                    .with_ranks(&shares, Statistics::Shared);
                method.step(t, &mut theta, &mut DataParallel::new(oracle, shares.clone())).unwrap();
            }
            assert!(theta.dim() > 0);
            flat(&theta)
        })
        .remove(0)
    };
    let alone = train(1);
    for size in [2, 3] {
        let difference = distance(&train(size), &alone) / norm(&alone);
        assert!(difference < 1e-12, "{size} ranks: {difference:e}");
    }
}
