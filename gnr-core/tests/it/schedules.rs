//! Schedules: values at and around every boundary.

use gnr_core::{Cosine, Error, InverseSqrt, Milestones, Proportional, Schedule, StepDecay, WarmUp, schedule};

fn check(schedule: impl Schedule, expected: &[(u64, f64)]) {
    for &(t, value) in expected {
        let found = schedule.at(t);
        assert!((found - value).abs() <= 1e-15 * value.abs().max(1.0), "at({t}) = {found}, expected {value}");
    }
}

#[test]
fn a_number_is_constant() {
    check(0.1, &[(0, 0.1), (1, 0.1), (u64::MAX, 0.1)]);
}

#[test]
fn cosine_falls_from_base_to_floor_and_stays() {
    let schedule = Cosine::new(0.3, 100, 0.1).unwrap();
    check(schedule, &[(50, 0.2), (25, 0.1 + 0.2 * (1.0 + 0.5_f64.sqrt()) / 2.0)]);
    assert_eq!(
        (schedule.at(0), schedule.at(100), schedule.at(101), schedule.at(u64::MAX)),
        (0.3, 0.1, 0.1, 0.1)
    );
    assert!((0..100).all(|t| schedule.at(t) > schedule.at(t + 1)));
    assert_eq!(Cosine::new(0.3, 0, 0.1).unwrap().at(0), 0.1, "an empty cosine is over");
}

#[test]
fn steps_drop_at_their_boundary() {
    let decay = StepDecay::new(0.1, 0.5, 30).unwrap();
    check(decay, &[(0, 0.1), (29, 0.1), (30, 0.05), (59, 0.05), (60, 0.025), (u64::MAX, 0.0)]);
    let milestones = Milestones::new(0.1, 0.5, [60, 30]).unwrap();
    check(milestones, &[(0, 0.1), (29, 0.1), (30, 0.05), (59, 0.05), (60, 0.025), (u64::MAX, 0.025)]);
    // A value made without the checked constructor does not divide by zero either.
    check(StepDecay { base: 0.1, factor: 0.5, every: 0 }, &[(0, 0.1), (9, 0.1)]);
}

#[test]
fn warm_up_is_linear_then_hands_over() {
    check(WarmUp::new(4, 1.0), &[(0, 0.2), (1, 0.4), (3, 0.8), (4, 1.0), (5, 1.0)]);
    let cosine = Cosine::new(1.0, 10, 0.0).unwrap();
    check(WarmUp::new(4, cosine), &[(3, 0.8), (4, 1.0), (9, 0.5), (14, 0.0), (15, 0.0)]);
    check(WarmUp::new(0, 0.3), &[(0, 0.3)]);
}

/// The whole run is warm-up, so no step follows it. Each schedule still rises towards the peak.
#[test]
fn a_warm_up_as_long_as_the_run_rises_towards_the_peak() {
    for entry in schedule::entries() {
        let values = entry.values([("warmup_epochs", 2.0.into())]).unwrap();
        let rate = schedule::build(&values, schedule::Span::new(0.1, 2, 4)).unwrap();
        let rates: Vec<f64> = (0..8).map(|t| rate.at(t)).collect();
        let expected: Vec<f64> = (1..=8).map(|n| 0.1 * f64::from(n) / 9.0).collect();
        assert!(rates.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-15), "{}: {rates:?}", entry.name);
    }
}

#[test]
fn inverse_square_root_counts_from_one() {
    check(InverseSqrt::new(0.6).unwrap(), &[(0, 0.6), (3, 0.3), (8, 0.2), (99, 0.06)]);
}

#[test]
fn rho_follows_the_learning_rate() {
    let lr = WarmUp::new(4, Cosine::new(0.1, 10, 0.0).unwrap());
    let rho = Proportional::new(lr, 0.1, 0.05).unwrap();
    check(rho, &[(0, 0.01), (4, 0.05), (9, 0.025), (14, 0.0)]);
}

#[test]
fn a_boxed_schedule_is_a_schedule() {
    let schedules: Vec<Box<dyn Schedule>> = vec![Box::new(0.5), Box::new(InverseSqrt::new(0.5).unwrap())];
    check(&*schedules[1], &[(0, 0.5), (3, 0.25)]);
    check(WarmUp::new(1, schedules.into_iter().next().unwrap()), &[(0, 0.25), (1, 0.5)]);
}

#[test]
fn hyperparameters_out_of_range_are_named() {
    let refused = |result: Option<Error>, name: &str| match result {
        Some(Error::InvalidHyperparameter { name: found, .. }) => assert_eq!(found, name),
        other => panic!("expected a refused {name}, got {other:?}"),
    };
    refused(Cosine::new(f64::NAN, 1, 0.0).err(), "base");
    refused(Cosine::new(0.1, 1, 0.2).err(), "floor");
    refused(StepDecay::new(0.1, 0.0, 1).err(), "factor");
    refused(StepDecay::new(0.1, 0.1, 0).err(), "every");
    refused(Milestones::new(-0.1, 0.1, []).err(), "base");
    refused(InverseSqrt::new(f64::INFINITY).err(), "base");
    refused(Proportional::new(0.1, 0.0, 0.1).err(), "peak");
}
