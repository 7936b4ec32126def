//! Embedding gnr-core in a program that has its own model: a closed-form least-squares problem, trained with SGD and
//! with SAM + GNR. `cargo run -p gnr-core --example embed`
#![allow(clippy::print_stdout, reason = "an example talks")]

use gnr_core::{
    Clip, Cosine, Counted, Evaluation, Every, ForwardDiff, Gnr, GradOracle, Method, Order, Pass, Regularizer,
    Result, Sam, Sgd,
    measure::{Search, r_gnr, r_sam},
    random::UnitBall,
};

/// Fits y ≈ exp(−a·x)·cos(b·x) to samples: θ = (a, b), L̂ = mean squared residual / 2.
struct DampedWave {
    samples: Vec<(f64, f64)>,
}

impl DampedWave {
    fn new() -> Self {
        let wave = |x: f64| (-0.3 * x).exp() * (1.7 * x).cos();
        Self { samples: (0..40).map(|i| f64::from(i) * 0.1).map(|x| (x, wave(x))).collect() }
    }
}

impl GradOracle for DampedWave {
    type Vector = Vec<f64>;
    type Record = ();

    fn evaluate<'a>(&mut self, at: &'a Vec<f64>, _: Pass, _: Order) -> Result<Evaluation<'a, Vec<f64>, ()>> {
        let n = self.samples.len() as f64;
        let (mut loss, mut grad) = (0.0, vec![0.0; 2]);
        for &(x, y) in &self.samples {
            let (decay, sin, cos) = ((-at[0] * x).exp(), (at[1] * x).sin(), (at[1] * x).cos());
            let residual = decay * cos - y;
            loss += residual * residual / 2.0 / n;
            grad[0] -= residual * x * decay * cos / n;
            grad[1] -= residual * x * decay * sin / n;
        }
        Evaluation::new(at, loss, grad, ())
    }
}

fn train(
    name: &str,
    regularizer: impl for<'o> Regularizer<ForwardDiff<Counted<&'o mut DampedWave>>>,
) -> Result<()> {
    let mut method = Method {
        regularizer,
        optimizer: Sgd::new().with_momentum(0.9)?,
        learning_rate: Cosine::new(0.2, 200, 0.0)?,
        clip: Clip::norm(1.0)?,
    };
    let (mut theta, counter) = (vec![1.0, 1.0], gnr_core::Counter::default());
    let mut wave = DampedWave::new();
    for t in 0..200 {
        // The step of the differences is SAM's radius, 0.02: SAM's gradient then serves GNR, too.
        let counted = Counted::with_counter(&mut wave, counter.clone());
        method.step(t, &mut theta, &mut ForwardDiff::new(counted).with_step(0.02)?)?;
    }
    let mut oracle = ForwardDiff::new(&mut wave);
    let loss = oracle.evaluate(&theta, Pass::Probe, Order::First)?.loss;
    let mut starts = UnitBall::new(2, 0);
    let search = Search::MultiStart { starts: &mut starts.by_ref().take(4), steps: 30 };
    let sam = r_sam(&mut oracle, &theta, 0.1, search)?;
    let search = Search::MultiStart { starts: &mut starts.by_ref().take(4), steps: 30 };
    let gnr = r_gnr(&mut oracle, &theta, 0.1, search)?;
    println!(
        "{name:>10}: θ = ({:.4}, {:.4}), loss {loss:.2e}, R_SAM ≥ {:.4}, R_GNR ≥ {:.4}, {} gradients",
        theta[0],
        theta[1],
        sam.value,
        gnr.value,
        counter.counts().evaluations()
    );
    Ok(())
}

fn main() -> Result<()> {
    train("SGD", ())?;
    train("SAM", Sam::new(0.02)?)?;
    train("SGD + GNR", Gnr::new(0.05, 0.1)?)?;
    train("SAM + GNR", (Sam::new(0.02)?, Gnr::new(0.05, 0.1)?))?;
    train("GNR/10", Every::new(Gnr::new(0.05, 0.1)?, 10)?)
}
