//! The worked example of Figure 1a: two minima that have equal R_SAM and different R_GNR.
//!
//! L̂(θ) = cos(k·πθ + π) on [−1, 1] with k = 1 (flat) and k = 3 (sharp), at θ = 0 with ρ = 1: R_SAM = 2 for both,
//! R_GNR = kπ.

use std::f64::consts::PI;

use gnr_core::{
    Evaluation, GradOracle, HvpOracle, Order, Pass, Result as CoreResult, Use,
    measure::{LowerBound, Search, r_gnr, r_sam},
    random::UnitBall,
};

use crate::{Result, linspace};

/// The loss cos(k·πθ + π) of one variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// The frequency k, the number of periods in [−1, 1].
    pub frequency: f64,
}

impl Cosine {
    /// The flat minimum of Figure 1a.
    pub const FLAT: Self = Self { frequency: 1.0 };
    /// The sharp minimum of Figure 1a.
    pub const SHARP: Self = Self { frequency: 3.0 };

    fn omega(self) -> f64 {
        self.frequency * PI
    }
    /// The loss L̂(θ).
    pub fn value(self, theta: f64) -> f64 {
        // cos(x + π) = −cos x, written so that θ = 0 is exactly critical.
        -(self.omega() * theta).cos()
    }
    /// The slope L̂'(θ).
    pub fn slope(self, theta: f64) -> f64 {
        self.omega() * (self.omega() * theta).sin()
    }
}

impl GradOracle for Cosine {
    type Vector = Vec<f64>;
    type Record = ();
    fn evaluate<'a>(
        &mut self,
        at: &'a Vec<f64>,
        _: Pass,
        _: Order,
    ) -> CoreResult<Evaluation<'a, Vec<f64>, ()>> {
        Evaluation::new(at, self.value(at[0]), vec![self.slope(at[0])], ())
    }
}

impl HvpOracle for Cosine {
    fn hvp(&mut self, here: &Evaluation<'_, Vec<f64>, ()>, v: &Vec<f64>, _: Use) -> CoreResult<Vec<f64>> {
        Ok(vec![self.omega().powi(2) * (self.omega() * here.at[0]).cos() * v[0]])
    }
}

/// One of the two losses, its curve and its two measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The loss of one parameter.
    pub loss: Cosine,
    /// The grid of θ in [−1, 1].
    pub theta: Vec<f64>,
    /// The loss L̂ at each θ.
    pub values: Vec<f64>,
    /// The slope |L̂'| at each θ.
    pub slopes: Vec<f64>,
    /// R_SAM(0) with ρ = 1, by multi-start search.
    pub r_sam: LowerBound,
    /// R_GNR(0) with ρ = 1, by multi-start search.
    pub r_gnr: LowerBound,
}

/// Both losses on a grid of `points`, measured at θ = 0 with ρ = 1 by the searches that networks are measured with.
///
/// # Errors
/// None that these losses can cause.
pub fn examples(points: usize) -> Result<[Example; 2]> {
    let example = |loss: Cosine| -> Result<Example> {
        let theta = linspace(-1.0, 1.0, points);
        let starts = || UnitBall::<f64>::new(1, 1).take(20);
        let origin = vec![0.0];
        let (mut first, mut second) = (starts(), starts());
        Ok(Example {
            values: theta.iter().map(|t| loss.value(*t)).collect(),
            slopes: theta.iter().map(|t| loss.slope(*t).abs()).collect(),
            r_sam: r_sam(
                &mut loss.clone(),
                &origin,
                1.0,
                Search::MultiStart { starts: &mut first, steps: 100 },
            )?,
            r_gnr: r_gnr(
                &mut loss.clone(),
                &origin,
                1.0,
                Search::MultiStart { starts: &mut second, steps: 100 },
            )?,
            theta,
            loss,
        })
    };
    Ok([example(Cosine::FLAT)?, example(Cosine::SHARP)?])
}
