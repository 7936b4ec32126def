//! Optimisers against PyTorch's formulas, worked out step by step in Python.

use crate::assert_close;
use gnr_core::{
    Adam, AdamW, Checkpoint, Error, Grouped, Leaf, Leaves, Optimizer, Partition, Sgd, StateSink, StateSource,
    Vector, optimizer::ScheduleFreeSgd, registry::Configured, testing::conformance::check_optimizer,
};

type Vf = Vec<f64>;

/// Makes three steps from θ₀ = (1, −1) with lr = 0.1 along the gradients (1, −2), (0.5, 1), (−0.25, 3), whatever θ is.
fn check(mut optimizer: impl Optimizer<Vf>, expected: [[f64; 2]; 3]) {
    let mut theta = vec![1.0, -1.0];
    for (gradient, expected) in [[1.0, -2.0], [0.5, 1.0], [-0.25, 3.0]].into_iter().zip(expected) {
        optimizer.step(&mut theta, &gradient.to_vec(), 0.1).unwrap();
        // Equal formulas in another order of operations: a few ulps a step.
        assert_close(&theta, &expected, 1e-14);
    }
}

// Expected values: the loops of torch/optim/{sgd,adam,adamw}.py (single tensor), transcribed to Python floats:
//   SGD:   d = g + wd·θ; buf = d at first, then mu·buf + d; d = d + mu·buf if nesterov else buf; θ -= lr·d
//   Adam:  d = g + wd·θ;  AdamW: θ *= 1 − lr·wd, d = g;
//          m.lerp_(d, 1 − b1); v = b2·v + (1 − b2)·d²; θ -= lr/(1 − b1**t) · m/(sqrt(v)/sqrt(1 − b2**t) + eps)

#[test]
fn sgd() {
    let decayed = Sgd::new().with_weight_decay(0.1).unwrap();
    check(decayed, [[0.89, -0.79], [0.8311, -0.8821], [0.847789, -1.173279]]);
}

#[test]
#[expect(clippy::approx_constant, reason = "0.6931 is no ln 2")]
fn sgd_with_momentum() {
    let momentum = Sgd::new().with_momentum(0.9).unwrap();
    check(momentum.clone(), [[0.9, -0.8], [0.76, -0.72], [0.659, -0.948]]);
    let decayed = momentum.with_weight_decay(0.1).unwrap();
    check(decayed, [[0.89, -0.79], [0.7321, -0.6931], [0.607669, -0.898959]]);
}

/// Without momentum a step follows the direction alone, also where earlier steps left a buffer.
#[test]
fn sgd_whose_momentum_was_taken_away() {
    let (mut sgd, mut theta) = (Sgd::new().with_momentum(0.9).unwrap(), vec![1.0]);
    sgd.step(&mut theta, &vec![5.0], 0.1).unwrap();
    let mut sgd = sgd.with_momentum(0.0).unwrap();
    sgd.step(&mut theta, &vec![-1.0], 0.1).unwrap();
    assert_close(&theta, &[0.6], 1e-15);
}

#[test]
fn sgd_with_nesterov_momentum() {
    let nesterov = Sgd::new().with_nesterov_momentum(0.9).unwrap().with_weight_decay(0.1).unwrap();
    check(nesterov, [[0.791, -0.601], [0.591871, -0.609481], [0.501028351, -1.090942761]]);
}

#[test]
fn adam() {
    check(
        Adam::new(),
        [
            [0.900000001, -0.9000000005],
            [0.8067820382981611, -0.8733662967024315],
            [0.7504159014963296, -0.9123052755013414],
        ],
    );
    check(
        Adam::new().with_weight_decay(0.1).unwrap(),
        [
            [0.9000000009090909, -0.9000000004761904],
            [0.8057717968921709, -0.8681231891743804],
            [0.7421953937747058, -0.9031599879114369],
        ],
    );
}

#[test]
fn adam_w() {
    check(
        AdamW::new().with_weight_decay(0.1).unwrap(),
        [
            [0.890000001, -0.8900000005],
            [0.7878820382881611, -0.8544662966974315],
            [0.723637081103448, -0.8848606125293671],
        ],
    );
    let mut plain = AdamW::new().with_weight_decay(0.0).unwrap();
    let (mut a, mut b) = (vec![1.0, -1.0], vec![1.0, -1.0]);
    plain.step(&mut a, &vec![0.3, 0.1], 0.1).unwrap();
    Adam::new().step(&mut b, &vec![0.3, 0.1], 0.1).unwrap();
    assert_eq!(a, b, "without decay AdamW is Adam");
}

