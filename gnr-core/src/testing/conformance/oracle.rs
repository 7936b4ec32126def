//! The conformance suite of oracles.

use crate::{Error, HvpOracle, NormGradient, Order, Pass, Result, Use, Vector};

/// The tolerances of [`check_oracle`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// The larger of the two steps of central differences, a distance along unit tangents.
    pub step: f64,
    /// Relative rounding error of a loss or gradient: a difference over a step h may be off by `rounding`·(its size)/h.
    pub rounding: f64,
    /// Relative error of a product's linearity and symmetry.
    pub product: f64,
}

impl Tolerances {
    /// For oracles that compute in f64: steps 1e-2 and 5e-3, rounding 1e-13, products to 1e-10.
    pub const F64: Self = Self { step: 1e-2, rounding: 1e-13, product: 1e-10 };
    /// For oracles that compute in f32: steps 2e-2 and 1e-2, rounding 1e-6, products to 1e-3.
    pub const F32: Self = Self { step: 2e-2, rounding: 1e-6, product: 1e-3 };
}

/// Checks that an oracle is a smooth function that has the gradient and Hessian it reports.
///
/// `make` gives a fresh oracle of one batch; `tangents` are at least two independent vectors of any length; `wrong` has
/// another dimension. The checks:
///
/// - The gradient is the slope of the loss: the error of central differences falls 4-fold when the step halves, which
///   no error in the gradient would allow.
/// - Products are the slope of the gradient, likewise. They are linear and symmetric, and repeat bit for bit, also
///   after the last one.
/// - The loss alone is that of an evaluation.
/// - Evaluating twice gives equal bits, whatever was probed in between.
/// - A wrong dimension is an error.
///
/// The loss must be three times differentiable near `theta` (no ReLU kinks within `step`) and products exact. Pass
/// larger tolerances for [`ForwardDiff`](crate::ForwardDiff) and [`CentralDiff`](crate::CentralDiff).
///
/// # Panics
/// When the oracle does not conform.
pub fn check_oracle<O: HvpOracle>(
    make: impl Fn() -> O,
    theta: &O::Vector,
    tangents: &[O::Vector],
    wrong: Option<&O::Vector>,
    tolerances: Tolerances,
) {
    assert!(tangents.len() >= 2, "the oracle suite needs at least two tangents");
    let run = || -> Result<()> {
        repeats(&make, theta, tangents)?;
        losses(&mut make(), theta, tangents, tolerances)?;
        slopes(&mut make(), theta, tangents, tolerances)?;
        products(&mut make(), theta, tangents, tolerances)
    };
    if let Err(error) = run() {
        panic!("the oracle failed: {error}");
    }
    if let Some(wrong) = wrong {
        wrong_dimension(&mut make(), theta, wrong);
    }
}

/// The distance ‖a − b‖.
fn distance<V: Vector>(a: &V, b: &V) -> Result<f64> {
    let mut difference = a.clone();
    difference.axpy(-1.0, b)?;
    difference.norm()
}

fn shifted<V: Vector>(theta: &V, h: f64, u: &V) -> Result<V> {
    let mut point = theta.clone();
    point.axpy(h, u)?;
    Ok(point)
}

fn product<O: HvpOracle>(oracle: &mut O, theta: &O::Vector, v: &O::Vector) -> Result<O::Vector> {
    let order = oracle.products().order();
    let here = oracle.evaluate(theta, Pass::Probe, order)?;
    oracle.hvp(&here, v, Use::Again)
}

/// Checks that the loss alone is that of an evaluation. Other kernels may compute it: equal to rounding, not to the
/// bit.
fn losses<O: HvpOracle>(
    oracle: &mut O,
    theta: &O::Vector,
    tangents: &[O::Vector],
    tolerances: Tolerances,
) -> Result<()> {
    for tangent in tangents {
        let point = shifted(theta, 0.1, tangent)?;
        let evaluated = oracle.evaluate(&point, Pass::Probe, Order::First)?.loss;
        let alone = oracle.loss(&point)?;
        let allowed = tolerances.rounding * evaluated.abs().max(1.0);
        assert!((evaluated - alone).abs() <= allowed, "loss {alone}, as part of an evaluation {evaluated}");
    }
    Ok(())
}

