//! Averages of points: values by hand, resuming from a checkpoint, and coordinates that must not move.

use crate::ok;
use gnr_core::{Average, Checkpoint, Ema, Error, Leaf, Leaves, Swa, random::SplitMix64};

type V = Vec<f64>;

/// The points of a walk.
fn walk(steps: usize) -> Vec<V> {
    let mut random = SplitMix64::new(11);
    (0..steps).map(|_| random.normals(3)).collect()
}

fn told<A: Average<V>>(mut average: A, points: &[V]) -> A {
    points.iter().for_each(|point| ok(average.update(point)));
    average
}

/// The average is θ̄ = dⁿ⁻¹·θ₁ + (1 − d)·Σ dⁿ⁻ᵏ·θₖ over the points from the second on, with weights that add up to 1.
#[test]
fn an_exponential_average_by_hand() {
    let (points, decay) = (walk(20), 0.9_f64);
    let ema = told(ok(Ema::new(decay)), &points);
    let n = points.len() as i32;
    let weight = |k: i32| if k == 1 { decay.powi(n - 1) } else { (1.0 - decay) * decay.powi(n - k) };
    assert!(((1..=n).map(weight).sum::<f64>() - 1.0).abs() < 1e-14);
    for i in 0..3 {
        let expected: f64 = (1..=n).zip(&points).map(|(k, point)| weight(k) * point[i]).sum();
        // Tolerance: twenty roundings of numbers of about 1.
        assert!((ema.mean().unwrap()[i] - expected).abs() < 1e-14, "coordinate {i}");
    }
    assert_eq!(ema.updates(), 20);
    let first = told(ok(Ema::new(decay)), &points[..1]);
    assert_eq!(first.mean(), Some(&points[0]), "the first point is copied");
}

#[test]
fn a_running_mean_by_hand() {
    let points = walk(20);
    for n in 1..=points.len() {
        let swa = told(Swa::new(), &points[..n]);
        for i in 0..3 {
            let expected = points[..n].iter().map(|point| point[i]).sum::<f64>() / n as f64;
            assert!((swa.mean().unwrap()[i] - expected).abs() < 1e-14, "{n} points, coordinate {i}");
        }
        assert_eq!(swa.updates(), n as u64);
    }
    assert_eq!((Swa::<V>::new().mean(), Swa::<V>::default().updates()), (None, 0));
}

/// A coordinate that does not move keeps its bits, in single precision too, as a frozen layer's statistics must.
#[test]
fn what_does_not_move_is_its_own_average() {
    let fixed = [0.1_f32, 1.0 / 3.0, 1e20, -7e-12];
    let (mut ema, mut swa) = (ok(Ema::new(0.999)), Swa::new());
    for _ in 0..1000 {
        ok(ema.update(&fixed));
        ok(swa.update(&fixed));
    }
    assert_eq!((ema.mean(), swa.mean()), (Some(&fixed), Some(&fixed)));
}

/// An average that is saved anywhere, also before the first point, goes on with equal bits.
#[test]
fn an_average_resumes_bit_for_bit() {
    fn check<A: Average<V> + PartialEq + std::fmt::Debug>(make: impl Fn() -> A) {
        let points = walk(9);
        let whole = told(make(), &points);
        for stop in 0..points.len() {
            let mut leaves = Leaves::new();
            ok(told(make(), &points[..stop]).save(&mut leaves));
            let names: Vec<_> = leaves.keys().map(String::as_str).collect();
            assert_eq!(names, if stop == 0 { vec!["updates"] } else { vec!["mean", "updates"] });
            let mut resumed = told(make(), &points[..3]);
            ok(resumed.load(&mut leaves));
            assert_eq!(told(resumed, &points[stop..]), whole, "stopped after {stop}");
        }
    }
    check(|| ok(Ema::new(0.75)));
    check(Swa::new);
}

#[test]
fn damaged_states_and_other_spaces_are_refused() {
    let points = walk(2);
    type Damage = fn(&mut Leaves<V>);
    let cases: [(Damage, &str); 4] = [
        (|leaves| drop(leaves.remove("updates")), "updates"),
        (|leaves| drop(leaves.remove("mean")), "mean"),
        (|leaves| drop(leaves.insert("updates".into(), Leaf::Count(0))), "updates"),
        (|leaves| drop(leaves.insert("mean".into(), Leaf::Count(2))), "mean"),
    ];
    for (damage, expected) in cases {
        let mut leaves = Leaves::new();
        let mut swa = told(Swa::new(), &points);
        let before = swa.clone();
        ok(swa.save(&mut leaves));
        damage(&mut leaves);
        match swa.load(&mut leaves) {
            Err(Error::CheckpointLeaf { name, .. }) => assert_eq!(name, expected),
            other => panic!("expected an error about `{expected}`, got {other:?}"),
        }
        assert_eq!(swa, before, "the state changed");
    }
    let mut ema = told(ok(Ema::new(0.9)), &points);
    let before = ema.clone();
    assert!(matches!(ema.update(&vec![0.0; 4]), Err(Error::DimensionMismatch { expected: 3, found: 4, .. })));
    assert_eq!(ema, before);
    for decay in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(matches!(Ema::<V>::new(decay), Err(Error::InvalidHyperparameter { name: "decay", .. })));
    }
}