/// A parameter without gradient must not become 0/0.
#[test]
fn adam_leaves_a_parameter_without_gradient_alone() {
    let mut theta = vec![1.0_f32, 2.0];
    Adam::new().step(&mut theta, &vec![0.0, 1.0], 0.1).unwrap();
    assert_eq!(theta[0], 1.0);
}

/// The learning rate belongs to the step, not to the state: the momentum buffer holds gradients.
#[test]
fn momentum_does_not_contain_the_learning_rate() {
    let (mut sgd, mut theta) = (Sgd::new().with_momentum(0.5).unwrap(), vec![0.0]);
    sgd.step(&mut theta, &vec![1.0], 0.0).unwrap();
    assert_eq!(theta, [0.0]);
    sgd.step(&mut theta, &vec![1.0], 1.0).unwrap();
    assert_eq!(theta, [-1.5]);
}

#[test]
fn hyperparameters_out_of_range_are_named() {
    let refused = |error: Option<Error>, expected: &str| match error {
        Some(Error::InvalidHyperparameter { name, .. }) => assert_eq!(name, expected),
        other => panic!("expected a refused {expected}, got {other:?}"),
    };
    refused(Sgd::<Vf>::new().with_momentum(1.0).err(), "momentum");
    refused(Sgd::<Vf>::new().with_nesterov_momentum(0.0).err(), "momentum");
    refused(Sgd::<Vf>::new().with_weight_decay(f64::NAN).err(), "weight_decay");
    refused(Adam::<Vf>::new().with_betas(0.9, 1.0).err(), "beta2");
    refused(Adam::<Vf>::new().with_eps(0.0).err(), "eps");
    refused(AdamW::<Vf>::new().with_weight_decay(-0.1).err(), "weight_decay");
}

/// Four scalars in two parameter groups, {0, 2} with lr 0.1 and weight decay 0.1, {1, 3} with lr 0.02 and none; four
/// steps, as in PyTorch in float64:
///
/// ```text
/// p = [torch.nn.Parameter(torch.tensor(v)) for v in (1., -1., .5, 2.)]
/// groups = [{"params": [p[0], p[2]], "lr": .1, "weight_decay": .1},
///           {"params": [p[1], p[3]], "lr": .02, "weight_decay": 0.}]
/// torch.optim.SGD(groups, momentum=.9), SGD(.., nesterov=True), Adam(groups), AdamW(groups)
/// ```
#[test]
fn groups_as_in_pytorch() {
    fn check<P: Optimizer<Vf>>(make: impl Fn(f64) -> P, expected: [f64; 4]) {
        let mut grouped = Grouped::new(vec![(make(0.1), 1.0), (make(0.0), 0.2)], vec![0, 1, 0, 1]).unwrap();
        let mut theta = vec![1.0, -1.0, 0.5, 2.0];
        let gradients =
            [[1.0, -2.0, 0.5, 3.0], [0.5, 1.0, -0.25, 0.0], [-0.25, 3.0, 1.0, -1.0], [2.0, 0.0, -1.0, 0.5]];
        for gradient in gradients {
            grouped.step(&mut theta, &gradient.to_vec(), 0.1).unwrap();
        }
        // Tolerance: a few ulps a step.
        assert_close(&theta, &expected, 1e-14);
    }
    let decay = |wd| Sgd::new().with_weight_decay(wd).unwrap();
    check(
        |wd| decay(wd).with_momentum(0.9).unwrap(),
        [0.28960440999999987, -1.03064, 0.265782205, 1.8216599999999998],
    );
    check(
        |wd| decay(wd).with_nesterov_momentum(0.9).unwrap(),
        [0.012577267230999785, -1.067576, 0.2523101786154999, 1.789494],
    );
    check(
        |wd| Adam::new().with_weight_decay(wd).unwrap(),
        [0.6655010138761398, -0.9888403435094898, 0.28735035167257383, 1.9543199469850772],
    );
    check(
        |wd| AdamW::new().with_weight_decay(wd).unwrap(),
        [0.6430318369354731, -0.9888403435094898, 0.28964109076035705, 1.9543199469850772],
    );
}

