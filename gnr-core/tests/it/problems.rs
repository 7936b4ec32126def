//! The test problems conform: their gradients and Hessians are those of their values.

use crate::oracle;
use gnr_core::{
    Accumulated, CentralDiff, Evaluation, ForwardDiff, GradOracle, HvpOracle, Order, Pass, Result, Use,
    random::SplitMix64,
    testing::{
        Cosine1d, LogisticRegression, Problem, ProblemOracle, Quadratic, Rosenbrock, TanhMlp,
        conformance::{Tolerances, check_oracle},
    },
};

fn check(problem: impl Problem + Clone, theta: Option<Vec<f64>>) {
    let mut random = SplitMix64::new(3);
    let n = problem.dim();
    let theta = theta.unwrap_or_else(|| random.normals(n));
    let tangents = [random.normals(n), random.normals(n), random.normals(n)];
    let make = || oracle(problem.clone());
    check_oracle(make, &theta, &tangents, Some(&vec![0.0; n + 1]), Tolerances::F64);
    // In single precision the answers are the exact ones, rounded once.
    let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let tangents: Vec<_> = tangents.iter().map(|v| narrow(v)).collect();
    let make = || ProblemOracle::<_, f32>::new(problem.clone());
    check_oracle(make, &narrow(&theta), &tangents, Some(&vec![0.0; n + 1]), Tolerances::F32);
}

#[test]
fn closed_form_problems_conform() {
    check(Quadratic::with_spectrum(&[3.0, -2.0, 1.0, 0.5, 0.0], 1).with_linear(vec![1.0; 5]).unwrap(), None);
    check(Rosenbrock { dim: 5 }, None);
    check(LogisticRegression::random(40, 6, 2), None);
    check(TanhMlp::random(10, 3, 4, 5), None);
    check(Cosine1d { frequency: 1.0 }, Some(vec![0.3]));
}

#[test]
fn adapters_conform() {
    let mut random = SplitMix64::new(4);
    let problem = LogisticRegression::random(30, 4, 7);
    let theta = random.normals(4);
    let tangents = [random.normals(4), random.normals(4)];
    let wrong = vec![0.0; 3];
    let parts = || [(oracle(problem.batch(0..10)), 10), (oracle(problem.batch(10..30)), 20)];
    let whole = || Accumulated::new(parts()).unwrap();
    check_oracle(whole, &theta, &tangents, Some(&wrong), Tolerances::F64);
    // The model is linear in θ, so G is the Hessian, of the whole and of micro-batches.
    let gauss_newton = |rows: std::ops::Range<usize>| ProblemOracle::gauss_newton(problem.batch(rows));
    check_oracle(|| gauss_newton(0..30), &theta, &tangents, Some(&wrong), Tolerances::F64);
    let whole_gauss_newton =
        || Accumulated::new([(gauss_newton(0..10), 10), (gauss_newton(10..30), 20)]).unwrap();
    check_oracle(whole_gauss_newton, &theta, &tangents, Some(&wrong), Tolerances::F64);
    // Differences with a tiny step, so that their own error stays below the rounding allowed here.
    let rough = Tolerances { rounding: 1e-6, product: 1e-5, ..Tolerances::F64 };
    let forward = || ForwardDiff::new(whole()).with_step(1e-7).unwrap();
    check_oracle(forward, &theta, &tangents, Some(&wrong), rough);
    let central = || CentralDiff::new(whole()).with_step(1e-5).unwrap();
    check_oracle(central, &theta, &tangents, Some(&wrong), rough);
}

#[test]
fn a_hessian_is_symmetric_and_has_its_spectrum() {
    let problem = Quadratic::with_spectrum(&[4.0, 1.0, -2.0], 9);
    let h = problem.hessian(&[0.0; 3]);
    let trace: f64 = (0..3).map(|i| h[i][i]).sum();
    let squares: f64 = h.iter().flatten().map(|x| x * x).sum();
    assert!((trace - 3.0).abs() < 1e-13 && (squares - 21.0).abs() < 1e-12, "trace {trace}, ‖H‖² {squares}");
    assert!(Quadratic::new(vec![vec![1.0, 2.0], vec![3.0, 1.0]]).is_err(), "not symmetric");
    assert!(Quadratic::new(vec![vec![1.0, 2.0]]).is_err(), "not square");
}

/// An oracle with one deliberate mistake.
#[derive(Clone, Copy)]
enum Mistake {
    Gradient,
    Product,
    Probe,
    Asymmetry,
}

struct Broken {
    inner: ProblemOracle<TanhMlp>,
    mistake: Mistake,
    probes: f64,
}

impl GradOracle for Broken {
    type Vector = Vec<f64>;
    type Record = Order;
    fn evaluate<'a>(
        &mut self,
        at: &'a Vec<f64>,
        pass: Pass,
        order: Order,
    ) -> Result<Evaluation<'a, Vec<f64>, Order>> {
        let mut here = self.inner.evaluate(at, pass, order)?;
        match self.mistake {
            Mistake::Gradient => here.grad[0] *= 1.0 + 1e-4,
            Mistake::Probe => here.grad[0] += 1e-9 * self.probes,
            Mistake::Product | Mistake::Asymmetry => {}
        }
        self.probes += if pass == Pass::Probe { 1.0 } else { 0.0 };
        Evaluation::new(at, here.loss, here.grad, order)
    }
}

impl HvpOracle for Broken {
    fn hvp(&mut self, here: &Evaluation<'_, Vec<f64>, Order>, v: &Vec<f64>, record: Use) -> Result<Vec<f64>> {
        let mut out = self.inner.hvp(here, v, record)?;
        match self.mistake {
            Mistake::Product => out[1] *= 1.001,
            Mistake::Asymmetry => out[0] += 1e-6 * v[1],
            Mistake::Gradient | Mistake::Probe => {}
        }
        Ok(out)
    }
}

/// Each mistake must fail the suite in the expected place; otherwise the suite would prove nothing.
#[test]
fn the_suite_finds_mistakes() {
    for (mistake, expected) in [
        (Mistake::Gradient, "gradient along tangent"),
        (Mistake::Product, "product with tangent"),
        (Mistake::Probe, "the gradient after probing"),
        (Mistake::Asymmetry, "not symmetric"),
    ] {
        let problem = TanhMlp::random(10, 3, 4, 5);
        let mut random = SplitMix64::new(8);
        let n = problem.dim();
        let (theta, tangents) = (random.normals(n), [random.normals(n), random.normals(n)]);
        // The asymmetry of 1e-6 is below what differences can see: only the symmetry test may find it.
        let tolerances = match mistake {
            Mistake::Asymmetry => Tolerances { rounding: 1e-5, ..Tolerances::F64 },
            _ => Tolerances::F64,
        };
        let outcome = std::panic::catch_unwind(|| {
            let make = || Broken { inner: oracle(problem.clone()), mistake, probes: 0.0 };
            check_oracle(make, &theta, &tangents, None, tolerances);
        });
        let message = *outcome.expect_err("the suite passed a broken oracle").downcast::<String>().unwrap();
        assert!(message.contains(expected), "expected a message about \"{expected}\", got: {message}");
    }
}
