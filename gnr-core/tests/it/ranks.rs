//! Ranks that share a batch give the results of one process that has all of it.

use crate::{assert_close, norm, ok, oracle, plain, sub};
use gnr_core::{
    Accumulated, Collective, Counted, DataParallel, Error, Evaluation, Every, ForwardDiff, Gnr, GradOracle,
    HvpOracle, Method, Order, Pass, Products, Quantity, Regularizer, Result, Sam, Sample, SampledOracle,
    Shares, Solo, Use,
    collective::{Pack, Packed, Part, agree, cut},
    random::SplitMix64,
    testing::{
        LogisticRegression, Problem, ProblemOracle, TanhMlp, Threads,
        conformance::{Operation, Tolerances, check_oracle},
    },
};
use std::sync::Arc;

/// A batch whose examples are spread over the ranks in these numbers.
fn batch_of(ranks: &Arc<dyn Collective>, sizes: &[usize]) -> Shares {
    ok(Shares::new(Arc::clone(ranks), sizes.to_vec()))
}

fn part(all: &LogisticRegression, shares: &Shares) -> ProblemOracle<LogisticRegression> {
    let Part { start, len, .. } = shares.part();
    oracle(all.batch(start..start + len))
}

/// Unequal shares: a mean without weights would show.
const SIZES: [&[usize]; 4] = [&[31], &[20, 11], &[1, 17, 13], &[8, 8, 8, 7]];

#[test]
fn means_are_weighted_and_have_the_same_bits_on_every_rank() {
    // Counts below and above the size from which numbers are reduced in parts, with parts of unequal length.
    for count in [0, 1, 5, 4096, 4097, 10_007] {
        for size in 1..=4 {
            let weights: Vec<f64> = (1..=size).map(|w| w as f64 / 10.0).collect();
            let numbers = |rank: usize| SplitMix64::new(rank as u64).normals(count);
            let found = Threads::run(size, |ranks| {
                ok(ranks.mean(Packed::Double(numbers(ranks.rank())), &weights).and_then(Packed::doubles))
            });
            let mut expected = vec![0.0; count];
            for (rank, weight) in weights.iter().enumerate() {
                expected.iter_mut().zip(numbers(rank)).for_each(|(sum, x)| *sum += weight * x);
            }
            for found in found {
                assert_eq!(found, expected, "{count} numbers on {size} ranks");
            }
        }
    }
}

#[test]
fn single_precision_is_summed_in_double_precision() {
    let tiny = 1e-9_f32;
    for count in [1, 5000] {
        let found = Threads::run(3, |ranks| {
            let own = if ranks.rank() == 0 { 1.0 } else { tiny };
            let numbers = Packed::Single(vec![if ranks.rank() == 2 { -1.0 } else { own }; count]);
            ok(ranks.mean(numbers, &[1.0, 1.0, 1.0]))
        });
        for found in found {
            assert_eq!(found, Packed::Single(vec![(1.0 + f64::from(tiny) - 1.0) as f32; count]));
        }
    }
}

#[test]
fn a_rank_of_weight_zero_adds_nothing_even_where_it_is_not_finite() {
    let found = Threads::run(2, |ranks| {
        let own = if ranks.rank() == 0 { 2.0 } else { f64::NAN };
        ok(ranks.mean(Packed::Double(vec![own]), &[1.0, 0.0]))
    });
    assert_eq!(found, vec![Packed::Double(vec![2.0]); 2]);
}

#[test]
fn messages_and_broadcasts_arrive_whole() {
    let found = Threads::run(3, |ranks| {
        let own = vec![ranks.rank() as u8; 2 * ranks.rank()];
        let all = ok(ranks.messages(own.clone()));
        ok(ranks.barrier());
        (all, ok(ranks.broadcast(2, own)))
    });
    for (all, from_two) in found {
        assert_eq!(all, [vec![], vec![1; 2], vec![2; 4]]);
        assert_eq!(from_two, [2; 4]);
    }
    assert_eq!(ok(Solo.messages(vec![7])), [[7]]);
    assert_eq!(ok(Solo.broadcast(0, vec![7])), [7]);
}