type Any = Box<dyn Optimizer<Vf>>;

#[test]
fn groups_conform() {
    let sgd = |wd| Sgd::new().with_momentum(0.9).unwrap().with_weight_decay(wd).unwrap();
    check_optimizer(|| Grouped::new(vec![(sgd(1e-4), 1.0), (sgd(0.0), 0.5)], vec![1, 0, 1]).unwrap(), 0.01);
    check_optimizer(
        || Grouped::new(vec![(Adam::new(), 1.0), (Adam::new(), 0.5)], vec![1, 0, 0]).unwrap(),
        0.01,
    );
    check_optimizer(|| Grouped::new(vec![(Box::new(AdamW::new()) as Any, 1.0)], vec![0; 3]).unwrap(), 0.01);
}

/// Groups with different learning rates weigh the points of schedule-free methods differently, and each has its own
/// solution.
#[test]
fn groups_of_schedule_free_methods() {
    let free = || ScheduleFreeSgd::<Vf>::with([("weight_decay", 0.1.into())]).unwrap();
    let make = || Grouped::new(vec![(free(), 1.0), (free(), 0.3)], vec![1, 0, 1]).unwrap();
    check_optimizer(make, 0.1);
    let (mut grouped, mut theta) = (make(), vec![1.0, 2.0, 3.0]);
    assert_eq!(grouped.solution(&theta).unwrap(), None, "before the first step θ is the solution");
    let mut alone = [(free(), vec![2.0], 0.1), (free(), vec![1.0, 3.0], 0.03)];
    for t in 0..5 {
        let h = [0.5, f64::from(t), -1.0];
        grouped.step(&mut theta, &h.to_vec(), 0.1).unwrap();
        for ((optimizer, part, lr), h) in alone.iter_mut().zip([vec![h[1]], vec![h[0], h[2]]]) {
            optimizer.step(part, &h, *lr).unwrap();
        }
    }
    let solution = grouped.solution(&theta).unwrap().unwrap();
    let [first, second] = alone.map(|(optimizer, part, _)| optimizer.solution(&part).unwrap().unwrap());
    // Tolerance: 0.1·0.3 rounds.
    assert_close(&solution, &[second[0], first[0], second[1]], 1e-14);
}

/// One group equals its optimiser bit for bit, and saves its state under equal names.
#[test]
fn one_group_is_the_optimiser_bit_for_bit() {
    let make = || AdamW::new().with_weight_decay(0.3).unwrap();
    let mut grouped = Grouped::new(vec![(make(), 1.0)], vec![0; 3]).unwrap();
    let (mut plain, mut a, mut b) = (make(), vec![1.0, 2.0, 3.0], vec![1.0, 2.0, 3.0]);
    for i in 0..5 {
        let gradient = vec![f64::from(i).sin(), f64::from(i).cos(), 0.1];
        grouped.step(&mut a, &gradient, 0.1).unwrap();
        plain.step(&mut b, &gradient, 0.1).unwrap();
    }
    assert_eq!(a, b);
    let save = |optimizer: &dyn Checkpoint<Vf>| {
        let mut leaves = Leaves::new();
        optimizer.save(&mut leaves).unwrap();
        leaves
    };
    assert_eq!(save(&grouped), save(&plain));
}

/// The saved state does not depend on the groups: other groups resume from it.
#[test]
fn groups_may_be_rearranged_between_runs() {
    let sgd = || Sgd::new().with_momentum(0.5).unwrap();
    let mut two = Grouped::new(vec![(sgd(), 1.0), (sgd(), 2.0)], vec![0, 1, 0]).unwrap();
    two.step(&mut vec![0.0; 3], &vec![1.0, 2.0, 3.0], 0.1).unwrap();
    let mut leaves = Leaves::new();
    two.save(&mut leaves).unwrap();
    assert_eq!(leaves["momentum"], Leaf::Vector(vec![1.0, 2.0, 3.0]));
    let mut one = Grouped::new(vec![(sgd(), 1.0)], vec![0; 3]).unwrap();
    one.load(&mut leaves).unwrap();
    let mut theta = vec![0.0; 3];
    one.step(&mut theta, &vec![0.0; 3], 1.0).unwrap();
    assert_eq!(theta, [-0.5, -1.0, -1.5]);
    // A state of another dimension is refused, and nothing changes.
    leaves.insert("momentum".into(), Leaf::Vector(vec![0.0; 2]));
    assert!(matches!(two.load(&mut leaves), Err(Error::CheckpointLeaf { name, .. }) if name == "momentum"));
}

