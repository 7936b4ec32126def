//! What a run is expected to cost, before it is trained.

use gnr_train::{Recipe, recipe::Hvp};

/// Gradients of a whole batch that an average step takes, products included.
///
/// A step of GNR with exact products adds five (a product is worth about two gradients, and line 8 of Algorithm 1 evaluates once
/// more), one by forward differences three, one by central differences five. SAM adds one. `cargo xtask bench` measures it.
pub fn gradients_per_step(recipe: &Recipe) -> f64 {
    let late = |from_epoch: u64| 1.0 - (from_epoch as f64 / recipe.train.epochs.max(1) as f64).min(1.0);
    let sam = recipe.method.sam.map_or(0.0, |sam| late(sam.from_epoch));
    let gnr = recipe.method.gnr.map_or(0.0, |gnr| {
        let each = match gnr.hvp {
            Hvp::Exact | Hvp::GaussNewton | Hvp::CentralDifference => 5.0,
            Hvp::ForwardDifference => 3.0,
        };
        each * gnr.batch_fraction * late(gnr.from_epoch) / gnr.every as f64
    });
    1.0 + sam + gnr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_by_hand() {
        for (sets, gradients) in [
            (&["method.gnr=false"][..], 1.0),
            (&["method.sam=true"], 7.0),
            (&["method.gnr.every=10"], 1.5),
            (&["method.gnr.hvp=forward-difference", "method.gnr.from_epoch=15"], 2.5),
        ] {
            let sets: Vec<String> = sets.iter().map(|&text| text.to_owned()).collect();
            let recipe = Recipe::parse("test", "test", "train.epochs = 30", &sets).unwrap();
            assert_eq!(gradients_per_step(&recipe), gradients, "{sets:?}");
        }
    }
}