#[test]
fn an_error_of_one_rank_is_an_error_of_all() {
    let found = Threads::run(3, |ranks| {
        let failed = || Error::Oracle("the image is damaged".into());
        agree(ranks.as_ref(), if ranks.rank() == 1 { Err(failed()) } else { Ok(0.0) })
    });
    for found in found {
        assert!(
            matches!(&found, Err(Error::Rank { rank: 1, message }) if message == "oracle: the image is damaged")
        );
    }
    // The watched quantity keeps its name, and the error of the lowest rank counts.
    let found = Threads::run(3, |ranks| match ranks.rank() {
        0 => agree(ranks.as_ref(), Ok(1.0)),
        1 => {
            agree(ranks.as_ref(), Err(Error::NonFinite { quantity: Quantity::HvpNorm, value: f64::INFINITY }))
        }
        _ => agree(ranks.as_ref(), Err(Error::Oracle("later".into()))),
    });
    for found in found {
        let expected = "the norm of a Hessian-vector product is inf; the parameters were left unchanged";
        assert_eq!(found.unwrap_err().to_string(), expected);
    }
    let found = Threads::run(2, |ranks| ok(agree(ranks.as_ref(), Ok(ranks.rank() as f64))));
    assert_eq!(found, [[0.0, 1.0], [0.0, 1.0]]);
}

#[test]
fn nobody_waits_for_a_rank_that_is_gone() {
    let found = Threads::run(3, |ranks| if ranks.rank() == 1 { Ok(()) } else { ranks.barrier() });
    for rank in [0, 2] {
        assert!(matches!(found[rank], Err(Error::Rank { rank: 1, .. })), "{:?}", found[rank]);
    }
    let found = Threads::run(2, |ranks| {
        if ranks.rank() == 0 {
            ranks.abort("out of memory");
        }
        ranks.barrier().unwrap_err().to_string()
    });
    assert_eq!(found, ["rank 0: out of memory"; 2]);
}

#[test]
fn shares_need_an_example_a_rank() {
    let error = Threads::run(3, |ranks| Shares::even(ranks, 2).unwrap_err().to_string());
    assert!(error[0].contains("rank 0 of 3 has no example of a batch of 2"), "{}", error[0]);
    let cuts: Vec<_> = (0..3).map(|index| cut(11, 3, index)).collect();
    assert_eq!(cuts, [0..3, 3..7, 7..11]);
    assert!(Shares::new(Arc::new(Solo), vec![1, 2]).is_err());
}

#[test]
fn answers_are_those_of_the_whole_batch() {
    let all = LogisticRegression::random(31, 5, 3);
    let mut random = SplitMix64::new(9);
    let (theta, v) = (random.normals(5), random.normals(5));
    let (loss, grad) = all.value_and_gradient(&theta);
    for sizes in SIZES {
        Threads::run(sizes.len(), |ranks| {
            let shares = batch_of(&ranks, sizes);
            let mut spread = DataParallel::new(part(&all, &shares), shares);
            let here = ok(spread.evaluate(&theta, Pass::Commit, Order::Second));
            assert!((here.loss - loss).abs() < 1e-14);
            assert_close(&here.grad, &grad, 1e-14);
            assert_close(&ok(spread.hvp(&here, &v, Use::Again)), &all.hvp(&theta, &v), 1e-14);
            let block = ok(spread.hvp_block(&here, &[v.clone(), theta.clone()]));
            assert_close(&block[1], &all.hvp(&theta, &theta), 1e-14);
            assert_close(&ok(spread.hvp_of_gradient(here)), &all.hvp(&theta, &grad), 1e-14);
            assert_close(&ok(spread.gradient(theta.clone())), &grad, 1e-14);
            assert!((ok(spread.loss(&theta)) - loss).abs() < 1e-14);
        });
    }
}

#[test]
fn a_rank_by_itself_changes_no_bit() {
    let all = LogisticRegression::random(31, 5, 3);
    let shares = ok(Shares::even(Arc::new(Solo), 31));
    let step = |spread: bool| {
        let mut theta = vec![0.3; 5];
        let mut method = plain((ok(Sam::new(0.05)), ok(Gnr::new(0.1, 0.5))), 0.3);
        for t in 0..3 {
            if spread {
                let mut whole = DataParallel::new(oracle(all.clone()), shares.clone());
                ok(method.step(t, &mut theta, &mut whole));
            } else {
                ok(method.step(t, &mut theta, &mut oracle(all.clone())));
            }
        }
        theta
    };
    assert_eq!(step(true), step(false));
}

#[test]
fn the_oracle_suite_holds() {
    let all = TanhMlp::random(15, 3, 4, 6);
    let mut random = SplitMix64::new(1);
    let theta = random.normals(all.dim());
    let tangents = [random.normals(all.dim()), random.normals(all.dim())];
    Threads::run(2, |ranks| {
        let shares = batch_of(&ranks, &[4, 11]);
        let Part { start, len, .. } = shares.part();
        let own = all.batch(start..start + len);
        let make = || DataParallel::new(oracle(own.clone()), shares.clone());
        check_oracle(make, &theta, &tangents, Some(&vec![0.0; 3]), Tolerances::F64);
    });
}