/// When the second group refuses a state, the first keeps its own.
#[test]
fn a_refused_state_changes_no_group() {
    struct Broken(u64);
    impl Checkpoint<Vf> for Broken {
        fn save(&self, sink: &mut dyn StateSink<Vf>) -> gnr_core::Result<()> {
            sink.put("count", Leaf::Count(self.0))
        }
        fn load(&mut self, source: &mut dyn StateSource<Vf>) -> gnr_core::Result<()> {
            let refused =
                |problem: &str| Error::CheckpointLeaf { name: "count".into(), problem: problem.into() };
            match source.get("count")? {
                Some(Leaf::Count(count)) if count < 10 || self.0.is_multiple_of(2) => self.0 = count,
                _ => return Err(refused("odd ones take only small counts")),
            }
            Ok(())
        }
    }
    let mut grouped = Grouped::new(vec![(Broken(2), 1.0), (Broken(2), 1.0)], vec![0, 1]).unwrap();
    let mut leaves = Leaves::new();
    grouped.save(&mut leaves).unwrap();
    assert_eq!(leaves["count"], Leaf::Count(2));
    leaves.insert("count".into(), Leaf::Vector(vec![1.0, 2.0]));
    assert!(grouped.load(&mut leaves).is_err());
    let mut uneven = Grouped::new(vec![(Broken(2), 1.0), (Broken(3), 1.0)], vec![0, 1]).unwrap();
    leaves.insert("count".into(), Leaf::Count(12));
    assert!(uneven.load(&mut leaves).is_err());
    // The first group loaded 12, and then its own 2 again.
    let mut apart = Leaves::new();
    uneven.save(&mut apart).unwrap();
    let saved: Vec<_> = apart.into_iter().collect();
    assert_eq!(saved, [("count.0".into(), Leaf::Count(2)), ("count.1".into(), Leaf::Count(3))]);
}

#[test]
fn groups_that_do_not_cover_theta_are_refused() {
    let named = |error: Option<Error>, expected: &str| match error {
        Some(Error::InvalidHyperparameter { name, .. }) => assert_eq!(name, expected),
        other => panic!("expected a refused {expected}, got {other:?}"),
    };
    let sgd = Sgd::<Vf>::new;
    named(Grouped::new(vec![(sgd(), -1.0)], vec![0]).err(), "lr_scale");
    named(Grouped::new(vec![(sgd(), 1.0)], vec![0, 1]).err(), "group");
    named(Grouped::new(vec![(sgd(), 1.0), (sgd(), 1.0)], vec![0, 0]).err(), "group");
    let mut theta = vec![1.0, 2.0];
    let mut short = Grouped::new(vec![(sgd(), 1.0)], vec![0]).unwrap();
    let result = short.step(&mut theta, &vec![1.0, 1.0], 0.1);
    assert!(matches!(result, Err(Error::DimensionMismatch { .. })), "{result:?}");
    assert_eq!(theta, [1.0, 2.0]);
}

#[test]
fn leaves_part_and_join() {
    let mut v = vec![1.0, 2.0, 3.0, 4.0];
    let parts = v.split(&[1, 0, 1, 1], 2).unwrap();
    assert_eq!(parts, [vec![2.0], vec![1.0, 3.0, 4.0]]);
    assert_eq!(v.dim(), 0);
    v.join(&[1, 0, 1, 1], parts.clone()).unwrap();
    assert_eq!(v, [1.0, 2.0, 3.0, 4.0]);
    assert!(v.split(&[0, 0], 1).is_err() && v.split(&[0, 0, 0, 2], 2).is_err());
    assert_eq!(v.dim(), 4, "a refused split leaves the leaves where they are");
    assert!(v.join(&[1, 0, 1], parts.clone()).is_err() && v.join(&[0; 4], parts).is_err());
}
