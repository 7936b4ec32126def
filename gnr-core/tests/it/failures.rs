//! A quantity that is not finite is an error with the quantity's name, and θ stays as it was, bit for bit.

use crate::plain;
use gnr_core::{
    CentralDiff, Error, Evaluation, ForwardDiff, Gnr, GradOracle, HvpOracle, Needs, Order, Pass, Quantity,
    Regularizer, Result, Sam, Use,
};

/// The loss L̂ = ‖θ‖²/2, with one answer replaced.
#[derive(Clone, Copy, Default)]
struct Poisoned {
    loss: Option<f64>,
    /// The loss at points other than θ.
    loss_elsewhere: Option<f64>,
    gradient: Option<f64>,
    /// The gradient's elements at points other than θ.
    gradient_elsewhere: Option<f64>,
    product: Option<f64>,
}

const THETA: [f64; 2] = [3.0, 4.0];

impl GradOracle for Poisoned {
    type Vector = Vec<f64>;
    type Record = ();
    fn evaluate<'a>(&mut self, at: &'a Vec<f64>, _: Pass, _: Order) -> Result<Evaluation<'a, Vec<f64>, ()>> {
        let mut grad = at.clone();
        let poison = if at[..] == THETA { self.gradient } else { self.gradient_elsewhere };
        grad[1] = poison.unwrap_or(grad[1]);
        let poison = if at[..] == THETA { self.loss } else { self.loss_elsewhere };
        let loss = poison.unwrap_or(at.iter().map(|x| x * x).sum::<f64>() / 2.0);
        Evaluation::new(at, loss, grad, ())
    }
}

impl HvpOracle for Poisoned {
    fn hvp(&mut self, _: &Evaluation<'_, Vec<f64>, ()>, v: &Vec<f64>, _: Use) -> Result<Vec<f64>> {
        let mut out = v.clone();
        out[0] = self.product.unwrap_or(out[0]);
        Ok(out)
    }
}

#[track_caller]
fn check<O>(regularizer: impl Regularizer<O>, mut oracle: O, expected: Quantity)
where
    O: HvpOracle<Vector = Vec<f64>>,
{
    let mut theta = THETA.to_vec();
    match plain(regularizer, 0.1).step(0, &mut theta, &mut oracle) {
        Err(Error::NonFinite { quantity, value }) => {
            assert_eq!(quantity, expected);
            assert!(!value.is_finite());
        }
        other => panic!("expected {expected:?} not to be finite, got {other:?}"),
    }
    assert_eq!(theta, THETA, "θ changed");
}

#[test]
fn every_quantity_is_named() {
    let clean = Poisoned::default();
    let (sam, gnr) = (Sam::new(0.1).unwrap(), Gnr::new(0.1, 0.1).unwrap());
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check((), Poisoned { loss: Some(bad), ..clean }, Quantity::Loss);
        check((), Poisoned { gradient: Some(bad), ..clean }, Quantity::GradientNorm);
        for (elsewhere, expected) in [
            (Poisoned { loss_elsewhere: Some(bad), ..clean }, Quantity::PerturbedLoss),
            (Poisoned { gradient_elsewhere: Some(bad), ..clean }, Quantity::PerturbedGradientNorm),
        ] {
            check(sam.clone(), elsewhere, expected);
            check(gnr.clone(), elsewhere, expected);
            check(gnr.clone(), ForwardDiff::new(elsewhere), expected);
            check(gnr.clone(), CentralDiff::new(elsewhere), expected);
        }
        check(gnr.clone(), Poisoned { product: Some(bad), ..clean }, Quantity::HvpNorm);
    }
    // Finite elements with an infinite norm are caught, too.
    check((), Poisoned { gradient: Some(1e200), ..clean }, Quantity::GradientNorm);
}

#[test]
fn a_direction_that_overflows_is_refused() {
    struct Huge;
    impl<O: GradOracle<Vector = Vec<f64>>> Regularizer<O> for Huge {
        fn needs(&self, _: u64, _: &O) -> Needs {
            Needs::NONE
        }
        fn add_gradient(&mut self, cx: &mut gnr_core::StepContext<'_, O>) -> Result<()> {
            cx.change.direction[0] = f64::INFINITY;
            Ok(())
        }
    }
    check(Huge, Poisoned::default(), Quantity::DirectionNorm);
}

#[test]
fn a_learning_rate_that_is_no_rate_is_refused() {
    for lr in [f64::NAN, f64::INFINITY, -0.1] {
        let mut theta = THETA.to_vec();
        let result = plain((), lr).step(0, &mut theta, &mut Poisoned::default());
        let named = matches!(result, Err(Error::InvalidHyperparameter { name: "learning_rate", .. }));
        assert!(named && theta == THETA, "{lr}: {result:?}");
    }
}

#[test]
fn messages_say_what_and_where() {
    let error = Error::NonFinite { quantity: Quantity::HvpNorm, value: f64::NAN };
    let expected = "the norm of a Hessian-vector product is NaN; the parameters were left unchanged";
    assert_eq!(error.to_string(), expected);
    assert!(
        Gnr::new(-1.0, 0.1).unwrap_err().to_string().starts_with("rho = -1: the radius must be positive")
    );
    assert!(Gnr::new(0.1, f64::NAN).is_err() && Sam::new(0.0).is_err());
    assert!(
        Gnr::new(0.1, 0.1).unwrap().with_xi(0.0).is_err() && Sam::new(0.1).unwrap().with_xi(-1.0).is_err()
    );
}