/// Trains on ranks and returns each rank's θ.
fn trained<R>(
    sizes: &[usize],
    all: &LogisticRegression,
    method: impl Fn() -> Method<R, gnr_core::Sgd<Vec<f64>>, f64> + Sync,
    differences: bool,
) -> Vec<Vec<f64>>
where
    R: Regularizer<DataParallel<ProblemOracle<LogisticRegression>>>
        + Regularizer<ForwardDiff<DataParallel<ProblemOracle<LogisticRegression>>>>,
{
    Threads::run(sizes.len(), |ranks| {
        let (mut method, mut theta) = (method(), vec![0.3; 5]);
        for t in 0..20 {
            let shares = batch_of(&ranks, sizes);
            let mut spread = DataParallel::new(part(all, &shares), shares);
            if differences {
                ok(method.step(t, &mut theta, &mut ForwardDiff::new(spread)));
            } else {
                ok(method.step(t, &mut theta, &mut spread));
            }
        }
        theta
    })
}

#[test]
fn methods_train_as_one_process_does() {
    let all = LogisticRegression::random(31, 5, 3);
    let check = |name: &str, differences: bool, train: &dyn Fn(&[usize]) -> Vec<Vec<f64>>| {
        let alone = train(SIZES[0]).remove(0);
        assert!(norm(&sub(&alone, &[0.3; 5])) > 0.1, "{name} did not move");
        for sizes in &SIZES[1..] {
            let spread = train(sizes);
            assert!(spread.iter().all(|theta| *theta == spread[0]), "{name}: ranks differ");
            assert_eq!(spread, train(sizes), "{name}: another run of as many ranks differs");
            // Tolerance: rounding; with differences, rounding divided by the step.
            let tolerance = if differences { 1e-10 } else { 1e-13 };
            assert_close(&spread[0], &alone, tolerance);
        }
    };
    let gnr = || ok(Gnr::new(0.1, 0.5));
    check("sgd", false, &|sizes| trained(sizes, &all, || plain((), 0.3), false));
    check("sam", false, &|sizes| trained(sizes, &all, || plain(ok(Sam::new(0.05)), 0.3), false));
    check("gnr", false, &|sizes| trained(sizes, &all, || plain(gnr(), 0.3), false));
    check("gnr by differences", true, &|sizes| trained(sizes, &all, || plain(gnr(), 0.3), true));
    check("every", false, &|sizes| trained(sizes, &all, || plain(ok(Every::new(gnr(), 3)), 0.3), false));
}

/// An example belongs to the sample or not, on whichever rank it is; a rank may have none of the sample.
#[test]
fn samples_are_those_of_the_whole_batch() {
    /// The seed of a sample that no rank but the first can take.
    const DAMAGED: u64 = 99;
    struct Rows<'a>(&'a LogisticRegression, usize, Vec<usize>);
    impl GradOracle for Rows<'_> {
        type Vector = Vec<f64>;
        type Record = ();
        fn evaluate<'a>(
            &mut self,
            at: &'a Vec<f64>,
            _: Pass,
            _: Order,
        ) -> Result<Evaluation<'a, Vec<f64>, ()>> {
            let (mut loss, mut mean) = (0.0, vec![0.0; at.len()]);
            for row in &self.2 {
                let (value, grad) = self.0.batch(self.1 + row..self.1 + row + 1).value_and_gradient(at);
                loss += value / self.2.len() as f64;
                mean.iter_mut().zip(grad).for_each(|(m, g)| *m += g / self.2.len() as f64);
            }
            Evaluation::new(at, loss, mean, ())
        }
    }
    impl SampledOracle for Rows<'_> {
        fn restrict(&mut self, sample: Option<Sample>) -> Result<()> {
            if self.1 > 0 && sample.is_some_and(|sample| sample.seed == DAMAGED) {
                return Err(Error::Oracle("the images are damaged".into()));
            }
            let n = self.2.len();
            self.2 = sample.map_or_else(|| (0..n).collect(), |sample| sample.rows(n));
            Ok(())
        }
    }
    let all = LogisticRegression::random(31, 5, 3);
    let theta = vec![0.3; 5];
    let mut seen_empty = false;
    for seed in 0..8 {
        let sample = Sample::new(0.1, seed);
        let mut whole = Rows(&all, 0, (0..31).collect());
        ok(whole.restrict(Some(sample)));
        let expected = ok(whole.gradient(theta.clone()));
        for sizes in SIZES {
            let empty = Threads::run(sizes.len(), |ranks| {
                let shares = batch_of(&ranks, sizes);
                let Part { start, len, .. } = shares.part();
                let mut spread = DataParallel::new(Rows(&all, start, (0..len).collect()), shares.clone());
                ok(spread.restrict(Some(sample)));
                assert_close(&ok(spread.gradient(theta.clone())), &expected, 1e-14);
                shares.weights_in(sample).contains(&0.0)
            });
            seen_empty |= empty[0];
        }
    }
    assert!(seen_empty, "no rank was without examples");
    // A rank that cannot restrict its part is an error on all of them.
    let found = Threads::run(3, |ranks| {
        let shares = batch_of(&ranks, &[11, 10, 10]);
        let Part { start, len, .. } = shares.part();
        let mut spread = DataParallel::new(Rows(&all, start, (0..len).collect()), shares);
        spread.restrict(Some(Sample::new(0.1, DAMAGED))).unwrap_err().to_string()
    });
    assert_eq!(found, ["rank 1: oracle: the images are damaged"; 3]);
}

