//! Rows of a batch that is spread over ranks, where some ranks have none of them.

use std::sync::Arc;

use gnr_core::{
    Collective, DataParallel, ExampleOracle, Shares,
    collective::Part,
    random::SplitMix64,
    testing::{MeanProblem, Problem, TanhMlp, Threads},
};

use crate::{assert_close, ok, oracle};

/// The gradient of two rows of the batch.
fn of_two_rows<O: ExampleOracle<Vector = Vec<f64>>>(mut oracle: O, theta: &[f64]) -> Vec<f64> {
    assert!((ok(oracle.select(Some(&[2, 5]))) - 2.0 / 20.0).abs() < 1e-15, "the share of the batch");
    ok(oracle.gradient(theta.to_vec()))
}

/// An oracle refuses to answer for no rows. A rank that has none of the selected rows must not fail for that.
#[test]
fn ranks_without_selected_rows_add_nothing() {
    let all = TanhMlp::random(20, 3, 5, 1);
    let theta = SplitMix64::new(2).normals(all.dim());
    assert!(oracle(all.clone()).select(Some(&[])).is_err(), "the test could not fail");
    let expected = of_two_rows(oracle(all.clone()), &theta);
    for sizes in [&[20][..], &[2, 18], &[1, 7, 12], &[6, 6, 6, 2]] {
        let found = Threads::run(sizes.len(), |ranks| {
            let ranks: Arc<dyn Collective> = Arc::clone(&ranks);
            let shares = ok(Shares::new(ranks, sizes.to_vec()));
            let Part { start, len, .. } = shares.part();
            let rows: Vec<usize> = (start..start + len).collect();
            of_two_rows(DataParallel::new(oracle(all.part(&rows)), shares), &theta)
        });
        found.iter().for_each(|found| assert_close(found, &expected, 1e-14));
    }
}
