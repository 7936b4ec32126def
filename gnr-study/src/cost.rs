//! The expected cost of a run, before it is trained.

use gnr_train::{
    Recipe,
    recipe::{
        Hvp, Settings,
        registry::{self, Entry},
        regularizers,
    },
};

/// Gradients of a whole batch that an average step takes, products included.
///
/// Each regulariser adds what its entry says, on the steps and the part of the batch on which it acts. A product is
/// worth about two gradients, one of forward differences one, a forward pass a third of one: GNR adds five or three,
/// SAM one. `cargo xtask bench` measures these costs.
pub fn gradients_per_step(recipe: &Recipe) -> f64 {
    let product = match recipe.method.gnr().map(|gnr| gnr.hvp) {
        Some(Hvp::ForwardDifference) => 1.0,
        _ => 2.0,
    };
    let added = recipe.method.regularizers.iter().map(|Settings(values)| {
        let each = registry::find(regularizers(), values.of())
            .map_or(0.0, |Entry { cost, .. }| cost.gradients + product * cost.products + cost.forwards / 3.0);
        let from_epoch = values.integer("from_epoch").unwrap_or(0);
        let late = 1.0 - (from_epoch as f64 / recipe.train.epochs.max(1) as f64).min(1.0);
        each * values.number("batch_fraction").unwrap_or(1.0) * late
            / values.integer("every").unwrap_or(1) as f64
    });
    1.0 + added.sum::<f64>()
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
            (&["method.gnr=false", "method.esam=true"], 1.5 + 1.0 / 3.0),
            (&["method.gnr=false", "method.saf=true", "method.saf.from_epoch=15"], 1.5),
            (&["method.gnr.hvp=forward-difference", "method.gnr.from_epoch=15"], 2.5),
        ] {
            let sets: Vec<String> = sets.iter().map(|&text| text.to_owned()).collect();
            let recipe = Recipe::parse("test", "test", "train.epochs = 30", &sets).unwrap();
            assert_eq!(gradients_per_step(&recipe), gradients, "{sets:?}");
        }
    }
}
