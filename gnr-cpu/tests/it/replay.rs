//! The record of a gradient pass and its replays: exact, repeatable, with equal bits for any number of threads, and
//! strict.

use gnr_cpu::Cpu;
use gnr_nn::{
    Arithmetic, Autodiff, Dual, Duals, Linear as _, Model, Unary,
    testing::nets::{Mixed, Setting, Sums, TanhMlp, difference},
};

use crate::unfused::Unfused;

/// Compares two ways to H·v: the replay of a record, and dual numbers from scratch on the same primitives (gnr-dfdx's
/// tests add a third). Both are exact, so only the order of additions differs.
fn ways_agree<M: Model>(model: &M) {
    let ask = |what: &str, answer: gnr_core::Result<(Vec<f64>, Vec<Vec<f64>>)>| match answer {
        Ok(answer) => answer,
        Err(error) => panic!("{what}: {error}"),
    };
    let shape = [6, 3];
    let replay = Setting::new(model, Cpu::<f64>::new(), &shape, 3).unwrap().at_noise().unwrap();
    let unfused = Setting::new(model, Unfused::<f64>::new(), &shape, 3).unwrap().at_noise().unwrap();
    let (gradient, products) = ask("replay", replay.ask(&[replay.direction(1).unwrap()]));
    let (other_gradient, other_products) = ask("unfused", unfused.ask(&[unfused.direction(1).unwrap()]));
    let errors = [difference(&gradient, &other_gradient), difference(&products[0], &other_products[0])];
    assert!(errors[0] < 1e-12 && errors[1] < 1e-12, "{errors:?}");
}

#[test]
fn replay_equals_dual_numbers_from_scratch() {
    ways_agree(&TanhMlp::new());
    ways_agree(&Mixed::new());
    ways_agree(&Sums::new());
}

/// Compares the columns H·eᵢ with central differences of the gradient along eᵢ. Step 1e-4 leaves a truncation error
/// near 1e-8.
fn dense<M: Model>(model: &M) {
    let setting = Setting::new(model, Cpu::<f64>::new(), &[6, 3], 3).unwrap().at_noise().unwrap();
    let layout = model.layout();
    let unit = |index: usize| {
        let mut at = index;
        let values = layout.parameters().map(|entry| {
            let mut values = vec![0.0; entry.len()];
            if at < values.len() {
                values[at] = 1.0;
            }
            at = at.wrapping_sub(values.len());
            values
        });
        let values: Vec<_> = values.collect();
        gnr_nn::ParamVector::from_host(&setting.backend, layout, &values).unwrap()
    };
    let units: Vec<_> = (0..layout.num_parameters()).map(unit).collect();
    let (_, columns) = setting.ask(&units).unwrap();
    let transposed: Vec<f64> =
        (0..columns.len()).flat_map(|i| columns.iter().map(move |column| column[i])).collect();
    let asymmetry = difference(&columns.concat(), &transposed);
    assert!(asymmetry < 1e-13, "{asymmetry}");
    let h = 1e-4;
    let slope = |i: usize| {
        let at = |step: f64| {
            use gnr_core::Vector;
            let mut theta = setting.theta.clone();
            theta.axpy(step, &units[i]).unwrap();
            Setting { theta, batch: setting.batch.clone(), backend: setting.backend.clone(), model }
                .ask(&[])
                .unwrap()
                .0
        };
        at(h).iter().zip(at(-h)).map(|(p, m)| (p - m) / (2.0 * h)).collect::<Vec<_>>()
    };
    let all: Vec<f64> = columns.concat();
    let expected: Vec<f64> = (0..columns.len()).flat_map(slope).collect();
    assert!(difference(&all, &expected) < 1e-6, "{}", difference(&all, &expected));
}

#[test]
fn products_are_the_columns_of_the_symmetric_hessian() {
    dense(&TanhMlp::new());
    dense(&Mixed::new());
}

fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads| {
        on_threads(threads, || {
            let config = gnr_models::ModelConfig::new("resnet20", 10, [3, 32, 32]);
            let model = gnr_models::AnyModel::build(&config).unwrap();
            let setting = Setting::new(&model, Cpu::<f32>::new(), &[8, 3, 32, 32], 10).unwrap();
            let v = setting.direction(2).unwrap();
            let (gradient, products) = setting.ask(&[v.clone(), v]).unwrap();
            assert_eq!(products[0], products[1], "a replay repeats bit for bit");
            (gradient, products)
        })
    };
    let one = run(1);
    assert!(one == run(2), "2 threads");
    assert!(one == run(3), "3 threads");
}

/// f32 rounding, 6e-8 an operation, amplified by the depth; measured 1e-6.
#[test]
fn f32_follows_f64_on_a_smooth_net() {
    let model = TanhMlp::new();
    let double = Setting::new(&model, Cpu::<f64>::new(), &[64, 3], 3).unwrap();
    let single = Setting::new(&model, Cpu::<f32>::new(), &[64, 3], 3).unwrap();
    let (g64, h64) = double.ask(&[double.direction(3).unwrap()]).unwrap();
    let (g32, h32) = single.ask(&[single.direction(3).unwrap()]).unwrap();
    assert!(difference(&g32, &g64) < 1e-5);
    assert!(difference(&h32[0], &h64[0]) < 1e-5);
}

/// The replay takes a sum from the record if a later operation holds it as its input, and recomputes other sums.
#[test]
fn a_replay_reuses_what_the_record_holds_of_linear_operations() {
    const LEN: usize = 8192;
    let backend = Cpu::<f64>::new();
    let x = backend.constant(&[0.5; LEN], &[LEN]).unwrap();
    let recording = backend.gradient_session(true);
    let leaf = recording.variable(&x).unwrap();
    let held = {
        let passed_on = recording.add(&leaf, &leaf).unwrap();
        let held = recording.add(&passed_on, &leaf).unwrap();
        let y = recording.unary(Unary::Gelu, &held).unwrap();
        let loss = recording.sum(&y, &[0]).unwrap();
        recording.backward(&loss, vec![leaf]).unwrap();
        held.as_slice().as_ptr()
    };
    let record = recording.take_record().unwrap();
    drop(recording);

    let replay = backend.replay_session(&record).unwrap();
    let leaf = Dual { primal: replay.variable(&x).unwrap(), tangent: Some(x.clone()) };
    let duals = Duals(replay);
    let passed_on = duals.add(&leaf, &leaf).unwrap();
    let replayed = duals.add(&passed_on, &leaf).unwrap();
    assert!(passed_on.primal.as_slice().iter().all(|&v| v == 1.0));
    assert_eq!(replayed.primal.as_slice().as_ptr(), held, "a held sum is not recomputed");
    assert!(replayed.tangent.is_some_and(|t| t.as_slice().iter().all(|&v| v == 1.5)));
    let error = duals.add(&leaf, &leaf).unwrap_err().to_string();
    assert!(error.contains("add") && error.contains("unary"), "{error}");
}

/// A layer whose output is only added to something: the record does not hold the output, and a replay recomputes it
/// with the same bits.
#[test]
fn a_replay_recomputes_a_product_that_the_record_does_not_hold() {
    let backend = Cpu::<f32>::new();
    let noise = |n: usize, k: f64| (0..n).map(|i| (k * (i + 1) as f64).sin()).collect::<Vec<_>>();
    let x = backend.constant(&noise(600 * 16, 0.7), &[600, 16]).unwrap();
    let w = backend.constant(&noise(16 * 16, 1.3), &[16, 16]).unwrap();
    let recording = backend.gradient_session(true);
    let leaves = [&x, &w].map(|leaf| recording.variable(leaf).unwrap());
    let recorded = {
        let y = recording.linear(&leaves[0], &leaves[1], None).unwrap();
        let sum = recording.add(&y, &leaves[0]).unwrap();
        let loss = recording.sum(&recording.mul(&sum, &sum).unwrap(), &[0, 1]).unwrap();
        recording.backward(&loss, leaves.into()).unwrap();
        y.as_slice().to_vec()
    };
    let record = recording.take_record().unwrap();
    drop(recording);
    let replay = backend.replay_session(&record).unwrap();
    let [x, w] = [x, w].map(|leaf| Dual { primal: replay.variable(&leaf).unwrap(), tangent: Some(leaf) });
    let y = Duals(replay).linear(&x, &w, None).unwrap();
    assert_eq!(y.primal.as_slice(), recorded);
    assert!(
        y.tangent.is_some_and(|t| t
            .as_slice()
            .iter()
            .zip(&recorded)
            .all(|(t, y)| (t - 2.0 * y).abs() < 1e-5))
    );
}

