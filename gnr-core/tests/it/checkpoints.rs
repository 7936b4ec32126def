//! Named leaves: absent buffers, damaged checkpoints, and a real file format.

use gnr_core::{Adam, Checkpoint, Error, Leaf, Leaves, Optimizer, Sgd, StateSink, StateSource};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

type Vf = Vec<f64>;

fn leaves(optimizer: &impl Checkpoint<Vf>) -> Leaves<Vf> {
    let mut leaves = Leaves::new();
    optimizer.save(&mut leaves).unwrap();
    leaves
}

#[test]
fn names_are_those_documented() {
    let names = |optimizer: &dyn Checkpoint<Vf>| {
        let mut leaves = Leaves::new();
        optimizer.save(&mut leaves).unwrap();
        leaves.into_keys().collect::<Vec<_>>()
    };
    let (mut sgd, mut adam) = (Sgd::new().with_momentum(0.9).unwrap(), Adam::new());
    assert!(names(&sgd).is_empty(), "no momentum before the first step");
    assert_eq!(names(&adam), ["step"]);
    sgd.step(&mut vec![1.0], &vec![1.0], 0.1).unwrap();
    adam.step(&mut vec![1.0], &vec![1.0], 0.1).unwrap();
    assert_eq!(names(&sgd), ["momentum"]);
    assert_eq!(names(&adam), ["exp_avg", "exp_avg_sq", "step"]);
    let mut plain = Sgd::new();
    plain.step(&mut vec![1.0], &vec![1.0], 0.1).unwrap();
    assert!(names(&plain).is_empty(), "without momentum there is no buffer");
}

#[test]
fn damaged_checkpoints_name_the_leaf() {
    let mut adam = Adam::new();
    adam.step(&mut vec![1.0, 2.0], &vec![1.0, 1.0], 0.1).unwrap();
    let good = leaves(&adam);
    type Damage = fn(&mut Leaves<Vf>);
    let cases: [(Damage, &str); 5] = [
        (|l| drop(l.remove("step")), "step"),
        (|l| drop(l.remove("exp_avg")), "exp_avg"),
        (|l| drop(l.remove("exp_avg_sq")), "exp_avg_sq"),
        (|l| drop(l.insert("exp_avg_sq".into(), Leaf::Vector(vec![0.0]))), "exp_avg_sq"),
        (|l| drop(l.insert("step".into(), Leaf::Count(0))), "step"),
    ];
    for (damage, expected) in cases {
        let mut bad = good.clone();
        damage(&mut bad);
        match adam.load(&mut bad) {
            Err(Error::CheckpointLeaf { name, .. }) => assert_eq!(name, expected),
            other => panic!("expected an error about `{expected}`, got {other:?}"),
        }
        assert_eq!(leaves(&adam), good, "the state changed");
    }
}

/// A state of a network of another size is refused by the next step, before θ changes.
#[test]
fn a_state_of_another_dimension_is_refused() {
    let (mut sgd, mut adam) = (Sgd::new().with_momentum(0.9).unwrap(), Adam::new());
    let optimizers: [&mut dyn Optimizer<Vf>; 2] = [&mut sgd, &mut adam];
    for optimizer in optimizers {
        optimizer.step(&mut vec![1.0, 2.0], &vec![1.0, 1.0], 0.1).unwrap();
        let mut theta = vec![1.0; 3];
        let result = optimizer.step(&mut theta, &vec![1.0; 3], 0.1);
        assert!(matches!(result, Err(Error::DimensionMismatch { .. })), "{result:?}");
        assert_eq!(theta, [1.0; 3]);
    }
}

#[test]
fn a_name_used_twice_is_an_error() {
    let mut leaves = Leaves::<Vf>::new();
    leaves.put("a", Leaf::Count(1)).unwrap();
    assert!(leaves.put("a", Leaf::Count(2)).is_err());
}

/// Leaves survive the way through safetensors bytes: a real format can hold the flat map.
#[test]
fn leaves_fit_safetensors() {
    struct File(Vec<(String, Dtype, Vec<u8>)>);
    impl StateSink<Vf> for File {
        fn put(&mut self, name: &str, leaf: Leaf<&Vf>) -> gnr_core::Result<()> {
            let (dtype, bytes) = match leaf {
                Leaf::Vector(v) => (Dtype::F64, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
                Leaf::Count(n) => (Dtype::U64, n.to_le_bytes().to_vec()),
                Leaf::Table(_) => panic!("no optimiser has tables"),
            };
            self.0.push((name.into(), dtype, bytes));
            Ok(())
        }
    }
    struct Read<'a>(SafeTensors<'a>);
    impl StateSource<Vf> for Read<'_> {
        fn get(&mut self, name: &str) -> gnr_core::Result<Option<Leaf<Vf>>> {
            let Ok(tensor) = self.0.tensor(name) else { return Ok(None) };
            let words = tensor.data().chunks_exact(8).map(|b| <[u8; 8]>::try_from(b).unwrap());
            Ok(Some(match tensor.dtype() {
                Dtype::F64 => Leaf::Vector(words.map(f64::from_le_bytes).collect()),
                _ => Leaf::Count(words.map(u64::from_le_bytes).next().unwrap()),
            }))
        }
    }
    let mut adam = Adam::new();
    for _ in 0..3 {
        adam.step(&mut vec![1.0, 2.0], &vec![0.1, -1.0], 0.1).unwrap();
    }
    let mut file = File(Vec::new());
    adam.save(&mut file).unwrap();
    let views = file
        .0
        .iter()
        .map(|(name, dtype, bytes)| (name, TensorView::new(*dtype, vec![bytes.len() / 8], bytes).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    let mut restored = Adam::new();
    restored.load(&mut Read(SafeTensors::deserialize(&bytes).unwrap())).unwrap();
    assert_eq!(leaves(&restored), leaves(&adam));
}