fn repeats<O: HvpOracle>(make: &impl Fn() -> O, theta: &O::Vector, tangents: &[O::Vector]) -> Result<()> {
    let mut oracle = make();
    let order = oracle.products().order();
    let (loss, grad, first) = {
        let here = oracle.evaluate(theta, Pass::Commit, order)?;
        let first = oracle.hvp(&here, &tangents[0], Use::Again)?;
        oracle.hvp(&here, &tangents[1], Use::Again)?; // another product in between
        for (what, record) in [
            ("a product must repeat bit for bit at one evaluation", Use::Again),
            ("the last product must be the same", Use::Last),
            ("a product after the last one must be the same", Use::Again),
        ] {
            assert_eq!(distance(&first, &oracle.hvp(&here, &tangents[0], record)?)?, 0.0, "{what}");
        }
        (here.loss, here.grad, first)
    };
    let elsewhere = shifted(theta, 0.1, &tangents[1])?;
    oracle.evaluate(&elsewhere, Pass::Probe, Order::First)?;
    oracle.evaluate(&elsewhere, Pass::Probe, Order::Second)?;
    for (what, oracle) in [("after probing elsewhere", &mut oracle), ("of a fresh oracle", &mut make())] {
        for pass in [Pass::Probe, Pass::Commit] {
            let again = oracle.evaluate(theta, pass, Order::First)?;
            assert_eq!(again.loss, loss, "the loss {what} differs ({pass:?})");
            assert_eq!(distance(&again.grad, &grad)?, 0.0, "the gradient {what} differs ({pass:?})");
            assert_eq!(again.grad_norm, again.grad.norm()?, "grad_norm is not the gradient's norm");
        }
        let again = product(oracle, theta, &tangents[0])?;
        assert_eq!(distance(&again, &first)?, 0.0, "the product {what} differs");
    }
    let here = oracle.evaluate(theta, Pass::Probe, order)?;
    let product = oracle.hvp(&here, &here.grad, Use::Again)?;
    for used_up in [false, true] {
        let here = oracle.evaluate(theta, Pass::Probe, order)?;
        if used_up {
            oracle.hvp(&here, &tangents[0], Use::Last)?;
        }
        let own = oracle.hvp_of_gradient(here)?;
        assert_eq!(distance(&own, &product)?, 0.0, "the gradient's own product must be the same");
    }
    // Methods that consume their point.
    let given = oracle.gradient(theta.clone())?;
    assert_eq!(distance(&given, &grad)?, 0.0, "the gradient at a point that is given away differs");
    let f = NormGradient::at(&mut oracle, theta.clone(), 0.0)?;
    assert_eq!(f.grad_norm, grad.norm()?, "an evaluation that owns its point differs");
    assert_eq!(distance(&f.vector, &product)?, 0.0, "the product at a point that is given away differs");
    Ok(())
}

/// Asserts that `error(h)` is O(h²): at step and step/2 their ratio is 4, unless both drown in rounding.
fn second_order(
    what: &str,
    step: f64,
    scale: f64,
    rounding: f64,
    mut error: impl FnMut(f64) -> Result<f64>,
) -> Result<()> {
    let (coarse, fine) = (error(step)?, error(step / 2.0)?);
    let noise = |h: f64| rounding * scale / h;
    if coarse <= noise(step) && fine <= noise(step / 2.0) {
        return Ok(());
    }
    // The ratio is 4 up to the next order of the expansion and to rounding, which may be as large as the fine error's
    // own noise.
    let (least, most) = (3.0 * fine - 4.0 * noise(step / 2.0), 5.0 * fine + 5.0 * noise(step / 2.0));
    assert!(
        (least..=most).contains(&coarse),
        "{what}: the error of central differences is {coarse:e} at h = {step:e} and {fine:e} at h/2; \
         it must fall 4-fold (rounding may explain {:e})",
        noise(step / 2.0)
    );
    Ok(())
}