/// In a replay only the dual form of a nonlinear operation knows its second term; anything else would lose it silently.
#[test]
fn a_replay_refuses_nonlinear_operations_without_their_tangent() {
    let backend = Cpu::<f64>::new();
    let x = backend.constant(&[1.0, 2.0], &[2]).unwrap();
    let recording = backend.gradient_session(true);
    assert!(recording.take_record().is_err(), "a record before the backward pass");
    let leaf = recording.variable(&x).unwrap();
    let y = recording.mul(&leaf, &leaf).unwrap();
    let loss = recording.sum(&y, &[0]).unwrap();
    recording.backward(&loss, vec![leaf]).unwrap();
    let record = recording.take_record().unwrap();

    let replay = backend.replay_session(&record).unwrap();
    let leaf = replay.variable(&x).unwrap();
    let error = replay.mul(&leaf, &leaf).unwrap_err().to_string();
    assert!(error.contains("mul") && error.contains("dual"), "{error}");
    assert!(replay.finish_replay().is_err(), "an entry is left over");

    // Another operation, another shape, one operation too many.
    let duals = Duals(backend.replay_session(&record).unwrap());
    let v = backend.constant(&[1.0, 0.0], &[2]).unwrap();
    let leaf = Dual { primal: duals.0.variable(&x).unwrap(), tangent: Some(v.clone()) };
    assert!(duals.unary(Unary::Exp, &leaf).is_err());
    let long = duals.reshape(&leaf, &[1, 2]).unwrap();
    assert!(duals.mul(&long, &long).is_err());
    duals.mul(&leaf, &leaf).unwrap();
    assert!(duals.mul(&leaf, &leaf).is_err());

    // A tangent that is itself differentiated belongs to another pass.
    let duals = Duals(backend.replay_session(&record).unwrap());
    let leaf = Dual { primal: duals.0.variable(&x).unwrap(), tangent: Some(duals.0.variable(&v).unwrap()) };
    assert!(duals.mul(&leaf, &leaf).is_err());
}

#[test]
fn tensors_of_a_session_do_not_outlive_it_or_mix_with_another() {
    let backend = Cpu::<f64>::new();
    let x = backend.constant(&[1.0], &[1]).unwrap();
    let (one, two) = (backend.gradient_session(false), backend.gradient_session(false));
    let (a, b) = (one.variable(&x).unwrap(), two.variable(&x).unwrap());
    assert!(one.add(&a, &b).is_err(), "two sessions in one operation");
    drop(one);
    assert!(backend.affine(&a, 2.0, 0.0).is_err(), "a tape that is gone");
    assert!(backend.backward(&x, Vec::new()).is_err(), "a plain handle has no tape");
}

#[test]
fn nan_in_the_images_is_an_error_with_a_name() {
    let model = TanhMlp::new();
    let mut setting = Setting::new(&model, Cpu::<f32>::new(), &[4, 3], 3).unwrap();
    let mut values = vec![0.5; 12];
    values[7] = f64::NAN;
    setting.batch.images = setting.backend.constant(&values, &[4, 3]).unwrap();
    let error = setting.ask(&[]).unwrap_err();
    assert!(matches!(error, gnr_core::Error::NonFinite { .. }), "{error}");
}