#[test]
fn own_perturbations_are_those_of_groups() {
    let all = LogisticRegression::random(31, 5, 3);
    let regularizer = || (ok(Sam::new(0.05)), ok(Gnr::new(0.1, 0.5)));
    for sizes in SIZES {
        let mut expected = vec![0.3; 5];
        let mut method = plain(regularizer(), 0.3);
        let mut reports = Vec::new();
        for t in 0..20 {
            let mut start = 0;
            let groups = sizes.iter().map(|size| {
                start += size;
                (oracle(all.batch(start - size..start)), *size)
            });
            reports.push(ok(method.step_groups(t, &mut expected, groups)));
        }
        let found = Threads::run(sizes.len(), |ranks| {
            let (mut method, mut theta, mut reports) = (plain(regularizer(), 0.3), vec![0.3; 5], Vec::new());
            for t in 0..20 {
                let shares = batch_of(&ranks, sizes);
                let own = [(part(&all, &shares), shares.part().len)];
                reports.push(ok(method.step_ranks(t, &mut theta, own, &shares)));
            }
            (theta, reports)
        });
        for (theta, found) in &found {
            assert_close(theta, &expected, 1e-13);
            for (found, expected) in found.iter().zip(&reports) {
                assert!((found.loss - expected.loss).abs() < 1e-13);
                assert!((found.direction_norm - expected.direction_norm).abs() < 1e-13);
                assert_eq!(found.penalties.len(), expected.penalties.len());
                for ((name, found), (expected_name, expected)) in
                    found.penalties.iter().zip(&expected.penalties)
                {
                    assert_eq!(name, expected_name);
                    assert!((found.value - expected.value).abs() < 1e-12);
                }
            }
        }
        assert!(found.iter().all(|(theta, _)| *theta == found[0].0), "ranks differ");
    }
}

#[test]
fn a_failing_share_fails_the_step_on_every_rank_and_moves_nothing() {
    struct Failing(ProblemOracle<LogisticRegression>, bool);
    impl GradOracle for Failing {
        type Vector = Vec<f64>;
        type Record = Order;
        fn evaluate<'a>(
            &mut self,
            at: &'a Vec<f64>,
            p: Pass,
            o: Order,
        ) -> Result<Evaluation<'a, Vec<f64>, Order>> {
            if self.1 { Err(Error::Oracle("no memory".into())) } else { self.0.evaluate(at, p, o) }
        }
    }
    let all = LogisticRegression::random(31, 5, 3);
    for own in [false, true] {
        let found = Threads::run(3, |ranks| {
            let shares = batch_of(&ranks, &[10, 10, 11]);
            let failing = Failing(part(&all, &shares), ranks.rank() == 2);
            let mut theta = vec![0.3; 5];
            let mut method = plain(ok(Sam::new(0.05)), 0.3);
            let error = if own {
                method.step_ranks(0, &mut theta, [(failing, 10)], &shares).unwrap_err()
            } else {
                method.step(0, &mut theta, &mut DataParallel::new(failing, shares)).unwrap_err()
            };
            assert_eq!(theta, [0.3; 5]);
            error.to_string()
        });
        assert_eq!(found, ["rank 2: oracle: no memory"; 3]);
    }
}

