//! What a run is expected to cost, before it is trained.

use gnr_train::{Recipe, recipe::Hvp};

/// Gradients of a whole batch that an average step takes, products included.
///
/// A step of GNR with exact products adds five (a product is worth about two gradients, and line 8 of Algorithm 1 evaluates once
/// more), one by forward differences three, one by central differences five. SAM adds one. `cargo xtask bench` measures it.
pub fn gradients_per_step(recipe: &Recipe) -> f64 {
    let sam = if recipe.method.sam.is_some() { 1.0 } else { 0.0 };
    let gnr = recipe.method.gnr.map_or(0.0, |gnr| {
        let each = match gnr.hvp {
            Hvp::Exact | Hvp::CentralDifference => 5.0,
            Hvp::ForwardDifference => 3.0,
        };
        each * gnr.batch_fraction / gnr.every as f64
    });
    1.0 + sam + gnr
}