fn slopes<O: HvpOracle>(
    oracle: &mut O,
    theta: &O::Vector,
    tangents: &[O::Vector],
    tol: Tolerances,
) -> Result<()> {
    let (loss, grad) = {
        let here = oracle.evaluate(theta, Pass::Probe, Order::First)?;
        (here.loss, here.grad)
    };
    for (i, v) in tangents.iter().enumerate() {
        let mut u = v.clone();
        u.scale(1.0 / v.norm()?)?;
        let exact = grad.dot(&u)?;
        let scale = loss.abs().max(grad.norm()? * tol.step);
        second_order(&format!("gradient along tangent {i}"), tol.step, scale, tol.rounding, |h| {
            let ahead = oracle.evaluate(&shifted(theta, h, &u)?, Pass::Probe, Order::First)?.loss;
            let behind = oracle.evaluate(&shifted(theta, -h, &u)?, Pass::Probe, Order::First)?.loss;
            Ok(((ahead - behind) / (2.0 * h) - exact).abs())
        })?;
        let exact = product(oracle, theta, &u)?;
        let scale = grad.norm()?.max(exact.norm()? * theta.norm()?.max(1.0));
        second_order(&format!("product with tangent {i}"), tol.step, scale, tol.rounding, |h| {
            let mut slope = oracle.evaluate(&shifted(theta, h, &u)?, Pass::Probe, Order::First)?.grad;
            slope.axpy(-1.0, &oracle.evaluate(&shifted(theta, -h, &u)?, Pass::Probe, Order::First)?.grad)?;
            slope.scale(1.0 / (2.0 * h))?;
            distance(&slope, &exact)
        })?;
    }
    Ok(())
}

fn products<O: HvpOracle>(
    oracle: &mut O,
    theta: &O::Vector,
    tangents: &[O::Vector],
    tol: Tolerances,
) -> Result<()> {
    let (u, v) = (&tangents[0], &tangents[1]);
    let (hu, hv) = (product(oracle, theta, u)?, product(oracle, theta, v)?);

    let mut combination = u.clone();
    combination.scale(2.0)?;
    combination.axpy(-0.7, v)?;
    let found = product(oracle, theta, &combination)?;
    let mut expected = hu.clone();
    expected.scale(2.0)?;
    expected.axpy(-0.7, &hv)?;
    let allowed = tol.product * (2.0 * hu.norm()? + 0.7 * hv.norm()?);
    let error = distance(&found, &expected)?;
    assert!(error <= allowed, "H(2u − 0.7v) is {error:e} away from 2Hu − 0.7Hv; allowed {allowed:e}");

    let (left, right) = (u.dot(&hv)?, v.dot(&hu)?);
    let allowed = tol.product * (u.norm()? * hv.norm()?).max(v.norm()? * hu.norm()?);
    assert!((left - right).abs() <= allowed, "H is not symmetric: uᵀHv = {left}, vᵀHu = {right}");

    let mut zero = u.clone();
    zero.scale(0.0)?;
    assert_eq!(product(oracle, theta, &zero)?.norm()?, 0.0, "H·0 must be 0");
    Ok(())
}

fn wrong_dimension<O: HvpOracle>(oracle: &mut O, theta: &O::Vector, wrong: &O::Vector) {
    assert_ne!(theta.dim(), wrong.dim(), "`wrong` must have another dimension");
    assert!(
        oracle.evaluate(wrong, Pass::Probe, Order::First).is_err(),
        "a point of a wrong dimension must be an error"
    );
    let order = oracle.products().order();
    let result = oracle
        .evaluate(theta, Pass::Probe, order)
        .and_then(|here| oracle.hvp(&here, wrong, Use::Again).map(|_| ()));
    assert!(result.is_err(), "a tangent of a wrong dimension must be an error");
    if let Err(Error::NonFinite { quantity, .. }) = result {
        panic!("a tangent of a wrong dimension was reported as a non-finite value: {quantity}");
    }
}