/// A step exchanges as many reductions as its documentation says.
#[test]
fn steps_cost_the_documented_reductions() {
    struct Counting(Arc<dyn Collective>, std::sync::atomic::AtomicUsize);
    impl Collective for Counting {
        fn rank(&self) -> usize {
            self.0.rank()
        }
        fn size(&self) -> usize {
            self.0.size()
        }
        fn gather(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
            if own.len() == 5 {
                self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            self.0.gather(own, counts)
        }
        fn exchange(&self, own: Packed, counts: &[usize]) -> Result<Packed> {
            self.0.exchange(own, counts)
        }
        fn abort(&self, why: &str) {
            self.0.abort(why);
        }
    }
    let all = LogisticRegression::random(31, 5, 3);
    let vectors = |method: &str, own: bool| {
        Threads::run(2, |ranks| {
            let counting = Arc::new(Counting(ranks, 0.into()));
            let ranks: Arc<dyn Collective> = counting.clone();
            let shares = batch_of(&ranks, &[20, 11]);
            let mut theta = vec![0.3; 5];
            let (mine, gnr) = (part(&all, &shares), ok(Gnr::new(0.1, 0.5)));
            let spread = DataParallel::new(mine.clone(), shares.clone());
            let share = || [(mine.clone(), shares.part().len)];
            match (method, own) {
                ("sgd", false) => ok(plain((), 0.1).step(0, &mut theta, &mut { spread })),
                ("sgd", true) => ok(plain((), 0.1).step_ranks(0, &mut theta, share(), &shares)),
                ("sam", false) => ok(plain(ok(Sam::new(0.05)), 0.1).step(0, &mut theta, &mut { spread })),
                ("sam", true) => {
                    ok(plain(ok(Sam::new(0.05)), 0.1).step_ranks(0, &mut theta, share(), &shares))
                }
                ("gnr", false) => ok(plain(gnr, 0.1).step(0, &mut theta, &mut { spread })),
                ("gnr", true) => ok(plain(gnr, 0.1).step_ranks(0, &mut theta, share(), &shares)),
                _ => ok(plain(gnr, 0.1).step(0, &mut theta, &mut ForwardDiff::new(spread))),
            };
            counting.1.load(std::sync::atomic::Ordering::Relaxed)
        })[0]
    };
    let global = ["sgd", "sam", "gnr", "differences"].map(|method| vectors(method, false));
    assert_eq!(
        global,
        [1, 2, 4, 4],
        "reductions of a vector a step: SGD, SAM, GNR exact, GNR by differences"
    );
    assert_eq!(["sgd", "sam", "gnr"].map(|method| vectors(method, true)), [1, 1, 1]);
}

#[test]
fn micro_batches_of_a_rank_are_part_of_the_batch() {
    let all = LogisticRegression::random(31, 5, 3);
    let theta = vec![0.3; 5];
    let expected = all.value_and_gradient(&theta).1;
    Threads::run(2, |ranks| {
        let shares = batch_of(&ranks, &[20, 11]);
        let Part { start, len, .. } = shares.part();
        let pieces = [0..3, 3..len]
            .map(|piece| (oracle(all.batch(start + piece.start..start + piece.end)), piece.len()));
        let mut spread = DataParallel::new(ok(Accumulated::new(pieces)), shares);
        assert_close(&ok(spread.gradient(theta.clone())), &expected, 1e-14);
    });
}

/// One process passes every operation on; ranks that share a batch ask their parts equal questions.
#[test]
fn operations_reach_the_parts() {
    use gnr_core::testing::conformance::{check_wrapper, same};
    let alone = |spy| DataParallel::new(spy, ok(Shares::even(Arc::new(Solo), 4)));
    check_wrapper(alone, same);
    Threads::run(2, |ranks| {
        let wrap = |spy| DataParallel::new(Counted::new(spy), batch_of(&ranks, &[3, 3]));
        check_wrapper(wrap, |operation, products| spread(operation, products, same(operation, products)));
    });
}

/// Differences of a part start at the part's own gradient, which is evaluated anew.
fn spread(operation: Operation, products: Products, same: Vec<Operation>) -> Vec<Operation> {
    let again = Operation::Evaluate(Pass::Probe, Order::First);
    match (operation, products) {
        (_, Products::Exact | Products::GaussNewton) => same,
        (Operation::Hvp(_) | Operation::HvpBlock, _) => [vec![again], same].concat(),
        (Operation::HvpOfGradient, _) => vec![again, Operation::Hvp(Use::Last)],
        _ => same,
    }
}

#[test]
fn vectors_come_back_whole() {
    let single = vec![1.5_f32, -2.0];
    assert_eq!(ok(single.unpack(ok(single.pack()))), single);
    assert!(single.unpack(Packed::Single(vec![1.0])).is_err());
    let error = single.unpack(Packed::Double(vec![1.0, 2.0])).unwrap_err().to_string();
    assert!(error.contains("f64"), "{error}");
}
